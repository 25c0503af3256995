"""README.md and LINKS.md of a board pack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill_to_fpga.board.emp import Wiring, element_name
from distill_to_fpga.board.links import WORD, Links, Packing
from distill_to_fpga.devices import CROSSING_NS, crossings
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.project import Interface
from distill_to_fpga.vectors import Vectors

if TYPE_CHECKING:
    from distill_to_fpga.board.project import BoardCost


def readme(graph: FixedPointGraph, wiring: Wiring, cost: BoardCost, vectors: Vectors, files: int) -> str:
    """Markdown."""
    given, made = wiring.inputs, wiring.outputs
    names = {"name": graph.name, "version": graph.version, "module": namespace(graph), "clock_mhz": wiring.clock_mhz}
    names |= {"frames": wiring.frames, "network": cost.rtl.latency_cycles, "latency": wiring.latency}
    names |= {"latency_ns": f"{cost.latency_ns:.1f}", "crossings": f"{crossings(cost.latency_ns):.2f}"}
    names |= {"in_links": given.count, "in_words": given.words, "out_links": made.count, "out_words": made.words}
    names |= {"crossing_ns": f"{CROSSING_NS:g}", "period_ns": f"{cost.period_ns:.4f}", "vectors": len(vectors)}
    names |= {"files": files, "last": files - 1, "prefix": f"detfm_{graph.name}"}
    return README.format(**names)


def links_table(graph: FixedPointGraph, wiring: Wiring, meaning: Interface) -> str:
    """LINKS.md: every field of every word."""
    parts = [LINKS.format(frames=wiring.frames, clock_mhz=wiring.clock_mhz, word=WORD)]
    parts += [side_table(graph, "Inputs", wiring.given, wiring.inputs, meaning)]
    parts += [side_table(graph, "Outputs", wiring.made, wiring.outputs, meaning)]
    return "\n\n".join(parts) + "\n"


def side_table(graph: FixedPointGraph, title: str, fields: Packing, links: Links, meaning: Interface) -> str:
    rows = ["| link | frame | bits | port | element | | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for field in fields.fields:
        link, frame = links.place(field.word)
        bits = f"{field.low + field.width - 1}:{field.low}"
        sign = "signed" if field.signed else "unsigned"
        name = element_name(graph, field, meaning)
        rows.append(f"| {link} | {frame} | {bits} | {field.port} | {field.element} | {sign} | {name} |")
    return f"## {title}\n\n{links.words} words on {links.count} link(s).\n\n" + "\n".join(rows)


LINKS = """# Link map

A link carries {frames} words of {word} bits in every bunch crossing ({clock_mhz} MHz). The words of a crossing fill the
first link from frame 0 on, then the second. Objects follow one another from the lowest bit of a word on; one that does
not fit into what is left of a word begins the next, a port begins a word, and no number lies in two words. Bits without
a field are zero in outputs and not read in inputs. `links.json` says the same to programs."""

README = """# {name}, version {version}: board pack

The network on a board, exported by detfm. `src/{module}.v` and what it is made of is the RTL project of the same
network, whose README is `README-rtl.md`; around it:

| | |
| --- | --- |
| `src/{prefix}_payload_v{version}.v` | links in, links out; all logic, in Verilog, so that any simulator takes it |
| `firmware/hdl/emp_payload.vhd` | the payload entity of the EMP framework; `emp_payload_bc0.vhd` for older releases |
| `firmware/cfg/payload.dep`, `top.dep` | lists for ipbb; `top.dep` is an example for a Serenity with a VU13P |
| `LINKS.md`, `links.json` | the link map |
| `patterns/` | inputs and expected outputs for the buffers of the framework |
| `build_payload.tcl`, `constraints/{name}_payload.xdc` | Vivado, the payload out of context |
| `src/{prefix}_axi_v{version}.v` | instead of links: AXI4-Stream in, AXI4-Stream out |
| `axi/build_overlay.tcl`, `axi/driver.py` | for a card with PYNQ: Vivado's overlay, a program that runs `tb/data` |

## Timing

`clk_p` runs at **{clock_mhz} MHz** ({period_ns} ns), {frames} words of 64 bits for each link and crossing.
Inputs take {in_words} word(s) on {in_links} link(s), outputs {out_words} on {out_links}. A new crossing enters every
{frames} clocks.

**Latency: {latency} clocks = {latency_ns} ns = {crossings} bunch crossings** of {crossing_ns} ns, from the first word
of a crossing at `d` to the first word of its outputs at `q`: {frames} clocks until its last word is there and the first
leaves, {network} in the network. Links and buffers of the framework are not part of it. `detfm verify` measures it.

## Packets

On every input link `start` is high with the first word of a crossing, `last` with its last, `valid` throughout, and
`start_of_orbit` with the first word of an orbit; packets may follow one another without a gap. All links must be
aligned. A packet that is cut short or too long, or on whose flags the links disagree, gives no output; the next `start`
begins anew. Outputs have the same form; their `start_of_orbit` is that of their inputs. A word whose `strobe` is low is
not there.

## On a board

    ipbb init work && cd work
    ipbb add git .../emp-fwk.git          # and what it needs
    cp -r PROJECT src/{name}
    ipbb proj create vivado {name} {name}: -t top.dep

Which channel a link is, the constants `D_CHANNELS` and `Q_CHANNELS` in `firmware/hdl/{prefix}_links_v{version}.vhd`
say; which regions have buffers and transceivers, `emp_project_decl.vhd`. Then load and capture the patterns:
`patterns/input_0.txt` and `patterns/expected_0.txt` to `_{last}`, {vectors} crossings in {files} file(s) of up to 1,024
frames, version 2 of the text format (CMSSW's `EMPv2`). Outputs come at the very frames of `expected`, counted from the
frame at which the first input word is played, if nothing but the payload lies between the buffers.

## A card on the desk

`{prefix}_axi_v{version}` takes {in_words} word(s) of 64 bits for an inference and gives {out_words}, the words of
`LINKS.md` in their order (word = {frames} * link + frame), with `valid` and `ready` on both sides; its parameter `BEAT`
puts several words side by side in a beat. `tlast` with the last beat of an inference comes out with the last beat of
its outputs, so that a DMA transfer of many inferences ends by itself.

    cd axi && vivado -mode batch -source build_overlay.tcl     # overlay.bit, overlay.hwh
    python driver.py overlay.bit                               # on the card: sends tb/data, compares every output

## Checks

`detfm verify` packs the vectors in `tb/data` and many more into frames, sends them crossing after crossing through the
Verilated payload, and compares every unpacked output with the golden model, and every flag and the latency with what is
stated here. The VHDL has been analysed with GHDL against declarations of the framework's packages, not with the
framework itself; the stream has been simulated with random pauses on both sides. Vivado has not run on this, and
nothing here has been on a board.
"""
