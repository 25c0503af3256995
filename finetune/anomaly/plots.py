"""Pictures of anomaly scores, whose scale is any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from foundation.plots import axes, line_style, styled

BINS = 60


@styled
def score_histograms(
    samples: Mapping[str, Float[np.ndarray, " _"]], caption: str = "", marks: Sequence[float] = ()
) -> Figure:
    """Distributions of the score, each normalised to 1, the score on a logarithmic scale where it is positive.

    Args:
        samples: name -> scores; what is not finite is left out.
        marks: scores to point at.
    """
    fig, ax = axes(caption)
    finite = {name: values[np.isfinite(values)] for name, values in samples.items()}
    finite = {name: values for name, values in finite.items() if len(values)}
    every = np.concatenate([*finite.values(), np.zeros(0)])
    positive = len(every) > 0 and every.min() > 0 and every.max() / every.min() > 20
    low, high = (every.min(), every.max()) if len(every) else (0.0, 1.0)
    high = high if high > low else low + 1.0
    edges = np.geomspace(low, high, BINS + 1) if positive else np.linspace(low, high, BINS + 1)
    edges[0], edges[-1] = low, high  # what rounding took away
    for i, (name, values) in enumerate(finite.items()):
        count = np.histogram(values, edges)[0]
        style = line_style(i)
        ax.stairs(count / len(values), edges, label=f"{name} ({len(values):,})", linewidth=2.5, **style)
        error = np.sqrt(count) / len(values)
        lower = np.maximum(count / len(values) - error, 1e-12)
        ax.stairs(count / len(values) + error, edges, baseline=lower, fill=True, alpha=0.2, color=style["color"])
    for mark in marks:
        ax.axvline(mark, color="0.4", linewidth=1.0, linestyle=":")
    ax.set(yscale="log", xscale="log" if positive else "linear", xlim=(low, high))
    least = min((1 / len(values) for values in finite.values()), default=1e-3)
    ax.set_ylim(least / 2, 3 * 10 ** (0.35 * max(len(finite), 1) / 2))
    ax.set_xlabel("anomaly score")
    ax.set_ylabel("Fraction of crossings / bin")
    if finite:
        ax.legend(loc="upper right", ncols=2 if len(finite) > 3 else 1, fontsize="small")
    return fig
