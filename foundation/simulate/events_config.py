"""Settings of whole events."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EventsConfig:
    """What to generate if `sample` is `events`.

    Attributes:
        processes: name -> number of events.
    """

    processes: dict[str, int] = field(default_factory=dict)
