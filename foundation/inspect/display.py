"""Event display: one picture of one example, every modality in the view that suits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from foundation.inspect import views
from foundation.inspect.event import Event, kinematics, run_event
from foundation.inspect.transverse import has_transverse, transverse
from foundation.plots import STYLE

MOST_COLUMNS = 3
PANEL = (7.4, 6.2)  # inches
LETTERS = 68  # of the headline, per column of panels
MOST_GLOBALS = 3
SEPARATOR = "   |   "
Panel = Callable[[Axes], Any]


def draw(event: Event) -> Figure:
    """The event display.

    eta-phi maps (marker area ~ pt or energy, colour by time, energy, charge or kind of particle), images of grids, x-y
    and r-z views of hits, waveforms as lines, and, where several modalities surround the beam, the transverse view.
    """
    with matplotlib.rc_context(STYLE | {"font.size": 17, "legend.fontsize": 15}):
        panels = _panels(event)
        columns = min(len(panels), MOST_COLUMNS if len(panels) != 4 else 2)
        rows = -(-len(panels) // columns)
        height = PANEL[1] * rows + 1.2
        layout = ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12)
        figure = Figure(figsize=(PANEL[0] * columns, height), layout=layout)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, panel in zip(axes, panels):
            shown = panel(ax)
            if shown is not None:
                _colour_bar(figure, ax, *shown)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        figure.suptitle(headline(event, int(LETTERS * columns)), fontsize="medium", ha="left", x=0.01)
    return figure


def _colour_bar(figure: Figure, ax: Axes, drawn: Any, label: str) -> None:
    bar = figure.colorbar(drawn, ax=ax, label=label, pad=0.02)
    if isinstance(drawn.norm, LogNorm):
        low, high = drawn.get_clim()
        few = high < 100 * low
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())


def headline(event: Event, width: int) -> str:
    """`detfm`, what it is, run and event, labels, leading globals; in lines of about `width` letters."""
    parts = [event.where, run_event(event.observers)]
    parts += [f"{_spaced(name)}: {value}" for name, value in event.labels.items()]
    for (name, feature), value in list(zip(event.schema.globals.items(), event.globals))[:MOST_GLOBALS]:
        parts.append(f"{_spaced(name)} {value:.4g} {feature.unit}".strip())
    for name, values in event.tokens.items():
        if len(values) and views.kind_of(event, name) == "text":
            features = event.schema.modalities[name].features
            parts.append(f"{_spaced(name)}: {', '.join(f'{f} {v:.4g}' for f, v in zip(features, values[0]))}")
    empty = [name for name, values in event.tokens.items() if not len(values)]
    parts += [f"no {', '.join(empty)}"] if empty else []
    text = f"$\\bf{{detfm}}$  {event.schema.name}"
    line = len(event.schema.name) + 8
    for part in filter(None, parts):
        line += len(part) + len(SEPARATOR)
        text += f"\n{part}" if line > width else f"{SEPARATOR}{part}"
        line = len(part) if line > width else line
    return text


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def missing(event: Event) -> dict[str, tuple[float, float]]:
    """Name -> (pt, phi) of what has a direction around the beam only: missing transverse momentum."""
    found: dict[str, tuple[float, float]] = {}
    for name, values in event.tokens.items():
        if views.kind_of(event, name) == "arrow" and len(values):
            here = kinematics(event.schema.modalities[name], values)
            found[name] = (float(here[views.size_of(here)][0]), float(here["phi"][0]))
    example = dict(zip(event.schema.globals, event.globals))
    for name, value in example.items():
        base = name.removesuffix("_pt").removesuffix("_et")
        phi = next((example[n] for n in (f"{base}_phi", f"{base}phi") if n in example and n != name), None)
        if phi is not None and "met" in base.lower() and base not in found and name != f"{base}_phi":
            found[base] = (float(value), float((phi + np.pi) % (2 * np.pi) - np.pi))
    return {name: (size, phi) for name, (size, phi) in found.items() if size}  # nothing has no direction


def _panels(event: Event) -> list[Panel]:
    arrows = missing(event)
    panels: list[Panel] = []
    if has_transverse(event):
        panels.append(lambda ax: transverse(ax, event, arrows))
    for name, values in event.tokens.items():
        panels += _views(event, name, arrows) if len(values) else []
    return panels or [_nothing]


def _nothing(ax: Axes) -> None:
    ax.set_axis_off()
    ax.text(0.5, 0.5, "no token in any modality", ha="center", va="center")


def _views(event: Event, name: str, arrows: dict[str, tuple[float, float]]) -> list[Panel]:
    kind = views.kind_of(event, name)
    if kind == "image":
        return [lambda ax: views.image(ax, event, name)]
    if kind in ("map", "relative"):
        return [lambda ax: views.eta_phi(ax, event, name, arrows), *_space(event, name)]
    if kind == "space":
        return _space(event, name)
    return [lambda ax: views.wave(ax, event, name)] if kind == "wave" else []


def _space(event: Event, name: str) -> list[Panel]:
    found = event.schema.modalities[name].coordinates
    if not {"x", "y", "z"} <= found.keys():
        return [lambda ax: views.space(ax, event, name, "x", "y")] if {"x", "y"} <= found.keys() else []
    return [
        lambda ax: views.space(ax, event, name, "x", "y"),
        lambda ax: views.space(ax, event, name, "z", "r"),
    ]
