"""What the integers at the ports mean: least significant bits, and the offsets and shifts that the firmware applies."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.containers import container
from distill_to_fpga.hls.readme import input_scaling
from distill_to_fpga.project import InputFeature, Interface

RULES = {
    "input": "integer = physical / lsb, rounded half up, saturated to [low, high]",
    "scaling": "the firmware computes (integer - offset) * 2^shift by itself",
    "output": "value = integer * 2^-fraction, exact",
}


@dataclass(frozen=True)
class InputScale:
    """One element of an input.

    Attributes:
        element: its index in the flat port.
        lsb, unit: physical value of one count.
        low, high: of the integers that the board can send.
        offset, shift: the firmware's own scaling, `(integer - offset) * 2**shift`; zeros where it has none.
    """

    element: int
    name: str
    lsb: float
    unit: str
    bits: int
    signed: bool
    low: int
    high: int
    offset: int
    shift: int


def input_scales(graph: FixedPointGraph, port: str, meaning: Interface) -> list[InputScale]:
    """Of every element of an input port; features without a meaning have an LSB of 1."""
    wire = graph.wires[port]
    zeros = np.zeros(wire.shape, np.int64)
    offset, shift = input_scaling(graph, port) or (zeros, zeros)
    features = list(meaning.inputs.get(port, ()))
    columns = [wire.bits, wire.signed, wire.low, wire.high, offset, shift]
    scales = []
    for element, values in enumerate(zip(*(column.reshape(-1).tolist() for column in columns), strict=True)):
        column = element % (wire.shape[-1] if wire.shape else 1)
        feature = features[column] if column < len(features) else InputFeature("")
        bits, signed, low, high, off, power = values
        scales.append(
            InputScale(
                element, feature.name, feature.lsb, feature.unit, bits, bool(signed), low, high, int(off), int(power)
            )
        )
    return scales


def output_fractions(graph: FixedPointGraph) -> list[int]:
    """Binary places of every output word, all ports one after another."""
    wires = [graph.wires[wire] for wire in graph.outputs.values()]
    return [container(wire).fraction for wire in wires for _ in range(wire.size)]


def scales_json(graph: FixedPointGraph, inputs: dict[str, list[InputScale]], meaning: Interface) -> str:
    """`scales.json`."""
    outputs: dict[str, Any] = {}
    for port, name in graph.outputs.items():
        kind = container(graph.wires[name])
        outputs[port] = {
            "type": kind.cpp,
            "fraction": kind.fraction,
            "size": graph.wires[name].size,
            "names": list(meaning.outputs.get(port, ())),
        }
    elements = {port: [asdict(scale) for scale in scales] for port, scales in inputs.items()}
    head = {"name": graph.name, "version": graph.version, "rules": RULES}
    return json.dumps({**head, "inputs": elements, "outputs": outputs}, indent=1) + "\n"
