"""Settings of the detector's conditions along a run: what changes when, and by how much."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from foundation.errors import ConfigError

Kind = Literal[
    "ecal_dead", "hcal_dead", "ecal_gain", "hcal_gain", "track_loss",
    "beam_spot_x", "beam_spot_y", "beam_spot_z", "pileup",
]  # fmt: skip
EVERYWHERE_ETA, EVERYWHERE_PHI = (-10.0, 10.0), (-math.pi, math.pi)
NO_REGION = ("beam_spot_x", "beam_spot_y", "beam_spot_z", "pileup")  # these change the collisions, not a part of space


@dataclass(frozen=True)
class Change:
    """One thing that changes.

    Attributes:
        kind: ecal_dead, hcal_dead: the fraction `size` of the calorimeter's channels gives nothing.
            ecal_gain, hcal_gain: measured energies are multiplied by 1 + size.
            track_loss: the fraction `size` of the tracks that were found is lost.
            beam_spot_x, _y, _z: all production vertices are moved by `size` mm.
            pileup: the mean number of pile-up collisions is multiplied by 1 + size (samples with pile-up only).
        size: see above; the fractions lie in [0, 1], the gains above -1.
        start, end: s since the start of the run; without an end, until the run's.
        profile: step: `size` from start to end, zero elsewhere. ramp: from zero at the start, linearly, to `size` at
            the end, and so it stays.
        name: of the column `condition_NAME`; the kind if empty.
        eta, phi: [low, high] of the part of the detector that is affected. A `phi` with low > high straddles pi.
    """

    kind: Kind
    size: float
    start: float = 0.0
    end: float | None = None
    profile: Literal["step", "ramp"] = "step"
    name: str = ""
    eta: tuple[float, float] = EVERYWHERE_ETA
    phi: tuple[float, float] = EVERYWHERE_PHI

    @property
    def column(self) -> str:
        return f"condition_{self.name or self.kind}"

    def value(self, time: Float[np.ndarray, " E"]) -> Float[np.ndarray, " E"]:
        """The size at these times."""
        end = math.inf if self.end is None else self.end
        if self.profile == "ramp":
            return self.size * np.clip((time - self.start) / (end - self.start), 0, 1)
        return self.size * ((self.start <= time) & (time < end))


@dataclass(frozen=True)
class ConditionsConfig:
    """A run and what changes in it.

    Attributes:
        run_seconds: length of the run; the events are spread over it evenly and written in order of `time`. 0: no run,
            the events have no time.
        changes: see `Change`.
    """

    run_seconds: float = 0.0
    changes: tuple[Change, ...] = ()


def check_conditions(conditions: ConditionsConfig, pileup: bool) -> None:
    """Refuses a run that cannot be; `pileup` says whether the sample has any.

    Raises:
        ConfigError: changes without a run, a size or time out of its range, an empty region, a name twice.
    """
    if conditions.run_seconds < 0 or not math.isfinite(conditions.run_seconds):
        raise ConfigError(f"conditions.run_seconds = {conditions.run_seconds} is no length of a run")
    if conditions.changes and not conditions.run_seconds:
        raise ConfigError("conditions.changes need a run to happen in: set conditions.run_seconds")
    columns = [change.column for change in conditions.changes]
    for change in conditions.changes:
        where = f"conditions.changes: {change.name or change.kind}"
        if columns.count(change.column) > 1:
            raise ConfigError(f"{where}: two changes have this name; give each a name of its own")
        _check_change(change, where)
        if change.kind == "pileup" and not pileup:
            raise ConfigError(f"{where}: this sample has no pile-up that could change")


def _check_change(change: Change, where: str) -> None:
    fraction = change.kind in ("ecal_dead", "hcal_dead", "track_loss")
    if not math.isfinite(change.size) or (fraction and not 0 <= change.size <= 1):
        raise ConfigError(f"{where}: size = {change.size}{' is not a fraction, 0 to 1' if fraction else ''}")
    if change.kind in ("ecal_gain", "hcal_gain", "pileup") and change.size < -1:
        raise ConfigError(f"{where}: size = {change.size}: 1 + size is a factor and cannot be negative")
    if change.end is None and change.profile == "ramp":
        raise ConfigError(f"{where}: a ramp needs an end, where it reaches its size")
    if change.end is not None and not change.start < change.end < math.inf:
        raise ConfigError(f"{where}: it starts at {change.start} s and ends at {change.end} s")
    if change.eta[0] >= change.eta[1]:
        raise ConfigError(f"{where}: eta from {change.eta[0]} to {change.eta[1]} is empty")
    if change.kind in NO_REGION and (change.eta, change.phi) != (EVERYWHERE_ETA, EVERYWHERE_PHI):
        raise ConfigError(f"{where}: eta and phi say nothing here: {', '.join(NO_REGION)} act on whole collisions")
