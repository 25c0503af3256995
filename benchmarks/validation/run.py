"""A run with changing conditions: what jets show of each change, and the truth of it."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np

from foundation.simulate import SimulateConfig
from foundation.simulate.conditions_config import Change, ConditionsConfig
from validation.draw import Picture
from validation.made import sample

SECONDS = 3600.0
CHANGES = (
    Change("hcal_gain", 0.3, end=SECONDS, profile="ramp"),
    Change("track_loss", 0.3, start=900.0, end=1800.0),
    Change("beam_spot_x", 0.2, start=1800.0, end=SECONDS, profile="ramp"),
)


def study(folder: Path | None, cache: Path, jets: int) -> dict[str, float]:
    """Tracks, neutral energy and impact parameters along the run, beside the values that were set."""
    cfg = SimulateConfig(
        classes=("label_QCD",),
        jets_per_class=jets,
        seed=51,
        substructure=False,
        conditions=ConditionsConfig(SECONDS, CHANGES),
    )
    rows = sample("run", cfg, cache)
    time = ak.to_numpy(rows.time)
    edges = np.linspace(0, SECONDS, 13)
    period = np.digitize(time, edges) - 1
    charged = rows.part_isChargedHadron == 1
    pt = np.hypot(rows.part_px, rows.part_py)
    neutral = ak.to_numpy(ak.sum(pt[rows.part_isNeutralHadron == 1], axis=1) / ak.sum(pt, axis=1))
    tracks = ak.to_numpy(ak.sum(charged, axis=1) / rows.jet_nparticles)
    shift = _beam_spot(rows, charged, period, len(edges) - 1)
    series = [
        _means(tracks, period, len(edges) - 1),
        _means(neutral, period, len(edges) - 1),
        shift,
    ]
    texts = (
        "Charged hadrons / constituents",
        r"Neutral hadrons' share of $p_\mathrm{T}$",
        r"Beam spot $x$ from $d_0$ [mm]",
    )
    truths = ("condition_track_loss", "condition_hcal_gain", "condition_beam_spot_x")
    names = ("Lost, set", "Gain$-$1, set", "$x$ set [mm]")
    picture = Picture("One run of QCD jets", columns=3, ratio=True, width=20, height=8)
    minutes, half = (edges[1:] + edges[:-1]) / 120, (edges[1] - edges[0]) / 120
    for column, ((value, error), text, truth, name) in enumerate(zip(series, texts, truths, names)):
        picture.points(minutes, value, error, "measured", (0, 2, 3)[column], column, width=half)
        picture.ratios[column].plot(time / 60, ak.to_numpy(rows[truth]), color="0.2", linewidth=2)
        picture.label("Time [min]", text, column, name, (-0.03, 0.35))
        picture.axes[column].set_xlim(0, SECONDS / 60)
    span = [(np.min(value - error), np.max(value + error)) for value, error in series]
    for ax, (low, high) in zip(picture.axes, span):
        ax.set_ylim(low - 0.2 * (high - low), high + 0.2 * (high - low))
    picture.save(folder, "conditions")
    inside = (time > 900) & (time < 1800)
    before, after = (neutral[period == k].mean() for k in (0, len(edges) - 2))
    return {
        "run_tracks_with_loss": float(tracks[inside].mean() / tracks[(time < 900)].mean()),
        "run_neutral_gain": float(after / before),
        "run_beam_spot_mm": float(shift[0][-1]),
        "run_time_ordered": float((np.diff(time) >= 0).all()),
    }


def _means(values: np.ndarray, period: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    parts = [values[period == k] for k in range(count)]
    return np.array([p.mean() for p in parts]), np.array([p.std() / np.sqrt(len(p)) for p in parts])


def _beam_spot(rows: ak.Array, charged: ak.Array, period: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The beam spot's x from d0 = -x sin(phi) of prompt tracks: least squares in every period."""
    phi = np.arctan2(rows.part_py, rows.part_px)[charged]
    d0 = rows.part_d0val[charged]
    found, errors = [], []
    for k in range(count):
        sine = -np.sin(ak.to_numpy(ak.flatten(phi[period == k])))
        value = ak.to_numpy(ak.flatten(d0[period == k]))
        core = np.abs(value) < 0.5  # mm; the rest is from decays
        x = np.sum(sine * value * core) / np.sum(sine**2 * core)
        found.append(x)
        errors.append(np.std((value - x * sine)[core]) / np.sqrt(np.sum(sine**2 * core)))
    return np.array(found), np.array(errors)
