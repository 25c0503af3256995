"""The operations of a fixed-point graph, and the exact type of what each yields.

Intervals are propagated in unbounded integers over the actual constants, so no exact operation can overflow; only
`Quantize` loses anything. Shapes are without the batch axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from distill_to_fpga.graph.exact import (
    alignment,
    along_axis,
    check_axis,
    common_fraction,
    finest,
    lowest_terms,
    per_element,
    rounded,
)
from distill_to_fpga.graph.types import (
    FixedType,
    GraphError,
    IntArray,
    Ints,
    Wire,
    check_width,
    frozen,
    magnitude_bits,
    objects,
)


@dataclass(frozen=True, eq=False)
class Op:
    """Base of every operation. `kind` is its name in JSON; `arity` the number of inputs, None for any."""

    kind: ClassVar[str]
    arity: ClassVar[int | None] = 1

    def derive(self, name: str, *inputs: Wire) -> Wire:
        """The wire it yields.

        Raises:
            GraphError: shapes do not fit, or the result needs more than 62 bits.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Input(Op):
    """Integers as the detector sends them (fraction 0), with each feature's own width and sign."""

    shape: tuple[int, ...]
    signed: IntArray
    bits: IntArray
    kind: ClassVar[str] = "input"
    arity: ClassVar[int | None] = 0

    def derive(self, name: str, *inputs: Wire) -> Wire:
        kind = FixedType(self.signed, self.bits, 0)
        return typed(name, self.shape, kind, kind.low, kind.high)


@dataclass(frozen=True, eq=False)
class Scale(Op):
    """`(x - offset * LSB) * 2**shift`: input scaling. The shift only moves the binary point: free in hardware."""

    offset: IntArray
    shift: IntArray
    kind: ClassVar[str] = "scale"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (x,) = inputs
        offset = objects(per_element(name, self.offset, x.shape))
        shift = per_element(name, self.shift, x.shape)
        return Wire.of_interval(name, objects(x.low) - offset, objects(x.high) - offset, x.fraction - shift)


@dataclass(frozen=True, eq=False)
class Shift(Op):
    """`x * 2**shift`, by moving the binary point: free in hardware."""

    shift: IntArray
    kind: ClassVar[str] = "shift"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (x,) = inputs
        return Wire.of_interval(name, x.low, x.high, x.fraction - per_element(name, self.shift, x.shape))


@dataclass(frozen=True, eq=False)
class Quantize(Op):
    """To a given type, by that type's rounding and overflow modes: the one operation that loses anything."""

    type: FixedType
    kind: ClassVar[str] = "quantize"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (x,) = inputs
        drop = np.where(x.bits > 0, x.fraction - per_element(name, self.type.fraction, x.shape), 0)
        round_up = self.type.rounding == "half_up"
        low, high = (rounded(end, drop, round_up) for end in (x.low, x.high))
        check_width(name, 1 + magnitude_bits(low, high))
        low, high = low.astype(np.int64), high.astype(np.int64)
        bottom, top = (per_element(name, end, x.shape) for end in (self.type.low, self.type.high))
        if self.type.overflow == "saturate":
            low, high = np.clip(low, bottom, top), np.clip(high, bottom, top)
        else:
            fits = (low >= bottom) & (high <= top)
            low, high = np.where(fits, low, bottom), np.where(fits, high, top)
        return typed(name, x.shape, self.type, low, high)


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """`x @ weight + bias` on the last axis, shared by all leading positions (tokens).

    `weight[in, out]` is in units of `2**-weight_fraction` and `bias[out]` of `2**-bias_fraction`; each fraction may
    vary from constant to constant.
    """

    weight: IntArray
    weight_fraction: IntArray
    bias: IntArray
    bias_fraction: IntArray
    kind: ClassVar[str] = "dense"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (x,) = inputs
        channels, outputs = self.weight.shape
        if not x.shape or x.shape[-1] != channels:
            raise GraphError(f"dense '{name}': the weight has {channels} inputs, '{x.name}' has shape {x.shape}")
        align, matrix, bias, fraction = self.aligned(x)
        low, high = objects(x.low) << objects(align), objects(x.high) << objects(align)
        positive, negative = np.maximum(matrix, 0), np.minimum(matrix, 0)
        least = low @ positive + high @ negative + bias
        most = high @ positive + low @ negative + bias
        return Wire.of_interval(name, least, most, np.broadcast_to(fraction, (*x.shape[:-1], outputs)))

    def aligned(self, x: Wire) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The same product in integers: `(x << align) @ matrix + bias`, in units of `2**-fraction[out]`.

        `align` has the shape of `x`; `matrix` and `bias` hold Python integers; `fraction` is the least that keeps
        every term of its output exact.
        """
        weight, weight_fraction = lowest_terms(self.weight, self.weight_fraction)
        bias, bias_fraction = lowest_terms(self.bias, self.bias_fraction)
        tokens = x.fraction.reshape(-1, x.shape[-1])
        channel_fraction = finest(tokens, x.bits.reshape(tokens.shape) > 0)
        align = alignment(x, channel_fraction)
        weight = np.where(np.any(x.bits.reshape(tokens.shape) > 0, 0)[:, None], weight, 0)
        terms = np.vstack([channel_fraction[:, None] + weight_fraction, bias_fraction])
        live = np.vstack([weight, bias]) != 0
        fraction = finest(terms, live)
        left = objects(np.where(live, fraction - terms, 0))
        matrix, bias = objects(weight) << left[:-1], objects(bias) << left[-1]
        return align, matrix, bias, fraction


@dataclass(frozen=True, eq=False)
class Relu(Op):
    """`max(x, 0)`."""

    kind: ClassVar[str] = "relu"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (x,) = inputs
        return Wire.of_interval(name, np.maximum(x.low, 0), np.maximum(x.high, 0), x.fraction)


@dataclass(frozen=True, eq=False)
class Binary(Op):
    """Elementwise on two wires of one shape."""

    arity: ClassVar[int | None] = 2

    def pair(self, name: str, *inputs: Wire) -> tuple[Wire, Wire]:
        a, b = inputs
        if a.shape != b.shape:
            raise GraphError(f"{self.kind} '{name}': '{a.name}' has shape {a.shape}, '{b.name}' has {b.shape}")
        return a, b


@dataclass(frozen=True, eq=False)
class Add(Binary):
    """`a + b`."""

    kind: ClassVar[str] = "add"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (a_low, a_high), (b_low, b_high), fraction = common_fraction(*self.pair(name, *inputs))
        return Wire.of_interval(name, a_low + b_low, a_high + b_high, fraction)


@dataclass(frozen=True, eq=False)
class Sub(Binary):
    """`a - b`."""

    kind: ClassVar[str] = "sub"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (a_low, a_high), (b_low, b_high), fraction = common_fraction(*self.pair(name, *inputs))
        return Wire.of_interval(name, a_low - b_high, a_high - b_low, fraction)


@dataclass(frozen=True, eq=False)
class Mul(Binary):
    """`a * b`; a wire times itself is a square, never negative."""

    kind: ClassVar[str] = "mul"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        a, b = self.pair(name, *inputs)
        corners = np.array([objects(s) * objects(t) for s in (a.low, a.high) for t in (b.low, b.high)], dtype=object)
        low, high = corners.min(0), corners.max(0)
        if a.name == b.name:
            low = np.where((a.low <= 0) & (a.high >= 0), objects(0), objects(corners[[0, 3]].min(0)))
        return Wire.of_interval(name, low, high, a.fraction + b.fraction)


@dataclass(frozen=True, eq=False)
class Sum(Op):
    """Sum over one axis: over the tokens, say."""

    axis: int
    kind: ClassVar[str] = "sum"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        low, high, fraction = along_axis(name, self.axis, *inputs)
        return Wire.of_interval(name, low.sum(self.axis), high.sum(self.axis), fraction)


@dataclass(frozen=True, eq=False)
class Max(Op):
    """Largest over one axis."""

    axis: int
    kind: ClassVar[str] = "max"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        low, high, fraction = along_axis(name, self.axis, *inputs)
        return Wire.of_interval(name, low.max(self.axis), high.max(self.axis), fraction)


@dataclass(frozen=True, eq=False)
class Argmax(Op):
    """Index of the largest element of the last axis; the first of equals."""

    kind: ClassVar[str] = "argmax"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        low, _, _ = along_axis(name, -1, *inputs)
        nothing = np.zeros(low.shape[:-1], dtype=object)
        return Wire.of_interval(name, nothing, nothing + (low.shape[-1] - 1), np.zeros(low.shape[:-1], np.int64))


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The same elements in the same order under another shape."""

    shape: tuple[int, ...]
    kind: ClassVar[str] = "reshape"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (x,) = inputs
        if np.prod(self.shape, dtype=np.int64) != x.size:
            raise GraphError(f"reshape '{name}': '{x.name}' has shape {x.shape}, which does not fill {self.shape}")
        return rearranged(name, [x], lambda arrays: arrays[0].reshape(self.shape))


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Wires side by side along one axis."""

    axis: int
    kind: ClassVar[str] = "concat"
    arity: ClassVar[int | None] = None

    def derive(self, name: str, *inputs: Wire) -> Wire:
        try:
            return rearranged(name, list(inputs), lambda arrays: np.concatenate(arrays, self.axis))
        except ValueError as error:
            raise GraphError(f"concat '{name}' of shapes {[x.shape for x in inputs]}: {error}") from error


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """Elements `start, start + step, ... < stop` of one axis."""

    axis: int
    start: int
    stop: int
    step: int
    kind: ClassVar[str] = "slice"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (x,) = inputs
        check_axis(name, self.axis, x)
        if not (0 <= self.start < self.stop <= x.shape[self.axis] and self.step > 0):
            raise GraphError(f"slice '{name}': [{self.start}:{self.stop}:{self.step}] is not within {x.shape}")
        return rearranged(name, [x], lambda arrays: self.take(arrays[0]))

    def take(self, values: np.ndarray, leading: int = 0) -> np.ndarray:
        """Apply to an array that has `leading` batch axes before those of the wire."""
        index = [slice(None)] * values.ndim
        axis = self.axis + leading if self.axis >= 0 else values.ndim + self.axis
        index[axis] = slice(self.start, self.stop, self.step)
        return values[tuple(index)]


@dataclass(frozen=True, eq=False)
class Take(Op):
    """Elements by their index in the flattened wire, any of them any number of times: a matter of wiring."""

    index: IntArray
    kind: ClassVar[str] = "take"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (x,) = inputs
        if not self.index.size or self.index.min() < 0 or self.index.max() >= x.size:
            raise GraphError(f"take '{name}': indices must lie in [0, {x.size})")
        return rearranged(name, [x], lambda arrays: arrays[0].reshape(-1)[self.index])


@dataclass(frozen=True, eq=False)
class Compare(Op):
    """1 where `x >= threshold`, which is in units of x's LSB, else 0."""

    threshold: IntArray
    kind: ClassVar[str] = "compare"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (x,) = inputs
        threshold = per_element(name, self.threshold, x.shape)
        low, high = ((end >= threshold).astype(np.int64) for end in (x.low, x.high))
        return Wire.of_interval(name, low, high, np.zeros(x.shape, np.int64))


@dataclass(frozen=True, eq=False)
class Select(Op):
    """`a` where the first wire is 1, `b` where it is 0."""

    kind: ClassVar[str] = "select"
    arity: ClassVar[int | None] = 3

    def derive(self, name: str, *inputs: Wire) -> Wire:
        choice, a, b = inputs
        if not choice.shape == a.shape == b.shape:
            raise GraphError(f"select '{name}': shapes {choice.shape}, {a.shape} and {b.shape} differ")
        if np.any(choice.low < 0) or np.any(choice.high > 1) or np.any((choice.bits > 0) & (choice.fraction != 0)):
            raise GraphError(f"select '{name}': '{choice.name}' is not 0 or 1")
        (a_low, a_high), (b_low, b_high), fraction = common_fraction(a, b)
        return Wire.of_interval(name, np.minimum(a_low, b_low), np.maximum(a_high, b_high), fraction)


@dataclass(frozen=True, eq=False)
class Table(Op):
    """Each element through a look-up table of its own: `entries[..., x - first]`, in units of `2**-fraction`.

    `entries` has the axes of x and one more; `first` is the integer of x that the first entry belongs to.
    """

    entries: IntArray
    first: IntArray
    fraction: IntArray
    kind: ClassVar[str] = "table"

    def derive(self, name: str, *inputs: Wire) -> Wire:
        (x,) = inputs
        if self.entries.shape[:-1] != x.shape:
            raise GraphError(f"table '{name}': entries of {self.entries.shape} do not fit '{x.name}' of {x.shape}")
        first, depth = per_element(name, self.first, x.shape), self.entries.shape[-1]
        if np.any(x.low < first) or np.any(x.high >= first + depth):
            raise GraphError(f"table '{name}': '{x.name}' takes integers that have no entry")
        at = first[..., None] + np.arange(depth)
        used = (at >= x.low[..., None]) & (at <= x.high[..., None])
        ends = np.iinfo(np.int64)
        low = np.where(used, self.entries, ends.max).min(-1)
        high = np.where(used, self.entries, ends.min).max(-1)
        return Wire.of_interval(name, low, high, per_element(name, self.fraction, x.shape))


OPS: dict[str, type[Op]] = {
    op.kind: op
    for op in (
        *(Input, Scale, Shift, Quantize, Dense, Relu, Add, Sub, Mul, Sum, Max, Argmax, Reshape, Concat, Slice),
        *(Take, Compare, Select, Table),
    )
}


def typed(name: str, shape: tuple[int, ...], kind: FixedType, low: Ints, high: Ints) -> Wire:
    """A wire whose type is declared and not derived from its interval."""
    try:
        bounds = [frozen(np.broadcast_to(end, shape).astype(np.int64)) for end in (low, high)]
        np.broadcast_to(0, np.broadcast_shapes(kind.shape, shape)).reshape(shape)
    except ValueError as error:
        raise GraphError(f"wire '{name}' of shape {shape} cannot have a type of shape {kind.shape}") from error
    return Wire(name, shape, kind, *bounds)


def rearranged(name: str, wires: list[Wire], move) -> Wire:
    """The wire whose elements are those of `wires` in another order."""
    parts = ("low", "high", "signed", "bits", "fraction")
    low, high, *kind = (move([np.broadcast_to(getattr(wire, part), wire.shape) for wire in wires]) for part in parts)
    low, high = frozen(np.array(low)), frozen(np.array(high))
    return Wire(name, low.shape, FixedType(*kind), low, high)
