"""MIDI files of every kind are read as rolls, and rolls are written so that they are read again."""

import contextlib
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.data.events import midi
from ostinato.errors import SourceError

from ...variants import examples

mido = pytest.importorskip("mido")


def random_roll(seed, steps, keys=6):
    """A roll with notes of all lengths, repeated notes, and silent steps at both ends."""
    random = np.random.default_rng(seed)
    sounding = np.zeros((steps, midi.KEYS), bool)
    places = random.choice(midi.KEYS, keys, replace=False)
    sounding[:, places] = random.random((steps, keys)) < 0.6
    sounding[:1], sounding[steps - steps // 4 :] = False, False
    roll = midi.as_roll(sounding)
    again = (roll == midi.HELD) & (random.random(roll.shape) < 0.3)
    roll[again] = midi.STRUCK
    return roll


@settings(max_examples=examples(40, 1000), deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.sampled_from([1, 2, 3, 4, 7, 12, 24, 480]))
def test_a_roll_that_is_written_is_read_again(tmp_path_factory, seed, steps, grid):
    path, roll = tmp_path_factory.mktemp("midi") / "piece.mid", random_roll(seed, steps)
    midi.write(path, roll, grid)
    np.testing.assert_array_equal(midi.read(path, grid), roll)


def test_a_roll_of_bool_is_struck_where_it_begins(tmp_path):
    sounding = np.zeros((5, 128), bool)
    sounding[1:4, 60] = True
    midi.write(tmp_path / "piece.mid", sounding, grid=2)
    assert midi.read(tmp_path / "piece.mid", 2)[:, 60].tolist() == [0, 2, 1, 1, 0]


def header(kind, tracks, division):
    return b"MThd" + struct.pack(">IHHh", 6, kind, tracks, division)


def track(*events):
    content = b"".join(events) + b"\x00\xff\x2f\x00"
    return b"MTrk" + struct.pack(">I", len(content)) + content


def rolls_of(tmp_path, raw, **options):
    path = tmp_path / "piece.mid"
    path.write_bytes(raw)
    return midi.read(path, **options)


ON, OFF = bytes([0x90]), bytes([0x80])
NOTE = b"\x00" + ON + b"\x3c\x40" + b"\x60" + OFF + b"\x3c\x40"  # C for 96 ticks
ANOTHER = b"\x00" + ON + b"\x40\x40" + b"\x30" + OFF + b"\x40\x40"  # E for 48 ticks


def test_all_formats_and_running_status(tmp_path):
    running = b"\x00" + ON + b"\x3c\x40" + b"\x60" + b"\x3c\x00"  # velocity 0 lets go
    for raw in (header(0, 1, 96) + track(NOTE), header(0, 1, 96) + track(running)):
        assert rolls_of(tmp_path, raw)[:, 60].tolist() == [2, 1, 1, 1]
    together = rolls_of(tmp_path, header(1, 2, 96) + track(NOTE) + track(ANOTHER))
    assert together[:, 60].tolist() == [2, 1, 1, 1]
    assert together[:, 64].tolist() == [2, 1, 0, 0]
    in_turn = rolls_of(tmp_path, header(2, 2, 96) + track(NOTE) + track(ANOTHER))
    assert in_turn[:, 60].tolist() == [2, 1, 1, 1, 0, 0]
    assert in_turn[:, 64].tolist() == [0, 0, 0, 0, 2, 1]


def test_a_tempo_in_the_middle_moves_no_note(tmp_path):
    faster = b"\x00\xff\x51\x03\x03\xd0\x90"
    roll = rolls_of(tmp_path, header(0, 1, 96) + track(NOTE, faster, NOTE))
    assert roll[:, 60].tolist() == [2, 1, 1, 1, 2, 1, 1, 1]


def test_drums_are_left_out_unless_asked_for(tmp_path):
    drums = NOTE.replace(ON, b"\x99").replace(OFF, b"\x89")
    raw = header(0, 1, 96) + track(drums, ANOTHER)
    assert np.flatnonzero(rolls_of(tmp_path, raw).any(axis=0)).tolist() == [64]
    assert np.flatnonzero(rolls_of(tmp_path, raw, drums=True).any(axis=0)).tolist() == [60, 64]


def test_notes_that_overlap_or_never_end(tmp_path):
    twice = b"\x00" + ON + b"\x3c\x40" + b"\x30" + ON + b"\x3c\x40" + b"\x30" + OFF + b"\x3c\x40"
    assert rolls_of(tmp_path, header(0, 1, 96) + track(twice))[:, 60].tolist() == [2, 1, 2, 1]
    never = b"\x00" + ON + b"\x3c\x40" + NOTE.replace(b"\x3c", b"\x43")
    assert rolls_of(tmp_path, header(0, 1, 96) + track(never))[:, 60].tolist() == [2, 1, 1, 1]
    let_go = b"\x00" + OFF + b"\x3c\x40" + ANOTHER
    assert np.flatnonzero(rolls_of(tmp_path, header(0, 1, 96) + track(let_go)).any(axis=0)).tolist() == [64]


def test_microsofts_wrapper(tmp_path):
    raw = header(0, 1, 96) + track(NOTE)
    wrapped = b"RIFF" + struct.pack("<I", len(raw) + 12) + b"RMIDdata" + struct.pack("<I", len(raw)) + raw
    assert rolls_of(tmp_path, wrapped)[:, 60].tolist() == [2, 1, 1, 1]


def test_how_far_notes_move_to_a_grid(tmp_path):
    path = tmp_path / "piece.mid"
    path.write_bytes(header(0, 1, 96) + track(NOTE, b"\x08" + NOTE[1:]))
    notes = midi.read_notes(path)
    assert notes.moved(12) == (0, 0.0)
    assert notes.moved(4) == (1, pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "it does not begin with MThd"),
        (b"RIFF....RMIDdata....", "it does not begin with MThd"),
        (b"ID3 and music", "it does not begin with MThd"),
        (header(0, 1, 96), "damaged"),
        (header(0, 1, 96) + track(NOTE)[:-6], "damaged"),
        (header(0, 1, -6360) + track(NOTE), "SMPTE"),
        (header(0, 1, 1) + track(NOTE.replace(b"\x60", b"\xff\xff\xff\x7f")), "at most 262,144 steps"),
        (header(0, 1, 96) + track(b"\xff" * 9 + b"\x7f" + NOTE[1:]), "at most 262,144 steps"),
        (header(0, 1, 96) + track(b"\x90" + b"\x80" * 7 + NOTE), "at most 262,144 steps"),
        (header(0, 1, 96) + track(b"\xff" * 1_000_000), "a number without end"),
        (header(0, 1, 0) + track(NOTE), "a quarter note has no ticks"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, raw, sentence):
    with pytest.raises(SourceError, match=sentence) as error:
        rolls_of(tmp_path, raw)
    assert "piece.mid" in str(error.value)
    assert "\n" not in str(error.value)


def test_many_long_notes_take_a_moment(tmp_path):
    hold = b"".join(b"\x00" + ON + bytes([key, 64]) for key in range(128))
    raw = header(1, 200, 96) + track(hold, b"\x83\xff\x7f" + OFF + b"\x00\x40") * 200
    began = time.process_time()
    assert rolls_of(tmp_path, raw).all()
    assert time.process_time() - began < 20


def test_a_file_that_is_too_large_or_missing(tmp_path):
    with open(tmp_path / "large.mid", "wb") as file:
        file.truncate(midi.LARGEST + 1)
    with pytest.raises(SourceError, match="at most"):
        midi.read(tmp_path / "large.mid")
    with pytest.raises(SourceError, match="none"):
        midi.read(tmp_path / "none.mid")


def test_damaged_files_are_read_or_refused_within_a_moment(tmp_path):
    random = np.random.default_rng(7)
    path = tmp_path / "piece.mid"
    midi.write(path, random_roll(1, 60), 4)
    whole = path.read_bytes()
    read = 0
    for _ in range(examples(600, 10_000)):
        raw = bytearray(whole)
        for place in random.integers(0, len(raw), random.integers(1, 6)):
            raw[place] = random.integers(256)
        path.write_bytes(raw[: random.integers(1, len(raw) + 1)] if random.random() < 0.3 else raw)
        began = time.process_time()
        with contextlib.suppress(SourceError):
            read += midi.read(path).shape[1] == midi.KEYS
        assert time.process_time() - began < 5
    assert read > 100


@pytest.mark.parametrize(
    ("roll", "options", "sentence"),
    [
        (np.zeros((4, 88), bool), {}, r"\(steps, 128\), got \(4, 88\)"),
        (np.zeros((4, 128), bool), {"grid": 0}, "grid must be 1 to 480, got 0"),
        (np.zeros((4, 128), bool), {"tempo": 0}, "tempo must be 4 to 1000"),
    ],
)
def test_what_cannot_be_written(tmp_path, roll, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        midi.write(tmp_path / "piece.mid", roll, **options)
    assert not list(tmp_path.iterdir())


def test_what_music21_and_mido_write_reads_alike(tmp_path):
    import mido
    import music21

    roll, grid = random_roll(3, 40), 4
    part, file, track = music21.stream.Part(), mido.MidiFile(ticks_per_beat=960), mido.MidiTrack()
    events = []
    for first, last, key in midi.notes(roll):
        pitch = music21.pitch.Pitch(midi=key)  # a bare number below 12 would be a pitch class
        part.insert(first / grid, music21.note.Note(pitch, quarterLength=(last - first) / grid))
        events += [(first, 1, key), (last, 0, key)]
    now = 0
    for step, begins, key in sorted(events):
        velocity, ticks = 70 * begins, (step - now) * 960 // grid  # a note_on of velocity 0 ends the note
        track.append(mido.Message("note_on", note=key, velocity=velocity, time=ticks))
        now = step
    file.tracks.append(track)
    part.write("midi", tmp_path / "music21.mid")
    file.save(tmp_path / "mido.mid")
    last = max(last for _, last, _ in midi.notes(roll))
    for name in ("music21", "mido"):
        np.testing.assert_array_equal(midi.read(tmp_path / f"{name}.mid", grid)[:last], roll[:last])
