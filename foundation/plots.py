"""The field's pictures: ROC, scores, loss, confusion matrix, probe. Each function returns a matplotlib Figure.

Fonts and marks are mplhep's ROOT style (shipped with it, nothing is fetched); colours are Petroff's, told apart by the
colour-blind (arXiv:2107.02270). Every picture says `detfm` and what it was made from, and no experiment's name.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import mplhep
import numpy as np
from jaxtyping import Float, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from foundation.metrics import Roc, check_finite, check_weights

COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#94a4a2", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
LINES = ("-", (0, (6, 2)), (0, (1, 1.2)), (0, (7, 2, 1, 2)))
STYLE = mplhep.style.ROOT | {
    "axes.prop_cycle": cycler("color", COLOURS),
    "figure.figsize": (9.0, 7.5),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 22,
    "axes.linewidth": 1.5,
    "lines.linewidth": 2.5,
    "legend.fontsize": 18,
    "xtick.major.size": 10,
    "ytick.major.size": 10,
}
P = ParamSpec("P")
Band = tuple[Float[np.ndarray, " E"], Float[np.ndarray, " E"], Float[np.ndarray, " E"]]


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws under STYLE, without touching the caller's settings."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inside


def axes(caption: str, **figure: Any) -> tuple[Figure, Axes]:
    """A figure with `detfm` at the upper left and the caption at the upper right, above the frame."""
    fig = Figure(**figure)
    ax = fig.add_subplot()
    ax.set_title("detfm", loc="left", fontweight="bold", fontsize="medium", pad=8)
    ax.set_title(caption, loc="right", fontsize="small", pad=8)
    return fig, ax


def line_style(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i // len(COLOURS) % len(LINES)]}


@styled
def roc_curves(
    curves: Mapping[str, Roc],
    caption: str = "",
    signal: str = "signal",
    background: str = "background",
    bands: Mapping[str, Band] | None = None,
) -> Figure:
    """Background efficiency (logarithmic) against signal efficiency, one line per curve, with AUC; lower is better.

    The band is the one given (of bootstrap replicas, say) or the binomial error of the background efficiency; curves
    end where one background event is left.

    Args:
        bands: name -> signal efficiencies, and the lower and upper background efficiency at each.
    """
    fig, ax = axes(caption)
    lowest = clear = 1.0
    for i, (name, curve) in enumerate(curves.items()):
        floor = 1 / curve.background_events
        seen = curve.background_efficiency >= floor
        x, y = curve.signal_efficiency[seen], curve.background_efficiency[seen]
        error = np.sqrt(y * (1 - y) / curve.background_events)
        at, low, high = (bands or {}).get(name, (x, y - error, y + error))
        ax.plot(x, y, label=f"{name} (AUC {curve.auc:.3f})", **line_style(i))
        inside = at >= min(x, default=0.0)
        low, high = np.maximum(low[inside], floor / 3), np.maximum(high[inside], floor / 3)
        ax.fill_between(at[inside], low, high, color=line_style(i)["color"], alpha=0.2, linewidth=0)
        lowest, clear = min(lowest, floor), min(clear, *y[x > 0.3])
    legend = min(0.05 * len(curves) + 0.08, 0.7)  # share of the height at the lower right that no curve may enter
    chance = np.geomspace(1e-4, 1, 200)
    ax.plot(chance, chance, color="0.5", linewidth=1.5, linestyle=":", zorder=0)
    ax.text(0.13, 0.145, "chance", color="0.5", fontsize="small", rotation=18)
    ax.set(xlim=(0, 1), ylim=(min(lowest, clear ** (1 / (1 - legend))), 1), yscale="log")
    ax.set_xlabel(f"Efficiency for {signal}")
    ax.set_ylabel(f"Efficiency for {background}")
    if curves:
        ax.legend(loc="lower right")
    return fig


@styled
def scores(
    samples: Mapping[str, Float[np.ndarray, " _"]],
    caption: str = "",
    weights: Mapping[str, Num[np.ndarray, " _"]] | None = None,
    label: str = "score",
    unit: str = "examples",
    bins: int = 40,
) -> Figure:
    """Histograms of a score in [0, 1] for several samples, each normalised to 1, with statistical errors.

    Args:
        samples: name (of a class, say) -> scores.
        weights: name -> weights.
        label: of the score.
        unit: what is counted: jets, events, bunch crossings.

    Raises:
        DataError: a score is NaN or infinite, or a weight negative.
    """
    fig, ax = axes(caption)
    edges, filled = np.linspace(0, 1, bins + 1), list[float]()
    for i, (name, values) in enumerate(samples.items()):
        check_finite(values, f"scores of {name}")
        w = check_weights(None if weights is None else weights[name], len(values))
        total = max(float(np.sum(w)), np.finfo(float).tiny)
        inside = np.clip(values, 0, 1)
        height = np.histogram(inside, edges, weights=w)[0] / total
        error = np.sqrt(np.histogram(inside, edges, weights=w**2)[0]) / total
        style = line_style(i)
        ax.stairs(height, edges, label=f"{name} ({len(values):,})", linewidth=2.5, **style)
        low = np.maximum(height - error, 1e-12)
        ax.stairs(height + error, edges, baseline=low, fill=True, alpha=0.2, color=style["color"])
        filled += list(height[height > 0])
    ax.set(xlim=(0, 1), yscale="log")
    _legend_room(ax, min(filled, default=0.1) / 2, max(filled, default=1.0), rows=(len(samples) + 1) // 2)
    ax.set_xlabel(label)
    ax.set_ylabel(f"Fraction of {unit} / {1 / bins:.3g}")
    if samples:
        ax.legend(loc="upper center", ncols=2 if len(samples) > 1 else 1)
    return fig


def _legend_room(ax: Axes, low: float, high: float, rows: int) -> None:
    """Sets the range of y so that a legend of so many rows fits above what is drawn between `low` and `high`."""
    above = 0.06 + 0.07 * rows  # of the height
    if ax.get_yscale() == "log":
        low = low / (high / low) ** 0.05
        ax.set_ylim(low, low * (high / low) ** (1 / (1 - min(above, 0.6))))
        return
    span = (high - low) or abs(high) or 1.0
    ax.set_ylim(low - 0.05 * span, low + span / (1 - min(above, 0.6)))


@styled
def loss_curves(rows: Sequence[Mapping[str, Any]], caption: str = "") -> Figure:
    """The loss and its terms (`loss`, `loss/masked`, ...) against the step, as recorded and as a running mean; dots:
    the same on val (`val/loss`, ...)."""
    fig, ax = axes(caption)
    names = sorted({name for row in rows for name in row if name == "loss" or name.startswith("loss/")})
    every = []
    for i, name in enumerate(names):
        step, value = series(rows, name)
        text = "total" if name == "loss" else name.removeprefix("loss/").replace("_", " ")
        style = line_style(i)
        smooth = running_mean(value, max(1, len(value) // 25))
        if len(value) > 50:
            ax.plot(step, value, linewidth=1, alpha=0.25, color=style["color"])
        ax.plot(step, smooth, label=text, **style)
        on_val = series(rows, f"val/{name}")
        if len(on_val[0]):
            ax.plot(*on_val, marker="o", markersize=8, markeredgecolor="white", linestyle="", color=style["color"])
        every += [x for x in (*smooth, *on_val[1]) if np.isfinite(x)]
    positive = bool(every) and min(every) > 0
    if positive and max(every) > 10 * min(every):
        ax.set_yscale("log")
        if max(every) < 1e3 * min(every):
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            ax.yaxis.set_minor_formatter(NullFormatter())
    if every:
        _legend_room(ax, min(every), max(every), rows=len(names) if len(names) > 1 else 0)
    ax.set_xlabel("Step")
    ax.set_ylabel("Loss")
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if len(names) > 1:
        ax.legend(loc="upper right")
    return fig


@styled
def probe_curve(rows: Sequence[Mapping[str, Any]], caption: str = "", name: str = "probe_accuracy") -> Figure:
    """How good the frozen embedding is for a closed-form classifier, as pretraining proceeds."""
    fig, ax = axes(caption)
    step, value = series(rows, name)
    ax.plot(step, value, marker="o", markersize=8, **line_style(0))
    if len(value):
        best = int(np.argmax(value))
        ax.annotate(
            f"{value[best]:.3f}", (step[best], value[best]), xytext=(0, 12), textcoords="offset points", ha="center",
            fontsize="small",
        )  # fmt: skip
        middle, span = (value.max() + value.min()) / 2, max(1.4 * np.ptp(value), 0.1)  # noise is not blown up
        ax.set_ylim(middle - span / 2, middle + span / 2)
    ax.margins(x=0.08)
    ax.set_xlabel("Step")
    ax.set_ylabel(name.replace("_", " ").capitalize())
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return fig


@styled
def confusion(matrix: Float[np.ndarray, "C C"], classes: Sequence[str], caption: str = "") -> Figure:
    """Percentage of each true class (rows, summing to 100) given to each predicted class."""
    total = matrix.sum(axis=1, keepdims=True)
    share = 100 * np.divide(matrix, total, where=total > 0, out=np.zeros_like(matrix))
    fig, ax = axes(caption, figsize=(8.6, 7.8))
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.ndindex(*share.shape):
        text = f"{share[i, j]:.0f}" if total[i, 0] else "–"
        colour = "white" if share[i, j] > 55 else "0.15"
        ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=max(10, 24 - len(classes)))
    slanted: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(classes)), classes, **(slanted if len("  ".join(classes)) > 50 else {}))
    ax.set_yticks(range(len(classes)), classes)
    ax.tick_params(which="both", bottom=False, top=False, left=False, right=False)
    ax.set_xlabel("Predicted class")
    ax.set_ylabel("True class")
    fig.colorbar(image, ax=ax, fraction=0.046, pad=0.03, label="Percentage of the true class")
    return fig


def series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Steps and values of the lines that record `name`."""
    found = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    table = np.asarray(found, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def running_mean(values: Float[np.ndarray, " n"], width: int) -> Float[np.ndarray, " n"]:
    """Mean over a centred window, which shrinks at the steep start and is cut off at the end."""
    i = np.arange(len(values))
    left = np.minimum(width // 2, i)
    right = np.minimum(left, i[::-1])
    total = np.concatenate([[0.0], np.cumsum(values)])
    return (total[i + right + 1] - total[i - left]) / (left + right + 1)


def png(fig: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        fig.savefig(buffer, format="png", metadata={"Software": "detfm"})
    return buffer.getvalue()


def save(fig: Figure, path: Path) -> None:
    """Writes the figure as PNG."""
    path.write_bytes(png(fig))


def embed_png(image: bytes) -> str:
    """A PNG as a data URI, for pages that must need no other file."""
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")
