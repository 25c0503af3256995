"""Simulated jets beside those of others: the top-tagging landscape and JetClass, shapes and distances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np

from foundation.simulate import SimulateConfig
from foundation.simulate.jets import four_vectors
from foundation.simulate.substructure import soft_drop_mass, subjettiness
from validation.draw import Picture, histogram
from validation.made import sample
from validation.measure import effective, ks, ks_noise

SHARED = Path(__file__).parents[3] / "shared" / "data" / "jets"
RADIUS = 0.8
# Quantity -> text, unit, edges.
SHAPES = {
    "count": ("Constituents", "", np.arange(0, 126, 5)),
    "sdmass": ("Soft-drop mass", "GeV", np.arange(0, 241, 10)),
    "tau21": (r"$\tau_{21}$", "", np.linspace(0, 1, 26)),
    "tau32": (r"$\tau_{32}$", "", np.linspace(0, 1, 26)),
    "girth": (r"Girth $\sum_i p_{\mathrm{T},i}\,\Delta R_i\,/\,p_\mathrm{T}$", "", np.linspace(0, 0.5, 26)),
    "dispersion": (r"$(\sum_i p_{\mathrm{T},i}^2)^{1/2}\,/\,\sum_i p_{\mathrm{T},i}$", "", np.linspace(0, 0.8, 26)),
}


@dataclass(frozen=True)
class Shapes:
    """Quantities of some jets, and a weight for each."""

    pt: np.ndarray
    values: dict[str, np.ndarray]
    weight: np.ndarray


def shapes(px: ak.Array, py: ak.Array, pz: ak.Array, energy: ak.Array) -> Shapes:
    """Of jets x var constituents, computed by the same code whoever made them."""
    px, py, pz, energy = (ak.values_astype(column, np.float64) for column in (px, py, pz, energy))
    pt = np.hypot(px, py)
    jet = [ak.to_numpy(ak.sum(column, axis=1)) for column in (px, py, pz)]
    jet_pt = np.hypot(jet[0], jet[1])
    eta, phi = np.arcsinh(jet[2] / jet_pt), np.arctan2(jet[1], jet[0])
    turn = (np.arctan2(py, px) - phi + np.pi) % (2 * np.pi) - np.pi
    distance = np.hypot(np.arcsinh(pz / pt) - eta, turn)
    counts = ak.to_numpy(ak.num(px))
    vectors = four_vectors(*(ak.to_numpy(ak.flatten(column)) for column in (px, py, pz, energy)), counts)
    taus = subjettiness(vectors, RADIUS, 3)
    scalar = ak.to_numpy(ak.sum(pt, axis=1))
    values = {
        "count": counts,
        "sdmass": soft_drop_mass(vectors, RADIUS),
        "tau21": taus[:, 1] / np.maximum(taus[:, 0], 1e-6),
        "tau32": taus[:, 2] / np.maximum(taus[:, 1], 1e-6),
        "girth": ak.to_numpy(ak.sum(pt * distance, axis=1)) / scalar,
        "dispersion": np.sqrt(ak.to_numpy(ak.sum(pt**2, axis=1))) / scalar,
    }
    return Shapes(jet_pt, values, np.ones(len(jet_pt)))


def read_npz(name: str) -> tuple[Shapes, np.ndarray]:
    """Jets of one of the shared files, and their labels."""
    with np.load(SHARED / name) as file:
        momenta, mask, labels = file["px_py_pz_e"], file["mask"].astype(bool), file["labels"]
    counts = mask.sum(axis=1)
    columns = (ak.unflatten(momenta[:, i][mask], counts) for i in range(4))
    return shapes(*columns), labels


def simulated(rows: ak.Array) -> Shapes:
    return shapes(rows.part_px, rows.part_py, rows.part_pz, rows.part_energy)


def pick(found: Shapes, chosen: np.ndarray) -> Shapes:
    return Shapes(found.pt[chosen], {n: v[chosen] for n, v in found.values.items()}, found.weight[chosen])


def with_spectrum_of(ours: Shapes, theirs: Shapes, low: float, high: float, bins: int = 8) -> Shapes:
    """Our jets, weighted to the pt spectrum of theirs, so that shapes alone are compared."""
    edges = np.linspace(low, high, bins + 1)
    wanted, have = (np.histogram(s.pt, edges)[0] for s in (theirs, ours))
    ratio = wanted / np.maximum(have, 1)
    weight = ratio[np.clip(np.digitize(ours.pt, edges) - 1, 0, bins - 1)]
    return Shapes(ours.pt, ours.values, weight)


def landscape(folder: Path | None, cache: Path, jets: int) -> dict[str, float]:
    """Top and QCD jets, 550 < pt < 650 GeV, without underlying event, as arXiv:1902.09914 has them."""
    theirs, labels = read_npz("toplandscape_2000.npz")
    cfg = SimulateConfig(
        classes=("label_Tbqq", "label_QCD"),
        jets_per_class=jets,
        seed=31,
        pt_min=550,
        pt_max=650,
        spectrum="natural",
        beam_energy=14_000,
        pythia=("PartonLevel:MPI = off",),
    )
    rows = sample("landscape", cfg, cache)
    figures: dict[str, float] = {}
    pairs = {}
    for name, label, code in (("top", "label_Tbqq", 1), ("qcd", "label_QCD", 0)):
        other = pick(theirs, labels == code)
        ours = with_spectrum_of(simulated(rows[rows[label] == 1]), other, 550, 650)
        pairs[name] = ours, other
        figures |= _distances(f"landscape_{name}", ours, other)
    _draw("landscape", r"Top landscape, 550 < $p_\mathrm{T}$ < 650 GeV", pairs, folder, ("t", "QCD"), "landscape")
    return figures


def jetclass(folder: Path | None, cache: Path, jets: int) -> dict[str, float]:
    """Higgs bosons to bottom quarks, 500 < pt < 1000 GeV, as JetClass (arXiv:2202.03772) has them."""
    other, _ = read_npz("jetclass_500.npz")
    cfg = SimulateConfig(classes=("label_Hbb",), jets_per_class=jets, seed=32, spectrum="natural")
    rows = sample("jetclass", cfg, cache)
    ours = with_spectrum_of(simulated(rows), other, 500, 1000)
    _draw("jetclass", r"H$\to$bb, 500 < $p_\mathrm{T}$ < 1000 GeV", {"hbb": (ours, other)}, folder, ("H",), "JetClass")
    return _distances("jetclass_hbb", ours, other)


def _distances(name: str, ours: Shapes, theirs: Shapes) -> dict[str, float]:
    found = {
        f"{name}_ks_{quantity}": ks(ours.values[quantity], theirs.values[quantity], ours.weight, theirs.weight)
        for quantity in SHAPES
    }
    return found | {f"{name}_ks_noise": ks_noise(effective(ours.weight), effective(theirs.weight))}


def _draw(
    file: str,
    caption: str,
    pairs: dict[str, tuple[Shapes, Shapes]],
    folder: Path | None,
    texts: tuple[str, ...],
    other: str,
) -> None:
    quantities = ("count", "sdmass", "tau32" if len(pairs) > 1 else "tau21")
    picture = Picture(caption, columns=len(quantities), ratio=True, width=20, height=8)
    for column, quantity in enumerate(quantities):
        text, unit, edges = SHAPES[quantity]
        for k, ((ours, theirs), name) in enumerate(zip(pairs.values(), texts)):
            colour = (3, 1)[k] if len(pairs) > 1 else 2
            first = histogram(ours.values[quantity], edges, ours.weight)
            second = histogram(theirs.values[quantity], edges, theirs.weight)
            distance = ks(ours.values[quantity], theirs.values[quantity], ours.weight, theirs.weight)
            picture.steps(second, f"{name}, {other}", colour, column, fill=True)
            picture.points(
                first.centres, first.height, first.error, f"{name}, detfm (KS {distance:.2f})", colour, column
            )
            picture.ratio(first, second, colour, column)
        picture.label(f"{text} [{unit}]" if unit else text, "Probability density", column, "Ratio", (0.2, 1.8))
        picture.axes[column].set_xlim(edges[0], edges[-1])
        picture.legend(rows=2 * len(pairs) + 0.5, column=column)
    picture.save(folder, file)
