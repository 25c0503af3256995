"""Hard scatterings as values: generated once, then showered, hadronised and decayed as often as wanted.

Pythia makes the hard process and its resonance decays with everything after them switched off. What it made is kept
(identities, colour flow, four-momenta as doubles, the scales at which the showers start) and handed to other Pythias
in memory, as events of the Les Houches interface (frameType = 5), so that no digit is lost to a file. The resonance
decays are part of the hard process: a W boson decays to the same quarks, with the same momenta, in every view.

What is the same is `pythia.process`. In the event record only the recoil of initial-state radiation comes on top: it
moves a resonance before it decays, differently in every view, as in nature.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import pythia8mc
from jaxtyping import Int

from foundation.errors import DataError, ToolError
from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import Particles
from foundation.simulate.events import hard_settings, stable_particles, start, world_settings
from foundation.simulate.processes import Process

PROCESS_ID = 9999  # Pythia's own number for external processes
UNIT_WEIGHT = 3  # Les Houches strategy: take every event, once
STATUS = {21: -1, 22: 2, 23: 1}  # Pythia's |status| -> Les Houches: incoming, resonance, outgoing
MOST_FAILURES = 1000
NO_SCALE = -1.0  # Pythia then takes the event's scale, and the resonance's mass for what it decays to
# Momenta and masses are those given, to the last bit of the outgoing particles.
EXTERNAL = ("Beams:frameType = 5", "LesHouches:setQuarkMass = 0", "LesHouches:setLeptonMass = 0")

# Settings that switch on one of Pythia's own processes, which would mix in: Top:gg2ttbar, HardQCD:hardbbbar, ...
PROCESS_SWITCH = re.compile(r"\s*(HardQCD:\w+|\w+:all|\w+:\w*[a-zA-Z]2[a-zA-Z]\w*)\s*=\s*(on|true|yes|1)\s*$")


@dataclass(frozen=True)
class HardEvent:
    """One hard scattering. `particles` are the arguments of LHAup.addParticle: PDG id, status, 2 mothers, 2 colours,
    px, py, pz, e, m (GeV), tau (mm), polarisation, scale (GeV)."""

    scale: float
    alpha_em: float
    alpha_s: float
    particles: tuple[tuple[Any, ...], ...]


def hard_events(process: Process, cfg: SimulateConfig, seed: int) -> Iterator[HardEvent]:
    """Endless hard scatterings of `process` in the window of `cfg`, resonances decayed.

    Raises:
        ConfigError: Pythia refuses a setting, or cannot start.
        DataError: it makes no event.
    """
    settings = (*world_settings(cfg, seed), *hard_settings(process, cfg), *process.settings, *cfg.pythia)
    pythia = start(process.label, (*settings, "PartonLevel:all = off"))
    failures = 0
    while failures < MOST_FAILURES:
        if not pythia.next():
            failures += 1
            continue
        failures = 0
        record, info = pythia.process, pythia.infoPython()
        particles = tuple(_les_houches(record[i]) for i in range(3, record.size()))
        yield HardEvent(info.QFac(), info.alphaEM(), info.alphaS(), particles)
    raise DataError(f"{process.label}: Pythia failed {failures} times in a row to make a hard event; see its messages")


def _les_houches(particle: Any) -> tuple[Any, ...]:
    """Entries 0 to 2 of Pythia's record are the system and the beams: Les Houches counts from 1 after them."""
    status = STATUS[abs(particle.status())]
    mothers = (0, 0) if status < 0 else (max(particle.mother1() - 2, 0), max(particle.mother2() - 2, 0))
    momentum = particle.px(), particle.py(), particle.pz(), particle.e(), particle.m()
    colours = particle.col(), particle.acol()
    return (particle.id(), status, *mothers, *colours, *momentum, particle.tau(), particle.pol(), NO_SCALE)


class _Feed(pythia8mc.LHAup):
    """Gives Pythia the hard events of `queue`, one by one; `starved` once it asked for more than there were."""

    def __init__(self, beam_energy: float):
        super().__init__(UNIT_WEIGHT)
        self.beam_energy, self.queue, self.starved = beam_energy / 2, deque[HardEvent](), False

    def setInit(self) -> bool:
        self.setBeamA(2212, self.beam_energy)
        self.setBeamB(2212, self.beam_energy)
        self.setStrategy(UNIT_WEIGHT)
        self.addProcess(PROCESS_ID, 1.0, 0.0, 1.0)
        return True

    def setEvent(self, idProcess: int = 0) -> bool:
        if not self.queue:
            self.starved = True
            return False
        hard = self.queue.popleft()
        self.setProcess(PROCESS_ID, 1.0, hard.scale, hard.alpha_em, hard.alpha_s)
        for particle in hard.particles:
            self.addParticle(*particle)
        incoming = [(p[0], p[9] / self.beam_energy) for p in hard.particles[:2]]
        (id_a, x_a), (id_b, x_b) = incoming
        self.setIdX(id_a, id_b, x_a, x_b)
        self.setPdf(id_a, id_b, x_a, x_b, hard.scale, 0.0, 0.0, False)
        return True


class Shower:
    """A Pythia that showers, hadronises and decays hard events from elsewhere, with its own seed and settings."""

    def __init__(self, process: Process, cfg: SimulateConfig, seed: int, settings: Sequence[str] = ()):
        """`settings` of Pythia are applied after those of `cfg`.

        Raises:
            ConfigError: Pythia refuses a setting, or cannot start.
        """
        self._feed = _Feed(cfg.beam_energy)
        kept = [setting for setting in process.settings if not PROCESS_SWITCH.match(setting)]
        everything = (*world_settings(cfg, seed), *kept, *cfg.pythia, *settings, *EXTERNAL)
        self._pythia = start(process.label, everything, self._feed)

    def run(self, events: Sequence[HardEvent]) -> tuple[Int[np.ndarray, " K"], ak.Array, Particles]:
        """(positions of the hard events that came through, their full records, their stable particles).

        Pythia gives up on a hard event now and then; the particles' `event` counts those that came through.

        Raises:
            ToolError: Pythia skipped a hard event, so that records and hard events would not belong together.
        """
        self._feed.queue.extend(events)
        records = self._pythia.nextBatch(len(events), "none").prt
        if self._feed.starved or self._feed.queue:
            raise ToolError(
                "Pythia did not take the hard events one by one: is a process switched on in `pythia` settings?\n"
                "  re-simulation takes its processes from the classes alone"
            )
        lost = ak.to_numpy(ak.is_none(records, axis=0))
        records = ak.drop_none(records, axis=0)
        return np.flatnonzero(~lost), records, stable_particles(records, self._pythia)


def hard_records(events: Sequence[HardEvent]) -> ak.Array:
    """The hard events as records like those of Pythia's batches (events x var): id, status, mother1, p."""
    flat = [particle for event in events for particle in event.particles]
    px, py, pz, energy = (np.array([p[i] for p in flat], np.float64) for i in range(6, 10))
    pythia_status = {theirs: ours for ours, theirs in STATUS.items()}
    record = {
        "id": np.array([p[0] for p in flat], np.int32),
        "status": np.array([pythia_status[p[1]] for p in flat], np.int32),
        "mother1": np.array([max(p[2] - 1, 0) for p in flat], np.int32),  # counted from 0, as positions in the record
        "p": ak.zip({"px": px, "py": py, "pz": pz, "e": energy}),
    }
    return ak.unflatten(ak.zip(record, depth_limit=1), [len(event.particles) for event in events])
