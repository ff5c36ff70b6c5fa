"""Writes models that were compiled and trained: optimizers with momentums, losses and metrics.

python tests/interop/files/compiled.py PACKAGE [NAME ...]
"""

import numpy as np
from storing import MAIN, RATE, keras, padded_ids, store, vectors, write

layers, models = keras.layers, keras.models
optimizers = getattr(keras.optimizers, "legacy", keras.optimizers)  # those with `decay`


def classes(count: int = 4) -> np.ndarray:
    return np.random.randint(0, count, (6, 1))


def one_hot(count: int = 4) -> np.ndarray:
    return np.eye(count)[classes(count)[:, 0]].astype("float32")


def adam(name: str) -> None:
    """The listing of many tutorials: `accuracy` means the binary one here."""
    model = models.Sequential()
    model.add(layers.Embedding(12, 3, mask_zero=True, input_length=5))
    model.add(layers.LSTM(4))
    model.add(layers.Dense(1, activation="sigmoid"))
    model.compile(
        loss="binary_crossentropy",
        optimizer=optimizers.Adam(**{RATE: 0.01, "decay": 0.1}),
        metrics=["accuracy"],
    )
    store(name, model, padded_ids(), classes(2))


def amsgrad(name: str) -> None:
    model = models.Sequential(
        [layers.SimpleRNN(3, input_shape=(None, 3)), layers.Dense(4, activation="softmax")]
    )
    model.compile(
        optimizers.Adam(**{RATE: 0.02, "amsgrad": True}), "sparse_categorical_crossentropy", ["acc"]
    )
    store(name, model, vectors(), classes())


def rmsprop(name: str) -> None:
    model = models.Sequential([layers.GRU(3, input_shape=(5, 3)), layers.Dense(4, activation="softmax")])
    rule = optimizers.RMSprop(**{RATE: 0.01, "rho": 0.8, "decay": 0.01})
    model.compile(rule, "categorical_crossentropy", ["accuracy"])
    store(name, model, vectors(), one_hot())


def nadam(name: str) -> None:
    model = models.Sequential([layers.LSTM(3, input_shape=(5, 3)), layers.Dense(1)])
    model.compile(optimizers.Nadam(**{RATE: 0.01, "schedule_decay": 0.004}), "mse", ["mae"])
    store(name, model, vectors(), vectors()[:, 0, :1])


def sgd(name: str) -> None:
    model = models.Sequential([layers.GRU(3, input_shape=(5, 3)), layers.Dense(1)])
    rule = optimizers.SGD(**{RATE: 0.1, "momentum": 0.9, "nesterov": True, "decay": 0.1, "clipnorm": 0.5})
    model.compile(
        rule, "mean_squared_error", ["mean_absolute_error", "cosine_proximity"][: 1 + (MAIN < (2, 3))]
    )
    store(name, model, vectors(), vectors()[:, 0, :1])


def clipped(name: str) -> None:
    """Keras before 2.3 clipped all gradients by their common norm, TensorFlow's each by its own."""
    model = models.Sequential([layers.GRU(3, input_shape=(5, 3)), layers.Dense(1)])
    model.compile(optimizers.SGD(**{RATE: 0.1, "clipnorm": 0.01}), "mse")
    store(name, model, vectors(), vectors()[:, 0, :1])


def adagrad(name: str) -> None:
    model = models.Sequential([layers.SimpleRNN(3, input_shape=(5, 3)), layers.Dense(1)])
    model.compile(optimizers.Adagrad(**{RATE: 0.05, "decay": 0.0}), "mean_absolute_error")
    store(name, model, vectors(), vectors()[:, 0, :1])


def adadelta(name: str) -> None:
    model = models.Sequential([layers.SimpleRNN(3, input_shape=(5, 3)), layers.Dense(1)])
    model.compile(optimizers.Adadelta(**{RATE: 1.0, "decay": 0.0}), "hinge")
    store(name, model, vectors(), np.sign(vectors()[:, 0, :1]))


def adamax(name: str) -> None:
    model = models.Sequential([layers.LSTM(3, input_shape=(5, 3)), layers.Dense(2, activation="softmax")])
    model.compile(optimizers.Adamax(**{RATE: 0.01, "decay": 0.0}), "kullback_leibler_divergence")
    store(name, model, vectors(), one_hot(2) * 0.8 + 0.1)


def scaled_error(true: object, predicted: object) -> object:
    return keras.backend.mean(keras.backend.square(true - predicted)) * 3.0


def largest_error(true: object, predicted: object) -> object:
    return keras.backend.max(keras.backend.abs(true - predicted))


class SlowAdam(optimizers.Adam):
    """An optimizer of one's own."""


def own_loss(name: str) -> None:
    model = models.Sequential([layers.LSTM(3, input_shape=(5, 3)), layers.Dense(1)])
    model.compile("adam", scaled_error, [largest_error])
    store(name, model, vectors(), vectors()[:, 0, :1])


def own_optimizer(name: str) -> None:
    model = models.Sequential([layers.GRU(3, input_shape=(5, 3)), layers.Dense(1)])
    model.compile(SlowAdam(), "mse")
    store(name, model, vectors(), vectors()[:, 0, :1])


def several_outputs(name: str) -> None:
    """Losses and metrics by the names of the outputs."""
    ids, floats = layers.Input((5,), name="ids"), layers.Input((5, 3), name="floats")
    words = layers.LSTM(3, name="words")(layers.Embedding(12, 3, mask_zero=True)(ids))
    both = layers.concatenate([words, layers.GRU(3, name="numbers")(floats)])
    outputs = [layers.Dense(4, activation="softmax", name="kind")(both), layers.Dense(1, name="value")(both)]
    model = models.Model([ids, floats], outputs)
    model.compile(
        optimizers.Adam(**{RATE: 0.01}),
        {"kind": "categorical_crossentropy", "value": "mse"},
        metrics={"kind": "accuracy", "value": ["mae"]},
        loss_weights={"kind": 1.0, "value": 0.5},
    )
    store(name, model, [padded_ids(), vectors()], [one_hot(), vectors()[:, 0, :1]])


def regularized(name: str) -> None:
    """Regularizers and constraints; with all of them the loss is larger than the mean error."""
    l1_l2, max_norm = keras.regularizers.l1_l2, keras.constraints.max_norm
    stack = [
        layers.LSTM(
            3,
            kernel_regularizer=l1_l2(0.01, 0.01),
            recurrent_regularizer=keras.regularizers.l2(0.01),
            bias_regularizer=keras.regularizers.l1(0.01),
            kernel_constraint=max_norm(0.8),
            recurrent_constraint=keras.constraints.unit_norm(),
            bias_constraint=keras.constraints.non_neg(),
            input_shape=(5, 3),
            return_sequences=True,
        ),
        layers.GRU(3, kernel_constraint=keras.constraints.min_max_norm(0.2, 0.9)),
        layers.Dense(1, kernel_regularizer=keras.regularizers.l2(0.1)),
    ]
    model = models.Sequential(stack)
    model.compile(optimizers.SGD(**{RATE: 0.05}), "mse")
    store(name, model, vectors(), vectors()[:, 0, :1])


MAKERS = (
    adam,
    amsgrad,
    rmsprop,
    nadam,
    sgd,
    clipped,
    adagrad,
    adadelta,
    adamax,
    own_loss,
    own_optimizer,
    several_outputs,
    regularized,
)
if __name__ == "__main__":
    write({maker.__name__: maker for maker in MAKERS})
