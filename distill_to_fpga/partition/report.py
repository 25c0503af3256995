"""What a partition run writes: plan.json, metrics.json, pictures, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table as RichTable

from distill_to_fpga.partition.critical import PARTS, critical_path, parts
from distill_to_fpga.partition.plots import candidates_picture, time_chart, use_picture
from distill_to_fpga.partition.search import Candidate, Found, least_chips
from distill_to_fpga.partition.simulate import Simulation
from distill_to_fpga.partition.system import RESOURCES, System, Use, Violation, allowed, outside_links
from foundation.page import format_value
from foundation.plots import save
from foundation.runs import Run

SCARCEST = 3  # resources that are named
LINKS = {"sent": "links out", "received": "links in"}


def write_results(run: Run, found: Found, system: System, simulation: Simulation) -> None:
    """Writes the files of a run."""
    uses = system.use(simulation.most)
    run.write("plan.json", plan_dict(system, uses))
    run.write("metrics.json", metrics(found, system, simulation, uses))
    name = system.plan.network.name
    save(use_picture(system, uses, name), run.path / "utilisation.png")
    save(time_chart(system, simulation, name), run.path / "time_chart.png")
    save(candidates_picture(found, name), run.path / "systems.png")


def plan_dict(system: System, uses: tuple[Use, ...]) -> dict[str, Any]:
    """One copy: what each chip computes and takes, what each bundle of links carries."""
    plan, gbps = system.plan, system.gbps()
    layers = plan.network.layers
    chips: list[dict[str, Any]] = [
        {"chip": chip, "layers": [], "used": used(use), "share": shares(system, use)} for chip, use in enumerate(uses)
    ]
    for piece in plan.pieces:
        if piece.chip >= 0:
            chips[piece.chip]["layers"].append(
                {
                    "layer": layers[piece.layer].name,
                    "tokens": [int(end) for end in piece.tokens],
                    "channels": [float(end) for end in piece.channels],
                    "lanes": piece.lanes,
                }
            )
    carried: dict[tuple[int, int], list[str]] = {}
    for transfer in plan.transfers:
        piece = plan.pieces[transfer.piece]
        carried.setdefault((piece.chip, transfer.chip), []).append(layers[piece.layer].name)
    clock = system.cfg.chip.clock_ns
    payload = system.cfg.links.bits_per_clock(clock) / clock
    links = [
        {
            "from": sender if sender >= 0 else "outside",
            "to": receiver if receiver >= 0 else "outside",
            "links": count,
            "gbps": gbps[sender, receiver],
            "share": gbps[sender, receiver] / (count * payload),
            "carries": list(dict.fromkeys(carried[sender, receiver])),
        }
        for (sender, receiver), count in sorted(system.links.items())
    ]
    stages = [asdict(stage) | {"chips": stage.chips} for stage in plan.stages]
    return {"network": plan.network.name, "stages": stages, "chips": chips, "links": links}


def used(use: Use) -> dict[str, int]:
    return {name: round(value) for name, value in asdict(use).items()}


def shares(system: System, use: Use) -> dict[str, float]:
    """Of what the device has."""
    device, links = system.cfg.chip.resources, system.cfg.links.per_chip
    found = {name: getattr(use, name) / getattr(device, name) for name in RESOURCES}
    return found | {name: getattr(use, name) / links for name in LINKS}


def metrics(found: Found, system: System, simulation: Simulation, uses: tuple[Use, ...]) -> dict[str, Any]:
    """Figures of merit; those of logic are estimates, those of time are simulated."""
    plan, cfg, best = system.plan, system.cfg, found.best
    latency = parts(critical_path(system.pipeline))
    return {
        "network": plan.network.name,
        "constants": plan.network.constants,
        "tokens": plan.network.tokens,
        "feasible": not best.violations,
        "violations": told(best.violations),
        "chips": system.chips,
        "chips_per_copy": plan.chips,
        "copies": plan.copies,
        "fewest_chips_per_copy": least_chips(plan.network, cfg, plan.beats),
        "beats": plan.beats,
        "clocks_between_crossings": system.between,
        "latency_us": system.microseconds(simulation.latency),
        "fastest_us": system.microseconds(simulation.fastest),
        "latency_without_contention_us": system.microseconds(system.latency_clocks),
        "latency_parts_us": {part: system.microseconds(clocks) for part, clocks in latency.items()},
        "crossings_simulated": len(simulation.done),
        "asked_mhz": cfg.goal.rate_mhz,
        "rate_mhz": plan.copies / system.microseconds(simulation.interval),
        "most_mhz": system.most_mhz,
        "links": sum(system.links.values()) * plan.copies,
        "input_links": outside_links(system.links) * plan.copies,
        "bottleneck": bottleneck(system, uses),
        "method": plan.network.method,
        "systems": [_tried(candidate) for candidate in found.tried],
    }


def bottleneck(system: System, uses: tuple[Use, ...]) -> dict[str, str]:
    """What limits the rate, what the number of chips, and what the latency."""
    work = system.pipeline.work
    busiest = max(range(len(work)), key=lambda server: work[server])
    also = sum(each >= 0.999 * work[busiest] for each in work) - 1
    rate = f"{system.pipeline.servers[busiest].name}: {work[busiest]:.1f} of {system.between:g} clocks"
    rate += f", and {also} more" if also else ""
    mean = {
        text: sum(getattr(use, name) for use in uses) / len(uses) / allowed(system.cfg, name)
        for name, text in RESOURCES.items()
    }
    mean["links"] = sum(max(use.sent, use.received) for use in uses) / len(uses) / system.cfg.links.per_chip
    scarce = sorted(mean, key=lambda text: -mean[text])[:SCARCEST]
    latency = parts(critical_path(system.pipeline))
    longest = max(latency, key=lambda part: latency[part])
    share = latency[longest] / max(sum(latency.values()), 1)
    return {
        "rate": rate,
        "chips": ", ".join(f"{text} {mean[text]:.0%}" for text in scarce)
        + " of what a plan may take, mean of all chips",
        "latency": f"{PARTS[longest]}: {share:.0%}",
    }


def _tried(candidate: Candidate) -> dict[str, Any]:
    system = candidate.system
    known: dict[str, float] = {} if system is None else {"chips": system.chips}
    if system is not None and not any(violation.limit.startswith("links") for violation in candidate.violations):
        known["latency_us"] = system.microseconds(
            candidate.simulation.latency if candidate.simulation else system.latency_clocks
        )
    return {
        "beats": candidate.beats,
        "copies": candidate.copies,
        **known,
        "simulated": candidate.simulation is not None,
        "violates": str(candidate.violations[0]) if candidate.violations else "",
    }


def told(violations: Sequence[Violation]) -> list[str]:
    """Each limit once, where it is broken most, and how often besides."""
    by_limit: dict[str, list[Violation]] = {}
    for violation in violations:
        by_limit.setdefault(violation.limit, []).append(violation)
    return [f"{first}{f', and {len(more)} more' if more else ''}" for first, *more in by_limit.values()]


def table(figures: Mapping[str, Any]) -> RichTable:
    """For the terminal."""
    found = RichTable(title=f"{figures['network']}: {figures['constants']:,} constants", title_justify="left")
    found.add_column("")
    found.add_column("")
    parts_us = ", ".join(f"{PARTS[name]} {value:.2f}" for name, value in figures["latency_parts_us"].items())
    rows = {
        "chips": f"{figures['chips']:,}: {figures['copies']} copies of {figures['chips_per_copy']} "
        f"(no plan of a copy has fewer than {figures['fewest_chips_per_copy']})",
        "latency": f"{figures['fastest_us']:.3f} to {figures['latency_us']:.3f} us, "
        f"{figures['crossings_simulated']} crossings of a copy simulated; "
        f"{figures['latency_without_contention_us']:.3f} us without contention",
        "": parts_us,
        "throughput": f"{figures['asked_mhz']:g} MHz asked, {figures['most_mhz']:.2f} MHz at most",
        "links": f"{figures['links']:,}, {figures['input_links']:,} of them bring the crossings",
        **{f"limits the {name}": text for name, text in figures["bottleneck"].items()},
        "limits broken": "\n".join(figures["violations"]) or format_value(None),
    }
    for name, text in rows.items():
        found.add_row(name, text)
    return found
