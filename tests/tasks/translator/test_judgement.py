"""What an evaluation of a translator finds, from pairs whose translations are known."""

import importlib.util
import math

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from ostinato.tasks.translator.judgement import judged, tokenizer_for
from ostinato.tasks.translator.pictures import alignment_text, draw, draw_alignment
from ostinato.tasks.translator.translations import Alignment

FIGURES = {"loss": 1.5, "perplexity": math.exp(1.5)}
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def sentences(count: int) -> list[str]:
    """Different sentences of 4 to 12 words."""
    return [" ".join(WORDS[: 4 + n % 9]) + f" {n}" for n in range(count)]


def test_what_is_translated_right_has_full_marks():
    pairs = [(text, text.upper(), text.upper()) for text in sentences(30)]
    judgement = judged("test", pairs, FIGURES)
    assert list(judgement.figures) == ["bleu", "chrf", "loss", "perplexity", "sentences"]
    assert judgement.figures["bleu"] == pytest.approx(100)
    assert judgement.figures["chrf"] == pytest.approx(100)
    assert judgement.figures["sentences"] == 30
    assert {**judgement.figures, **FIGURES} == judgement.figures
    assert (judgement.part, judgement.notes) == ("test", ())


def test_figures_and_signatures_are_sacrebleus():
    references = [f"{text} ." for text in sentences(20)]
    translations = [text.replace("three", "3") for text in references]
    judgement = judged("test", list(zip(references, references, translations, strict=True)), FIGURES)
    assert judgement.figures["bleu"] == BLEU().corpus_score(translations, [references]).score
    assert judgement.figures["chrf"] == CHRF().corpus_score(translations, [references]).score
    assert 0 < judgement.figures["bleu"] < 100
    assert "|tok:13a|" in judgement.signatures["bleu"]
    assert "|nc:6|" in judgement.signatures["chrf"]


def test_every_sentence_is_counted_in_one_range_of_lengths_with_its_bleu():
    short = [(f"a {n}", f"one two three four {n}", f"one two three four {n}") for n in range(10)]
    long = [(f"a b c d e f {n}", f"five six seven eight {n}", "nothing of it") for n in range(10)]
    judgement = judged("test", long + short, FIGURES)
    assert judgement.length_unit == "words"
    found = [(some.shortest, some.longest, some.sentences) for some in judgement.lengths]
    assert found == [(2, 2, 10), (3, 7, 10)]
    assert [some.bleu for some in judgement.lengths] == [pytest.approx(100), 0]
    lengths = judged("test", [(text, text, text) for text in sentences(90)], FIGURES).lengths
    assert sum(some.sentences for some in lengths) == 90
    assert [some.shortest for some in lengths[1:]] == [some.longest + 1 for some in lengths[:-1]]
    assert (lengths[0].shortest, lengths[-1].longest) == (5, 13)
    assert 3 <= len(lengths) <= 5


def test_sources_without_spaces_between_words_are_counted_in_characters():
    judgement = judged("test", [("你好 世界", "hello", "hello"), ("早", "hi", "hi")], FIGURES)
    assert judgement.length_unit == "characters"
    assert (judgement.lengths[0].shortest, judgement.lengths[-1].longest) == (1, 4)


@pytest.mark.parametrize(("count", "samples"), [(1, 1), (4, 4), (1000, 10)])
def test_samples_are_from_all_over_the_part_and_always_the_same(count, samples):
    pairs = [(text, f"r{n}", f"t{n}") for n, text in enumerate(sentences(count))]
    first, second = (judged("test", pairs, FIGURES).samples for _ in range(2))
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
    judgement = judged("test", [("a", text, text)], FIGURES)
    assert (judgement.notes, "|tok:char|" in judgement.signatures["bleu"]) == (notes, True)


# Pictures.


def test_bleu_by_length_is_drawn(tmp_path):
    judgement = judged("validation", [(text, text, text) for text in sentences(20)], FIGURES)
    assert draw(judgement, tmp_path) == [tmp_path / "bleu-by-length-validation.png"]
    assert (tmp_path / "bleu-by-length-validation.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("error")
def test_an_alignment_of_any_script_is_drawn(tmp_path):
    weights = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5]])
    # No font has the character that Unicode keeps from ever being one.
    odd = Alignment(("$x$", "更大", "\x1b"), ("\U0003fffe", "<eos>"), weights)
    assert not draw_alignment(odd, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert draw_alignment(Alignment(("a", "b", "c"), ("d", "<eos>"), weights), tmp_path / "a.png")


def test_an_alignment_is_a_line_for_each_target_token():
    weights = np.array([[0.05, 0.93, 0.02], [0.25, 0.25, 0.5], [0.0, 0.09, 0.91]])
    alignment = Alignment(("the", "cat", "\x1b"), ("猫", "x", "<eos>"), weights)
    assert alignment_text(alignment).splitlines() == [
        "猫     cat 0.93",
        "x      \\x1b 0.50  the 0.25  cat 0.25",
        "<eos>  \\x1b 0.91",
    ]
