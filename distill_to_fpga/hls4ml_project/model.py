"""hls4ml's own graph of a network, built from a layer list, and checked to have the types that make it exact."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_to_fpga.graph import FixedPointGraph, GraphError, ops
from distill_to_fpga.hls.containers import Container
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.hls4ml_project.layers import Layer, layers, read_name, renamed
from foundation.errors import ConfigError, missing_extra

BACKENDS = ("Vitis", "oneAPI")  # Catapult has no quantizer with a type for each element


@dataclass(frozen=True)
class Settings:
    """What hls4ml is asked for.

    Attributes:
        backend: `Vitis` or `oneAPI`; only a Vitis project can be run here.
        reuse: reuse factor of matrix products: each multiplier serves so many weights, one after another.
    """

    backend: str = "Vitis"
    reuse: int = 1

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS or self.reuse < 1:
            known = " or ".join(BACKENDS)
            raise ConfigError(f"hls4ml: expected {known} and a reuse factor of 1 or more, got {self}")

    @property
    def runs(self) -> bool:
        """Whether the project is compiled here."""
        return self.backend == "Vitis"


def converted(graph: FixedPointGraph, out: Path, part: str, clock_ns: float, settings: Settings) -> Any:
    """hls4ml's `ModelGraph`, ready to be written to `out`.

    Raises:
        MissingToolError: hls4ml is not installed.
        GraphError: an operation has no exact layer, or hls4ml changed a type that was given to it.
    """
    if importlib.util.find_spec("hls4ml") is None:
        raise missing_extra("hls4ml", "hls4ml", "An hls4ml project")
    from hls4ml.model.graph import ModelGraph
    from hls4ml.utils.config import create_config

    from distill_to_fpga.hls4ml_project.wiring import register

    register()
    made = layer_list(graph)
    device = {"part": part} if settings.runs else {}
    config = create_config(
        output_dir=str(out),
        project_name=graph.name,
        backend=settings.backend,
        clock_period=clock_ns,
        io_type="io_parallel",
        namespace=namespace(graph),
        write_weights_txt=False,
        **device,
    )
    config["HLSConfig"] = hls_config(made, settings)
    wires = list(dict.fromkeys(graph.outputs.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hls4ml: reuse factors that it rounds to a divisor
        entries = [layer.attributes for layer in made]
        model = ModelGraph.from_layer_list(config, entries, inputs=list(graph.inputs), outputs=wires)
    check_types(model, {layer.name: layer for layer in made})
    return model


def layer_list(graph: FixedPointGraph) -> list[Layer]:
    """Layers of all nodes, in topological order.

    Raises:
        GraphError: an operation has no exact layer.
    """
    made: list[Layer] = []
    for node in graph.nodes:
        names = {layer.name for layer in made}
        sources = [read_name(name) if read_name(name) in names else name for name in node.inputs]
        inputs = [renamed(graph.wires[wire], name) for wire, name in zip(node.inputs, sources)]
        made += layers(node.op, graph.wires[node.name], *inputs)
    direct = [wire for wire in graph.outputs.values() if wire in graph.inputs]
    if direct:
        raise GraphError(f"{ops.Input.kind} '{direct[0]}' goes straight out, which hls4ml does not; use --target hls")
    return made


def hls_config(made: list[Layer], settings: Settings) -> dict[str, Any]:
    """Types and strategy of every layer; hls4ml infers nothing."""
    by_name: dict[str, Any] = {}
    for layer in made:
        by_name[layer.name] = {"Precision": {name: precision(kind) for name, kind in layer.types.items()}}
        if layer.reused and settings.reuse > 1:
            by_name[layer.name] |= {"Strategy": "Resource", "ReuseFactor": settings.reuse}
    whole = {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency", "BitExact": False}
    return {"Model": whole, "LayerName": by_name}


def precision(kind: Container) -> str:
    """Always `fixed`: of a weight of type `int<2>` hls4ml assumes that it is never -2."""
    return f"{'' if kind.signed else 'u'}fixed<{kind.width},{kind.integer}>"


def check_types(model: Any, asked: dict[str, Layer]) -> None:
    """Raises GraphError: a layer is not one of those asked for, or has another type."""
    for node in model.get_layers():
        kinds = {"result": node.get_output_variable().type.precision}
        kinds |= {name: variable.type.precision for name, variable in node.weights.items()}
        if "accum_t" in node.attributes:
            kinds["accum"] = node.attributes["accum_t"].precision
        for name, kind in kinds.items():
            expected = asked[node.name].types.get(name) if node.name in asked else None
            found = (bool(kind.signed), int(kind.width), int(kind.integer))
            if expected is None or found != (expected.signed, expected.width, expected.integer):
                raise GraphError(
                    f"hls4ml made the {name} of '{node.name}' ({node.class_name}) a {kind}, not "
                    f"{expected and precision(expected)}: not exact; use --target hls"
                )
