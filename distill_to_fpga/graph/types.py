"""Fixed-point types of wires: which integers an element may hold, and what one unit of them is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int

from foundation.errors import DetfmError

Rounding = Literal["truncate", "half_up"]
Overflow = Literal["saturate", "wrap"]
IntArray = Int[np.ndarray, "..."]
BoolArray = Bool[np.ndarray, "..."]
Ints = int | np.integer | Sequence[Any] | np.ndarray

MAX_BITS = 62  # of every wire, and of every value before a quantizer's overflow step: exact in int64, a bit to spare


class GraphError(DetfmError):
    """A fixed-point graph is malformed, or one of its wires cannot be held exactly."""


def ints(values: Ints) -> IntArray:
    """Read-only int64 copy.

    Raises:
        GraphError: a value is not an integer.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iub":
        raise GraphError(f"expected integers, got an array of {array.dtype}")
    return frozen(array.astype(np.int64))


def frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def compressed(values: Ints) -> np.ndarray:
    """The smallest array that broadcasts back to `values`: one scalar if all are equal, one row if all rows are."""
    array = np.asarray(values)
    for axis in range(array.ndim):
        first = array.take([0], axis)
        if (array == first).all():
            array = first
    while array.ndim and array.shape[0] == 1:
        array = array[0]
    return frozen(np.array(array))


@dataclass(frozen=True, eq=False, init=False)
class FixedType:
    """Numbers `integer * 2**-fraction`, with `integer` of `bits` bits; every field may vary from element to element.

    Attributes:
        signed: two's complement; the sign bit is one of `bits`.
        bits: width in bits. 0 means that the element is the constant zero (pruned).
        fraction: binary places; may be negative (LSB above 1) or exceed `bits` (all values below 1).
        rounding: what a quantizer to this type does below the LSB: towards minus infinity, or to nearest with ties
            upwards (AP_TRN, AP_RND).
        overflow: what it does beyond the range: clip, or drop the upper bits (AP_SAT, AP_WRAP).
    """

    signed: BoolArray
    bits: IntArray
    fraction: IntArray
    rounding: Rounding
    overflow: Overflow

    def __init__(
        self,
        signed: Ints,
        bits: Ints,
        fraction: Ints,
        rounding: Rounding = "truncate",
        overflow: Overflow = "saturate",
    ):
        if rounding not in ("truncate", "half_up") or overflow not in ("saturate", "wrap"):
            raise GraphError(f"no such quantizer: rounding {rounding!r}, overflow {overflow!r}")
        bits, fraction = compressed(ints(bits)), compressed(ints(fraction))
        if bits.min() < 0 or bits.max() > MAX_BITS:
            raise GraphError(f"bits must be 0 to {MAX_BITS}, got {bits.min()} to {bits.max()}")
        values = {"signed": compressed(np.array(signed, dtype=bool)), "bits": bits, "fraction": fraction}
        for name, value in {**values, "rounding": rounding, "overflow": overflow}.items():
            object.__setattr__(self, name, value)

    @property
    def integer_bits(self) -> IntArray:
        """Bits above the binary point, the sign bit among them: the `I` of `ap_fixed<W, I>`."""
        return np.asarray(self.bits - self.fraction)

    @property
    def shape(self) -> tuple[int, ...]:
        """The smallest shape that holds all of its fields."""
        return np.broadcast_shapes(self.signed.shape, self.bits.shape, self.fraction.shape)

    @property
    def low(self) -> IntArray:
        """Smallest integer of each element."""
        return np.where(self.signed & (self.bits > 0), -(1 << np.maximum(self.bits - 1, 0)), 0)

    @property
    def high(self) -> IntArray:
        """Largest integer of each element."""
        magnitude = np.maximum(self.bits - self.signed, 0)
        return np.asarray((np.int64(1) << magnitude) - 1)

    def to_dict(self) -> dict[str, Any]:
        data = {"signed": self.signed.astype(int).tolist(), "bits": self.bits.tolist()}
        return {**data, "fraction": self.fraction.tolist(), "rounding": self.rounding, "overflow": self.overflow}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FixedType) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(str(self.to_dict()))

    def __str__(self) -> str:
        def span(values: np.ndarray) -> str:
            return str(values.min()) if values.min() == values.max() else f"{values.min()}..{values.max()}"

        sign = {(True, True): "", (False, False): "u"}.get((bool(self.signed.min()), bool(self.signed.max())), "(u)")
        return f"{sign}fixed<{span(self.bits)} bits, {span(self.fraction)} fraction>"


_length = np.frompyfunc(int.bit_length, 1, 1)


def magnitude_bits(low: Ints, high: Ints) -> np.ndarray:
    """Bits that hold all integers of [low, high], but for the sign."""
    positive, negative = np.maximum(objects(high), 0), np.maximum(objects(-1 - objects(low)), 0)
    return np.asarray(np.maximum(_length(positive), _length(negative)), dtype=object)


@dataclass(frozen=True, eq=False)
class Wire:
    """A tensor of fixed-point numbers in the graph.

    Attributes:
        name: unique in the graph; a C++ identifier.
        shape: without the batch axis; row-major in hardware.
        type: per element, broadcastable to `shape`.
        low, high: the integers it can really take, in units of its own LSB; within the type's range, often tighter.
    """

    name: str
    shape: tuple[int, ...]
    type: FixedType
    low: IntArray
    high: IntArray

    @property
    def signed(self) -> BoolArray:
        return np.broadcast_to(self.type.signed, self.shape)

    @property
    def bits(self) -> IntArray:
        return np.broadcast_to(self.type.bits, self.shape)

    @property
    def fraction(self) -> IntArray:
        return np.broadcast_to(self.type.fraction, self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @classmethod
    def of_interval(cls, name: str, low: Ints, high: Ints, fraction: Ints) -> Wire:
        """The narrowest wire that holds every integer of [low, high] at `fraction`; arrays of Python integers.

        Raises:
            GraphError: an element needs more than 62 bits.
        """
        low, high = objects(low), objects(high)
        signed = np.asarray(low < 0, dtype=bool)
        bits = np.asarray(magnitude_bits(low, high), dtype=np.int64) + signed
        check_width(name, bits)
        kind = FixedType(signed, bits, np.where(bits > 0, fraction, 0))
        return cls(name, low.shape, kind, frozen(low.astype(np.int64)), frozen(high.astype(np.int64)))


def check_width(name: str, bits: Ints) -> None:
    if np.max(bits) > MAX_BITS:
        where = np.unravel_index(int(np.argmax(bits)), np.shape(bits))
        raise GraphError(
            f"wire '{name}' needs {np.max(bits)} bits at element {[int(i) for i in where]}; {MAX_BITS} is the limit of "
            "exact evaluation: quantize before it"
        )


def objects(values: Ints) -> np.ndarray:
    """The same integers as Python's unbounded ones."""
    return np.asarray(values).astype(object)
