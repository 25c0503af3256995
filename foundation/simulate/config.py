"""Settings of the simulation, checked before the first event is generated."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Literal

from foundation.errors import ConfigError, close_names
from foundation.simulate.columns import FLOAT_COLUMNS
from foundation.simulate.conditions_config import ConditionsConfig, check_conditions
from foundation.simulate.detector import DetectorConfig
from foundation.simulate.events_config import EventsConfig, check_events
from foundation.simulate.processes import Process, find_processes
from foundation.simulate.views_config import ViewsConfig, check_views

MOST_RADIUS = 1.5  # beyond half of pi a jet is no jet
REACH = 1.3  # times pt_min: the least pt of a jet that holds its decay may be a little above, not far


@dataclass(frozen=True)
class SimulateConfig:
    """What to generate. The defaults for the jets are those of JetClass: 500 < pt < 1000 GeV, |eta| < 2.

    Attributes:
        sample: jets, one at most of each collision, by class; or whole events, as `events` says.
        classes: jet classes, by the name of their label branch.
        jets_per_class: jets of each class.
        seed: of everything. The same settings and seed give the same columns, whatever the number of processes.
        radius: of the anti-kt jets.
        pt_min, pt_max: window of the detector-level jet pt, GeV.
        spectrum: of the jet pt in the window. flat: the same number in each of ten bins, for every class, so that pt
            alone cannot tell the classes apart. natural: as the cross section falls, by unweighted events.
        eta_max: largest |eta| of the jet axis.
        beam_energy: proton-proton centre-of-mass energy, GeV.
        max_constituents: the leading ones in pt are kept; how many jets lost some is reported.
        substructure: compute the soft-drop mass and tau1 to tau4.
        mantissa_bits: bits kept of the 23 in the float32 mantissa, by column: a relative precision of 2^-(bits + 1).
            What the detector does not resolve need not fill the disk. Columns named in neither are not rounded.
            Energies are rounded up; they are those of the rounded momenta.
        steps: by column, the values are rounded to multiples of this step: an absolute precision of step / 2.
        pythia: further Pythia settings, applied last; for instance ["PartonLevel:MPI = off"].
        detector: the response.
        events: whole events, if `sample` says so.
        views: re-simulation of the same hard partons.
        conditions: how the detector changes along a run.
        compression: of the ROOT file. lzma makes the smallest one and takes forty times as long as zstd.
    """

    sample: Literal["jets", "events"] = "jets"
    classes: tuple[str, ...] = ("label_QCD", "label_Tbqq", "label_Wqq", "label_Zqq", "label_Hbb")
    jets_per_class: int = 1000
    seed: int = 1
    radius: float = 0.8
    pt_min: float = 500.0
    pt_max: float = 1000.0
    spectrum: Literal["flat", "natural"] = "flat"
    eta_max: float = 2.0
    beam_energy: float = 13_000.0
    max_constituents: int = 128
    substructure: bool = True
    mantissa_bits: dict[str, int] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    pythia: tuple[str, ...] = ()
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    events: EventsConfig = field(default_factory=EventsConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    conditions: ConditionsConfig = field(default_factory=ConditionsConfig)
    compression: Literal["zstd", "zlib", "lzma"] = "zstd"


def check(cfg: SimulateConfig) -> None:
    """Refuses settings that cannot give a jet or an event, before any is generated.

    Raises:
        ConfigError: an unknown class or column, an empty window, or a number out of its range.
    """
    if cfg.seed < 0:
        raise ConfigError(f"seed = {cfg.seed}: at least 0 is needed")
    if not 0 < cfg.beam_energy < math.inf:
        raise ConfigError(f"beam_energy = {cfg.beam_energy} GeV is no energy of a collision")
    _check_detector(cfg.detector)
    check_views(cfg.views, cfg.sample)
    for variation in cfg.views.variations:
        _check_detector(dataclasses.replace(cfg.detector, **variation.detector))
    check_conditions(cfg.conditions, pileup=cfg.sample == "events")
    if cfg.sample == "events":
        check_events(cfg.events, cfg.beam_energy, cfg.conditions.changes)
    else:
        _check_jets(cfg)


def _check_jets(cfg: SimulateConfig) -> None:
    processes = find_processes(cfg.classes)
    if not 0 < cfg.pt_min < cfg.pt_max:
        raise ConfigError(f"the pt window is empty: pt_min = {cfg.pt_min} GeV, pt_max = {cfg.pt_max} GeV")
    if cfg.pt_max > cfg.beam_energy / 2:
        raise ConfigError(
            f"pt_max = {cfg.pt_max} GeV cannot be reached: half of beam_energy is {cfg.beam_energy / 2} GeV"
        )
    if not 0 < cfg.radius <= MOST_RADIUS:
        raise ConfigError(f"radius = {cfg.radius}: 0 < radius <= {MOST_RADIUS} is needed")
    if not 0 < cfg.eta_max <= cfg.detector.calorimeter_eta_max - cfg.radius:
        raise ConfigError(
            f"eta_max = {cfg.eta_max}: jets of radius {cfg.radius:g} must lie within the calorimeter, "
            f"0 < eta_max <= {cfg.detector.calorimeter_eta_max - cfg.radius:g}"
        )
    if min(cfg.jets_per_class, cfg.max_constituents) < 1:
        raise ConfigError("jets_per_class and max_constituents must be at least 1")
    for process in processes:
        _check_reach(process, cfg)
    _check_rounding(cfg)


def _check_reach(process: Process, cfg: SimulateConfig) -> None:
    """Refuses a window in which the class has no jet, or nearly none."""
    masses = " and ".join(f"{mass:g}" for mass in process.masses)
    if process.least_energy(cfg.pt_max) > cfg.beam_energy:
        raise ConfigError(
            f"{process.label}: two particles of {masses} GeV with pt_max = {cfg.pt_max:g} GeV are above the threshold: "
            f"they need {process.least_energy(cfg.pt_max):.0f} GeV, beam_energy is {cfg.beam_energy:g} GeV"
        )
    if process.least_pt(cfg.radius) > cfg.pt_min * REACH:
        raise ConfigError(
            f"{process.label}: the window is out of reach: what a particle of {max(process.masses):g} GeV decays to "
            f"fits into a cone of R = {cfg.radius:g} from a pt of about {process.least_pt(cfg.radius):.0f} GeV; pt_min "
            f"is {cfg.pt_min:g} GeV. Raise it or the radius, or leave the class out"
        )


def _check_rounding(cfg: SimulateConfig) -> None:
    for setting, columns in (("mantissa_bits", cfg.mantissa_bits), ("steps", cfg.steps)):
        for column in columns:
            if column not in FLOAT_COLUMNS:
                raise ConfigError(f"{setting}: no float column '{column}'; {close_names(column, FLOAT_COLUMNS)}")
    for column, bits in cfg.mantissa_bits.items():
        if not 0 <= bits <= 23:
            raise ConfigError(f"mantissa_bits: {column}: {bits} is not between 0 and 23")
        if column in cfg.steps:
            raise ConfigError(f"'{column}' is named in both mantissa_bits and steps: choose one")
    for column, step in cfg.steps.items():
        if column == "part_energy":
            raise ConfigError("steps: a step in part_energy would break E >= |p|: use mantissa_bits")
        if step <= 0:
            raise ConfigError(f"steps: {column}: {step} is not positive")


def _check_detector(detector: DetectorConfig) -> None:
    for setting in dataclasses.fields(detector):
        value = getattr(detector, setting.name)
        if not 0 <= value < math.inf or (setting.name.endswith("efficiency") and value > 1):
            raise ConfigError(f"detector.{setting.name}: {value} is out of range")
    if min(detector.ecal_cell, detector.hcal_cell) <= 0:
        raise ConfigError("detector.ecal_cell and detector.hcal_cell must be positive")
