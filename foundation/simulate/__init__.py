"""Pythia 8 and FastJet with a parametrised detector: labelled jets in JetClass columns, written as ROOT."""

from foundation.simulate.conditions_config import ConditionsConfig
from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import DetectorConfig
from foundation.simulate.events_config import EventsConfig
from foundation.simulate.views_config import ViewsConfig

__all__ = ["ConditionsConfig", "DetectorConfig", "EventsConfig", "SimulateConfig", "ViewsConfig"]
