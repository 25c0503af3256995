"""Jets -> the branches of the written tree, with JetClass's names and conventions (arXiv:2202.03772)."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Float, Int

from foundation.simulate.columns import PARTICLE_KINDS, round_mantissa, round_step
from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import Candidates
from foundation.simulate.jets import Jets, delta_phi, four_vectors
from foundation.simulate.substructure import soft_drop_mass, subjettiness


def jet_branches(jets: Jets, candidates: Candidates, cfg: SimulateConfig) -> dict[str, Any]:
    """Columns `part_*` (jets x var), `jet_*` and `aux_genpart_*` (jets,); floats are float32, rounded as cfg says.

    jet_* are of all constituents; part_* are the leading `cfg.max_constituents`.
    """
    constituents = ak.to_numpy(ak.num(jets.members))
    floats = _kinematics(jets) | (_substructure(jets, candidates, cfg.radius) if cfg.substructure else {})
    leading = jets.members[:, : cfg.max_constituents]
    kept = ak.to_numpy(ak.num(leading))
    particles = _particles(jets, candidates, ak.to_numpy(ak.flatten(leading)), kept, cfg)
    return {
        **{name: ak.unflatten(column, kept) for name, column in particles.items()},
        **{name: _round(name, column, cfg) for name, column in floats.items()},
        "jet_nparticles": constituents.astype(np.int32),
        "jet_flavour": jets.flavour.astype(np.int32),
        "jet_nbhadrons": jets.b_hadrons.astype(np.int32),
        "jet_nchadrons": jets.c_hadrons.astype(np.int32),
        "aux_genpart_pid": jets.truth_pdgid.astype(np.int32),
        "aux_truth_match": np.ones(len(constituents), np.float32),  # as in JetClass; here there are no other jets
    }


def _kinematics(jets: Jets) -> dict[str, Float[np.ndarray, " J"]]:
    truth_pt = np.hypot(jets.truth_px, jets.truth_py)
    return {
        "jet_pt": jets.pt,
        "jet_eta": jets.eta,
        "jet_phi": jets.phi,
        "jet_energy": jets.energy,
        "aux_genpart_pt": truth_pt,
        "aux_genpart_eta": np.arcsinh(jets.truth_pz / truth_pt),
        "aux_genpart_phi": np.arctan2(jets.truth_py, jets.truth_px),
    }


def _substructure(jets: Jets, candidates: Candidates, radius: float) -> dict[str, Float[np.ndarray, " J"]]:
    rows = ak.to_numpy(ak.flatten(jets.members))
    px, py, pz, energy = (getattr(candidates, name)[rows] for name in ("px", "py", "pz", "energy"))
    constituents = four_vectors(px, py, pz, energy, ak.to_numpy(ak.num(jets.members)))
    taus = subjettiness(constituents, radius).T
    masses = {"jet_sdmass": soft_drop_mass(constituents, radius)}
    return masses | {f"jet_tau{n}": tau for n, tau in enumerate(taus, start=1)}


def _particles(
    jets: Jets, candidates: Candidates, rows: Int[np.ndarray, " N"], kept: Int[np.ndarray, " J"], cfg: SimulateConfig
) -> dict[str, Any]:
    momenta = {f"part_{axis}": getattr(candidates, axis)[rows] for axis in ("px", "py", "pz")}
    mass2 = np.maximum(candidates.energy[rows] ** 2 - sum(p**2 for p in momenta.values()), 0)
    momenta = {name: _round(name, p, cfg) for name, p in momenta.items()}
    # The other kinematics follow from the momenta as written: rounding must not make mass out of massless particles.
    px, py, pz = (p.astype(np.float64) for p in momenta.values())
    eta, phi = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass2).astype(np.float32)
    jet = np.repeat(np.arange(len(kept)), kept)
    floats = {
        # As in JetClass: positive towards larger |eta|, so that jets of both sides of the detector look alike.
        "part_deta": np.where(jets.eta > 0, 1, -1)[jet] * (eta - jets.eta[jet]),
        "part_dphi": delta_phi(phi, jets.phi[jet]),
        "part_d0val": candidates.d0[rows],
        "part_d0err": candidates.d0err[rows],
        "part_dzval": candidates.dz[rows],
        "part_dzerr": candidates.dzerr[rows],
    }
    kind = candidates.kind[rows]
    return {
        **momenta,
        "part_energy": round_mantissa(energy, cfg.mantissa_bits.get("part_energy", 23), up=True),  # up: E >= |p|
        **{name: _round(name, column, cfg) for name, column in floats.items()},
        "part_charge": candidates.charge[rows].astype(np.float32),
        **{name: (kind == i).astype(np.int32) for i, name in enumerate(PARTICLE_KINDS)},
    }


def _round(name: str, column: Float[np.ndarray, " N"], cfg: SimulateConfig) -> Float[np.ndarray, " N"]:
    if name in cfg.steps:
        return round_step(column.astype(np.float32), cfg.steps[name])
    return round_mantissa(column.astype(np.float32), cfg.mantissa_bits.get(name, 23))
