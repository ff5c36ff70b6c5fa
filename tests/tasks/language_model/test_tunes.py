"""ABC in the language model: parts are cut at tunes, and what is written is judged and becomes MIDI."""

import json

import pytest

import ostinato
from ostinato.data.events import midi
from ostinato.errors import ConfigError, RunError
from ostinato.tasks.language_model import LanguageModelConfig, tunes
from ostinato.training.config import TrainingConfig

from ...command_line import command
from ...ready import Ready

TUNE = "X:{number}\nT:tune {number}\nM:4/4\nL:1/8\nQ:1/4=90\nK:G\nGABc d2{note}2|{note}2B2G4|]\n\n"


@pytest.fixture
def book(tmp_path):
    whole = "".join(TUNE.format(number=number, note="defgabc"[number % 7]) for number in range(80))
    (tmp_path / "book.abc").write_text(whole)
    return tmp_path / "book.abc"


@pytest.mark.parametrize("encoder", ["char", "word", "bpe", "word_bpe"])
def test_the_parts_are_cut_where_a_tune_begins(book, encoder):
    config = LanguageModelConfig(encoder=encoder, vocabulary_size=300, test_fraction=0.1, batch=2, seq_len=8)
    data = Ready(config, book).data
    for name in ("train", "validation", "test"):
        text = data.encoder.decode(data.part(name).ids)
        assert text.startswith("X:")
        assert text.endswith("|]\n\n") or (encoder == "word" and text.rstrip().endswith("|]"))
    assert "the parts are cut where a tune begins" in data.notes
    plain = book.with_suffix(".txt")
    plain.write_text(book.read_text())
    other = Ready(config, plain).data
    assert not any("a tune begins" in note for note in other.notes)
    assert encoder != "char" or not other.encoder.decode(other.part("validation").ids).startswith("X:")


def test_the_first_tune_of_a_text():
    assert tunes.first_tune("X:1\nK:C\nabc|\n\nrest\nX:2\n") == "X:1\nK:C\nabc|\n"
    assert tunes.first_tune("no tune") == ""
    assert tunes.tempo_of("X:1\nQ:3/8=60\nK:C\n") == 90
    assert tunes.tempo_of("X:1\nQ:80\n") == 80
    assert tunes.tempo_of("X:1\n") == 120


def test_a_tune_is_judged_and_written(tmp_path):
    tune = TUNE.format(number=1, note="e")
    assert tunes.judged(tune) == "2 of 2 bars are as long as the metre says"
    worse = tune.replace("GABc d2e2|", "GABc d2e2|GAB|")
    said = "2 of 3 bars are as long as the metre says: bar 2 has 1.5 quarter notes instead of 4"
    assert tunes.judged(worse) == said
    tunes.write_midi(tune, tmp_path / "tune.mid")
    keys = midi.read_notes(tmp_path / "tune.mid").key.tolist()
    assert keys == [67, 69, 71, 72, 74, 76, 76, 71, 67]
    with pytest.raises(RunError, match="no MIDI was written"):
        tunes.write_midi("X:1\nM:4/4\nK:C\n|", tmp_path / "none.mid")
    assert not (tmp_path / "none.mid").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model that has learned a tune by heart."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "book.abc").write_text(60 * TUNE.format(number=1, note="e"))
    config = LanguageModelConfig(units=64, batch=8, seq_len=50)
    training = TrainingConfig(steps=250, learning_rate=0.01)
    ostinato.train(config, folder / "book.abc", training=training, out=folder / "run")
    return folder / "run"


def test_the_command_line_writes_a_tune(run, tmp_path, capsys):
    sure = ("--abc", "--temperature", "0.1", "--seed", 1)
    assert command("generate", run, *sure) in (0, None)
    printed = capsys.readouterr()
    assert printed.out == TUNE.format(number=1, note="e").rstrip() + "\n"
    assert "2 of 2 bars are as long as the metre says" in printed.err
    assert command("generate", run, *sure, "--out", tmp_path / "tune.mid", "--json") in (0, None)
    assert json.loads(capsys.readouterr().out)["tune"] == printed.out
    assert len(midi.read_notes(tmp_path / "tune.mid").key) == 9
    assert command("generate", run, *sure, "--out", tmp_path / "tune.abc") in (0, None)
    assert (tmp_path / "tune.abc").read_text() == printed.out


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--abc", "--count", "2"), "--abc writes one tune"),
        (("--abc", "--prompt", "K:C"), "it must begin with X:"),
        (("--out", "tune.mid"), "a text becomes MIDI with --abc only"),
    ],
)
def test_what_does_not_go_together(run, tmp_path, monkeypatch, capsys, flags, sentence):
    monkeypatch.chdir(tmp_path)
    assert command("generate", run, *flags) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_of_lines_writes_no_tune():
    with pytest.raises(ConfigError, match="this is a model of lines"):
        tunes.checked(type("Words", (), {"lines": True}), {}, False)
