"""Writes models with the layers CuDNNLSTM and CuDNNGRU, which are made on a CPU and do not run there.

python tests/interop/files/cudnn.py PACKAGE [NAME ...]
"""

import numpy as np
from storing import keras, place_what_runs, store_cudnn, store_weights, write

layers, models = keras.layers, keras.models


def lstm(cudnn: bool) -> object:
    return (
        layers.CuDNNLSTM
        if cudnn
        else lambda *args, **options: layers.LSTM(*args, recurrent_activation="sigmoid", **options)
    )


def gru(cudnn: bool) -> object:
    return (
        layers.CuDNNGRU
        if cudnn
        else lambda *args, **options: layers.GRU(
            *args, recurrent_activation="sigmoid", reset_after=True, **options
        )
    )


def make_both(make: object) -> tuple:
    place_what_runs()
    return make(True), make(False)


def vectors(samples: int = 3) -> np.ndarray:
    return np.random.normal(size=(samples, 5, 3)).astype("float32")


def make_stack(cudnn: bool) -> object:
    stack = [
        lstm(cudnn)(3, return_sequences=True, input_shape=(None, 3), name="first"),
        gru(cudnn)(4, name="second"),
        layers.Dense(2, name="last"),
    ]
    return models.Sequential(stack)


def cudnn_stack(name: str) -> None:
    store_cudnn(name, make_stack, vectors())


def make_bidirectional(cudnn: bool) -> object:
    both = layers.Bidirectional
    stack = [
        both(lstm(cudnn)(3, return_sequences=True, name="lstm"), input_shape=(5, 3), name="concat"),
        both(gru(cudnn)(2, return_sequences=True, name="gru"), merge_mode="sum", name="sum"),
        both(gru(cudnn)(2, name="gru"), merge_mode="ave", name="ave"),
    ]
    return models.Sequential(stack)


def cudnn_bidirectional(name: str) -> None:
    store_cudnn(name, make_bidirectional, vectors())


def cudnn_stateful(name: str) -> None:
    def make(cudnn: bool) -> object:
        options = {"return_sequences": True, "stateful": True}
        first = lstm(cudnn)(3, batch_input_shape=(3, 5, 3), **options)
        return models.Sequential([first, gru(cudnn)(2, **options)])

    store_cudnn(name, make, vectors(), again=True)


def cudnn_states(name: str) -> None:
    """An encoder whose last states are the decoder's first."""

    def make(cudnn: bool) -> object:
        source, target = layers.Input((None, 3)), layers.Input((None, 3))
        states = lstm(cudnn)(3, return_state=True, unit_forget_bias=False)(source)[1:]
        read = lstm(cudnn)(3, return_sequences=True, return_state=True)(target, initial_state=states)
        short = gru(cudnn)(3, return_sequences=True)(read[0], initial_state=read[1])
        return models.Model([source, target], [layers.Dense(2)(read[0]), short])

    store_cudnn(name, make, [vectors(), vectors()])


def cudnn_options(name: str) -> None:
    def make(cudnn: bool) -> object:
        options = {
            "kernel_initializer": keras.initializers.VarianceScaling(2.0, "fan_in"),
            "recurrent_initializer": "orthogonal",
            "kernel_regularizer": keras.regularizers.l2(0.1),
            "recurrent_constraint": keras.constraints.max_norm(2.0),
            "go_backwards": True,
        }
        first = lstm(cudnn)(3, return_sequences=True, input_shape=(5, 3), **options)
        return models.Sequential([first, gru(cudnn)(2, **options)])

    store_cudnn(name, make, vectors())


def cudnn_compiled(name: str) -> None:
    """Its optimizer's state is that before the first step."""

    def make(cudnn: bool) -> object:
        model = make_stack(cudnn)
        model.compile("adam", "mse", ["mae"])
        if hasattr(model, "_make_train_function"):
            model._make_train_function()
        return model

    store_cudnn(name, make, vectors())


def cudnn_nested(name: str) -> None:
    """In a model in a model, and in TimeDistributed."""

    def make(cudnn: bool) -> object:
        words = models.Sequential([gru(cudnn)(3, input_shape=(5, 3))], name="words")
        lines, text = layers.Input((2, 5, 3)), layers.Input((5, 3))
        read = lstm(cudnn)(2)(layers.TimeDistributed(words, name="lines")(lines))
        return models.Model([lines, text], layers.concatenate([read, words(text)]))

    lines = np.random.normal(size=(3, 2, 5, 3)).astype("float32")
    store_cudnn(name, make, [lines, vectors()])


def cudnn_weights(name: str) -> None:
    store_weights(name, make_both(make_stack), vectors())


def cudnn_weights_bidirectional(name: str) -> None:
    """With what stands beside the weights in other people's files."""

    def change(file: object) -> None:
        file.attrs["author"] = "somebody"
        file.attrs["epochs"] = np.arange(3)
        file["history/loss"] = np.linspace(1.0, 0.5, 4)
        file["vocabulary"] = np.array([b"a", b"b"])

    store_weights(name, make_both(make_bidirectional), vectors(), suffix=".hdf5", change=change)


MAKERS = (
    cudnn_stack,
    cudnn_bidirectional,
    cudnn_stateful,
    cudnn_states,
    cudnn_options,
    cudnn_compiled,
    cudnn_nested,
    cudnn_weights,
    cudnn_weights_bidirectional,
)
if __name__ == "__main__":
    write({maker.__name__: maker for maker in MAKERS})
