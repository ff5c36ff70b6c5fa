"""Is a review kind? The network of TensorFlow Tutorial #20, with keras.Sequential and ostinato's layers.

    python examples/sentiment.py reviews.csv

The table needs a column of texts and one of two labels, for example a CSV of film reviews; without one, a
thousand reviews are put together from words. An embedding of 8 feeds three GRUs of 16, 8 and 4 units, and the
last state decides. Reviews are padded with zeros in front, which the network reads like words.
"""

import argparse
import sys

import keras
import numpy as np

from ostinato.data.examples.labelled import encode_text, prepare_examples
from ostinato.data.sources.tables import open_table
from ostinato.layers import GRU

SENTENCES = (
    "I loved this film: it is great from start to end!",
    "A wonderful film, and the cast is superb.",
    "I liked it, though it is a little long.",
    "Well, maybe somebody else will like it.",
    "It is not the best film I have seen.",
    "I wanted to like this, but it is dull.",
    "Not a good film, and far too long.",
    "Terrible: an awful script and a waste of time!",
)
GREAT = ("great", "wonderful", "superb", "loved", "best", "good", "warm", "funny")
AWFUL = ("terrible", "awful", "dull", "waste", "worst", "not", "long", "boring")
OTHER = ("the", "film", "it", "is", "a", "this", "cast", "script", "of", "time", "and", "i", "to", "end")


def made_up_reviews(count: int) -> list[tuple[str, str]]:
    """(review, label) pairs: words at random, of which some are those of kind reviews, or of the others."""
    random = np.random.default_rng(0)
    reviews = []
    for _ in range(count):
        label, own = (("positive", GREAT), ("negative", AWFUL))[int(random.integers(2))]
        words = [*random.choice(OTHER, random.integers(6, 30)), *random.choice(own, random.integers(2, 6))]
        reviews.append((" ".join(random.permutation(words)), label))
    return reviews


def padded(texts: list[np.ndarray], length: int) -> np.ndarray:
    """Word ids, (texts, length), zeros in front; of a longer text, the end."""
    ids = np.zeros((len(texts), length), np.int32)
    for row, text in zip(ids, texts, strict=True):
        text = text[-length:] + 1
        row[length - len(text) :] = text
    return ids


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the tutorial's network on reviews.")
    parser.add_argument("table", nargs="?", help="a .csv, .tsv or .jsonl file of reviews and their labels")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()

    reviews = made_up_reviews(1000) if arguments.table is None else arguments.table
    examples = prepare_examples(
        open_table(reviews),
        "word",
        normalize="letters",
        vocabulary_size=10_000,
        validation_fraction=0.05,
        test_fraction=0.2,
    )
    if len(examples.labels) != 2:
        sys.exit(f"the labels are {', '.join(examples.labels)}; the network decides between two")
    lengths = examples.lengths[examples.part("train")]
    max_tokens = int(lengths.mean() + 2 * lengths.std())
    x, y = {}, {}
    for name in ("train", "validation", "test"):
        part = examples.part(name)
        x[name] = padded([examples.tokens(int(number)) for number in part], max_tokens)
        y[name] = examples.targets[part].astype("float32")[:, np.newaxis]

    model = keras.Sequential(
        [
            keras.Input((max_tokens,)),
            keras.layers.Embedding(1 + examples.encoder.size, 8, name="words"),
            GRU(16, return_sequences=True),
            GRU(8, return_sequences=True),
            GRU(4),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    optimizer = keras.optimizers.Adam(learning_rate=1e-3)
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    model.fit(
        x["train"],
        y["train"],
        validation_data=(x["validation"], y["validation"]),
        epochs=arguments.epochs,
        batch_size=64,
        verbose=2,  # pyright: ignore[reportArgumentType]
    )

    loss, accuracy = model.evaluate(x["test"], y["test"], verbose=0)  # pyright: ignore[reportArgumentType]
    print(f"test loss {loss:.4f}, accuracy {accuracy:.2%}")
    ids = padded([encode_text(examples.encoder, sentence) for sentence in SENTENCES], max_tokens)
    print(f"probability of {examples.labels[1]!r}:")
    for sentence, probability in zip(SENTENCES, model.predict(ids, verbose=0)[:, 0], strict=True):  # pyright: ignore[reportArgumentType]
        print(f"  {probability:.2f}  {sentence}")


if __name__ == "__main__":
    main()
