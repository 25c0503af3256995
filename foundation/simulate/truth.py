"""What the generator knows of an event: the partons that a jet must contain, and the heavy hadrons.

Axes: E events, P partons of a group, H hadrons of all events.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce

import awkward as ak
import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.simulate.processes import BOTTOM, CHARM, Decay, Process

HARD_PROCESS_STATUS = 23  # Pythia's |status| of outgoing particles of the hard scattering and of resonance decays
CHARGED_LEPTONS, NEUTRINOS = (11, 13), (12, 14, 16)
HADRON_PT_MIN = 5.0  # GeV, of hadrons that give a jet its flavour, as in the experiments


@dataclass(frozen=True)
class PartonGroup:
    """Partons and leptons that a jet must contain, one group per event; momenta are NaN in events without the group.

    `pdgid` is that of the resonance, or of the parton; `truth_*` is the momentum of the resonance: the sum of the
    group and of the neutrinos that belong to it.
    """

    pdgid: Int[np.ndarray, " E"]
    px: Float[np.ndarray, "E P"]
    py: Float[np.ndarray, "E P"]
    pz: Float[np.ndarray, "E P"]
    energy: Float[np.ndarray, "E P"]
    truth_px: Float[np.ndarray, " E"]
    truth_py: Float[np.ndarray, " E"]
    truth_pz: Float[np.ndarray, " E"]


@dataclass(frozen=True)
class HeavyHadrons:
    """Bottom and charm hadrons that decay weakly, pt > 5 GeV, flat. A charm hadron may come from a bottom hadron."""

    event: Int[np.ndarray, " H"]
    flavour: Int[np.ndarray, " H"]  # 5 or 4
    eta: Float[np.ndarray, " H"]
    phi: Float[np.ndarray, " H"]


@dataclass(frozen=True)
class Truth:
    """What jets are matched to. `flavour` is the one that they must have; None: any."""

    groups: list[PartonGroup]
    hadrons: HeavyHadrons
    flavour: int | None = None


def truth_of(records: ak.Array, process: Process) -> Truth:
    """The truth of a Pythia batch (events x var records with id, status, mother1, p)."""
    return Truth(parton_groups(records, process), heavy_hadrons(records), process.flavour)


def parton_groups(records: ak.Array, process: Process) -> list[PartonGroup]:
    """The groups of `process`, one list element per system, or per outgoing parton where it has none."""
    hard = records[abs(records.status) == HARD_PROCESS_STATUS]
    code = abs(hard.id)
    quark_or_gluon = (code <= 5) | (code == 21)
    if not process.systems:
        partons = hard[quark_or_gluon]
        return [_parton(partons[:, i : i + 1], process.partons) for i in range(2)]
    mother = records.id[hard.mother1]
    kinds = quark_or_gluon, _one_of(code, CHARGED_LEPTONS), _one_of(code, NEUTRINOS)
    return [_system(hard, mother, kinds, system, process.resonance) for system in process.systems]


def _parton(partons: ak.Array, wanted: tuple[int, ...]) -> PartonGroup:
    pdgid = ak.to_numpy(partons.id[:, 0])
    there = np.isin(np.abs(pdgid), wanted) if wanted else np.ones(len(pdgid), bool)
    return _group(partons, there, partons, 1, pdgid)


def _system(
    hard: ak.Array,
    mother: ak.Array,
    kinds: tuple[ak.Array, ak.Array, ak.Array],
    system: tuple[Decay, ...],
    resonance: int,
) -> PartonGroup:
    quarks, leptons, neutrinos = kinds
    there = np.ones(len(hard), bool)
    parts, invisible = [], []
    for decay in system:
        of_mother = mother == decay.mother
        for kind, count in ((quarks, decay.quarks), (leptons, decay.leptons)):
            found = hard[of_mother & kind]
            there &= ak.to_numpy(ak.num(found)) == count
            parts.append(found)
        invisible.append(hard[of_mother & neutrinos])
    visible = ak.concatenate(parts, axis=1)
    count = sum(decay.quarks + decay.leptons for decay in system)
    pdgid = np.full(len(there), resonance or system[0].mother, np.int32)
    return _group(visible, there, ak.concatenate([visible, *invisible], axis=1), count, pdgid)


def _group(
    partons: ak.Array, there: Bool[np.ndarray, " E"], everything: ak.Array, count: int, pdgid: Int[np.ndarray, " E"]
) -> PartonGroup:
    momenta = ak.pad_none(partons.p[there], count, axis=1, clip=True)
    columns = {}
    for name, axis in (("px", "px"), ("py", "py"), ("pz", "pz"), ("energy", "e")):
        columns[name] = np.full((len(there), count), np.nan)
        columns[name][there] = ak.to_numpy(momenta[axis])
    sums = {f"truth_{axis}": ak.to_numpy(ak.sum(everything.p[axis], axis=1)) for axis in ("px", "py", "pz")}
    return PartonGroup(pdgid, **columns, **sums)


def _one_of(code: ak.Array, wanted: tuple[int, ...]) -> ak.Array:
    return reduce(operator.or_, [code == each for each in wanted])


def heavy_hadrons(records: ak.Array) -> HeavyHadrons:
    """Those of a Pythia batch. Of a hadron and the excited one that it comes from, the last of the chain counts."""
    code = np.abs(ak.to_numpy(ak.flatten(records.id)))
    counts = ak.to_numpy(ak.num(records))
    first = np.cumsum(counts) - counts
    heavy = np.flatnonzero(_flavour(code))
    flavour = _flavour(code[heavy])
    event = np.searchsorted(first, heavy, side="right") - 1
    momentum = ak.flatten(records.p)[heavy]
    px, py, pz = (ak.to_numpy(momentum[axis]) for axis in ("px", "py", "pz"))
    mother = first[event] + ak.to_numpy(ak.flatten(records.mother1))[heavy]
    excited = mother[_flavour(code[mother]) == flavour]
    pt = np.hypot(px, py)
    keep = ~np.isin(heavy, excited) & (pt > HADRON_PT_MIN)
    eta, phi = np.arcsinh(pz[keep] / pt[keep]), np.arctan2(py[keep], px[keep])
    return HeavyHadrons(event[keep], flavour[keep], eta, phi)


def _flavour(code: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """5, 4 or 0: the heavier of bottom and charm in the hadrons of these |PDG ids|; 0 for quarkonia and all else."""
    digits = [code // power % 10 for power in (10, 100, 1000)]  # of the quarks, the heaviest last
    heaviest = np.maximum(digits[1], digits[2])
    hadron = (code > 100) & (code < 1_000_000) & (digits[0] > 0)  # a diquark has 0 there
    open_flavour = (digits[2] > 0) | (digits[0] != digits[1])
    return np.where(hadron & open_flavour & np.isin(heaviest, (CHARM, BOTTOM)), heaviest, 0)
