"""Pattern files of the EMP framework: frames of links as text, version 2 of the format.

The format is that of CMSSW's L1Trigger/DemonstratorTools (`EMPv2`): a name, a line that explains the four flags
(start of orbit, start and end of packet, valid), the links' numbers, and a line for each frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt64

HEADER = "Metadata: (strobe,) start of orbit, start of packet, end of packet, valid"
DEPTH = 1024  # frames of the buffers that patterns are played from and captured to


@dataclass(frozen=True)
class Frames:
    """What links carry, clock by clock. Axes: C clocks, L links.

    Attributes:
        data: words.
        valid, start, last, orbit: flags, of all links alike: a word is there, is the first or last of a packet, is the
            first of an orbit.
    """

    data: UInt64[np.ndarray, "C L"]
    valid: Bool[np.ndarray, " C"]
    start: Bool[np.ndarray, " C"]
    last: Bool[np.ndarray, " C"]
    orbit: Bool[np.ndarray, " C"]


def packets(frames: UInt64[np.ndarray, "V T L"], silent: int = 0) -> Frames:
    """One crossing after another without a gap, after `silent` clocks; the first is the first of an orbit."""
    count, length, links = frames.shape
    clocks = np.arange(count * length)
    first, last = clocks % length == 0, clocks % length == length - 1
    quiet = np.zeros(silent, bool)
    data = np.concatenate([np.zeros((silent, links), np.uint64), frames.reshape(-1, links)])
    flags = [np.ones(len(clocks), bool), first, last, clocks == 0]
    return Frames(data, *(np.concatenate([quiet, flag]) for flag in flags))


def pattern(name: str, frames: Frames, links: list[int] | None = None) -> str:
    """The text of a pattern file.

    Args:
        name: of the board, in the first line.
        links: numbers of the channels; None: 0, 1, ...
    """
    numbers = range(frames.data.shape[1]) if links is None else links
    lines = [f"ID: {name}", HEADER, "", "      Link  " + "".join(f"{'':12}{number:03d}{'':8}" for number in numbers)]
    flags = np.stack([frames.orbit, frames.start, frames.last, frames.valid], axis=1).astype(int)
    for clock, (words, bits) in enumerate(zip(frames.data.tolist(), flags.tolist())):
        mark = "".join(map(str, bits))
        lines.append(f"Frame {clock:04d}  " + "".join(f"  {mark} {word:016x}" for word in words))
    return "\n".join(lines) + "\n"


def crossings_per_file(frames: int, latency: int) -> int:
    """Crossings of which inputs and, `latency` clocks later, outputs fit into the buffers."""
    return (DEPTH - latency) // frames
