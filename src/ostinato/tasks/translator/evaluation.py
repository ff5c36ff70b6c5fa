"""The evaluation of a translator: BLEU and chrF by sacrebleu, exact matches, symbol errors, and samples.

BLEU: Papineni et al. 2002; chrF: Popović 2015. Figures are comparable only with the same tokeniser and
settings, which the signature states: Post 2018, arXiv:1804.08771.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ostinato.data.examples.sentences import Sentences, lacks_spaces, normalize_sentence

SAMPLES = 10
_BUCKETS = 5

_KANA = re.compile("[\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
_HANGUL = re.compile("[\uac00-\ud7af\u1100-\u11ff\u3130-\u318f]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LEAST_CJK, _LEAST_KANA = 0.2, 0.1
_ANALYSERS = {"ja-mecab": ("Japanese", "ja"), "ko-mecab": ("Korean", "ko")}


@dataclass(frozen=True)
class OfLength:
    """BLEU over the sources in a range of lengths.

    Attributes:
        shortest, longest: the range of lengths, both included.
        sentences: the number of sources.
        bleu: the BLEU of their translations.
    """

    shortest: int
    longest: int
    sentences: int
    bleu: float


@dataclass(frozen=True)
class Sample:
    """A source with its reference and its translation."""

    source: str
    reference: str
    translation: str


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        part: what was evaluated: `train`, `validation`, `test`, or the name of another source.
        figures: `bleu` and `chrf`, 0 to 100; `exact_match` and `symbol_error_rate`, fractions; `loss` in nats
            per target token and `perplexity`, both given the earlier tokens of the reference; and
            `sentences`, the number of pairs.
        signatures: the signatures of `bleu` and `chrf` by sacrebleu, to be quoted with the figures.
        length_unit: the unit of source lengths: `words` or `characters`.
        lengths: BLEU by the length of the source, shortest first, each over about the same number of
            sentences.
        samples: some pairs from the whole part, the same in every evaluation.
        notes: notes on the figures.
    """

    part: str
    figures: dict[str, float]
    signatures: dict[str, str]
    length_unit: str
    lengths: list[OfLength]
    samples: list[Sample]
    notes: tuple[str, ...] = ()


def compared(
    part: str, pairs: list[tuple[str, str, str]], figures: dict[str, float], target: Sentences
) -> Evaluation:
    """Compares translations with their references.

    Args:
        part: what was evaluated.
        pairs: one or more (source, reference, translation).
        figures: `loss` and `perplexity`.
        target: what the tokens of references and translations are.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    sources, references, translations = map(list, zip(*pairs, strict=True))
    tokenizer, notes = tokenizer_for(references)
    # With force=True sacrebleu does not warn about texts that look tokenised; the figures are the same.
    bleu, chrf = BLEU(tokenize=tokenizer, force=True), CHRF()
    scores = {
        "bleu": bleu.corpus_score(translations, [references]).score,
        "chrf": chrf.corpus_score(translations, [references]).score,
        "exact_match": exact_match(references, translations, target),
        "symbol_error_rate": symbol_error_rate(references, translations, target),
    }
    unit = "characters" if lacks_spaces(sources) else "words"
    sizes = np.array(
        [len("".join(text.split()) if unit == "characters" else text.split()) for text in sources]
    )
    lengths = []
    for shortest, longest in _buckets(sizes):
        mine = np.flatnonzero((shortest <= sizes) & (sizes <= longest)).tolist()
        score = bleu.corpus_score([translations[n] for n in mine], [[references[n] for n in mine]]).score
        lengths.append(OfLength(shortest, longest, len(mine), score))
    places = np.unique(np.linspace(0, len(pairs) - 1, SAMPLES).astype(int)).tolist()
    return Evaluation(
        part,
        {**scores, **figures, "sentences": len(pairs)},
        {"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())},
        unit,
        lengths,
        [Sample(*pairs[place]) for place in places],
        notes,
    )


def bleu_of(references: list[str], translations: list[str]) -> float:
    """BLEU of translations, 0 to 100, with the tokeniser of their script."""
    from sacrebleu.metrics.bleu import BLEU

    tokenizer, _ = tokenizer_for(references)
    return BLEU(tokenize=tokenizer, force=True).corpus_score(translations, [references]).score


def exact_match(references: list[str], translations: list[str], target: Sentences) -> float:
    """The fraction of translations that are their references, normalised as `target` reads them."""
    normalized = partial(normalize_sentence, unicode=target.unicode, lowercase=target.lowercase)
    return float(
        np.mean([normalized(a) == normalized(b) for a, b in zip(references, translations, strict=True)])
    )


def symbol_error_rate(references: list[str], translations: list[str], target: Sentences) -> float:
    """Edits (Levenshtein 1966) of all translations by the symbols of all references; it may exceed 1.

    A symbol is a token of `target`, such as a sound, a character or a word.
    """
    from rapidfuzz.distance import Levenshtein

    edits = symbols = 0
    for reference, translation in zip(references, translations, strict=True):
        wanted, written = (target.encode(text).tolist() for text in (reference, translation))
        edits, symbols = edits + Levenshtein.distance(wanted, written), symbols + len(wanted)
    return edits / symbols if symbols else float("nan")


def tokenizer_for(texts: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """The sacrebleu tokeniser for the main script of some texts.

    Returns:
        `ja-mecab` for kana, `ko-mecab` for Hangul, `zh` for Han alone, otherwise `13a`; and notes. If the
        first or the second is not installed, `char` and a note that says so.
    """
    from sacrebleu.metrics.bleu import BLEU

    texts = list(texts)
    if _cjk_share(texts) < _LEAST_CJK:
        return "13a", ()
    kana, hangul, han = (_count(script, texts) for script in (_KANA, _HANGUL, _HAN))
    if hangul > kana + han:
        wanted = "ko-mecab"
    elif kana >= _LEAST_KANA * (kana + han):
        wanted = "ja-mecab"
    else:
        return "zh", ()
    try:
        BLEU(tokenize=wanted)
    except (RuntimeError, AssertionError):  # not installed, or with another dictionary
        language, extra = _ANALYSERS[wanted]
        note = (
            f"BLEU is over characters: sacrebleu's tokeniser of {language} is not installed; "
            f"pip install 'sacrebleu[{extra}]' and evaluate again"
        )
        return "char", (note,)
    return wanted, ()


def _cjk_share(texts: list[str]) -> float:
    """The fraction of letters that are Han, kana or Hangul."""
    letters = sum(sum(map(str.isalpha, text)) for text in texts)
    return sum(_count(script, texts) for script in (_KANA, _HANGUL, _HAN)) / max(letters, 1)


def _count(script: re.Pattern[str], texts: list[str]) -> int:
    return sum(len(script.findall(text)) for text in texts)


def _buckets(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of lengths, both ends included, with about the same number of `sizes` in each."""
    ends = np.unique(np.quantile(sizes, np.linspace(0, 1, _BUCKETS + 1)[1:], method="inverted_cdf")).tolist()
    starts = [int(sizes.min()), *(end + 1 for end in ends[:-1])]
    return list(zip(starts, ends, strict=True))
