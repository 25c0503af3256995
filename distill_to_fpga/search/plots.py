"""The picture of a search: one objective against another, every trial a mark, the front a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill_to_fpga.search.measures import MEASURES
from foundation.plots import COLOURS, axes, styled

MARKS = "osD^vP*X"
LOGARITHMIC = ("luts", "ebops", "weight_bits", "nonzero_weights", "energy_pj")
KIND = "student.kind"


@styled
def front_picture(
    records: Sequence[Mapping[str, Any]],
    front: set[int],
    names: tuple[str, str],
    caption: str = "",
    teacher: Mapping[str, float] | None = None,
) -> Figure:
    """Trials by kind of student; those of the front of all objectives are filled and bear their number.

    Args:
        records: of trials; those that failed are left out.
        front: numbers of the trials that no other beats.
        names: figures of the horizontal and the vertical axis.
        teacher: figures of the teacher: a dotted line, where it has that of the vertical axis.
    """
    fig, ax = axes(caption)
    done = [record for record in records if not record["error"]]
    kinds = list(dict.fromkeys(record["settings"].get(KIND, "student") for record in done))
    for i, kind in enumerate(kinds):
        style: dict[str, Any] = {"marker": MARKS[i % len(MARKS)], "color": COLOURS[i % len(COLOURS)]}
        of_kind = [record for record in done if record["settings"].get(KIND, "student") == kind]
        for best in (False, True):
            points = [_point(r, names) for r in of_kind if (r["number"] in front) == best]
            fill = {"markersize": 11} if best else {"markersize": 8, "markerfacecolor": "none", "alpha": 0.6}
            if points:
                ax.plot(*zip(*points), linestyle="", **style, **fill)
        ax.plot([], [], linestyle="", label=kind, markersize=11, **style)
    _draw_front(ax, [record for record in done if record["number"] in front], names)
    if teacher and names[1] in teacher:
        ax.axhline(teacher[names[1]], color="0.4", linestyle=":", linewidth=1.5, label="teacher")
    if names[0] in LOGARITHMIC and done:
        ax.set_xscale("log")
    ax.set_xlabel(MEASURES[names[0]].text)
    ax.set_ylabel(f"{MEASURES[names[1]].text} (val)")
    ax.margins(0.08)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="best")
    return fig


def _point(record: Mapping[str, Any], names: tuple[str, str]) -> tuple[float, float]:
    return record["figures"][names[0]], record["figures"][names[1]]


def _draw_front(ax: Axes, front: Sequence[Mapping[str, Any]], names: tuple[str, str]) -> None:
    """Steps through the front, and the numbers of its trials."""
    points = sorted((*_point(record, names), record["number"]) for record in front)
    ax.step([p[0] for p in points], [p[1] for p in points], where="post", color="0.3", linewidth=1.2, zorder=0)
    for x, y, number in points:
        ax.annotate(str(number), (x, y), xytext=(6, 6), textcoords="offset points", fontsize=14)
