"""A shuffled order of 0, 1, … n - 1 that is computed where it is asked for, and never stored.

A generalised Feistel network (Black & Rogaway 2002, "Ciphers with Arbitrary Finite Domains"). With a = ⌈√n⌉
and b = ⌈n / a⌉, a number below a · b is written as two digits, left below a and right below b, and goes
several times through

    left  ← (left  + scramble(right, a key)) mod a
    right ← (right + scramble(left,  the next key)) mod b

Each line can be undone, so that all of them are a permutation of 0 … a · b - 1, whatever `scramble` is. A
number that comes out as n or more goes in again until it does not (cycle walking), which leaves a permutation
of 0 … n - 1. It is for an order that looks shuffled, not for keeping a secret.
"""

import math

import numpy as np

KEYS = 8
"""One for each time through a line. Luby & Rackoff 1988 asked for four; small digits mix better with more."""


def permuted(positions: np.ndarray, count: int, keys: np.ndarray) -> np.ndarray:
    """What stands at some positions of a shuffled 0 … count - 1.

    Args:
        positions: integers from 0 to count - 1, any shape.
        count: how many numbers are shuffled, from 1 to 2**62.
        keys: uint64, shape (KEYS,); with other keys it is another order.

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
    """Once through all lines: from numbers below left_size * right_size to such numbers."""
    left, right = np.divmod(numbers, right_size)
    for for_left, for_right in keys.reshape(-1, 2):
        left = (left + _scramble(right, for_left) % left_size) % left_size
        right = (right + _scramble(left, for_right) % right_size) % right_size
    return left * right_size + right


def _scramble(numbers: np.ndarray, key: np.uint64) -> np.ndarray:
    """64 bits, each of which depends on all those of a number and of the key.

    The finaliser of SplitMix64: Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators",
    with the constants of David Stafford's variant 13.
    """
    bits = numbers ^ key
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
