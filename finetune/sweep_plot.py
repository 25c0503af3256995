"""The picture of a sweep: a metric against the number of labels, one curve for each start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from finetune.sweep_results import Metric, summary_of
from foundation.plots import COLOURS, LINES, STYLE

MARKS = "osD^vP*X"


def label_curves(
    rows: Sequence[Mapping[str, Any]], metric: Metric, caption: str = "", published: Sequence[Mapping[str, Any]] = ()
) -> Figure:
    """Mean of the seeds, a band of one standard deviation, and every seed as a dot.

    Args:
        rows: with `arm`, `labels`, `seed` and the metric's title.
        published: with `model` and `value`: dotted lines.
    """
    summary = summary_of(rows, metric)
    with matplotlib.rc_context(STYLE):
        fig = Figure()
        ax = fig.add_subplot()
        for i, name in enumerate(dict.fromkeys(record["arm"] for record in summary)):
            here = sorted((r for r in summary if r["arm"] == name), key=lambda r: r["labels"])
            x, mean = (np.array([r[key] for r in here], float) for key in ("labels", "mean"))
            std = np.array([r["std"] or 0.0 for r in here])
            style: dict[str, Any] = {
                "color": COLOURS[i % len(COLOURS)],
                "linestyle": LINES[i // len(COLOURS) % len(LINES)],
            }
            ax.plot(x, mean, marker=MARKS[i % len(MARKS)], markersize=9, label=name, **style)
            ax.fill_between(x, mean - std, mean + std, color=style["color"], alpha=0.18, linewidth=0)
            dots = [(r["labels"], r[metric.title]) for r in rows if r["arm"] == name and r[metric.title] is not None]
            ax.plot(*zip(*dots), ".", color=style["color"], markersize=6, alpha=0.5)
        for row in published:
            ax.axhline(row["value"], color="0.4", linestyle=":", linewidth=1.5)
            ax.annotate(row["model"], (0.99, row["value"]), xycoords=("axes fraction", "data"), fontsize=13, ha="right")
        ax.set_xscale("log")
        counts = sorted({r["labels"] for r in summary})
        ax.set_xticks(counts, [f"{n:,}" for n in counts])
        ax.xaxis.set_minor_formatter(NullFormatter())
        values = [r[metric.title] for r in rows if r[metric.title]] + [row["value"] for row in published]
        if values and min(values) > 0 and max(values) > 8 * min(values):
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.set_xlabel("labelled examples")
        ax.set_ylabel(metric.title.replace("eps_S", r"$\epsilon_S$"))
        ax.set_title("detfm", loc="left", fontweight="bold", fontsize="medium", pad=8)
        ax.set_title(caption, loc="right", fontsize="small", pad=8)
        ax.legend(loc="best")
        return fig
