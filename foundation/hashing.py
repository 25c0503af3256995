"""A hash of numbers that is the same on every machine and for every version of every library, vectorised.

Splits and shuffles are keyed by it, so that a store made again, or a training resumed elsewhere, sees the same rows.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt64

EXACT_INTEGERS = 2.0**53  # a double holds every integer up to here


def mix(words: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """SplitMix64's finaliser: a bijection of 64-bit words whose every output bit depends on every input bit.

    Steele, Lea, Flood, OOPSLA 2014, doi:10.1145/2660193.2660195.
    """
    words = words + np.uint64(0x9E3779B97F4A7C15)  # a new array; the rest is done in place
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def word(*parts: Any) -> np.uint64:
    """One 64-bit word from any few numbers or strings."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def bits(values: Shaped[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """64 bits per number, equal for equal numbers whatever their type: 3, 3.0 and float32(3) give the same word."""
    if values.dtype.kind == "u":
        return values.astype(np.uint64)
    if values.dtype.kind in "bi":
        return values.astype(np.int64).view(np.uint64)
    if values.dtype != np.float32:  # whose exactness is told faster in float32
        values = values.astype(np.float64, copy=False)
    integral = np.floor(values) == values
    if not integral.any():
        return _double_bits(values)
    integral &= np.abs(values) < EXACT_INTEGERS
    if integral.all():
        return values.astype(np.int64).view(np.uint64)
    return np.where(integral, np.where(integral, values, 0).astype(np.int64).view(np.uint64), _double_bits(values))


def _double_bits(values: Float[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Those of the numbers as doubles; of all NaN the same."""
    wide = np.ascontiguousarray(values, dtype=np.float64).reshape(values.shape)
    unknown = np.isnan(wide)
    return (np.where(unknown, np.nan, wide) if unknown.any() else wide).view(np.uint64)


def hash_rows(values: Shaped[np.ndarray, " T"], counts: Int[np.ndarray, " R"], salt: str) -> UInt64[np.ndarray, " R"]:
    """One hash per row of a ragged column: of its numbers, their order and how many there are."""
    ends = np.cumsum(counts)
    starts = ends - counts
    position = np.arange(len(values), dtype=np.int64) - np.repeat(starts, counts)
    mixed = mix(bits(values) ^ mix(position.astype(np.uint64)))
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    return mix((total[ends] - total[starts]) ^ mix(counts.astype(np.uint64) ^ word(salt)))


def uniform(words: UInt64[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """In [0, 1): the upper 53 bits of each word."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(count: int, *key: Any) -> Int[np.ndarray, " count"]:
    """A permutation of 0..count-1 that is a function of the key alone."""
    return np.argsort(mix(np.arange(count, dtype=np.uint64) ^ word(*key)))  # all different: any sort will do


def shuffled(places: Int[np.ndarray, " n"], count: int, *key: Any) -> Int[np.ndarray, " n"]:
    """What a keyed permutation of 0..count-1 has at `places`, without making the permutation: for any `count`.

    Four rounds of a Feistel network on the next even number of bits, repeated until the value is below `count`
    (cycle walking: Black and Rogaway, CT-RSA 2002, doi:10.1007/3-540-45760-7_9).
    """
    half = np.uint64(max((int(count - 1).bit_length() + 1) // 2, 1))
    low = (np.uint64(1) << half) - np.uint64(1)
    rounds = [word(*key, number) for number in range(4)]
    values = np.asarray(places).astype(np.uint64)
    walking = np.arange(len(values))
    while len(walking):
        left, right = values[walking] >> half, values[walking] & low
        for each in rounds:
            left, right = right, left ^ (mix(right ^ each) & low)
        values[walking] = (left << half) | right
        walking = walking[values[walking] >= count]
    return values.astype(np.int64)
