"""One chunk of a sample with views: jets of one class, each seen several times from the same hard partons.

View 0 selects: a matched jet in the window, as in a chunk without views. The other views are of the same hard event,
and must find a jet around the same partons, within the window of pt and eta too. Where one of them does not, the jet
is dropped in all views and counted: `views_lost` of the next row that is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import count, islice
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from foundation.simulate.branches import jet_branches
from foundation.simulate.chunks import first_event_id, joined_pieces, label_columns, part_of_run
from foundation.simulate.conditions import Moments, draw_moments
from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import Candidates, respond
from foundation.simulate.events import BATCH_EVENTS
from foundation.simulate.hard import HardEvent, Shower, hard_events, hard_records
from foundation.simulate.jets import Jets, find_jets
from foundation.simulate.plan import Task
from foundation.simulate.processes import PROCESSES, Process
from foundation.simulate.quota import Quota
from foundation.simulate.truth import PartonGroup, parton_groups, truth_of


def generate_views(cfg: SimulateConfig, task: Task) -> dict[str, Any]:
    """Columns of one task: those of `generate_chunk`, each jet `cfg.views.count` times in a row, and

    view, variation: int32, see `ViewsConfig`;
    aux_hard_pt, _eta, _phi: as aux_genpart_*, but in the hard process: the same in all views;
    views_lost: int32, jets dropped since the row before because a view did not have them; the sum is their number.

    Raises:
        ConfigError: Pythia refuses a setting.
        DataError: the process gives too few matched jets in the window.
    """
    process = PROCESSES[task.name]
    seeds = np.random.SeedSequence(cfg.seed, spawn_key=(process.index, task.chunk))
    rng, clock = np.random.default_rng(seeds), np.random.default_rng(seeds.spawn(1)[0])
    quota = Quota(cfg, task, rng)
    eyes = _Eyes(cfg, process, seeds)
    source = hard_events(process, cfg, int(seeds.generate_state(1)[0]))
    pieces: list[dict[str, Any]] = []
    lost = 0
    for batch in count():
        events = list(islice(source, BATCH_EVENTS))
        moments = draw_moments(cfg.conditions, part_of_run(cfg, task), len(events), clock)
        jets, candidates = eyes.see(0, 0, events, np.arange(len(events)), moments)
        jets = jets[quota.wanted(jets.pt)]
        looks = [_Look(jets.event, jet_branches(jets, candidates, cfg) | _numbers(0, np.zeros_like(jets.event)))]
        for view in range(1, cfg.views.count):
            variations = cfg.views.variation_of(view, batch * BATCH_EVENTS + jets.event)
            looks.append(_look_again(eyes, view, variations, jets, events, moments, cfg))
        kept = reduce(np.intersect1d, [look.event for look in looks])
        lost += len(jets.event) - len(kept)
        if len(kept):
            jets = jets[np.flatnonzero(np.isin(jets.event, kept))]
            quota.take(jets.pt)
            event, rows = _interleaved(looks, kept)
            truth = _hard_truth(events, jets, process)
            rows |= {name: np.repeat(column, cfg.views.count) for name, column in truth.items()}
            rows["views_lost"], lost = np.where(np.arange(len(event)) == 0, lost, 0).astype(np.int32), 0
            event_id = first_event_id(process, task) + batch * BATCH_EVENTS + event
            pieces.append({"event_id": event_id, **rows, **moments.columns(event)})
        if quota.filled:
            break
        quota.refuse_endless((batch + 1) * BATCH_EVENTS)
    return joined_pieces(pieces) | label_columns(cfg, task, task.rows * cfg.views.count)


class _Eyes:
    """What sees the hard events: one Pythia, detector and stream of random numbers for each view and variation."""

    def __init__(self, cfg: SimulateConfig, process: Process, seeds: np.random.SeedSequence):
        self._cfgs, self._process, self._seeds = varied(cfg), process, seeds
        self._eyes: dict[tuple[int, int], tuple[Shower, np.random.Generator]] = {}

    def see(
        self,
        view: int,
        variation: int,
        events: Sequence[HardEvent],
        which: Int[np.ndarray, " K"],
        moments: Moments,
        group: Int[np.ndarray, " K"] | None = None,
    ) -> tuple[Jets, Candidates]:
        """Jets of `events[which]`, with `event` counted among all `events`: of any group of partons, or of `group`."""
        cfg = self._cfgs[variation]
        if (view, variation) not in self._eyes:
            key = (*self._seeds.spawn_key, 1 + view, variation)
            seeds = np.random.SeedSequence(self._seeds.entropy, spawn_key=key)
            shower = Shower(self._process, cfg, int(seeds.generate_state(1)[0]))
            self._eyes[view, variation] = shower, np.random.default_rng(seeds)
        shower, rng = self._eyes[view, variation]
        alive, records, stable = shower.run([events[i] for i in which])
        candidates = respond(stable, cfg.detector, rng, moments[which[alive]].effects)
        truth = truth_of(records, self._process)
        if group is not None:
            truth = dataclasses.replace(truth, groups=[_picked(truth.groups, group[alive])])
        jets = find_jets(candidates, truth, cfg, rng)
        return dataclasses.replace(jets, event=which[alive[jets.event]]), candidates


def varied(cfg: SimulateConfig) -> list[SimulateConfig]:
    """The settings of each variation, the nominal one first."""
    return [cfg] + [
        dataclasses.replace(
            cfg,
            pythia=(*cfg.pythia, *variation.pythia),
            detector=dataclasses.replace(cfg.detector, **variation.detector),
        )
        for variation in cfg.views.variations
    ]


def _picked(groups: list[PartonGroup], group: Int[np.ndarray, " E"]) -> PartonGroup:
    """One group of each event."""
    events = np.arange(len(group))
    stacked = {name: np.stack([getattr(g, name) for g in groups]) for name in vars(groups[0])}
    return PartonGroup(**{name: column[group, events] for name, column in stacked.items()})


@dataclass(frozen=True)
class _Look:
    """One view: the events that have a jet, ascending, and the columns of these jets."""

    event: Int[np.ndarray, " J"]
    columns: dict[str, Any]


def _look_again(
    eyes: _Eyes,
    view: int,
    variations: Int[np.ndarray, " J"],
    jets: Jets,
    events: Sequence[HardEvent],
    moments: Moments,
    cfg: SimulateConfig,
) -> _Look:
    """The same partons as those of `jets`, each seen with its variation."""
    parts: list[dict[str, Any]] = []
    for variation in np.unique(variations):
        these = variations == variation
        seen, candidates = eyes.see(view, int(variation), events, jets.event[these], moments, jets.group[these])
        if len(seen.event):
            numbers = _numbers(view, np.full(len(seen.event), variation))
            parts.append({"event": seen.event, **jet_branches(seen, candidates, cfg), **numbers})
    if not parts:
        return _Look(np.zeros(0, np.int64), {})
    columns = joined_pieces(parts)
    event = columns.pop("event")
    order = np.argsort(event)
    return _Look(event[order], {name: column[order] for name, column in columns.items()})


def _numbers(view: int, variation: Int[np.ndarray, " J"]) -> dict[str, Int[np.ndarray, " J"]]:
    return {"view": np.full(len(variation), view, np.int32), "variation": variation.astype(np.int32)}


def _interleaved(looks: list[_Look], kept: Int[np.ndarray, " K"]) -> tuple[Int[np.ndarray, " R"], dict[str, Any]]:
    """(event, columns) of the rows: all views of the first kept event, then of the next."""
    parts = []
    for look in looks:
        rows = np.searchsorted(look.event, kept)
        parts.append({name: column[rows] for name, column in look.columns.items()})
    order = np.arange(len(kept) * len(looks)).reshape(len(looks), len(kept)).T.ravel()
    return np.repeat(kept, len(looks)), {name: column[order] for name, column in joined_pieces(parts).items()}


def _hard_truth(events: Sequence[HardEvent], jets: Jets, process: Process) -> dict[str, Float[np.ndarray, " J"]]:
    """What `aux_genpart_*` is of, in the hard process, before anything of a view happened to it."""
    group = _picked(parton_groups(hard_records([events[i] for i in jets.event]), process), jets.group)
    pt = np.hypot(group.truth_px, group.truth_py)
    columns = {"pt": pt, "eta": np.arcsinh(group.truth_pz / pt), "phi": np.arctan2(group.truth_py, group.truth_px)}
    return {f"aux_hard_{name}": column.astype(np.float32) for name, column in columns.items()}
