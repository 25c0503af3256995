"""Pythia 8 and FastJet with a parametrised detector: labelled jets in JetClass columns, written as ROOT."""

from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import DetectorConfig

__all__ = ["DetectorConfig", "SimulateConfig"]
