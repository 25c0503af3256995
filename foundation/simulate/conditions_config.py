"""Settings of the detector's conditions along a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConditionsConfig:
    """What changes as the run goes on.

    Attributes:
        varying: whether anything does.
    """

    varying: bool = False
