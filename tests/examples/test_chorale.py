"""The example learns from a folder of tunes, and sets voices below its hymn."""

import wave
from pathlib import Path

import numpy as np

from ostinato.data.events import midi, scores

from .. import forks

EXAMPLE = Path(__file__).parents[2] / "examples" / "chorale.py"


def test_it_writes_a_hymn(tmp_path):
    chords = np.zeros((3, 128), bool)
    for chord, keys in zip(chords, ((55, 62, 67, 71), (57, 60, 66, 74), (52, 59, 64, 79)), strict=True):
        chord[[*keys]] = True
    (tmp_path / "tunes").mkdir()
    for number in range(6):
        order = np.random.default_rng(number).integers(3, size=30)
        midi.write(tmp_path / "tunes" / f"{number}.mid", np.repeat(chords[order], 2, axis=0), grid=1)
    given = ("--minutes", "0.1", "--grid", "1", "--units", "16", "--out", tmp_path / "run")
    printed = forks.run(EXAMPLE, tmp_path / "tunes", *map(str, given), check=True).stdout
    assert "nats per step" in printed
    hymn = midi.read(tmp_path / "run" / "report" / "hymn.mid", 1)
    (melody,) = {line for line in EXAMPLE.read_text().split('"""') if line.startswith("X:1")}
    expected = scores.read_tune(melody).roll(1)
    assert len(hymn) == len(expected) == 48
    for step, of_melody in zip(hymn, expected, strict=True):
        assert np.flatnonzero(step)[-1] == np.flatnonzero(of_melody)[-1]
    with wave.open(str(tmp_path / "run" / "report" / "hymn.wav")) as file:
        assert file.getnframes() == round((48 * 60 / 90 + 0.5) * 44_100)
    assert (tmp_path / "run" / "report" / "hymn.png").read_bytes()[:4] == b"\x89PNG"
