"""Lists in which every line is a text of its own: their batches, their loss, and what is written."""

import math
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from ostinato.cells.base import initial_state
from ostinato.errors import ConfigError, RunError, RunWarning, SourceError
from ostinato.tasks.base import Loss
from ostinato.tasks.language_model import LanguageModelConfig
from ostinato.tasks.language_model.source import Texts, open_source
from ostinato.training.evaluation import Evaluator
from ostinato.training.step import as_tensors

from ...ready import Ready, stirred

NAMES = [f"{first}{rest}" for first in "ABCDE" for rest in ("na", "ob", "arla", "iete", "a", "nanas")]
LISTED = "\n".join([*NAMES, "", "Bob", "Bob"])


def prepared(source=None, **changes) -> Ready:
    settings = {"lines": True, "units": 6, "batch": 4, "cell": "gru"} | changes
    return Ready(LanguageModelConfig(**settings), [LISTED] if source is None else source)


def lines_of(ready: Ready, batch) -> list[str]:
    """The lines of a batch, of which rows are: start, line, padding; and as targets line, end, padding."""
    words, lines = ready.data.words, []
    for tokens, targets, weights in zip(batch["tokens"], batch["targets"], batch["weights"], strict=True):
        size = int(weights.sum())
        assert weights.tolist() == [1.0] * size + [0.0] * (len(weights) - size)
        assert tokens[0] == words.start
        assert targets[size - 1] == words.end
        assert tokens[1:size].tolist() == targets[: size - 1].tolist()
        lines.append(words.text(targets[: size - 1]))
    return lines


# Parts and batches.


def test_an_epoch_has_every_line_once_in_another_order_and_no_state_between():
    ready = prepared(validation_fraction=0.0)
    epochs = [
        [line for batch in ready.batches(epoch=epoch) for line in lines_of(ready, batch)] for epoch in (0, 1)
    ]
    assert Counter(epochs[0]) == Counter(epochs[1]) == Counter(LISTED.split()) | Counter(Bob=2)
    assert epochs[0] != epochs[1]
    assert not ready.part().carries_state
    assert ready.task.states(ready.build()) == ()
    assert ready.data.notes == (
        "every line is a text of its own; lines: 32 for train",
        "left out 1 blank line",
    )


def test_parts_are_drawn_at_random_and_have_every_line_once():
    ready = prepared(validation_fraction=0.3, test_fraction=0.2)
    parts = [ready.data.texts(name) for name in ("train", "validation", "test")]
    assert sorted(line for part in parts for line in part) == sorted(LISTED.split())
    assert [len(part) for part in parts] == [18, 8, 6]
    assert len({line[0] for line in parts[1]}) > 2  # an alphabetical list is not cut by its letters
    assert parts[1] != prepared(validation_fraction=0.3, test_fraction=0.2, seed=1).data.texts("validation")


def test_batches_have_lines_of_similar_length():
    ready = prepared(validation_fraction=0.0)
    widths = [batch["tokens"].shape[1] for batch in ready.batches(epoch=0)]
    assert sorted(widths)[0] == 3  # the shortest lines have two letters
    assert max(widths) == 7


@pytest.mark.parametrize("count", [2, 3])
def test_the_shards_of_a_batch_join_to_the_global_batch_and_any_batch_can_be_the_first(count):
    ready = prepared()
    for epoch in (None, 2):
        whole = list(ready.batches(epoch=epoch))
        shards = [list(ready.batches(epoch=epoch, shard=(index, count))) for index in range(count)]
        for batch, *parts in zip(whole, *shards, strict=True):
            for name in ("tokens", "targets", "weights", "characters"):
                joined = np.concatenate([part[name] for part in parts])
                np.testing.assert_array_equal(joined, batch[name])
        later = list(ready.batches(epoch=epoch, start=2))
        for batch, same in zip(later, whole[2:], strict=True):
            np.testing.assert_array_equal(batch["tokens"], same["tokens"])


def test_training_evaluates_on_whole_lines_drawn_from_a_long_validation_part():
    ready = prepared(validation_fraction=0.5, validation_tokens=20)
    some, whole = ready.part("validation"), ready.data.in_order("validation")
    assert sum(batch["weights"].sum() for batch in some.batches()) <= 20
    assert {*some.numbers} < {*whole.numbers}
    assert len(whole.numbers) == 16


# The loss.


def nats_by_hand(ready: Ready, model, line: str) -> float:
    """-Σ log p(y_t | start, y_1 … y_t-1) over the tokens and the end, one token at a time."""
    words, state, total = ready.data.words, initial_state(model.stack.states, 1), 0.0
    token = words.start
    for target in [*words.encoder.encode(line).tolist(), words.end]:
        logits, state = model(tf.constant([[token]]), state)
        total -= float(tf.nn.log_softmax(logits[0, 0])[target])
        token = target
    return total


def test_the_loss_is_that_of_every_line_by_hand_with_its_end_from_a_zero_state():
    ready = prepared(validation_fraction=0.0, batch=5)
    model = ready.drawn()
    for batch in ready.batches(epoch=0):
        loss = ready.task.loss(model, as_tensors(batch), ())
        lines = lines_of(ready, batch)
        assert float(loss.total) == pytest.approx(
            sum(nats_by_hand(ready, model, line) for line in lines), rel=1e-5
        )
        assert float(loss.weight) == sum(len(line) + 1 for line in lines)
        assert float(loss.sums["lines"]) == len(lines)
        assert loss.state == ()


def test_an_evaluation_is_exact_and_names_the_figures_of_tokens_and_lines():
    ready = prepared(validation_fraction=0.4)
    model = ready.drawn()
    use = ready.use(model)
    lines = ready.data.texts("validation")
    nats = [nats_by_hand(ready, model, line) for line in lines]
    metrics, weight = Evaluator(ready.task, model)(ready.data.in_order("validation"))
    found = {metric.name: metric.value for metric in metrics}
    tokens = sum(map(len, lines)) + len(lines)
    assert weight == tokens
    assert found["loss"] == pytest.approx(sum(nats) / tokens, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(sum(nats) / tokens), rel=1e-5)
    assert found["bits_per_character"] == pytest.approx(sum(nats) / math.log(2) / tokens, rel=1e-5)
    assert found["loss_per_line"] == pytest.approx(sum(nats) / len(nats), rel=1e-5)
    assert found["perplexity_per_line"] == pytest.approx(math.exp(sum(nats) / len(nats)), rel=1e-4)

    each = list(use.line_losses(ready.data, "validation"))
    assert [one.line for one in each] == lines
    assert [one.loss for one in each] == pytest.approx(nats, rel=1e-5)
    assert [one.tokens for one in each] == [len(line) + 1 for line in lines]
    assert each[0].per_token == each[0].loss / each[0].tokens


def test_one_long_text_has_the_figures_of_before_and_no_loss_of_lines():
    ready = Ready(LanguageModelConfig(units=6, batch=4, seq_len=8), [LISTED])
    names = [metric.name for metric in ready.task.metrics(Loss(1.0, 1.0, {"characters": 1.0}))]
    assert names == ["loss", "perplexity", "bits_per_character"]
    with pytest.raises(ConfigError, match="the loss of every line needs a model of lines"):
        list(ready.use(ready.build()).line_losses(ready.data, "train"))


# Settings and sources.


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"seq_len"}, "--seq-len has no effect with --lines"),
        ({"sampling"}, "--sampling has no effect with --lines"),
        ({"validation", "validation_fraction"}, "both set the validation part; choose one"),
    ],
)
def test_settings_without_effect_are_refused(given, sentence):
    config = LanguageModelConfig(lines=True)
    config.check_given({"units", "lines"})
    with pytest.raises(ConfigError, match=sentence):
        config.check_given(given)
    with pytest.raises(ConfigError, match="max_tokens reads the beginning of one long text"):
        LanguageModelConfig(lines=True, max_tokens=10)


@pytest.mark.parametrize("lines", [False, True])
def test_a_text_of_its_own_is_the_whole_validation_part_and_belongs_to_the_source(tmp_path, lines):
    (tmp_path / "a.txt").write_text(LISTED)
    (tmp_path / "b.txt").write_text("Anna\nBob\n\nCarla")
    source = open_source(tmp_path / "a.txt", validation=tmp_path / "b.txt")
    ready = prepared(source, lines=lines, seq_len=4, validation_fraction=0.1)
    part = ready.data.in_order("validation")
    weight = sum(batch["weights"].sum() for batch in part.batches())
    assert weight == (15 if lines else len("Anna\nBob\n\nCarla") - 1)
    whole = sum(batch["weights"].sum() for batch in ready.data.in_order("train").batches())
    assert whole == len(LISTED) - (not lines)  # of lines: every letter, and every end but the blank one's
    again = open_source(ready.data.source["description"])
    assert again == Texts(again.text, again.validation)
    assert ready.task.read(again, vocabulary=ready.data.vocabulary).source == ready.data.source
    (tmp_path / "b.txt").write_text("Anna\nBob")
    with_other = ready.task.read(open_source(tmp_path / "a.txt", validation=tmp_path / "b.txt"))
    assert with_other.source["sha256"] != ready.data.source["sha256"]


@pytest.mark.parametrize("lines", [False, True])
def test_unknown_symbols_are_dropped_or_replaced_when_asked_and_counted(tmp_path, lines):
    ready = prepared([LISTED + "\nb?b"], lines=lines, seq_len=4)
    (tmp_path / "other.txt").write_text("AXna\nBXYb")
    read = {}
    for how in ("drop", "replace"):
        source = open_source(tmp_path / "other.txt", unknown=how)
        data = ready.task.read(source, vocabulary=ready.data.vocabulary, whole=True)
        read[how] = sum(batch["weights"].sum() for batch in data.in_order("train").batches())
        done = "dropped" if how == "drop" else "replaced"
        assert f"other.txt: {done} 3 characters that the model lacks ('X', 'Y')" in data.notes[-1]
        assert data.vocabulary == ready.data.vocabulary
    assert read["replace"] - read["drop"] == 3
    with pytest.raises(ConfigError, match="unknown must be error, drop or replace, got dropp; did you mean"):
        open_source(tmp_path / "other.txt", unknown="dropp")


# Writing.


def test_first_letters_follow_the_model_and_not_the_line_before():
    ready = prepared(validation_fraction=0.0)
    model = stirred(ready.build(), 0.5, seed=3)
    words, count = ready.data.words, 4000
    logits, _ = model(tf.constant([[words.start]]), model.stack.initial_state(1))
    logits = logits.numpy()[0, 0].astype(np.float64)
    logits[[words.start, words.end]] = -np.inf  # never written first
    expected = count * np.exp(logits) / np.exp(logits).sum()
    texts = ready.use(model).generate(count=count, temperature=1.0, seed=5, length=6)
    symbols = words.encoder.symbols
    seen = np.array([symbols.index(text[:1]) for text in texts])
    counts = np.bincount(seen, minlength=words.size)
    kept = expected > 5
    assert kept.sum() > 5
    assert chi_square(counts[kept], expected[kept]) < limit(kept.sum() - 1)

    often = np.argsort(-counts)[:4]
    pairs = np.array([[np.sum((seen[:-1] == a) & (seen[1:] == b)) for b in often] for a in often])
    alone = pairs.sum(1, keepdims=True) * pairs.sum(0, keepdims=True) / pairs.sum()
    assert chi_square(pairs, alone) < limit(9)


def chi_square(found, expected) -> float:
    return float((((found - expected) ** 2) / expected).sum())


def limit(freedom: int) -> float:
    """About the 99.9 % quantile of χ² (Wilson & Hilferty 1931)."""
    return freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.parametrize("encoder", ["char", "byte", "word", "bpe", "word_bpe"])
def test_every_text_is_one_line_that_begins_with_its_prompt(encoder):
    ready = prepared(["A b c\nAb d\nb b c\n"], encoder=encoder, vocabulary_size=258, validation_fraction=0.0)
    use = ready.use(stirred(ready.build(), 0.4))
    for options in ({"seed": 1, "temperature": 1.3}, {"beam": 4}):
        texts = use.generate(prompt="Ab", count=4, length=12, **options)
        assert len(texts) == 4
        assert all(text.startswith("Ab") and not {*"\r\n"} & {*text} for text in texts)
    with pytest.raises(ConfigError, match="a prompt of a line must have no line end"):
        use.generate(prompt="Ab\nb")


def test_what_is_told_piece_by_piece_is_the_line():
    ready = prepared(validation_fraction=0.0)
    use, told = ready.use(stirred(ready.build(), 0.3)), []
    (text,) = use.generate(seed=2, length=200, on_text=told.append)
    assert "".join(told) == text


def test_the_likeliest_line_is_that_of_all_short_lines():
    ready = prepared(["ab\nba\nbb"], validation_fraction=0.0)
    model = stirred(ready.build(), 0.6, seed=2)
    lines = ["", *"ab", *(a + b for a in "ab" for b in "ab")]
    nats = {line: nats_by_hand(ready, model, line) for line in lines}
    found = ready.use(model).generate(length=3, beam=4, count=1)
    assert found == [min(nats, key=nats.__getitem__)]


def test_unique_lines_are_new_and_never_twice(tmp_path):
    (tmp_path / "names.txt").write_text("ab\nba\nbb\naa\n")
    ready = prepared(tmp_path / "names.txt", validation_fraction=0.25)
    use = ready.use(ready.build()).reading(ready.data.source)
    found = use.generate(unique=True, count=20, temperature=1.0, length=4, seed=1)
    assert len({*found}) == 20
    assert not {*found} & {"ab", "ba", "bb", "aa"}
    assert found == use.generate(unique=True, count=20, temperature=1.0, length=4, seed=1)
    # Of at most two letters there are six lines, two of which are new.
    with pytest.warns(RunWarning, match="found only 2 of 5 new lines among .* samples"):
        assert sorted(use.generate(unique=True, count=5, length=2, temperature=1.0, seed=1)) == ["a", "b"]
    for refused, sentence in (({"beam": 2}, "leave out unique or beam"),):
        with pytest.raises(ConfigError, match=sentence):
            use.generate(unique=True, **refused)
    (tmp_path / "names.txt").write_text("ab\nba\n")
    with pytest.raises(RunError, match="its source has changed since"):
        use.generate(unique=True)
    (tmp_path / "names.txt").unlink()
    with pytest.raises(RunError, match=r"unique needs the lines .*: there is no file or folder"):
        use.generate(unique=True)
    with pytest.raises(RunError, match="the model does not belong to a run"):
        ready.use(ready.build()).generate(unique=True)


def test_a_vocabulary_of_lines_is_no_vocabulary_of_a_text():
    ready = prepared()
    assert ready.data.words.from_json(ready.data.vocabulary) == ready.data.words
    with pytest.raises(ConfigError, match=r"of a model of lines, .* start from a run without lines=True"):
        Ready(LanguageModelConfig(seq_len=4), [LISTED], vocabulary=ready.data.vocabulary)
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        ready.task.build({"encoder": ready.data.vocabulary["encoder"], "lines": 1})


def test_a_list_of_nothing_is_refused():
    with pytest.raises(SourceError):
        prepared(["\n\n"])
