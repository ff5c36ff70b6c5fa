"""From one string to another: dates as people write them become ISO dates, or whatever a file of pairs says.

    python examples/translate.py
    python examples/translate.py pairs.tsv

Without a file it learns from dates that it makes up ("Sat 14 Nov 2026" becomes "2026-11-14"): a recurrent
network reads the characters in both directions, another writes, and looks back at what was read. With a file
of lines with a source, a TAB and a target, it learns those. Then it is asked for pairs it has not seen.
"""

import argparse
import datetime

import numpy as np

import ostinato
from ostinato.data.sources.pairs import open_pairs
from ostinato.tasks.translator.pictures import alignment_text, draw_alignment

FORMS = (
    "{0.day} {0:%B} {0.year}",
    "{0:%B} {0.day}, {0.year}",
    "{0:%a} {0.day} {0:%b} {0.year}",
    "{0:%A}, {0:%B} {0.day}, {0.year}",
    "{0.day}.{0.month}.{0.year}",
    "{0:%b} {0.day} '{0:%y}",
)
FIRST, DAYS = datetime.date(1950, 1, 1), 36_525


def made_up_dates(count: int) -> list[tuple[str, str]]:
    """(a date as somebody might write it, the ISO date) pairs, each of another day of 1950 to 2049."""
    random = np.random.default_rng(0)
    pairs = []
    for day in random.choice(DAYS, count, replace=False).tolist():
        date = FIRST + datetime.timedelta(days=day)
        pairs.append((FORMS[int(random.integers(len(FORMS)))].format(date), date.isoformat()))
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn to turn strings into others.")
    parser.add_argument("pairs", nargs="?", help="a file with a source, a TAB and a target on every line")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000, help="how many dates to make up")
    parser.add_argument("--out", help="the run directory; the next free one of runs/ if it is not given")
    arguments = parser.parse_args()

    if arguments.pairs is None:
        pairs = made_up_dates(arguments.count)
    else:
        pairs = [(source, target) for source, target, _ in open_pairs(arguments.pairs).rows()]
    order = np.random.default_rng(1).permutation(len(pairs)).tolist()
    kept = max(1, min(1000, len(pairs) // 20))
    unseen, seen = ([pairs[n] for n in some] for some in (order[:kept], order[kept:]))

    network = ostinato.TranslatorConfig(
        source_encoder="char",
        target_encoder="char",
        cell="gru",
        units=(64,),
        decoder_units=(96,),
        bidirectional=True,
        attention="multiplicative",
        embedding=32,
        batch=64,
        max_tokens=200,
    )
    training = ostinato.TrainingConfig(
        epochs=arguments.epochs, optimizer="adam", learning_rate=5e-3, schedule="cosine", warmup=0.05
    )
    run = ostinato.train(network, seen, training=training, out=arguments.out)

    translations = [found.text for found in run.predict(source for source, _ in unseen)]
    right = [written == target for written, (_, target) in zip(translations, unseen, strict=True)]
    print(f"{sum(right):,} of {len(right):,} that it has not seen are right: {np.mean(right):.2%}")
    for (source, target), written in list(zip(unseen, translations, strict=True))[:10]:
        print(f"  {source}  →  {written}" + ("" if written == target else f"  (but it is {target})"))
    alignment = run.align(unseen[0][0], translations[0])
    picture = run.directory.report / "alignment.png"
    draw_alignment(alignment, picture)
    print(alignment_text(alignment))
    print(f"and where it looked, drawn: {picture}")


if __name__ == "__main__":
    main()
