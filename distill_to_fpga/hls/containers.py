"""C++ types of arrays: one `ap_fixed` (or `ap_int`) wide enough for every element of a wire, and its bit patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from distill_to_fpga.graph.types import GraphError, IntArray, Wire

MAX_WIDTH = 63  # the C simulation exchanges bit patterns as 64-bit integers


@dataclass(frozen=True)
class Container:
    """`ap_[u]fixed<width, integer>`; all values of an array fit, with one binary point."""

    signed: bool
    width: int
    integer: int

    @property
    def fraction(self) -> int:
        return self.width - self.integer

    @property
    def cpp(self) -> str:
        sign = "" if self.signed else "u"
        return f"ap_{sign}int<{self.width}>" if self.fraction == 0 else f"ap_{sign}fixed<{self.width}, {self.integer}>"

    def with_modes(self, rounding: str, overflow: str) -> str:
        """The C++ type whose constructor rounds and saturates so."""
        quantization = {"truncate": "AP_TRN", "half_up": "AP_RND"}[rounding]
        overflow = {"saturate": "AP_SAT", "wrap": "AP_WRAP"}[overflow]
        return f"ap_{'' if self.signed else 'u'}fixed<{self.width}, {self.integer}, {quantization}, {overflow}>"


def union(*parts: Container) -> Container:
    """The smallest container that holds all values of the given ones."""
    signed = any(part.signed for part in parts)
    integer = max(part.integer + (signed and not part.signed) for part in parts)
    return Container(signed, integer + max(part.fraction for part in parts), integer)


def container(wire: Wire) -> Container:
    """The container of a wire's array.

    Raises:
        GraphError: it needs more than 63 bits (the elements' binary points are too far apart).
    """
    live = wire.bits > 0
    if not live.any():
        return Container(False, 1, 1)
    fields = zip(*(np.broadcast_to(f, wire.shape)[live] for f in (wire.signed, wire.bits, wire.fraction)))
    distinct = {(bool(s), int(b), int(f)) for s, b, f in fields}
    found = union(*(Container(s, b, b - f) for s, b, f in distinct))
    if found.width > MAX_WIDTH:
        raise GraphError(f"one C++ type for all of '{wire.name}' takes {found.width} bits, more than {MAX_WIDTH}")
    return found


def constants(integers: np.ndarray, fraction: np.ndarray) -> tuple[Container, IntArray]:
    """Container of constants `integers * 2**-fraction` in lowest terms, and their bit patterns."""
    live = integers != 0
    finest = int(np.max(np.where(live, fraction, np.iinfo(np.int64).min))) if live.any() else 0
    words = np.where(live, integers << np.where(live, finest - fraction, 0), 0)
    signed = bool((words < 0).any())
    largest = max(int(words.max()), -int(words.min()) - 1, 1)
    width = largest.bit_length() + signed
    return Container(signed, width, width - finest), words


def to_words(wire: Wire, integers: Int[np.ndarray, "batch ..."]) -> Int[np.ndarray, "batch size"]:
    """Bit patterns (as signed integers) that the firmware's array holds for a wire's integers."""
    shift = np.where(wire.bits > 0, container(wire).fraction - wire.fraction, 0)
    return (integers << shift).reshape(len(integers), -1)


def literal(values: np.ndarray) -> str:
    """The narrowest C integer type for constants."""
    for name, bits in (("signed char", 8), ("short", 16), ("int", 32)):
        if np.min(values) >= -(1 << bits - 1) and np.max(values) < 1 << bits - 1:
            return name
    return "long long"
