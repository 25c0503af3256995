"""The branches of whole events: jagged collections, scalars, and hardware integers as `*_hw_*`.

- tower_: ecal, hcal, et, eta, phi, ieta (CMS's, never 0 or 29), iphi (1 to 72; HF's towers at 1, 5, ...), hw_ecal,
  hw_hcal, pileup (true part of the deposited Et).
- region_: et, hw_et, ieta (0 to 13), iphi (0 to 17).
- track_: pt, eta, phi, z0, charge, primary (belongs to the vertex that the trigger found), pileup (truth), vertex (the
  number of the true one in vertex_*), pdgid.
- candidate_: pt, eta, phi, z0, charge, puppi (weight), pileup (truth).
- vertex_: z, t, hard (1 for the hard collision, the first).
- muon_: pt, eta, phi, charge, quality, pileup, prompt; hw_pt, hw_eta, hw_phi.
- eg_, tau_: pt, eta, phi, iso (bit 0 tight, bit 1 loose); jet_: pt, eta, phi; each with hw_pt, hw_eta, hw_phi.
- truth_: outgoing particles of the hard process and their resonances: pt, eta, phi, mass, pdgid, status (Pythia's).
- scalars: event_id, process, process_NAME (one for each generated), npu, rho (GeV per unit of eta and phi), pv_z, met,
  met_phi, mht, mht_phi, ht, et (each pt with hw_), puppi_met, puppi_met_phi, gen_met, gen_met_phi.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.simulate.detector import Particles
from foundation.simulate.events_config import EventsConfig
from foundation.simulate.hardware import (
    CALORIMETER_ETA_LSB,
    CALORIMETER_PHI,
    MUON_ETA_LSB,
    MUON_PHI,
    hardware_eta,
    hardware_phi,
    hardware_pt,
)
from foundation.simulate.level1 import Objects, Sums
from foundation.simulate.muons import Muons
from foundation.simulate.pileup import Vertices, invisible
from foundation.simulate.puppi import Candidates, missing_pt
from foundation.simulate.towers import (
    BARREL_WIDTH,
    CENTRAL,
    COLUMN_PHI,
    COLUMNS,
    FORWARD,
    FORWARD_COLUMNS,
    RING_ETA,
    SIDE,
    Towers,
    regions_of,
)
from foundation.simulate.tracker import Tracks

Columns = dict[str, Any]
HARD_STATUS = (22, 23)  # Pythia's |status| of intermediate resonances and of outgoing particles


def columns_of(
    events: int,
    vertices: Vertices,
    towers: Towers,
    tracks: Tracks,
    primary: Bool[np.ndarray, " T"],
    vertex: Float[np.ndarray, " E"],
    candidates: Candidates,
    muons: Muons,
    objects: dict[str, Objects],
    sums: Sums,
    pileup: Float[np.ndarray, " E"],
    cfg: EventsConfig,
) -> Columns:
    """Columns of events 0 ... events - 1, but for the truth of the hard process. `pileup`: see `level1.density`."""
    hard = {"z": vertices.z, "t": vertices.t, "hard": _flag(vertices.index == 0)}
    made = {
        "tower": _towers(towers, cfg),
        "region": _regions(towers),
        "track": _tracks(tracks, primary),
        "candidate": _candidates(candidates),
        "vertex": (vertices.event, hard),
        "muon": _muons(muons),
        **{name: _objects(found, name) for name, found in objects.items()},
    }
    columns: Columns = {}
    for name, collection in made.items():
        if name in cfg.collections:
            columns |= jagged(name, *collection, events)
    number = np.bincount(vertices.event[vertices.index > 0], minlength=events)
    puppi_met, puppi_met_phi = missing_pt(candidates, events)
    scalars = {
        "npu": number.astype(np.int32),
        "rho": pileup / (BARREL_WIDTH * 2 * np.pi / COLUMNS),
        "pv_z": vertex,
        "puppi_met": puppi_met,
        "puppi_met_phi": puppi_met_phi,
        **vars(sums),
        **{f"hw_{name}": hardware_pt(getattr(sums, name), name) for name in ("met", "mht", "ht", "et")},
        **{f"hw_{n}_phi": hardware_phi(getattr(sums, f"{n}_phi"), CALORIMETER_PHI) for n in ("met", "mht")},
    }
    return columns | {name: _narrow(column) for name, column in scalars.items()}


def truth_of(records: ak.Array | None, particles: Particles, events: int, cfg: EventsConfig) -> Columns:
    """Columns of the hard process; of nothing for zero bias (`records` None)."""
    unseen = invisible(particles.pdgid)
    x, y = (
        np.bincount(particles.event[unseen], p[unseen], minlength=events).astype(np.float64)
        for p in (particles.px, particles.py)
    )
    columns: Columns = {
        "gen_met": np.hypot(x, y).astype(np.float32),
        "gen_met_phi": (np.arctan2(y, x) % (2 * np.pi)).astype(np.float32),
    }
    if "truth" not in cfg.collections:
        return columns
    if records is None:
        return columns | jagged(
            "truth", np.zeros(0, np.int64), _truth(np.zeros((4, 0)), *np.zeros((2, 0), int)), events
        )
    hard = records[(abs(records.status) == HARD_STATUS[0]) | (abs(records.status) == HARD_STATUS[1])]
    flat = ak.flatten(hard)
    momenta = np.stack([ak.to_numpy(flat.p[name]) for name in ("px", "py", "pz", "e")])
    fields = _truth(momenta, ak.to_numpy(flat.id), ak.to_numpy(flat.status))
    return columns | jagged("truth", np.repeat(np.arange(events), ak.to_numpy(ak.num(hard))), fields, events)


def jagged(name: str, event: Int[np.ndarray, " N"], columns: Columns, events: int) -> Columns:
    """NAME_COLUMN as events x var; `event` is in ascending order."""
    counts = np.bincount(event, minlength=events)
    return {f"{name}_{key}": ak.unflatten(_narrow(column), counts) for key, column in columns.items()}


def _narrow(column: np.ndarray) -> np.ndarray:
    return column.astype(np.float32) if column.dtype == np.float64 else column.astype(np.int32)


def _flag(truth: Bool[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    return truth.astype(np.int32)


def _truth(p: Float[np.ndarray, "4 N"], pdgid: Int[np.ndarray, " N"], status: Int[np.ndarray, " N"]) -> Columns:
    pt = np.hypot(p[0], p[1])
    return {
        "pt": pt,
        "eta": np.arcsinh(p[2] / np.maximum(pt, 1e-9)),
        "phi": np.arctan2(p[1], p[0]) % (2 * np.pi),
        "mass": np.sqrt(np.maximum(p[3] ** 2 - (p[:3] ** 2).sum(axis=0), 0)),
        "pdgid": pdgid,
        "status": status,
    }


def _towers(towers: Towers, cfg: EventsConfig) -> tuple[np.ndarray, Columns]:
    event, ring, column = np.nonzero(
        (towers.et > 0) & (~FORWARD[:, None] | (np.arange(COLUMNS) % FORWARD_COLUMNS == 0))
    )
    forward = FORWARD[ring]
    ecal, hcal = (et[event, ring, column] * np.where(forward, FORWARD_COLUMNS, 1) for et in (towers.ecal, towers.hcal))
    lsb, most = cfg.calorimeter.tower_lsb, 2**cfg.calorimeter.tower_bits - 1
    # CMS numbers the rings from +-1 outwards, and leaves 29 out.
    ieta = np.where(ring < SIDE, ring - SIDE, ring - SIDE + 1)
    return event, {
        "ecal": ecal,
        "hcal": hcal,
        "et": ecal + hcal,
        "eta": RING_ETA[ring],
        "phi": COLUMN_PHI[column] + np.where(forward, (FORWARD_COLUMNS - 1) * np.pi / COLUMNS, 0),
        "ieta": ieta + np.sign(ieta) * (np.abs(ieta) > CENTRAL),
        "iphi": column + 1,
        "hw_ecal": np.minimum(ecal / lsb, most).astype(np.int32),
        "hw_hcal": np.minimum(hcal / lsb, most).astype(np.int32),
        "pileup": towers.pileup[event, ring, column],
    }


def _regions(towers: Towers) -> tuple[np.ndarray, Columns]:
    et = regions_of(towers)
    event, ieta, iphi = np.nonzero(et > 0)
    et = et[event, ieta, iphi]
    return event, {"et": et, "hw_et": hardware_pt(et, "region"), "ieta": ieta, "iphi": iphi}


def _tracks(tracks: Tracks, primary: Bool[np.ndarray, " T"]) -> tuple[np.ndarray, Columns]:
    names = ("pt", "eta", "phi", "z0", "charge", "vertex", "pdgid")
    truth = {"primary": _flag(primary), "pileup": _flag(tracks.vertex > 0)}
    return tracks.event, {name: getattr(tracks, name) for name in names} | truth


def _candidates(candidates: Candidates) -> tuple[np.ndarray, Columns]:
    names = ("pt", "eta", "phi", "z0", "charge")
    weights = {"puppi": candidates.weight, "pileup": _flag(candidates.pileup)}
    return candidates.event, {name: getattr(candidates, name) for name in names} | weights


def _muons(muons: Muons) -> tuple[np.ndarray, Columns]:
    names = ("pt", "eta", "phi", "charge", "quality")
    return muons.event, {name: getattr(muons, name) for name in names} | {
        "pileup": _flag(muons.vertex > 0),
        "prompt": _flag(muons.prompt),
        "hw_pt": hardware_pt(muons.pt, "muon"),
        "hw_eta": hardware_eta(muons.eta, MUON_ETA_LSB),
        "hw_phi": hardware_phi(muons.phi, MUON_PHI),
    }


def _objects(objects: Objects, name: str) -> tuple[np.ndarray, Columns]:
    columns = {"pt": objects.pt, "eta": objects.eta, "phi": objects.phi}
    if name != "jet":
        columns["iso"] = objects.isolation
    return objects.event, columns | {
        "hw_pt": hardware_pt(objects.pt, name),
        "hw_eta": hardware_eta(objects.eta, CALORIMETER_ETA_LSB),
        "hw_phi": hardware_phi(objects.phi, CALORIMETER_PHI),
    }
