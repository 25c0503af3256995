"""Pictures of an evaluation: reliability, dependence on quantities, mass sculpting, response, coverage, shift."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from foundation.metrics_mass import Sculpting
from foundation.plots import COLOURS, axes, line_style, styled

Records = Sequence[Mapping[str, Any]]


@styled
def reliability(found: Mapping[str, Any], caption: str = "") -> Figure:
    """Share of hits against confidence, as the model is and after temperature scaling; below: how many examples."""
    fig = Figure(figsize=(9.0, 8.5))
    upper, lower = fig.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _title(upper, caption)
    upper.plot([0, 1], [0, 1], color="0.5", linewidth=1.5, linestyle=":")
    for i, name in enumerate(n for n in ("raw", "calibrated") if n in found):
        records = found[name]["reliability"]
        x, y, error, n = (np.asarray([r[k] for r in records]) for k in ("confidence", "accuracy", "error", "examples"))
        text = f"{name}: ECE {found[name]['ece']:.3f}" + (f", T = {found['temperature']:.2f}" if i else "")
        style = {"color": COLOURS[i], "marker": "os"[i], "markersize": 8}
        upper.errorbar(x, y, error, linestyle="-", linewidth=1.5, label=text, **style)
        edges = np.append([r["low"] for r in records], records[-1]["high"]) if _touching(records) else None
        if edges is not None:
            lower.stairs(n, edges, color=COLOURS[i], linewidth=2)
        else:
            lower.plot(x, n, linestyle="", **style)
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    upper.set_ylabel("Share of hits")
    upper.legend(loc="upper left")
    lower.set_yscale("log")
    lower.set_ylabel("Examples")
    lower.set_xlabel("Confidence")
    return fig


def _touching(records: Records) -> bool:
    return all(abs(a["high"] - b["low"]) < 1e-9 for a, b in itertools.pairwise(records))


@styled
def dependence(found: Mapping[str, Records], quantity: str, background_efficiency: float, caption: str = "") -> Figure:
    """Signal efficiency at the cut of one overall background efficiency, that of background, and AUC, in bins."""
    fig = Figure(figsize=(9.0, 12.0))
    panels = fig.subplots(3, 1, sharex=True)
    _plain(panels)
    _title(panels[0], caption)
    for i, (name, records) in enumerate(found.items()):
        for panel, key in zip(panels, ("signal_efficiency", "background_efficiency", "auc")):
            _points(panel, records, key, i, len(found), name)
    panels[1].axhline(background_efficiency, color="0.5", linestyle=":", linewidth=1.5)
    for panel, text in zip(panels, ("Efficiency", "Background eff.", "AUC")):
        panel.set_ylabel(text)
    panels[0].set_title(f"overall background eff. {background_efficiency:g}", loc="right", fontsize="small", pad=8)
    panels[1].set_ylim(bottom=0)
    panels[-1].set_xlabel(quantity)
    _wide_scale(panels[-1], next(iter(found.values())))
    _legend_below(fig, panels[0], len(found))
    return fig


@styled
def responses(found: Mapping[str, Records], name: str, caption: str = "") -> Figure:
    """Median response and resolution of a regression in bins, one column per quantity."""
    fig = Figure(figsize=(max(6.0 * len(found), 9.0), 8.0))
    grid = fig.subplots(2, len(found), sharex="col", squeeze=False)
    _plain(grid.ravel())
    _title(grid[0, 0], caption)
    for column, (quantity, records) in enumerate(found.items()):
        for row, key in enumerate(("response", "resolution")):
            _points(grid[row, column], records, key, 0, 1, "")
        grid[0, column].axhline(1.0, color="0.5", linestyle=":", linewidth=1.5)
        grid[1, column].set_ylim(bottom=0)
        grid[1, column].set_xlabel(f"true {name}" if quantity == "target" else quantity)
        _wide_scale(grid[1, column], records)
    grid[0, 0].set_ylabel("Median response")
    grid[1, 0].set_ylabel("Resolution")
    return fig


@styled
def coverage(records: Records, name: str, caption: str = "") -> Figure:
    """Share of targets below each predicted quantile, against its level."""
    fig, ax = axes(caption)
    level, covered, error = (np.asarray([r[k] for r in records]) for k in ("level", "covered", "error"))
    ax.plot([0, 1], [0, 1], color="0.5", linewidth=1.5, linestyle=":")
    ax.errorbar(level, covered, error, marker="o", markersize=9, linestyle="", color=COLOURS[0])
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.set_xlabel(f"Level of the predicted quantile of {name}")
    ax.set_ylabel("Share of targets below it")
    return fig


@styled
def sculpting(found: Mapping[str, Sculpting], mass: str, caption: str = "") -> Figure:
    """Background mass, inclusive and after cuts, each normalised to 1; one panel per signal."""
    columns = min(len(found), 3)
    rows = -(-len(found) // columns)
    fig = Figure(figsize=(max(6.5 * columns, 9.0), 6.0 * rows + 0.8))
    grid = fig.subplots(rows, columns, squeeze=False).ravel()
    _plain(grid)
    _title(grid[0], caption)
    for panel, (name, each) in zip(grid, found.items()):
        panel.stairs(
            _normalised(each.inclusive), each.edges, color="0.4", fill=True, alpha=0.25, label="all background"
        )
        for i, (efficiency, passing) in enumerate(each.passing.items()):
            if passing.sum() >= len(passing):  # fewer would show their own fluctuations
                panel.stairs(
                    _normalised(passing), each.edges, color=COLOURS[i], linewidth=2, label=f"εS = {efficiency:g}"
                )
        panel.set_title(name, loc="right", fontsize="small", pad=8)
        panel.set_xlabel(mass)
        panel.set_ylim(0, 1.15 * panel.get_ylim()[1])
    for panel in grid[len(found) :]:
        panel.set_axis_off()
    grid[0].legend(loc="upper right", fontsize="x-small")
    grid[0].set_ylabel("Share of background")
    return fig


@styled
def shifts(records: Records, key: str, label: str, caption: str = "", most: int = 20) -> Figure:
    """The largest shifts, as bars; the mark is what two random halves of one sample give."""
    shown = list(records)[:most][::-1]
    fig, ax = axes(caption, figsize=(10.0, 2.2 + 0.42 * max(len(shown), 3)))
    ax.barh([r["feature"] for r in shown], [r[key] for r in shown], color=COLOURS[0])
    ax.plot([r["of_statistics"] for r in shown], [r["feature"] for r in shown], "|", color=COLOURS[2], markersize=14,
            markeredgewidth=3, label="same data")  # fmt: skip
    ax.tick_params(axis="y", which="both", right=False, left=False, labelsize="x-small")
    ax.set_xlabel(label)
    ax.legend(loc="lower right")
    return fig


def _points(panel: Axes, records: Records, key: str, i: int, lines: int, name: str) -> None:
    known = [r for r in records if r[key] is not None]
    if not known:
        return
    low, high = (np.asarray([r[k] for r in known]) for k in ("low", "high"))
    x = low + (high - low) * (0.5 + 0.5 * (i - (lines - 1) / 2) / max(lines, 2))  # side by side within the bin
    y, error = (np.asarray([r[k] for r in known]) for k in (key, f"{key}_error"))
    style = {"color": line_style(i)["color"], "marker": "o", "markersize": 7, "linewidth": 1.8, "label": name}
    panel.errorbar(x, y, error, linestyle="-" if lines <= 10 else "", **style)


def _wide_scale(panel: Axes, records: Records) -> None:
    """Logarithmic, where the last bin is wider than all others together and every edge is positive."""
    edges = [records[0]["low"], *(r["high"] for r in records)]
    if len(edges) > 3 and edges[0] > 0 and edges[-1] - edges[-2] > edges[-2] - edges[0]:
        panel.set_xscale("log")


def _legend_below(fig: Figure, panel: Axes, entries: int) -> None:
    handles, labels = panel.get_legend_handles_labels()
    columns = max(1, min(entries, 56 // (max(map(len, labels), default=0) + 6)))
    if entries > 1:
        fig.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize="x-small")


def _plain(panels: Iterable[Axes]) -> None:
    """Without minor ticks, which take half of the time to draw many panels and say nothing at their size."""
    for panel in panels:
        panel.minorticks_off()


def _title(panel: Axes, caption: str) -> None:
    panel.set_title("detfm", loc="left", fontweight="bold", fontsize="medium", pad=8)
    panel.set_title(caption, loc="right", fontsize="small", pad=8)


def _normalised(histogram: np.ndarray) -> np.ndarray:
    return histogram / max(float(histogram.sum()), 1.0)
