"""Tunes in ABC: cut apart, written, and read by music21."""

import numpy as np
import pytest

from ostinato.data.events import abc, midi, scores
from ostinato.errors import ConfigError, SourceError

JIG = """X:7
T:a jig
M:6/8
L:1/8
K:D
A|dfd fad|{g}f2e d2 A|B>cd (3efg f|d3-d2|]
"""
JIG_NOTES = (
    (69, 0.5),
    *((key, 0.5) for key in (74, 78, 74, 78, 81, 74)),
    (78, 1), (76, 0.5), (74, 1), (69, 0.5),
    (71, 0.75), (73, 0.25), (74, 0.5), (76, 1 / 3), (78, 1 / 3), (79, 1 / 3), (78, 0.5),
    (74, 2.5),
)  # fmt: skip


def random_roll(seed, steps=70, keys=range(30, 100)):
    random = np.random.default_rng(seed)
    roll = np.zeros((steps, 128), np.uint8)
    for _ in range(60):
        first, key = random.integers(steps - 1), int(random.choice(keys))
        last = first + random.integers(1, 12)
        roll[first:last, key] = midi.HELD
        roll[first, key] = midi.STRUCK
    roll[-1, 40] = midi.STRUCK
    before = np.concatenate([np.zeros((1, 128), np.uint8), roll[:-1]])
    return np.where((roll == midi.HELD) & (before == midi.SILENT), midi.STRUCK, roll).astype(np.uint8)


@pytest.mark.parametrize("grid", [1, 2, 4, 16])
def test_what_is_written_is_read_again(tmp_path, monkeypatch, grid):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    for seed in range(3):
        roll, path = random_roll(seed), tmp_path / f"{seed}.abc"
        path.write_text(abc.to_abc(roll, grid, 90, "a piece"))
        (found,) = scores.read_abc(path, "it")
        np.testing.assert_array_equal(found.roll(grid), roll)
    alone = random_roll(9, steps=100, keys=[40])
    assert all(bar.right for bar in scores.bars(abc.to_abc(alone, grid, 90, "one voice")))


def test_a_grid_without_note_values_is_refused():
    with pytest.raises(ConfigError, match="must have 1, 2, 4, … or 64 steps, got a grid of 12"):
        abc.to_abc(random_roll(0), 12, 90, "a piece")


def test_a_file_is_cut_where_tunes_begin():
    assert abc.tunes("%abc\n\nX:1\nK:C\nabc\n\nX: 2\nK:C\nX\n") == ["X:1\nK:C\nabc\n\n", "X: 2\nK:C\nX\n"]
    assert abc.tunes("no tune, X:1") == []


def test_notes_of_a_tune(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "two.abc").write_text(f'{JIG}\n\nX:8\nM:4/4\nL:1/4\nK:C\n"Am"[Ac]2 z ^F|\n')
    jig, other = scores.read_abc(tmp_path / "two.abc", "two.abc")
    begin = np.cumsum([0.0, *(quarters for _, quarters in JIG_NOTES)])
    np.testing.assert_array_equal(jig.key, [key for key, _ in JIG_NOTES])
    np.testing.assert_allclose(jig.begin / jig.quarter, begin[:-1])
    np.testing.assert_allclose(jig.end / jig.quarter, begin[1:])
    assert jig.path == "two.abc, tune 7"
    assert list(zip(other.begin // other.quarter, other.end // other.quarter, other.key, strict=True)) == [
        (0, 2, 69), (0, 2, 72), (3, 4, 66),
    ]  # fmt: skip


def test_tunes_that_cannot_be_read_are_named_and_what_was_read_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "some.abc"
    path.write_text(f"{JIG}\n\nX:9\nM:0/4\nK:C\nabc|\n\nX:10\nL:1/0\nK:C\nabc|\n")
    for round in range(2):
        if round:  # from the cache
            monkeypatch.setattr(scores, "_all", None)
        jig, *bad = scores.read_abc(path, "some.abc")
        assert len(jig.key) == len(JIG_NOTES)
        assert [str(error).partition(": ")[0] for error in bad] == ["some.abc, tune 9", "some.abc, tune 10"]
    (kept,) = (tmp_path / "cache" / "scores").iterdir()
    kept.write_bytes(b"damaged")
    monkeypatch.undo()
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    assert len(scores.read_abc(path, "some.abc")[0].key) == len(JIG_NOTES)
    (tmp_path / "none.abc").write_text("no tune")
    with pytest.raises(SourceError, match="must have a line that begins with X:"):
        scores.read_abc(tmp_path / "none.abc", "none.abc")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("ABcd efga|ABcd efg|ABcd efgab|abcd z4|]", [2, 3]),
        ("A2|ABcd efga|ABcd ef|]", []),
        ("ABcd efga:|ABcd|ABcd efga|ABcd|ABcd ef||ga|ABcd ef|", [4]),
        ("(3ABc d2 e>f g<a|{ag}A8|[Ac]4-[Ac]4|z8", []),
        ("ABcd efga|\nM:3/4\nABcd ef|ABcd|abcabc|", [3]),
    ],
)
def test_bars_that_are_not_as_long_as_the_metre_says(body, wrong):
    bars = scores.bars(f"X:1\nM:4/4\nL:1/8\nK:D\n{body}\n")
    assert [number for number, bar in enumerate(bars, 1) if not bar.right] == wrong


def test_chorales_are_read_once(tmp_path, monkeypatch):
    import music21

    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    two = [file for file in music21.corpus.getComposer("bach") if file.stem in ("bwv269", "bwv347")]
    monkeypatch.setattr(music21.corpus, "getComposer", lambda name: two)
    told = []
    found = scores.chorales(lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    for each in found:
        sounding = each.roll(4) > 0
        assert len(sounding) > 100
        assert 3.5 < sounding.sum(axis=1).mean() < 4.1  # four voices
    monkeypatch.setattr(scores, "_all", None)
    again = scores.chorales()
    for one, two in zip(found, again, strict=True):
        np.testing.assert_array_equal(one.roll(4), two.roll(4))
