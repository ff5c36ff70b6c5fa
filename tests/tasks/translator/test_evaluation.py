"""What an evaluation of a translator finds, from pairs whose translations are known."""

import importlib.util
import math

import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from ostinato.data.encoders.word import WordEncoder
from ostinato.data.examples.sentences import Sentences
from ostinato.tasks.translator import evaluation as evaluations
from ostinato.tasks.translator.evaluation import tokenizer_for

TARGET = Sentences(WordEncoder(("HH", " AH0", " L", " OW1", " EH1", " W")))
FIGURES = {"loss": 1.5, "perplexity": math.exp(1.5)}
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def compared(part, pairs, figures):
    return evaluations.compared(part, pairs, figures, TARGET)


def sentences(count: int) -> list[str]:
    """Different sentences of 4 to 12 words."""
    return [" ".join(WORDS[: 4 + n % 9]) + f" {n}" for n in range(count)]


def test_what_is_translated_right_has_full_marks():
    pairs = [(text, text.upper(), text.upper()) for text in sentences(30)]
    evaluation = compared("test", pairs, FIGURES)
    assert list(evaluation.figures) == [
        "bleu",
        "chrf",
        "exact_match",
        "symbol_error_rate",
        "loss",
        "perplexity",
        "sentences",
    ]
    assert evaluation.figures["bleu"] == pytest.approx(100)
    assert evaluation.figures["chrf"] == pytest.approx(100)
    assert (evaluation.figures["exact_match"], evaluation.figures["symbol_error_rate"]) == (1.0, 0.0)
    assert evaluation.figures["sentences"] == 30
    assert {**evaluation.figures, **FIGURES} == evaluation.figures
    assert (evaluation.part, evaluation.notes) == ("test", ())


def test_single_words_are_counted_and_edits_are_by_the_symbols_of_all_references():
    right, wrong = "HH AH0 L OW1", "HH EH1 L W OW1"  # one symbol changed, another added
    figures = compared(
        "test", [("hello", right, right), ("hello", right, wrong), ("o", "OW1", "")], FIGURES
    ).figures
    assert figures["exact_match"] == pytest.approx(1 / 3)
    assert figures["symbol_error_rate"] == pytest.approx((0 + 2 + 1) / (4 + 4 + 1))
    assert compared("test", [("o", " OW1 ", "OW1")], FIGURES).figures["exact_match"] == 1.0


def test_figures_and_signatures_are_sacrebleus():
    references = [f"{text} ." for text in sentences(20)]
    translations = [text.replace("three", "3") for text in references]
    evaluation = compared("test", list(zip(references, references, translations, strict=True)), FIGURES)
    assert evaluation.figures["bleu"] == BLEU().corpus_score(translations, [references]).score
    assert evaluation.figures["chrf"] == CHRF().corpus_score(translations, [references]).score
    assert 0 < evaluation.figures["bleu"] < 100
    assert "|tok:13a|" in evaluation.signatures["bleu"]
    assert "|nc:6|" in evaluation.signatures["chrf"]


def test_every_sentence_is_counted_in_one_range_of_lengths_with_its_bleu():
    short = [(f"a {n}", f"one two three four {n}", f"one two three four {n}") for n in range(10)]
    long = [(f"a b c d e f {n}", f"five six seven eight {n}", "nothing of it") for n in range(10)]
    evaluation = compared("test", long + short, FIGURES)
    assert evaluation.length_unit == "words"
    found = [(some.shortest, some.longest, some.sentences) for some in evaluation.lengths]
    assert found == [(2, 2, 10), (3, 7, 10)]
    assert [some.bleu for some in evaluation.lengths] == [pytest.approx(100), 0]
    lengths = compared("test", [(text, text, text) for text in sentences(90)], FIGURES).lengths
    assert sum(some.sentences for some in lengths) == 90
    assert [some.shortest for some in lengths[1:]] == [some.longest + 1 for some in lengths[:-1]]
    assert (lengths[0].shortest, lengths[-1].longest) == (5, 13)
    assert 3 <= len(lengths) <= 5


def test_sources_without_spaces_between_words_are_counted_in_characters():
    evaluation = compared("test", [("你好 世界", "hello", "hello"), ("早", "hi", "hi")], FIGURES)
    assert evaluation.length_unit == "characters"
    assert (evaluation.lengths[0].shortest, evaluation.lengths[-1].longest) == (1, 4)


@pytest.mark.parametrize(("count", "samples"), [(1, 1), (4, 4), (1000, 10)])
def test_samples_are_from_all_over_the_part_and_always_the_same(count, samples):
    pairs = [(text, f"r{n}", f"t{n}") for n, text in enumerate(sentences(count))]
    first, second = (compared("test", pairs, FIGURES).samples for _ in range(2))
    assert first == second
    assert len(first) == samples
    assert (first[0].reference, first[-1].translation) == ("r0", f"t{count - 1}")
    assert {(some.source, some.reference, some.translation) for some in first} <= set(pairs)


@pytest.mark.parametrize(
    ("texts", "tokenizer"),
    [
        (["The cat sat."], "13a"),
        (["Кошка сидит."], "13a"),
        (["The sign 猫 means a cat."], "13a"),
        (["猫坐在垫子上。"], "zh"),
        (["用 TensorFlow 训练模型。"], "zh"),
        (["", "..."], "13a"),
    ],
    ids=["latin", "cyrillic", "latin with a sign", "han", "han with latin", "nothing"],
)
def test_the_tokeniser_follows_from_the_script(texts, tokenizer):
    assert tokenizer_for(texts) == (tokenizer, ())


@pytest.mark.parametrize(
    ("text", "tokenizer", "module", "language"),
    [
        ("猫がマットの上に座った。", "ja-mecab", "MeCab", "Japanese"),
        ("고양이가 매트 위에 앉았다.", "ko-mecab", "mecab_ko", "Korean"),
    ],
    ids=["japanese", "korean"],
)
def test_a_tokeniser_that_is_not_installed_gives_way_to_characters_and_it_is_said(
    text, tokenizer, module, language
):
    found, notes = tokenizer_for([text])
    if importlib.util.find_spec(module) is not None:
        assert (found, notes) == (tokenizer, ())
        return
    assert found == "char"
    assert f"tokeniser of {language} is not installed" in notes[0]
    evaluation = compared("test", [("a", text, text)], FIGURES)
    assert (evaluation.notes, "|tok:char|" in evaluation.signatures["bleu"]) == (notes, True)
