"""The files that the EMP framework takes: the payload entity in VHDL, ipbb's lists, pattern files, the link map."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill_to_fpga.board.links import Field, Links, Packing
from distill_to_fpga.board.patterns import crossings_per_file, packets, pattern
from distill_to_fpga.board.verilog import fill, part
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.project import Interface

CHANNELS = 4  # of a region
COMMON = 4  # the clock from which the framework divides its others is so many times that of the links
BUNCH_CLOCK_MHZ = 40


@dataclass(frozen=True)
class Wiring:
    """The words of a student on links.

    Attributes:
        given, made: of inputs and outputs.
        frames: words of a link in a bunch crossing.
        latency: clocks from the first word in to the first word out.
    """

    given: Packing
    made: Packing
    frames: int
    latency: int

    @property
    def inputs(self) -> Links:
        return Links(self.given.words, self.frames)

    @property
    def outputs(self) -> Links:
        return Links(self.made.words, self.frames)

    @property
    def clock_mhz(self) -> int:
        return BUNCH_CLOCK_MHZ * self.frames


def vhdl(graph: FixedPointGraph, wiring: Wiring) -> dict[str, str]:
    """`firmware/hdl`: the payload, with the ports of newer and of older releases, and an example of the constants."""
    links, given, made = namespace(part(graph, "links")), wiring.inputs.count, wiring.outputs.count
    lists = {"in_channels": channels(given), "out_channels": channels(made)}
    common: dict[str, Any] = {"links": links, "clock_mhz": wiring.clock_mhz}
    regions = range(-(-max(given, made) // CHANNELS))
    names: dict[str, Any] = {"frames": wiring.frames, "latency": wiring.latency, "clock_mhz": wiring.clock_mhz}
    names |= {"common_ratio": COMMON * wiring.frames, "last_region": regions[-1], "revision": f"{graph.version:08X}"}
    lines = [f"    {region:<6} => (gty25, buf, no_fmt, buf, gty25)," for region in regions]
    return {
        f"{links}.vhd": fill(
            "links.vhd",
            entity=links,
            payload=namespace(part(graph, "payload")),
            in_links=given,
            out_links=made,
            **lists,
        ),
        "emp_payload.vhd": fill("emp_payload.vhd", **common, **NEWER),
        "emp_payload_bc0.vhd": fill("emp_payload.vhd", **common, **OLDER),
        "emp_project_decl.vhd": fill("emp_project_decl.vhd", regions="\n".join(lines), **names),
    }


def channels(count: int) -> str:
    return ", ".join(f"{link} => {link}" for link in range(count))


NEWER = {
    "release": "ttc2, tts_busy and ext_lvds",
    "uses": "use work.tcds2_streams_pkg;\n",
    "ports": "    ttc2         : in  tcds2_streams_pkg.tcds2_ttc2;\n"
    "    tts_busy     : out std_logic;\n"
    "    ext_lvds_in  : in  std_logic_vector(N_LVDS_IN - 1 downto 0);\n"
    "    ext_lvds_out : out std_logic_vector(N_LVDS_OUT - 1 downto 0)",
    "ties": "  tts_busy     <= '0';\n  ext_lvds_out <= (others => '0');",
}
OLDER = {"release": "bc0", "uses": "", "ports": "    bc0          : out std_logic", "ties": "  bc0     <= '0';"}


def dep_files(graph: FixedPointGraph, sources: list[str]) -> dict[str, str]:
    """`firmware/cfg`: lists of sources for ipbb; `sources` are relative to the project."""
    listed = "\n".join(f"src ../../{source}" for source in sources)
    return {
        "payload.dep": fill("payload.dep", links=namespace(part(graph, "links")), sources=listed),
        "top.dep": fill("top.dep", name=graph.name),
    }


def pattern_files(
    graph: FixedPointGraph, wiring: Wiring, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> dict[str, str]:
    """`patterns`: what goes in, and what must come out at the very frames of the capture, in files of 1,024 frames."""
    given = wiring.inputs.spread(wiring.given.pack(inputs))
    made = wiring.outputs.spread(wiring.made.pack(outputs))
    name, most = namespace(graph), crossings_per_file(wiring.frames, wiring.latency)
    files = {}
    for number, first in enumerate(range(0, len(given), most)):
        some = slice(first, first + most)
        files[f"input_{number}.txt"] = pattern(name, packets(given[some]))
        files[f"expected_{number}.txt"] = pattern(name, packets(made[some], silent=wiring.latency))
    return files


def links_json(graph: FixedPointGraph, wiring: Wiring, meaning: Interface) -> str:
    """`links.json`: the link map, for programs."""
    sides: dict[str, Any] = {}
    for side, fields, links in (("inputs", wiring.given, wiring.inputs), ("outputs", wiring.made, wiring.outputs)):
        rows = [described(graph, field, links, meaning) for field in fields.fields]
        sides[side] = {"links": links.count, "words": links.words, "sizes": dict(fields.sizes), "fields": rows}
    head = {"name": graph.name, "version": graph.version, "clock_mhz": wiring.clock_mhz, "frames": wiring.frames}
    return json.dumps({**head, "latency_clocks": wiring.latency, **sides}, indent=1) + "\n"


def described(graph: FixedPointGraph, field: Field, links: Links, meaning: Interface) -> dict[str, Any]:
    """A field and where its word goes."""
    link, frame = links.place(field.word)
    place = {"link": link, "frame": frame, "word": field.word, "low": field.low, "width": field.width}
    name = element_name(graph, field, meaning)
    return {"port": field.port, "element": field.element, "name": name, **place, "signed": field.signed}


def element_name(graph: FixedPointGraph, field: Field, meaning: Interface) -> str:
    """What a number is: the feature of which object, or the output."""
    if field.port in graph.outputs:
        outputs = meaning.outputs.get(field.port, ())
        return outputs[field.element] if field.element < len(outputs) else ""
    features = meaning.inputs.get(field.port, ())
    shape = graph.wires[field.port].shape
    row, column = divmod(field.element, shape[-1]) if shape else (0, 0)
    name = features[column].name if column < len(features) else ""
    return f"{name} of object {row}" if name and len(shape) > 1 else name
