"""One epoch of a stock Keras model, and one of its copy with ostinato's layers, from the same weights.

    python examples/accelerate_existing_model.py

The model reads reviews word by word and says whether they are kind. The reviews are made up here: ids of
words, of which some are kind and some are not, with padding before them. A review is kind if more of its
words are kind than are not.
"""

import argparse
import time

import keras
import numpy as np

import ostinato

WORDS = 1000


def made_up_reviews(count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Word ids, (count, length), zero where there is none, and 1.0 for each kind review, (count, 1)."""
    random = np.random.default_rng(0)
    reviews = random.integers(1, WORDS, (count, length))
    reviews[np.arange(length) < random.integers(0, length // 2, (count, 1))] = 0
    kind, unkind = (reviews > WORDS * 0.8).sum(axis=1), ((reviews > 0) & (reviews < WORDS * 0.2)).sum(axis=1)
    return reviews, (kind > unkind).astype("float32")[:, None]


def stock_model(length: int) -> keras.Model:
    """Three GRUs of Keras, one above the other."""
    model = keras.Sequential(
        [
            keras.Input((length,)),
            keras.layers.Embedding(WORDS, 8),
            keras.layers.GRU(16, return_sequences=True),
            keras.layers.GRU(8, return_sequences=True),
            keras.layers.GRU(4),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare a Keras model with its accelerated copy.")
    parser.add_argument("--reviews", type=int, default=4000)
    parser.add_argument("--length", type=int, default=250, help="the words of a review, padding included")
    options = parser.parse_args()
    reviews, kind = made_up_reviews(options.reviews, options.length)

    model = stock_model(options.length)
    accelerated = ostinato.accelerate(model)
    print(ostinato.report(accelerated))

    for name, trained in (("keras", model), ("ostinato", accelerated)):
        began = time.monotonic()
        loss = trained.fit(reviews, kind, batch_size=64, shuffle=False, verbose=0).history["loss"][0]  # pyright: ignore[reportArgumentType]
        print(f"{name:<9} loss {loss:.5f}  {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
