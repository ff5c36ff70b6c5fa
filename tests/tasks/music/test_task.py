"""The music model: its loss, its figures, and what it draws."""

import json

import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.cells.base import initial_state
from ostinato.data.events import midi
from ostinato.errors import ConfigError
from ostinato.tasks.base import Loss, as_figures
from ostinato.tasks.music import MusicConfig
from ostinato.training.config import TrainingConfig
from ostinato.training.step import as_tensors

from ...command_line import command
from ...ready import Ready
from .test_data import piece, ready, struck

OUTPUTS = ("chord", "independent")


def sums_of(found, model, name="train"):
    state = initial_state(found.task.states(model), found.part(name).rows)
    total, weight, sums = 0.0, 0.0, {}
    for batch in found.batches(name):
        loss = found.task.loss(model, as_tensors(batch), state)
        state, total, weight = loss.state, total + float(loss.total), weight + float(loss.weight)
        sums = {key: sums.get(key, 0.0) + float(value) for key, value in loss.sums.items()}
    return Loss(total, weight, sums)


def nats_in_one_go(model, chords):
    """The loss of each step of a piece that is read as a whole, float (steps,)."""
    before = np.concatenate([np.zeros((1, chords.shape[1])), chords[:-1]])[np.newaxis].astype("float32")
    y, _ = model(tf.constant(before), tf.ones((1,)), model.stack.initial_state(1))
    targets = tf.constant(chords[np.newaxis], tf.float32)
    each = tf.nn.sigmoid_cross_entropy_with_logits(targets, model.chord(y, targets))
    if model.onsets:  # only a key that goes on may be struck again
        goes_on = before[..., : model.keys] * chords[np.newaxis, :, : model.keys]
        each *= np.concatenate([np.ones_like(goes_on), goes_on], axis=2)
    return tf.reduce_sum(each, axis=2)[0].numpy()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_windows_and_rows_make_no_difference_to_the_figures(tmp_path, cell, output):
    found = ready(tmp_path, cell=cell, output=output)
    model = found.drawn(0.3)
    each = [nats_in_one_go(model, chords) for chords in found.part().pieces]
    sums = sums_of(found, model)
    figures = as_figures(found.task.metrics(sums))
    steps, pieces = sum(map(len, each)), len(each)
    assert sums.weight == steps
    assert figures["loss"] == pytest.approx(sum(nats.sum() for nats in each) / steps, rel=1e-5)
    later = sum(nats[1:].sum() for nats in each) / (steps - pieces)
    assert figures["loss_from_second"] == pytest.approx(later, rel=1e-5)
    assert 0 <= figures["accuracy"] <= 1


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_is_drawn_has_the_nats_of_teacher_forcing(tmp_path, output):
    found = ready(tmp_path, output=output, units=(6, 5))
    model = found.drawn(0.3)
    use = found.use(model)
    begun = midi.as_roll(piece(11))
    for primer in (None, begun):
        drawn = use.generate(primer=primer, steps=25, seed=4)
        chords = use.keyboard.chords(midi.as_roll(drawn.roll))
        given = 0 if primer is None else len(primer)
        assert len(chords) == given + 25
        np.testing.assert_allclose(drawn.nats, nats_in_one_go(model, chords)[given:], atol=1e-5)
        again = use.generate(primer=primer, steps=25, seed=4)
        np.testing.assert_array_equal(again.roll, drawn.roll)
        other = use.generate(primer=primer, steps=25, seed=5)
        assert not np.array_equal(other.roll, drawn.roll)
    np.testing.assert_array_equal(drawn.roll[:11], begun)
    assert (use.generate(steps=40, seed=1, max_notes=2).roll > 0).sum(axis=1).max() <= 2


@pytest.mark.parametrize("output", OUTPUTS)
def test_notes_that_are_struck_again(tmp_path, output):
    (tmp_path / "tunes").mkdir()
    for number in range(5):
        midi.write(tmp_path / "tunes" / f"{number}.mid", struck(20 + number, number))
    settings = {"batch": 3, "seq_len": 10, "units": 4, "hidden": 6, "test_fraction": 0.0, "output": output}
    found = Ready(MusicConfig(**settings), tmp_path / "tunes")
    model = found.drawn(0.3)
    figures = as_figures(found.task.metrics(sums_of(found, model)))
    each = [nats_in_one_go(model, chords) for chords in found.part().pieces]
    assert figures["loss"] == pytest.approx(np.concatenate(each).mean(), rel=1e-5)
    use, primer = found.use(model), struck(9)
    drawn = use.generate(primer=primer, steps=40, seed=3)
    np.testing.assert_array_equal(drawn.roll[:9], primer)
    goes_on = (drawn.roll[9:] > 0) & (drawn.roll[8:-1] > 0)
    assert {*drawn.roll[9:][goes_on].tolist()} == {midi.HELD, midi.STRUCK}
    np.testing.assert_allclose(
        drawn.nats, nats_in_one_go(model, use.keyboard.chords(drawn.roll))[9:], atol=1e-5
    )
    melody = use.generate(harmonize=primer, seed=1).roll
    for step in np.flatnonzero(primer.any(axis=1)):
        top = np.flatnonzero(primer[step]).max()
        sounded = step > 0 and melody[step - 1, top] > 0
        assert melody[step, top] == (primer[step, top] if sounded else midi.STRUCK)
    evaluation = use.evaluate(found.data, "validation")
    assert evaluation.figures["loss"] > 0
    use.draw(evaluation, tmp_path)


def test_a_melody_is_the_highest_voice_of_what_is_drawn(tmp_path):
    found = ready(tmp_path)
    use = found.use(found.drawn(0.3))
    melody = np.zeros((20, 128), np.uint8)
    melody[np.arange(20), 60 + np.arange(20) % 7] = midi.STRUCK
    melody[5] = midi.SILENT
    piece = use.generate(harmonize=melody, seed=2)
    assert len(piece.roll) == 20
    for step, sounding in enumerate(piece.roll):
        assert step == 5 or np.flatnonzero(sounding)[-1] == 60 + step % 7
    assert (piece.roll > 0).sum() > 40
    again = use.generate(harmonize=melody, seed=3)
    assert not np.array_equal(again.roll, piece.roll)


def test_options_out_of_range_and_a_primer_of_other_keys(tmp_path):
    use = ready(tmp_path).use(ready(tmp_path).build())
    for options, sentence in (
        ({"steps": 0}, "steps must be 1 to 1,000,000, got 0"),
        ({"temperature": -1.0}, "temperature must be 0 to 100"),
        ({"top_p": 0.0}, "top_p must be more than 0"),
        ({"max_notes": 0}, "max_notes must be at least 1"),
        (
            {"primer": midi.as_roll(piece(3, keys=range(110, 120)))},
            "the primer does not fit: keys must be 21 to 108",
        ),
    ):
        with pytest.raises(ConfigError, match=sentence):
            use.generate(**options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has learned two chords in turn."""
    folder = tmp_path_factory.mktemp("music")
    sounding = np.zeros((64, 128), bool)
    sounding[::2, [60, 64, 67]] = sounding[1::2, [59, 62, 67]] = True
    np.savez(folder / "set.npz", **{f"train_{n}": sounding[: 40 + n] for n in range(8)}, valid_0=sounding)
    config = MusicConfig(units=16, hidden=32, batch=4, seq_len=16, transpose=0, dropout=0.0)
    training = TrainingConfig(epochs=60, learning_rate=0.01)
    ostinato.train(config, folder / "set.npz", training=training, out=folder / "run")
    return folder / "run"


def test_it_learns_goes_on_and_is_evaluated(run):
    figures = ostinato.evaluate(run)
    assert figures["loss"] < 0.5
    assert figures["accuracy"] > 0.95
    assert figures["steps"] == 64
    assert figures["loss"] < figures["markov"] < figures["frequency"]
    assert {path.name for path in (run / "report").glob("*.png")} >= {
        "continuation-validation.png",
        "keys-validation.png",
    }
    primer = np.zeros((2, 128), bool)
    primer[0, [60, 64, 67]] = primer[1, [59, 62, 67]] = True
    drawn = ostinato.load(run).use.generate(primer=midi.as_roll(primer), steps=10, temperature=0.0)
    for step, sounding in enumerate(drawn.roll):
        assert np.flatnonzero(sounding).tolist() == ([60, 64, 67], [59, 62, 67])[step % 2]


def test_the_command_line_writes_midi_sound_and_pictures(run, tmp_path, capsys):
    midi.write(tmp_path / "primer.mid", piece(4), grid=1)
    for name, begins in (("tune.mid", b"MThd"), ("tune.wav", b"RIFF"), ("tune.png", b"\x89PNG")):
        given = ("--steps", 12, "--seed", 3, "--primer", tmp_path / "primer.mid", "--out", tmp_path / name)
        assert command("generate", run, *given) in (0, None)
        assert (tmp_path / name).read_bytes().startswith(begins)
        assert "16 steps" in capsys.readouterr().out
    assert len(midi.read(tmp_path / "tune.mid", 1)) == 16
    both = ("--out", tmp_path / "b.mid", "--out", tmp_path / "b.wav")
    assert command("generate", run, "--steps", 3, *both) in (0, None)
    assert "b.mid, " in capsys.readouterr().out
    assert (tmp_path / "b.wav").exists()
    assert command("generate", run, "--steps", 3, "--out", tmp_path / "a.mid", "--json") in (0, None)
    found = json.loads(capsys.readouterr().out)
    assert len(found["keys"]) == 3
    assert len(found["nats"]) == 3
    assert found["grid"] == 1
    assert found["longest_copied_run"] == 3  # it has learned two chords in turn


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--out", "tune.txt"), "--out must end in .mid, .wav, .png or .abc, got tune.txt"),
        (("--tempo", "0"), "tempo must be 4 to 1000"),
        (("--primer", "none.mid"), "none.mid"),
        (("--length", "5"), "--length is for runs of ostinato train lm"),
    ],
)
def test_bad_flags_get_one_sentence_and_write_nothing(run, tmp_path, monkeypatch, capsys, flags, sentence):
    monkeypatch.chdir(tmp_path)
    assert command("generate", run, *flags) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
