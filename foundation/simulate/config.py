"""Settings of the simulation, checked before the first event is generated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from foundation.errors import ConfigError, close_names
from foundation.simulate.columns import FLOAT_COLUMNS
from foundation.simulate.detector import DetectorConfig
from foundation.simulate.processes import find_processes

JET_RADIUS = 0.8
CHUNK_JETS = 500  # part of what defines a sample: another value gives other jets


@dataclass(frozen=True)
class SimulateConfig:
    """What to generate. The defaults for the jets are those of JetClass: 500 < pt < 1000 GeV, |eta| < 2.

    Attributes:
        classes: jet classes, by the name of their JetClass label branch.
        jets_per_class: jets of each class.
        seed: of everything. The same settings and seed give the same columns, whatever the number of processes.
        pt_min, pt_max: window of the detector-level jet pt, GeV. Within it every class has the same, flat, spectrum.
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
    """

    classes: tuple[str, ...] = ("label_QCD", "label_Tbqq", "label_Wqq", "label_Zqq", "label_Hbb")
    jets_per_class: int = 1000
    seed: int = 1
    pt_min: float = 500.0
    pt_max: float = 1000.0
    eta_max: float = 2.0
    beam_energy: float = 13_000.0
    max_constituents: int = 128
    substructure: bool = True
    mantissa_bits: dict[str, int] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    pythia: tuple[str, ...] = ()
    detector: DetectorConfig = field(default_factory=DetectorConfig)


def check(cfg: SimulateConfig) -> None:
    """Refuses settings that cannot give a jet, before any event is generated.

    Raises:
        ConfigError: an unknown class or column, an empty window, or a number out of its range.
    """
    find_processes(cfg.classes)
    if not 0 < cfg.pt_min < cfg.pt_max:
        raise ConfigError(f"the pt window is empty: pt_min = {cfg.pt_min} GeV, pt_max = {cfg.pt_max} GeV")
    if cfg.pt_max > cfg.beam_energy / 2:
        raise ConfigError(
            f"pt_max = {cfg.pt_max} GeV cannot be reached: half of beam_energy is {cfg.beam_energy / 2} GeV"
        )
    if not 0 < cfg.eta_max <= cfg.detector.calorimeter_eta_max - JET_RADIUS:
        raise ConfigError(
            f"eta_max = {cfg.eta_max}: jets of radius {JET_RADIUS} must lie within the calorimeter, "
            f"0 < eta_max <= {cfg.detector.calorimeter_eta_max - JET_RADIUS:g}"
        )
    if min(cfg.jets_per_class, cfg.max_constituents) < 1 or cfg.seed < 0:
        raise ConfigError("jets_per_class and max_constituents must be at least 1, seed at least 0")
    _check_rounding(cfg)
    _check_detector(cfg.detector)


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
        if value < 0 or (setting.name.endswith("efficiency") and value > 1):
            raise ConfigError(f"detector.{setting.name}: {value} is out of range")
    if min(detector.ecal_cell, detector.hcal_cell) <= 0:
        raise ConfigError("detector.ecal_cell and detector.hcal_cell must be positive")
