"""Writes compiled models of TensorFlow's Keras 2: schedules, scaled losses, and losses that are objects.

python tests/interop/files/compiled_later.py PACKAGE [NAME ...]
"""

import numpy as np
from storing import keras, padded_ids, store, vectors, write

layers, models, optimizers, losses = keras.layers, keras.models, keras.optimizers, keras.losses


def regression() -> object:
    return models.Sequential([layers.GRU(3, input_shape=(5, 3)), layers.Dense(1)])


def values() -> np.ndarray:
    return vectors()[:, 0, :1]


def schedule(name: str) -> None:
    rate = optimizers.schedules.ExponentialDecay(0.1, decay_steps=2, decay_rate=0.5, staircase=True)
    model = regression()
    model.compile(optimizers.Adam(rate), losses.MeanSquaredError(), [keras.metrics.RootMeanSquaredError()])
    store(name, model, vectors(), values())


def schedule_pieces(name: str) -> None:
    rate = optimizers.schedules.PiecewiseConstantDecay([1, 3], [0.1, 0.01, 0.001])
    model = regression()
    model.compile(optimizers.SGD(rate, momentum=0.9, nesterov=True), losses.Huber(delta=0.5), ["mse"])
    store(name, model, vectors(), values())


def old_names(name: str) -> None:
    model = regression()
    model.compile("rmsprop", losses.mean_squared_error, [keras.metrics.mean_absolute_error, "mape"])
    store(name, model, vectors(), values())


def several_losses(name: str) -> None:
    """Objects, functions and names by the outputs; some with a smoothing of labels."""
    ids = layers.Input((5,))
    read = layers.LSTM(3)(layers.Embedding(12, 3, mask_zero=True)(ids))
    outputs = [
        layers.Dense(4, activation="softmax", name="kind")(read),
        layers.Dense(4, name="scores")(read),
        layers.Dense(1, activation="sigmoid", name="yes")(read),
    ]
    model = models.Model(ids, outputs)
    model.compile(
        optimizers.SGD(0.1),
        loss={
            "kind": losses.CategoricalCrossentropy(label_smoothing=0.1),
            "scores": losses.SparseCategoricalCrossentropy(from_logits=True),
            "yes": losses.binary_crossentropy,
        },
        metrics={
            "kind": [keras.metrics.TopKCategoricalAccuracy(2)],
            "yes": ["accuracy", keras.metrics.AUC()],
        },
        loss_weights=[1.0, 0.5, 2.0],
    )
    kinds = np.random.randint(0, 4, 6)
    store(name, model, padded_ids(), [np.eye(4)[kinds].astype("float32"), kinds[:, None], kinds[:, None] % 2])


def masked_sequence(name: str) -> None:
    """A class for every word; the loss of padding does not count."""
    ids = layers.Input((5,))
    words = layers.Embedding(12, 3, mask_zero=True)(ids)
    read = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(words)
    model = models.Model(ids, layers.TimeDistributed(layers.Dense(4, activation="softmax"))(read))
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    store(name, model, padded_ids(), np.random.randint(0, 4, (6, 5, 1)))


def scaled_loss(name: str) -> None:
    """The optimizer that goes with float16; the layers compute in float32 here."""
    mixed_precision = keras.mixed_precision
    model = regression()
    if hasattr(mixed_precision, "LossScaleOptimizer"):
        rule = mixed_precision.LossScaleOptimizer(optimizers.Adam(0.01))
    else:
        rule = mixed_precision.experimental.LossScaleOptimizer(optimizers.Adam(0.01), "dynamic")
    model.compile(rule, "mse")
    store(name, model, vectors(), values())


def mixed(name: str) -> None:
    """The whole model in float16, with weights in float32."""
    mixed_precision = keras.mixed_precision
    policy = getattr(mixed_precision, "Policy", None) or mixed_precision.experimental.Policy
    half = policy("mixed_float16")
    stack = [layers.LSTM(3, dtype=half, input_shape=(5, 3)), layers.Dense(1, dtype="float32")]
    store(name, models.Sequential(stack), vectors())


MAKERS = schedule, schedule_pieces, old_names, several_losses, masked_sequence, scaled_loss, mixed
if __name__ == "__main__":
    write({maker.__name__: maker for maker in MAKERS})
