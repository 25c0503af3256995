"""The board pack of a graph: the RTL project, and what wires it to links."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from distill_to_fpga.board.emp import Wiring, dep_files, links_json, pattern_files, vhdl
from distill_to_fpga.board.links import input_packing, output_packing
from distill_to_fpga.board.readme import links_table, readme
from distill_to_fpga.board.verilog import axi_module, fill, frames_module, part, payload_module, words_module
from distill_to_fpga.devices import CROSSING_NS, crossings
from distill_to_fpga.graph import FixedPointGraph, run
from distill_to_fpga.hls.containers import to_words
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.project import write_all
from distill_to_fpga.rtl.pipeline import MARGIN
from distill_to_fpga.rtl.project import RtlCost
from distill_to_fpga.rtl.verilog import fill as fill_rtl
from distill_to_fpga.target import Asked

FRAMES = 9  # words of a link in a crossing at the framework's usual 360 MHz


def frames_at(clock_ns: float) -> int:
    """Words of a link in a bunch crossing: 9 at 360 MHz; more where a clock faster than that is asked for."""
    return max(FRAMES, ceil(CROSSING_NS / clock_ns - 0.01))


@dataclass(frozen=True)
class BoardCost:
    """What a board pack costs.

    Attributes:
        rtl: of the network.
        frames: words of a link in a crossing.
        links: of inputs and of outputs.
    """

    rtl: RtlCost
    frames: int
    links: tuple[int, int]

    @property
    def latency_cycles(self) -> int:
        """From the first input word to the first output word."""
        return self.frames + self.rtl.latency_cycles

    @property
    def period_ns(self) -> float:
        return CROSSING_NS / self.frames

    @property
    def latency_ns(self) -> float:
        return self.latency_cycles * self.period_ns

    def line(self) -> str:
        """For people."""
        given, made = self.links
        return (
            f"{self.rtl.line()}; on {given} + {made} links of {self.frames} words: {self.latency_cycles} clocks = "
            f"{self.latency_ns:.1f} ns = {crossings(self.latency_ns):.2f} bunch crossings"
        )

    def to_dict(self) -> dict[str, Any]:
        links = {"frames": self.frames, "input_links": self.links[0], "output_links": self.links[1]}
        latency = {"latency_cycles": self.latency_cycles, "latency_ns": self.latency_ns}
        latency["latency_crossings"] = crossings(self.latency_ns)
        return {**self.rtl.to_dict(), "payload": {**links, **latency}}


def write_pack(graph: FixedPointGraph, root: Path, asked: Asked, rtl: RtlCost, frames: int) -> BoardCost:
    """Writes everything but the manifest around the RTL project in `root`, whose network has the cost `rtl`."""
    wiring = Wiring(input_packing(graph), output_packing(graph), frames, frames + rtl.latency_cycles)
    cost = BoardCost(rtl, frames, (wiring.inputs.count, wiring.outputs.count))
    (root / "README.md").rename(root / "README-rtl.md")
    modules = {
        "words": words_module(graph),
        "frames": frames_module(graph),
        "payload": payload_module(graph, wiring.inputs, wiring.outputs, rtl.latency_cycles),
        "axi": axi_module(graph, wiring.given, wiring.made, rtl.latency_cycles),
    }
    texts = {f"src/{namespace(part(graph, name))}.v": text for name, text in modules.items()}
    used = [path for path in texts if "_axi_" not in path]
    sources = sorted([*used, *(path.relative_to(root).as_posix() for path in (root / "src").rglob("*.v"))])
    texts |= {f"firmware/hdl/{name}": text for name, text in vhdl(graph, wiring).items()}
    texts |= {f"firmware/cfg/{name}": text for name, text in dep_files(graph, sources).items()}
    patterns = pattern_files(graph, wiring, *vectors_as_words(graph, asked))
    texts |= {f"patterns/{name}": text for name, text in patterns.items()}
    texts |= vivado(graph, asked.part, cost.period_ns)
    texts |= harnesses(graph, wiring)
    stream = namespace(part(graph, "axi"))
    texts |= {"axi/build_overlay.tcl": fill("build_overlay.tcl", name=graph.name, module=stream)}
    texts |= {"axi/driver.py": fill("driver.py")}
    texts["links.json"] = links_json(graph, wiring, asked.meaning)
    texts["LINKS.md"] = links_table(graph, wiring, asked.meaning)
    texts["README.md"] = readme(graph, wiring, cost, asked.vectors, len(patterns) // 2)
    write_all(root, texts)
    return cost


def vectors_as_words(graph: FixedPointGraph, asked: Asked) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs, and the golden model's outputs as bit patterns of their ports."""
    outputs = run(graph, asked.vectors.inputs)
    made = {port: to_words(graph.wires[wire], outputs[port]) for port, wire in graph.outputs.items()}
    return dict(asked.vectors.inputs), made


def harnesses(graph: FixedPointGraph, wiring: Wiring) -> dict[str, str]:
    """`tb`: what drives the Verilated payload and stream."""
    payload, stream = part(graph, "payload"), part(graph, "axi")
    links = {"in_links": wiring.inputs.count, "out_links": wiring.outputs.count}
    return {
        f"tb/{payload.name}_batch.cpp": fill("payload_batch.cpp", module=namespace(payload), **links),
        f"tb/{stream.name}_batch.cpp": fill("axi_batch.cpp", module=namespace(stream)),
    }


def vivado(graph: FixedPointGraph, device: str, period_ns: float) -> dict[str, str]:
    """The payload out of context, as the RTL project does with the network."""
    payload = part(graph, "payload")
    settings = {"module": namespace(payload), "name": payload.name, "part": device, "clock_ns": f"{period_ns:.4f}"}
    return {
        "build_payload.tcl": fill_rtl("build_vivado.tcl", **settings),
        f"constraints/{payload.name}.xdc": fill_rtl(
            "constraints.xdc", **settings, uncertainty=f"{MARGIN * period_ns:.4f}"
        ),
    }
