"""Piano rolls as the sound of real instruments: fluidsynth plays them with a SoundFont."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ostinato.data.events import midi
from ostinato.data.events.sound import RATE
from ostinato.errors import RunError

_SECONDS = 600  # for the longest sound that is written, many times what it takes


def check(font: str | os.PathLike[str]) -> None:
    """Refuses a SoundFont that cannot be played. Raises RunError."""
    _program()
    try:
        with open(font, "rb") as file:
            start = file.read(12)
    except OSError as error:
        raise RunError(f"the SoundFont {font}: {error.strerror or error}") from error
    if start[:4] != b"RIFF" or start[8:] != b"sfbk":
        raise RunError(f"the SoundFont {font}: it must be an .sf2 or .sf3 file, got another kind")


def play(roll: np.ndarray, grid: int, tempo: float, font: str | os.PathLike[str]) -> bytes:
    """The bytes of a WAV file.

    Args:
        roll, grid, tempo: as `ostinato.data.events.midi.write` takes them.
        font: the SoundFont.

    Raises:
        RunError: fluidsynth is not installed, or fails.
    """
    check(font)
    with tempfile.TemporaryDirectory(prefix="ostinato-") as folder:
        tune, sound = Path(folder, "tune.mid"), Path(folder, "tune.wav")
        midi.write(tune, roll, grid, tempo)
        how = ["-n", "-i", "-q", "-T", "wav", "-r", str(RATE), "-F", str(sound)]
        try:
            done = subprocess.run(
                [_program(), *how, os.path.abspath(font), str(tune)],
                capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunError(f"fluidsynth failed: {error}") from error
        said = [line for line in done.stderr.splitlines() if line.strip()]
        wrong = [
            line for line in said if "error" in line.lower()
        ]  # a font that fails gives silence and status 0
        if done.returncode or wrong or not sound.exists():
            reason = (wrong or said or [f"exit status {done.returncode}"])[0]
            raise RunError(f"fluidsynth failed: {reason.removeprefix('fluidsynth: ')}")
        return sound.read_bytes()


def _program() -> str:
    found = shutil.which("fluidsynth")
    if found is None:
        raise RunError(
            "a SoundFont needs the program fluidsynth, which is not installed (`apt-get install fluidsynth`, "
            "`brew install fluid-synth`); without --soundfont the built-in synthesizer plays"
        )
    return found
