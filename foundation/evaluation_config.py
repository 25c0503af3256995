"""The settings of an evaluation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from foundation.errors import ConfigError
from foundation.metrics import ONE_SIGMA, SIGNAL_EFFICIENCIES
from foundation.trigger.beam import Beam


@dataclass(frozen=True)
class RobustnessConfig:
    """What happens to a student's inputs, each by itself. A feature and a token that always read zero are tried, too.

    Attributes:
        noise: standard deviations in LSBs of an error on every value.
        pile_up: shares of the empty places that are filled with what another example has there.
        scale: factors on energies.
        most_tokens: so many tokens are silenced one by one, at most, evenly spaced.
        rows: examples that are measured, at most; 0: robustness is not measured.
        seed: of the disturbances.
    """

    noise: tuple[float, ...] = (1.0, 4.0)
    pile_up: tuple[float, ...] = (0.1, 0.5)
    scale: tuple[float, ...] = (0.9, 1.1)
    most_tokens: int = 16
    rows: int = 5000
    seed: int = 0

    def check(self) -> None:
        """Raises ConfigError naming a setting out of range."""
        if any(size < 0 for size in self.noise) or any(not 0 <= share <= 1 for share in self.pile_up):
            raise ConfigError(f"robustness needs noise >= 0 and pile_up in [0, 1]; it is {self}")
        if any(factor <= 0 for factor in self.scale) or self.most_tokens < 1 or self.rows < 0 or self.seed < 0:
            raise ConfigError(f"robustness needs scale > 0, most_tokens >= 1, rows and seed >= 0; it is {self}")


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
        robustness: what a student's inputs suffer.
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
    robustness: RobustnessConfig = field(default_factory=RobustnessConfig)

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
        self.robustness.check()
        for name, edges in self.bins.items():
            if edges and (len(edges) < 2 or any(high <= low for low, high in itertools.pairwise(edges))):
                raise ConfigError(f"cfg.bins.{name}: edges {edges} must rise, and be two or more")
        if self.replicas < 0 or self.seed < 0:
            raise ConfigError(f"cfg.replicas {self.replicas} and cfg.seed {self.seed} must not be negative")
