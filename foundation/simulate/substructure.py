"""Soft-drop mass and N-subjettiness of jets, from all their constituents (before any are dropped for space)."""

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
    eta, phi, pt = _eta_phi_pt(constituents)
    norm = radius * ak.to_numpy(ak.sum(pt, axis=1))
    taus = np.zeros((len(constituents), most))
    for n in range(1, most + 1):
        enough = np.flatnonzero(ak.to_numpy(ak.num(constituents)) > n)
        if not len(enough):
            continue
        with _fastjet_warnings():
            axes = _cluster(constituents[enough], fastjet.kt_algorithm).exclusive_jets(n_jets=n)
        axis_eta, axis_phi, _ = _eta_phi_pt(axes)
        pair_eta = ak.cartesian([eta[enough], axis_eta], nested=True)
        pair_phi = ak.cartesian([phi[enough], axis_phi], nested=True)
        turn = (pair_phi["0"] - pair_phi["1"] + np.pi) % (2 * np.pi) - np.pi
        nearest = ak.min(np.hypot(pair_eta["0"] - pair_eta["1"], turn), axis=2)
        taus[enough, n - 1] = ak.to_numpy(ak.sum(pt[enough] * nearest, axis=1)) / norm[enough]
    return taus


def _cluster(constituents: ak.Array, algorithm: int) -> Any:
    return fastjet.ClusterSequence(constituents, fastjet.JetDefinition(algorithm, EVERYTHING))


def _eta_phi_pt(vectors: ak.Array) -> tuple[ak.Array, ak.Array, ak.Array]:
    pt = np.hypot(vectors.px, vectors.py)
    return np.arcsinh(vectors.pz / pt), np.arctan2(vectors.py, vectors.px), pt


class _fastjet_warnings(warnings.catch_warnings):
    """fastjet 3.5 warns that exclusive jets need kt or C/A even when they are: it compares a definition to an enum."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", message="dcut and exclusive jets", category=UserWarning)
