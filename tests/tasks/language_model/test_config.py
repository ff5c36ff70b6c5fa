"""The settings of a language model: what they mean together, and which are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.encoders.registry import ENCODERS
from ostinato.errors import ConfigError, OstinatoError
from ostinato.tasks.language_model import LanguageModelConfig


@pytest.mark.parametrize(
    ("settings", "units"),
    [
        ({}, (256,)),
        ({"units": 64}, (64,)),
        ({"units": [64, 32]}, (64, 32)),
        ({"units": 64, "layers": 3}, (64, 64, 64)),
        ({"units": (64,), "layers": 2}, (64, 64)),
        ({"units": (64, 32), "layers": 2}, (64, 32)),
        ({"layers": 2}, (256, 256)),
    ],
)
def test_one_number_of_units_counts_for_every_layer(settings, units):
    assert LanguageModelConfig(**settings).units == units


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"units": 0}, r"units must be 1 to 64 layers of 1 to 65,536 units each, got \(0,\)"),
        ({"units": ()}, r"units must be 1 to 64 layers of 1 to 65,536 units each, got \(\)"),
        ({"units": 3.5}, "each of units must be a whole number, got 3.5"),
        ({"units": {"a": 1}}, "each of units must be a whole number, got {'a': 1}"),
        ({"units": (8, 8), "layers": 3}, r"layers = 3 contradicts units = \[8, 8\], which names 2 layers"),
        ({"layers": 0}, "layers must be 1 to 64, got 0"),
        ({"layers": "two"}, "layers must be 1 to 64, got 'two'"),
        ({"cell": "lstn"}, "cell must be one of .*, got 'lstn'; did you mean 'lstm'"),
        ({"engine": "keres"}, "engine must be one of .*, got 'keres'; did you mean 'keras'"),
        ({"encoder": "letters"}, "encoder must be one of char, byte, word, bpe, word_bpe, got 'letters'"),
        (
            {"tied": True},
            "embedding must be 256, the units of the top layer",
        ),
        ({"tied": True, "embedding": 8, "units": (8, 6)}, "embedding must be 6, the units of the top layer"),
        ({"validation_fraction": 0.6, "test_fraction": 0.4}, "leave nothing to train on"),
        ({"dropout": 1.0}, "dropout must be less than 1, got 1.0"),
        ({"batch": -1}, "batch must be at least 1, got -1"),
        ({"seq_len": 10**9}, "seq_len must be at most 65,536, got 1000000000"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"init_stddev": 0.0}, "init_stddev must be more than 0, got 0.0"),
        ({"unit": 8}, "unknown setting 'unit'; did you mean 'units'"),
    ],
)
def test_settings_that_do_not_work_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises(OstinatoError, match=sentence) as caught:
        LanguageModelConfig(**settings)
    assert "\n" not in str(caught.value)


@given(
    st.builds(
        LanguageModelConfig,
        cell=st.sampled_from(["rnn", "gru", "lstm"]),
        units=st.lists(st.integers(1, 9), min_size=1, max_size=3),
        encoder=st.sampled_from(ENCODERS),
        dropout=st.floats(0, 0.9),
        output_dropout=st.none() | st.floats(0, 0.9),
        init_stddev=st.none() | st.floats(0.001, 1),
        seed=st.integers(0, 2**31 - 1),
    )
)
def test_settings_come_back_from_json(config):
    assert LanguageModelConfig(**json.loads(json.dumps(config.model_dump(mode="json")))) == config


def test_a_config_is_made_from_nothing_and_is_a_config_error_when_wrong():
    assert LanguageModelConfig().cell == "lstm"
    with pytest.raises(ConfigError):
        LanguageModelConfig(sampling="sorted")
