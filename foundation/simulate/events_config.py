"""Settings of whole events: what collides, how the detector answers, what the Level-1 trigger makes of it.

Numbers are those of CMS where a source is named and of our choosing ("choice") where none is. GeV, mm, ns, rad.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from foundation.errors import ConfigError, close_names
from foundation.simulate.conditions_config import Change
from foundation.simulate.event_processes import check_processes

MOST_PILEUP = 200  # mean number of collisions
COLLECTIONS = ("tower", "region", "track", "candidate", "vertex", "muon", "eg", "tau", "jet", "truth")


@dataclass(frozen=True)
class PileupConfig:
    """Minimum-bias collisions laid over every event: each turned by a random azimuth, reflected along the beam at
    random and put at a vertex of its own, so that a small pool serves many events.

    Attributes:
        mean: of the Poisson number of collisions beside the hard one (of all collisions in zero bias).
        pool: minimum-bias collisions to draw from, with replacement; part of what defines a sample. What fewer than one
            in so many collisions does is missing, or comes again and again: rates far out in the tails want a large
            pool. 5 ms and 15 kB each.
        pool_file: where to keep the pool (.npz), for all processes and later runs; empty: each process makes its own.
            A file made with other settings is refused. The events are the same either way.
        settings: of Pythia for a pile-up collision: all inelastic ones, as CMS simulates it.
        vertex_z: spread of the vertices along the beam. 45 mm is the HL-LHC's (CMS-TDR-020, section 1).
        vertex_t: spread in time. 0.18 ns, same source.
    """

    mean: float = 50.0
    pool: int = 2000
    pool_file: str = ""
    settings: tuple[str, ...] = ("SoftQCD:inelastic = on",)
    vertex_z: float = 45.0
    vertex_t: float = 0.18


@dataclass(frozen=True)
class EnrichmentConfig:
    """More zero bias where it is rare: beside the plain crossings, crossings with one collision forced from a bin of
    pTHat of QCD two-jet production. Every row gets the weight with which all of them together are plain zero bias
    (stitching, arXiv:2106.04360); see `enrichment`.

    Attributes:
        pthat_edges: lower edges of the bins in GeV, ascending; the last bin has no upper edge. Empty: no enrichment.
    From about 20 GeV on, Pythia's two-jet and minimum-bias cross sections agree (docs/simulation.md).
        crossings: with a collision forced from each bin; one number for all bins, or one for each.
        pool: collisions of each bin for the pile-up, which has them as often as nature; the forced ones are all new.
    """

    pthat_edges: tuple[float, ...] = ()
    crossings: tuple[int, ...] = ()
    pool: int = 500

    @property
    def bins(self) -> list[tuple[float, float]]:
        """(low, high) of each bin in GeV; the last high is infinite."""
        return list(zip(self.pthat_edges, (*self.pthat_edges[1:], math.inf), strict=False))

    @property
    def counts(self) -> tuple[int, ...]:
        """Crossings to generate with each bin."""
        return self.crossings * len(self.pthat_edges) if len(self.crossings) == 1 else self.crossings


@dataclass(frozen=True)
class CalorimeterConfig:
    """Response of the towers; resolutions add in quadrature. See `towers` for the geometry.

    Attributes:
        magnetic_field: T.
        turns_max: charged particles that would need more turns than this to reach a calorimeter are lost (choice).
        ecal_stochastic, ecal_constant: of electrons and photons: 2.8% / sqrt(E) and 0.3% (test beam, JINST 2 P04004);
            the constant term is raised to 0.5% as observed in the collisions (JINST 8 P09009 has 0.4-0.8%).
        hadron_stochastic, hadron_constant: 84.7% / sqrt(E), 7.4% (test beam of the barrel, EPJC 60 (2009) 359).
        forward_*: of HF: 198% and 9% for electrons, 280% and 11% for pions (test beam, EPJC 53 (2008) 139).
        hadron_loss, hadron_power: mean response of hadrons 1 - loss (E / 1 GeV)^-power (Groom, NIM A 338 (1994) 336,
            with 1 - m = 0.15; the loss is a choice).
        hadron_mip: probability to cross the ECAL, 1.1 interaction lengths deep, without a shower: exp(-1.1).
        mip_ecal, mip_hcal: energy that a muon, or a hadron without a shower, leaves there (0.25 GeV: 23 cm of lead
            tungstate at 10 MeV / cm; 2 GeV in the HCAL). Otherwise the ECAL takes a uniform part of a shower (choice).
        hcal_calibration: factor on the HCAL energy, as Layer 1 applies: about 1 / response of a 50 GeV pion (choice).
        ecal_noise, hcal_noise, forward_noise: Gaussian, GeV of Et per tower and compartment. ECAL: 25 crystals of 40
            MeV; the others are choices.
        ecal_threshold, hcal_threshold, forward_threshold: zero suppression in Et: one count of the trigger primitives.
        tower_lsb, tower_bits: the integers of a tower's compartments on the wire: 8 bits of 0.5 GeV.
    """

    magnetic_field: float = 3.8
    turns_max: float = 1.0
    ecal_stochastic: float = 0.028
    ecal_constant: float = 0.005
    hadron_stochastic: float = 0.847
    hadron_constant: float = 0.074
    forward_electron_stochastic: float = 1.98
    forward_electron_constant: float = 0.09
    forward_hadron_stochastic: float = 2.8
    forward_hadron_constant: float = 0.11
    hadron_loss: float = 0.3
    hadron_power: float = 0.15
    hadron_mip: float = 0.33
    mip_ecal: float = 0.25
    mip_hcal: float = 2.0
    hcal_calibration: float = 1.2
    ecal_noise: float = 0.2
    hcal_noise: float = 0.2
    forward_noise: float = 0.3
    ecal_threshold: float = 0.5
    hcal_threshold: float = 0.5
    forward_threshold: float = 1.0
    tower_lsb: float = 0.5
    tower_bits: int = 8


@dataclass(frozen=True)
class TrackerConfig:
    """Level-1 tracks of the Phase-2 outer tracker: sizes of CERN-LHCC-2017-009 (chapter 3), shapes of our choosing.

    Attributes:
        pt_min, eta_max: of the tracks found.
        hadron_efficiency, electron_efficiency, muon_efficiency: for prompt particles.
        birth_radius_max: efficiency falls linearly to zero for particles born at this distance from the beam.
        pt_constant, pt_linear, pt_eta: relative width (constant + linear pt) (1 + pt_eta eta^2).
        phi_constant, phi_scattering: hypot(constant, scattering / pt).
        eta_width: of eta.
        z0_constant, z0_eta: constant + z0_eta eta^2: 1 mm in the centre, 3 mm at |eta| = 2.4.
        vertex_bin: the primary vertex is the heaviest window of three bins of this width in z0, weighted with pt, as
            the trigger's histogram finder does.
        vertex_pt_max: pt that a track counts for in it at most, against mismeasured ones.
        association: a track belongs to the primary vertex within this many widths of z0, and half a bin.
    """

    pt_min: float = 2.0
    eta_max: float = 2.4
    hadron_efficiency: float = 0.94
    electron_efficiency: float = 0.85
    muon_efficiency: float = 0.99
    birth_radius_max: float = 20.0
    pt_constant: float = 0.01
    pt_linear: float = 2e-4
    pt_eta: float = 0.3
    phi_constant: float = 0.0004
    phi_scattering: float = 0.002
    eta_width: float = 0.002
    z0_constant: float = 1.0
    z0_eta: float = 0.35
    vertex_bin: float = 1.0
    vertex_pt_max: float = 50.0
    association: float = 2.5


@dataclass(frozen=True)
class MuonConfig:
    """Level-1 muons: sizes of arXiv:2006.10165 (section 5), shapes of our choosing. No punch-through, no fakes.

    Attributes:
        eta_max, pt_min, momentum_min: a muon must cross the iron: 4 GeV of momentum and 2.5 GeV of pt.
        efficiency: beyond that.
        pt_width: relative, of a log-normal about the true pt. The hardware's pt is biased upwards, so that thresholds
            are 90% efficient; `pt_scale` is that factor (1: none).
        eta_width, phi_width: extrapolated to the vertex.
        charge_flip, charge_flip_linear: probability of the wrong charge: flip + linear pt, at most 1/2.
        decays_in_flight: pions and kaons that decay to a muon before the calorimeter.
        quality_good: part with quality 12; the others have 8 or 4, evenly.
    """

    eta_max: float = 2.45
    pt_min: float = 2.5
    momentum_min: float = 4.0
    efficiency: float = 0.95
    pt_width: float = 0.22
    pt_scale: float = 1.0
    eta_width: float = 0.015
    phi_width: float = 0.015
    charge_flip: float = 0.01
    charge_flip_linear: float = 5e-4
    decays_in_flight: bool = True
    quality_good: float = 0.8


@dataclass(frozen=True)
class PuppiConfig:
    """Weights after arXiv:1407.6013, simplified; see `puppi`.

    Attributes:
        radius: of the cone, 0.4 (CMS; the article has 0.3).
        weight_min: smaller weights count as 0 (article: 0.1).
        neutral_pt, neutral_slope: neutral candidates count as 0 whose weighted pt is less than pt + slope * rho, rho
            being the event's density in GeV. CMS has 0.2-0.3 + 0.01 for each vertex, of which one makes 0.57 here.
        forward_pt, forward_slope: the same where there are no tracks (CMS: 1.75 + 0.08 for each vertex).
        tower_min: a tower's energy left over by the tracks that point to it makes a neutral candidate above this.
    """

    radius: float = 0.4
    weight_min: float = 0.1
    neutral_pt: float = 0.3
    neutral_slope: float = 0.02
    forward_pt: float = 1.75
    forward_slope: float = 0.14
    tower_min: float = 1.0


@dataclass(frozen=True)
class Level1Config:
    """Objects of the calorimeter trigger. Windows are those of CMS's Layer 2 (arXiv:2006.10165, section 3), simplified;
    see `level1`. Thresholds in GeV of Et.

    Attributes:
        jet_seed: of the central tower of the 9 x 9 window (4 GeV in CMS).
        jet_subtraction: of pile-up, by the ring or by the chunky donut (CMS's firmware emulator has both), or none.
        jet_scale: factor on the jets' Et after that: jets of 100 GeV quarks and gluons come out right (choice).
        jet_pt_min, jet_forward_pt_min: of the jets kept, within ht_eta_max and beyond: pile-up makes most of
            those below (choice: about as many as in CMS's own test vectors of top pairs; its jets begin at 8 GeV).
        eg_seed, eg_hadronic: ECAL Et of the seed, and the largest HCAL / ECAL of the cluster.
        eg_eta_max, tau_eta_max, jet_eta_max: largest |eta| of the tower.
        tau_seed: Et of the seed.
        isolation_offset, tight, loose: Et around the object at most offset + tight (loose) * pt for the two isolation
            bits (choice).
        sum_threshold, sum_slope: towers below threshold + slope * (pile-up Et expected of a tower of their size) do not
            enter ET and MET (choice; CMS has a table by eta and the number of towers).
        ht_pt_min, ht_eta_max: jets of HT and MHT (30 GeV, 2.5 in CMS).
        most_*: objects kept, the leading ones, as the global trigger receives.
    """

    jet_seed: float = 4.0
    jet_subtraction: Literal["ring", "donut", "none"] = "ring"
    jet_scale: float = 1.2
    jet_pt_min: float = 8.0
    jet_forward_pt_min: float = 25.0
    jet_eta_max: float = 5.1
    eg_seed: float = 3.0
    eg_hadronic: float = 0.1
    eg_eta_max: float = 2.6
    tau_seed: float = 2.5
    tau_eta_max: float = 2.2
    isolation_offset: float = 4.0
    tight: float = 0.1
    loose: float = 0.2
    sum_threshold: float = 2.0
    sum_slope: float = 2.5
    ht_pt_min: float = 30.0
    ht_eta_max: float = 2.5
    most_muons: int = 8
    most_egs: int = 12
    most_taus: int = 12
    most_jets: int = 12


@dataclass(frozen=True)
class EventsConfig:
    """Whole events.

    Attributes:
        processes: name -> number of events; see `event_processes` for the names.
        parameters: process -> parameter -> value, for instance {wprime: {m_x: 300}}.
        collections: what is written besides the scalars.
        enrichment: rare zero bias with weights.
        pileup, calorimeter, tracker, muons, puppi, level1: the stages.
    """

    processes: dict[str, int] = field(default_factory=lambda: {"zero_bias": 1000})
    parameters: dict[str, dict[str, float]] = field(default_factory=dict)
    collections: tuple[str, ...] = COLLECTIONS
    enrichment: EnrichmentConfig = field(default_factory=EnrichmentConfig)
    pileup: PileupConfig = field(default_factory=PileupConfig)
    calorimeter: CalorimeterConfig = field(default_factory=CalorimeterConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    muons: MuonConfig = field(default_factory=MuonConfig)
    puppi: PuppiConfig = field(default_factory=PuppiConfig)
    level1: Level1Config = field(default_factory=Level1Config)


def check_events(events: EventsConfig, beam_energy: float, changes: Sequence[Change] = ()) -> None:
    """Refuses settings that cannot give an event, before any is generated. `changes` are those of the conditions.

    Raises:
        ConfigError: an unknown process, parameter or collection, impossible masses, a number out of its range, or a
            change that whole events do not show.
    """
    for change in changes:
        if change.kind in ("beam_spot_x", "beam_spot_y"):
            raise ConfigError(f"conditions.changes: {change.kind}: unseen in whole events, Level-1 tracks have no d0")
    check_processes(events.processes, events.parameters, beam_energy)
    for name in events.collections:
        if name not in COLLECTIONS:
            raise ConfigError(f"events.collections: no collection '{name}'; {close_names(name, COLLECTIONS)}")
    for stage in ("pileup", "calorimeter", "tracker", "muons", "puppi", "level1"):
        _check_stage(stage, getattr(events, stage))
    rise = sum(max(change.size, 0) for change in changes if change.kind == "pileup")
    if events.pileup.mean * (1 + rise) > MOST_PILEUP:
        more = f", times {1 + rise:g} by conditions.changes" if rise else ""
        raise ConfigError(
            f"events.pileup.mean = {events.pileup.mean}{more}: the overlay is made for 0 to {MOST_PILEUP} collisions"
        )
    if events.pileup.mean and events.pileup.pool < 1:
        raise ConfigError("events.pileup.pool = 0: pile-up needs a pool of at least one collision")
    _check_enrichment(events, beam_energy)


def _check_enrichment(events: EventsConfig, beam_energy: float) -> None:
    where, edges, counts = "events.enrichment", events.enrichment.pthat_edges, events.enrichment.crossings
    if not edges and not counts:
        return
    if not edges or len(counts) not in (1, len(edges)) or min(counts) < 1:
        raise ConfigError(
            f"{where}.crossings: {list(counts)} for {len(edges)} bins (pthat_edges: {list(edges)}); give one number of"
            " crossings for all bins, or one for each, at least 1"
        )
    if not all(0 < low < high for low, high in events.enrichment.bins) or edges[-1] * 2 >= beam_energy:
        raise ConfigError(f"{where}.pthat_edges: {list(edges)} GeV must ascend, above 0 and below half of beam_energy")
    if "zero_bias" not in events.processes or not events.pileup.mean:
        raise ConfigError(
            f"{where} weights crossings against plain ones: it needs events.processes.zero_bias and events.pileup.mean"
        )
    if events.enrichment.pool < 1:
        raise ConfigError(f"{where}.pool = {events.enrichment.pool}: at least one collision is needed")


def _check_stage(stage: str, settings: Any) -> None:
    for setting in dataclasses.fields(settings):
        value = getattr(settings, setting.name)
        if not isinstance(value, int | float):
            continue
        probability = setting.name.endswith("efficiency") or setting.name in ("hadron_mip", "quality_good")
        if not 0 <= value < math.inf or (probability and value > 1):
            raise ConfigError(f"events.{stage}.{setting.name}: {value} is out of range")
        if setting.name in ("tower_lsb", "tower_bits", "magnetic_field", "vertex_bin", "radius") and value <= 0:
            raise ConfigError(f"events.{stage}.{setting.name} must be positive")
