"""Pythia 8 for one process: endless batches of events, and their stable particles as flat arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import awkward as ak
import numpy as np
import pythia8mc

from foundation.errors import ConfigError
from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import Particles
from foundation.simulate.processes import Process

BATCH_EVENTS = 200
# The generated window in pTHat, in units of the edges of the jet pt window. A natural spectrum needs more room below:
# where it falls steeply, much of what is just above the edge comes from far beneath it.
PTHAT_MARGIN = {"flat": (0.75, 1.35), "natural": (0.6, 2.0)}
MOST_SEED = 900_000_000  # Pythia's


def generate_events(process: Process, cfg: SimulateConfig, seed: int) -> Iterator[tuple[ak.Array, Particles]]:
    """Endless batches of `BATCH_EVENTS` events: (the full records, events x var; the stable particles).

    Raises:
        ConfigError: Pythia refuses a setting, or cannot start.
    """
    settings = (*world_settings(cfg, seed), *hard_settings(process, cfg), *process.settings, *cfg.pythia)
    pythia = start(process.label, settings)
    while True:
        records = pythia.nextBatch(BATCH_EVENTS).prt
        yield records, stable_particles(records, pythia)


def world_settings(cfg: SimulateConfig, seed: int) -> tuple[str, ...]:
    """What does not depend on the hard process: seed, beams, and what is stable."""
    return (
        "Print:quiet = on",
        "Random:setSeed = on",
        f"Random:seed = {seed % MOST_SEED + 1}",
        f"Beams:eCM = {cfg.beam_energy}",
        # Decays within the pixel volume are Pythia's and give displaced tracks; longer-lived particles are stable.
        "ParticleDecays:limitCylinder = on",
        f"ParticleDecays:xyMax = {cfg.detector.track_birth_radius_max}",
        f"ParticleDecays:zMax = {3 * cfg.detector.track_birth_radius_max}",
    )


def hard_settings(process: Process, cfg: SimulateConfig) -> tuple[str, ...]:
    """The window in pTHat and, for a flat spectrum, the bias towards high values."""
    low, high = PTHAT_MARGIN[cfg.spectrum]
    window = (f"PhaseSpace:pTHatMin = {low * cfg.pt_min}", f"PhaseSpace:pTHatMax = {high * cfg.pt_max}")
    if cfg.spectrum == "natural":
        return window
    return (
        *window,
        "PhaseSpace:bias2Selection = on",
        f"PhaseSpace:bias2SelectionPow = {process.bias_power}",
        f"PhaseSpace:bias2SelectionRef = {cfg.pt_min}",
    )


def start(name: str, settings: Sequence[str], source: Any = None) -> Any:
    """An initialised Pythia; `source` is the LHAup that hands it hard events, where the settings ask for one.

    Raises:
        ConfigError: Pythia refuses a setting, or cannot start.
    """
    pythia = pythia8mc.Pythia("", False)
    for setting in settings:
        if not pythia.readString(setting):
            raise ConfigError(f"Pythia does not know the setting '{setting}', or not this value")
    if source is not None:
        pythia.setLHAupPtr(source)
    if not pythia.init():
        raise ConfigError(f"{name}: Pythia cannot start with these settings:\n  " + "\n  ".join(settings))
    return pythia


def stable_particles(records: ak.Array, pythia: Any) -> Particles:
    """The final particles of the records, flat, with their charges and production vertices."""
    final = records[records.status > 0]
    flat = ak.flatten(final)
    pdgid = ak.to_numpy(flat.id)
    kinds, member = np.unique(pdgid, return_inverse=True)
    charge = np.array([pythia.particleData.charge(int(kind)) for kind in kinds])[member]
    px, py, pz, energy = (ak.to_numpy(flat.p[name]) for name in ("px", "py", "pz", "e"))
    # No vertex is recorded for what the collision itself produces: that is the origin.
    x, y, z = (ak.to_numpy(ak.fill_none(flat.vProd[name], 0.0)) for name in ("px", "py", "pz"))
    event = np.repeat(np.arange(len(final)), ak.num(final))
    return Particles(event, pdgid, charge, px, py, pz, energy, x, y, z)
