"""Mass peaks, quark and gluon jets, substructure: of the shipped sample."""

from __future__ import annotations

import itertools
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from validation.draw import Picture, histogram
from validation.measure import auc, peak

SAMPLE = Path(__file__).parents[2] / "samples" / "jets.root"
CAPTION = r"Pythia 8, 13 TeV, anti-$k_\mathrm{T}$ $R$ = 0.8"
# Class, name, mass (PDG 2024) and the range of the fit. The hadronic top is measured at the jet, near the pole mass.
RESONANCES = {
    "W": ("label_Wqq", r"W$\to$qq", 80.4, (60, 105)),
    "Z": ("label_Zqq", r"Z$\to$qq", 91.2, (70, 115)),
    "H": ("label_Hbb", r"H$\to$bb", 125.2, (95, 150)),
    "top": ("label_Tbqq", r"t$\to$bqq", 172.6, (145, 205)),
}
FIELDS = ("jet_pt", "jet_sdmass", "jet_tau1", "jet_tau2", "jet_tau3", "jet_nparticles", "aux_genpart_pid")


def read_sample() -> ak.Array:
    with uproot.open(SAMPLE) as file:
        tree = file["tree"]
        return tree.arrays([*FIELDS, *tree.keys(filter_name="label_*")])


def masses(jets: ak.Array, folder: Path | None) -> dict[str, float]:
    """Positions and widths of the groomed mass peaks."""
    picture = Picture(CAPTION)
    figures = {}
    edges = np.arange(0, 241, 4)
    qcd = ak.to_numpy(jets.jet_sdmass[jets.label_QCD == 1])
    picture.steps(histogram(qcd, edges), "QCD", 4, fill=True)
    for i, (name, (label, text, mass, window)) in enumerate(RESONANCES.items()):
        values = ak.to_numpy(jets.jet_sdmass[jets[label] == 1])
        figures[f"{name}_peak"], figures[f"{name}_width"] = peak(values, *window)
        picture.steps(histogram(values, edges), f"{text}: {figures[f'{name}_peak']:.1f} GeV", i)
        picture.axes[0].axvline(mass, ymax=0.55, color="0.35", linewidth=1, linestyle=":", zorder=0)
    picture.axes[0].set_xlim(0, 240)
    picture.highest[0] *= 1.02
    picture.seen(histogram(qcd, edges).height[2:])
    picture.label(
        r"Soft-drop mass ($z_\mathrm{cut}$ = 0.1, $\beta$ = 0) [GeV]", r"$1/N\;\mathrm{d}N/\mathrm{d}m$ [1/GeV]"
    )
    picture.legend(rows=5)
    picture.text([r"500 < $p_\mathrm{T}$ < 1000 GeV", r"$|\eta|$ < 2", "dotted: PDG masses"])
    picture.save(folder, "masses")
    return figures


def flavours(jets: ak.Array, folder: Path | None) -> dict[str, float]:
    """Constituents of quark and gluon jets, and their ratio against pt."""
    qcd = jets[jets.label_QCD == 1]
    gluon = ak.to_numpy(qcd.aux_genpart_pid == 21)
    count, pt = ak.to_numpy(qcd.jet_nparticles), ak.to_numpy(qcd.jet_pt)
    picture = Picture(CAPTION, columns=2, width=14)
    edges = np.arange(0, 131, 5)
    picture.steps(histogram(count[~gluon], edges), f"quark, mean {count[~gluon].mean():.1f}", 0)
    picture.steps(histogram(count[gluon], edges), f"gluon, mean {count[gluon].mean():.1f}", 2)
    picture.label("Particle-flow constituents $n$", r"$1/N\;\mathrm{d}N/\mathrm{d}n$")
    picture.legend(rows=2)
    bins = np.linspace(500, 1000, 6)
    ratios, errors = [], []
    for low, high in itertools.pairwise(bins):
        inside = (pt >= low) & (pt < high)
        g, q = count[inside & gluon], count[inside & ~gluon]
        ratios.append(g.mean() / q.mean())
        errors.append(ratios[-1] * np.hypot(g.std() / g.mean() / np.sqrt(len(g)), q.std() / q.mean() / np.sqrt(len(q))))
    picture.points((bins[1:] + bins[:-1]) / 2, ratios, errors, "all constituents", 3, column=1, width=50)
    ax = picture.axes[1]
    ax.axhline(9 / 4, color="0.5", linewidth=1.5, linestyle=":")
    ax.text(
        980,
        2.27,
        r"$C_\mathrm{A}/C_\mathrm{F}$ = 9/4 (leading order, $p_\mathrm{T}\to\infty$)",
        fontsize=15,
        ha="right",
    )
    ax.axhspan(1.3, 1.6, color="0.9", zorder=-1)
    ax.text(980, 1.315, "rule of thumb: 1.3 to 1.6", fontsize=15, ha="right", color="0.35")
    picture.label(
        r"Jet $p_\mathrm{T}$ [GeV]", r"$\langle n_\mathrm{gluon}\rangle\,/\,\langle n_\mathrm{quark}\rangle$", 1
    )
    ax.set(xlim=(490, 1010), ylim=(0.95, 2.5))
    picture.save(folder, "flavours")
    return {"gluon_quark_multiplicity": float(count[gluon].mean() / count[~gluon].mean())}


def substructure(jets: ak.Array, folder: Path | None) -> dict[str, float]:
    """tau21 and tau32 of two- and three-prong jets against QCD, and how well they and the mass separate."""

    def of(label: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chosen = jets[jets[label] == 1]
        taus = [ak.to_numpy(chosen[f"jet_tau{n}"]).astype(np.float64) for n in (1, 2, 3)]
        return taus[1] / np.maximum(taus[0], 1e-6), taus[2] / np.maximum(taus[1], 1e-6), ak.to_numpy(chosen.jet_sdmass)

    qcd, w, top = of("label_QCD"), of("label_Wqq"), of("label_Tbqq")
    figures = {
        "W_auc_tau21": auc(-w[0], -qcd[0]),
        "W_auc_mass": auc(-np.abs(w[2] - 80.4), -np.abs(qcd[2] - 80.4)),
        "top_auc_tau32": auc(-top[1], -qcd[1]),
        "top_auc_mass": auc(-np.abs(top[2] - 172.6), -np.abs(qcd[2] - 172.6)),
    }
    picture = Picture(CAPTION, columns=2, width=14)
    edges = np.linspace(0, 1, 41)
    for column, (name, values, i, key) in enumerate(
        [(r"W$\to$qq", w, 0, "W_auc_tau21"), (r"t$\to$bqq", top, 3, "top_auc_tau32")]
    ):
        picture.steps(histogram(qcd[column], edges), "QCD", 4, column, fill=True)
        picture.steps(histogram(values[column], edges), name, i, column)
        picture.label(
            rf"$\tau_{{{column + 2}{column + 1}}}$ ($\beta$ = 1, $k_\mathrm{{T}}$ axes)",
            rf"$1/N\;\mathrm{{d}}N/\mathrm{{d}}\tau_{{{column + 2}{column + 1}}}$",
            column,
        )
        picture.legend(rows=3, column=column)
        picture.text([f"AUC {figures[key]:.3f}"], column=column)
        picture.axes[column].set_xlim(0, 1)
    picture.save(folder, "substructure")
    return figures
