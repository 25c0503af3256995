"""Pictures of a trigger: rate against threshold, efficiency against rate, score against HT, a rate in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Num
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from foundation.evaluation_tables import significant
from foundation.metrics import ONE_SIGMA, weighted_quantiles
from foundation.metrics_bins import bin_edges, place_in
from foundation.plots import COLOURS, LINES, axes, line_style, styled
from foundation.trigger.beam import Beam
from foundation.trigger.rates import Steps, Threshold, poisson_interval
from foundation.trigger.stability import Stability

POINTS = 400  # of a curve
PROFILE = 12  # bins of the median score


@dataclass(frozen=True)
class RateCurve:
    """Rate against threshold.

    Attributes:
        value: of the cut, descending.
        khz: rate of what is at or above it.
        low: of its 68% interval.
        high: of that interval.
    """

    value: Float[np.ndarray, " p"]
    khz: Float[np.ndarray, " p"]
    low: Float[np.ndarray, " p"]
    high: Float[np.ndarray, " p"]

    @staticmethod
    def of(
        scores: Num[np.ndarray, " m"], weights: Float[np.ndarray, " m"], total: float, beam: Beam, most: int = POINTS
    ) -> RateCurve:
        """The curve at `most` of the distinct scores, as many for each factor in the rate.

        Args:
            total: summed weight of all zero-bias crossings, also of those that are not counted here.
        """
        steps = Steps.of(scores, weights)
        wanted = np.geomspace(1, max(len(steps.values), 1), most)
        at = np.unique(np.round(wanted).astype(int) - 1)[: len(steps.values)]
        weight, square = steps.weight[at], steps.square[at]
        scale = beam.crossing_rate_khz / total
        counts = weight**2 / square
        ends = (
            np.asarray([poisson_interval(float(c)) for c in counts]).reshape(-1, 2)
            / np.maximum(counts, 1e-300)[:, None]
        )
        return RateCurve(steps.values[at], scale * weight, scale * weight * ends[:, 0], scale * weight * ends[:, 1])


@styled
def rate_against_threshold(
    curves: Mapping[str, RateCurve], cuts: Mapping[str, Sequence[Threshold]], caption: str = "", label: str = "score"
) -> Figure:
    """Rate of `score >= threshold`, with its 68% band; marks: the chosen thresholds, hollow where not measured."""
    fig, ax = axes(caption)
    rates = [r for found in cuts.values() for r in (t.rate_khz for t in found)]
    for i, (name, curve) in enumerate(curves.items()):
        style: dict[str, Any] = {"color": COLOURS[i], "linestyle": LINES[i % len(LINES)], "linewidth": 4 - i}
        ax.plot(curve.value, curve.khz, label=name, **style)
        ax.fill_between(curve.value, curve.low, curve.high, color=style["color"], alpha=0.25, linewidth=0)
        for cut in (t for t in cuts.get(name, ()) if np.isfinite(t.value)):
            inside = style["color"] if cut.measured else "white"
            ax.plot(cut.value, cut.achieved_khz, "os"[i % 2], markersize=11 - 3 * i, markeredgewidth=2.5,
                    markeredgecolor=style["color"], markerfacecolor=inside, zorder=5)  # fmt: skip
    highest = max((float(c.khz.max()) for c in curves.values() if len(c.khz)), default=1.0)
    lowest = min([*(float(c.khz.min()) for c in curves.values() if len(c.khz)), *rates], default=0.1)
    ax.set(yscale="log", ylim=(lowest / 3, highest * 12))
    values = np.concatenate([c.value for c in curves.values()] or [np.ones(1)])
    _stretch(ax, values[np.isfinite(values)])
    for rate in sorted(set(rates)):
        ax.axhline(rate, color="0.6", linewidth=1.2, linestyle=":", zorder=0)
        ax.text(0.015, rate, f"{rate:g} kHz", transform=ax.get_yaxis_transform(), ha="left", va="bottom",
                fontsize="x-small", color="0.35")  # fmt: skip
    ax.set_xlabel(f"Threshold on the {label}")
    ax.set_ylabel("Rate in kHz")
    ax.plot([], [], "o", markersize=11, color="0.4", label="chosen")
    if any(not t.measured for found in cuts.values() for t in found):
        ax.plot([], [], "o", markersize=11, markeredgewidth=2.5, markeredgecolor="0.4", markerfacecolor="white",
                label="chosen, not measured")  # fmt: skip
    ax.legend(loc="upper right", ncols=2, fontsize="x-small")
    return fig


def _stretch(ax: Axes, values: Num[np.ndarray, " p"]) -> None:
    """Logarithmic, where the scores are positive and their tail goes far beyond the middle."""
    middle = float(np.median(values))
    if middle > 0 and float(values.max()) > 30 * middle:
        ax.set_xscale("log")
        ax.set_xlim(left=middle / 10)


@styled
def efficiency_against_rate(
    curves: Mapping[str, tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]],
    signal: str,
    unmeasured_khz: float,
    rates: Sequence[float] = (),
    menu: tuple[float, float] | None = None,
    caption: str = "",
) -> Figure:
    """Signal efficiency against the rate of the cut, a line per score; hatched: too few crossings to know the rate.

    Args:
        curves: name -> rates in kHz, efficiencies.
        unmeasured_khz: rate below which it is not measured.
        rates: that were asked for, as dotted lines.
        menu: rate in kHz and efficiency of the menu, as a star.
    """
    fig, ax = axes(caption)
    lowest = highest = 1.0
    for i, (name, (khz, share)) in enumerate(curves.items()):
        ax.plot(khz, share, drawstyle="steps-post", label=name, **line_style(i) | ({"linewidth": 4} if i == 0 else {}))
        lowest, highest = min(lowest, *khz[khz > 0]), max(highest, *khz)
    if menu is not None:
        ax.plot(*menu, "*", markersize=24, color="0.15", label="menu", zorder=6)
    left = max(lowest, unmeasured_khz / 30)
    ax.set(xscale="log", xlim=(left, highest), ylim=(0, 1.02))
    if unmeasured_khz > left:
        ax.axvspan(left, unmeasured_khz, facecolor="none", edgecolor="0.75", hatch="//", linewidth=0, zorder=0)
        ax.text(unmeasured_khz, 0.02, "not measured ", ha="right", va="bottom", fontsize="x-small", color="0.35",
                bbox={"color": "white", "alpha": 0.8, "pad": 2})  # fmt: skip
    for rate in rates:
        ax.axvline(rate, color="0.6", linewidth=1.2, linestyle=":", zorder=0)
    ax.set_xlabel("Rate in kHz")
    ax.set_ylabel(f"Efficiency for {signal}")
    ax.legend(loc="best", fontsize="x-small")
    return fig


@styled
def score_against(
    score: Num[np.ndarray, " n"], values: Num[np.ndarray, " n"], weights: Float[np.ndarray, " n"], label: str,
    caption: str = "", unit: str = "",
) -> Figure:  # fmt: skip
    """Zero-bias crossings in the plane of a quantity and the score; the line is the median, with the central 68%."""
    fig, ax = axes(caption)
    x, y = np.asarray(values, np.float64), np.asarray(score, np.float64)
    inside = 1 - max(1e-4, min(10 / len(x), 0.5))  # a few outliers do not set the range
    high, right = float(np.quantile(y, inside)), max(float(np.quantile(x, inside)), 1e-9)
    wide = bool(y.min() > 0 and y.max() > 30 * np.quantile(y, 0.01))
    edges = np.geomspace(max(float(np.quantile(y, 0.001)), 1e-300), float(y.max()), 60) if wide else _bins(y, high)
    across = _bins(x, right)
    counts, xs, ys = np.histogram2d(x, y, [across, np.unique(edges)], weights=weights)
    image = ax.pcolormesh(xs, ys, np.where(counts > 0, counts, np.nan).T, cmap="Blues", norm=LogNorm(), rasterized=True)
    groups = bin_edges(x, [float(e) for e in np.linspace(xs[0], xs[-1], PROFILE + 1)])
    place = place_in(x, groups)
    middle, lines = [], []
    for k in range(len(groups) - 1):
        inside = place == k
        if inside.sum() >= PROFILE:
            middle.append((groups[k] + groups[k + 1]) / 2)
            tails = [(1 - ONE_SIGMA) / 2, 0.5, (1 + ONE_SIGMA) / 2]
            lines.append(weighted_quantiles(y[inside], tails, weights[inside]))
    if lines:
        bounds = np.asarray(lines)
        ax.plot(middle, bounds[:, 1], color=COLOURS[2], marker="o", markersize=7, label="median")
        for edge in (0, 2):
            ax.plot(middle, bounds[:, edge], color=COLOURS[2], linestyle="--", linewidth=1.5)
        ax.plot([], [], color=COLOURS[2], linestyle="--", linewidth=1.5, label="central 68%")
    ax.set(xlim=(xs[0], xs[-1]), ylim=(ys[0], ys[-1]))
    if wide:
        ax.set_yscale("log")
    ax.set_xlabel(f"{label} in {unit}" if unit else label)
    ax.set_ylabel("Score")
    fig.colorbar(image, ax=ax, pad=0.02, label="Zero-bias crossings")
    ax.legend(loc="lower right", fontsize="x-small")
    return fig


def _bins(x: Float[np.ndarray, " n"], right: float) -> Float[np.ndarray, " e"]:
    """Edges of 60 bins, from 0 if nothing is below; of one bin for each whole number if there are no more than 90."""
    left = min(0.0, float(x.min()))
    if right - left <= 90 and np.all(x == np.round(x)):
        return np.arange(left, np.floor(right) + 2) - 0.5
    return np.linspace(left, max(right, left + 1e-9), 61)


@styled
def rate_in_groups(found: Stability, overall: Threshold, quantity: str, caption: str = "") -> Figure:
    """The rate of one threshold in each group, with 68% intervals; the line is that of all crossings."""
    fig, ax = axes(caption)
    khz, low, high = (np.asarray([getattr(r, k) for r in found.rates]) for k in ("khz", "low", "high"))
    place = np.arange(len(khz))
    ax.errorbar(place, khz, [khz - low, high - khz], marker="o", markersize=10, linestyle="", color=COLOURS[0],
                elinewidth=2.5, label="in the group")  # fmt: skip
    ax.axhline(overall.achieved_khz, color="0.4", linewidth=2, label=f"all: {significant(overall.achieved_khz, 3)} kHz")
    ax.axhspan(overall.low_khz, overall.high_khz, color="0.4", alpha=0.15, linewidth=0)
    long = sum(map(len, found.names)) > 45
    slanted: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if long else {}
    ax.set_xticks(place, found.names, **slanted)
    ax.tick_params(axis="x", which="minor", bottom=False, top=False)
    ax.set_xlim(-0.6, len(khz) - 0.4)
    ax.set_ylim(0, 1.35 * max(float(high.max()), overall.high_khz))
    chance = "" if found.p_value is None else f", p = {found.p_value:.2g}"
    ax.text(0.03, 0.95, rf"$\chi^2$ / degrees = {found.chi2:.3g} / {found.degrees}{chance}", transform=ax.transAxes,
            va="top", fontsize="small")  # fmt: skip
    ax.set_xlabel(quantity)
    ax.set_ylabel("Rate in kHz")
    ax.legend(loc="upper right", fontsize="x-small")
    return fig
