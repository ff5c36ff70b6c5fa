"""A computed order: every number once, the same for the same keys, shuffled as far as statistics tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.batches.permutation import KEYS, permuted


def keys(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(2**64, size=KEYS, dtype=np.uint64)


def order(count: int, seed: int = 0) -> np.ndarray:
    return permuted(np.arange(count), count, keys(seed))


any_keys = st.lists(st.integers(0, 2**64 - 1), min_size=KEYS, max_size=KEYS).map(
    lambda values: np.array(values, np.uint64)
)


def test_every_number_comes_once_for_all_small_counts():
    for count in range(1, 600):
        assert np.array_equal(np.sort(order(count, seed=count)), np.arange(count))


@given(st.integers(1, 20_000), any_keys)
def test_every_number_comes_once_whatever_the_keys(count, drawn):
    assert np.array_equal(np.sort(permuted(np.arange(count), count, drawn)), np.arange(count))


@pytest.mark.parametrize("count", [1 << 20, (1 << 20) + 1, 1_000_003])
def test_every_number_comes_once_around_a_million(count):
    assert np.array_equal(np.sort(order(count)), np.arange(count))


@given(st.integers(1, 2**62), any_keys, st.data())
def test_numbers_of_a_huge_order_are_in_range_and_differ(count, drawn, data):
    positions = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=50))
    numbers = permuted(np.array(sorted(positions)), count, drawn)
    assert numbers.dtype == np.int64
    assert np.all((numbers >= 0) & (numbers < count))
    assert len(set(numbers.tolist())) == len(positions)


@given(st.integers(1, 5000), st.data())
def test_a_number_depends_on_its_own_position_only(count, data):
    shape = data.draw(st.sampled_from([(0,), (1,), (7,), (2, 3)]))
    size = int(np.prod(shape))
    positions = np.array(
        data.draw(st.lists(st.integers(0, count - 1), min_size=size, max_size=size)), np.int64
    ).reshape(shape)
    before = positions.copy()
    assert np.array_equal(permuted(positions, count, keys()), order(count)[positions])
    assert np.array_equal(positions, before)


def test_orders_are_the_same_in_every_version():
    fixed = np.arange(KEYS, dtype=np.uint64)
    assert permuted(np.arange(10), 10, fixed).tolist() == [1, 5, 6, 9, 0, 4, 7, 3, 8, 2]
    assert permuted(np.arange(4), 122_713_351, fixed).tolist() == [9012162, 13504622, 86792087, 55142887]
    assert permuted(np.array([0, 2**62 - 1]), 2**62, fixed).tolist() == [
        3518696840225004897,
        541812593965624005,
    ]


@pytest.mark.parametrize("count", [100_000, 122_713_351, 2**40 + 1])
def test_neighbours_are_not_correlated(count):
    """Where they are not, a correlation deviates by 1 / √(how many they are); four times that is allowed."""
    numbers = permuted(np.arange(100_000), count, keys()).astype(float)
    for distance in (1, 2, 32, 1000):
        assert abs(np.corrcoef(numbers[:-distance], numbers[distance:])[0, 1]) < 4 / np.sqrt(len(numbers))


@pytest.mark.parametrize("count", [122_713_351, 2**40 + 1])
def test_a_part_of_the_order_is_spread_evenly_over_the_range(count):
    """Pearson's chi-square over 256 bins has mean 255 and deviation √510; five of these are allowed."""
    for start in (0, count // 2):
        numbers = permuted(np.arange(start, start + 100_000), count, keys())
        for bins in (numbers * 256 // count, numbers % 256):
            counted = np.bincount(bins, minlength=256)
            expected = len(numbers) / 256
            assert abs(((counted - expected) ** 2).sum() / expected - 255) < 5 * np.sqrt(510)


def test_what_stands_first_is_any_number_alike_over_the_keys():
    counted = np.bincount([int(permuted(np.array([0]), 20, keys(seed))[0]) for seed in range(4000)])
    assert len(counted) == 20
    assert abs(((counted - 200) ** 2).sum() / 200 - 19) < 5 * np.sqrt(38)


def by_hand(position: int, count: int, keys: list[int]) -> int:
    """The equations once more, in Python's own integers."""

    def scramble(number: int, key: int) -> int:
        bits = number ^ key
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            bits = (bits ^ bits >> shift) * factor % 2**64
        return bits ^ bits >> 31

    a = next(a for a in range(1, count + 1) if a * a >= count)
    b = -(-count // a)
    left, right = divmod(position, b)
    for place in range(0, len(keys), 2):
        left = (left + scramble(right, keys[place])) % a
        right = (right + scramble(left, keys[place + 1])) % b
    number = left * b + right
    return number if number < count else by_hand(number, count, keys)


@given(st.integers(1, 10**6), any_keys, st.data())
def test_numbers_are_those_of_the_equations(count, drawn, data):
    position = data.draw(st.integers(0, count - 1))
    expected = by_hand(position, count, drawn.tolist())
    assert permuted(np.array([position]), count, drawn).tolist() == [expected]


def test_one_bit_of_one_key_makes_another_order():
    first = keys()
    for place in range(KEYS):
        other = first.copy()
        other[place] ^= np.uint64(1)
        same = permuted(np.arange(1000), 10**6, first) == permuted(np.arange(1000), 10**6, other)
        assert same.mean() < 0.1
