"""Integers of the CMS global trigger (scales of CMS DN-2014/029): value = integer x LSB, saturated at the last one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

PT_LSB = 0.5
CALORIMETER_ETA_LSB, MUON_ETA_LSB = 0.0435, 0.010875
CALORIMETER_PHI, MUON_PHI = 144, 576  # steps of a full turn
PT_BITS = {"muon": 9, "eg": 9, "tau": 9, "jet": 11, "met": 12, "mht": 12, "ht": 12, "et": 12, "region": 10}


def hardware_pt(pt: Float[np.ndarray, " N"], name: str) -> Int[np.ndarray, " N"]:
    """Counts of 0.5 GeV of the object `name`, a key of PT_BITS; cut off, as the hardware does, not rounded."""
    return np.clip(pt / PT_LSB, 0, 2 ** PT_BITS[name] - 1).astype(np.int32)


def hardware_eta(eta: Float[np.ndarray, " N"], lsb: float) -> Int[np.ndarray, " N"]:
    return np.rint(eta / lsb).astype(np.int32)


def hardware_phi(phi: Float[np.ndarray, " N"], turn: int) -> Int[np.ndarray, " N"]:
    """0 ... turn - 1."""
    return np.rint(phi * (turn / (2 * np.pi))).astype(np.int32) % turn
