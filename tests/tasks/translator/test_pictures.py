"""BLEU by length, and alignments, drawn."""

import numpy as np
import pytest

from ostinato.data.encoders.byte import ByteEncoder
from ostinato.data.examples.sentences import Sentences
from ostinato.tasks.translator.evaluation import compared
from ostinato.tasks.translator.pictures import alignment_text, draw, draw_alignment
from ostinato.tasks.translator.translations import Alignment


def test_bleu_by_length_is_drawn(tmp_path):
    evaluation = compared(
        "validation", [("a b", "c d", "c d")] * 9, {"loss": 1.5, "perplexity": 4.5}, Sentences(ByteEncoder())
    )
    assert draw(evaluation, tmp_path) == [tmp_path / "bleu-by-length-validation.png"]
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
