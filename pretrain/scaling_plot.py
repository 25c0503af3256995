"""The pictures of a scaling sweep. Axes: P points."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from foundation.plots import COLOURS, STYLE
from pretrain.scaling_fit import Fit

MARKS = "osD^vP*X"


def scaling_curves(
    parameters: Float[np.ndarray, " P"],
    jets: Float[np.ndarray, " P"],
    flops: Float[np.ndarray, " P"],
    loss: Float[np.ndarray, " P"],
    fit: Fit,
    budgets: Sequence[float],
) -> Figure:
    """Loss against parameters, jets and FLOPs: points with the law through them; at the right the least loss that a
    budget can buy, with its 68% band and the budgets asked for."""
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(22.0, 7.5))
        left, middle, right = fig.subplots(1, 3, sharey=True)
        _against(left, parameters, jets, loss, lambda n, d: fit.law.loss(n, d), "jets")
        _against(middle, jets, parameters, loss, lambda d, n: fit.law.loss(n, d), "parameters")
        _budget(right, parameters, flops, loss, fit, budgets)
        for ax, name in zip((left, middle, right), ("parameters", "jets seen", "FLOPs"), strict=True):
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xlabel(name)
            ax.yaxis.set_major_locator(MaxNLocator(6))
            ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            ax.yaxis.set_minor_formatter(NullFormatter())
        left.set_ylabel("validation loss")
        left.set_title("detfm", loc="left", fontweight="bold")
        right.set_title(rf"$\alpha$ = {fit.law.alpha:.2f}, $\beta$ = {fit.law.beta:.2f}", loc="right", fontsize=20)
        return fig


def _against(ax: Axes, x: np.ndarray, other: np.ndarray, loss: np.ndarray, law: object, name: str) -> None:
    """Points and law along `x`, one colour for each value of `other`."""
    smooth = np.geomspace(x.min() / 1.3, x.max() * 1.3, 100)
    for i, value in enumerate(np.unique(other)):
        here, colour = other == value, COLOURS[i % len(COLOURS)]
        ax.plot(x[here], loss[here], MARKS[i % len(MARKS)], color=colour, markersize=9, label=f"{_short(value)} {name}")
        ax.plot(smooth, law(smooth, value), color=colour, linewidth=1.5)  # type: ignore[operator]
    ax.legend(fontsize=15)


def _budget(
    ax: Axes, parameters: np.ndarray, flops: np.ndarray, loss: np.ndarray, fit: Fit, budgets: Sequence[float]
) -> None:
    for i, value in enumerate(np.unique(parameters)):
        here = parameters == value
        ax.plot(flops[here], loss[here], MARKS[i % len(MARKS)], color=COLOURS[i % len(COLOURS)], markersize=9)
    smooth = np.geomspace(flops.min(), max([*budgets, flops.max()]), 100)
    ax.plot(smooth, [fit.law.loss(*fit.law.best(c)) for c in smooth], "k", label="best size for each budget")
    bands = np.array([[law.loss(*law.best(c)) for c in smooth] for law in fit.others])
    ax.fill_between(smooth, *np.percentile(bands, [16, 84], axis=0), color="k", alpha=0.15, linewidth=0)
    for i, budget in enumerate(budgets):
        size, jets = fit.law.best(budget)
        text = f"{_short(size)} parameters,\n{_short(jets)} jets"
        ax.plot([budget], [fit.law.loss(size, jets)], "k*", markersize=20, label=text if i < 3 else None)
    ax.legend(fontsize=15)


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"
