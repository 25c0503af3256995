"""The transverse view: what flew where around the beam, as event displays of collider experiments draw it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, Patch, Wedge

from foundation.inspect.event import Event, charges, kinematics
from foundation.inspect.views import kind_of, size_of, title
from foundation.plots import COLOURS

FIELD = 3.8  # T
TRACKER = 1.0  # radius of the picture's tracker; stands for 1.1 m
TRACKER_METRES = 1.1
CALORIMETER = 0.75  # depth of the ring in which energies are drawn
BINS = 72
MANY = 24  # tokens
ARROW = 1.95  # length of the arrow of missing momentum
RINGS = [COLOURS[i] for i in (0, 9, 6, 7, 5, 8, 4)]  # of calorimeters, from the inside
OTHERS = [COLOURS[i] for i in (5, 8, 0, 7, 6, 9, 4)]  # of objects drawn as lines
WIDTHS = [5.0, 3.0, 1.5, *[1.0] * 18]  # so that what lies on top of each other is all seen
TRACKS = re.compile(r"(?i)(^tr$|track|cpf|charged)")
MUONS = re.compile(r"(?i)(^mu$|muon)")
CALORIMETERS = re.compile(r"(?i)(^e[be]$|^h[bef]$|calo|tower|region|cluster|rechit|hcal|ecal)")


def has_transverse(event: Event) -> bool:
    """Whether more than one modality says where around the beam it was."""
    return sum(kind_of(event, n) in ("map", "arrow") for n, values in event.tokens.items() if len(values)) > 1


def transverse(ax: Axes, event: Event, arrows: dict[str, tuple[float, float]]) -> None:
    """Tracks bent in the field, calorimeter energies as bars outside, jets as cones, missing pt as an arrow."""
    ax.set(xlim=(-2.75, 2.05), ylim=(-2.05, 2.05), xticks=[], yticks=[], aspect="equal")
    ax.add_patch(Circle((0, 0), TRACKER, fill=False, edgecolor="0.75", linewidth=1))
    ax.add_patch(Circle((0, 0), TRACKER + CALORIMETER, fill=False, edgecolor="0.9", linewidth=1))
    maps = [n for n in event.tokens if kind_of(event, n) == "map" and len(event.tokens[n])]
    rings = [name for name in maps if _in_ring(name, len(event.tokens[name]))]
    entries: list[Line2D | Patch] = [*_rings(ax, event, rings)]
    styles = zip(OTHERS * 3, WIDTHS)
    for name in maps:
        if name not in rings:
            entries += _objects(ax, event, name, styles)
    for label, (size, angle) in arrows.items():
        tip = (ARROW * np.cos(angle), ARROW * np.sin(angle))
        style: dict[str, Any] = {"linewidth": 2.2, "color": COLOURS[3], "linestyle": (0, (5, 2))}
        ax.add_patch(FancyArrowPatch((0, 0), tip, arrowstyle="-|>", mutation_scale=22, zorder=5, **style))
        entries.append(Line2D([], [], label=f"{label} {size:.0f} GeV", **style))
    ax.legend(
        handles=entries, fontsize="xx-small", loc="upper left", frameon=False, handlelength=1.2, borderaxespad=0.2
    )
    bent = f"; tracks bent by {FIELD} T" if any(TRACKS.search(name) for name in maps) else ""
    title(ax, "transverse view", f"bars ~ energy{bent}")


def _objects(ax: Axes, event: Event, name: str, styles: Iterator[tuple[str, float]]) -> list[Line2D | Patch]:
    """One modality inside the tracker: cones, tracks, or straight lines. Returns its entry of the legend."""
    modality, values = event.schema.modalities[name], event.tokens[name]
    found, charge = kinematics(modality, values), charges(modality, values)
    if not size_of(found):
        return []
    pt, phi = np.abs(found[size_of(found)]), found["phi"]
    if "jet" in name.lower():
        _cones(ax, pt, phi)
        return [Patch(color=COLOURS[1], alpha=0.5, label=name)]
    if MUONS.search(name) or (TRACKS.search(name) and charge is not None):
        colour, width, reach = (COLOURS[2], 1.8, 2.05) if MUONS.search(name) else (COLOURS[8], 0.8, TRACKER)
        for one, angle, sign in zip(pt, phi, np.zeros(len(pt)) if charge is None else charge):
            _track(ax, float(one), float(angle), float(sign), colour, width, reach)
        return [Line2D([], [], color=colour, linewidth=width, label=name)]
    colour, width = next(styles)
    ends = (0.15 + 0.85 * pt / max(pt.max(), 1e-9)) * TRACKER
    for end, angle in zip(ends, phi):
        ax.plot([0, end * np.cos(angle)], [0, end * np.sin(angle)], color=colour, linewidth=width)
    return [Line2D([], [], color=colour, linewidth=width, label=name)]


def _in_ring(name: str, tokens: int) -> bool:
    """Whether a modality is drawn as energies around the tracker: calorimeters, and what has many tokens besides."""
    other = TRACKS.search(name) or MUONS.search(name) or "jet" in name.lower()
    return tokens > 0 and (bool(CALORIMETERS.search(name)) or (tokens > MANY and not other))


def _rings(ax: Axes, event: Event, names: list[str]) -> list[Patch]:
    """Transverse energies in bins of phi, stacked outwards in the order of the schema."""
    edges = np.linspace(-np.pi, np.pi, BINS + 1)
    sums = []
    for name in names:
        found = kinematics(event.schema.modalities[name], event.tokens[name])
        weight = found.get("et", found.get("pt", found.get("energy", np.ones(len(found["phi"])))))
        sums.append(np.histogram(found["phi"], edges, weights=np.maximum(weight, 0))[0])
    if not names:
        return []
    scale = CALORIMETER / max(np.sum(sums, axis=0).max(), 1e-9)
    start = np.full(BINS, TRACKER)
    for number, heights in enumerate(sums):
        for k in np.flatnonzero(heights * scale > 1e-3):
            depth = heights[k] * scale
            angles = np.degrees(edges[k : k + 2])
            ax.add_patch(
                Wedge((0, 0), start[k] + depth, *angles, width=depth, color=RINGS[number % len(RINGS)], linewidth=0)
            )
            start[k] += depth
    return [Patch(color=RINGS[i % len(RINGS)], label=name) for i, name in enumerate(names)]


def _cones(ax: Axes, pt: np.ndarray, phi: np.ndarray) -> None:
    most = max(pt.max(initial=0), 1e-9)
    for one, angle in zip(pt, np.degrees(phi)):
        if one > 0.05 * most:
            share = one / most
            ax.add_patch(Wedge((0, 0), TRACKER * (0.3 + 0.7 * share), angle - 23, angle + 23, color=COLOURS[1],
                               alpha=0.12 + 0.4 * share, linewidth=0, zorder=0))  # fmt: skip


def _track(ax: Axes, pt: float, phi: float, charge: float, colour: str, width: float, reach: float) -> None:
    """An arc in the tracker's field, from the beam out to `reach`; beyond the tracker it goes straight on."""
    radius = max(pt, 0.05) / (0.3 * FIELD) / TRACKER_METRES  # in units of the picture
    inside = min(TRACKER, reach)
    turned = 2 * np.arcsin(min(inside / (2 * radius), 1.0))
    angle = np.linspace(0, turned, 30)
    sign = np.sign(charge)
    if sign == 0:
        x, y = inside * np.cos(phi) * np.array([0, 1]), inside * np.sin(phi) * np.array([0, 1])
        direction = phi
    else:
        x = radius * sign * (np.sin(phi) - np.sin(phi - sign * angle))
        y = radius * sign * (np.cos(phi - sign * angle) - np.cos(phi))
        direction = phi - sign * turned
    if reach > TRACKER and 2 * radius > TRACKER:
        x = np.append(x, x[-1] + (reach - TRACKER) * np.cos(direction))
        y = np.append(y, y[-1] + (reach - TRACKER) * np.sin(direction))
    ax.plot(x, y, color=colour, linewidth=width, alpha=0.8, solid_capstyle="round")
