"""Pictures of an embedding: how it forms, its map, neighbours, invariances, hidden tokens restored. Each is a Figure.

Axes: n rows, t tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from foundation.plots import COLOURS, LINES, STYLE, series

SMALL = STYLE | {"font.size": 17, "legend.fontsize": 14, "xtick.major.size": 6, "ytick.major.size": 6}
PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (  # what is drawn together while an embedding forms
    ("Accuracy", ("probe_accuracy", "knn_accuracy")),
    ("Effective rank", ("effective_rank",)),
    ("Alignment, spread", ("alignment", "spread")),
    ("Uniformity", ("uniformity",)),
)
NAMES = {"probe_accuracy": "ridge probe", "knn_accuracy": "kNN"}
UNKNOWN = "#c9ced6"
CAPTIONS = {  # file -> what the picture shows
    "map_class": "The embedding in two dimensions, coloured by class",
    "map_mass": "The same, coloured by mass (or the observer named in the settings)",
    "neighbours": "Queries and their nearest neighbours in the embedding (eta-phi; area grows with pt)",
    "invariance": "How much each augmentation moves the embedding",
    "restored": "Hidden tokens (circles) and what the model tells of them (crosses)",
    "restored_features": "Features of hidden tokens: predicted against true, standardised",
}
WIDE = ("map_class", "map_mass", "neighbours", "restored", "restored_features")  # several panels side by side


@dataclass(frozen=True)
class Dots:
    """The tokens of one example in the eta-phi plane.

    Attributes:
        eta, phi, size: of each token; size is its pt (or energy).
        kind: of each token: 0, 1, ... the modality.
    """

    eta: Float[np.ndarray, " t"]
    phi: Float[np.ndarray, " t"]
    size: Float[np.ndarray, " t"]
    kind: Int[np.ndarray, " t"]


@dataclass(frozen=True)
class Restored:
    """An example of which some tokens were hidden.

    Attributes:
        visible: what the encoder saw.
        true: the hidden tokens.
        predicted: what the model told of them, in the same order.
    """

    visible: Dots
    true: Dots
    predicted: Dots


def formation(rows: Sequence[Mapping[str, Any]], caption: str = "") -> Figure:
    """The monitor's numbers against the step, those that were measured more than once."""
    restored = tuple(sorted({name for row in rows for name in row if name.startswith("restored/")}))
    panels = [(t, [n for n in names if len(series(rows, n)[0]) > 1]) for t, names in (*PANELS, ("Restored", restored))]
    panels = [(title, names) for title, names in panels if names]
    with matplotlib.rc_context(SMALL):
        columns = 2 if len(panels) > 1 else 1
        fig, axes = _grid(len(panels), columns, (5.6, 4.2), caption)
        for ax, (title, names) in zip(axes, panels):
            for i, name in enumerate(names):
                step, value = series(rows, name)
                text = NAMES.get(name, name.partition("/")[2] or name)
                ax.plot(
                    step, value, marker="o", markersize=6, color=COLOURS[i], linestyle=LINES[i % len(LINES)], label=text
                )
            _room(ax, np.concatenate([series(rows, name)[1] for name in names]))
            ax.set_ylabel(title)
            ax.set_xlabel("Step")
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            if len(names) > 1 or title == "Restored":
                ax.legend(loc="best")
    return fig


def _room(ax: Axes, values: Float[np.ndarray, " n"]) -> None:
    """A range that does not blow up noise."""
    low, high = float(values.min()), float(values.max())
    span = max(1.3 * (high - low), 0.1, 0.1 * abs(high))
    ax.set_ylim((low + high - span) / 2, (low + high + span) / 2)


def class_map(
    places: Mapping[str, Float[np.ndarray, "n 2"]], labels: Int[np.ndarray, " n"], classes: Sequence[str], caption: str
) -> Figure:
    """Two-dimensional maps, side by side, coloured by class; rows of label -1 are grey, drawn below the others."""
    with matplotlib.rc_context(SMALL):
        fig, axes = _grid(len(places), len(places), (6.2, 6.0), caption)
        present = [i for i in range(len(classes)) if np.any(labels == i)]
        for ax, (title, xy) in zip(axes, places.items()):
            _bare(ax, title)
            rest = labels < 0
            ax.scatter(xy[rest, 0], xy[rest, 1], s=_point(xy), color=UNKNOWN, linewidths=0)
            order = np.random.default_rng(0).permutation(np.flatnonzero(~rest))  # no class lies above another
            colours = np.asarray(COLOURS)[labels[order] % len(COLOURS)]
            ax.scatter(xy[order, 0], xy[order, 1], s=_point(xy), c=list(colours), linewidths=0, alpha=0.8)
        marks = [_mark(COLOURS[i % len(COLOURS)]) for i in present] + ([_mark(UNKNOWN)] if np.any(labels < 0) else [])
        names = [classes[i] for i in present] + (["unknown"] if np.any(labels < 0) else [])
        fig.legend(marks, names, loc="outside lower center", ncols=min(len(names), 6) or 1, frameon=False)
    return fig


def _mark(colour: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="o", linestyle="", markersize=9, color=colour)


def value_map(
    places: Mapping[str, Float[np.ndarray, "n 2"]], values: Float[np.ndarray, " n"], label: str, caption: str
) -> Figure:
    """Two-dimensional maps, side by side, coloured by a number: logarithmic where it spans more than a decade."""
    with matplotlib.rc_context(SMALL):
        fig, axes = _grid(len(places), len(places), (6.2, 6.0), caption)
        known = np.isfinite(values)
        low, high = np.quantile(values[known], [0.02, 0.98]) if known.any() else (0.0, 1.0)
        norm = (
            LogNorm(low, high, clip=True) if 0 < 10 * low < high else matplotlib.colors.Normalize(low, high, clip=True)
        )
        for ax, (title, xy) in zip(axes, places.items()):
            _bare(ax, title)
            ax.scatter(xy[~known, 0], xy[~known, 1], s=_point(xy), color=UNKNOWN, linewidths=0)
            drawn = ax.scatter(
                xy[known, 0],
                xy[known, 1],
                s=_point(xy),
                c=values[known],
                cmap="viridis",
                norm=norm,
                linewidths=0,
                alpha=0.85,
            )
        fig.colorbar(drawn, ax=list(axes[: len(places)]), label=label, pad=0.02, fraction=0.04)
    return fig


def neighbourhood(
    rows: Sequence[Sequence[tuple[Dots, str, bool]]], caption: str, extent: tuple[float, float]
) -> Figure:
    """One row for each query: it, then its neighbours, each with its class.

    Args:
        rows: of (tokens, class, whether it is the query's).
        extent: half-widths of the panels in eta and phi.
    """
    with matplotlib.rc_context(SMALL | {"font.size": 15}):
        columns = max(map(len, rows))
        fig, axes = _grid(len(rows) * columns, columns, (2.5, 2.6), caption)
        for r, row in enumerate(rows):
            for c, (dots, name, same) in enumerate(row):
                ax = axes[r * columns + c]
                _plane(ax, extent)
                _dots(ax, dots)
                ax.set_title(name, fontsize="small", color="0.1" if same else COLOURS[2], pad=4)
                ax.set_xticks([])
                ax.set_yticks([])
                for side in ax.spines.values():
                    side.set(color="0.1" if c == 0 else "0.75", linewidth=2.5 if c == 0 else 1.0)
            axes[r * columns].set_ylabel("query" if r == 0 else "", fontsize="small")
    return fig


def restorations(examples: Sequence[Restored], caption: str, extent: tuple[float, float]) -> Figure:
    """Examples in the eta-phi plane: visible tokens grey, hidden ones as circles, what was predicted as crosses."""
    with matplotlib.rc_context(SMALL):
        fig, axes = _grid(len(examples), min(len(examples), 4), (4.4, 4.4), caption)
        for ax, each in zip(axes, examples):
            _plane(ax, extent)
            _dots(ax, each.visible, "0.78")
            for a, b in zip(_xy(each.true), _xy(each.predicted)):
                ax.plot(*zip(a, b), color="0.6", linewidth=0.8, zorder=2)
            ax.scatter(each.true.eta, each.true.phi, s=_area(each.true), facecolors="none", edgecolors=COLOURS[0], lw=2)
            ax.scatter(
                each.predicted.eta, each.predicted.phi, s=np.maximum(_area(each.predicted) / 2, 20), marker="x",
                color=COLOURS[2], linewidths=2, zorder=3,
            )  # fmt: skip
            ax.set_xlabel("$\\eta$")
            ax.set_ylabel("$\\phi$")
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.yaxis.set_major_locator(MaxNLocator(4))
    return fig


def told(features: Mapping[str, tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]], caption: str) -> Figure:
    """Predicted against true value of each feature of the hidden tokens, as the network sees them (standardised)."""
    with matplotlib.rc_context(SMALL):
        fig, axes = _grid(len(features), min(len(features), 4), (4.0, 4.0), caption)
        for ax, (name, (true, predicted)) in zip(axes, features.items()):
            low, high = np.quantile(true, [0.005, 0.995]) if len(true) else (-1.0, 1.0)
            low, high = (low, high) if high > low else (low - 1, high + 1)
            ax.plot([low, high], [low, high], color="0.5", linewidth=1.5, linestyle=":")
            ax.scatter(true, predicted, s=8, color=COLOURS[0], alpha=0.4, linewidths=0)
            ax.set(xlim=(low, high), ylim=(low, high))
            ax.set_title(name, fontsize="small")
            ax.set_xlabel("true", fontsize="small")
            ax.set_ylabel("predicted", fontsize="small")
            ax.xaxis.set_major_locator(MaxNLocator(3))
            ax.yaxis.set_major_locator(MaxNLocator(3))
    return fig


def bars(values: Mapping[str, float], trained: Sequence[str], label: str, caption: str) -> Figure:
    """A horizontal bar for each name; those of `trained` filled, the others open. 1 is marked."""
    with matplotlib.rc_context(SMALL):
        fig, axes = _grid(1, 1, (8.5, 1.6 + 0.42 * len(values)), caption)
        ax, names = axes[0], list(values)[::-1]
        for i, name in enumerate(names):
            on = name in trained
            ax.barh(i, values[name], height=0.62, color=COLOURS[0] if on else "none", edgecolor=COLOURS[0], linewidth=2)
            ax.text(values[name], i, f" {values[name]:.2f}", va="center", fontsize="small")
        ax.axvline(1, color="0.5", linestyle=":", linewidth=1.5)
        ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize="small")
        ax.tick_params(axis="y", which="both", length=0)
        ax.set_xlim(0, 1.15 * max([1.0, *values.values()]))
        ax.set_xlabel(label)
    return fig


def _grid(count: int, columns: int, panel: tuple[float, float], caption: str) -> tuple[Figure, list[Axes]]:
    rows = -(-count // columns)
    fig = Figure(figsize=(panel[0] * columns, panel[1] * rows + 0.6))
    axes = list(fig.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes[count:]:
        ax.set_axis_off()
    fig.suptitle(f"$\\bf{{detfm}}$  {caption}".rstrip(), x=0.01, ha="left", fontsize="medium")
    return fig, axes


def _bare(ax: Axes, title: str) -> None:
    ax.set_title(title, fontsize="small")
    ax.set_xticks([])
    ax.set_yticks([])


def _plane(ax: Axes, extent: tuple[float, float]) -> None:
    ax.set(xlim=(-extent[0], extent[0]), ylim=(-extent[1], extent[1]))


def _dots(ax: Axes, dots: Dots, colour: str = "") -> None:
    for kind in np.unique(dots.kind).tolist():
        at = dots.kind == kind
        own = Dots(dots.eta[at], dots.phi[at], dots.size[at], dots.kind[at])
        ax.scatter(
            own.eta, own.phi, s=_area(own), color=colour or COLOURS[kind % len(COLOURS)], alpha=0.7, linewidths=0
        )


def _point(xy: Float[np.ndarray, "n 2"]) -> float:
    """Area of a marker of a map: smaller where there are more."""
    return float(np.clip(12000 / max(len(xy), 1), 8, 50))


def _area(dots: Dots) -> Float[np.ndarray, " t"]:
    """Of the marker, in points squared: grows with the root of pt, so that soft tokens are seen."""
    return 6 + 14 * np.sqrt(np.clip(dots.size, 0, 400))


def _xy(dots: Dots) -> list[tuple[float, float]]:
    return list(zip(dots.eta.tolist(), dots.phi.tolist()))
