"""What a constant matrix costs in adders: canonical signed digits and common two-term subexpressions.

A product with a constant is a sum of shifted copies of the input. Every constant is written with the fewest signed
digits (Avizienis 1961), so `x @ matrix` is one multi-operand sum per output; the pair of terms that occurs most often
over all outputs is then computed once and reused, again and again until no pair occurs twice (Hartley 1996; weighted
by the operands' overlap as in da4ml, arXiv:2507.04535, whose own networks are 2 to 3% smaller).
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
        luts: full-adder cells, one LUT each: places where both operands, or one and the carry, have a bit. The carry
            out of the last is free, and so is a constant operand (counts of Yosys: docs/estimates.md).
        depth: adders in series on the longest path.
    """

    adders: int
    luts: int
    depth: int


@dataclass(frozen=True)
class Term:
    """A value of the network: the integers it takes, the adders in series before it, and the pair it is made of."""

    interval: Interval
    depth: int = 0
    made_of: Pair | None = None


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
    if a[0] == a[1] or b[0] == b[1]:
        return result, 0
    untouched = abs(shift) if shift > 0 or sign > 0 else 0  # low bits of the finer operand, unless it is negated
    return result, max(min(width(result), max(width(a), width(b))) - untouched, 1)


class Network:
    """Outputs as sums of signed, shifted terms; shrinks as terms are shared.

    Attributes:
        terms: the inputs, then every sum, after those that it is made of; and constants, which are made of nothing.
        outputs: once finished, of each output the term, its shift and its sign; None where it is always zero.
    """

    def __init__(self, terms: list[Term], matrix: np.ndarray):
        self.terms = terms
        self.outputs: list[tuple[int, int, int] | None] = []
        self.adders = self.luts = 0
        self.columns: list[dict[tuple[int, int], int]] = [{} for _ in matrix.T]
        self.occurrences: Counter[Pair] = Counter()
        self.where: defaultdict[Pair, set[int]] = defaultdict(set)  # columns that have, or had, the pair
        for number, column in enumerate(matrix.T.tolist()):
            for source, value in enumerate(column):
                for shift, sign in signed_digits(value):
                    self.insert(number, (source, shift), sign)

    def share(self) -> None:
        """Replace the pair that occurs most often, weighted by its overlap, by a new term until none occurs twice."""
        heap = [self.rank(pair) for pair, count in self.occurrences.items() if count > 1]
        heapq.heapify(heap)
        while heap:
            _, count, pair = heapq.heappop(heap)
            actual = self.occurrences[pair]
            if actual == -count:
                made = self.substitute(pair)
                for other in made:
                    if self.occurrences[other] > 1:
                        heapq.heappush(heap, self.rank(other))
            elif actual > 1:
                heapq.heappush(heap, self.rank(pair))

    def rank(self, pair: Pair) -> tuple[int, int, Pair]:
        """Sorts the pair to take first to the front. Where operands overlap are the adder cells that sharing saves."""
        first, second, shift, _ = pair
        ends = width(self.terms[first].interval), width(self.terms[second].interval) + shift
        overlap = max(min(ends) - max(0, shift), 0)
        count = self.occurrences[pair]
        return -count * overlap, -count, pair

    def substitute(self, pair: Pair) -> set[Pair]:
        """Compute `pair` once, use it wherever it occurs; the pairs that became more frequent."""
        first, second, shift, sign = pair
        new, changed = self.add(pair), set()
        for number in self.where.pop(pair):
            column = self.columns[number]
            for source, at in sorted(column):
                partner = (second, at + shift)
                if source != first or (source, at) not in column or partner not in column:
                    continue
                if column[source, at] * column[partner] != sign:
                    continue
                leading = self.remove(number, (source, at))
                self.remove(number, partner)
                changed |= self.insert(number, (new, at + min(shift, 0)), leading)
        return changed

    def add(self, pair: Pair) -> int:
        """Compute `pair`; the number of the new term."""
        first, second, shift, sign = pair
        a, b = self.terms[first], self.terms[second]
        interval, cells = combine(a.interval, b.interval, shift, sign)
        self.terms.append(Term(interval, 1 + max(a.depth, b.depth), pair))
        self.adders, self.luts = self.adders + 1, self.luts + cells
        return len(self.terms) - 1

    def insert(self, number: int, term: tuple[int, int], sign: int) -> set[Pair]:
        """Add a term to an output; the pairs it makes."""
        made = self.pairs(number, term, sign)
        for pair in made:
            self.occurrences[pair] += 1
            self.where[pair].add(number)
        self.columns[number][term] = sign
        return set(made)

    def remove(self, number: int, term: tuple[int, int]) -> int:
        """Take a term from an output; its sign."""
        sign = self.columns[number].pop(term)
        for pair in self.pairs(number, term, sign):
            self.occurrences[pair] -= 1
        return sign

    def pairs(self, number: int, term: tuple[int, int], sign: int) -> list[Pair]:
        """Patterns of `term` with each term of an output; equal wherever and with whatever common sign they stand."""
        source, at = term
        return [
            (source, other, to - at, sign * s) if term < (other, to) else (other, source, at - to, sign * s)
            for (other, to), s in self.columns[number].items()
        ]

    def finish(self, constants: list[int]) -> AdderGraph:
        """Add what is left of each output, shallowest terms first; a constant is one more operand."""
        depth = 0
        for column, constant in zip(self.columns, constants):
            operands = [
                (self.terms[s].depth, shift, self.terms[s].interval, sign, s) for (s, shift), sign in column.items()
            ]
            if constant:
                self.terms.append(Term((constant, constant)))
                operands.append((0, 0, (constant, constant), 1, len(self.terms) - 1))
            heapq.heapify(operands)
            while len(operands) > 1:
                (_, k1, _, s1, first), (_, k2, _, s2, second) = heapq.heappop(operands), heapq.heappop(operands)
                if s1 < 0 < s2:
                    (k1, s1, first), (k2, s2, second) = (k2, s2, second), (k1, s1, first)
                made = self.add((first, second, k2 - k1, s1 * s2))
                term = self.terms[made]
                heapq.heappush(operands, (term.depth, min(k1, k2), term.interval, s1, made))
            depth = max([depth, *(operand[0] for operand in operands)])
            self.outputs += [(source, shift, sign) for _, shift, _, sign, source in operands] or [None]
        return AdderGraph(self.adders, self.luts, depth)
