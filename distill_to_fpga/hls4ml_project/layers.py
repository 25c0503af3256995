"""Each operation of a graph as layers of hls4ml, every array and accumulator with a type that holds it exactly.

Only `FixedPointQuantizer` layers round. The shapes in hls4ml are those of the wires; a scalar is an array of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import numpy as np

from distill_to_fpga.graph import GraphError, Wire, ops
from distill_to_fpga.hls.containers import Container, constants, container, union
from distill_to_fpga.hls.layers import by_channel

ROUNDING = {"truncate": "TRN", "half_up": "RND"}
OVERFLOW = {"saturate": "SAT", "wrap": "WRAP"}
WIRING = "DetfmWiring"  # the layer of `wiring.py`
BIT = Container(False, 1, 1)
EXACT_IN_FLOAT = 1 << 53  # hls4ml takes constants as float64
Constants = tuple[Container, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """One entry of hls4ml's layer list.

    Attributes:
        attributes: the entry.
        types: of `result`, and of the layer's constants and accumulator.
        reused: whether its multipliers can be shared (reuse factor above 1).
    """

    attributes: dict[str, Any]
    types: dict[str, Container]
    reused: bool = field(default=False)

    @property
    def name(self) -> str:
        return str(self.attributes["name"])


def entry(kind: str, out: Wire, *inputs: Wire, **attributes: Any) -> dict[str, Any]:
    names = {"inputs": [x.name for x in inputs]} if inputs else {}
    return {"class_name": kind, "name": out.name, **names, **attributes}


def shape(wire: Wire) -> list[int]:
    return list(wire.shape) or [1]


@singledispatch
def layers(op: ops.Op, out: Wire, *inputs: Wire) -> list[Layer]:
    """The layers of an operation; the last one has the name of the wire `out`.

    Args:
        inputs: named as the layers that yield them.

    Raises:
        GraphError: hls4ml has no layer that computes it exactly.
    """
    raise GraphError(
        f"{op.kind} '{out.name}' has no exact layer in hls4ml; use --target hls, which takes all operations"
    )


@layers.register
def _(op: ops.Input, out: Wire, *inputs: Wire) -> list[Layer]:
    """Of elements narrower than their port, a second layer takes the bits that they declare."""
    port = container(out)
    made = [Layer(entry("InputLayer", out, input_shape=shape(out)), {"result": port})]
    if (out.signed == port.signed).all() and (out.bits == port.width).all():
        return made
    return made + [quantizer(renamed(out, read_name(out.name)), out, "truncate", "wrap")]


def read_name(name: str) -> str:
    """Of the layer that reads a port's bits; no wire's name ends so."""
    return f"{name}_"


def renamed(wire: Wire, name: str) -> Wire:
    return Wire(name, wire.shape, wire.type, wire.low, wire.high)


def quantizer(out: Wire, x: Wire, rounding: str, overflow: str) -> Layer:
    """To the type that each element of `out` declares."""
    fields = (out.signed, out.bits, out.bits - out.fraction)
    mask = tuple(np.reshape(each, [1, *shape(out)]).astype(np.int16) for each in fields)
    modes = {"RND": ROUNDING[rounding], "SAT": OVERFLOW[overflow], "mask_kbi": mask}
    extra = {**modes, "overrides": {}, "fusible": False}
    return Layer(entry("FixedPointQuantizer", out, x, **extra), {"result": container(out)})


@layers.register
def _(op: ops.Quantize, out: Wire, *inputs: Wire) -> list[Layer]:
    (x,) = inputs
    return [quantizer(out, x, op.type.rounding, op.type.overflow)]


@layers.register
def _(op: ops.Scale, out: Wire, *inputs: Wire) -> list[Layer]:
    return [scaled(op.offset, op.shift, out, *inputs)]


@layers.register
def _(op: ops.Shift, out: Wire, *inputs: Wire) -> list[Layer]:
    return [scaled(np.zeros((), np.int64), op.shift, out, *inputs)]


def scaled(offset: np.ndarray, shift: np.ndarray, out: Wire, x: Wire) -> Layer:
    """`x * 2^shift - offset * 2^shift`: a multiplication by a constant power of two is wiring."""
    channels, (offset, shift, fraction) = by_channel(x, offset, shift, x.fraction)
    data = {"scale": real(out, np.ones_like(shift), -shift), "bias": real(out, -offset, fraction - shift)}
    arrays = {f"{name}_data": values for name, (_, values) in data.items()}
    sizes = {"n_in": x.size, "n_filt": channels if channels < x.size else -1}
    types = {"result": container(out), **{name: kind for name, (kind, _) in data.items()}}
    return Layer(entry("ApplyAlpha", out, x, **sizes, **arrays), types)


def real(out: Wire, integers: np.ndarray, fraction: np.ndarray) -> Constants:
    """Type and values of constants.

    Raises:
        GraphError: one has more bits than the float64 in which hls4ml takes it.
    """
    kind, words = constants(integers, fraction)
    if np.abs(words).max() >= EXACT_IN_FLOAT:
        raise GraphError(f"'{out.name}': a constant of {kind.width} bits, hls4ml takes 53; use --target hls")
    return kind, np.ldexp(words.astype(np.float64), -kind.fraction)


@layers.register
def _(op: ops.Dense, out: Wire, *inputs: Wire) -> list[Layer]:
    (x,) = inputs
    if len(x.shape) > 3:
        raise GraphError(f"dense '{out.name}': hls4ml takes up to 3 axes, '{x.name}' has {x.shape}; use --target hls")
    weight, bias = real(out, op.weight, op.weight_fraction), real(out, op.bias, op.bias_fraction)
    return [product(out, x, int(np.max(op.aligned(x)[3])), weight, bias)]


def product(out: Wire, x: Wire, places: int, weight: Constants, bias: Constants) -> Layer:
    """A matrix product, whose finest term has so many binary places."""
    (weight_type, matrix), (bias_type, vector) = weight, bias
    arrays = {"n_in": matrix.shape[0], "n_out": matrix.shape[1], "weight_data": matrix, "bias_data": vector}
    types = added(container(out), places) | {"weight": weight_type, "bias": bias_type}
    return Layer(entry("Dense", out, x, **arrays), types, reused=True)


def added(result: Container, places: int) -> dict[str, Container]:
    """Types of a sum. It wraps on the way, so that its accumulator needs no more integer bits than the result; it has
    the places of the finest term."""
    places = max(result.fraction, places)
    return {"result": result, "accum": Container(True, result.integer + 1 + places, result.integer + 1)}


@layers.register
def _(op: ops.Relu, out: Wire, *inputs: Wire) -> list[Layer]:
    return [Layer(entry("Activation", out, *inputs, activation="relu", n_in=out.size), {"result": container(out)})]


@layers.register(ops.Add)
@layers.register(ops.Sub)
@layers.register(ops.Mul)
def _(op: ops.Binary, out: Wire, *inputs: Wire) -> list[Layer]:
    name = {"add": "add", "sub": "subtract", "mul": "multiply"}[op.kind]
    return [Layer(entry("Merge", out, *inputs, op=name), {"result": container(out)})]


@layers.register
def _(op: ops.Sum, out: Wire, *inputs: Wire) -> list[Layer]:
    """A product with ones."""
    (x,) = inputs
    axis, places = op.axis % len(x.shape), container(x).fraction
    if len(x.shape) == 1:
        return [product(out, x, places, (BIT, np.ones((x.size, 1))), (BIT, np.zeros(1)))]
    letters = "abcdefgh"[: len(x.shape)]
    equation = f"{letters},{letters[axis]}->{letters.replace(letters[axis], '')}"
    shapes = {"inp_shape": tuple(x.shape), "out_shape": tuple(out.shape), "equation": equation}
    data = {"weight_data": np.ones(x.shape[axis]), "bias_data": None}
    types = added(container(out), places) | {"weight": BIT, "bias": BIT}
    return [Layer(entry("EinsumDense", out, x, **shapes, **data), types)]


@layers.register
def _(op: ops.Reshape, out: Wire, *inputs: Wire) -> list[Layer]:
    return [Layer(entry("Reshape", out, *inputs, target_shape=shape(out)), {"result": container(out)})]


@layers.register
def _(op: ops.Take, out: Wire, *inputs: Wire) -> list[Layer]:
    return [wired(op.index, out, *inputs)]


@layers.register
def _(op: ops.Slice, out: Wire, *inputs: Wire) -> list[Layer]:
    (x,) = inputs
    return [wired(op.take(np.arange(x.size).reshape(x.shape)), out, x)]


def wired(index: np.ndarray, out: Wire, x: Wire) -> Layer:
    attributes = {"places": index.reshape(-1).tolist(), "target_shape": shape(out)}
    return Layer(entry(WIRING, out, x, **attributes), {"result": container(out)})


@layers.register
def _(op: ops.Concat, out: Wire, *inputs: Wire) -> list[Layer]:
    """Two at a time."""
    if len(out.shape) > 3 or len(inputs) < 2:
        raise GraphError(f"concat '{out.name}': hls4ml joins arrays of up to 3 axes; use --target hls")
    axis, joined, made = op.axis % len(out.shape), inputs[0], []
    for place, x in enumerate(inputs[1:], 2):
        parts = [np.concatenate([getattr(w, f) for w in inputs[:place]], axis) for f in ("low", "high", "fraction")]
        both = Wire.of_interval(out.name if place == len(inputs) else f"{out.name}_{place}_", *parts)
        types = {"result": union(*map(container, inputs[:place])) if place < len(inputs) else container(out)}
        made.append(
            Layer(entry("Concatenate", both, joined, x, axis=axis + 1, op=f"concatenate{len(out.shape)}d"), types)
        )
        joined = both
    return made
