"""The parts for training, validation and testing: drawn at random, for labelled texts label by label."""

import numpy as np

from ostinato.errors import ConfigError

PARTS = ("train", "validation", "test")
RARE = 20
"""Sets of labels that occur less often are divided between the parts together, not one by one."""


def check_fractions(validation_fraction: float, test_fraction: float, validation: str | None) -> None:
    """Refuses fractions that are out of range.

    Args:
        validation_fraction, test_fraction: the shares of these parts.
        validation: the name of a file that is the validation part; None when there is none.

    Raises:
        ConfigError: one is out of range, or the validation part is given twice.
    """
    for name, value in (("validation", validation_fraction), ("test", test_fraction)):
        if not 0 <= value < 1:
            raise ConfigError(f"the {name} fraction must be 0 or more and less than 1, got {value}")
    if validation is not None and validation_fraction:
        raise ConfigError(
            f"the validation fraction must be 0 with a validation file ({validation}), "
            f"got {validation_fraction}"
        )


def labelled_parts(
    places: np.ndarray,
    sets: list[tuple[str, ...]],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    *,
    several: bool,
) -> dict[str, np.ndarray]:
    """`random_parts` with the same share of every label in each part, and every label in training.

    Args:
        places: for each example the place of its labels in `sets`, int (examples,).
        sets: the different sets of labels.
        validation_fraction, test_fraction, seed: see `random_parts`.
        several: whether a text may have several labels.
    """
    strata = places
    if several:
        counts = np.bincount(places, minlength=len(sets))
        strata = np.where(counts < RARE, len(counts), np.arange(len(counts)))[places]
    parts = random_parts(strata, validation_fraction, test_fraction, seed)
    if several:
        _keep_every_label(parts, places, sets)
    return parts


def random_parts(
    strata: np.ndarray, validation_fraction: float, test_fraction: float, seed: int
) -> dict[str, np.ndarray]:
    """The numbers of the examples in every part, each int64 and rising.

    The test part is drawn first, so that it does not depend on the validation fraction.

    Args:
        strata: the stratum of each example, int (examples,). Every part has the same share of each stratum as
            far as whole numbers allow, and training at least one example of it.
        validation_fraction: the share for validation of all that is not for testing.
        test_fraction: the share for testing, of the whole.
        seed: decides the parts.
    """
    counts = np.bincount(strata)
    order = np.arange(len(strata), dtype=np.int64)
    np.random.default_rng([seed, 0]).shuffle(order)
    order = order[np.argsort(strata[order], kind="stable")]
    test = _shares(counts, test_fraction)
    validation = _shares(counts - test, validation_fraction)
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in PARTS}
    for start, count, first, second in zip(
        np.cumsum(counts) - counts, counts, test, test + validation, strict=True
    ):
        pieces["test"].append(order[start : start + first])
        pieces["validation"].append(order[start + first : start + second])
        pieces["train"].append(order[start + second : start + count])
    return {name: np.sort(np.concatenate(some)) for name, some in pieces.items()}


def _shares(counts: np.ndarray, fraction: float) -> np.ndarray:
    """The number of examples of each stratum that make this fraction of it; one of each always stays.

    The largest remainders are rounded up, so that the numbers add up to the fraction of the whole.
    """
    most = np.maximum(counts - 1, 0)
    exact = counts * fraction
    shares = np.minimum(np.floor(exact).astype(np.int64), most)
    missing = round(int(counts.sum()) * fraction) - int(shares.sum())
    for at in np.argsort(shares - exact, kind="stable"):
        if missing > 0 and shares[at] < most[at]:
            shares[at] += 1
            missing -= 1
    return shares


def _keep_every_label(parts: dict[str, np.ndarray], places: np.ndarray, sets: list[tuple[str, ...]]) -> None:
    """Moves an example of every label that training lacks into training."""
    seen = {label for place in np.unique(places[parts["train"]]) for label in sets[place]}
    for name in ("validation", "test"):
        for place in np.unique(places[parts[name]]):
            if not seen.issuperset(sets[place]):
                moved = parts[name][np.argmax(places[parts[name]] == place)]
                parts[name] = parts[name][parts[name] != moved]
                parts["train"] = np.sort(np.append(parts["train"], moved))
                seen.update(sets[place])
