"""Piano rolls as sound: every note is a few partials that die away, as on a plucked string.

A partial of number n has n times the frequency of the note and 1/n of its loudness, and dies n times as fast.
"""

from __future__ import annotations

import io
import itertools
import wave

import numpy as np

from ostinato.data.events.midi import notes

RATE = 44_100
"""Samples of a second."""
RELEASE = 0.5
"""Seconds in which a note dies after its end; a piece is that much longer than its steps."""
PEAK = 0.9
"""The loudest sample; 1.0 is the most that a file can have."""
_PARTIALS, _DECAY, _ATTACK = 6, 1.2, 0.005


def synthesize(roll: np.ndarray, grid: int = 4, tempo: float = 100, rate: int = RATE) -> np.ndarray:
    """The sound of a roll.

    Args:
        roll: as `ostinato.data.events.midi.write` takes it.
        grid: steps of a quarter note.
        tempo: quarter notes of a minute.
        rate: samples of a second.

    Returns:
        float32, shape (samples,): steps · 60 / (tempo · grid) seconds and `RELEASE`, at most `PEAK`.
    """
    step = 60.0 / (tempo * grid)
    sound = np.zeros(round((len(roll) * step + RELEASE) * rate), np.float32)
    alike = sorted((key, last - first, first) for first, last, key in notes(roll))
    for (key, length), group in itertools.groupby(alike, lambda note: note[:2]):
        note = _note(key, round(length * step * rate), rate)
        for _, _, first in group:
            place = sound[round(first * step * rate) :][: len(note)]
            place += note[: len(place)]
    loudest = float(np.abs(sound).max(initial=0.0))
    return sound * np.float32(PEAK / loudest) if loudest > 0 else sound


def to_wav(sound: np.ndarray, rate: int = RATE) -> bytes:
    """The bytes of a WAV file, 16 bits and one channel, of samples between -1 and 1."""
    raw = io.BytesIO()
    with wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(sound, -1.0, 1.0) * 32767).astype("<i2").tobytes())
    return raw.getvalue()


def _note(key: int, samples: int, rate: int) -> np.ndarray:
    """A note that is held for so many samples, and its release."""
    frequency = 440.0 * 2.0 ** ((key - 69) / 12)
    count = samples + round(RELEASE * rate)
    time = np.arange(count, dtype=np.float32) / np.float32(rate)
    turns = np.arange(count) * (frequency / rate)  # float32 loses a high note's phase within seconds
    phase = (2 * np.pi * (turns - np.floor(turns))).astype(np.float32)
    twice_cosine, decay = 2 * np.cos(phase), np.exp(np.float32(-_DECAY) * time)
    before, wave, fading, sound = np.zeros_like(time), np.sin(phase), decay.copy(), np.zeros_like(time)
    for partial in range(1, min(_PARTIALS, int(rate / 2 / frequency)) + 1):
        sound += wave * fading / np.float32(partial)
        before, wave = wave, twice_cosine * wave - before  # sin (n + 1)x = 2 cos x sin nx − sin (n − 1)x
        fading *= decay
    sound *= np.minimum(np.float32(1.0), time / np.float32(_ATTACK))
    release = time[samples:] - time[samples] if samples < len(time) else time[:0]
    sound[samples:] *= np.exp(-12.0 * release) * (1.0 - release / RELEASE)
    return sound.astype(np.float32)
