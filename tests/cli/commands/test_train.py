"""ostinato train: which settings it takes, what it prints where, and going on after Ctrl-C."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ostinato as package
from ostinato.runs import checkpoints
from ostinato.training.events import StepDone
from ostinato.training.recipes import read_recipe

from ... import forks

pytestmark = pytest.mark.usefixtures("eagerly")
OSTINATO = str(Path(sys.executable).with_name("ostinato"))


def config_of(path) -> dict:
    return json.loads((Path(path) / "config.json").read_text())


def interrupt(config, out: Path) -> None:
    """Trains a run and presses Ctrl-C after its second step."""

    def press(event):
        if isinstance(event, StepDone) and event.step == 2:
            signal.raise_signal(signal.SIGINT)

    training = package.TrainingConfig(steps=6, evaluations=2)
    with pytest.raises(KeyboardInterrupt):
        package.train(config, "text.txt", training=training, out=out, on_event=press)


# Output.


def test_the_run_is_printed_last_and_the_progress_goes_to_standard_error(ostinato, folder, tiny):
    answer = ostinato("train", "lm", "text.txt", "--steps", "3", *tiny)
    assert (answer.code, answer.out) == (0, "runs/lm-001\n")
    first, *_, finished, hint = answer.err.splitlines()
    assert first.startswith("training runs/lm-001: ")
    assert first.endswith("12 steps an epoch, budget 3 steps")
    assert finished.startswith("finished after 3 steps in ")
    assert hint == "use it: ostinato generate runs/lm-001"
    assert ostinato("train", "text.txt", "--steps", "1", *tiny).out == "runs/lm-002\n"


def test_json_is_one_object_with_the_last_figures(ostinato, folder, tiny):
    answer = ostinato("train", "lm", "text.txt", "--steps", "3", "--out", "run", "--json", *tiny)
    assert answer.json.keys() == {"run", "best_step", "train", "validation"}
    assert answer.json["run"] == "run"
    assert answer.json["train"]["step"] == answer.json["validation"]["step"] == 3


@pytest.mark.thorough
def test_a_process_prints_nothing_but_that(folder, tiny):
    command = [OSTINATO, "train", "text.txt", "--steps", "2", *tiny]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "runs/lm-001\n")
    assert all(
        line.startswith(("training runs/lm-001", "step ", "finished after 2 steps", "use it: "))
        for line in done.stderr.splitlines()
    ), done.stderr


# Settings.


def test_flags_alone_mean_the_language_model_on_the_default_corpus(ostinato, folder, tiny):
    answer = ostinato("train", "--steps", "2", "--max-tokens", "3000", "--json", *tiny)
    assert answer.code == 0
    assert answer.json["run"] == "runs/lm-001"
    config = config_of("runs/lm-001")
    assert config["task"] == "language_model"
    assert config["source"]["description"] == {"kind": "named", "path": "pydoc", "encoding": ""}


def test_a_bare_train_fits_the_default_recipe_to_the_default_corpus_and_ctrl_c_ends_it_well(folder):
    process = forks.Fork((*forks.OSTINATO, "train"))
    begun = Path("runs/lm-001/metrics.jsonl")
    while process.poll() is None and not begun.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert (process.wait(), process.out.read_text()) == (130, "")
    err = process.err.read_text()
    *_, saved, hint = err.splitlines()
    assert saved.startswith("interrupted and saved at step ")
    assert hint == "go on with: ostinato train --resume runs/lm-001"
    assert "Traceback" not in err

    config, recipe = config_of("runs/lm-001"), read_recipe("language_model", "default")
    assert config["source"]["description"] == {"kind": "named", "path": "pydoc", "encoding": ""}
    chosen = config["chosen"]
    assert {"units", "output_dropout", "learning_rate"} <= {*chosen["settings"]}
    assert "tokens" in chosen["because"]
    assert f"chosen {chosen['because']}: " in err
    settings = config["task_config"] | config["training"]
    fitted = {name: settings[name] for name in chosen["settings"]}
    of_task = {name: fitted[name] for name in fitted if name in package.LanguageModelConfig.model_fields}
    of_training = {name: fitted[name] for name in fitted if name not in of_task}
    expected = package.LanguageModelConfig(**recipe.task | of_task)
    assert package.LanguageModelConfig(**config["task_config"]) == expected
    expected = package.TrainingConfig(**recipe.training | of_training)
    assert package.TrainingConfig(**config["training"]) == expected
    assert checkpoints.steps(Path("runs/lm-001/checkpoints"))[-1] >= 1


def test_a_flag_overrides_the_recipe_and_the_rest_stays_the_recipes(ostinato, folder):
    flags = ["--cell", "lstm", "--units", "8", "--epochs", "1", "--lr", "0.5"]
    answer = ostinato("train", "lm", "text.txt", "--recipe", "d2l", "--out", "run", *flags)
    assert answer.code == 0
    config = config_of("run")
    recipe = read_recipe("language_model", "d2l")
    task = package.LanguageModelConfig(**recipe.task | {"cell": "lstm", "units": 8})
    assert package.LanguageModelConfig(**config["task_config"]) == task
    training = package.TrainingConfig(**recipe.training | {"epochs": 1, "learning_rate": 0.5})
    assert package.TrainingConfig(**config["training"]) == training
    assert (config["training"]["optimizer"], config["training"]["clip"]) == ("sgd", 1.0)
    vocabulary = json.loads(Path("run/vocabulary.json").read_text())["symbols"]
    assert set(vocabulary) <= set(" abcdefghijklmnopqrstuvwxyz")


def test_a_budget_flag_replaces_the_recipes_budget(ostinato, folder, tiny):
    ostinato("train", "lm", "text.txt", "--recipe", "d2l", "--steps", "1", "--out", "run", *tiny)
    training = config_of("run")["training"]
    assert (training["steps"], training["epochs"], training["minutes"]) == (1, None, None)


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (["--units", "8,6"], "units", [8, 6]),
        (["--units", "8", "--layers", "2"], "units", [8, 8]),
        (["--reset-before"], "reset_after", False),
        (["--embedding", "8", "--tied"], "tied", True),
        (["--encoder", "byte"], "encoder", "byte"),
        (["--sampling", "random"], "sampling", "random"),
        (["--dropout", "0.2"], "dropout", 0.2),
        (["--seed", "3"], "seed", 3),
    ],
)
def test_flags_reach_the_run(ostinato, folder, tiny, flags, name, value):
    answer = ostinato("train", "lm", "text.txt", "--steps", "1", "--out", "run", *tiny, *flags)
    assert answer.code == 0, answer.err
    assert config_of("run")["task_config"][name] == value


def test_a_clip_of_zero_does_not_clip(ostinato, folder, tiny):
    ostinato("train", "lm", "text.txt", "--steps", "1", "--out", "run", "--clip", "0", *tiny)
    assert config_of("run")["training"]["clip"] is None


def test_a_config_file_of_ones_own_gives_the_settings(ostinato, folder):
    Path("mine.toml").write_text(
        '[language_model]\ncell = "rnn"\nunits = 5\nlayers = 2\nseq_len = 20\nbatch = 3\n'
        '[training]\nsteps = 2\noptimizer = "sgd"\n'
    )
    answer = ostinato("train", "lm", "text.txt", "--config", "mine.toml", "--out", "run", "--units", "4,3")
    assert answer.code == 0
    config = config_of("run")
    assert (config["task_config"]["cell"], config["task_config"]["units"]) == ("rnn", [4, 3])
    assert (config["training"]["steps"], config["training"]["optimizer"]) == (2, "sgd")


def test_keep_is_how_many_checkpoints_stay(ostinato, folder, tiny):
    flags = ["--steps", "8", "--evaluations", "8", "--keep", "4"]
    ostinato("train", "text.txt", "--out", "run", *tiny, *flags)
    assert checkpoints.steps(Path("run/checkpoints"))[-4:] == [5, 6, 7, 8]
    assert config_of("run")["training"]["keep"] == 4


def test_overwrite_replaces_a_run(ostinato, folder, run, tiny):
    answer = ostinato("train", "lm", "text.txt", "--steps", "1", "--out", run, "--overwrite", *tiny)
    assert answer.code == 0
    assert config_of(run)["training"]["steps"] == 1


def test_fine_tuning_takes_the_other_runs_network_unless_told_otherwise(ostinato, folder, run):
    answer = ostinato("train", "lm", "text.txt", "--init-from", run, "--steps", "1", "--out", "tuned")
    assert answer.code == 0, answer.err
    assert "starting from the weights of run, step " in answer.err
    assert config_of("tuned")["task_config"] == config_of(run)["task_config"]


def test_standard_input_is_a_source(ostinato, folder, tiny, monkeypatch):
    with open("text.txt") as text:
        monkeypatch.setattr(sys, "stdin", text)
        assert ostinato("train", "lm", "-", "--steps", "1", "--out", "run", *tiny).code == 0
    assert config_of("run")["source"]["description"]["kind"] == "stdin"


# Going on.


def test_ctrl_c_exits_with_130_and_a_resume_goes_on(ostinato, folder):
    config = package.LanguageModelConfig(cell="gru", units=8, seq_len=30, batch=4)
    interrupt(config, Path("run"))
    answer = ostinato("train", "--resume", "run")
    assert (answer.code, answer.out) == (0, "run\n")
    assert "resuming at step 2" in answer.err
    assert "finished after 6 steps" in answer.err


def test_a_resume_of_a_finished_run_says_so(ostinato, run):
    answer = ostinato("train", "--resume", run)
    assert (answer.code, answer.out) == (0, "run\n")
    assert answer.err.splitlines()[0] == "run is finished; there is nothing to resume"
    assert ostinato("train", "--json", "--resume", run).json["train"]["step"] == 12
