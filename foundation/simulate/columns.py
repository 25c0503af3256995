"""The branches of the written tree, and the rounding of their floats."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

PARTICLE_FLOATS = (
    "part_px",
    "part_py",
    "part_pz",
    "part_energy",
    "part_deta",
    "part_dphi",
    "part_d0val",
    "part_d0err",
    "part_dzval",
    "part_dzerr",
)
# One-hot; the position in this tuple is the `kind` of a candidate.
PARTICLE_KINDS = (
    "part_isChargedHadron",
    "part_isNeutralHadron",
    "part_isPhoton",
    "part_isElectron",
    "part_isMuon",
)
CHARGED_HADRON, NEUTRAL_HADRON, PHOTON, ELECTRON, MUON = range(5)
JET_FLOATS = ("jet_pt", "jet_eta", "jet_phi", "jet_energy")
SUBSTRUCTURE_FLOATS = ("jet_sdmass", "jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4")
TRUTH_FLOATS = ("aux_genpart_pt", "aux_genpart_eta", "aux_genpart_phi")
FLOAT_COLUMNS = PARTICLE_FLOATS + JET_FLOATS + SUBSTRUCTURE_FLOATS + TRUTH_FLOATS


def round_mantissa(values: Float[np.ndarray, " N"], bits: int, up: bool = False) -> Float[np.ndarray, " N"]:
    """Float32 values with `bits` of the 23 mantissa bits kept: rounded to nearest, or away from zero if `up`.

    The relative error is at most 2^-(bits + 1), for `up` 2^-bits; zero, sign and powers of two are exact. The bits cut
    off are zero, which is what makes the file small.
    """
    dropped = 23 - bits
    words = np.ascontiguousarray(values, np.float32).view(np.uint32)
    if dropped == 0:
        return words.view(np.float32)
    # What is added carries into the exponent where it must: the next binade starts there.
    added = (1 << dropped) - 1 if up else 1 << (dropped - 1)
    return ((words + np.uint32(added)) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)).view(np.float32)


def round_step(values: Float[np.ndarray, " N"], step: float) -> Float[np.ndarray, " N"]:
    """Float32 values rounded to the nearest multiple of `step`; the error is at most step / 2.

    A power of two is exact in float32 and leaves the low mantissa bits zero.
    """
    return (np.round(np.asarray(values, np.float64) / step) * step).astype(np.float32)
