"""`detfm inspect STORE --augment`: one event before and after each augmentation, as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from foundation.errors import ConfigError
from foundation.inspect.display import headline
from foundation.inspect.event import kinematics, store_event
from foundation.inspect.views import PI_TICKS, SYMBOLS, size_of, unit_of
from foundation.plots import COLOURS, STYLE, save
from foundation.schema import DetectorSchema, Modality
from foundation.store import Store
from pretrain.augment.columns import is_image
from pretrain.augment.compare import Look, changes_of, copies, pair_of
from pretrain.augment.follow import missing_globals, missing_modalities

PANEL = (3.4, 3.5)  # inches
ACROSS = 2  # pairs of panels
LARGEST, SMALLEST = 300.0, 1.0  # marker areas, points squared
CROWDED = 80  # tokens from which the markers shrink


def picture(path: str | Path, number: int, out: str | Path, *, split: str = "", cfg: str | Path = "") -> Path:
    """Draws row `number` of a store's split before and after each augmentation that `cfg` switches on, as PNG.

    Args:
        cfg: preset or YAML file, of `detfm pretrain` or of the augmentations alone; without it every augmentation that
            the schema can carry is drawn, the anomalous ones too.

    Raises:
        DataError: no such store or row.
        ConfigError: the settings are refused, switch nothing on, or the schema has nothing to draw.
    """
    store = Store.open(path)
    event = store_event(store, number, split)
    changes = changes_of(store.schema, cfg)
    panel = panel_of(store.schema)
    batch = copies(store, number, split or next(s for s in store.splits if store.length(s)))
    pairs = {name: pair_of(batch, store.schema, change) for name, change in changes.items()}
    save(draw(pairs, store.schema, panel, headline(event, 52 * min(ACROSS, len(pairs)))), Path(out))
    return Path(out)


class Panel(NamedTuple):
    """What the panels show: `map` (eta, phi), `space` (x, y) or `image`, of these modalities."""

    kind: str
    names: list[str]


def panel_of(schema: DetectorSchema) -> Panel:
    """Raises ConfigError: no modality has a place."""
    kinds: dict[str, Callable[[Modality], bool]] = {
        "map": lambda m: {"eta", "phi"} <= m.coordinates.keys() or {"px", "py", "pz"} <= m.coordinates.keys(),
        "image": is_image,
        "space": lambda m: {"x", "y"} <= m.coordinates.keys(),
    }
    for kind, fits in kinds.items():
        names = [name for name, modality in schema.modalities.items() if fits(modality)]
        if names:
            return Panel(kind, names)
    raise ConfigError(f"schema '{schema.name}' has no modality with eta and phi, x and y, or a grid: nothing to draw")


def draw(pairs: dict[str, tuple[Look, Look]], schema: DetectorSchema, panel: Panel, head: str) -> Figure:
    """A grid of pairs, before and after; what is in both is pale."""
    across = min(ACROSS, len(pairs))
    lines = -(-len(pairs) // across)
    with matplotlib.rc_context(STYLE | {"font.size": 14, "axes.linewidth": 1.0, "xtick.major.size": 5,
                                        "ytick.major.size": 5}):  # fmt: skip
        size = (PANEL[0] * 2 * across, PANEL[1] * lines + 1.1)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.07))
        axes = figure.subplots(lines, 2 * across, squeeze=False)
        for ax in axes.ravel()[2 * len(pairs) :]:
            ax.set_axis_off()
        for (name, pair), (before, after) in zip(pairs.items(), axes.reshape(-1, 2)):
            _draw_pair(before, after, name, pair, schema, panel)
        if panel.kind != "image":
            figure.legend(
                handles=_legend(schema, panel), loc="outside lower center", ncols=6, frameon=False, fontsize=13
            )
        figure.suptitle(head, fontsize="medium", ha="left", x=0.01)
    return figure


def _legend(schema: DetectorSchema, panel: Panel) -> list[Line2D]:
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 9}
    entries = [Line2D([], [], color=_colour(panel, name), label=name, **dot) for name in panel.names]
    entries.append(Line2D([], [], color="0.8", label="in both; area ~ $p_T^{1/2}$", **dot))
    if missing_globals(schema):
        entries.append(Line2D([], [], color=COLOURS[3], linestyle="--", label="missing $p_T$"))
    return entries


def _colour(panel: Panel, name: str) -> str:
    return COLOURS[(0, 2, 1, 3, 5, 6, 7, 8, 9)[panel.names.index(name) % 9]]


def _draw_pair(
    before: Axes, after: Axes, name: str, pair: tuple[Look, Look], schema: DetectorSchema, panel: Panel
) -> None:
    for ax, look, side in zip((before, after), pair, ("before", "after")):
        ax.set_title(name.replace("_", " ") if side == "before" else "", loc="left", fontweight="bold", fontsize=12)
        ax.set_title(side, loc="right", fontsize=12)
        if panel.kind == "image":
            _image(ax, look, pair, schema.modalities[panel.names[0]], panel.names[0])
        else:
            _scatter(ax, look, pair, schema, panel)
        ax.text(0.0, -0.13, summary(look, schema, panel), transform=ax.transAxes, va="top", fontsize=11)
        ax.minorticks_off()
    after.set_yticklabels([])
    after.set_ylabel("")


def summary(look: Look, schema: DetectorSchema, panel: Panel) -> str:
    """Number of tokens, sum of pt or energy, missing pt, place along the beam: what the eye cannot add up."""
    count = sum(len(look.tokens[n]) for n in panel.names if schema.modalities[n].grid is None)
    text = [f"{count:,} tokens"] if count else []
    sums: dict[str, float] = {}
    for name in panel.names:
        modality = schema.modalities[name]
        found = kinematics(modality, look.tokens[name])
        size = size_of(found)
        if size:
            sums[size] = sums.get(size, 0.0) + float(found[size].sum())
        if "z" in found and "x" not in found and len(found["z"]):
            text.append(f"mean {modality.coordinates['z']} {found['z'].mean():.1f} {unit_of(modality, 'z')}")
    text[1:1] = [f"$\\Sigma$ {SYMBOLS[size]} {total:,.4g} GeV" for size, total in sums.items()]
    for name in missing_globals(schema):
        text.append(f"{name} {look.globals[list(schema.globals).index(name)]:.4g} GeV")
    for name in missing_modalities(schema):
        modality = schema.modalities[name]
        text += [f"{name} {v[modality.index(modality.coordinates['pt'])]:.4g} GeV" for v in look.tokens[name][:1]]
    return "\n".join(text)


def _scatter(ax: Axes, look: Look, pair: tuple[Look, Look], schema: DetectorSchema, panel: Panel) -> None:
    x, y = ("eta", "phi") if panel.kind == "map" else ("x", "y")
    reach, most = 0.1, dict.fromkeys(panel.names, 1e-9)
    relative = all(schema.modalities[name].relative for name in panel.names)
    for name in panel.names:
        for each in pair:
            found = kinematics(schema.modalities[name], each.tokens[name])
            size = size_of(found)
            most[name] = max(most[name], np.abs(found[size]).max(initial=0) if size else 1.0)
            reach = max(reach, np.abs(found[x]).max(initial=0), *([] if panel.kind == "map" and not relative else
                                                                  [np.abs(found[y]).max(initial=0)]))  # fmt: skip
    most = dict.fromkeys(panel.names, max(most.values()))
    tokens = max(sum(len(each.tokens[name]) for name in panel.names) for each in pair)
    largest = LARGEST * min(1.0, CROWDED / max(tokens, 1))
    for name in panel.names:
        found = kinematics(schema.modalities[name], look.tokens[name])
        size, new = size_of(found), look.other[name]
        areas = SMALLEST + largest * (np.sqrt(np.abs(found[size]) / most[name]) if size else np.full(len(new), 0.2))
        for which, colour, zorder in ((~new, "0.8", 2), (new, _colour(panel, name), 3)):
            order = np.argsort(-areas[which])
            ax.scatter(found[x][which][order], found[y][which][order], areas[which][order], alpha=0.8, linewidths=0.5,
                       edgecolors="white", color=colour, zorder=zorder)  # fmt: skip
    _frame(ax, reach, relative, panel)
    for azimuth in missing_globals(schema).values():
        phi = look.globals[list(schema.globals).index(azimuth)]
        ax.axhline((phi + np.pi) % (2 * np.pi) - np.pi, color=COLOURS[3], linestyle="--", linewidth=1.4, zorder=1)


def _frame(ax: Axes, reach: float, relative: bool, panel: Panel) -> None:
    reach = 1.15 * reach
    ax.set_xlim(-reach, reach)
    if panel.kind == "map" and not relative:
        ax.set_ylim(-np.pi, np.pi)
        ax.set_yticks(*PI_TICKS)
        ax.set_xlabel(r"$\eta$")
        ax.set_ylabel(r"$\phi$ [rad]")
        return
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    if panel.kind == "map":
        ax.axhline(0, color="0.9", linewidth=1, zorder=0)
        ax.axvline(0, color="0.9", linewidth=1, zorder=0)
    ax.set_xlabel(r"$\Delta\eta$" if relative else "x [mm]")
    ax.set_ylabel(r"$\Delta\phi$ [rad]" if relative else "y [mm]")


def _image(ax: Axes, look: Look, pair: tuple[Look, Look], modality: Modality, name: str) -> None:
    assert modality.grid is not None
    column = next((modality.index(modality.coordinates[c]) for c in ("pt", "energy") if c in modality.coordinates), 0)
    top = max(1e-6, *(float(each.tokens[name][:, column].max(initial=0)) for each in pair))
    cells = look.tokens[name][:, column].reshape(modality.grid.shape) if len(look.tokens[name]) else np.zeros((1, 1))
    ax.imshow(np.sqrt(np.maximum(cells, 0)), origin="lower", aspect="auto", cmap="Blues", vmin=0, vmax=np.sqrt(top))
    ax.set_xlabel("Column")
    ax.set_ylabel("Row")
