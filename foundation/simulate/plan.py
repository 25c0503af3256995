"""What `detfm simulate` can make: how a sample of each kind divides into tasks, and which function makes one.

A task is a pure function of the settings, its name and its number. Tasks are therefore the unit of parallel and of
resumed work, and any number of processes gives the same sample.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from foundation.simulate.config import SimulateConfig

CHUNK_JETS = 500  # part of what defines a sample: another value gives other jets
CHUNK_EVENTS = 100  # likewise
ENRICHED = "zero_bias+"  # no process can be called so


@dataclass(frozen=True)
class Task:
    """`rows` jets or events, the `chunk`-th lot of the class or process `name`."""

    name: str
    chunk: int
    rows: int


@dataclass(frozen=True)
class Plan:
    """Blocks of tasks in the order of the file. A block is one basket per branch; its rows are shuffled, or not."""

    blocks: list[list[Task]]
    shuffle: bool = True

    @cached_property
    def tasks(self) -> list[Task]:
        return [task for block in self.blocks for task in block]

    @property
    def rows(self) -> int:
        return sum(task.rows for task in self.tasks)


@dataclass(frozen=True)
class Kind:
    """A kind of sample.

    Attributes:
        unit: what a row is, in the plural.
        plan: the tasks.
        generate: `module:function` of (cfg, task) -> columns, imported where a task runs: it needs the extra `sim`.
            Columns are numpy arrays (rows,) or (rows, K), or awkward arrays (rows x var) of numbers; the jagged ones
            that share a prefix up to the first `_` have the same counts.
    """

    unit: str
    plan: Callable[[SimulateConfig], Plan]
    generate: str


def lots(counts: dict[str, int], size: int) -> list[list[Task]]:
    """Blocks of at most `size` rows of each name, until each has its count."""
    blocks = range(max((-(-count // size) for count in counts.values()), default=0))
    return [
        [Task(name, k, min(size, count - k * size)) for name, count in counts.items() if k * size < count]
        for k in blocks
    ]


def plan_jets(cfg: SimulateConfig) -> Plan:
    return Plan(lots(dict.fromkeys(cfg.classes, cfg.jets_per_class), CHUNK_JETS))


def enriched_name(number: int) -> str:
    """The name of the tasks whose crossings have a collision forced from bin `number` of `events.enrichment`."""
    return f"{ENRICHED}{number}"


def enriched_bin(name: str) -> int | None:
    """The number in such a name; None for the name of a process."""
    return int(name.removeprefix(ENRICHED)) if name.startswith(ENRICHED) else None


def event_counts(cfg: SimulateConfig) -> dict[str, int]:
    """Events of every process, and crossings of every bin of the enriched zero bias."""
    enriched = cfg.events.enrichment.counts
    return cfg.events.processes | {enriched_name(number): count for number, count in enumerate(enriched)}


def event_blocks(cfg: SimulateConfig) -> int:
    """Blocks of a sample of whole events: every process is spread evenly over all of them."""
    return -(-max(event_counts(cfg).values()) // CHUNK_EVENTS)


def plan_events(cfg: SimulateConfig) -> Plan:
    blocks = event_blocks(cfg)
    edges = {name: [count * k // blocks for k in range(blocks + 1)] for name, count in event_counts(cfg).items()}
    for name, at in edges.items():
        if enriched_bin(name) is not None:  # in full chunks, fewer than blocks: Pythia starts for each
            edges[name] = [*(row // CHUNK_EVENTS * CHUNK_EVENTS for row in at[:-1]), at[-1]]
    tasks = [[Task(name, k, at[k + 1] - at[k]) for name, at in edges.items()] for k in range(blocks)]
    return Plan([[task for task in block if task.rows] for block in tasks])


KINDS = {
    "jets": Kind("jets", plan_jets, "foundation.simulate.chunks:generate_chunk"),
    "events": Kind("events", plan_events, "foundation.simulate.whole:generate_events_chunk"),
    "views": Kind("jets", plan_jets, "foundation.simulate.view_chunks:generate_views"),
}


def kind_of(cfg: SimulateConfig) -> Kind:
    """What these settings make."""
    return KINDS["views" if cfg.views.count > 1 else cfg.sample]


def run_task(cfg: SimulateConfig, task: Task) -> dict[str, Any]:
    """The columns of one task.

    Raises:
        ConfigError, DataError: see the function of the kind.
    """
    module, function = kind_of(cfg).generate.split(":")
    return getattr(importlib.import_module(module), function)(cfg, task)
