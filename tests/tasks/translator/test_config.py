"""The settings of a translator: which are refused."""

import pytest

from ostinato.errors import ConfigError
from ostinato.tasks.translator import TranslatorConfig


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cell": "grue"}, "cell must be one of .*, got 'grue'"),
        ({"units": [8, 0]}, "units must be 1 to 64 layers"),
        ({"decoder_units": []}, "units must be 1 to 64 layers"),
        ({"decoder_units": True}, "decoder_units must be a list, got True"),
        ({"attention": "dot"}, "attention must be 'none', 'additive' or 'multiplicative', got 'dot'"),
        ({"attention": "additive", "input_feeding": True}, "input_feeding needs attention"),
        ({"attention": "none", "lexical": True}, "lexical needs an attention, got attention = 'none'"),
        ({"bridge": "copy", "units": 4, "decoder_units": 5}, "bridge = 'copy' needs decoder layers as wide"),
        ({"bridge": "copy", "units": 4, "bidirectional": True}, "both directions together"),
        (
            {"tied": True, "attention": "none", "units": 4, "embedding": 5},
            "a last decoder layer of 5 units, the size of the embedding, got 4",
        ),
        ({"engine": "scratch"}, "cannot skip padding"),
        (
            {"source_encoder": "sentence"},
            "source_encoder must be one of char, byte, word, bpe, word_bpe, got 'sentence'",
        ),
        ({"target_vocabulary": 256}, "target_vocabulary must be at least 257, got 256"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"label_smoothing": 1.0}, "label_smoothing must be less than 1, got 1.0"),
        ({"scheduled_sampling_steps": 0}, "scheduled_sampling_steps must be at least 1, got 0"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train on"),
        ({"atention": "none"}, "did you mean 'attention'"),
    ],
)
def test_settings_that_do_not_work_are_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        TranslatorConfig(**changes)
