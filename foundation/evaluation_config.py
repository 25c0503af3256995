"""The settings of an evaluation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from foundation.errors import ConfigError
from foundation.metrics import ONE_SIGMA, SIGNAL_EFFICIENCIES
from foundation.trigger.beam import Beam


@dataclass(frozen=True)
class EvaluateConfig:
    """What to evaluate on, and what to measure.

    Attributes:
        split: of the store; `test` was never trained on.
        efficiencies: signal efficiencies at which the background rejection is given.
        signal: classes to tell from each of `background` by P(signal) / (P(signal) + P(background)), beside every
            class against the rest.
        background: classes to tell `signal` from; empty: every other one.
        replicas: of the bootstrap that makes the intervals; 0: none.
        confidence: share of the replicas inside an interval.
        seed: of the replicas.
        calibration: split that the temperature is fitted on; empty: no temperature.
        mass: quantity whose sculpting is measured: an observer, a global, or `MODALITY.mass`, the mass of the tokens'
            vector sum; empty: the first that is a mass by its name; `none`: no sculpting.
        bins: quantity -> bin edges for the dependence on it, an empty list for six bins of equal content. Empty:
            quantities with pt, eta or pile-up in their name.
        background_efficiency: of the cut whose efficiency is shown in these bins: 0.01 is a rejection of 100.
        embeddings: write the embedding of every example too.
        allow_leakage: measure although rows of the split were trained on.
        rates_khz: rates at which an anomaly student is compared with its teacher and gets integer thresholds.
        pass_fractions: shares of the normal crossings that pass, at which they are compared, too.
        beam: how often bunches cross.
    """

    split: str = "test"
    efficiencies: tuple[float, ...] = SIGNAL_EFFICIENCIES
    signal: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    replicas: int = 200
    confidence: float = ONE_SIGMA
    seed: int = 0
    calibration: str = "val"
    mass: str = ""
    bins: dict[str, list[float]] = field(default_factory=dict)
    background_efficiency: float = 0.01
    embeddings: bool = False
    allow_leakage: bool = False
    rates_khz: tuple[float, ...] = (0.1, 1.0, 5.0, 10.0)
    pass_fractions: tuple[float, ...] = (0.01, 0.001)
    beam: Beam = field(default_factory=Beam)

    def check(self) -> None:
        """Raises ConfigError naming a setting that cannot be."""
        shares = {f"cfg.efficiencies: {e}": e for e in self.efficiencies}
        shares |= {f"cfg.pass_fractions: {share}": share for share in self.pass_fractions}
        shares |= {f"cfg.confidence: {self.confidence}": self.confidence}
        shares |= {f"cfg.background_efficiency: {self.background_efficiency}": self.background_efficiency}
        for text, value in shares.items():
            if not 0 < value < 1:
                raise ConfigError(f"{text} is not between 0 and 1")
        self.beam.check()
        for name, edges in self.bins.items():
            if edges and (len(edges) < 2 or any(high <= low for low, high in itertools.pairwise(edges))):
                raise ConfigError(f"cfg.bins.{name}: edges {edges} must rise, and be two or more")
        if self.replicas < 0 or self.seed < 0:
            raise ConfigError(f"cfg.replicas {self.replicas} and cfg.seed {self.seed} must not be negative")
