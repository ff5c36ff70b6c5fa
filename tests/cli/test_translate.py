"""ostinato train translate, predict, evaluate: from sentence pairs to translations on standard output."""

import gzip
import io
import json
import math
import shutil
import sys
from pathlib import Path

import pytest

import ostinato as package
from ostinato.cli.app import main
from ostinato.cli.commands.train import task_command
from ostinato.decoding.beam import Beam
from ostinato.tasks.translator import SPEC, TranslatorConfig

from ..tiny import made_once

pytestmark = pytest.mark.usefixtures("eagerly")
WHO = {"I": "je", "you": "tu", "he": "il", "she": "elle", "we": "nous", "they": "ils"}
WHAT = {
    "run": "cours cours court court courons courent",
    "see the sea": "vois vois voit voit voyons voient/la mer",
    "eat bread": "mange manges mange mange mangeons mangent/du pain",
    "sleep well": "dors dors dort dort dormons dorment/bien",
    "leave now": "pars pars part part partons partent/maintenant",
    "read this book": "lis lis lit lit lisons lisent/ce livre",
    "know": "sais sais sait sait savons savent",
}
PAIRS = [
    (f"{english} {does}.", " ".join([french, verb, *rest]) + ".")
    for does, (verbs, *rest) in ((does, said.split("/")) for does, said in WHAT.items())
    for (english, french), verb in zip(WHO.items(), verbs.split(), strict=True)
]
LINES = "".join(f"{source}\t{target}\n" for source, target in PAIRS)
TINY = ("--units", "24", "--embedding", "16", "--batch", "8", "--lr", "0.02", "--epochs", "1")
TINY += ("--evaluations", "2", "--source-encoder", "word", "--target-encoder", "word", "--dropout", "0")
TINY += ("--word-dropout", "0", "--embedding-dropout", "0", "--min-count", "1", "--bidirectional")
SPLIT = ("--validation-fraction", "0.1", "--test-fraction", "0.15")


def trained(place: Path, *arguments) -> Path:
    """Trains `place/run` on `place/pairs.tsv` and returns its path."""
    (place / "pairs.tsv").write_text(LINES)
    command = ["train", "translate", place / "pairs.tsv", "--out", place / "run", *TINY, *SPLIT, *arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(place / "cache"))
        patch.setattr(sys, "argv", ["ostinato", *map(str, command)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return place / "run"


@pytest.fixture(scope="session")
def trained_translator(tmp_path_factory) -> Path:
    """The path of a finished run of a translator that reads up to 6 tokens."""
    learns = ("--epochs", "40", "--label-smoothing", "0", "--max-tokens", "6")
    return made_once(tmp_path_factory, "translator", lambda place: trained(place, *learns)) / "run"


@pytest.fixture
def translator(trained_translator, folder) -> Path:
    """A copy of it in the working directory: `translator`."""
    shutil.copytree(trained_translator, folder / "translator")
    return Path("translator")


@pytest.fixture
def typed(monkeypatch):
    """typed(bytes): what standard input will give."""

    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


@pytest.fixture
def refused(ostinato):
    """refused(says, "train", …): the command ends with 2 and one line that says it."""

    def check(says: str, *arguments) -> None:
        answer = ostinato(*arguments)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("Error: ")
        assert answer.err.count("\n") == 1
        assert says in answer.err

    return check


# Training.


def test_a_training_says_what_it_took_and_how_to_ask(ostinato, folder):
    Path("pairs.tsv").write_text(LINES)
    arguments = ("--out", "run", *TINY, "--validation-fraction", "0.2")
    answer = ostinato("train", "translate", "pairs.tsv", *arguments)
    assert (answer.code, answer.out) == (0, "run\n")
    assert "source: word, " in answer.err
    assert "; pairs: " in answer.err
    assert "validation  loss" in answer.err
    assert 'use it: ostinato predict run "…"' in answer.err
    assert json.loads(Path("run/config.json").read_text())["task"] == "translator"
    pictures = {path.name for path in Path("run/report").glob("*.png")}
    assert pictures == {"loss.png", "bleu-by-length-validation.png"}


@pytest.mark.thorough
def test_two_aligned_files_train_the_network_that_their_pairs_train(ostinato, folder):
    Path("pairs.tsv.gz").write_bytes(gzip.compress(LINES.encode()))
    for side, name in enumerate(("pairs.en", "pairs.fr")):
        Path(name).write_text("".join(f"{pair[side]}\n" for pair in PAIRS))
    arguments = (*TINY, *SPLIT, "--json")
    one = ostinato("train", "translate", "pairs.tsv.gz", "--out", "one", *arguments)
    two = ostinato("train", "translate", "pairs.en", "pairs.fr", "--out", "two", *arguments)
    assert one.code == two.code == 0
    assert one.json["validation"]["loss"] == two.json["validation"]["loss"]


def test_every_setting_has_a_flag_and_it_reaches_the_run(ostinato, folder):
    assert {param.name for param in task_command(SPEC).params} >= {*TranslatorConfig.model_fields}
    settings = {
        "source_encoder": "char",
        "target_encoder": "bpe",
        "source_vocabulary": 300,
        "min_count": 2,
        "unicode": "nfc",
        "lowercase": "both",
        "bridge": "zeros",
        "attention": "additive",
        "label_smoothing": 0.2,
        "scheduled_sampling": 0.3,
        "scheduled_sampling_steps": 7,
        "word_dropout": 0.1,
    }
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    Path("pairs.tsv").write_text("".join(LINES.splitlines(keepends=True)[:8]))
    arguments = ("--out", "run", *TINY, "--validation-fraction", "0", "--decoder-units", "8,16")
    answer = ostinato("train", "translate", "pairs.tsv", *arguments, *flags, "--one-way", "--tied")
    assert answer.code == 0, answer.err
    config = json.loads(Path("run/config.json").read_text())["task_config"]
    assert config | settings == config
    assert (config["decoder_units"], config["bidirectional"], config["tied"]) == ([8, 16], False, True)


# Translating.


def test_every_text_gets_a_line_and_what_was_learned_is_right(ostinato, translator):
    texts = [source for source, _ in PAIRS]
    answer = ostinato("predict", translator, *texts)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines == [translation.text for translation in package.load(translator).predict(texts)]
    right = [line == target for line, (_, target) in zip(lines, PAIRS, strict=True)]
    assert sum(right) > 0.75 * len(right)  # those of the training part


def test_the_beam_is_the_one_asked_for(ostinato, translator):
    texts = [source for source, _ in PAIRS[::4]]
    flags = ("--beam", "3", "--length-penalty", "0", "--coverage-penalty", "0.4", "--no-repeat", "2")
    answer = ostinato("predict", translator, *texts, *flags, "--n-best", "3", "--json")
    beam = Beam(size=3, length_penalty=0.0, coverage_penalty=0.4, no_repeat=2, n_best=3)
    found = package.load(translator).predict(texts, beam=beam)
    for line, translation in zip(answer.out.splitlines(), found, strict=True):
        said = json.loads(line)
        assert said["score"] == pytest.approx(translation.score, abs=1e-4)
        assert said["candidates"][0] == {"text": said["text"], "score": said["score"]}
        assert [some["text"] for some in said["candidates"]] == [some.text for some in translation.candidates]
        scores = [some["score"] for some in said["candidates"]]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)


def test_the_n_best_have_their_scores_before_them_and_a_blank_line_between_texts(ostinato, translator):
    texts = ["I run.", "they know."]
    answer = ostinato("predict", translator, *texts, "--n-best", "2")
    found = package.load(translator).predict(texts, beam=Beam(n_best=2))
    groups = ["\n".join(f"{c.score:.4f}\t{c.text}" for c in one.candidates) for one in found]
    assert answer.out == "\n\n".join(groups) + "\n"


def test_json_is_one_object_a_text(ostinato, translator):
    (line,) = ostinato("predict", translator, "we see the sea.", "--json").out.splitlines()
    said = json.loads(line)
    assert list(said) == ["text", "score", "candidates", "tokens", "cut", "empty", "unknown"]
    assert (said["tokens"], said["cut"], said["empty"], said["unknown"]) == (5, False, False, False)
    assert said["score"] < 0


@pytest.mark.thorough
def test_a_file_and_standard_input_are_read_line_by_line(ostinato, translator, typed):
    data = "".join(f"{source}\n" for source, _ in PAIRS).encode()
    Path("texts.txt").write_bytes(data)
    from_file = ostinato("predict", translator, "--file", "texts.txt")
    typed(data.replace(b"\n", b"\r\n"))
    from_input = ostinato("predict", translator, "-")
    assert from_file.code == from_input.code == 0
    assert from_file.out == from_input.out == ostinato("predict", translator, *[s for s, _ in PAIRS]).out


def test_what_is_odd_is_flagged_and_counted(ostinato, translator, typed):
    texts = ["I run.", "", "zebras émigrate ☃", "I run. " * 40]
    typed("".join(f"{text}\n" for text in texts).encode())
    answer = ostinato("predict", translator, "-", "--json")
    assert answer.code == 0
    said = [json.loads(line) for line in answer.out.splitlines()]
    assert [[one[flag] for flag in ("empty", "unknown", "cut")] for one in said] == [
        [False, False, False],
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    assert (said[1]["text"], said[1]["score"], said[1]["candidates"]) == ("", None, [])
    assert (said[2]["text"], said[2]["score"]) == (texts[2], None)
    assert answer.err.splitlines() == [
        "1 of the texts was longer than 6 tokens; only the beginning was translated",
        "1 of the texts was empty, and so is what became of it",
        "1 of the texts was without a token that the model knows, and repeated as it is",
    ]
    lines = ostinato("predict", translator, *texts).out.split("\n")
    assert lines[1:3] == ["", texts[2]]
    assert ostinato("predict", translator, *texts[1:3], "--n-best", "2").out == f"nan\t\n\nnan\t{texts[2]}\n"


def test_attention_is_shown_beneath_each_translation(ostinato, translator):
    answer = ostinato("predict", translator, "we see the sea.", "zebra", "--attention")
    assert answer.code == 0
    first, *shown, last = answer.out.splitlines()
    assert (first, last) == (ostinato("predict", translator, "we see the sea.").out.rstrip("\n"), "zebra")
    assert [line[:2] for line in shown] == ["  "] * len(shown)
    assert shown[-1].split()[0] == "<eos>"
    sources = {token for line in shown for token in line.split()[1::2]}
    assert sources <= {"we", "see", "the", "sea", "."}
    said = ostinato("predict", translator, "we see the sea.", "--attention", "--json").json["alignment"]
    assert said["source"] == ["we", "see", "the", "sea", "."]
    assert [line.split()[0] for line in shown] == said["target"]
    assert [sum(row) for row in said["weights"]] == pytest.approx([1] * len(said["target"]))


def test_attention_is_drawn(ostinato, translator):
    answer = ostinato("predict", translator, "we see the sea.", "--attention-image", "seen.png")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("\n") == 1
    assert Path("seen.png").read_bytes().startswith(b"\x89PNG")


# Judging.


def test_json_is_one_flat_object_and_the_test_part_is_the_default(ostinato, translator):
    figures = ostinato("evaluate", translator, "--json").json
    assert list(figures) == [
        "bleu",
        "chrf",
        "exact_match",
        "symbol_error_rate",
        "loss",
        "perplexity",
        "sentences",
    ]
    assert figures == package.evaluate(translator, split="test")
    assert figures["perplexity"] == pytest.approx(math.exp(figures["loss"]))
    train = ostinato("evaluate", translator, "--split", "train", "--beam", "1", "--json").json
    assert train == package.evaluate(translator, split="train", beam=Beam(size=1))
    assert train["bleu"] > 90
    assert (translator / "report" / "bleu-by-length-train.png").exists()


def test_people_get_signatures_lengths_and_samples(ostinato, translator):
    Path("more.tsv").write_text("I run.\tje cours.\nthey see the sea.\tils voient la mer.\n")
    answer = ostinato("evaluate", translator, "more.tsv")
    assert (answer.code, answer.err) == (0, "")
    heading, *lines = answer.out.splitlines()
    assert heading == "translator on more.tsv, best checkpoint"
    assert any(line.startswith("  bleu signature      nrefs:1|") for line in lines)
    assert any(line.startswith("  chrf signature      nrefs:1|") for line in lines)
    table = lines.index(next(line for line in lines if line.startswith("words of the source")))
    assert [line.split()[:2] for line in lines[table + 1 : table + 3]] == [["2", "1"], ["3–4", "1"]]
    translations = [translation.text for translation in package.load(translator).predict(["I run."])]
    sample = lines.index("source       I run.")
    assert lines[sample + 1 : sample + 3] == ["reference    je cours.", f"translation  {translations[0]}"]


@pytest.mark.thorough
def test_two_files_are_judged_like_one(ostinato, translator):
    Path("more.tsv").write_text("".join(LINES.splitlines(keepends=True)[:9]))
    for side, name in enumerate(("more.en", "more.fr")):
        Path(name).write_text("".join(f"{pair[side]}\n" for pair in PAIRS[:9]))
    figures = ostinato("evaluate", translator, "more.tsv", "--json").json
    assert figures["sentences"] == 9
    assert figures == ostinato("evaluate", translator, "more.en", "more.fr", "--json").json


def test_bad_rows_are_left_out_only_when_asked(ostinato, folder, translator, refused):
    Path("gaps.tsv").write_text("I run.\tje cours.\nno tab\nwe run.\tnous courons.\n\tnothing\n")
    says = "1 row without a TAB (line 2) and 1 row with an empty side (line 4)"
    refused(says, "evaluate", translator, "gaps.tsv")
    assert ostinato("evaluate", translator, "gaps.tsv", "--skip-bad-rows", "--json").json["sentences"] == 2
    refused(says, "train", "translate", "gaps.tsv", "--out", "run", *TINY)
    arguments = ("--out", "run", *TINY, "--validation-fraction", "0", "--skip-bad-rows")
    answer = ostinato("train", "translate", "gaps.tsv", *arguments)
    assert answer.code == 0
    assert "left out 1 row without a TAB" in answer.err
    assert ostinato("evaluate", "run", "--split", "train", "--json").json["sentences"] == 2


# What is refused.

FIRST = b"I run.\tje cours.\n"
REFUSED = {
    "plain.tsv": (FIRST + b"we run.\n", "1 row without a TAB (line 2)"),
    "wide.tsv": (FIRST + b"we\trun\tnous\n", "1 row with several TABs (line 2)"),
    "empty side.tsv": (FIRST + b" \tnous\nwe\t\n", "2 rows with an empty side (lines 2, 3)"),
    "latin.tsv": (FIRST + b"caf\xc3\xa9\xe9\tx\n", "latin.tsv, line 2 is not UTF-8: byte 0xe9"),
    "nul.tsv": (FIRST + b"nu\0l\tx\n", "nul.tsv, line 2 contains a NUL byte"),
    "cut.tsv.gz": (gzip.compress(FIRST)[:-9], "cut.tsv.gz is not a complete gzip file"),
    "long.tsv": (b"a b c d e f g\th i j\n", "no training pair of long.tsv has 1 to 6 tokens on each side"),
    "empty.tsv": (b"", "empty.tsv"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_pairs_that_cannot_be_trained_on_are_refused_in_one_line(refused, folder, name):
    content, says = REFUSED[name]
    Path(name).write_bytes(content)
    arguments = ("--validation-fraction", "0", "--max-tokens", "6")
    refused(says, "train", "translate", name, "--out", "run", *TINY, *arguments)
    assert not Path("run").exists()


def test_files_of_unequal_length_are_refused(refused, folder, translator):
    Path("a.en").write_text("one\ntwo\nthree\n")
    Path("a.fr").write_text("un\ndeux\n")
    says = "a.en and a.fr must have equally many lines, got 3 and 2"
    refused(says, "train", "translate", "a.en", "a.fr", "--out", "run")
    refused(says, "evaluate", translator, "a.en", "a.fr")


def test_lines_that_are_no_text_are_refused_by_number(refused, translator, typed):
    typed(b"caf\xe9\n")
    refused("standard input, line 1 is not UTF-8: byte 0xe9 at offset 3", "predict", translator, "-")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "translator", "a", "--beam", "0"], "beam must be 1 to"),
        (["predict", "translator", "a", "--beam", "9999"], "beam must be 1 to"),
        (["predict", "translator", "a", "--n-best", "6"], "n_best must be 1 to 5, the beam size, got 6"),
        (
            ["predict", "translator", "a", "--beam", "2", "--n-best", "3"],
            "n_best must be 1 to 2, the beam size, got 3",
        ),
        (["predict", "translator", "a", "--n-best", "0"], "n_best must be 1 to 5, the beam size, got 0"),
        (
            ["predict", "translator", "a", "--length-penalty", "-1"],
            "length_penalty must be 0 to 10, got -1.0",
        ),
        (
            ["predict", "translator", "a", "--coverage-penalty", "nan"],
            "coverage_penalty must be 0 to 10, got nan",
        ),
        (
            ["predict", "translator", "a", "--no-repeat", "-1"],
            "no_repeat must be 0 (repeats allowed) to 100, got -1",
        ),
        (["predict", "translator", "--file", "gone.txt", "--beam", "0"], "beam must be 1 to"),
        (["predict", "translator", "a", "--best", "2"], "--best"),
        (
            ["predict", "translator", "a", "--explain"],
            "--explain is for runs of ostinato train classify; translator is a translator run",
        ),
        (
            ["predict", "translator", "a", "--html", "a.html"],
            "--html is for runs of ostinato train classify",
        ),
        (["predict", "translator", "a", "b", "--attention-image", "a.png"], "draws one text"),
        (["predict", "translator", "-", "--attention-image", "a.png"], "draws one text"),
        (["predict", "translator", "a", "--attention-image", "no/a.png"], "a file in a folder that exists"),
        (["predict", "translator", "zebra", "--attention-image", "a.png"], "there is nothing to draw"),
        (["predict", "run", "a", "--beam", "2"], "is a language_model run, which cannot predict"),
        (["evaluate", "translator", "--beam", "0"], "beam must be 1 to"),
        (["evaluate", "translator", "--beam", "9999"], "beam must be 1 to"),
        (["evaluate", "translator", "--n-best", "2"], "--n-best"),
        (["evaluate", "translator", "gone.tsv"], "there is no file 'gone.tsv'"),
        (["evaluate", "translator", "--skip-bad-rows"], "--skip-bad-rows needs a SOURCE; give one"),
        (
            ["evaluate", "run", "--beam", "2"],
            "--beam is for runs of ostinato train translate; run is a language_model run",
        ),
        (["evaluate", "run", "a", "b"], "is a language_model run; it is evaluated without b"),
        (
            ["evaluate", "run", "a", "--skip-bad-rows"],
            "for runs of ostinato train classify and ostinato train translate; run is a language_model run",
        ),
        (["generate", "translator"], "is a translator run, which cannot generate"),
        (["neighbors", "translator", "run"], "is a translator run, which cannot show neighbors"),
        (["train", "translate", "gone.tsv"], "there is no file 'gone.tsv'"),
        (["train", "translate", "text.txt", "--init-from", "run"], "run is a language_model run, not a"),
        (
            ["train", "translate", "text.txt", "--decoder-units", "8,x"],
            "--decoder-units must be whole numbers, as in 256,128, got 8,x",
        ),
        (
            ["train", "translate", "text.txt", "--attention", "dot"],
            "attention must be 'none', 'additive' or 'multiplicative', got 'dot'",
        ),
        (
            ["train", "translate", "text.txt", "--reset-before", "--cell", "lstm"],
            "need a cell with a reset gate, got 'lstm'",
        ),
        (["train", "translate", "text.txt", "--epochs", "1", "--steps", "1"], "a run has one budget"),
        (["train", "translate", "text.txt", "--recipe", "textbok"], "did you mean 'textbook'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_uses_that_do_not_work_are_refused_in_one_line(refused, folder, run, translator, arguments, says):
    refused(says, *arguments)


def test_without_attention_there_is_none_to_show(ostinato, folder, refused):
    Path("pairs.tsv").write_text(LINES)
    arguments = ("--out", "plain", *TINY, "--validation-fraction", "0")
    assert ostinato("train", "translate", "pairs.tsv", *arguments, "--attention", "none").code == 0
    for flag in (["--attention"], ["--attention-image", "a.png"]):
        refused("plain was trained without attention", "predict", "plain", "I run.", *flag)
