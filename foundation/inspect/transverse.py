"""The transverse view: what flew where around the beam, as event displays of collider experiments draw it."""

from __future__ import annotations

import re

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
TRACKS = re.compile(r"(?i)(^tr$|track|cpf|charged)")
MUONS = re.compile(r"(?i)(^mu$|muon)")
CALORIMETERS = re.compile(r"(?i)(^e[be]$|^h[bef]$|calo|tower|region|cluster|rechit|hcal|ecal)")


def has_transverse(event: Event) -> bool:
    """Whether more than one modality says where around the beam it was."""
    return sum(kind_of(event, name) in ("map", "arrow") for name in event.tokens) > 1


def transverse(ax: Axes, event: Event, arrows: dict[str, tuple[float, float]]) -> None:
    """Tracks bent in the field, calorimeter energies as bars outside, jets as cones, missing pt as an arrow."""
    outer = TRACKER + CALORIMETER
    ax.set(xlim=(-2.75, 2.05), ylim=(-2.05, 2.05), xticks=[], yticks=[], aspect="equal")
    ax.add_patch(Circle((0, 0), TRACKER, fill=False, edgecolor="0.75", linewidth=1))
    ax.add_patch(Circle((0, 0), outer, fill=False, edgecolor="0.9", linewidth=1))
    entries: list[Line2D | Patch] = []
    rings = [n for n in event.tokens if kind_of(event, n) == "map" and _in_ring(n, len(event.tokens[n]))]
    entries += _rings(ax, event, rings)
    colours = iter([COLOURS[i] for i in (5, 8, 0, 7, 6, 9, 4)] * 3)
    widths = iter([5.0, 3.0, 1.5, *[1.0] * 20])  # so that what lies on top of each other is all seen
    for name in event.tokens:
        found = kinematics(event.schema.modalities[name], event.tokens[name])
        if kind_of(event, name) != "map" or name in rings or not size_of(found) or not len(event.tokens[name]):
            continue
        charge = charges(event.schema.modalities[name], event.tokens[name])
        pt, phi = np.abs(found[size_of(found)]), found["phi"]
        if "jet" in name.lower():
            _cones(ax, pt, phi)
            entries.append(Patch(color=COLOURS[1], alpha=0.5, label=name))
        elif MUONS.search(name):
            colour = COLOURS[2]
            for one, angle, q in zip(pt, phi, charge if charge is not None else np.zeros(len(pt))):
                _track(ax, one, angle, q, colour, 1.8, 2.05)
            entries.append(Line2D([], [], color=colour, linewidth=1.8, label=name))
        elif TRACKS.search(name) and charge is not None:
            for one, angle, q in zip(pt, phi, charge):
                _track(ax, one, angle, q, COLOURS[8], 0.8, TRACKER)
            entries.append(Line2D([], [], color=COLOURS[8], linewidth=0.8, label=name))
        else:
            colour, width = next(colours), next(widths)
            most = max(pt.max(), 1e-9)
            for one, angle in zip(pt, phi):
                end = (0.15 + 0.85 * one / most) * TRACKER
                ax.plot([0, end * np.cos(angle)], [0, end * np.sin(angle)], color=colour, linewidth=width)
            entries.append(Line2D([], [], color=colour, linewidth=width, label=name))
    for label, (size, angle) in arrows.items():
        tip = (1.95 * np.cos(angle), 1.95 * np.sin(angle))
        ax.add_patch(FancyArrowPatch((0, 0), tip, arrowstyle="-|>", mutation_scale=22, linewidth=2.2, color=COLOURS[3],
                                     linestyle=(0, (5, 2)), zorder=5))  # fmt: skip
        entries.append(Line2D([], [], color=COLOURS[3], linestyle="--", linewidth=2.2, label=f"{label} {size:.0f} GeV"))
    ax.legend(handles=entries, fontsize="xx-small", loc="upper left", frameon=False,
              handlelength=1.2, borderaxespad=0.2)  # fmt: skip
    bent = "; tracks bent by 3.8 T" if any(TRACKS.search(name) for name in event.tokens) else ""
    title(ax, "transverse view", f"lengths ~ energy{bent}")


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
    order = [COLOURS[i] for i in (0, 9, 6, 7, 5, 8, 4)]
    for number, heights in enumerate(sums):
        for k in np.flatnonzero(heights * scale > 1e-3):
            depth = heights[k] * scale
            angles = np.degrees(edges[k : k + 2])
            ax.add_patch(Wedge((0, 0), start[k] + depth, *angles, width=depth, color=order[number % 7], linewidth=0))
            start[k] += depth
    return [Patch(color=order[i % 7], label=name) for i, name in enumerate(names)]


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
