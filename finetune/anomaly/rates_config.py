"""The settings of `detfm anomaly rates`."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.errors import ConfigError
from foundation.trigger.beam import Beam
from foundation.trigger.menu import MenuConfig
from foundation.trigger.rates import RATES_KHZ, RELATIVE_ERROR


@dataclass(frozen=True)
class BackgroundConfig:
    """Which crossings are zero bias; those of the label's other classes are signals, a class each.

    Attributes:
        label: a class label of the schema; empty: all rows are zero bias.
        classes: that are zero bias.
    """

    label: str = ""
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RatesConfig:
    """What a score costs and gains as a trigger.

    Attributes:
        split: table of the score runs to read; empty: `test`, or the only one there is.
        background: which crossings are zero bias.
        signals: classes of that label to show; empty: all others.
        only: label -> classes; rows of other classes are left out, of zero bias and signals alike: a year, say.
        beam: how often bunches cross.
        rates_khz: that thresholds are set for.
        relative_error: of a rate, above which a threshold is not measured.
        menu: that the score stands beside; none where it has no seed.
        baselines: columns that the score is compared with, beside HT (or total Et), which always is; empty: those of
            leading jet, multiplicity and missing energy that there are.
        dependence: columns whose correlation with the score is given; empty: HT, multiplicity, total Et and pile-up.
        stability: column (`label_NAME` for classes) -> bin edges; an empty list: its values if they are few, else six
            bins of equal content. Empty: period, run and pile-up, where there are such columns.
        replicas: of the bootstrap behind the intervals of the gains.
        seed: of the replicas and toys.
    """

    split: str = ""
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    signals: tuple[str, ...] = ()
    only: dict[str, list[str]] = field(default_factory=dict)
    beam: Beam = field(default_factory=Beam)
    rates_khz: tuple[float, ...] = RATES_KHZ
    relative_error: float = RELATIVE_ERROR
    menu: MenuConfig = field(default_factory=MenuConfig)
    baselines: tuple[str, ...] = ()
    dependence: tuple[str, ...] = ()
    stability: dict[str, list[float]] = field(default_factory=dict)
    replicas: int = 200
    seed: int = 0

    def check(self) -> None:
        """Raises ConfigError naming a setting that cannot be."""
        self.beam.check()
        self.menu.columns()
        if not self.rates_khz or not all(0 < r < self.beam.crossing_rate_khz for r in self.rates_khz):
            most = self.beam.crossing_rate_khz
            raise ConfigError(f"rates_khz {list(self.rates_khz)}: expected rates above 0 and below {most:,.0f} kHz")
        if not 0 < self.relative_error < 1 or self.replicas < 0 or self.seed < 0:
            raise ConfigError("relative_error is between 0 and 1, replicas and seed are 0 or more")
        if bool(self.background.label) != bool(self.background.classes):
            raise ConfigError("background: give a label and its classes that are zero bias, or neither")
