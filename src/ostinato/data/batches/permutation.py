"""A shuffled order of 0, 1, … n - 1 that is computed on demand and never stored.

A generalised Feistel network (Black & Rogaway 2002, "Ciphers with Arbitrary Finite Domains"). With a = ⌈√n⌉
and b = ⌈n / a⌉, a number below a · b is written as two digits, left < a and right < b, which go several times
through

    left  ← (left  + scramble(right, a key)) mod a
    right ← (right + scramble(left,  the next key)) mod b

Each line is invertible for every `scramble`, so together they are a permutation of 0 … a · b - 1. A result of
n or more goes through them again until it is below n (cycle walking), which gives a permutation of 0 … n - 1.
The order looks shuffled; it keeps no secrets.
"""

import math

import numpy as np

KEYS = 8
"""One for each pass through a line. Luby & Rackoff 1988 need four; small digits mix better with more."""


def permuted(positions: np.ndarray, count: int, keys: np.ndarray) -> np.ndarray:
    """The numbers at some positions of a shuffled 0 … count - 1.

    Args:
        positions: integers from 0 to count - 1, any shape.
        count: the number of shuffled numbers, from 1 to 2**62.
        keys: uint64, shape (KEYS,); other keys give another order.

    Returns:
        int64, in the shape of `positions`.
    """
    left_size = math.isqrt(count - 1) + 1
    right_size = -(-count // left_size)
    numbers = np.array(positions, np.uint64)
    outside = np.ones(numbers.shape, bool)
    while outside.any():
        numbers[outside] = _network(numbers[outside], np.uint64(left_size), np.uint64(right_size), keys)
        outside = numbers >= np.uint64(count)
    return numbers.astype(np.int64)


def _network(
    numbers: np.ndarray, left_size: np.uint64, right_size: np.uint64, keys: np.ndarray
) -> np.ndarray:
    """One pass through all lines, from numbers below left_size * right_size to such numbers."""
    left, right = np.divmod(numbers, right_size)
    for for_left, for_right in keys.reshape(-1, 2):
        left = (left + _scramble(right, for_left) % left_size) % left_size
        right = (right + _scramble(left, for_right) % right_size) % right_size
    return left * right_size + right


def _scramble(numbers: np.ndarray, key: np.uint64) -> np.ndarray:
    """64 bits; each depends on all bits of a number and of the key.

    The finaliser of SplitMix64: Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators",
    with the constants of David Stafford's variant 13.
    """
    bits = numbers ^ key
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
