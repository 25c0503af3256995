"""The board back end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt64

from distill_to_fpga.board.links import Links, input_packing, output_packing
from distill_to_fpga.board.patterns import packets
from distill_to_fpga.board.project import BoardCost, frames_at, write_pack
from distill_to_fpga.board.simulate import STROBE, drive, records
from distill_to_fpga.board.verilog import part
from distill_to_fpga.devices import CROSSING_NS
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.manifest import write_manifest
from distill_to_fpga.rtl.simulate import build as verilate
from distill_to_fpga.rtl.target import RtlTarget
from distill_to_fpga.target import Asked, Target
from foundation.errors import ToolError

SILENT = 8  # clocks watched after the last output is due


class BoardTarget(Target):
    """An EMP payload around the RTL project, simulated by Verilator from packed links to unpacked links."""

    name = "board"
    help = "EMP payload around the RTL (extra rtl)"

    def write(self, graph: FixedPointGraph, project: Path, asked: Asked) -> BoardCost:
        frames = frames_at(asked.clock_ns)
        rtl = RtlTarget().write(graph, project, dataclasses.replace(asked, clock_ns=CROSSING_NS / frames))
        cost = write_pack(graph, project, asked, rtl, frames)
        facts = {"frames": frames, "latency_cycles": cost.latency_cycles, "cost": cost.to_dict()}
        write_manifest(project, graph, self.form, **facts)
        return cost

    def build(self, project: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, folder: Path) -> Path:
        return verilate(project, part(graph, "payload"), folder)

    def run(
        self, program: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, inputs: Sequence[np.ndarray]
    ) -> tuple[Int[np.ndarray, "vectors words"], None]:
        frames, latency = int(manifest["frames"]), int(manifest["latency_cycles"])
        words = input_packing(graph).pack(dict(zip(graph.inputs, inputs, strict=True)))
        made = output_packing(graph)
        links = Links(made.words, frames)
        found = links.gather(through(program, Links(words.shape[1], frames).spread(words), links.count, latency))
        ports = made.unpack(found)
        return np.concatenate([ports[port] for port in graph.outputs], axis=1), None


def through(program: Path, given: UInt64[np.ndarray, "V T L"], links: int, latency: int) -> UInt64[np.ndarray, "V T M"]:
    """Frames of the outputs of crossings that follow one another without a gap.

    Raises:
        ToolError: a flag is not what it must be `latency` clocks after the inputs'.
    """
    count, frames, _ = given.shape
    sent = records(packets(given))
    sent[:, -1] |= STROBE
    rest = np.zeros((latency + SILENT, sent.shape[1]), np.uint64)
    found = drive(program, np.concatenate([sent, rest]), links + 1)  # row i: clock i + 1, after the edge i
    due = records(packets(np.zeros((count, frames, links), np.uint64), silent=latency))[1:, -1]
    due = np.concatenate([due, np.zeros(SILENT + 1, np.uint64)])
    wrong = np.flatnonzero(found[:, -1] != due)
    if wrong.size:
        first = np.flatnonzero(found[:, -1])
        begin = f"the first word comes after {first[0] + 1} clocks, not {latency}" if first.size else "no word comes"
        raise ToolError(f"{program}: the payload's flags at clock {wrong[0] + 1} are not those due; {begin}")
    return found[latency - 1 :][: count * frames, :-1].reshape(count, frames, links)
