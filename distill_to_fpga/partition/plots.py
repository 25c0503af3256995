"""Pictures of a system: what each chip takes, when each layer works on which crossing, which systems were tried."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from distill_to_fpga.partition.search import Found
from distill_to_fpga.partition.simulate import Simulation
from distill_to_fpga.partition.system import RESOURCES, System, Use
from foundation.plots import COLOURS, axes, line_style, styled

SHOWN = 8  # crossings of the time chart
NAMED = 36  # layers whose names fit beside it


@styled
def use_picture(system: System, uses: tuple[Use, ...], caption: str = "") -> Figure:
    """Share of every resource of each chip of a copy, and of its links."""
    fig, ax = axes(caption)
    device, chips = system.cfg.chip.resources, np.arange(len(uses) + 1)
    kinds = {text: [getattr(use, name) / getattr(device, name) for use in uses] for name, text in RESOURCES.items()}
    kinds["links"] = [max(use.sent, use.received) / system.cfg.links.per_chip for use in uses]
    for number, (text, values) in enumerate(kinds.items()):
        ax.stairs(100 * np.array(values), chips - 0.5, label=text, linewidth=2.5, **line_style(number))
    ax.axhline(100 * system.cfg.chip.utilisation, color="0.4", linestyle=":", linewidth=1.5, label="logic may take")
    ax.set_xlim(-0.5, len(uses) - 0.5)
    ax.set_ylim(0, 140)
    ax.set_yticks(range(0, 101, 20))
    ax.set_xlabel("Chip of a copy")
    ax.set_ylabel(f"Share of what an {device.name} has (%)")
    ax.legend(loc="upper left", ncols=2)
    return fig


@styled
def time_chart(system: System, simulation: Simulation, caption: str = "") -> Figure:
    """When each layer, all of its pieces together, takes the tokens of each of the first crossings."""
    fig, ax = axes(caption, figsize=(11, 9))
    layers = [system.plan.network.layers[i].name for i in system.plan.network.computed]
    flows = [(i, flow) for i, flow in enumerate(system.pipeline.flows) if not system.pipeline.servers[flow.server].link]
    clock = system.cfg.chip.clock_ns / 1e3
    for row, name in enumerate(layers):
        own = [i for i, flow in flows if flow.name == name]
        for crossing in range(min(SHOWN, len(simulation.done))):
            begun = simulation.begun[crossing, own]
            first, last = begun[:, 0].min() * clock, (begun[:, 1].max() + 1) * clock
            ax.broken_barh([(first, last - first)], (row - 0.4, 0.8), color=COLOURS[crossing % len(COLOURS)])
    step = -(-len(layers) // NAMED)
    ax.set_yticks(range(0, len(layers), step), layers[::step], fontsize=12)
    ax.tick_params(axis="y", which="minor", left=False, right=False)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel(f"Time (µs); the first {min(SHOWN, len(simulation.done))} crossings of a copy, a colour each")
    return fig


@styled
def candidates_picture(found: Found, caption: str = "") -> Figure:
    """Latency against chips of the systems tried; filled: all limits are kept."""
    fig, ax = axes(caption)
    for candidate in found.tried:
        system = candidate.system
        if system is None or any(violation.limit.startswith("links") for violation in candidate.violations):
            continue
        colour, best = COLOURS[0], candidate.system is found.best.system
        point = system.chips, system.microseconds(system.latency_clocks)
        face = colour if not candidate.violations else "none"
        ax.plot(*point, marker="*" if best else "o", markersize=20 if best else 11, color=colour, markerfacecolor=face)
        ax.annotate(f"{candidate.copies} copies", point, xytext=(9, 6), textcoords="offset points", fontsize=14)
    ax.margins(0.15)
    ax.set_xlabel("Chips")
    ax.set_ylabel("Latency without contention (µs)")
    return fig
