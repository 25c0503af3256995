"""One chunk: a fixed number of jets of one class, generated from a seed of its own.

A chunk depends on the settings, the class and its number, on nothing else: neither on which process makes it nor on
the other classes. Chunks are therefore the unit of parallel work, and any number of workers gives the same sample.

The jet pt spectrum: a chunk accepts the same number of jets in each of `PT_BINS` equal bins of the window and rejects
the rest, so every class has the same flat spectrum and pt alone cannot tell the classes apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Float, Int

from foundation.errors import ConfigError, DataError, missing_extra
from foundation.simulate import columns
from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import Candidates, Particles, respond
from foundation.simulate.processes import PROCESSES, Process

CHUNK_JETS = 500
PT_BINS = 10
BATCH_EVENTS = 200
MOST_EVENTS_PER_JET = 400  # a chunk that needs more will not end
PTHAT_MARGIN = 0.75, 1.35  # the generated window in pTHat, in units of the edges of the jet pt window
PYTHIA_SEEDS = 900_000_000


def generate_chunk(cfg: SimulateConfig, label: str, chunk: int, jets: int) -> dict[str, Any]:
    """Columns of `jets` jets of the class `label`, as in `columns`, labels and `event_id` included.

    Jagged columns are awkward arrays (jets x var), the others numpy arrays; floats are float32, rounded as
    `cfg.mantissa_bits` says.

    Raises:
        ToolError: pythia8mc or fastjet is missing.
        ConfigError: Pythia refuses a setting.
        DataError: the process gives too few matched jets in the window.
    """
    process = PROCESSES[label]
    seeds = np.random.SeedSequence([cfg.seed, process.index, chunk])
    rng = np.random.default_rng(seeds)
    quota = np.full(PT_BINS, jets // PT_BINS) + (rng.permutation(PT_BINS) < jets % PT_BINS)
    edges = np.linspace(cfg.pt_min, cfg.pt_max, PT_BINS + 1)
    pieces: list[dict[str, Any]] = []
    for events, particles, stable in _events(process, cfg, int(seeds.generate_state(1)[0]) % PYTHIA_SEEDS + 1):
        found, candidates = _select(particles, stable, process, cfg, rng)
        bins = np.digitize(found.pt, edges[1:-1])
        rank = _rank_within(bins)
        kept = found[np.flatnonzero(rank < quota[bins])]
        quota -= np.bincount(bins, minlength=PT_BINS).clip(max=quota)
        number = (np.int64(process.index) << 48) + (np.int64(chunk) << 24) + events + kept.event
        if len(number):
            pieces.append({"event_id": number, **_columns(kept, candidates, cfg)})
        if not quota.any():
            break
        if events > MOST_EVENTS_PER_JET * jets:
            empty = [f"{a:.0f}-{b:.0f}" for a, b, left in zip(edges, edges[1:], quota) if left]
            raise DataError(
                f"{label}: after {events} events, jets are still missing at pt = {', '.join(empty)} GeV\n"
                "  are jets of this class contained in one cone of R = 0.8 at this pt? raise pt_min, or leave it out"
            )
    joined = {name: ak.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    labels = {name: np.full(jets, int(name == label), np.int32) for name in cfg.classes}
    return {name: _plain(column) for name, column in joined.items()} | labels


def _rank_within(bins: Int[np.ndarray, "J"]) -> Int[np.ndarray, "J"]:
    """How many earlier jets are in the same bin."""
    return (bins[:, None] == bins[None, :]).astype(int).cumsum(axis=1).diagonal() - 1


def _plain(column: Any) -> Any:
    return ak.to_numpy(column) if column.ndim == 1 else column


def _events(process: Process, cfg: SimulateConfig, seed: int) -> Iterator[tuple[int, ak.Array, Particles]]:
    """Endless batches: (events before this batch, the full record, its stable particles)."""
    pythia = _pythia(process, cfg, seed)
    before = 0
    while True:
        record = pythia.nextBatch(BATCH_EVENTS).prt
        yield before, record, _stable(record, pythia)
        before += BATCH_EVENTS


def _pythia(process: Process, cfg: SimulateConfig, seed: int) -> Any:
    try:
        import pythia8mc
    except ImportError as error:
        raise missing_extra("pythia8mc", "sim", "`detfm simulate`") from error
    pythia = pythia8mc.Pythia("", False)
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
    for setting in settings:
        if not pythia.readString(setting):
            raise ConfigError(f"Pythia does not know the setting '{setting}'")
    if not pythia.init():
        raise ConfigError(f"{process.label}: Pythia cannot start with these settings:\n  " + "\n  ".join(settings))
    return pythia


def _stable(record: ak.Array, pythia: Any) -> Particles:
    final = record[record.status > 0]
    flat = ak.flatten(final)
    pdgid = ak.to_numpy(flat.id)
    kinds, member = np.unique(pdgid, return_inverse=True)
    charge = np.array([pythia.particleData.charge(int(kind)) for kind in kinds])[member]
    momentum = (ak.to_numpy(flat.p[name]) for name in ("px", "py", "pz", "e"))
    vertex = (ak.to_numpy(ak.fill_none(flat.vProd[name], 0.0)) for name in ("px", "py", "pz"))
    return Particles(np.repeat(np.arange(len(final)), ak.num(final)), pdgid, charge, *momentum, *vertex)


def _select(
    record: ak.Array, stable: Particles, process: Process, cfg: SimulateConfig, rng: np.random.Generator
) -> tuple[Any, Candidates]:
    from foundation.simulate.jets import find_jets, parton_groups

    candidates = respond(stable, cfg.detector, rng)
    return find_jets(candidates, parton_groups(record, process), cfg, rng), candidates


def _columns(found: Any, candidates: Candidates, cfg: SimulateConfig) -> dict[str, Any]:
    from foundation.simulate.jets import delta_phi, four_vectors
    from foundation.simulate.substructure import soft_drop_mass, subjettiness

    jet_eta, jet_phi = np.arcsinh(found.pz / found.pt), np.arctan2(found.py, found.px)
    truth_pt = np.hypot(found.truth_px, found.truth_py)
    floats: dict[str, Any] = {
        "jet_pt": found.pt,
        "jet_eta": jet_eta,
        "jet_phi": jet_phi,
        "jet_energy": found.energy,
        "aux_genpart_pt": truth_pt,
        "aux_genpart_eta": np.arcsinh(found.truth_pz / truth_pt),
        "aux_genpart_phi": np.arctan2(found.truth_py, found.truth_px),
    }
    counts = ak.to_numpy(ak.num(found.members))
    if cfg.substructure:
        everything = ak.to_numpy(ak.flatten(found.members))
        px, py, pz, energy = (getattr(candidates, name)[everything] for name in ("px", "py", "pz", "energy"))
        constituents = four_vectors(px, py, pz, energy, counts)
        floats["jet_sdmass"] = soft_drop_mass(constituents)
        floats |= {f"jet_tau{n + 1}": tau for n, tau in enumerate(subjettiness(constituents).T)}

    leading = found.members[:, : cfg.max_constituents]
    rows = ak.to_numpy(ak.flatten(leading))
    kept = ak.to_numpy(ak.num(leading))
    jet = np.repeat(np.arange(len(kept)), kept)
    px, py, pz = candidates.px[rows], candidates.py[rows], candidates.pz[rows]
    eta, phi = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
    particle_floats = {
        "part_px": px,
        "part_py": py,
        "part_pz": pz,
        "part_energy": candidates.energy[rows],
        # As in JetClass: positive towards larger |eta|, so that jets of both sides of the detector look alike.
        "part_deta": np.where(jet_eta > 0, 1, -1)[jet] * (eta - jet_eta[jet]),
        "part_dphi": delta_phi(phi, jet_phi[jet]),
        "part_d0val": candidates.d0[rows],
        "part_d0err": candidates.d0err[rows],
        "part_dzval": candidates.dz[rows],
        "part_dzerr": candidates.dzerr[rows],
    }
    kinds = {name: (candidates.kind[rows] == i).astype(np.int32) for i, name in enumerate(columns.PARTICLE_KINDS)}
    jagged = _rounded(particle_floats, cfg) | {"part_charge": candidates.charge[rows].astype(np.float32)} | kinds
    return (
        {name: ak.unflatten(column, kept) for name, column in jagged.items()}
        | _rounded(floats, cfg)
        | {"jet_nparticles": counts.astype(np.int32), "aux_genpart_pid": found.truth_pdgid.astype(np.int32)}
    )


def _rounded(floats: dict[str, Float[np.ndarray, "N"]], cfg: SimulateConfig) -> dict[str, Any]:
    return {name: _round(name, column.astype(np.float32), cfg) for name, column in floats.items()}


def _round(name: str, column: Float[np.ndarray, "N"], cfg: SimulateConfig) -> Float[np.ndarray, "N"]:
    if name in cfg.steps:
        return columns.round_step(column, cfg.steps[name])
    return columns.round_mantissa(column, cfg.mantissa_bits.get(name, 23))
