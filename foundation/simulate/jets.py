"""Candidates -> jets: anti-kt clustering, selection, and the match to the partons that give a jet its label."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import fastjet
import numpy as np
import vector
from jaxtyping import Bool, Float, Int

from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import Candidates
from foundation.simulate.processes import Process

vector.register_awkward()  # fastjet's awkward interface wants arrays of vector's Momentum4D

HARD_PROCESS_STATUS = 23  # Pythia's |status| of outgoing particles of the hard scattering and of resonance decays


@dataclass(frozen=True)
class PartonGroup:
    """Partons that a jet must contain, one group per event; momenta are NaN in events without the group.

    `px, py, pz, energy` have shape (events, partons), `pdgid` (events,): that of the resonance, or of the parton.
    """

    pdgid: Int[np.ndarray, " E"]
    px: Float[np.ndarray, "E P"]
    py: Float[np.ndarray, "E P"]
    pz: Float[np.ndarray, "E P"]
    energy: Float[np.ndarray, "E P"]


@dataclass(frozen=True)
class Jets:
    """Selected jets, at most one per event, flat. `members` (jets x var) are positions among the candidates, by
    descending pt. `group` is the position of the parton group it contains; the `truth` columns are those of the summed
    partons, with the resonance's PDG id."""

    event: Int[np.ndarray, " J"]
    group: Int[np.ndarray, " J"]
    px: Float[np.ndarray, " J"]
    py: Float[np.ndarray, " J"]
    pz: Float[np.ndarray, " J"]
    energy: Float[np.ndarray, " J"]
    members: ak.Array
    truth_pdgid: Int[np.ndarray, " J"]
    truth_px: Float[np.ndarray, " J"]
    truth_py: Float[np.ndarray, " J"]
    truth_pz: Float[np.ndarray, " J"]

    @property
    def pt(self) -> Float[np.ndarray, " J"]:
        return np.hypot(self.px, self.py)

    @property
    def eta(self) -> Float[np.ndarray, " J"]:
        return np.arcsinh(self.pz / self.pt)

    @property
    def phi(self) -> Float[np.ndarray, " J"]:
        return np.arctan2(self.py, self.px)

    def __getitem__(self, keep: Int[np.ndarray, " K"]) -> Jets:
        return Jets(**{name: column[keep] for name, column in vars(self).items()})


def parton_groups(particles: ak.Array, process: Process) -> list[PartonGroup]:
    """The groups of `process` in the events of a Pythia batch (events x var records with id, status, mother1, p)."""
    quark_or_gluon = (abs(particles.id) <= 5) | (particles.id == 21)
    partons = particles[(abs(particles.status) == HARD_PROCESS_STATUS) & quark_or_gluon]
    if not process.systems:
        return [_group(partons[:, i : i + 1], 1, ak.to_numpy(partons.id[:, i])) for i in range(2)]
    mother = particles.id[partons.mother1]
    groups = []
    for system in process.systems:
        wanted = [partons[mother == pdgid] for pdgid, _ in system]
        complete = np.logical_and.reduce([ak.to_numpy(ak.num(w)) == n for w, (_, n) in zip(wanted, system)])
        joined = ak.concatenate(wanted, axis=1)
        pdgid = np.full(len(complete), system[0][0], np.int32)
        groups.append(_group(ak.mask(joined, complete), sum(n for _, n in system), pdgid))
    return groups


def _group(partons: ak.Array, count: int, pdgid: Int[np.ndarray, " E"]) -> PartonGroup:
    padded = ak.pad_none(ak.fill_none(partons.p, [], axis=0), count, axis=1, clip=True)
    columns = (ak.to_numpy(ak.fill_none(padded[name], np.nan)) for name in ("px", "py", "pz", "e"))
    return PartonGroup(pdgid, *columns)


def find_jets(candidates: Candidates, groups: list[PartonGroup], cfg: SimulateConfig, rng: np.random.Generator) -> Jets:
    """Anti-kt R = 0.8 jets in the window that contain (deltaR < 0.8) every parton of a group.

    Where an event has several, one is taken at random: jets of the sample are then independent of each other.
    """
    events = len(groups[0].pdgid)
    counts = np.bincount(candidates.event, minlength=events)
    first = np.concatenate([[0], np.cumsum(counts)])
    cluster = fastjet.ClusterSequence(
        four_vectors(candidates.px, candidates.py, candidates.pz, candidates.energy, counts),
        fastjet.JetDefinition(fastjet.antikt_algorithm, cfg.radius),
    )
    found = cluster.inclusive_jets(min_pt=cfg.pt_min)
    event = np.repeat(np.arange(events), ak.to_numpy(ak.num(found)))
    flat = ak.flatten(found)
    px, py, pz, energy = (ak.to_numpy(flat[name]) for name in ("px", "py", "pz", "E"))
    members = ak.flatten(cluster.constituent_index(min_pt=cfg.pt_min), axis=1) + first[event]

    group = _match(px, py, pz, event, groups, cfg.radius)
    pt = np.hypot(px, py)
    good = (pt < cfg.pt_max) & (np.abs(np.arcsinh(pz / pt)) < cfg.eta_max) & (group >= 0)
    keep = np.flatnonzero(good)[rng.permutation(good.sum())]
    keep = keep[np.unique(event[keep], return_index=True)[1]]

    group, event = group[keep], event[keep]
    truth = {
        f"truth_{name}": np.stack([getattr(g, name).sum(axis=1) for g in groups])[group, event]
        for name in ("px", "py", "pz")
    }
    return Jets(
        event=event,
        group=group,
        px=px[keep],
        py=py[keep],
        pz=pz[keep],
        energy=energy[keep],
        members=_by_descending_pt(members[keep], candidates),
        truth_pdgid=np.stack([g.pdgid for g in groups])[group, event],
        **truth,
    )


def _match(
    px: Float[np.ndarray, " J"],
    py: Float[np.ndarray, " J"],
    pz: Float[np.ndarray, " J"],
    event: Int[np.ndarray, " J"],
    groups: list[PartonGroup],
    radius: float,
) -> Int[np.ndarray, " J"]:
    """For each jet the first group that lies within the jet radius entirely, or -1."""
    eta, phi = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
    inside = np.stack([_contains(eta, phi, event, group, radius) for group in groups])
    return np.where(inside.any(axis=0), inside.argmax(axis=0), -1)


def _contains(
    eta: Float[np.ndarray, " J"],
    phi: Float[np.ndarray, " J"],
    event: Int[np.ndarray, " J"],
    group: PartonGroup,
    radius: float,
) -> Bool[np.ndarray, " J"]:
    parton_eta = np.arcsinh(group.pz / np.hypot(group.px, group.py))[event]
    parton_phi = np.arctan2(group.py, group.px)[event]
    distance = np.hypot(parton_eta - eta[:, None], delta_phi(parton_phi, phi[:, None]))
    return (distance < radius).all(axis=1)  # NaN, an absent group, is not inside


def _by_descending_pt(members: ak.Array, candidates: Candidates) -> ak.Array:
    flat = ak.to_numpy(ak.flatten(members))
    pt = ak.unflatten(np.hypot(candidates.px[flat], candidates.py[flat]), ak.num(members))
    return members[ak.argsort(pt, axis=1, ascending=False, stable=True)]


def four_vectors(
    px: Float[np.ndarray, " N"],
    py: Float[np.ndarray, " N"],
    pz: Float[np.ndarray, " N"],
    energy: Float[np.ndarray, " N"],
    counts: Int[np.ndarray, " G"],
) -> ak.Array:
    """Flat columns as groups x var four-vectors, the input of fastjet."""
    return ak.unflatten(ak.zip({"px": px, "py": py, "pz": pz, "E": energy}, with_name="Momentum4D"), counts)


def delta_phi(a: Float[np.ndarray, "*#s"], b: Float[np.ndarray, "*#s"]) -> Float[np.ndarray, "*s"]:
    """a - b in [-pi, pi)."""
    return (a - b + np.pi) % (2 * np.pi) - np.pi
