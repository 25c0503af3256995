"""Early stopping: the parameters that are best on unseen examples are kept; training ends when none are better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from foundation.errors import ConfigError

LOWER = ("loss",)  # figures of which less is better


@dataclass(frozen=True)
class StopConfig:
    """Early stopping on examples that are not trained on.

    Attributes:
        metric: `loss`, `accuracy` or `auc` (mean over the classes, each against the rest), of the split `val`; empty:
            all steps are taken and the last parameters are the model.
        every: steps between measurements.
        patience: stop after so many measurements in a row that were not better than the best.
        rows: measure on so many rows at most.
    """

    metric: str = ""
    every: int = 20
    patience: int = 5
    rows: int = 2000

    def check(self) -> None:
        """Raises ConfigError: a number that cannot be."""
        low = [name for name in ("every", "patience", "rows") if getattr(self, name) < 1]
        if low:
            raise ConfigError(f"stop.{low[0]} must be 1 or more; it is {getattr(self, low[0])}")


@dataclass(frozen=True)
class Finished:
    """How a training ended.

    Attributes:
        steps: that were taken.
        step: whose parameters the model has.
        value: of the figure there; None without early stopping.
        reason: why it ended.
    """

    steps: int
    step: int
    value: float | None
    reason: str


class Stopper:
    """The best parameters so far, at which step and of which value, and how many measurements since were not better.

    Args:
        params: of step 0; nothing has been measured of them.
    """

    def __init__(self, config: StopConfig, params: Any):
        config.check()
        self.config, self.best = config, jax.tree.map(jnp.copy, params)
        self.step, self.value, self.waited = 0, math.nan, 0

    def see(self, step: int, figures: dict[str, float], params: Any) -> None:
        """Takes note of a measurement, `val/METRIC`; copies the best parameters, since the next step donates them."""
        value = figures[f"val/{self.config.metric}"]
        better = value < self.value if self.config.metric in LOWER else value > self.value
        if better or np.isnan(self.value):
            self.step, self.value, self.waited = step, value, 0
            self.best = jax.tree.map(jnp.copy, params)
        else:
            self.waited += 1

    @property
    def over(self) -> bool:
        return self.waited >= self.config.patience

    def state(self) -> dict[str, Any]:
        """What `restore` needs beside the best parameters; goes into a checkpoint."""
        return {"step": self.step, "value": self.value if self.step else None, "waited": self.waited}

    def restore(self, best: Any, state: dict[str, Any]) -> None:
        self.best, self.step, self.waited = best, int(state["step"]), int(state["waited"])
        self.value = math.nan if state["value"] is None else float(state["value"])

    def finished(self, steps: int) -> Finished:
        name, times = self.config.metric, self.waited
        reason = "all steps taken"
        if self.over:
            reason = f"{name} was no better than at step {self.step} in {times} measurements in a row"
        return Finished(steps, self.step, self.value, reason)
