"""Detector conditions: what changes in the detector and the beams as a run goes on, with the truth of it.

A run is a time-ordered stream of events. A change has a kind, a size and a time profile; its value at an event's time
acts on the response (`detector.respond` takes `Effects`) and is written beside the event as `condition_NAME`.

A value of zero acts as if the change were not there, to the last bit: no change draws a random number. Which channels
are dead follows from a hash of their position, so a channel that is dead at one time is dead whenever the value is as
large; lost tracks are the unluckiest ones of those that were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.simulate.conditions_config import Change, ConditionsConfig

Calorimeter = Literal["ecal", "hcal"]


@dataclass(frozen=True)
class Effects:
    """The changes at the times of some events: `values` [changes, events]."""

    changes: tuple[Change, ...]
    values: Float[np.ndarray, "C E"]

    def __getitem__(self, events: Int[np.ndarray, " K"]) -> Effects:
        return Effects(self.changes, self.values[:, events]) if self.changes else self

    def columns(self) -> dict[str, Float[np.ndarray, " E"]]:
        """The truth to be written: column -> value per event."""
        return {change.column: v.astype(np.float32) for change, v in zip(self.changes, self.values)}

    def gain(
        self,
        part: Calorimeter,
        event: Int[np.ndarray, " N"],
        eta: Float[np.ndarray, " N"],
        phi: Float[np.ndarray, " N"],
    ) -> Float[np.ndarray, " N"]:
        """The factor on energies measured there; exactly 1 where nothing changed, at least 0."""
        return np.maximum(1 + self._local(f"{part}_gain", event, eta, phi), 0.0)

    def track_loss(
        self, event: Int[np.ndarray, " N"], eta: Float[np.ndarray, " N"], phi: Float[np.ndarray, " N"]
    ) -> Float[np.ndarray, " N"]:
        """The fraction of the tracks that is lost, in [0, 1]."""
        return np.minimum(self._local("track_loss", event, eta, phi), 1.0)

    def dead(
        self,
        part: Calorimeter,
        event: Int[np.ndarray, " N"],
        eta: Float[np.ndarray, " N"],
        phi: Float[np.ndarray, " N"],
        channel: tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]],
    ) -> Bool[np.ndarray, " N"]:
        """Whether the channel (its two integer coordinates) at this place gives nothing."""
        dead = np.zeros(event.shape, bool)
        for i, change in enumerate(self.changes):
            if change.kind == f"{part}_dead":
                dead |= _inside(change, eta, phi) & (uniform_hash(*channel, salt=i) < self.values[i, event])
        return dead

    def beam_spot(self, axis: Literal["x", "y", "z"]) -> Float[np.ndarray, " E"]:
        """How far the collisions are moved, mm."""
        return self._sum(f"beam_spot_{axis}")

    def pileup(self) -> Float[np.ndarray, " E"]:
        """The factor on the mean number of pile-up collisions, at least 0."""
        return np.maximum(1 + self._sum("pileup"), 0.0)

    def _sum(self, kind: str) -> Float[np.ndarray, " E"]:
        zero = np.zeros(self.values.shape[1])
        return sum((v for change, v in zip(self.changes, self.values) if change.kind == kind), zero)

    def _local(self, kind: str, event: Any, eta: Any, phi: Any) -> Float[np.ndarray, " N"]:
        total = np.zeros(event.shape)
        for change, value in zip(self.changes, self.values):
            if change.kind == kind:
                total += np.where(_inside(change, eta, phi), value[event], 0.0)
        return total


NO_EFFECTS = Effects((), np.zeros((0, 0)))


def effects(conditions: ConditionsConfig, time: Float[np.ndarray, " E"]) -> Effects:
    """The changes at these times, s."""
    values = [change.value(time) for change in conditions.changes]
    return Effects(conditions.changes, np.reshape(np.asarray(values, np.float64), (len(values), len(time))))


@dataclass(frozen=True)
class Moments:
    """When the events of a batch happened, s, and what was changed then. Without a run: no times, no effects."""

    time: Float[np.ndarray, " E"]
    effects: Effects

    def __getitem__(self, events: Int[np.ndarray, " K"]) -> Moments:
        return Moments(self.time[events], self.effects[events]) if len(self.time) else self

    def columns(self, event: Int[np.ndarray, " R"]) -> dict[str, Float[np.ndarray, " R"]]:
        """`time` and the truth of the changes, for rows of these events; nothing without a run."""
        return {"time": self.time[event]} | self.effects[event].columns() if len(self.time) else {}


def draw_moments(
    conditions: ConditionsConfig, part: tuple[float, float], events: int, rng: np.random.Generator
) -> Moments:
    """Random times of `events` events within a part of the run, given as two fractions of it."""
    if not conditions.run_seconds:
        return Moments(np.zeros(0), NO_EFFECTS)
    time = conditions.run_seconds * rng.uniform(*part, events)
    return Moments(time, effects(conditions, time))


def _inside(change: Change, eta: Float[np.ndarray, " N"], phi: Float[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    (low_eta, high_eta), (low, high) = change.eta, change.phi
    phi = (phi + np.pi) % (2 * np.pi) - np.pi
    around = (low <= phi) & (phi <= high) if low <= high else (phi >= low) | (phi <= high)
    return (low_eta <= eta) & (eta <= high_eta) & around


def uniform_hash(first: Int[np.ndarray, " N"], second: Int[np.ndarray, " N"], salt: int = 0) -> Float[np.ndarray, " N"]:
    """A number in [0, 1) that looks uniformly random but follows from the integers (SplitMix64 on both)."""
    words = _mix(
        _mix(first.astype(np.int64).view(np.uint64) + np.uint64(salt)) ^ second.astype(np.int64).view(np.uint64)
    )
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(words: Any) -> Any:
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
