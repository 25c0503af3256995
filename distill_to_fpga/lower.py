"""A frozen student as a FixedPointGraph: the same integers, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Int

from distill_to_fpga.estimate import estimate
from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, Wire
from distill_to_fpga.graph.simplify import simplify
from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students.attention import LinearAttention
from distill_to_fpga.students.branches import Repeat, Together, Transpose
from distill_to_fpga.students.layers import (
    Dense,
    Flatten,
    InputScale,
    Patches,
    Relu,
    Residual,
    ScoreOutput,
    SumOfSquares,
    SumTokens,
)
from distill_to_fpga.students.student import Student
from distill_to_fpga.students.tables import EdgeTables
from distill_to_fpga.students.trees import Trees
from foundation.errors import ConfigError

FLOAT32_BITS = 24


def lower(student: Student, layout: HardwareLayout, name: str = "student", version: int = 1) -> FixedPointGraph:
    """The frozen student's graph: input `layout.modality`, hardware integers; output `outputs`, exact and unrounded.

    The outputs are the class logits, then the regression outputs, each in units of 2^-fraction of the output wire; or
    the one score, unsigned and saturating.
    Weights with no bits are zeros of the graph's matrices, and its back ends emit nothing for them; nor do they for
    channels that nothing reads.

    Args:
        student: frozen (`freeze`); a student still in floats has no integers.
        layout: of its inputs.
        name: names the firmware's namespace.
        version: of the firmware.

    Raises:
        ConfigError: the student is not quantised, or the layout is not the one it was made for.
        GraphError: an accumulator needs more than 62 bits.
    """
    if not student.config.quantized:
        raise ConfigError("a floating-point student has no firmware; distil with student.quantized: true")
    features = student.layers[0].features
    if len(layout.features) != features or layout.tokens != student.config.tokens:
        raise ConfigError(
            f"the student takes {student.config.tokens} tokens of {features} features, "
            f"the layout has {layout.tokens} of {len(layout.features)}"
        )
    g = GraphBuilder(name, version)
    shape = (layout.tokens, len(layout.features))
    x = g.input(layout.modality, shape=shape, signed=layout.signed, bits=layout.bits)
    g.output(_lower_layers(g, x, student.layers), "outputs")
    return simplify(g.build())


def _lower_layers(g: GraphBuilder, x: Wire, layers: Iterable[Any]) -> Wire:
    for layer in layers:
        x = _lower_layer(g, x, layer)
    return x


def _lower_layer(g: GraphBuilder, x: Wire, layer: Any) -> Wire:
    match layer:
        case InputScale():
            return g.scale(x, np.asarray(layer.offset[...]), -np.asarray(layer.shift[...]))
        case ActivationQuantizer():
            fraction = np.asarray(layer.fraction[...]).astype(np.int64)
            signed, bits = np.asarray(layer.signed[...]), np.asarray(layer.bits[...])
            return g.quantize(x, signed, bits, fraction, rounding="half_up", overflow="saturate")
        case Dense():
            weight, bias = _integers(layer.kernel, layer.kernel_fraction), _integers(layer.bias, layer.bias_fraction)
            return g.dense(x, *weight, *bias)
        case Relu():
            return g.relu(x)
        case SumTokens():
            return g.shift(g.sum(x, axis=0), -layer.shift)
        case Flatten():
            return g.flatten(x)
        case Patches():
            return _lower_patches(g, x, layer)
        case Residual():
            return g.sub(x, _lower_layers(g, x, layer.layers))
        case Together():
            return reduce(g.add, [_lower_layers(g, x, branch) for branch in layer.branches])
        case LinearAttention():
            query, key, value = (_lower_layers(g, x, branch) for branch in (layer.query, layer.key, layer.value))
            return layer.lower(g, query, key, value, lambda offered: _lower_layer(g, offered, layer.context))
        case Trees() | EdgeTables():
            return layer.lower(g, x)
        case Transpose():
            return g.take(x, np.arange(x.size).reshape(x.shape).T)
        case Repeat():
            return g.take(x, np.broadcast_to(np.arange(x.size), (layer.tokens, x.size)))
        case SumOfSquares():
            return g.reshape(g.sum(g.mul(x, x), axis=0), (1,))
        case ScoreOutput():
            x = g.shift(x, layer.shift)
            return g.quantize(x, False, layer.bits, layer.fraction, rounding="half_up", overflow="saturate")
    raise TypeError(f"no rule to lower {type(layer).__name__}")


def _lower_patches(g: GraphBuilder, x: Wire, layer: Patches) -> Wire:
    """Row r of every patch is one slice of the image; side by side they are the patches."""
    (height, width), (rows, columns) = layer.image, layer.patch
    lines = g.reshape(x, (height // rows, rows, width * x.shape[-1]))
    parts = [g.slice(lines, row, row + 1, axis=1) for row in range(rows)]
    shaped = [g.reshape(part, (layer.count, columns * x.shape[-1])) for part in parts]
    return g.concat(shaped, axis=-1) if rows > 1 else shaped[0]


def _integers(values: Any, fraction: Any) -> tuple[Int[np.ndarray, ...], Int[np.ndarray, ...]]:
    """Constants on their grid as (integer, fraction)."""
    real, places = np.asarray(values[...], np.float64), np.asarray(fraction[...]).astype(np.int64)
    return np.ldexp(real, places).astype(np.int64), np.broadcast_to(places, real.shape)


def inexact_in_float32(graph: FixedPointGraph) -> dict[str, int]:
    """Wires whose numbers may not fit float32: name -> bits. Where it is empty, training computed the very integers.

    A float32 holds integers of 24 bits and a sign exactly. An entry here does not affect the firmware, which is exact
    in any case; it means that `predict` and the training loss may have differed from it in the last places.
    """
    magnitude = {name: int(np.max(wire.bits - wire.signed)) for name, wire in graph.wires.items()}
    return {name: bits for name, bits in magnitude.items() if bits > FLOAT32_BITS}


def count_luts(student: Student, layout: HardwareLayout) -> int:
    """LUTs of a frozen student's adder graph."""
    return estimate(lower(student, layout)).total("luts")
