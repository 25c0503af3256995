"""Views of the same hard partons: how alike they are, and what each variation does."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np

from foundation.simulate import SimulateConfig
from foundation.simulate.views_config import Variation, ViewsConfig
from validation.draw import Picture, histogram
from validation.made import sample

VARIATIONS = (
    Variation("seed"),
    Variation("fsr_up", ("TimeShower:renormMultFac = 0.25",)),
    Variation("fsr_down", ("TimeShower:renormMultFac = 4",)),
    Variation("no_mpi", ("PartonLevel:MPI = off",)),
    Variation("detector", detector={"hadron_efficiency": 0.8, "hcal_stochastic": 1.5}),
)


def study(folder: Path | None, cache: Path, jets: int) -> dict[str, float]:
    """Equality of the partons, likeness of the jets, and the effect of the variations on the multiplicity."""
    cfg = SimulateConfig(
        classes=("label_Wqq", "label_QCD"), jets_per_class=jets, seed=41, views=ViewsConfig(2, VARIATIONS)
    )
    rows = sample("views", cfg, cache)
    rows = rows[np.lexsort((ak.to_numpy(rows.view), ak.to_numpy(rows.event_id)))]
    first, second = rows[0::2], rows[1::2]
    unequal = [ak.max(abs(first[name] - second[name])) for name in rows.fields if name.startswith("aux_hard")]
    lost = int(ak.sum(rows.views_lost))
    figures = {
        "views_parton_difference": float(max(unequal)),
        "views_lost_share": lost / (lost + len(first)),
    }
    relations = {"same partons": second, "other partons": _others(second)}
    picture = Picture(r"W$\to$qq and QCD jets in two views", columns=2, width=14)
    for i, (name, other) in enumerate(relations.items()):
        pt = ak.to_numpy(other.jet_pt / first.jet_pt)
        turn = (ak.to_numpy(first.jet_phi - other.jet_phi) + np.pi) % (2 * np.pi) - np.pi
        distance = np.hypot(ak.to_numpy(first.jet_eta - other.jet_eta), turn)
        key = name.split()[0]
        figures[f"views_delta_r_{key}"] = float(np.median(distance))
        figures[f"views_pt_spread_{key}"] = float(np.std(np.log(pt)))
        style = (2, 4)[i]
        picture.steps(histogram(pt, np.linspace(0.5, 2.0, 31)), name, style, 0, fill=i == 1)
        picture.steps(histogram(distance, np.linspace(0, 4, 41)), name, style, 1, fill=i == 1)
    picture.label(r"Jet $p_\mathrm{T}$, view 1 / view 0", "Probability density")
    picture.label(r"$\Delta R$(view 0, view 1)", "Probability density", 1)
    picture.axes[0].set_xlim(0.5, 2)
    picture.axes[1].set_xlim(0, 4)
    for column in range(2):
        picture.legend(rows=2, column=column)
    picture.save(folder, "views")
    return figures | _variations(first, second, folder)


def _others(rows: ak.Array) -> ak.Array:
    """Each jet exchanged for that of another event of the same class."""
    order = np.arange(len(rows))
    for label in ("label_Wqq", "label_QCD"):
        chosen = np.flatnonzero(ak.to_numpy(rows[label]) == 1)
        order[chosen] = np.roll(chosen, 1)
    return rows[order]


def _variations(first: ak.Array, second: ak.Array, folder: Path | None) -> dict[str, float]:
    """Mean change of the number of constituents from view 0 to each variation."""
    names = [variation.name for variation in VARIATIONS]
    figures, errors = {}, []
    for number, name in enumerate(names, start=1):
        chosen = second.variation == number
        change = ak.to_numpy(second.jet_nparticles[chosen] / first.jet_nparticles[chosen])
        figures[f"views_multiplicity_{name}"] = float(np.exp(np.mean(np.log(change))))
        errors.append(figures[f"views_multiplicity_{name}"] * np.std(np.log(change)) / np.sqrt(len(change)))
    picture = Picture(r"W$\to$qq and QCD jets, view 1")
    place = np.arange(len(names))
    picture.points(place, list(figures.values()), errors, "", 0)
    ax = picture.axes[0]
    ax.axhline(1, color="0.5", linewidth=1.5, linestyle=":")
    texts = ["seed only", r"FSR $\mu/2$", r"FSR $2\mu$", "no MPI", "detector"]
    ax.set_xticks(place, texts)
    ax.minorticks_off()
    ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(0.6, 1.4))
    picture.label("Variation", "Constituents, view 1 / view 0 (geometric mean)")
    picture.save(folder, "variations")
    return figures
