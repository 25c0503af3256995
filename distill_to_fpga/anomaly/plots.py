"""Pictures of a student beside its teacher."""

from __future__ import annotations

from pathlib import Path

from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from distill_to_fpga.anomaly.comparison import Scored
from distill_to_fpga.anomaly.transform import ScoreTransform
from foundation.metrics import roc
from foundation.plots import axes, line_style, save, styled

FEWEST = 1e-4  # share of the normal at which the curves of the second picture begin


def draw_scores(folder: Path, scored: Scored, transform: ScoreTransform, caption: str) -> None:
    """`student_teacher.png`: score against score; `efficiency_kept.png`: what both keep of the signals."""
    save(against_teacher(scored, transform, caption), folder / "student_teacher.png")
    if scored.signals:
        save(efficiency_curves(scored, caption), folder / "efficiency_kept.png")


@styled
def against_teacher(scored: Scored, transform: ScoreTransform, caption: str) -> Figure:
    """How often which pair of scores occurs, of normal crossings; the teacher's as the student was taught it."""
    fig, ax = axes(caption)
    x, y = transform.apply(scored.teacher[scored.normal]), scored.student[scored.normal]
    drawn = ax.hist2d(x, y, bins=80, norm=LogNorm(), cmap="viridis")
    fig.colorbar(drawn[3], ax=ax, label="normal crossings")
    ax.set_xlabel("teacher's score, transformed")
    ax.set_ylabel("student's score")
    return fig


@styled
def efficiency_curves(scored: Scored, caption: str) -> Figure:
    """Signal efficiency against the share of normal crossings that passes; the teacher's dotted."""
    fig, ax = axes(caption)
    for number, (name, chosen) in enumerate(scored.signals.items()):
        for scores, dotted in ((scored.student, False), (scored.teacher, True)):
            used = chosen | scored.normal
            curve = roc(chosen[used], scores[used], scored.weights[used])
            style = line_style(number) | ({"linestyle": ":"} if dotted else {})
            ax.plot(
                curve.background_efficiency,
                curve.signal_efficiency,
                **style,
                label=f"{name}, teacher" if dotted else name,
            )
    lowest = max(FEWEST, 1 / max(int(scored.normal.sum()), 1))
    ax.set(xscale="log", xlim=(lowest, 1), ylim=(0, 1.02))
    ax.set_xlabel("Share of normal crossings that passes")
    ax.set_ylabel("Signal efficiency")
    ax.legend(loc="lower right", fontsize="x-small")
    return fig
