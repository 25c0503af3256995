"""Histograms with errors, ratio panels and room for the legend, in the style of foundation.plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from foundation.plots import COLOURS, LINES, STYLE, save

MARKERS = "os^vDP"
MOST_ERROR = 0.7  # relative; bins with more say nothing in a ratio


@dataclass(frozen=True)
class Hist:
    """A histogram with statistical errors."""

    edges: np.ndarray
    height: np.ndarray
    error: np.ndarray

    @property
    def centres(self) -> np.ndarray:
        return (self.edges[1:] + self.edges[:-1]) / 2


def histogram(values: Any, edges: Any, weights: Any = None, density: bool = True) -> Hist:
    """Of the values; a density has area 1 over all values, those outside the edges included."""
    values, edges = np.asarray(values, np.float64), np.asarray(edges, np.float64)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights)
    height = np.histogram(values, edges, weights=weights)[0]
    error = np.sqrt(np.histogram(values, edges, weights=weights**2)[0])
    norm = weights.sum() * np.diff(edges) if density else np.ones(len(height))
    return Hist(edges, height / norm, error / norm)


class Picture:
    """One figure of one or more columns, each with a ratio panel below if asked."""

    def __init__(self, caption: str, columns: int = 1, ratio: bool = False, width: float = 9.0, height: float = 7.5):
        with matplotlib.rc_context(STYLE):
            self.fig = Figure(figsize=(width, height))
            rows = 2 if ratio else 1
            axes = self.fig.subplots(
                rows, columns, sharex="col", squeeze=False, gridspec_kw={"height_ratios": [3, 1][:rows]}
            )
        self.fig.get_layout_engine().set(w_pad=0.12)  # type: ignore[union-attr]
        self.axes: list[Axes] = list(axes[0])
        self.ratios: list[Axes] = list(axes[1]) if ratio else []
        self.axes[0].set_title("detfm", loc="left", fontweight="bold", fontsize=22, pad=8)
        self.axes[-1].set_title(caption, loc="right", fontsize=18, pad=8)
        self.highest = [0.0] * columns
        self.lowest = [np.inf] * columns

    def steps(self, hist: Hist, label: str, i: int, column: int = 0, fill: bool = False) -> None:
        """A histogram as steps with a band of its errors."""
        ax, style = self.axes[column], line(i)
        if fill:
            ax.stairs(hist.height, hist.edges, fill=True, color=style["color"], alpha=0.25, linewidth=0)
        ax.stairs(hist.height, hist.edges, label=label, linewidth=2.5, **style)
        self._band(ax, hist, style["color"])
        self.seen(hist.height, column)

    def points(self, x: Any, y: Any, error: Any, label: str, i: int, column: int = 0, width: Any = None) -> None:
        """Markers with error bars."""
        colour = COLOURS[i]
        x, y, error = (np.asarray(values, np.float64) for values in (x, y, error))
        there = y != 0
        x, y, error = x[there], y[there], error[there]
        width = np.asarray(width)[there] if np.ndim(width) else width
        self.axes[column].errorbar(
            x, y, yerr=error, xerr=width, label=label, color=colour, fmt=MARKERS[i], markersize=7, linewidth=2
        )
        self.seen(y + error, column)
        self.seen(y, column)

    def ratio(self, top: Hist, bottom: Hist, i: int, column: int = 0) -> None:
        """`top` over `bottom` as points, the error of `bottom` as a band about 1."""
        ax = self.ratios[column]
        good = (bottom.error < bottom.height) & (top.error < MOST_ERROR * top.height)
        base = np.where(good, bottom.height, 1)
        half = np.diff(top.edges) / 2
        ax.errorbar(
            top.centres[good], (top.height / base)[good], (top.error / base)[good], half[good],
            color=COLOURS[i], fmt=MARKERS[i], markersize=5, linewidth=1.8,
        )  # fmt: skip
        share = np.where(good, bottom.error / base, 0)
        ax.stairs(1 + share, top.edges, baseline=1 - share, fill=True, color="0.8", alpha=0.8, linewidth=0, zorder=0)
        ax.axhline(1, color="0.4", linewidth=1.2, zorder=0)

    def _band(self, ax: Axes, hist: Hist, colour: str) -> None:
        low = hist.height - hist.error
        if ax.get_yscale() == "log":
            low = np.maximum(low, hist.height / 10)
        ax.stairs(hist.height + hist.error, hist.edges, baseline=low, fill=True, alpha=0.3, color=colour, linewidth=0)

    def seen(self, values: Any, column: int = 0) -> None:
        """Keeps room for these values in the range of y."""
        values = np.asarray(values)[np.asarray(values) > 0]
        if len(values):
            self.highest[column] = max(self.highest[column], float(values.max()))
            self.lowest[column] = min(self.lowest[column], float(values.min()))

    def label(self, x: str, y: str, column: int = 0, ratio: str = "", limits: tuple[float, float] = (0.5, 1.5)) -> None:
        """Names of the axes, with units; the range of the ratio."""
        self.axes[column].set_ylabel(y)
        lower = self.ratios[column] if self.ratios else self.axes[column]
        lower.set_xlabel(x)
        if self.ratios:
            lower.set_ylabel(ratio, loc="center", fontsize=18)
            lower.set_ylim(*limits)
            lower.yaxis.set_major_locator(MaxNLocator(4, prune="both"))

    def legend(self, rows: float, column: int = 0, log: bool = False, low: float | None = None, **options: Any) -> None:
        """The legend, with so many lines of room above what was drawn."""
        ax = self.axes[column]
        share = 0.05 + (0.075 if self.ratios else 0.065) * rows
        high = self.highest[column]
        if log:
            low = self.lowest[column] / 2 if low is None else low
            ax.set_yscale("log")
            ax.set_ylim(low, low * (high / low) ** (1 / (1 - share)))
        else:
            low = 0.0 if low is None else low
            ax.set_ylim(low, low + (high - low) / (1 - share))
        with matplotlib.rc_context(STYLE):
            ax.legend(**{"loc": "upper right", "fontsize": 17, **options})

    def legend_only(self, place: str, column: int = 0) -> None:
        """The legend, without changing the range of y."""
        with matplotlib.rc_context(STYLE):
            self.axes[column].legend(loc=place, fontsize=17)

    def text(self, lines: Sequence[str], x: float = 0.04, y: float = 0.95, column: int = 0, **options: Any) -> None:
        """Lines of text in the frame, in its coordinates."""
        ax = self.axes[column]
        ax.text(x, y, "\n".join(lines), transform=ax.transAxes, va="top", fontsize=16, linespacing=1.4, **options)

    def save(self, folder: Path | None, name: str) -> None:
        """As PNG of 256 colours, which is enough and half as large, if there is a folder."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"physics-{name}.png"
            save(self.fig, path)
            with Image.open(path) as image:
                image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def line(i: int) -> dict[str, Any]:
    """Colour and dash of the i-th curve."""
    return {"color": COLOURS[i], "linestyle": LINES[i % len(LINES)]}
