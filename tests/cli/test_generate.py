"""ostinato generate: only the text on standard output."""

import pytest

import ostinato as package


def test_only_the_text_is_on_standard_output(ostinato, run):
    answer = ostinato("generate", run, "--prompt", "the ", "--length", "50", "--seed", "1")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("the ")
    assert len(answer.out) == 4 + 50 + 1
    assert answer.out == ostinato("generate", run, "--prompt", "the ", "--length", "50", "--seed", "1").out


def test_it_is_what_python_writes(ostinato, run):
    options = {"prompt": "a", "length": 30, "temperature": 1.0, "top_k": 5, "top_p": 0.9, "seed": 3}
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    assert ostinato("generate", run, *flags).out == package.load(run).generate(**options)[0] + "\n"


def test_several_texts_are_parted_by_a_blank_line(ostinato, run):
    texts = package.load(run).generate(length=20, count=3, seed=2)
    answer = ostinato("generate", run, "--length", "20", "--count", "3", "--seed", "2")
    assert answer.out == "\n\n".join(texts) + "\n"


@pytest.mark.parametrize("count", [1, 2])
def test_json_is_one_object_with_the_texts_and_the_options(ostinato, run, count):
    answer = ostinato("generate", run, "--length", "20", "--count", count, "--seed", "2", "--json")
    assert (answer.json["run"], answer.json["length"], answer.json["seed"]) == ("run", 20, 2)
    assert answer.json["texts"] == package.load(run).generate(length=20, count=count, seed=2)


def test_temperature_zero_always_writes_the_same(ostinato, run):
    greedy = ["generate", run, "--length", "20", "--temperature", "0"]
    assert ostinato(*greedy).out == ostinato(*greedy, "--seed", "9").out


def test_the_last_checkpoint_can_be_asked_for(ostinato, run):
    answer = ostinato("generate", run, "--length", "20", "--seed", "1", "--checkpoint", "last")
    text = package.load(run, checkpoint="last").generate(length=20, seed=1)[0]
    assert answer.out == text + "\n"
