"""Pythia 8 for one process: endless batches of events, and their stable particles as flat arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import awkward as ak
import numpy as np
import pythia8mc

from foundation.errors import ConfigError
from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import Particles
from foundation.simulate.processes import Process

BATCH_EVENTS = 200
PTHAT_MARGIN = 0.75, 1.35  # the generated window in pTHat, in units of the edges of the jet pt window
MOST_SEED = 900_000_000  # Pythia's


def generate_events(process: Process, cfg: SimulateConfig, seed: int) -> Iterator[tuple[ak.Array, Particles]]:
    """Endless batches of `BATCH_EVENTS` events: (the full records, events x var; the stable particles).

    Raises:
        ConfigError: Pythia refuses a setting, or cannot start.
    """
    pythia = _start(process, cfg, seed % MOST_SEED + 1)
    while True:
        records = pythia.nextBatch(BATCH_EVENTS).prt
        yield records, _stable(records, pythia)


def _start(process: Process, cfg: SimulateConfig, seed: int) -> Any:
    low, high = PTHAT_MARGIN
    settings = (
        "Print:quiet = on",
        "Random:setSeed = on",
        f"Random:seed = {seed}",
        f"Beams:eCM = {cfg.beam_energy}",
        f"PhaseSpace:pTHatMin = {low * cfg.pt_min}",
        f"PhaseSpace:pTHatMax = {high * cfg.pt_max}",
        "PhaseSpace:bias2Selection = on",
        f"PhaseSpace:bias2SelectionPow = {process.bias_power}",
        f"PhaseSpace:bias2SelectionRef = {cfg.pt_min}",
        # Decays within the pixel volume are Pythia's and give displaced tracks; longer-lived particles are stable.
        "ParticleDecays:limitCylinder = on",
        f"ParticleDecays:xyMax = {cfg.detector.track_birth_radius_max}",
        f"ParticleDecays:zMax = {3 * cfg.detector.track_birth_radius_max}",
        *process.settings,
        *cfg.pythia,
    )
    pythia = pythia8mc.Pythia("", False)
    for setting in settings:
        if not pythia.readString(setting):
            raise ConfigError(f"Pythia does not know the setting '{setting}'")
    if not pythia.init():
        raise ConfigError(f"{process.label}: Pythia cannot start with these settings:\n  " + "\n  ".join(settings))
    return pythia


def _stable(records: ak.Array, pythia: Any) -> Particles:
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
