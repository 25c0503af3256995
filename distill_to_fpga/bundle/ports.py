"""`inputs.json`: what every integer at a port means, for programs that fill or read it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from distill_to_fpga.graph import FixedPointGraph, Wire
from distill_to_fpga.hls.containers import container
from distill_to_fpga.hls.readme import input_scaling
from distill_to_fpga.project import Interface

FORMAT = "detfm.ports"
FORMAT_VERSION = 1
CONVERSION = "integer = clip(floor(value / lsb + 0.5), low, high); all zeros where there is no object"
OUT_OF_RANGE = "of an integer beyond [low, high] the low `bits` bits are read, two's complement where signed"


def ports_json(graph: FixedPointGraph, meaning: Interface) -> str:
    """Per input its columns with LSB, range, and the offset and shift that the firmware applies; per output its LSB."""
    data = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": graph.name,
        "version": graph.version,
        "conversion": CONVERSION,
        "out_of_range": OUT_OF_RANGE,
        "inputs": {name: input_port(graph, name, meaning) for name in graph.inputs},
        "outputs": {port: output_port(graph.wires[wire], port, meaning) for port, wire in graph.outputs.items()},
    }
    return json.dumps(data, indent=1) + "\n"


def input_port(graph: FixedPointGraph, name: str, meaning: Interface) -> dict[str, Any]:
    wire, features = graph.wires[name], meaning.inputs.get(name, ())
    columns = wire.shape[-1] if wire.shape else 1
    fields = {"bits": wire.bits, "signed": wire.signed, "low": wire.low, "high": wire.high}
    scaling = input_scaling(graph, name)
    if scaling is not None:
        fields |= {"offset": scaling[0], "shift": scaling[1]}
    rows = []
    for column in range(columns):
        row: dict[str, Any] = {"column": column}
        if column < len(features):
            feature = features[column]
            row |= {"name": feature.name, "lsb": feature.lsb, "unit": feature.unit}
        row |= {field: by_object(values.reshape(-1, columns)[:, column]) for field, values in fields.items()}
        rows.append(row)
    return {"shape": list(wire.shape), "type": container(wire).cpp, "columns": rows}


def by_object(values: np.ndarray) -> Any:
    """One value where all objects have the same, else one for each."""
    return values[0].item() if (values == values[0]).all() else values.tolist()


def output_port(wire: Wire, port: str, meaning: Interface) -> dict[str, Any]:
    kind, names = container(wire), meaning.outputs.get(port, ())
    return {
        "shape": list(wire.shape),
        "type": kind.cpp,
        "lsb": 2.0**-kind.fraction,
        "elements": [names[i] if i < len(names) else "" for i in range(wire.size)],
    }
