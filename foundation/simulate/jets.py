"""Candidates -> jets: anti-kt clustering, selection, and the match to the partons that give a jet its label."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import awkward as ak
import fastjet
import numpy as np
import vector
from jaxtyping import Bool, Float, Int

from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import Candidates
from foundation.simulate.processes import BOTTOM, CHARM, LIGHT
from foundation.simulate.truth import HeavyHadrons, PartonGroup, Truth

TRUTH = ("truth_px", "truth_py", "truth_pz")

vector.register_awkward()  # fastjet's awkward interface wants arrays of vector's Momentum4D


@dataclass(frozen=True)
class Jets:
    """Jets, flat, ordered by event. `members` (jets x var) are positions among the candidates, by descending pt.

    `group` is the position of the parton group that the jet contains, -1 for none; the `truth` columns are those of the
    resonance, neutrinos included. `flavour` is 5 if the jet has a bottom hadron, else 4 if it has a charm hadron, else
    0. A hadron belongs to the nearest jet of the event above the least pt, if within the radius of its axis.
    """

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
    flavour: Int[np.ndarray, " J"]
    b_hadrons: Int[np.ndarray, " J"]
    c_hadrons: Int[np.ndarray, " J"]

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


def find_jets(candidates: Candidates, truth: Truth, cfg: SimulateConfig, rng: np.random.Generator) -> Jets:
    """Anti-kt jets in the window that contain (deltaR < radius) every parton of a group, and have the flavour wanted.

    Where an event has several, one is taken at random: jets of the sample are then independent of each other.
    """
    jets = _all_jets(candidates, truth, cfg)
    good = (jets.pt < cfg.pt_max) & (np.abs(jets.eta) < cfg.eta_max) & (jets.group >= 0)
    if truth.flavour is not None:
        good &= jets.flavour == truth.flavour
    keep = np.flatnonzero(good)[rng.permutation(good.sum())]
    jets = jets[keep[np.unique(jets.event[keep], return_index=True)[1]]]
    return dataclasses.replace(jets, members=_by_descending_pt(jets.members, candidates))


def _all_jets(candidates: Candidates, truth: Truth, cfg: SimulateConfig) -> Jets:
    """Those above the least pt; members in no order."""
    events = len(truth.groups[0].pdgid)
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
    eta, phi = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
    group = _match(eta, phi, event, truth.groups, cfg.radius)
    b_hadrons, c_hadrons = (_hadrons(eta, phi, event, truth.hadrons, f, cfg.radius) for f in (BOTTOM, CHARM))
    return Jets(
        event=event,
        group=group,
        px=px,
        py=py,
        pz=pz,
        energy=energy,
        members=ak.flatten(cluster.constituent_index(min_pt=cfg.pt_min), axis=1) + first[event],
        truth_pdgid=np.stack([g.pdgid for g in truth.groups])[group, event],
        **{name: np.stack([getattr(g, name) for g in truth.groups])[group, event] for name in TRUTH},
        flavour=np.select([b_hadrons > 0, c_hadrons > 0], [BOTTOM, CHARM], LIGHT),
        b_hadrons=b_hadrons,
        c_hadrons=c_hadrons,
    )


def _match(
    eta: Float[np.ndarray, " J"],
    phi: Float[np.ndarray, " J"],
    event: Int[np.ndarray, " J"],
    groups: list[PartonGroup],
    radius: float,
) -> Int[np.ndarray, " J"]:
    """For each jet the first group that lies within the jet radius entirely, or -1."""
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


def _hadrons(
    eta: Float[np.ndarray, " J"],
    phi: Float[np.ndarray, " J"],
    event: Int[np.ndarray, " J"],
    hadrons: HeavyHadrons,
    flavour: int,
    radius: float,
) -> Int[np.ndarray, " J"]:
    """How many hadrons of this flavour belong to each jet; `event` ascends."""
    these = np.flatnonzero(hadrons.flavour == flavour)
    start, stop = (np.searchsorted(event, hadrons.event[these], side) for side in ("left", "right"))
    choices = stop - start
    hadron = np.repeat(these, choices)
    jet = np.arange(len(hadron)) + np.repeat(start - np.cumsum(choices) + choices, choices)
    distance = np.hypot(eta[jet] - hadrons.eta[hadron], delta_phi(phi[jet], hadrons.phi[hadron]))
    order = np.lexsort((distance, hadron))
    nearest = order[np.unique(hadron[order], return_index=True)[1]]
    return np.bincount(jet[nearest[distance[nearest] < radius]], minlength=len(event))


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
