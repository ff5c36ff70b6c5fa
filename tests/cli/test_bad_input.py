"""Whatever is wrong: one line that says what and why, exit code 2, and nothing half-written."""

import json
import subprocess
from pathlib import Path

import pytest

import ostinato as package

from .. import forks

# Python ignores SIGXFSZ, so that a write beyond the limit fails as one on a full disk does.
ON_A_DISK = """
import resource, sys
size = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
from ostinato.cli import main
main()
"""


def files_below(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(ostinato, folder, cache):
    """refused(says, *arguments): the command fails with one line that says this, and writes nothing."""

    def check(says: str, *arguments) -> None:
        before = files_below(folder)
        answer = ostinato(*arguments)
        assert answer.code == 2
        assert answer.err.startswith("Error: ")
        assert answer.err.endswith("\n")
        assert answer.err.count("\n") == 1, answer.err
        assert says in answer.err
        assert answer.out == ""
        assert files_below(folder) == before
        assert not list(cache.rglob("*.partial"))

    return check


# The source.


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.txt", None, "there is no file or folder 'gone.txt'; the corpora with names are pydoc, "),
        ("tinyshakespear", None, "did you mean 'tinyshakespeare'?"),
        ("*.tex", None, "no file matches '*.tex'"),
        ("empty.txt", b"", "empty.txt is empty: it has no text"),
        (
            "latin.txt",
            b"caf\xc3\xa9\xe9 " * 99,
            "is not UTF-8 text: byte 0xe9 at offset 5 (invalid continuation byte)",
        ),
        ("latin.txt", b"caf\xc3\xa9\xe9 " * 99, "--encoder byte"),
        ("dull.txt", b"a" * 999, "dull.txt consists of one symbol: there is nothing to predict"),
        ("short.txt", b"ab", "the training part has 2 tokens, too few for one window of 30 steps"),
        ("broken.txt.gz", b"no gzip", "is not a complete gzip file"),
    ],
)
def test_a_source_that_cannot_be_trained_on_is_refused(refused, tiny, folder, name, content, says):
    if content is not None:
        (folder / name).write_bytes(content)
    refused(says, "train", "lm", name, *tiny)


def test_a_folder_without_text_is_refused(refused, folder):
    (folder / "photos").mkdir()
    (folder / "photos" / "cat.jpg").write_bytes(b"\xff")
    refused("the folder photos contains no", "train", "lm", "photos")


# Sizes, flags and settings.


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--batch", "0"], "batch must be at least 1, got 0"),
        (["--batch", "-4"], "batch must be at least 1, got -4"),
        (["--batch", "10000000"], "batch must be at most 65,536, got 10000000"),
        (["--seq-len", "0"], "seq_len must be at least 1, got 0"),
        (["--units", "0"], "units must be 1 to 64 layers of 1 to 65,536 units each"),
        (["--units", "-8"], "units must be 1 to 64 layers"),
        (["--units", "10000000"], "units must be 1 to 64 layers"),
        (["--units", "many"], "--units must be whole numbers, as in 256,128, got many"),
        (["--layers", "0"], "layers must be 1 to 64, got 0"),
        (["--layers", "1000"], "layers must be 1 to 64, got 1000"),
        (["--units", "8,8", "--layers", "3"], "layers = 3 contradicts units = [8, 8]"),
        (["--embedding", "-1"], "embedding must be at least 0, got -1"),
        (["--vocabulary-size", "5", "--encoder", "bpe"], "vocabulary_size must be at least 257, got 5"),
        (["--max-tokens", "0"], "max_tokens must be at least 2, got 0"),
        (["--max-tokens", "20"], "too few for one window"),
        (["--epochs", "0"], "epochs must be at least 1, got 0"),
        (["--steps", "-1"], "steps must be at least 1, got -1"),
        (["--minutes", "0"], "minutes must be more than 0, got 0"),
        (["--minutes", "nan"], "minutes must be at most 1,000,000, got nan"),
        (["--lr", "0"], "learning_rate must be more than 0, got 0.0"),
        (["--lr", "-1"], "learning_rate must be more than 0, got -1.0"),
        (["--lr", "nan"], "learning_rate must be at most 1,000, got nan"),
        (["--dropout", "1"], "dropout must be less than 1, got 1.0"),
        (["--clip", "-1"], "clip must be more than 0, got -1.0"),
        (["--seed", "-1"], "seed must be at least 0, got -1"),
        (["--validation-fraction", "1"], "validation_fraction must be less than 1, got 1.0"),
        (["--validation-fraction", "0.5", "--test-fraction", "0.5"], "leave nothing to train on"),
        (["--epochs", "1", "--steps", "1"], "a run has one budget; choose one of --epochs, --steps"),
        (["--minutes", "1", "--steps", "1"], "a run has one budget; choose one of --steps, --minutes"),
        (["--recipe", "d2l", "--config", "my.toml"], "--recipe and --config both give the settings"),
        (["--reset-before", "--cell", "lstm"], "need a cell with a reset gate, got 'lstm'"),
        (
            ["--tied"],
            "embedding must be 8, the units of the top layer",
        ),
        (["--patience", "2", "--validation-fraction", "0"], "patience needs a validation part"),
        (
            ["--recipe", "defalt"],
            "unknown recipe 'defalt'; did you mean 'default'? Known are d2l",
        ),
        (["--config", "gone.toml"], "could not read the config gone.toml: No such file or directory"),
        (["--cell", "lstn"], "rg-lru, slstm, mlstm, gated-delta, got 'lstn'"),
        (["--engine", "nativ"], "engine must be one of auto, native, keras, scratch, got 'nativ'"),
        (
            ["--encoder", "chars"],
            "encoder must be one of char, byte, word, bpe, word_bpe, got 'chars'; did you mean 'char'?",
        ),
        (["--sampling", "sorted"], "sampling must be 'sequential' or 'random', got 'sorted'"),
        (["--optimizer", "rmsprop"], "optimizer must be 'sgd', 'adam' or 'adamw', got 'rmsprop'"),
        (["--schedule", "linear"], "schedule must be 'constant', 'step' or 'cosine', got 'linear'"),
        (["--steps", "many"], "Invalid value for '--steps'"),
        (["--stepz", "3"], "No such option: --stepz"),
        (["--steps"], "Option '--steps' requires an argument"),
        (["more.txt"], "unexpected extra argument"),
        (["--resume", "run"], "--resume takes every setting from the run"),
        (["--init-from", "nowhere"], "there is no run at nowhere"),
    ],
    ids=" ".join,
)
def test_flags_that_do_not_work_are_refused(refused, tiny, flags, says):
    refused(says, "train", "lm", "text.txt", *tiny, *flags)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[language_model]\nunitz = 8", "unknown setting 'unitz'; did you mean 'units'?"),
        ("[training]\nlearnin_rate = 1", "unknown setting 'learnin_rate'; did you mean 'learning_rate'?"),
        ("[trainin]\nsteps = 1", "my.toml: unknown key 'trainin'; did you mean 'training'?"),
        ("[language_model]\nunits = 8.5", "each of units must be a whole number, got 8.5"),
        ("[language_model]\nunits = [[8]]", "each of units must be a whole number, got [8]"),
        ("[training]\nsteps = 1\nepochs = 1", "a run has one budget, but epochs and steps are given"),
        ("[training", "my.toml is not TOML"),
    ],
)
def test_a_config_file_that_does_not_work_is_refused(refused, folder, toml, says):
    (folder / "my.toml").write_text(toml)
    refused(says, "train", "lm", "text.txt", "--config", "my.toml")


def test_a_command_that_does_not_exist_is_refused(refused):
    refused("No such command 'trian'", "trian")
    refused("Missing argument", "generate")


# Where the run would go.


def test_what_is_in_the_way_is_left_alone(refused, run, folder, tiny):
    (folder / "photos").mkdir()
    (folder / "photos" / "cat.jpg").write_bytes(b"\xff")
    train = ["train", "lm", "text.txt", *tiny, "--steps", "1"]
    refused("run already holds a run; resume it (ostinato train --resume run)", *train, "--out", run)
    refused("photos exists, is not empty, and is not a run directory", *train, "--out", "photos")
    refused("photos exists, is not empty, and is not a run", *train, "--out", "photos", "--overwrite")
    refused("text.txt exists and is not a folder", *train, "--out", "text.txt", "--overwrite")
    refused("could not write text.txt/run: Not a directory", *train, "--out", "text.txt/run")
    refused("cannot be the name of a run directory", *train, "--out", ".")
    refused("File name too long", *train, "--out", "x" * 300)


def test_a_cache_that_cannot_be_written_is_named(refused, folder, tiny, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(folder / "text.txt" / "cache"))
    says = f"cannot write to the cache {folder}/text.txt/cache (Not a directory); set OSTINATO_CACHE"
    refused(says, "train", "lm", "text.txt", *tiny)


def on_a_disk_of(size: int, *arguments: str) -> subprocess.CompletedProcess:
    """Runs `ostinato`, whose files end at so many bytes."""
    return forks.run("-c", ON_A_DISK, size, *arguments)


def test_a_disk_that_fills_up_stops_the_training_and_keeps_what_was_saved(folder, tiny):
    (folder / "my.toml").write_text("[training]\nsteps = 500\nlog_every = 1\nevaluations = 50\n")
    done = on_a_disk_of(12_000, "train", "lm", "text.txt", "--config", "my.toml", "--out", "run", *tiny)
    assert (done.returncode, done.stdout) == (2, "")
    *progress, error = done.stderr.splitlines()
    assert error.startswith("Error: could not write run/")
    assert progress[0].startswith("training run: ")
    assert all(line.startswith("step ") for line in progress[1:])
    assert package.load("run", checkpoint="last").step > 0
    assert all(entry.name.startswith("step-") for entry in (folder / "run" / "checkpoints").iterdir())


def test_a_disk_that_is_full_from_the_beginning_leaves_nothing(folder, tiny):
    done = on_a_disk_of(4_000, "train", "lm", "text.txt", "--steps", "5", "--out", "run", *tiny)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: could not write ")
    assert done.stderr.count("\n") == 1
    assert [entry.name for entry in folder.iterdir()] == ["text.txt"]


# Runs that are none, or damaged.

READERS = [["generate"], ["evaluate"], ["train", "--resume"], ["train", "lm", "text.txt", "--init-from"]]


@pytest.mark.parametrize("reader", READERS, ids=" ".join)
def test_what_is_no_run_is_refused_by_every_command(refused, folder, run, reader):
    refused("there is no run at nowhere", *reader, "nowhere")
    refused("there is no run at text.txt: it is a file, not a folder", *reader, "text.txt")
    (folder / "empty").mkdir()
    refused("empty is not a run directory: it has no config.json", *reader, "empty")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"version": 99}))
    refused("run was written by a newer version of ostinato (run format 99", *reader, run)
    (run / "config.json").write_text('{"format": "ostinato')
    refused("run/config.json is damaged", *reader, run)
    (run / "config.json").write_text(json.dumps(config))
    (run / "vocabulary.json").write_text("{}")
    if reader[-1] != "--resume":  # a finished run is only told to be finished
        refused("the vocabulary is damaged", *reader, run)
    for checkpoint in (run / "checkpoints").iterdir():
        (checkpoint / "weights.safetensors").write_bytes(b"")
    (run / "vocabulary.json").write_text(json.dumps({"name": "char", "normalize": "none", "symbols": ["a"]}))
    refused("weights.safetensors does not match its checksum", *reader, run)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["generate", "run", "--prompt", "the Zoo ☃"], "were not in the training text: 'Z', '☃'"),
        (["generate", "run", "--length", "0"], "length must be 1 to 10 million tokens, got 0"),
        (["generate", "run", "--length", "-5"], "length must be 1 to 10 million tokens, got -5"),
        (
            ["generate", "run", "--length", "100000000"],
            "length must be 1 to 10 million tokens, got 100000000",
        ),
        (["generate", "run", "--count", "0"], "count must be 1 to 10,000 texts, got 0"),
        (["generate", "run", "--count", "100000"], "count must be 1 to 10,000 texts, got 100000"),
        (["generate", "run", "--temperature", "-1"], "temperature must be 0 (greedy) to 100, got -1.0"),
        (["generate", "run", "--temperature", "nan"], "temperature must be 0 (greedy) to 100, got nan"),
        (["generate", "run", "--top-k", "0"], "top_k must be at least 1, got 0"),
        (["generate", "run", "--top-p", "1.5"], "top_p must be more than 0 and at most 1, got 1.5"),
        (
            ["generate", "run", "--repetition-penalty", "0"],
            "repetition_penalty must be 1 (none) to 100, got 0.0",
        ),
        (["generate", "run", "--checkpoint", "newest"], "checkpoint must be 'best' or 'last', got 'newest'"),
        (["evaluate", "run", "--checkpoint", "newest"], "checkpoint must be 'best' or 'last', got 'newest'"),
        (["evaluate", "run", "--split", "all"], "--split must be train, validation or test, got all"),
        (["evaluate", "run", "--split", "test"], "run kept no test part; evaluate another"),
        (["evaluate", "run", "text.txt", "--split", "train"], "leave out --split or the SOURCE"),
        (["evaluate", "run", "gone.txt"], "there is no file or folder 'gone.txt'"),
        (["evaluate", "run", "strange.txt"], "were not in the training text: '☃'"),
        (["evaluate", "run", "tiny.txt"], "the source is too short"),
        (["train", "--resume", "run", "--steps", "5"], "steps must be more than the 12 that"),
        (["train", "--resume", "run", "lm"], "--resume takes every setting from the run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_uses_of_a_run_that_do_not_work_are_refused(refused, folder, run, arguments, says):
    (folder / "strange.txt").write_text("the ☃")
    (folder / "tiny.txt").write_text("t")
    refused(says, *arguments)


def test_a_source_that_has_changed_is_refused(refused, folder, ostinato, tiny):
    ostinato("train", "lm", "text.txt", "--steps", "2", "--out", "run", *tiny)
    with open("text.txt", "a") as file:
        file.write("the end")
    refused("the source of run has changed since training began", "evaluate", "run")


def test_fine_tuning_on_another_alphabet_names_the_strangers(refused, folder, run):
    (folder / "other.txt").write_text("the ☃ and the Yeti " * 40)
    says = "the vocabulary of run does not fit the source: the text has symbols that were not in the "
    refused(says, "train", "lm", "other.txt", "--init-from", run, "--steps", "1")
    refused("'Y', '☃'", "train", "lm", "other.txt", "--init-from", run, "--steps", "1")
    refused("another network's", "train", "lm", "text.txt", "--init-from", run, "--units", "9")
