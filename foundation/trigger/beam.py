"""The beam: how often bunches cross."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.errors import ConfigError

PLACES = 3564  # for bunches in an orbit of the LHC


@dataclass(frozen=True)
class Beam:
    """A filling scheme.

    Attributes:
        bunches: colliding pairs of bunches in an orbit, of 3,564 places in the LHC.
        orbit_hz: orbits in a second.
    """

    bunches: int = 2500
    orbit_hz: float = 11245.0

    @property
    def crossing_rate_khz(self) -> float:
        """Crossings with colliding bunches, in kHz."""
        return self.bunches * self.orbit_hz / 1000

    def check(self) -> None:
        """Raises ConfigError: no such filling."""
        if not 1 <= self.bunches <= PLACES or not self.orbit_hz > 0:
            raise ConfigError(
                f"beam: {self.bunches} bunches at {self.orbit_hz:g} Hz; expected 1 to {PLACES} bunches, and above 0 Hz"
            )
