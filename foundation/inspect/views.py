"""Views of one modality of one event, each drawn on given axes: eta-phi map, image, space, waveform."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.patches import Circle

from foundation.inspect.event import Event, charges, kinematics, species
from foundation.plots import COLOURS
from foundation.schema import Grid, Modality

PI_TICKS = ([-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi], ["$-\\pi$", "$-\\pi/2$", "0", "$\\pi/2$", "$\\pi$"])
SYMBOLS = {"pt": "$p_{T}$", "et": "$E_{T}$", "energy": "E", "time": "Time"}
UNITS = {"pt": "GeV", "et": "GeV", "energy": "GeV", "time": "ns", "x": "mm", "y": "mm", "z": "mm"}
COLOUR_MAP = "viridis"
LARGEST, SMALLEST = 700.0, 5.0  # marker areas, points squared
CROWDED = 400  # tokens from which the markers shrink
HIT, SINGLE_HIT, HARDEST_HIT = 2.5, 25.0, 150.0  # marker areas of hits in space: of many, of few
WRITTEN = 5  # objects that get their pt written beside them
JET_RADIUS = 0.4
CHARGES = {1: ("positive", COLOURS[2], "^"), -1: ("negative", COLOURS[0], "v"), 0: ("neutral", COLOURS[4], "o")}
PARTICLES = {  # kind -> colour and marker
    "chargedhadron": (COLOURS[0], "o"),
    "neutralhadron": (COLOURS[1], "s"),
    "photon": (COLOURS[2], "D"),
    "electron": (COLOURS[3], "^"),
    "muon": (COLOURS[5], "P"),
}
BARREL_END, ENDCAP_END = 1.479, 3.0  # |eta| where CMS's calorimeters meet
REACHES = (1.6, 2.6, 3.2, 5.2)  # |eta| at the edge of a map


def kind_of(event: Event, name: str) -> str:
    """Which view shows a modality: `image`, `relative`, `map`, `space`, `arrow`, `wave`, or `text`: a few numbers."""
    modality, values = event.schema.modalities[name], event.tokens[name]
    found = kinematics(modality, values)
    if modality.grid is not None:
        return "image"
    if {"eta", "phi"} <= found.keys():
        return "relative" if modality.relative else "map"
    if {"x", "y"} <= found.keys():
        return "space"
    if "phi" in found and ("pt" in found or "energy" in found) and len(values) <= 1:
        return "arrow"
    return "wave" if len(values) > 2 else "text"


def title(ax: Axes, name: str, text: str) -> None:
    ax.set_title(name, loc="left", fontweight="bold", fontsize="medium")
    ax.set_title(text, loc="right", fontsize="x-small")


def size_of(found: dict[str, np.ndarray]) -> str:
    """The coordinate that gives the markers their area: pt, else transverse energy, else energy."""
    return next((c for c in ("pt", "et", "energy") if c in found), "")


def unit_of(modality: Modality, coordinate: str) -> str:
    """The unit of a coordinate, as the schema gives it."""
    feature = modality.coordinates.get(coordinate, "")
    return modality.features[feature].unit if feature in modality.features else UNITS.get(coordinate, "")


def reach_of(event: Event) -> float:
    """|eta| at the edge of every map of an event: the smallest round number that holds all of them."""
    maps = [n for n in event.tokens if kind_of(event, n) == "map"]
    found = [kinematics(event.schema.modalities[n], event.tokens[n])["eta"] for n in maps]
    most = max((np.abs(eta).max(initial=0) for eta in found), default=0.0)
    return float(next((r for r in REACHES if most <= r), min(1.05 * most, 12.0)))


def eta_phi(ax: Axes, event: Event, name: str, arrows: dict[str, tuple[float, float]]) -> Any:
    """Map of a modality; returns what a colour bar is made from, or None.

    Args:
        arrows: name -> (pt, phi) of missing transverse momenta, drawn as lines, for they have no eta.
    """
    modality, values = event.schema.modalities[name], event.tokens[name]
    found = kinematics(modality, values)
    size = size_of(found)
    relative = modality.relative
    _frame(ax, found, 0.0 if relative else reach_of(event))
    scale = np.abs(found[size]) if size else np.ones(len(values))
    if not relative and "jet" in name.lower():
        shown = None
        _jets(ax, found, scale)
    else:
        shown = _markers(ax, modality, values, found, scale)
    for label, (_, phi) in arrows.items() if not relative else ():
        ax.axhline(phi, color=COLOURS[3], linestyle=(0, (6, 3)), linewidth=1.6, zorder=1)
        edge = ax.get_xlim()[1]
        above = phi < np.pi - 0.4
        ax.text(0.97 * edge, phi + (0.06 if above else -0.06), label, ha="right", va="bottom" if above else "top",
                color=COLOURS[3], fontsize="x-small")  # fmt: skip
    text = f"{len(values)} tokens" if len(values) != 1 else "1 token"
    if size and len(values):
        text += f"; area ~ {SYMBOLS[size]}, largest {scale.max():.3g} {unit_of(modality, size)}"
    title(ax, name, text)
    return shown


def _frame(ax: Axes, found: dict[str, np.ndarray], reach: float) -> None:
    """Axes and guides; `reach` 0 means relative to a jet axis."""
    if not reach:
        reach = max(np.abs(found["eta"]).max(initial=0.1), np.abs(found["phi"]).max(initial=0.1))
        reach = next((r for r in (0.45, 0.9, 1.35) if reach <= r), 1.1 * reach)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        for radius in (0.2, 0.4, 0.8):
            if radius < reach:
                ax.add_patch(Circle((0, 0), radius, fill=False, color="0.8", linewidth=1, linestyle=":", zorder=0))
                ax.text(0, radius, f"{radius}", color="0.6", fontsize="xx-small", ha="center", va="bottom")
        ax.plot(0, 0, "+", color="0.6", markersize=12, zorder=0)
        ax.set_xlabel(r"$\Delta\eta$ to the jet axis")
        ax.set_ylabel(r"$\Delta\phi$ to the jet axis [rad]")
        return
    ax.set(xlim=(-reach, reach), ylim=(-np.pi, np.pi))
    for edge in (-ENDCAP_END, -BARREL_END, BARREL_END, ENDCAP_END):
        if abs(edge) < reach:
            ax.axvline(edge, color="0.87", linewidth=1, zorder=0)
    ax.set_yticks(*PI_TICKS)
    ax.minorticks_off()
    ax.set_xlabel(r"$\eta$")
    ax.set_ylabel(r"$\phi$ [rad]")


def _areas(scale: np.ndarray, most: float = LARGEST) -> np.ndarray:
    share = scale / max(scale.max(initial=0), 1e-9)
    return SMALLEST + most * share if len(scale) < CROWDED else SMALLEST / 2 + 0.6 * most * share


def _markers(ax: Axes, modality: Modality, values: np.ndarray, found: dict[str, np.ndarray], scale: np.ndarray) -> Any:
    """Dots: by kind of particle, else by charge, else coloured by time or energy."""
    areas, order = _areas(scale), np.argsort(-scale)
    style: dict[str, Any] = {"alpha": 0.75, "linewidths": 0.6, "edgecolors": "white", "clip_on": False}
    style |= {"linewidths": 0} if len(values) > CROWDED // 2 else {}
    kinds, charge = species(modality, values), charges(modality, values)
    groups: dict[str, tuple[np.ndarray, str, str]] = {}
    if kinds:
        others = iter([(COLOURS[i], mark) for i, mark in ((6, "h"), (7, "*"), (9, "v"), (4, "<"), (8, ">"))] * 9)
        groups = {k: (yes, *(PARTICLES.get(k.lower()) or next(others))) for k, yes in kinds.items()}
        groups["other"] = (~np.any(list(kinds.values()), axis=0), "0.6", "x")
    elif charge is not None and (charge != 0).any():
        groups = {label: (np.sign(charge) == sign, colour, mark) for sign, (label, colour, mark) in CHARGES.items()}
    for label, (yes, colour, mark) in groups.items():
        if yes.any():
            edge = {} if mark != "x" else {"edgecolors": None}
            which = order[yes[order]]
            ax.scatter(found["eta"][which], found["phi"][which], areas[which], color=colour, marker=mark,
                       label=_spaced(label), **(style | edge))  # fmt: skip
    if groups:
        _legend(ax)
        return None
    colour = "time" if "time" in found else "energy" if "energy" in found else size_of(found)
    if not colour:
        ax.scatter(found["eta"], found["phi"], areas, color=COLOURS[0], **style)
        return None
    shades = found[colour]
    if np.ptp(shades) <= 0.1 * np.abs(shades).max(initial=0):  # one token, or as good as one: nothing to tell apart
        ax.scatter(found["eta"], found["phi"], areas, color=COLOURS[0], **style)
        return None
    drawn = ax.scatter(found["eta"][order], found["phi"][order], areas[order], c=shades[order], cmap=COLOUR_MAP,
                       norm=_norm(shades, colour), **style)  # fmt: skip
    return drawn, f"{SYMBOLS[colour]} [{unit_of(modality, colour) or UNITS[colour]}]"


def _spaced(name: str) -> str:
    """ChargedHadron -> charged hadron."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip() if name[:1].isalpha() else name


def _legend(ax: Axes) -> None:
    shown = ax.legend(fontsize="xx-small", loc="best", handletextpad=0.2, borderpad=0.3, frameon=True,
                      framealpha=0.8, ncols=2, columnspacing=0.8)  # fmt: skip
    for handle in shown.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([60])


def _norm(values: np.ndarray, coordinate: str) -> Normalize:
    """Logarithmic over the upper three decades for energies; the central 98% for times, whose noise reaches far."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Normalize(0, 1)
    if coordinate == "time":
        low, high = np.percentile(finite, [1, 99])
        return Normalize(low, max(high, low + 1e-3))
    high = max(float(finite.max()), 1e-3)
    return LogNorm(max(float(finite[finite > 0].min(initial=high)), high / 1000) * 0.999, high)


def _jets(ax: Axes, found: dict[str, np.ndarray], scale: np.ndarray) -> None:
    """Circles of the jets' size, the fuller the harder, with pt written beside the leading ones."""
    most = max(scale.max(initial=0), 1e-9)
    width = ax.get_xlim()[1]
    for rank, i in enumerate(np.argsort(-scale)):
        eta, phi, share = found["eta"][i], found["phi"][i], scale[i] / most
        for turn in (-2 * np.pi, 0, 2 * np.pi):  # a jet at the seam shows on both sides
            disc = Circle((eta, phi + turn), JET_RADIUS, facecolor=COLOURS[1], edgecolor=COLOURS[6], linewidth=1.5,
                          alpha=0.15 + 0.7 * share)  # fmt: skip
            ax.add_patch(disc)
        if rank < WRITTEN:
            side = "right" if eta > 0.7 * width else "left" if eta < -0.7 * width else "center"
            inside = min(max(phi, -np.pi + 0.15), np.pi - 0.15)
            ax.text(eta, inside, f"{scale[i]:.0f}", ha=side, va="center", fontsize="x-small", clip_on=True)


def image(ax: Axes, event: Event, name: str) -> Any:
    """A grid modality as an image, of its energy-like feature."""
    modality, values = event.schema.modalities[name], event.tokens[name]
    grid = modality.grid or Grid()
    feature = next((modality.coordinates[c] for c in ("pt", "energy") if c in modality.coordinates), "")
    feature = feature or next(iter(modality.features))
    cells = values[:, modality.index(feature)].reshape(grid.shape)
    top = float(max(cells.max(), 1e-6))
    drawn = ax.imshow(cells, origin="lower", aspect="auto", cmap="Blues",
                      norm=PowerNorm(0.5, 0, top), interpolation="nearest")  # fmt: skip
    ax.set_xticks(np.arange(-0.5, grid.shape[1]), minor=True)
    ax.set_yticks(np.arange(-0.5, grid.shape[0]), minor=True)
    ax.grid(which="minor", color="0.9", linewidth=0.5)
    ax.tick_params(which="both", length=0)
    ax.set_xlabel(_axis(grid.column, "Column"))
    ax.set_ylabel(_axis(grid.row, "Row"))
    total = float(cells.sum())
    title(ax, name, f"{int((cells != 0).sum())} of {cells.size} cells filled, sum {total:.4g}")
    unit = modality.features[feature].unit
    return drawn, f"{feature}{f' [{unit}]' if unit else ''}"


def _axis(expression: str, otherwise: str) -> str:
    """What a grid expression counts, as far as it tells: an azimuth is divided by pi."""
    if re.search(r"(?i)phi|\bpi\b", expression):
        return rf"{otherwise} ($\phi$)"
    return rf"{otherwise} ($\eta$)" if re.search(r"(?i)eta", expression) else otherwise


def space(ax: Axes, event: Event, name: str, horizontal: str, vertical: str) -> Any:
    """Hits seen along one axis: x-y, or z-r; coloured by energy or time, else by the particle they belong to."""
    modality, values = event.schema.modalities[name], event.tokens[name]
    found = kinematics(modality, values)
    found["r"] = np.hypot(found["x"], found["y"])
    size = size_of(found)
    scale = np.abs(found[size]) if size else np.zeros(len(values))
    order = np.argsort(scale)
    areas = (HIT if len(values) > CROWDED else SINGLE_HIT) + HARDEST_HIT * (scale / max(scale.max(initial=0), 1e-9))[
        order
    ]
    across, up = found[horizontal][order], found[vertical][order]
    colour = "energy" if "energy" in found else "time" if "time" in found else size
    unit = modality.features[modality.coordinates["x"]].unit
    ax.set_xlabel(f"{horizontal}{f' [{unit}]' if unit else ''}")
    ax.set_ylabel(f"{vertical}{f' [{unit}]' if unit else ''}")
    if horizontal == "x":
        ax.set_aspect("equal", adjustable="datalim")
    text = f"{len(values):,} token{'' if len(values) == 1 else 's'}"
    if not colour:
        groups = event.groups.get(name, np.ones(len(values), int))[order]
        shades = np.where(groups > 0, np.array(COLOURS)[groups % len(COLOURS)], "0.8")
        ax.scatter(across, up, areas, c=list(shades), linewidths=0, alpha=0.9)
        text += f" of {len(np.unique(groups[groups > 0])):,} particles (by colour)" if name in event.groups else ""
    title(ax, f"{name}: {horizontal}–{vertical}", text)
    if not colour:
        return None
    norm = _norm(found[colour], colour)
    drawn = ax.scatter(across, up, areas, c=found[colour][order], cmap=COLOUR_MAP, norm=norm, linewidths=0, alpha=0.8)
    return drawn, f"{SYMBOLS[colour]} [{unit_of(modality, colour) or UNITS[colour]}]"


def wave(ax: Axes, event: Event, name: str) -> None:
    """Features against time or the position in the list, as lines; few tokens as points."""
    modality, values = event.schema.modalities[name], event.tokens[name]
    time = modality.coordinates.get("time", "")
    x = values[:, modality.index(time)] if time else np.arange(len(values))
    for i, (feature, spec) in enumerate((f, s) for f, s in modality.features.items() if f != time):
        label = f"{feature}{f' [{spec.unit}]' if spec.unit else ''}"
        ax.plot(x, values[:, modality.index(feature)], label=label, color=COLOURS[i % 10], linewidth=1.5,
                marker="o" if len(values) < 30 else "", markersize=5)  # fmt: skip
        if i == 9:
            break
    unit = modality.features[time].unit or "ns" if time else ""
    ax.set_xlabel(f"Time [{unit}]" if time else "Token")
    if len(modality.features) - bool(time) == 1:
        ax.set_ylabel(label)
    else:
        ax.legend(fontsize="xx-small", ncols=2)
    ax.margins(y=0.15)
    title(ax, name, f"{len(values)} tokens")
