"""alkaid's logic cut into pipeline stages for a clock, and the Verilog of them."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.graph.types import GraphError
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.rtl.replay import library

MARGIN = 0.1  # of the clock period: its uncertainty, as the constraints say
MOST_EXTRA_STAGES = 8  # tried before a stage is left longer than the clock allows


@dataclass(frozen=True)
class Number:
    """How a number lies in a vector of bits: `sign + integer + fraction` bits from `base` on."""

    base: int
    sign: int
    integer: int
    fraction: int

    @property
    def width(self) -> int:
        return self.sign + self.integer + self.fraction


@dataclass(frozen=True)
class Core:
    """The pipeline as alkaid writes it.

    Attributes:
        sources: file name -> Verilog, in `src`; `library` those that are alkaid's own, as they are.
        module: the name of its top module; ports `clk`, `model_inp`, `model_out`.
        inputs, outputs: of all ports one after another, element by element.
        latency_cycles: clock edges from an input to its output.
        register_bits: of all stages.
        stage_ns: estimated delay of the longest stage.
        luts: alkaid's estimate.
    """

    sources: dict[str, str]
    library: dict[str, str]
    module: str
    inputs: tuple[Number, ...]
    outputs: tuple[Number, ...]
    latency_cycles: int
    register_bits: int
    stage_ns: float
    luts: float


def pipelined(graph: FixedPointGraph, logic: Any, clock_ns: float, part: str) -> Core:
    """Registers at the inputs, between stages and at the outputs; every stage shorter than the clock period, less 10%.

    Raises:
        GraphError: no output depends on an input.
    """
    machine, stage_ns = staged(logic, clock_ns * (1 - MARGIN))
    (given,), (made,) = machine.inp_signals or (None,), machine.out_signals or (None,)
    if not given or not made or not given.width or not made.width:
        raise GraphError(f"nothing that varies comes out of '{graph.name}'; there is no RTL to write")
    module = f"{namespace(graph)}_core"
    with tempfile.TemporaryDirectory(prefix="detfm-rtl-") as folder:
        model = library().codegen.RTLModel(
            machine, folder, module, "verilog", part_name=part, clock_period=clock_ns, ternary_fuse=False
        )
        model.write()
        wrapper = f"{module}_wrapper.v"
        sources = {p.name: p.read_text() for p in sorted(Path(folder, "src").glob("*.v")) if p.name != wrapper}
        helpers = {p.name: p.read_text() for p in sorted(Path(folder, "src/static").glob("*.v"))}
    return Core(
        sources=dict(own_names(name, text, namespace(graph)) for name, text in sources.items()),
        library=used(helpers, "".join(sources.values())),
        module=module,
        inputs=numbers(given.precisions),
        outputs=numbers(made.precisions),
        latency_cycles=int(made.schedule.bias),
        register_bits=int(model.reg_bits),
        stage_ns=stage_ns,
        luts=float(logic.cost),
    )


def staged(logic: Any, period_ns: float) -> tuple[Any, float]:
    """The fewest stages of which none is longer than the period, and the delay of the longest."""
    from alkaid.trace.passes import add_surrogate

    fewest = max(1, ceil(max(logic.out_latency, default=0.0) / period_ns))
    tried = []
    for stages in range(fewest, fewest + MOST_EXTRA_STAGES):
        machine = library().trace.to_pipeline(logic, n_stages=stages, verbose=False)
        longest = max((max(add_surrogate(part).out_latency, default=0.0) for part in machine.logic.values()), default=0)
        tried.append((float(longest), stages, machine))
        if longest <= period_ns:
            break
    longest, _, machine = min(tried, key=lambda one: (max(one[0], period_ns), one[1]))
    return machine, longest


def numbers(precisions: Any) -> tuple[Number, ...]:
    """alkaid packs elements of different widths without gaps, the first lowest."""
    found, base = [], 0
    for sign, integer, fraction in precisions:
        number = Number(base, int(sign), int(integer), int(fraction))
        found.append(number)
        base += number.width
    return tuple(found)


def own_names(name: str, text: str, prefix: str) -> tuple[str, str]:
    """Stages are named `logic0`, ..., tables `table_...`: two projects in one design would clash."""
    text = re.sub(r"\btable_(?=[0-9a-f]{8}_)", f"{prefix}_table_", text)
    return re.sub(r"^logic(\d+)", rf"{prefix}_stage\1", name), re.sub(r"\blogic(\d+)\b", rf"{prefix}_stage\1", text)


def used(helpers: dict[str, str], text: str) -> dict[str, str]:
    return {name: code for name, code in helpers.items() if re.search(rf"\b{name.removesuffix('.v')} #", text)}
