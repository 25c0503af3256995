"""Soft-drop mass and N-subjettiness of jets, from all their constituents (before any are dropped for space).

Axes: J jets, N constituents of all jets, A axes of a jet.
"""

from __future__ import annotations

import warnings
from typing import Any

import awkward as ak
import fastjet
import numpy as np
from jaxtyping import Float

EVERYTHING = 1000.0  # a clustering radius that no jet reaches: all constituents end in one jet
SOFT_DROP_Z, SOFT_DROP_BETA = 0.1, 0


def soft_drop_mass(constituents: ak.Array, radius: float) -> Float[np.ndarray, " J"]:
    """Mass in GeV after soft drop (arXiv:1402.2657) with z_cut = 0.1 and beta = 0, on the Cambridge/Aachen tree."""
    tree = _cluster(constituents, fastjet.cambridge_algorithm)
    with _fastjet_warnings():
        groomed = tree.exclusive_jets_softdrop_grooming(
            njets=1, beta=SOFT_DROP_BETA, symmetry_cut=SOFT_DROP_Z, R0=radius
        )
    return np.maximum(ak.to_numpy(groomed.msoftdrop), 0)


def subjettiness(constituents: ak.Array, radius: float, most: int = 4) -> Float[np.ndarray, "J most"]:
    """tau_1 ... tau_most (arXiv:1011.2268, equation 1) with beta = 1 and the exclusive-kt axes, not minimised.

    tau_N is 0 for a jet of at most N constituents, each of which is then its own axis.
    """
    taus = np.zeros((len(constituents), most))
    count = ak.to_numpy(ak.num(constituents))
    # One clustering serves all numbers of axes; jets of few constituents go by themselves.
    for least in range(2, most + 2):
        group = np.flatnonzero(count == least) if least <= most else np.flatnonzero(count > most)
        if len(group):
            taus[group, : least - 1] = _subjettiness(constituents[group], radius, least - 1)
    return taus


def _subjettiness(constituents: ak.Array, radius: float, most: int) -> Float[np.ndarray, "J most"]:
    """For jets of more than `most` constituents."""
    count = ak.to_numpy(ak.num(constituents))
    jet = np.repeat(np.arange(len(count)), count)
    eta, phi, pt = _eta_phi_pt(ak.flatten(constituents))
    tree = _cluster(constituents, fastjet.kt_algorithm)
    taus = []
    for n in range(1, most + 1):
        with _fastjet_warnings():
            axes = tree.exclusive_jets(n_jets=n)
        axis_eta, axis_phi, _ = (column.reshape(-1, n) for column in _eta_phi_pt(ak.flatten(axes)))
        turn = (phi[:, None] - axis_phi[jet] + np.pi) % (2 * np.pi) - np.pi
        nearest = np.hypot(eta[:, None] - axis_eta[jet], turn).min(axis=1)
        taus.append(np.bincount(jet, pt * nearest))
    return np.stack(taus, axis=1) / (radius * np.bincount(jet, pt))[:, None]


def _cluster(constituents: ak.Array, algorithm: int) -> Any:
    return fastjet.ClusterSequence(constituents, fastjet.JetDefinition(algorithm, EVERYTHING))


def _eta_phi_pt(flat: ak.Array) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    px, py, pz = (ak.to_numpy(flat[axis]) for axis in ("px", "py", "pz"))
    pt = np.hypot(px, py)
    return np.arcsinh(pz / pt), np.arctan2(py, px), pt


class _fastjet_warnings(warnings.catch_warnings):
    """fastjet 3.5 warns that exclusive jets need kt or C/A even when they are: it compares a definition to an enum."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", message="dcut and exclusive jets", category=UserWarning)
