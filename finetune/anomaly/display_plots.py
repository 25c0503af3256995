"""Where the score of a crossing comes from: its objects in eta and phi (or cells of its image), and their shares."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from finetune.anomaly.display_events import Shown
from foundation.inspect import views
from foundation.inspect.event import kinematics
from foundation.plots import STYLE

COLOUR_MAP = "RdBu_r"
MARKERS = ("o", "s", "^", "D", "P", "v", "X", "h")  # of modalities, in order
NAMED = 5  # objects with their name written beside them
BARS = 14
LABEL = "contribution to the score"
REACH = 5.2  # |eta| of a map


def draw_contributions(shown: Shown) -> Figure:
    """Left: the objects, marker area ~ pt, or the image; right: the contributions, the largest on top."""
    norm = _norm(shown)
    with matplotlib.rc_context(STYLE | {"font.size": 17, "legend.fontsize": 13}):
        figure = Figure(figsize=(17, 7.2), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1))
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        image = next((n for n, m in shown.event.schema.modalities.items() if m.grid is not None), None)
        drawn = _map(left, shown, norm) if image is None else _image(left, shown, image, norm)
        figure.colorbar(drawn, ax=left, label=LABEL, pad=0.02)
        _bars(right, shown, norm)
        figure.suptitle(f"$\\bf{{detfm}}$  {shown.title}", fontsize="medium", ha="left", x=0.01)
    return figure


def _norm(shown: Shown) -> Normalize:
    every = np.concatenate([*shown.contributions.values(), np.zeros(1)])
    most = max(float(np.abs(every).max()), 1e-9)
    return TwoSlopeNorm(0.0, -most, most)


def _map(ax: Axes, shown: Shown, norm: Normalize) -> Any:
    ax.set(xlim=(-REACH, REACH), ylim=(-np.pi, np.pi), xlabel=r"$\eta$", ylabel=r"$\phi$ [rad]")
    ax.set_yticks(*views.PI_TICKS)
    ax.minorticks_off()
    for edge in (-views.ENDCAP_END, -views.BARREL_END, views.BARREL_END, views.ENDCAP_END):
        ax.axvline(edge, color="0.88", linewidth=1, zorder=0)
    drawn: Any = matplotlib.cm.ScalarMappable(norm, COLOUR_MAP)
    entries, objects = [], shown.objects()
    named = [label for label, *_, given in sorted(objects, key=lambda each: -abs(each[3]))[:NAMED]]
    largest = max(
        (float(kinematics(shown.event.schema.modalities[n], v).get("pt", np.ones(len(v))).max(initial=0))
         for n, v in shown.event.tokens.items() if views.kind_of(shown.event, n) == "map"), default=1.0,
    )  # fmt: skip
    marks = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(shown.event.tokens)}
    for label, name, values, given in reversed(objects):  # the largest contribution on top
        found = kinematics(shown.event.schema.modalities[name], values[None])
        if "phi" not in found:
            continue
        phi, colour = float(found["phi"][0]), drawn.to_rgba(given)
        if "eta" not in found:
            ax.axhline(phi, color="0.6", linewidth=5, zorder=1)
            ax.axhline(phi, color=colour, linewidth=3, zorder=1)
            ax.text(0.98 * REACH, phi, label, ha="right", va="bottom", fontsize="x-small")
            continue
        eta, pt = float(found["eta"][0]), float(found.get("pt", np.ones(1))[0])
        area = 40 + 1100 * pt / max(largest, 1e-9)
        ax.scatter(
            [eta], [phi], [area], color=[colour], marker=marks[name], edgecolors="0.25", linewidths=1.2, alpha=0.9
        )
        if label in named:
            right = eta < 0.6 * REACH
            ax.annotate(label, (eta, phi), (14 if right else -14, 8), textcoords="offset points", fontsize="x-small",
                        ha="left" if right else "right")  # fmt: skip
    for name, values in shown.event.tokens.items():
        if len(values) and views.kind_of(shown.event, name) == "map":
            entries.append(Line2D([], [], marker=marks[name], color="0.6", linestyle="", markersize=10, label=name))
    if entries:
        ax.legend(handles=entries, loc="upper left", ncols=len(entries), frameon=True, handletextpad=0.1,
                  columnspacing=0.9, borderpad=0.3)  # fmt: skip
    views.title(ax, "objects", rf"area ~ $p_{{T}}$, largest {largest:.4g} GeV")
    return drawn


def _image(ax: Axes, shown: Shown, name: str, norm: Normalize) -> Any:
    grid = shown.event.schema.modalities[name].grid
    assert grid is not None
    cells = shown.contributions[name].reshape(grid.shape)
    drawn = ax.imshow(cells, origin="lower", aspect="auto", cmap=COLOUR_MAP, norm=norm, interpolation="nearest")
    ax.set(xlabel="Column", ylabel="Row")
    views.title(ax, name, "score less the score without the cell")
    return drawn


def _bars(ax: Axes, shown: Shown, norm: Normalize) -> None:
    objects = shown.objects()
    if not objects:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no object at all", ha="center", va="center")
        return
    order = sorted(objects, key=lambda each: -abs(each[3]))[:BARS]
    chosen = sorted(order, key=lambda each: each[3])
    colours = matplotlib.colormaps[COLOUR_MAP](norm([each[3] for each in chosen]))
    places = np.arange(len(chosen))
    ax.barh(places, [each[3] for each in chosen], color=colours, edgecolor="0.4", linewidth=0.8)
    ax.set_yticks(
        places, [f"{label}{_size(shown, name, values)}" for label, name, values, _ in chosen], fontsize="small"
    )
    ax.minorticks_off()
    ax.axvline(0, color="0.3", linewidth=1)
    ax.set_xlabel(LABEL)
    others = len(objects) - len(chosen)
    views.title(ax, "what made it so", f"{others} smaller ones not shown" if others else f"all {len(objects)} objects")


def _size(shown: Shown, name: str, values: np.ndarray) -> str:
    """`  85 GeV`."""
    found = kinematics(shown.event.schema.modalities[name], values[None])
    size = views.size_of(found)
    if size:
        return f"  {found[size][0]:.4g} GeV"
    first, feature = next(iter(shown.event.schema.modalities[name].features.items()))
    return f"  {first} {values[0]:.4g} {feature.unit}".rstrip()
