"""Generated against real: distances of the distributions of mass, pt and multiplicity, and their picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.stats import ks_2samp, wasserstein_distance

from foundation.plots import COLOURS, STYLE

HALVINGS = 20  # of the real sample, for the yardstick
NAMES = {"multiplicity": "multiplicity", "pt": "$p_T$ [GeV]", "mass": "mass [GeV]"}


def distances(
    generated: Float[np.ndarray, " n"], real: Float[np.ndarray, " m"], restored: Float[np.ndarray, " m"], seed: int
) -> dict[str, dict[str, float]]:
    """How far samples are apart: Wasserstein-1 (in the unit of the values) and the Kolmogorov-Smirnov statistic.

    Args:
        restored: the real examples after a round trip through the tokenizer, the best that its codes allow.

    Returns:
        `generated` and `restored`, each against `real`; `halves`: the median distance between two random halves of
        `real`, below which a distance means nothing (it is of m / 2 examples against m / 2).
    """
    rng, halves = np.random.default_rng(seed), []
    for _ in range(HALVINGS):
        mixed = rng.permutation(real)
        halves.append(_distance(mixed[: len(real) // 2], mixed[len(real) // 2 :]))
    typical = {key: float(np.median([half[key] for half in halves])) for key in halves[0]}
    return {"generated": _distance(generated, real), "restored": _distance(restored, real), "halves": typical}


def _distance(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " m"]) -> dict[str, float]:
    return {
        "wasserstein": float(wasserstein_distance(one, other)),
        "ks": float(ks_2samp(one, other, method="asymp").statistic),
    }


def picture(samples: Mapping[str, Mapping[str, Float[np.ndarray, " _"]]], caption: str = "", bins: int = 30) -> Figure:
    """Each observable of several samples, normalised, the first one (real) filled; statistical errors on the others.

    Args:
        samples: name -> observable -> values. The range is that of the central 99.5% of the first sample.
    """
    import matplotlib

    first = next(iter(samples))
    observables = list(samples[first])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0 * len(observables), 6.5))
        for i, name in enumerate(observables):
            ax = figure.add_subplot(1, len(observables), i + 1)
            low, high = np.quantile(samples[first][name], [0.0025, 0.9975])
            modality, _, quantity = name.rpartition("/")
            if quantity == "multiplicity":
                step = max(1, round((high - low) / bins))
                edges = np.arange(low - 0.5, high + step + 0.5, step)
            else:
                edges = np.linspace(low, max(high, low + 1e-3), bins + 1)
            for k, sample in enumerate(samples):
                values = np.clip(samples[sample][name], edges[0], edges[-1])  # the outermost bins hold what is beyond
                count = np.histogram(values, edges)[0]
                height, error = count / len(values), np.sqrt(count) / len(values)
                label = f"{sample} ({len(values):,})"
                if sample == first:
                    ax.stairs(height, edges, fill=True, color="#d9dce0", label=label)
                    continue
                colour = COLOURS[k - 1]
                ax.stairs(height, edges, color=colour, linewidth=2.5, label=label, linestyle=("-", "--")[(k - 1) % 2])
                ax.errorbar((edges[1:] + edges[:-1]) / 2, height, error, fmt="none", color=colour, elinewidth=1)
            ax.set_xlabel(f"{modality} {NAMES[quantity]}")
            ax.set_ylabel("Fraction of examples")
            ax.set_xlim(edges[0], edges[-1])
            ax.set_ylim(0, 1.35 * ax.get_ylim()[1])
            if i == 0:
                ax.set_title("detfm", loc="left", fontweight="bold", fontsize="medium", pad=8)
            if i == len(observables) - 1:
                ax.set_title(caption, loc="right", fontsize="small", pad=8)
            ax.legend(loc="upper right", fontsize=15)
        figure.align_labels()
    return figure
