"""A run from Python: started, killed, resumed; and the same again, bit for bit."""

import itertools
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.cells.base import initial_state
from ostinato.errors import ConfigError, EncodingError, RunError, SourceError, TrainingError
from ostinato.runs import checkpoints
from ostinato.runs.directory import open_run
from ostinato.runs.weights import to_arrays
from ostinato.training.events import Ended, Measured, Notice, Saved, Started, StepDone
from ostinato.training.step import as_tensors

from .. import forks
from ..ready import Ready
from ..tiny import made_once
from ..variants import thorough

ROW_KEYS = [
    "step",
    "epoch",
    "split",
    "loss",
    "perplexity",
    "bits_per_character",
    "learning_rate",
    "tokens_per_second",
    "seconds",
]
TIMES = ("tokens_per_second", "seconds")


def timeless(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def assert_equal_runs(path, expected) -> None:
    """Equal metrics, times aside; equal weights, optimizer and state, bit for bit."""
    run, expected = open_run(path), open_run(expected)
    assert timeless(run.rows()) == timeless(expected.rows())
    last, expected_last = run.weights("last"), expected.weights("last")
    assert last.step == expected_last.step
    np.testing.assert_equal(last.groups, expected_last.groups)
    for name in ("epoch", "batch", "evaluations", "best_loss", "best_step", "ended"):
        assert last.position[name] == expected_last.position[name]


def files_below(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


# A run and what it leaves.


def test_two_runs_with_one_seed_are_equal_and_another_seed_gives_another(start, whole_run, tmp_path):
    start(tmp_path / "same")
    assert_equal_runs(tmp_path / "same", whole_run)
    start(tmp_path / "other", task={"seed": 1})
    rows = open_run(tmp_path / "other").rows()
    assert rows[-1]["loss"] != open_run(whole_run).rows()[-1]["loss"]


def test_every_row_has_every_figure_and_every_epoch_a_row_of_training(whole_run):
    rows = open_run(whole_run).rows()
    assert all(list(row) == ROW_KEYS for row in rows)
    assert all(isinstance(row["step"], int) for row in rows)
    train = [row for row in rows if row["split"] == "train"]
    assert [row["epoch"] for row in train if row["epoch"] % 1 == 0] == [1.0, 2.0, 3.0]
    validation = [row for row in rows if row["split"] == "validation"]
    assert len(validation) == 6
    for row in rows:
        assert row["perplexity"] == pytest.approx(np.exp(row["loss"]))
        assert row["bits_per_character"] == pytest.approx(row["loss"] / np.log(2))
        assert row["learning_rate"] == 0.01
    assert train[-1]["loss"] < train[0]["loss"]


def test_a_run_leaves_its_settings_vocabulary_pictures_and_tensorboard_events(whole_run, text_file):
    config = json.loads((whole_run / "config.json").read_text())
    assert config["version"] == 1
    assert config["ostinato"] == ostinato.__version__
    assert config["task_config"]["units"] == [8]
    assert config["task_config"]["dropout"] == 0.0  # every setting, not only those that were given
    assert config["training"]["epochs"] == 3
    assert config["source"]["description"] == {"kind": "file", "path": str(text_file), "encoding": ""}
    assert len(config["source"]["sha256"]) == 64
    assert json.loads((whole_run / "vocabulary.json").read_text())["name"] == "char"
    assert list(files_below(whole_run / "report")) == ["loss.png"]
    assert (whole_run / "report" / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    for split in ("train", "validation"):
        (events,) = (whole_run / "tensorboard" / split).glob("events.out.tfevents.*")
        assert events.stat().st_size > 0


def test_train_returns_the_run_with_its_best_weights(start, tmp_path):
    events = []
    trained = start(tmp_path / "run", training={"steps": 12}, on_event=events.append)
    assert trained.directory.path == tmp_path / "run"
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert trained.step == ended.best_step
    saved = checkpoints.load(tmp_path / "run" / "checkpoints", trained.step)
    np.testing.assert_equal(to_arrays(trained.model), saved.groups["weights"])
    assert trained.generate(prompt="the", length=10)[0].startswith("the")


def test_on_event_is_told_everything_in_order(start, tmp_path):
    events = []
    start(tmp_path / "run", training={"steps": 12, "evaluations": 3}, on_event=events.append)
    assert isinstance(events[0], Started)
    assert isinstance(events[1], Saved)
    assert isinstance(events[-1], Ended)
    assert [event.step for event in events if isinstance(event, StepDone)] == list(range(1, 13))
    assert [event.row for event in events if isinstance(event, Measured)] == open_run(tmp_path / "run").rows()
    seconds = [event.seconds for event in events if isinstance(event, StepDone)]
    assert seconds == sorted(seconds)


def test_random_windows_train_an_epoch(start, tmp_path):
    trained = start(tmp_path / "run", task={"sampling": "random"}, training={"epochs": 1, "evaluations": 1})
    *_, train, validation = trained.directory.rows()
    assert (train["split"], train["epoch"], validation["split"]) == ("train", 1.0, "validation")


@pytest.mark.parametrize("sampling", ["random", "sequential"])
def test_a_random_window_begins_from_nothing_and_a_sequential_one_where_the_last_ended(
    start, tmp_path, sampling
):
    told = []
    trained = start(
        tmp_path / "run",
        # Of an untrained network that changes by next to nothing, the losses are known beforehand.
        task={"sampling": sampling, "output_dropout": 0.0, "init_stddev": 1.0},
        training={"steps": 5, "optimizer": "sgd", "learning_rate": 1e-12},
        on_event=told.append,
    )
    task, model, losses = trained.task, trained.model, []
    ready = Ready(task.config, trained.directory.source["description"])
    nothing = initial_state(task.states(model), ready.part().rows)
    state = nothing
    for batch in itertools.islice(ready.batches(epoch=0), 5):
        loss, weight, _, after, _ = task.loss(model, as_tensors(batch), state)
        losses.append(float(loss / weight))
        state = after if sampling == "sequential" else nothing
    assert [event.loss for event in told if isinstance(event, StepDone)] == pytest.approx(losses, rel=1e-5)


def test_minutes_end_by_the_clock(start, tmp_path):
    trained = start(tmp_path / "run", training={"minutes": 0.02, "schedule": "cosine"})
    last, _ = trained.directory.newest_checkpoint()
    assert last.position["ended"] == "finished"
    assert last.step >= 1
    assert {row["split"] for row in trained.directory.rows()} == {"train", "validation"}


def test_without_a_training_config_it_is_one_epoch(tmp_path):
    config = ostinato.LanguageModelConfig(cell="rnn", units=4, seq_len=8, batch=4)
    trained = ostinato.train(config, ["abcabd" * 40], out=tmp_path / "run")
    assert trained.directory.rows()[-1]["epoch"] == 1.0


def test_runs_without_a_name_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ostinato.LanguageModelConfig(cell="rnn", units=4, seq_len=8, batch=4)
    for expected in ("runs/lm-001", "runs/lm-002"):
        trained = ostinato.train(
            config, ["abcabd" * 40], training=ostinato.TrainingConfig(steps=1, evaluations=1)
        )
        assert str(trained.directory.path) == expected


def test_a_run_in_the_way_is_replaced_only_when_asked(start, whole_run, tmp_path):
    path = shutil.copytree(whole_run, tmp_path / "run")
    before = files_below(path)
    with pytest.raises(RunError, match="already holds a run"):
        start(path)
    assert files_below(path) == before
    start(path, training={"steps": 1, "evaluations": 1}, overwrite=True)
    assert open_run(path).newest_checkpoint()[0].step == 1


def test_a_loss_that_explodes_stops_and_keeps_the_last_good_checkpoint(start, tmp_path):
    training = {
        "steps": 100,
        "optimizer": "adamw",
        "learning_rate": 1000.0,
        "weight_decay": 100.0,
        "clip": None,
        "checkpoint_minutes": 0,
    }
    message = r"no longer finite at step \d+ with learning rate 1000; the last good checkpoint"
    with pytest.raises(TrainingError, match=message):
        start(tmp_path / "run", training=training)
    trained = ostinato.load(tmp_path / "run", checkpoint="last")
    assert all(np.isfinite(array).all() for array in to_arrays(trained.model).values())


@pytest.mark.parametrize(
    "error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM")], ids=repr
)
def test_running_out_of_memory_is_said_in_one_sentence(start, tmp_path, error):
    def on_event(event):
        raise error

    with pytest.raises(TrainingError, match="not enough memory for this network; set fewer units="):
        start(tmp_path / "run", on_event=on_event)


@pytest.mark.parametrize(
    ("task", "source", "error"),
    [
        ({}, "gone.txt", SourceError),
        ({"seq_len": 10_000}, None, SourceError),
        ({"encoder": "word", "min_count": 10_000}, None, SourceError),
        ({}, [], SourceError),
        ({}, 7, SourceError),
        ({}, ["text", 7], SourceError),
    ],
)
def test_what_cannot_be_trained_leaves_nothing_behind(start, tmp_path, task, source, error):
    with pytest.raises(error):
        start(tmp_path / "runs" / "run", task=task, source=source)
    assert list(tmp_path.iterdir()) == []


def test_a_config_of_no_task_is_refused(text_file):
    with pytest.raises(
        ConfigError, match=r"the config must be one of LanguageModelConfig, .*, got TrainingConfig"
    ):
        ostinato.train(ostinato.TrainingConfig(), text_file)


# Interrupted, killed, resumed.


class CrashError(Exception):
    """What a program around a training may raise."""


def crash_at(number: int):
    told = iter(range(number))

    def on_event(event):
        if next(told, None) is None:
            raise CrashError

    return on_event


@pytest.mark.parametrize("number", [0, thorough(4), 16, thorough(47)])
def test_a_run_that_crashed_at_any_event_and_is_resumed_equals_one_that_did_not(
    start, whole_run, tmp_path, number
):
    # The very first of about sixty events comes before anything is trained.
    with pytest.raises(CrashError):
        start(tmp_path / "run", on_event=crash_at(number))
    ostinato.resume(tmp_path / "run")
    assert_equal_runs(tmp_path / "run", whole_run)


@pytest.mark.thorough
def test_a_run_that_was_killed_and_resumed_equals_one_that_was_not(start, text_file, tmp_path):
    # It saves after every step, so that the kill falls into a save as often as not.
    settings = "[training]\nsteps = 100\nlog_every = 1\nevaluations = 4\ncheckpoint_minutes = 0\n"
    (tmp_path / "settings.toml").write_text(settings)
    network = ["--cell", "gru", "--units", "8", "--seq-len", "30", "--batch", "4", "--output-dropout", "0.2"]
    command = ["train", "lm", str(text_file), "--config", "settings.toml", "--out", "run", *network]
    instant = random.Random(5).randint(1, 40)
    process = forks.Fork([*forks.OSTINATO, *command], cwd=tmp_path)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= instant):
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"

    events = []
    ostinato.resume(tmp_path / "run", on_event=events.append)
    assert events[0].step > 0
    assert events[0].notes == (f"resuming at step {events[0].step}",)
    training = {"steps": 100, "log_every": 1, "evaluations": 4, "learning_rate": 1e-3}
    start(tmp_path / "whole", training=training)
    assert_equal_runs(tmp_path / "run", tmp_path / "whole")
    steps = [row["step"] for row in open_run(tmp_path / "run").rows() if row["split"] == "train"]
    assert steps == list(range(1, 101))


def test_ctrl_c_finishes_the_step_saves_and_can_be_resumed(start, whole_run, tmp_path):
    events = []

    def press_at_step_eight(event):
        events.append(event)
        if isinstance(event, StepDone) and event.step == 8:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", on_event=press_at_step_eight)
    assert isinstance(events[-1], Ended)
    assert (events[-1].reason, events[-1].step) == ("interrupted", 8)
    assert events[-2] == Saved(8, checkpoints.path_of(tmp_path / "run" / "checkpoints", 8), best=False)
    ostinato.resume(tmp_path / "run")
    assert_equal_runs(tmp_path / "run", whole_run)


def test_ctrl_c_again_after_a_resume_is_resumed_again(start, whole_run, tmp_path):
    def press_at(step):
        def on_event(event):
            if isinstance(event, StepDone) and event.step == step:
                signal.raise_signal(signal.SIGINT)

        return on_event

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", on_event=press_at(2))
    with pytest.raises(KeyboardInterrupt):
        ostinato.resume(tmp_path / "run", on_event=press_at(20))
    ostinato.resume(tmp_path / "run")
    assert_equal_runs(tmp_path / "run", whole_run)


def test_a_picture_that_a_kill_prevented_is_drawn_by_resuming(whole_run, tmp_path):
    path = shutil.copytree(whole_run, tmp_path / "run")
    (path / "report" / "loss.png").unlink()
    before = files_below(path)
    ostinato.resume(path)
    assert (path / "report" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert {name: data for name, data in files_below(path).items() if name != "report/loss.png"} == before


def test_an_evaluation_that_is_broken_off_is_made_up_for_first(start, whole_run, tmp_path):
    def press(event):
        if isinstance(event, StepDone) and event.fraction == 1.0:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", on_event=press)
    rows, last = open_run(tmp_path / "run").rows(), open_run(whole_run).weights("last").step
    assert (rows[-1]["split"], rows[-1]["step"]) == ("train", last)
    events = []
    ostinato.resume(tmp_path / "run", on_event=events.append)
    assert not any(isinstance(event, StepDone) for event in events)
    assert_equal_runs(tmp_path / "run", whole_run)


def test_sigterm_saves_and_ends_with_its_own_exit_code(start, whole_run, tmp_path):
    events = []

    def terminate(event):
        events.append(event)
        if isinstance(event, StepDone) and event.step == 7:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        start(tmp_path / "run", on_event=terminate)
    assert ended.value.code == 143
    assert (events[-1].reason, events[-1].step) == ("terminated", 7)
    ostinato.resume(tmp_path / "run")
    assert_equal_runs(tmp_path / "run", whole_run)


def test_a_run_is_trained_by_one_process_at_a_time(start, tmp_path):
    refused = []

    def meanwhile(event):
        if isinstance(event, StepDone) and event.step == 3:
            for again in (
                lambda: ostinato.resume(tmp_path / "run"),
                lambda: start(tmp_path / "run", overwrite=True),
            ):
                with pytest.raises(RunError, match="is being trained by process") as error:
                    again()
                refused.append(error.value)

    start(tmp_path / "run", on_event=meanwhile)
    assert len(refused) == 2
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_finished_run_is_only_loaded(whole_run, tmp_path):
    path = shutil.copytree(whole_run, tmp_path / "run")
    before, events = files_below(path), []
    trained = ostinato.resume(path, on_event=events.append)
    assert trained.step == ostinato.load(path).step
    assert events == [Notice(f"{path} is finished; there is nothing to resume")]
    assert files_below(path) == before


@pytest.fixture(scope="module")
def interrupted_run(start, tmp_path_factory):
    """The path of a run of a file beside it, interrupted after 10 of 36 steps."""

    def press(event):
        if isinstance(event, StepDone) and event.step == 10:
            signal.raise_signal(signal.SIGINT)

    def make(place):
        rows = np.random.default_rng(0).choice(["the", "cat", "sat", "on", "a", "mat"], size=(50, 8))
        (place / "book.txt").write_text("\n".join(map(" ".join, rows)))
        with pytest.raises(KeyboardInterrupt):
            start(place / "run", source=place / "book.txt", training={"steps": 36}, on_event=press)

    return made_once(tmp_path_factory, "interrupted", make) / "run"


@pytest.fixture
def copied_run(interrupted_run, tmp_path):
    """A copy of it, whose source may be changed."""
    book = shutil.copy(interrupted_run.parent / "book.txt", tmp_path / "book.txt")
    path = shutil.copytree(interrupted_run, tmp_path / "run")
    config = json.loads((path / "config.json").read_text())
    config["source"]["description"]["path"] = str(book)
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_a_damaged_newest_checkpoint_is_passed_over_and_told(copied_run, interrupted_run, tmp_path):
    steps = checkpoints.steps(copied_run / "checkpoints")
    assert steps[-1] == 10
    damaged = copied_run / "checkpoints" / "step-000000010" / "optimizer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    events = []
    ostinato.resume(copied_run, on_event=events.append)
    problem, resuming = events[0].notes
    assert "optimizer.safetensors does not match its checksum" in problem
    assert problem.endswith(f"resuming at step {steps[-2]} instead")
    assert resuming == f"resuming at step {steps[-2]}"
    shutil.copytree(interrupted_run, tmp_path / "whole")
    ostinato.resume(tmp_path / "whole")
    assert_equal_runs(copied_run, tmp_path / "whole")


@pytest.mark.thorough
def test_settings_of_a_network_that_the_weights_are_not_of_are_refused_before_it_is_made(copied_run):
    config = json.loads((copied_run / "config.json").read_text())
    config["task_config"]["units"] = [65536] * 8  # a thousand gigabytes
    (copied_run / "config.json").write_text(json.dumps(config))
    before = files_below(copied_run)
    with pytest.raises(RunError, match="another network's"):
        ostinato.resume(copied_run)
    assert files_below(copied_run) == before


def test_a_run_without_a_whole_checkpoint_cannot_be_resumed(copied_run):
    for manifest in (copied_run / "checkpoints").glob("*/manifest.json"):
        manifest.unlink()
    with pytest.raises(RunError, match=r"manifest\.json is missing"):
        ostinato.resume(copied_run)


@pytest.mark.parametrize("change", [" and more", "☃", ""])
def test_a_changed_source_is_refused(copied_run, change):
    book = copied_run.parent / "book.txt"
    book.write_text(book.read_text() + change if change else book.read_text()[1:])
    before = files_below(copied_run)
    for use in (ostinato.resume, ostinato.evaluate):
        with pytest.raises(RunError, match=r"the source of .* has changed since training began"):
            use(copied_run)
    assert files_below(copied_run) == before


def test_a_missing_source_is_named(copied_run):
    (copied_run.parent / "book.txt").unlink()
    with pytest.raises(SourceError, match=r"book\.txt"):
        ostinato.resume(copied_run)


def test_a_source_only_touched_is_the_same(copied_run, interrupted_run, tmp_path):
    os.utime(copied_run.parent / "book.txt", (1, 1))
    assert ostinato.resume(copied_run).directory.newest_checkpoint()[0].step == 36


@pytest.mark.parametrize(
    "damage", [{"source": {"sha256": "0" * 64}}, {"source": {"description": 5}}, {"training": {"steps": "x"}}]
)
def test_a_run_with_damaged_settings_cannot_be_resumed(copied_run, damage):
    config = json.loads((copied_run / "config.json").read_text())
    for name, value in damage.items():
        config[name] = config[name] | value
    (copied_run / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"damaged|has changed"):
        ostinato.resume(copied_run)


def test_text_given_in_python_resumes_while_the_cache_holds_it(tmp_path, cache):
    config = ostinato.LanguageModelConfig(cell="rnn", units=4, seq_len=8, batch=4)
    training = ostinato.TrainingConfig(steps=20, evaluations=1)
    with pytest.raises(CrashError):
        ostinato.train(config, ["abcabd" * 40], training=training, out=tmp_path / "run", on_event=crash_at(9))
    shutil.copytree(tmp_path / "run", tmp_path / "later")
    assert ostinato.resume(tmp_path / "run").directory.newest_checkpoint()[0].step == 20
    shutil.rmtree(cache)
    with pytest.raises(SourceError, match="the source was text given in Python, which is not kept"):
        ostinato.resume(tmp_path / "later")


# Starting from another run.


def test_fine_tuning_starts_from_the_other_runs_best_weights_and_vocabulary(start, whole_run, tmp_path):
    events = []
    start(
        tmp_path / "tuned",
        source=["the cat sat on a mat\n" * 40],
        training={"steps": 2, "evaluations": 1},
        init_from=whole_run,
        on_event=events.append,
    )
    base = ostinato.load(whole_run)
    assert events[0].notes == (f"starting from the weights of {whole_run}, step {base.step}",)
    first = checkpoints.load(tmp_path / "tuned" / "checkpoints", 0)
    np.testing.assert_equal(first.groups["weights"], to_arrays(base.model))
    assert not any(array.any() for array in first.groups["optimizer"].values())
    vocabularies = [(path / "vocabulary.json").read_bytes() for path in (tmp_path / "tuned", whole_run)]
    assert vocabularies[0] == vocabularies[1]


def test_fine_tuning_on_unknown_symbols_names_them_and_writes_nothing(start, whole_run, tmp_path):
    with pytest.raises(EncodingError, match=r"the vocabulary of .* does not fit the source: .*'Z', '☃'"):
        start(tmp_path / "tuned", source=["the Z and the ☃ " * 40], init_from=whole_run)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", [{"units": 9}, {"cell": "lstm"}, {"units": (8, 8)}, {"embedding": 3}])
def test_fine_tuning_another_network_is_refused_and_writes_nothing(start, whole_run, tmp_path, task):
    with pytest.raises(RunError, match="are another network's: "):
        start(tmp_path / "tuned", task=task, init_from=whole_run)
    assert list(tmp_path.iterdir()) == []
