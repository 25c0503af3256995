"""Whole events: pile-up density against the mean, and trigger objects beside those of CMS."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import h5py
import numpy as np

from foundation.simulate import SimulateConfig
from foundation.simulate.events_config import EventsConfig, PileupConfig
from validation.draw import Picture, histogram
from validation.made import sample
from validation.measure import ks, ks_noise

SHARED = Path(__file__).parents[3] / "shared" / "data" / "l1ugt" / "cms_l1_ugt.h5"
MEANS = (10, 50, 100, 150, 200)
LINEAR_FROM = 50
POOL, SEED = 400, 61  # one pool file serves all samples of one seed
BEAM_ENERGY = 13_600
# Quantity -> text, edges. GeV; from the edge of zero suppression on.
SHAPES = {
    "jet": (r"Leading jet $p_\mathrm{T}$ [GeV]", np.arange(0, 241, 12)),
    "jets": (r"Jets, $p_\mathrm{T}$ > 20 GeV", np.arange(-0.5, 13, 1)),
    "eg": (r"Leading e/$\gamma$ $p_\mathrm{T}$ [GeV]", np.arange(0, 121, 6)),
    "met": (r"$p_\mathrm{T}^\mathrm{miss}$ [GeV]", np.arange(0, 161, 8)),
}


def density(folder: Path | None, cache: Path, events: int) -> dict[str, float]:
    """rho of zero-bias crossings at several means: a line once most towers are above zero suppression."""
    means, values, errors = [], [], []
    for mean in MEANS:
        rows = sample(f"rho_{mean}", _config({"zero_bias": events}, mean, cache), cache)
        rho = ak.to_numpy(rows.rho)
        means.append(float(mean))
        values.append(rho.mean())
        errors.append(max(rho.std(), 1e-3) / np.sqrt(len(rho)))
    x, y, error = (np.array(column) for column in (means, values, errors))
    high = x >= LINEAR_FROM
    (slope, start), covariance = np.polyfit(x[high], y[high], 1, w=1 / error[high], cov="unscaled")
    picture = Picture("Pythia 8 zero bias, 13.6 TeV", ratio=True)
    picture.points(x, y, error, "crossings", 0)
    fine = np.linspace(LINEAR_FROM, 210, 10)
    text = rf"{slope:.3f} ($\langle\mu\rangle$ $-$ {-start / slope:.0f})"
    picture.axes[0].plot(fine, slope * fine + start, color="0.4", linewidth=1.5, label=text)
    line = (slope * x + start)[high]
    picture.ratios[0].errorbar(x[high], y[high] / line, error[high] / line, fmt="o", color="C0", markersize=6)
    picture.ratios[0].axhline(1, color="0.4", linewidth=1.2)
    picture.label("Mean pile-up", r"$\rho$ [GeV / unit of $\eta\,\phi$]", ratio="Ratio to line", limits=(0.85, 1.15))
    picture.axes[0].set(xlim=(0, 210), ylim=(0, 1.25 * y.max()))
    picture.legend_only("lower right")
    picture.text(["median over the towers,", "after zero suppression"])
    picture.save(folder, "rho")
    return {
        "rho_slope": float(slope),
        "rho_slope_error": float(np.sqrt(covariance[0, 0])),
        "rho_zero_at": float(-start / slope),
        "rho_nonlinearity": float(np.max(np.abs(y[high] / line - 1))),
    }


def objects(folder: Path | None, cache: Path, events: int) -> dict[str, float]:
    """Top pairs beside CMS's simulation, and zero bias beside CMS's data, which are selected by a trigger."""
    figures: dict[str, float] = {}
    for process, category, drawn, file, caption in (
        # No MET: the vectors of 2022 have none, and that of 2021 and 2023 is unrelated to their jets. Nor would those
        # do for e/gammas: jets are in their place.
        ("ttbar", "2022:pp:ttbar_MC", ("jet", "jets", "eg"), "l1-ttbar", "Top pairs, Level-1 objects"),
        ("zero_bias", "2024:pp:data", ("jet", "eg", "met"), "l1-zerobias", "Zero bias (detfm), triggered data (CMS)"),
    ):
        rows = sample(f"objects_{process}", _config({process: events}, 50, cache), cache)
        ours, theirs = _ours(rows), _theirs(category)
        figures |= {f"{file}_ks_{name}".replace("-", "_"): ks(ours[name], theirs[name]) for name in ("jets", *drawn)}
        figures[f"{file}_ks_noise".replace("-", "_")] = ks_noise(len(ours["jet"]), len(theirs["jet"]))
        _draw(ours, theirs, drawn, caption, folder, file)
    return figures


def _config(processes: dict[str, int], mean: float, cache: Path) -> SimulateConfig:
    pileup = PileupConfig(mean=mean, pool=POOL, pool_file=str((cache / "pool.npz").absolute()))
    return SimulateConfig(
        sample="events",
        seed=SEED,
        beam_energy=BEAM_ENERGY,
        events=EventsConfig(processes=processes, pileup=pileup, collections=("jet", "eg")),
    )


def _ours(rows: ak.Array) -> dict[str, np.ndarray]:
    jet, eg = rows.jet_pt, rows.eg_pt
    return {
        "jet": _leading(jet),
        "jets": ak.to_numpy(ak.sum(jet > 20, axis=1)),
        "eg": _leading(eg),
        "met": ak.to_numpy(rows.met),
    }


def _leading(pt: ak.Array) -> np.ndarray:
    return ak.to_numpy(ak.fill_none(ak.max(pt, axis=1), 0.0))


def _theirs(category: str) -> dict[str, np.ndarray]:
    with h5py.File(SHARED) as file:
        chosen = np.flatnonzero(file["category"][:].astype(str) == category)
        jet, eg, met = (file[name][:][chosen] for name in ("jet", "eg", "met"))
    return {
        "jet": jet[..., 0].max(axis=1),
        "jets": (jet[..., 0] > 20).sum(axis=1),
        "eg": eg[..., 0].max(axis=1),
        "met": met[:, 0],
    }


def _draw(
    ours: dict[str, np.ndarray],
    theirs: dict[str, np.ndarray],
    drawn: tuple[str, ...],
    caption: str,
    folder: Path | None,
    name: str,
) -> None:
    picture = Picture(caption, columns=len(drawn), ratio=True, width=20, height=8)
    for column, quantity in enumerate(drawn):
        text, edges = SHAPES[quantity]
        first, second = (histogram(values[quantity], edges) for values in (ours, theirs))
        distance = ks(ours[quantity], theirs[quantity])
        picture.steps(second, "CMS", 4, column, fill=True)
        picture.points(first.centres, first.height, first.error, f"detfm (KS {distance:.2f})", 0, column)
        picture.ratio(first, second, 0, column)
        picture.label(text, "Probability density", column, "Ratio", (0, 2))
        picture.axes[column].set_xlim(edges[0], edges[-1])
        picture.legend(rows=2.5, column=column)
    picture.save(folder, name)
