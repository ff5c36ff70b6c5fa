"""ostinato generate: only the text on standard output."""

import pytest

import ostinato as package

pytestmark = pytest.mark.usefixtures("eagerly")


def test_only_the_text_is_on_standard_output(ostinato, run):
    answer = ostinato("generate", run, "--prompt", "the ", "--length", "9", "--seed", "1")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("the ")
    assert len(answer.out) == 4 + 9 + 1
    assert answer.out == ostinato("generate", run, "--prompt", "the ", "--length", "9", "--seed", "1").out


def test_it_is_what_python_writes(ostinato, run):
    options = {"prompt": "a", "length": 12, "temperature": 1.0, "top_k": 5, "top_p": 0.9, "seed": 3}
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    assert ostinato("generate", run, *flags).out == package.load(run).generate(**options)[0] + "\n"


def test_several_texts_are_parted_by_a_blank_line(ostinato, run):
    texts = package.load(run).generate(length=9, count=3, seed=2)
    answer = ostinato("generate", run, "--length", "9", "--count", "3", "--seed", "2")
    assert answer.out == "\n\n".join(texts) + "\n"


@pytest.mark.parametrize("count", [1, 2])
def test_json_is_one_object_with_the_texts_and_the_options(ostinato, run, count):
    answer = ostinato("generate", run, "--length", "9", "--count", count, "--seed", "2", "--json")
    assert (answer.json["run"], answer.json["length"], answer.json["seed"]) == ("run", 9, 2)
    assert (answer.json["temperature"], answer.json["repetition_penalty"]) == (0.8, 1.0)
    assert answer.json["texts"] == package.load(run).generate(length=9, count=count, seed=2)


def test_temperature_zero_always_writes_the_same(ostinato, run):
    greedy = ["generate", run, "--length", "9", "--temperature", "0"]
    assert ostinato(*greedy).out == ostinato(*greedy, "--seed", "9").out


def test_the_last_checkpoint_can_be_asked_for(ostinato, run):
    answer = ostinato("generate", run, "--length", "9", "--seed", "1", "--checkpoint", "last")
    text = package.load(run, checkpoint="last").generate(length=9, seed=1)[0]
    assert answer.out == text + "\n"


# A beam.


def test_a_beam_writes_the_likeliest_text_which_is_what_python_writes(ostinato, run):
    options = {"prompt": "the ", "length": 12, "beam": 4, "no_repeat": 6}
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    answer = ostinato("generate", run, *flags)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == package.load(run).generate(**options)[0] + "\n"
    assert len(answer.out) == 4 + 12 + 1
    assert answer.out == ostinato("generate", run, *flags).out


def test_count_takes_the_best_of_a_beam(ostinato, run):
    answer = ostinato("generate", run, "--length", "12", "--beam", "4", "--count", "3", "--json")
    assert answer.json["texts"] == package.load(run).generate(length=12, beam=4, count=3)
    assert (answer.json["beam"], answer.json["no_repeat"], answer.json["temperature"]) == (4, 0, None)


def test_a_beam_of_one_writes_what_temperature_zero_writes(ostinato, run):
    arguments = ["generate", run, "--prompt", "a", "--length", "12"]
    assert ostinato(*arguments, "--beam", "1").out == ostinato(*arguments, "--temperature", "0").out


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--beam", "4", "--temperature", "0.8"], "leave out beam, or temperature"),
        (["--beam", "4", "--top-k", "3", "--seed", "0"], "leave out beam, or top_k, seed"),
        (["--beam", "4", "--top-p", "1"], "leave out beam, or top_p"),
        (["--beam", "4", "--repetition-penalty", "1"], "leave out beam, or repetition_penalty"),
        (["--beam", "0"], "beam must be 1 to"),
        (["--beam", "1000"], "beam must be 1 to"),
        (["--beam", "2", "--count", "3"], "count must be at most 2, the beam size, got 3"),
        (["--beam", "2", "--no-repeat", "-1"], "no_repeat must be 0 (repeats allowed) to 100, got -1"),
        (
            ["--beam", "2", "--length", "100001"],
            "length must be at most 100,000 tokens with a beam, got 100001",
        ),
        (
            ["--beam", "2", "--no-repeat", "1"],
            "found no text of 400 tokens with no_repeat = 1; set a shorter length",
        ),
        (["--no-repeat", "3"], "no_repeat needs a beam search; give beam, too"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_do_not_go_together_are_refused_in_one_line(ostinato, run, flags, says):
    answer = ostinato("generate", run, *flags)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err
