"""Playing with a SoundFont: what is asked of fluidsynth, and what becomes of its failures."""

import shutil
import sys

import numpy as np
import pytest

from ostinato.data.events import soundfont
from ostinato.errors import RunError

ROLL = np.zeros((8, 128), bool)
ROLL[:, 60] = True
PROGRAM = """#!{python}
import sys, wave
from ostinato.data.events import midi
*options, font, tune = sys.argv[1:]
assert open(font, "rb").read(4) == b"RIFF"
steps = len(midi.read(tune, 2))
with wave.open(options[options.index("-F") + 1], "wb") as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(int(options[options.index("-r") + 1]))
    file.writeframes(bytes(2 * steps))
"""


@pytest.fixture
def font(tmp_path):
    (tmp_path / "font.sf2").write_bytes(b"RIFF\0\0\0\0sfbk")
    return tmp_path / "font.sf2"


def put(tmp_path, monkeypatch, content):
    """A program of that name, the only one that is found."""
    program = tmp_path / "bin" / "fluidsynth"
    program.parent.mkdir()
    program.write_text(content)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def test_it_plays_the_roll(tmp_path, monkeypatch, font):
    put(tmp_path, monkeypatch, PROGRAM.format(python=sys.executable))
    raw = soundfont.play(ROLL, 2, 100, font)
    assert raw[:4] == b"RIFF"
    assert raw[24:28] == (44_100).to_bytes(4, "little")
    assert len(raw) == 44 + 2 * len(ROLL)


def test_failures_get_a_sentence(tmp_path, monkeypatch, font):
    put(tmp_path, monkeypatch, f"#!{sys.executable}\nimport sys\nsys.exit('it is out of tune')\n")
    with pytest.raises(RunError, match="fluidsynth failed: it is out of tune"):
        soundfont.play(ROLL, 2, 100, font)
    font.write_bytes(b"MThd")
    with pytest.raises(RunError, match=r"must be an \.sf2 or \.sf3 file"):
        soundfont.check(font)
    with pytest.raises(RunError, match="No such file"):
        soundfont.check(tmp_path / "none.sf2")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="needs the program fluidsynth, which is not installed"):
        soundfont.check(font)


@pytest.mark.skipif(shutil.which("fluidsynth") is None, reason="fluidsynth is not installed")
def test_what_is_no_soundfont_inside_fails(font):
    with pytest.raises(RunError, match="fluidsynth failed"):
        soundfont.play(ROLL, 2, 100, font)
