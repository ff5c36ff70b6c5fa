"""Every cell trains, continues and is read again in the tasks."""

import numpy as np
import pytest

import ostinato
from ostinato.cells import registry
from ostinato.errors import ConfigError

from ..eagerly import run_eagerly

NEW = [name for name in registry.OWN if name not in ("rnn", "gru", "lstm")]
TEXT = "the cat sat on the mat and the rain ran " * 8
TABLE = [("what a waste", "bad"), ("what a joy", "good"), ("a joy again", "good"), ("bad and sad", "bad")] * 6
PAIRS = [("a b c", "c b a"), ("b c", "c b"), ("c a", "a c"), ("a c b", "b c a")] * 6


def trained(config, data, out, steps=3):
    training = ostinato.TrainingConfig(steps=steps, learning_rate=0.01)
    with run_eagerly():
        return ostinato.train(config, data, training=training, out=out)


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("cell", NEW)
def test_a_language_model_of_it_trains_writes_and_is_read_again(cell, block, tmp_path):
    if block and cell == "lstmp":
        pytest.skip("its outputs are narrower than its units")
    config = ostinato.LanguageModelConfig(
        cell=cell, units=(6, 6), block=block, seq_len=6, batch=2, dropout=0.1
    )
    run = trained(config, [TEXT], tmp_path / "run")
    with run_eagerly():
        again = ostinato.load(tmp_path / "run", checkpoint="last")
        assert run.generate(length=5, seed=1) == again.generate(length=5, seed=1)


@pytest.mark.parametrize("cell", ["lstmp", "ln-gru", "sru", "lru", "rg-lru", "slstm", "mlstm", "gated-delta"])
def test_a_classifier_of_it_trains(cell, tmp_path):
    run = trained(
        ostinato.ClassifierConfig(cell=cell, units=(6,), bidirectional=True), TABLE, tmp_path / "run"
    )
    with run_eagerly():
        assert run.predict(["a joy"])[0].label in ("good", "bad")


@pytest.mark.parametrize("attention", ["multiplicative", "none"])
@pytest.mark.parametrize("cell", ["lstmp", "ln-lstm", "sru", "lru"])
def test_a_translator_of_it_trains(cell, attention, tmp_path):
    config = ostinato.TranslatorConfig(cell=cell, units=(6,), embedding=6, attention=attention)
    run = trained(config, PAIRS, tmp_path / "run", steps=1)
    with run_eagerly():
        assert isinstance(run.predict(["a b"])[0].text, str)


def test_recurrent_dropout_of_a_cell_without_it_is_refused():
    with pytest.raises(ConfigError, match="recurrent_dropout must be 0 for the cell 'mingru'"):
        registry.recurrent("mingru", 4, recurrent_dropout=0.1)


def test_fast_predict_names_what_it_cannot_read():
    import keras

    from ostinato import layers

    for layer, words in ((layers.LSTM(4, layer_norm=True), "LSTM"), (layers.MinGRU(4), "MinGRU")):
        model = keras.Sequential([keras.Input((None, 3)), layer])
        with pytest.raises(ConfigError, match=words):
            ostinato.fast_predict(model)


def test_to_keras_leaves_a_layer_with_options_and_says_so():
    import keras

    from ostinato import layers

    model = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4, peephole=True)])
    with pytest.warns(UserWarning, match="opens only where ostinato is installed"):
        back = ostinato.to_keras(model)
    x = np.ones((2, 5, 3), "float32")
    np.testing.assert_allclose(back(x), model(x), atol=1e-6)
    assert type(back.layers[0]) is layers.LSTM
