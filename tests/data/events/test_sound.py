"""The sound of rolls."""

import io
import wave

import numpy as np
import pytest

from ostinato.data.events import midi, sound


def test_the_length_peak_and_pitch():
    sounding = np.zeros((8, 128), bool)
    sounding[:4, 69] = True  # A, 440 Hz
    for grid, tempo in ((4, 100), (2, 240)):
        samples = sound.synthesize(sounding, grid, tempo)
        assert len(samples) == round((8 * 60 / (tempo * grid) + sound.RELEASE) * sound.RATE)
        assert np.abs(samples).max() == pytest.approx(sound.PEAK, abs=1e-6)
        spectrum = np.abs(np.fft.rfft(samples))
        assert np.argmax(spectrum) * sound.RATE / len(samples) == pytest.approx(440, abs=4)


def test_a_repeated_note_begins_anew_and_silence_is_silent():
    held, again = np.zeros((8, 128), np.uint8), np.zeros((8, 128), np.uint8)
    held[0, 60], held[1:, 60] = midi.STRUCK, midi.HELD
    again[:, 60] = midi.STRUCK
    late = slice(3 * sound.RATE // 10, 6 * sound.RATE // 10)
    loud = [np.abs(sound.synthesize(roll, 4, 60)[late]).mean() for roll in (again, held)]
    assert loud[0] > 1.1 * loud[1]
    assert not sound.synthesize(np.zeros((4, 128), bool)).any()


def test_the_wav_file_opens_with_pythons_own_reader():
    samples = np.linspace(-2, 2, 1000, dtype=np.float32)
    with wave.open(io.BytesIO(sound.to_wav(samples))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, sound.RATE)
        content = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(content) == 1000
    assert content[0] == -32767
    assert content[-1] == 32767
