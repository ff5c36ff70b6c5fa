"""What whoever waits for a training sees."""

import io
import math
import re
from pathlib import Path

import pytest

from ostinato.training.events import Ended, Evaluating, Measured, Saved, Started, StepDone
from ostinato.training.progress import ProgressView, clock

RUN = Path("runs/lm-001")
STARTED = Started(RUN, 0, "5 steps", 12, 12_345, ("resuming at step 3",))
ROW = {
    "step": 1000,
    "epoch": 1.5,
    "split": "validation",
    "loss": 2.0,
    "perplexity": math.exp(2.0),
    "bits_per_character": 2.885,
    "learning_rate": 0.001,
    "tokens_per_second": 54_321.0,
    "seconds": 125.0,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step(number: int, loss: float = 2.0) -> StepDone:
    return StepDone(number, 0, number / 5, loss, 2048.0, 0.001, 0.1 * number, 65.0)


def shown(stream: io.StringIO, *events) -> str:
    view = ProgressView(stream)
    for event in events:
        view(event)
    view.close()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (125, "2:05"), (3725, "1:02:05")],
)
def test_times_are_as_people_read_them(seconds, text):
    assert clock(seconds) == text


def test_into_a_file_go_plain_lines(monkeypatch):
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    train = ROW | {"split": "train"}
    text = shown(io.StringIO(), STARTED, step(1), Measured(train), Measured(ROW), Saved(1000, RUN, True))
    assert "\x1b" not in text
    assert text.splitlines() == [
        "training runs/lm-001: 12,345 weights, 12 steps an epoch, budget 5 steps",
        "resuming at step 3",
        "step 1,000  epoch 1.50  train       loss 2.000  perplexity 7.389  bits per character 2.885  "
        "54,321 tokens/s  2:05",
        "step 1,000  epoch 1.50  validation  loss 2.000  perplexity 7.389  bits per character 2.885  2:05",
    ]


def test_a_terminal_gets_a_bar_with_loss_perplexity_speed_and_time_left(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    text = shown(Terminal(), STARTED, step(1), step(2), Measured(ROW))
    assert "step 1" in text
    assert "loss 2.000" in text
    assert "perplexity 7.39" in text
    assert "20,480 tokens/s" in text
    assert "1:05 left" in text
    assert "validation  loss 2.000" in text


def test_a_loss_beyond_all_measure_has_a_perplexity_that_can_be_shown(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert "loss 5000.000" in shown(Terminal(), STARTED, step(1, loss=5000.0))


@pytest.mark.parametrize(
    ("reason", "lines"),
    [
        ("finished", ["finished after 1,000 steps in 2:05; best validation loss 1.9000 at step 900"]),
        (
            "stopped early",
            ["stopped early after 1,000 steps in 2:05; best validation loss 1.9000 at step 900"],
        ),
        (
            "interrupted",
            ["interrupted and saved at step 1,000", "go on with: ostinato train --resume runs/lm-001"],
        ),
    ],
)
def test_the_end_is_told_with_what_to_do_next(reason, lines):
    assert shown(io.StringIO(), Ended(RUN, 1000, reason, 125.0, 1.9, 900)).splitlines() == lines


def test_without_a_validation_part_there_is_no_best_loss():
    text = shown(io.StringIO(), Ended(RUN, 10, "finished", 5.0, None, None))
    assert text == "finished after 10 steps in 5 s\n"


def test_square_brackets_in_a_path_are_no_markup():
    odd = Path("runs/[bold]x[/bold]")
    assert str(odd) in shown(io.StringIO(), Started(odd, 0, "5 steps", 12, 1, ()))


def test_the_bar_shows_an_evaluation_and_ends_full(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    view = ProgressView(stream)
    view(STARTED)
    view(step(4))
    view._shown_at = 0.0
    view(Evaluating(3, 12))
    assert "evaluating 25%" in stream.getvalue()
    view(step(5))
    view(Ended(RUN, 5, "finished", 0.5, None, None))
    assert "100%" in stream.getvalue().splitlines()[-2]
    assert "99%" not in stream.getvalue()


def test_an_evaluation_after_the_training_has_a_bar_of_its_own(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    view = ProgressView(stream)
    for event in (STARTED, step(5), Ended(RUN, 5, "finished", 0.5, None, None)):
        view(event)
    view._shown_at = 0.0
    view(Evaluating(1, 2))
    view.close()
    assert "evaluating the validation part" in stream.getvalue()
    assert "50%" in stream.getvalue()


def test_an_evaluations_time_does_not_count_as_trainings(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    view = ProgressView(Terminal())
    view(STARTED)
    view(step(1))
    view(Evaluating(1, 1))
    view(StepDone(2, 0, 0.4, 2.0, 2048.0, 0.001, 100.0, 65.0))
    assert view._rate == pytest.approx(20_480)


@pytest.mark.parametrize("columns", [80, 90, 200])
def test_a_line_has_room_for_what_ctrl_c_shows(monkeypatch, columns):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    text = shown(Terminal(), STARTED, step(1))
    bars = [
        re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]", text) if "━" in line
    ]
    assert bars
    assert all(len(bar.rstrip()) + len("^C") < columns for bar in bars)


@pytest.mark.parametrize(
    ("last", "best_step", "said"), [(1.9, 2000, True), (1.995, 2000, False), (1.9, 1000, False)]
)
def test_a_loss_that_still_falls_is_said_with_the_way_to_go_on(last, best_step, said):
    later = ROW | {"step": 2000, "epoch": 2.5, "loss": last}
    text = shown(
        io.StringIO(), Measured(ROW), Measured(later), Ended(RUN, 2000, "finished", 9.0, last, best_step)
    )
    way = "the validation loss was still falling; go on with: ostinato train --resume runs/lm-001 --epochs 6"
    assert (text.splitlines()[-1] == way) is said


@pytest.mark.parametrize("epochs", [9, 10, 25])
def test_without_a_validation_part_the_last_epochs_perplexity_is_told_beside_the_mean_of_ten(epochs):
    def row(epoch):
        return Measured(ROW | {"split": "train", "epoch": float(epoch), "perplexity": 1.0 + epoch / 100})

    events = [each for epoch in range(1, epochs + 1) for each in (row(epoch - 0.5), row(epoch))]
    text = shown(io.StringIO(), *events, Ended(RUN, 10, "finished", 5.0, None, None))
    last = text.splitlines()[-1]
    if epochs < 10:
        assert last == "finished after 10 steps in 5 s"
    else:
        mean = 1.0 + (epochs - 4.5) / 100
        assert last == (
            f"training perplexity {1.0 + epochs / 100:.4g} in the last epoch, "
            f"{mean:.4g} in the mean of the last 10"
        )
