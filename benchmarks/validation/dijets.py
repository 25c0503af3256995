"""Natural dijets: the falling spectrum against Pythia's cross section, jet response, momentum balance."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np

from foundation.simulate import SimulateConfig
from foundation.simulate.detector import NEUTRINOS, Candidates, Particles, respond
from foundation.simulate.events import stable_particles, start, world_settings
from foundation.simulate.jets import delta_phi, four_vectors
from validation.draw import Hist, Picture, histogram, line
from validation.measure import robust_width

RADIUS, ETA_MAX = 0.8, 2.0
PT_HAT_MIN, BIAS_POWER = 200.0, 5.0
BATCH = 250
MB_TO_PB = 1e9
PARTICLE_PT = r"Particle-level jet $p_\mathrm{T}$ [GeV]"
CAPTION = rf"Pythia 8 dijets, 13 TeV, anti-$k_\mathrm{{T}}$ $R$ = {RADIUS}"


@dataclass(frozen=True)
class Dijets:
    """Jets [events, 3] by descending pt, zero where there are fewer: particle level and detector level."""

    weight: np.ndarray  # pb
    pt_hat: np.ndarray
    truth: dict[str, np.ndarray]
    seen: dict[str, np.ndarray]
    imbalance: float  # the largest |sum of px or py| of all stable particles of an event, GeV


def generate(events: int, seed: int = 11) -> Dijets:
    """Dijets at all pt above a pTHat of 200 GeV, by weights: Pythia makes rare hard ones common and says how much."""
    cfg = SimulateConfig()
    pythia = start("dijets", (*world_settings(cfg, seed), "HardQCD:all = on", *_bias(PT_HAT_MIN)))
    rng = np.random.default_rng(seed)
    parts = [_batch(pythia, cfg, rng) for _ in range(-(-events // BATCH))]
    info = pythia.infoPython()
    scale = info.sigmaGen() * MB_TO_PB / info.weightSum()
    joined = {
        level: {name: np.concatenate([p[level][name] for p in parts]) for name in ("pt", "eta", "phi")}
        for level in ("truth", "seen")
    }
    return Dijets(
        weight=scale * np.concatenate([p["weight"] for p in parts]),
        pt_hat=np.concatenate([p["pt_hat"] for p in parts]),
        imbalance=max(p["imbalance"] for p in parts),
        **joined,
    )


def _bias(pt_hat_min: float) -> tuple[str, ...]:
    return (
        f"PhaseSpace:pTHatMin = {pt_hat_min}",
        "PhaseSpace:bias2Selection = on",
        f"PhaseSpace:bias2SelectionPow = {BIAS_POWER}",
        f"PhaseSpace:bias2SelectionRef = {pt_hat_min}",
    )


def _batch(pythia: object, cfg: SimulateConfig, rng: np.random.Generator) -> dict:
    batch = pythia.nextBatch(BATCH)  # type: ignore[attr-defined]
    stable = stable_particles(batch.prt, pythia)
    visible = stable[~np.isin(np.abs(stable.pdgid), NEUTRINOS)]
    sums = [np.bincount(stable.event, p, minlength=len(batch)) for p in (stable.px, stable.py)]
    return {
        "weight": ak.to_numpy(batch.info.weights[:, 0]),
        "pt_hat": np.sqrt(ak.to_numpy(batch.info.pT2Hat)),
        "truth": _jets(visible, len(batch)),
        "seen": _jets(respond(stable, cfg.detector, rng), len(batch)),
        "imbalance": float(np.abs(sums).max()),
    }


def _jets(particles: Particles | Candidates, events: int, most: int = 3) -> dict[str, np.ndarray]:
    counts = np.bincount(particles.event, minlength=events)
    inputs = four_vectors(particles.px, particles.py, particles.pz, particles.energy, counts)
    jets = fastjet.ClusterSequence(inputs, fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)).inclusive_jets(20.0)
    pt = np.hypot(jets.px, jets.py)
    order = ak.argsort(pt, ascending=False)
    columns = {"pt": pt, "eta": np.arcsinh(jets.pz / pt), "phi": np.arctan2(jets.py, jets.px)}
    return {
        name: ak.to_numpy(ak.fill_none(ak.pad_none(column[order], most, clip=True), 0.0))
        for name, column in columns.items()
    }


def cross_section(pt_hat_min: float, seed: int = 12) -> tuple[float, float]:
    """Pythia's own cross section above a pTHat, and its error, in pb: another run, without bias and showers."""
    settings = ("HardQCD:all = on", f"PhaseSpace:pTHatMin = {pt_hat_min}", "PartonLevel:all = off")
    pythia = start("cross section", (*world_settings(SimulateConfig(), seed), *settings))
    for _ in range(10_000):
        pythia.next()
    info = pythia.infoPython()
    return info.sigmaGen() * MB_TO_PB, info.sigmaErr() * MB_TO_PB


def spectrum(dijets: Dijets, folder: Path | None) -> dict[str, float]:
    """d sigma / d pt of jets at both levels, the power that it falls with, and the cross section against Pythia's."""
    edges = np.geomspace(300, 1500, 15)
    truth, seen = (_cross_section(level, dijets.weight, edges) for level in (dijets.truth, dijets.seen))
    fits = {name: _power(seen, low, high) for name, low, high in (("300_600", 300, 600), ("600_1500", 600, 1500))}
    figures = {f"spectrum_power_{name}": fit[1] for name, fit in fits.items()}
    figures |= {f"spectrum_power_{name}_error": fit[2] for name, fit in fits.items()}
    for pt_hat in (300.0, 600.0):
        expected, uncertainty = cross_section(pt_hat)
        above = dijets.pt_hat > pt_hat
        found = dijets.weight[above].sum()
        figures[f"cross_section_{pt_hat:.0f}_ratio"] = float(found / expected)
        statistical = np.sqrt((dijets.weight[above] ** 2).sum()) / found
        figures[f"cross_section_{pt_hat:.0f}_error"] = float(np.hypot(statistical, uncertainty / expected))
    picture = Picture(CAPTION, ratio=True)
    picture.steps(truth, "particle level", 4, fill=True)
    half = np.diff(edges) / 2
    picture.points(seen.centres, seen.height, seen.error, "detector level", 0, width=half)
    for (name, (norm, power, error)), i in zip(fits.items(), (2, 3)):
        low, high = (float(edge) for edge in name.split("_"))
        fine = np.geomspace(low, high, 50)
        text = rf"$p_\mathrm{{T}}^{{-n}}$, $n$ = {power:.2f} $\pm$ {error:.2f}"
        picture.axes[0].plot(fine, norm * (fine / 600) ** -power, label=text, linewidth=1.8, **line(i))
    picture.ratio(seen, truth, 0)
    picture.label(
        r"Jet $p_\mathrm{T}$ [GeV]", r"$\mathrm{d}\sigma/\mathrm{d}p_\mathrm{T}$ [pb / GeV]", ratio="Det. / part.",
        limits=(0.8, 1.2),
    )  # fmt: skip
    picture.axes[0].set_xscale("log")
    for ax in (picture.axes[0], picture.ratios[0]):
        ax.set_xlim(300, 1500)
        ax.set_xticks([300, 500, 700, 1000, 1500], ["300", "500", "700", "1000", "1500"])
        ax.set_xticks([400, 600, 800, 900, 1200], [], minor=True)
    picture.legend(rows=4, log=True)
    picture.text([rf"inclusive jets, $|\eta|$ < {ETA_MAX:g}"], y=0.12)
    picture.save(folder, "spectrum")
    return figures


def _power(hist: Hist, low: float, high: float) -> tuple[float, float, float]:
    """(height at 600 GeV, power, its error) of a falling power law between two pt."""
    chosen = (hist.centres > low) & (hist.centres < high) & (hist.height > 0)
    x, y, weight = np.log(hist.centres / 600), np.log(hist.height), hist.height / hist.error
    found, covariance = np.polyfit(x[chosen], y[chosen], 1, w=weight[chosen], cov="unscaled")
    return float(np.exp(found[1])), -float(found[0]), float(np.sqrt(covariance[0, 0]))


def _cross_section(jets: dict[str, np.ndarray], weight: np.ndarray, edges: np.ndarray) -> Hist:
    chosen = np.abs(jets["eta"]) < ETA_MAX
    weights = np.broadcast_to(weight[:, None], chosen.shape)[chosen]
    height = np.histogram(jets["pt"][chosen], edges, weights=weights)[0]
    error = np.sqrt(np.histogram(jets["pt"][chosen], edges, weights=weights**2)[0])
    return Hist(edges, height / np.diff(edges), error / np.diff(edges))


def response(dijets: Dijets, folder: Path | None) -> dict[str, float]:
    """Detector-level over particle-level pt of matched jets, and the pt asymmetry of the two leading jets."""
    edges = np.array([200, 300, 400, 500, 600, 750, 900, 1200])
    ratio, pt = _matched(dijets)
    medians, resolutions = [], []
    for low, high in itertools.pairwise(edges):
        values = ratio[(pt >= low) & (pt < high)]
        width, error = robust_width(values)
        medians.append((np.median(values), 1.25 * width / np.sqrt(len(values))))
        resolutions.append((width / np.median(values), error))
    balance = {level: _asymmetry(getattr(dijets, level)) for level in ("truth", "seen")}
    picture = Picture(CAPTION, columns=2, width=14)
    x, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    value, error = np.transpose(medians)
    picture.points(x, value, error, "median", 0, width=half)
    picture.axes[0].axhline(1, color="0.5", linewidth=1.5, linestyle=":")
    picture.label(PARTICLE_PT, r"Response $p_\mathrm{T}^\mathrm{detector}\,/\,p_\mathrm{T}^\mathrm{particle}$")
    picture.axes[0].set_ylim(0.95, 1.03)
    value, error = np.transpose(resolutions)
    picture.points(x, 100 * value, 100 * error, "half of the central 68%", 2, 1, width=half)
    picture.label(PARTICLE_PT, "Resolution of the response [%]", 1)
    picture.axes[1].set_ylim(0, 4)
    picture.text([r"median, jets matched in $\Delta R$ < 0.2", rf"$|\eta|$ < {ETA_MAX:g}"])
    picture.text(["half of the central 68%"], column=1)
    picture.save(folder, "response")
    _balance(balance, folder)
    return {
        "jet_response_low": float(min(v for v, _ in medians)),
        "jet_response_high": float(max(v for v, _ in medians)),
        "jet_resolution_500": float(resolutions[3][0]),
        "dijet_asymmetry_width": robust_width(np.concatenate([balance["seen"], -balance["seen"]]))[0],
        "event_imbalance_gev": dijets.imbalance,
    }


def _balance(balance: dict[str, np.ndarray], folder: Path | None) -> None:
    picture = Picture(CAPTION)
    edges = np.linspace(0, 0.2, 26)
    for level, name, i in (("truth", "particle level", 4), ("seen", "detector level", 0)):
        values = balance[level]
        picture.steps(histogram(values, edges), f"{name}, mean {values.mean():.3f}", i, fill=i == 4)
    asymmetry = r"A = (p_\mathrm{T,1} - p_\mathrm{T,2})\,/\,(p_\mathrm{T,1} + p_\mathrm{T,2})"
    picture.label(f"${asymmetry}$", r"$1/N\;\mathrm{d}N/\mathrm{d}A$")
    picture.axes[0].set_xlim(0, 0.2)
    picture.legend(rows=2)
    picture.text(
        [r"$p_\mathrm{T,1}$ > 300 GeV, back to back", r"$p_\mathrm{T,3}$ < 5% of $p_\mathrm{T,1} + p_\mathrm{T,2}$"],
        0.45,
        0.6,
    )
    picture.save(folder, "balance")


def _matched(dijets: Dijets) -> tuple[np.ndarray, np.ndarray]:
    """(response, particle-level pt) of the two leading particle-level jets that have a detector-level jet near."""
    ratios, pts = [], []
    for i in range(2):
        truth = {name: column[:, i] for name, column in dijets.truth.items()}
        distance = np.hypot(
            dijets.seen["eta"] - truth["eta"][:, None], delta_phi(dijets.seen["phi"], truth["phi"][:, None])
        )
        nearest = distance.argmin(axis=1)
        rows = np.arange(len(nearest))
        good = (distance[rows, nearest] < 0.2) & (np.abs(truth["eta"]) < ETA_MAX)
        ratios.append((dijets.seen["pt"][rows, nearest] / truth["pt"])[good])
        pts.append(truth["pt"][good])
    return np.concatenate(ratios), np.concatenate(pts)


def _asymmetry(jets: dict[str, np.ndarray]) -> np.ndarray:
    pt = jets["pt"]
    back_to_back = np.abs(delta_phi(jets["phi"][:, 0], jets["phi"][:, 1])) > 2.7
    central = (np.abs(jets["eta"][:, :2]) < ETA_MAX).all(axis=1)
    good = back_to_back & central & (pt[:, 2] < 0.05 * (pt[:, 0] + pt[:, 1])) & (pt[:, 0] > 300)
    return ((pt[:, 0] - pt[:, 1]) / (pt[:, 0] + pt[:, 1]))[good]
