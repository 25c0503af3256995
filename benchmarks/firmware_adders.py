"""Adder networks of the same matrices: ours, da4ml's and alkaid's, by one rule and by Yosys. See firmware.py.

The rule is that of `distill_to_fpga.adders.combine`: full adders that have something to add. For Yosys one writer makes
Verilog of all three, without registers, so that nothing but the networks differs.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from firmware_network import Figures, network
from firmware_solvers import solved
from firmware_verilog import verilog
from harness import other_python

from distill_to_fpga.adders import Network, Term
from distill_to_fpga.graph import ops
from distill_to_fpga.rtl.yosys import synthesize

SCRIPT = Path(__file__).with_name("firmware_solvers.py")
HOW = {
    "da4ml": "`pip install da4ml` here, or give --da4ml-python, the Python of an environment that has it",
    "alkaid": "pip install 'detfm[rtl]'",
}
Layer = tuple[np.ndarray, np.ndarray, np.ndarray]  # matrix[in, out], low[in], high[in]
Reference = tuple[int, int, int]  # a term, its shift and its sign


def against_solvers(sizes: tuple[int, ...], da4ml_python: str, folder: Path) -> Figures:
    """LUTs of all dense layers of each."""
    layers = layers_of(sizes)
    networks = {"detfm": [ours(layer) for layer in layers]}
    for tool, python in (("da4ml", da4ml_python), ("alkaid", "")):
        if importlib.util.find_spec(tool) is None and not python:
            print(f"{tool}: no comparison, it is not installed: {HOW[tool]}")
            continue
        networks[tool] = [
            rebuilt(stages, layer) for stages, layer in zip(solutions(tool, layers, python, folder), layers)
        ]
    figures: Figures = {f"lut_ratio_to_{tool}": None for tool in HOW}
    for tool, made in networks.items():
        for layer, each in zip(layers, made):
            check(tool, layer, each)
        counted = by_yosys(tool, made, folder)
        rule = sum(each.luts for each in made)
        print(f"  {tool:<7} {sum(each.adders for each in made):,} adders, {rule:,} LUT by the rule; Yosys: "
              f"{'not installed (apt install yosys)' if counted is None else f'{counted:,}'}")  # fmt: skip
        figures[f"adder_luts_yosys_{tool}"] = counted
        if tool in HOW:
            figures[f"lut_ratio_to_{tool}"] = sum(each.luts for each in networks["detfm"]) / rule
    return figures


def layers_of(sizes: tuple[int, ...]) -> list[Layer]:
    graph = network(sizes)
    found = []
    for node in graph.nodes:
        if isinstance(node.op, ops.Dense):
            (x,) = graph.input_wires(node)
            found.append((np.asarray(node.op.aligned(x)[1], np.int64), x.low, x.high))
    return found


def ours(layer: Layer) -> Network:
    matrix, low, high = layer
    made = Network([Term(ends) for ends in zip(low.tolist(), high.tolist())], matrix)
    made.share()
    made.finish([0] * matrix.shape[1])
    return made


def solutions(tool: str, layers: list[Layer], python: str, folder: Path) -> list[Any]:
    """What the tool makes of each layer, here or in another environment."""
    if importlib.util.find_spec(tool) is not None:
        return [solved(tool, *layer) for layer in layers]
    path = folder / "layers.npz"
    np.savez(path, **{f"{n}_{i}": v for i, each in enumerate(layers) for n, v in zip(("matrix", "low", "high"), each)})
    return other_python(python, SCRIPT, tool, str(path))


def rebuilt(stages: list[dict[str, Any]], layer: Layer) -> Network:
    """The same additions as a network of ours."""
    matrix, low, high = layer
    made = Network([Term(ends) for ends in zip(low.tolist(), high.tolist())], np.zeros((len(matrix), 0), np.int64))
    given: list[Reference | None] = [(i, 0, 1) for i in range(len(matrix))]
    for stage in stages:
        given = [moved(one, shift) for one, shift in zip(given, stage["in_shifts"])]
        values: list[Reference | None] = []
        for code, left, right, shift in stage["ops"]:
            if code == -1:
                values.append(given[left])
            elif code == -2:
                values.append(moved(values[left], 0, -1))
            else:
                values.append(total(made, values[left], moved(values[right], shift, 1 - 2 * code)))
        ends = zip(stage["outputs"], stage["out_shifts"], stage["negative"])
        given = [None if i < 0 else moved(values[i], shift, 1 - 2 * negative) for i, shift, negative in ends]
    made.outputs = given
    return made


def moved(one: Reference | None, shift: int, sign: int = 1) -> Reference | None:
    return None if one is None else (one[0], one[1] + shift, one[2] * sign)


def total(made: Network, x: Reference | None, y: Reference | None) -> Reference | None:
    if x is None or y is None:
        return x or y
    (first, k1, s1), (second, k2, s2) = (y, x) if x[2] < 0 < y[2] else (x, y)
    return made.add((first, second, k2 - k1, s1 * s2)), min(k1, k2), s1


def check(tool: str, layer: Layer, made: Network) -> None:
    """The network computes the product, on random inputs."""
    matrix, low, high = layer
    x = np.random.default_rng(0).integers(low, high + 1, (200, len(matrix)))
    values = list(x.T)
    for term in made.terms[len(matrix) :]:
        assert term.made_of is not None
        left, right, shift, sign = term.made_of
        values.append((values[left] << max(-shift, 0)) + sign * (values[right] << max(shift, 0)))
    found = [np.zeros(len(x)) if out is None else out[2] * values[out[0]] * 2.0 ** out[1] for out in made.outputs]
    assert (np.stack(found, axis=1) == x @ matrix).all(), f"{tool}'s network is not the matrix"


def by_yosys(tool: str, networks: list[Network], folder: Path) -> int | None:
    if shutil.which("yosys") is None:
        return None
    found = 0
    for i, each in enumerate(networks):
        path = folder / f"{tool}_{i}.v"
        path.write_text(verilog(each, path.stem))
        found += synthesize([path], path.stem).luts
    return found
