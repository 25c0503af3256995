"""Closure of the detector: single particles in, and the configured efficiencies and resolutions out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foundation.simulate import DetectorConfig
from foundation.simulate.columns import CHARGED_HADRON, NEUTRAL_HADRON, PHOTON
from foundation.simulate.detector import Candidates, Particles, respond
from validation.draw import Picture
from validation.measure import robust_width

PER_POINT = 20_000
CAPTION = "Single particles"


def gun(pdgid: int, charge: float, pt: np.ndarray, eta: np.ndarray, phi: np.ndarray, radius: float = 0.0) -> Particles:
    """One massless particle per event, born at `radius` mm from the beam in its own direction."""
    zero = np.zeros(len(pt))
    return Particles(
        event=np.arange(len(pt)),
        pdgid=np.full(len(pt), pdgid),
        charge=np.full(len(pt), charge),
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        energy=pt * np.cosh(eta),
        x=radius * np.cos(phi),
        y=radius * np.sin(phi),
        z=zero,
    )


def tracks(folder: Path | None, count: int = PER_POINT) -> dict[str, float]:
    """pt and d0 resolution against pt, efficiency against the radius of birth: measured over configured."""
    cfg, rng = DetectorConfig(), np.random.default_rng(1)
    points = np.geomspace(0.8, 300, 12)
    fine = np.geomspace(0.6, 400, 200)
    measured: dict[str, list[tuple[float, float]]] = {"pt": [], "d0": [], "dz": []}
    for pt in points:
        found = _tracks(gun(211, 1.0, np.full(count, pt), *_directions(count, rng)), cfg, rng)
        measured["pt"].append(robust_width(np.hypot(found.px, found.py) / pt))
        measured["d0"].append(robust_width(found.d0 * 1e3))
        measured["dz"].append(robust_width(found.dz * 1e3))
    expected = {
        "pt": lambda pt: np.hypot(cfg.track_pt_constant, cfg.track_pt_linear * pt),
        "d0": lambda pt: 1e3 * np.hypot(cfg.d0_constant, cfg.d0_scattering / pt),
        "dz": lambda pt: 1e3 * np.hypot(cfg.dz_constant, cfg.dz_scattering / pt),
    }
    picture = Picture(CAPTION, columns=2, ratio=True, width=14)
    figures = {}
    for quantity, i, column in (("pt", 0, 0), ("d0", 2, 1), ("dz", 3, 1)):
        value, error = np.transpose(measured[quantity])
        curve = expected[quantity]
        text = {"pt": r"$\pi^\pm$", "d0": "$d_0$", "dz": "$d_z$"}[quantity]
        picture.points(points, value, error, f"{text}, measured", i, column)
        picture.axes[column].plot(fine, curve(fine), color="0.3", linewidth=1.5, zorder=0)
        picture.ratios[column].errorbar(
            points, value / curve(points), error / curve(points), color=f"C{i}", fmt="o", markersize=5
        )
        figures[f"track_{quantity}_closure"] = float(np.max(np.abs(value / curve(points) - 1)))
    picture.label(
        r"Track $p_\mathrm{T}$ [GeV]", r"$\sigma(p_\mathrm{T})\,/\,p_\mathrm{T}$", 0, "Meas. / conf.", (0.93, 1.07)
    )
    picture.label(r"Track $p_\mathrm{T}$ [GeV]", r"Resolution [$\mu$m]", 1, "Meas. / conf.", (0.93, 1.07))
    for column in range(2):
        picture.ratios[column].axhline(1, color="0.4", linewidth=1.2)
        picture.ratios[column].set_xscale("log")
        picture.axes[column].plot([], [], color="0.3", linewidth=1.5, label="configured")
        picture.legend(rows=3, column=column, log=True)
    picture.save(folder, "tracks")
    return figures | {"track_efficiency_closure": _efficiency(cfg, rng, count)}


def _efficiency(cfg: DetectorConfig, rng: np.random.Generator, count: int) -> float:
    worst = 0.0
    for radius in (0.0, 40.0, 80.0, 120.0):
        made = gun(211, 1.0, np.full(count, 5.0), *_directions(count, rng), radius)
        share = len(_tracks(made, cfg, rng).event) / count
        worst = max(worst, abs(share - cfg.hadron_efficiency * (1 - radius / cfg.track_birth_radius_max)))
    return worst


def calorimeters(folder: Path | None, count: int = PER_POINT) -> dict[str, float]:
    """Response and resolution of photons and neutral hadrons against energy."""
    cfg, rng = DetectorConfig(), np.random.default_rng(2)
    picture = Picture(CAPTION, columns=2, ratio=True, width=14)
    figures = {}
    for column, (name, pdgid, kind, least, i) in enumerate(
        [("ecal", 22, PHOTON, 2.0, 1), ("hcal", 130, NEUTRAL_HADRON, 10.0, 0)]
    ):
        points = np.geomspace(least, 500, 10)
        stochastic, noise, constant = (getattr(cfg, f"{name}_{term}") for term in ("stochastic", "noise", "constant"))

        def curve(energy: np.ndarray, terms: tuple[float, float, float] = (stochastic, noise, constant)) -> np.ndarray:
            return np.sqrt(terms[0] ** 2 / energy + (terms[1] / energy) ** 2 + terms[2] ** 2)

        widths, means = [], []
        for energy in points:
            eta, phi = np.zeros(count), rng.uniform(-np.pi, np.pi, count)
            seen = respond(gun(pdgid, 0.0, np.full(count, energy), eta, phi), cfg, rng)
            ratio = seen.energy[seen.kind == kind] / energy
            widths.append((ratio.std(), 1.2 * ratio.std() / np.sqrt(2 * len(ratio))))
            means.append(ratio.mean())
        value, error = np.transpose(widths)
        text = {"ecal": "photons in the ECAL", "hcal": r"$K^0_\mathrm{L}$ in the HCAL"}[name]
        picture.points(points, value, error, text, i, column)
        fine = np.geomspace(points[0], points[-1], 100)
        picture.axes[column].plot(fine, curve(fine), color="0.3", linewidth=1.5, zorder=0, label="configured")
        picture.ratios[column].errorbar(
            points, value / curve(points), error / curve(points), color=f"C{i}", fmt="o", markersize=5
        )
        picture.ratios[column].axhline(1, color="0.4", linewidth=1.2)
        picture.ratios[column].set_xscale("log")
        picture.label("Energy [GeV]", r"$\sigma(E)\,/\,E$", column, "Meas. / conf.", (0.93, 1.07))
        picture.legend(rows=2, column=column, log=True)
        figures[f"{name}_resolution_closure"] = float(np.max(np.abs(value / curve(points) - 1)))
        figures[f"{name}_response_closure"] = float(np.max(np.abs(np.array(means) - 1)))
    picture.save(folder, "calorimeters")
    return figures


def _directions(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(-2.4, 2.4, count), rng.uniform(-np.pi, np.pi, count)


def _tracks(made: Particles, cfg: DetectorConfig, rng: np.random.Generator) -> Candidates:
    seen = respond(made, cfg, rng)
    chosen = seen.kind == CHARGED_HADRON
    return Candidates(**{name: column[chosen] for name, column in vars(seen).items()})
