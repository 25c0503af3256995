"""Settings of re-simulation: the same hard partons seen several times (arXiv:2403.07066)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from foundation.errors import ConfigError, close_names
from foundation.simulate.detector import DetectorConfig

NOMINAL = "nominal"


@dataclass(frozen=True)
class Variation:
    """Another way to see the same hard partons; in all else it is the nominal one, with a seed of its own.

    Attributes:
        name: of the variation; the column `variation` holds its position in the list, counted from 1.
        pythia: settings of Pythia, applied after all others: a tune ("Tune:pp = 19"), a shower variation
            ("TimeShower:renormMultFac = 4"), a piece of physics ("PartonLevel:MPI = off").
        detector: settings of the detector that differ, by name: {"hcal_stochastic": 1.2}.
    """

    name: str
    pythia: tuple[str, ...] = ()
    detector: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ViewsConfig:
    """Views of each hard scattering. They share `event_id`; `view` counts them from 0.

    View 0 is nominal: the settings as they are. The others take the variations in turn, one event after the other, so
    that each is used equally often; without variations they differ from view 0 by their random numbers alone.

    Attributes:
        count: views of each event; 1 is no re-simulation.
        variations: see above. One without settings is the nominal one, seen again.
    """

    count: int = 1
    variations: tuple[Variation, ...] = ()

    def variation_of(self, view: int, event: Int[np.ndarray, " E"]) -> Int[np.ndarray, " E"]:
        """Which variation shows `view` of these events, counted from 0: 0 is nominal, n the n-th of the list."""
        if view == 0 or not self.variations:
            return np.zeros_like(event)
        return (view - 1 + event) % len(self.variations) + 1


def check_views(views: ViewsConfig, sample: str) -> None:
    """Refuses what cannot be a list of views.

    Raises:
        ConfigError: no view, variations that no view shows, a name twice, an unknown setting of the detector.
    """
    if views.count < 1:
        raise ConfigError(f"views.count = {views.count}: at least one view is needed (1: no re-simulation)")
    if views.count > 1 and sample != "jets":
        raise ConfigError(f"views.count = {views.count}: only jets have views, sample is '{sample}'")
    if views.count == 1 and views.variations:
        raise ConfigError("views.variations are given, but views.count = 1 shows none of them: set it to 2 or more")
    names = [NOMINAL, *(variation.name for variation in views.variations)]
    for name in names:
        if not name or names.count(name) > 1:
            raise ConfigError(f"views.variations: each needs a name of its own ('{NOMINAL}' is view 0), got '{name}'")
    known = [setting.name for setting in dataclasses.fields(DetectorConfig)]
    for variation in views.variations:
        for setting in variation.detector:
            if setting not in known:
                where = f"views.variations: {variation.name}: detector"
                raise ConfigError(f"{where}: no setting '{setting}'; {close_names(setting, known)}")
