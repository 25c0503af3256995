"""What a constant matrix costs in adders: canonical signed digits and common two-term subexpressions.

A product with a constant is a sum of shifted copies of the input. Every constant is written with the fewest signed
digits (Avizienis 1961), so `x @ matrix` is one multi-operand sum per output; the pair of terms that occurs most often
over all outputs is then computed once and reused, again and again until no pair occurs twice (Hartley 1996; the same
idea, with a delay limit, is in da4ml, arXiv:2507.04535).
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

Interval = tuple[int, int]
Pair = tuple[int, int, int, int]  # source, source, shift of the second against the first, sign of the second


@dataclass(frozen=True)
class AdderGraph:
    """Size of a shift-and-add network.

    Attributes:
        adders: two-operand additions and subtractions.
        luts: full-adder cells, about one LUT each: widths of the results less the bits that pass through.
        depth: adders in series on the longest path.
    """

    adders: int
    luts: int
    depth: int


@dataclass(frozen=True)
class Term:
    """A value of the network: the integers it takes, and the adders in series before it."""

    interval: Interval
    depth: int = 0


def adder_graph(matrix: np.ndarray, inputs: Iterable[Interval], bias: Iterable[int] = ()) -> AdderGraph:
    """Cost of `x @ matrix + bias`, `matrix[in, out]` of integers, `inputs` the range of each x."""
    network = Network([Term(interval) for interval in inputs], matrix)
    network.share()
    constants = list(bias) or [0] * matrix.shape[1]
    return network.finish(constants)


def signed_digits(value: int) -> Iterator[tuple[int, int]]:
    """`(shift, sign)` of the canonical signed digits: no two neighbours are non-zero, and no form has fewer."""
    shift = 0
    while value:
        if value & 1:
            digit = 2 - (value & 3)
            yield shift, digit
            value -= digit
        value >>= 1
        shift += 1


def width(interval: Interval) -> int:
    low, high = interval
    return max(high.bit_length(), (-low - 1).bit_length() + 1 if low < 0 else 0)


def combine(a: Interval, b: Interval, shift: int, sign: int) -> tuple[Interval, int]:
    """Interval of `a + sign * b * 2**shift`, in units of the finer LSB, and the adder cells it takes."""
    a = (a[0] << max(-shift, 0), a[1] << max(-shift, 0))
    b = (b[0] << max(shift, 0), b[1] << max(shift, 0))
    result = (a[0] + b[0], a[1] + b[1]) if sign > 0 else (a[0] - b[1], a[1] - b[0])
    untouched = abs(shift) if shift > 0 or sign > 0 else 0  # low bits of the finer operand, unless it is negated
    return result, max(width(result) - untouched, 1)


class Network:
    """Outputs as sums of signed, shifted terms; shrinks as terms are shared."""

    def __init__(self, terms: list[Term], matrix: np.ndarray):
        self.terms = terms
        self.columns: list[dict[tuple[int, int], int]] = [
            {(i, shift): sign for i, value in enumerate(column) for shift, sign in signed_digits(int(value))}
            for column in matrix.T
        ]
        self.adders = self.luts = 0
        self.where: defaultdict[Pair, Counter[int]] = defaultdict(Counter)
        for number, column in enumerate(self.columns):
            ordered = sorted(column.items())
            for k, (first, sign) in enumerate(ordered):
                for second, other in ordered[k + 1 :]:
                    self.where[pair_of(first, sign, second, other)][number] += 1

    def share(self) -> None:
        """Replace the most frequent pair by a new term until none occurs twice."""
        heap = [(-sum(c.values()), pair) for pair, c in self.where.items()]
        heapq.heapify(heap)
        while heap:
            count, pair = heapq.heappop(heap)
            actual = sum(self.where[pair].values())
            if actual < 2:
                continue
            if actual != -count:
                heapq.heappush(heap, (-actual, pair))
                continue
            for changed in self.substitute(pair):
                heapq.heappush(heap, (-sum(self.where[changed].values()), changed))

    def substitute(self, pair: Pair) -> set[Pair]:
        """Compute `pair` once, use it wherever it occurs; the pairs that became more frequent."""
        first, second, shift, sign = pair
        a, b = self.terms[first], self.terms[second]
        interval, cells = combine(a.interval, b.interval, shift, sign)
        self.terms.append(Term(interval, 1 + max(a.depth, b.depth)))
        self.adders, self.luts = self.adders + 1, self.luts + cells
        new, changed = len(self.terms) - 1, set()
        for number in list(self.where[pair]):
            column = self.columns[number]
            for source, at in sorted(column):
                partner = (second, at + shift)
                if source != first or (source, at) not in column or partner not in column or partner == (source, at):
                    continue
                if column[source, at] * column[partner] != sign:
                    continue
                leading = column[source, at]
                self.forget(number, (source, at))
                self.forget(number, partner)
                changed |= self.remember(number, (new, at + min(shift, 0)), leading)
        self.where.pop(pair, None)
        return changed

    def forget(self, number: int, term: tuple[int, int]) -> None:
        column = self.columns[number]
        sign = column.pop(term)
        for other, other_sign in column.items():
            found = self.where[pair_of(term, sign, other, other_sign)]
            found[number] -= 1
            if found[number] == 0:
                del found[number]

    def remember(self, number: int, term: tuple[int, int], sign: int) -> set[Pair]:
        column, changed = self.columns[number], set()
        for other, other_sign in column.items():
            pair = pair_of(term, sign, other, other_sign)
            self.where[pair][number] += 1
            changed.add(pair)
        column[term] = sign
        return changed

    def finish(self, constants: list[int]) -> AdderGraph:
        """Add what is left of each output, shallowest terms first; a constant is one more operand."""
        depth = 0
        for column, constant in zip(self.columns, constants):
            operands = [(self.terms[s].depth, shift, self.terms[s].interval, sign) for (s, shift), sign in column.items()]
            if constant:
                operands.append((0, 0, (constant, constant), 1))
            heapq.heapify(operands)
            while len(operands) > 1:
                (d1, k1, i1, s1), (d2, k2, i2, s2) = heapq.heappop(operands), heapq.heappop(operands)
                if s1 < 0 < s2:
                    (k1, i1, s1), (k2, i2, s2) = (k2, i2, s2), (k1, i1, s1)
                interval, cells = combine(i1, i2, k2 - k1, s1 * s2)
                self.adders, self.luts = self.adders + 1, self.luts + cells
                heapq.heappush(operands, (1 + max(d1, d2), min(k1, k2), interval, s1))
            depth = max([depth, *(operand[0] for operand in operands)])
        return AdderGraph(self.adders, self.luts, depth)


def pair_of(first: tuple[int, int], sign: int, second: tuple[int, int], other: int) -> Pair:
    """The pattern of two terms `(source, shift)`, the same wherever and with whatever common sign they stand."""
    if second < first:
        first, second = second, first
    return first[0], second[0], second[1] - first[1], sign * other
