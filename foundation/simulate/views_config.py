"""Settings of re-simulation: several views of the same hard partons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewsConfig:
    """Views of one hard scattering (arXiv:2403.07066).

    Attributes:
        number: of views of each; 1 is no re-simulation.
    """

    number: int = 1
