"""Pieces in parts and batches."""

import numpy as np
import pytest

from ostinato.data.events import midi
from ostinato.errors import ConfigError, SourceError
from ostinato.tasks.music import MusicConfig
from ostinato.tasks.music.keyboard import Keyboard
from ostinato.tasks.music.source import open_source

from ...ready import Ready

LENGTHS = (5, 40, 17, 8, 30, 33, 9, 12)


def piece(steps, seed=0, keys=range(50, 70)):
    sounding = np.zeros((steps, 128), bool)
    sounding[:, [*keys]] = np.random.default_rng([seed, steps]).random((steps, len(keys))) < 0.2
    sounding[0, keys[0]] = sounding[-1, keys[-1]] = True
    return sounding


def rolls(path, lengths=LENGTHS, **more):
    parts = {f"train_{number}": piece(steps, number) for number, steps in enumerate(lengths)}
    np.savez(path, valid_0=piece(21), **parts, **more)
    return path


def ready(tmp_path, lengths=LENGTHS, **settings):
    defaults = {"batch": 3, "seq_len": 10, "units": 4, "hidden": 6, "transpose": 0}
    return Ready(MusicConfig(**(defaults | settings)), rolls(tmp_path / "set.npz", lengths))


def joined(part, epoch, shard=(0, 1)):
    """The chords that each row reads, as one list of pieces in their order."""
    pieces = []
    batches = list(part.batches(epoch=epoch, shard=shard))
    for row in range(len(batches[0]["chords"])):
        for batch in batches:
            count = int(batch["weights"][row].sum())
            content = batch["chords"][row, 1 : 1 + count]
            if batch["begins"][row]:
                assert not batch["chords"][row, 0].any()
                pieces.append([content])
            elif count:
                np.testing.assert_array_equal(batch["chords"][row, 0], pieces[-1][-1][-1])
                pieces[-1].append(content)
            assert not batch["chords"][row, 1 + count :].any()
            assert not batch["weights"][row, count:].any()
    return [np.concatenate(each) for each in pieces]


def as_set(pieces):
    return sorted(np.asarray(each, bool).tobytes() for each in pieces)


def test_an_epoch_has_every_step_of_every_piece_once(tmp_path):
    part = ready(tmp_path).part()
    orders = set()
    for epoch in (None, 0, 1, 2):
        found = joined(part, epoch)
        assert as_set(found) == as_set(part.pieces)
        assert len(list(part.batches(epoch=epoch))) == part.steps
        orders.add(tuple(map(len, found)))
    assert len(orders) > 1


def test_batches_are_a_pure_function_of_their_arguments(tmp_path):
    part = ready(tmp_path, transpose=5).part()
    whole = list(part.batches(epoch=3))
    for start in (0, 2, part.steps - 1):
        for batch, again in zip(whole[start:], part.batches(epoch=3, start=start), strict=True):
            assert all(np.array_equal(batch[name], again[name]) for name in batch)
    halves = [list(part.batches(epoch=3, shard=(index, 2))) for index in range(2)]
    for batch, one, two in zip(whole, *halves, strict=True):
        np.testing.assert_array_equal(batch["chords"], np.concatenate([one["chords"], two["chords"]]))
        assert (one["first_row"], two["first_row"]) == (0, len(one["chords"]))


def test_pieces_are_transposed_within_the_keyboard_in_training_alone(tmp_path):
    part = ready(tmp_path, transpose=36).part()
    assert as_set(joined(part, None)) == as_set(part.pieces)
    shifts = set()
    for epoch in range(8):
        by_length = {len(found): found for found in joined(part, epoch)}
        for original in part.pieces:
            found = by_length[len(original)]
            assert found.sum() == original.sum()
            shift = np.flatnonzero(found.any(axis=0))[0] - np.flatnonzero(original.any(axis=0))[0]
            np.testing.assert_array_equal(np.roll(original, shift, axis=1), found > 0)
            shifts.add(int(shift))
    assert min(shifts) < -20
    assert max(shifts) > 20


def test_chords_and_rolls_are_the_same_keys(tmp_path):
    keyboard, sounding = Keyboard(40, 50, 4), piece(9)
    chords = keyboard.chords(midi.as_roll(sounding))
    assert chords.shape == (9, 50)
    np.testing.assert_array_equal(chords[:, 0], sounding[:, 89])
    np.testing.assert_array_equal(keyboard.roll(chords), midi.as_roll(sounding))
    with pytest.raises(ConfigError, match="keys must be 60 to 69, those of the model, got 50"):
        Keyboard(60, 10, 4).chords(midi.as_roll(sounding))
    assert Keyboard.of([piece(4, keys=range(10, 120))], 2, False) == Keyboard(10, 110, 2, False)
    assert Keyboard.of([piece(4)], 2, True) == Keyboard(21, 88, 2, True)


def struck(steps, seed=0):
    """A roll in which keys that sound are often struck again."""
    roll = midi.as_roll(piece(steps, seed) | piece(steps, seed + 100))
    again = np.random.default_rng([1, seed, steps]).random(roll.shape) < 0.5
    return np.where((roll == midi.HELD) & again, midi.STRUCK, roll).astype(np.uint8)


def test_chords_with_onsets_say_what_is_struck_again():
    keyboard, roll = Keyboard(40, 50, 4, onsets=True), struck(30)
    chords = keyboard.chords(roll)
    assert chords.shape == (30, 100) == (30, keyboard.width)
    np.testing.assert_array_equal(keyboard.roll(chords), roll)
    before = np.concatenate([np.zeros((1, 50), bool), chords[:-1, :50]])
    assert chords[:, 50:].any()
    assert not np.any(chords[:, 50:] > (before & chords[:, :50]))
    assert Keyboard.from_json(keyboard.to_json()) == keyboard


def test_onsets_are_transposed_with_their_keys(tmp_path):
    (tmp_path / "tunes").mkdir()
    for number in range(4):
        midi.write(tmp_path / "tunes" / f"{number}.mid", struck(20 + number, number))
    found = Ready(MusicConfig(transpose=12, test_fraction=0.0, batch=1, seq_len=40), tmp_path / "tunes")
    part, (size, shifts) = found.part(), (found.data.keyboard.size, set())
    for batch in part.batches(epoch=1):
        moved = batch["chords"][0, 1:][batch["weights"][0] > 0] > 0
        original = next(piece for piece in part.pieces if len(piece) == len(moved))
        halves = [np.flatnonzero(each[:, :size].any(axis=0))[0] for each in (moved, original)]
        shifts.add(shift := halves[0] - halves[1])
        for half in (slice(size), slice(size, None)):
            np.testing.assert_array_equal(moved[:, half], np.roll(original[:, half], shift, axis=1))
    assert len(shifts) > 1
    without = Ready(MusicConfig(onsets=False), tmp_path / "tunes").data
    assert without.keyboard.width == without.keyboard.size
    with pytest.raises(ConfigError, match="--onsets needs MIDI"):
        Ready(MusicConfig(onsets=True), rolls(tmp_path / "set.npz"))


def folder(tmp_path, count=10):
    for number in range(count):
        (tmp_path / "tunes" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        midi.write(tmp_path / "tunes" / str(number % 2) / f"{number}.mid", piece(20 + number, number))
    return tmp_path / "tunes"


def test_a_folder_a_glob_and_a_file_of_midi(tmp_path):
    tunes = folder(tmp_path)
    found = Ready(MusicConfig(), tunes)
    sizes = [len(found.data.parts[name]) for name in ("train", "validation", "test")]
    assert sum(sizes) == 10
    assert sizes[1:] == [1, 1]
    some = Ready(MusicConfig(test_fraction=0.0), str(tunes / "0" / "*.mid"))
    assert sum(map(len, some.data.parts.values())) == 5
    one = Ready(MusicConfig(), tunes / "0" / "0.mid", whole=True)
    assert len(one.data.parts["train"]) == 1
    assert one.data.vocabulary["grid"] == 4
    described = open_source(found.data.source["description"])
    assert described.files == open_source(tunes).files
    again = Ready(MusicConfig(grid=8), tunes, vocabulary=found.data.vocabulary)
    assert again.data.source["sha256"] == found.data.source["sha256"]


TUNE = "X:{number}\nM:4/4\nL:1/8\nK:G\nGABc d2{note}2|{note}2{note}2 G4|]\n\n"


def test_tunes_in_abc(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tunes").mkdir()
    for name in ("a", "b"):
        book = "".join(TUNE.format(number=number, note="defg"[number]) for number in range(4))
        (tmp_path / "tunes" / f"{name}.abc").write_text(book)
    found = Ready(MusicConfig(), tmp_path / "tunes")
    assert sum(map(len, found.data.parts.values())) == 8
    assert found.data.keyboard.onsets
    piece = found.data.keyboard.roll(found.data.parts["train"][0])
    assert len(piece) == 2 * 4 * 4
    assert (piece[16:24] == midi.STRUCK).sum() == 2  # the same key twice
    bad = TUNE.format(number=9, note="d").replace("4/4", "4/0")
    (tmp_path / "tunes" / "c.abc").write_text(bad)
    with pytest.raises(SourceError, match=r"c\.abc, tune 9: it cannot be read.*--skip-bad"):
        Ready(MusicConfig(), tmp_path / "tunes")
    skipped = Ready(MusicConfig(), open_source(tmp_path / "tunes", skip_bad=True))
    assert any("c.abc, tune 9" in note for note in skipped.data.notes)
    midi.write(tmp_path / "tunes" / "d.mid", piece)
    with pytest.raises(SourceError, match="must be all MIDI or all ABC, got 1 of MIDI and 3 of ABC"):
        open_source(tmp_path / "tunes")


def test_chorales_need_no_file(tmp_path, monkeypatch):
    from ostinato.data.events import scores

    one = scores.read_tune(TUNE.format(number=1, note="e"))
    monkeypatch.setattr(scores, "chorales", lambda on_score: [one] * 5)
    found = Ready(MusicConfig(grid=2), None)
    assert found.data.source["description"]["music"] == "chorales"
    np.testing.assert_array_equal(found.data.keyboard.roll(found.data.parts["train"][0]), one.roll(2))
    assert open_source(found.data.source["description"]) == open_source("chorales") == open_source()

    def missing():
        raise SourceError("chorales and ABC need music21")

    monkeypatch.setattr(scores, "check_installed", missing)
    with pytest.raises(SourceError, match="need music21, or give a folder of MIDI files"):
        open_source()


def test_notes_beside_the_grid_are_counted(tmp_path):
    tunes = tmp_path / "tunes"
    tunes.mkdir()
    for number in range(3):
        midi.write(tunes / f"{number}.mid", piece(24, number), grid=12)
    note = next(note for note in Ready(MusicConfig(), tunes).data.notes if "begin on a step" in note)
    assert "of a step (grid 4: 4 steps of a quarter note)" in note
    assert not any("begin on a step" in note for note in Ready(MusicConfig(grid=12), tunes).data.notes)


def test_what_is_refused(tmp_path):
    tunes = folder(tmp_path, 4)
    (tunes / "bad.mid").write_bytes(b"no music")
    with pytest.raises(SourceError, match=r"bad\.mid: it is not a MIDI file.*--skip-bad"):
        Ready(MusicConfig(), tunes)
    skipped = Ready(MusicConfig(), open_source(tunes, skip_bad=True))
    assert any("left out 1 piece that" in note and "bad.mid" in note for note in skipped.data.notes)
    with pytest.raises(SourceError, match=r"at least two pieces with notes.* got 1"):
        Ready(MusicConfig(), tunes / "0" / "0.mid")
    (tmp_path / "nothing").mkdir()
    for wrong, sentence in {
        tmp_path / "nothing": "no file in the folder",
        tmp_path / "*.mid": "no file that matches",
        tmp_path / "none.mid": "there is no file or folder",
    }.items():
        with pytest.raises(SourceError, match=sentence):
            open_source(wrong)
    np.savez(tmp_path / "empty.npz", train_0=np.zeros((5, 88)), train_1=np.zeros((0, 88)))
    with pytest.raises(SourceError, match="two pieces with notes"):
        Ready(MusicConfig(), tmp_path / "empty.npz")
