"""`detfm anomaly display`: the most anomalous crossings, and what made them so, on one page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from finetune.anomaly.display_events import Shown, shown
from finetune.anomaly.saved import STAGE, load_anomaly
from finetune.anomaly.score import SCORES, ScoreConfig, check_same_inputs
from finetune.anomaly.score_sources import FILES, Chunk, FileSource, StoreSource
from finetune.anomaly.scorer import Scorer
from foundation.command import Command
from foundation.errors import ConfigError, DataError
from foundation.progress import console
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store import Store

DISPLAY, METRICS = "anomaly_display", "metrics.json"
LEAST_SPREAD = 1e-6  # crossings whose scores differ by less, relatively, are the same crossing twice


@dataclass(frozen=True)
class DisplayConfig:
    """What is shown.

    Attributes:
        most: how many of the most anomalous crossings; of several with the same score one.
        ordinary: how many drawn at random from the middle half of the scores, for comparison.
        split: of the scores or of the store; empty: `test` if it is there, else the last one.
        seed: of the ordinary ones.
    """

    most: int = 6
    ordinary: int = 1
    split: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Scored:
    """A scored split that can be read again, row by row.

    Attributes:
        model: the anomaly run.
        schema: of the data.
        scores: of every row.
        read: row -> the crossing, and where it is from.
    """

    model: Run
    schema: DetectorSchema
    split: str
    scores: Float[np.ndarray, " n"]
    read: Callable[[int], tuple[Chunk, str]]


def anomaly_display(path: str | Path, *, cfg: DisplayConfig, out: str | Path, overwrite: bool = False) -> Run:
    """Writes `report.html` and a PNG of each crossing.

    Args:
        path: scores, or an anomaly run, whose store is scored then.

    Raises:
        RunError, DataError: a folder or file is gone or not what it should be, or no crossing has a score.
        ConfigError: settings that cannot be, or no such split.
    """
    if cfg.most < 1 or cfg.ordinary < 0:
        raise ConfigError(f"most is at least 1 and ordinary at least 0; they are {cfg.most} and {cfg.ordinary}")
    given = Run.open(path, SCORES, STAGE)
    found = _of_scores(given, cfg) if given.stage == SCORES else _of_run(given, cfg)
    from finetune.anomaly.display_page import write_page  # matplotlib takes a second to import

    rows = chosen_rows(found.scores, cfg)
    run = Run.create(out, DISPLAY, config=cfg, schema=found.schema, inputs={"scores": given.path}, overwrite=overwrite)
    scorer = Scorer(load_anomaly(found.model))
    events = []
    for rank, row in rows:
        chunk, where = found.read(row)
        events.append(shown(chunk, found.schema, scorer, where, rank))
    write_page(run, events, found.scores, found.model.path.name, found.split)
    run.write(METRICS, {"split": found.split, "rows": len(found.scores), "shown": [_figures(e) for e in events]})
    console.print(f"{run.path}/report.html: {len(events)} crossings of '{found.split}'", highlight=False)
    return run


def chosen_rows(scores: Float[np.ndarray, " n"], cfg: DisplayConfig) -> list[tuple[int, int]]:
    """(rank, row): the rows of the highest scores, each score once, then ordinary ones of rank 0.

    Raises:
        DataError: no score is a number.
    """
    usable = np.flatnonzero(np.isfinite(scores))
    if not len(usable):
        raise DataError("no crossing has a score that is a number: there is nothing to show")
    falling = usable[np.argsort(-scores[usable], kind="stable")]
    found: list[tuple[int, int]] = []
    for row in falling:
        if not found or scores[found[-1][1]] - scores[row] > LEAST_SPREAD * abs(scores[row]):
            found.append((len(found) + 1, int(row)))
        if len(found) == cfg.most:
            break
    middle = falling[len(falling) // 4 : max(3 * len(falling) // 4, len(falling) // 4 + 1)]
    drawn = np.random.default_rng(cfg.seed).permutation(middle)[: cfg.ordinary]
    return found + [(0, int(row)) for row in drawn]


def _split(names: list[str], wanted: str) -> str:
    if wanted and wanted not in names:
        raise ConfigError(f"cfg.split: there is no '{wanted}'; there are {', '.join(names)}")
    return wanted or ("test" if "test" in names else names[-1])


def _of_scores(scores: Run, cfg: DisplayConfig) -> Scored:
    split = _split(list(scores.read(METRICS)["splits"]), cfg.split)
    model = Run.open(scores.input("model"), STAGE)
    table = pq.read_table(scores.path / f"{split}.parquet", columns=["score", "source_file", "source_entry"])
    column = table["score"].to_numpy()
    if "store" in scores.provenance["inputs"]:
        source = StoreSource(Store.open(scores.input("store")), [split])
        return Scored(model, source.schema, split, column, _from_store(source, split))
    roles = sorted((r for r in scores.provenance["inputs"] if r.startswith("file_")), key=lambda r: int(r[5:]))
    files = FileSource([scores.input(role) for role in roles], model.schema, scores.config(ScoreConfig).nan)
    origin = table["source_file"].to_numpy(), table["source_entry"].to_numpy()
    return Scored(model, files.schema, FILES, column, _from_files(files, *origin))


def _of_run(run: Run, cfg: DisplayConfig) -> Scored:
    store = Store.open(run.input("store"))
    check_same_inputs(run.schema, store)
    split = _split([each for each in store.splits if store.length(each)], cfg.split)
    source, scorer = StoreSource(store, [split]), Scorer(load_anomaly(run))
    scores = np.concatenate([scorer.chunk(chunk) for chunk in source.chunks(split, ScoreConfig().rows)])
    return Scored(run, store.schema, split, scores, _from_store(source, split))


def _from_store(source: StoreSource, split: str) -> Callable[[int], tuple[Chunk, str]]:
    def read(row: int) -> tuple[Chunk, str]:
        chunk = source.read(split, row, row + 1)
        return chunk, f"{source.store.path.name}, {split} row {row}"

    return read


def _from_files(
    source: FileSource, files: Int[np.ndarray, " n"], entries: Int[np.ndarray, " n"]
) -> Callable[[int], tuple[Chunk, str]]:
    def read(row: int) -> tuple[Chunk, str]:
        chunk = source.entry(int(files[row]), int(entries[row]))
        return chunk, f"{Path(source.paths[files[row]]).name}, entry {entries[row]}"

    return read


def _figures(event: Shown) -> dict[str, Any]:
    observers = {name: value.item() for name, value in event.event.observers.items()}
    return {"rank": event.rank, "score": event.score, "where": event.event.where, **observers, **event.observables}


COMMAND = Command(
    run=lambda args: anomaly_display(args.path, cfg=args.cfg, out=args.out, overwrite=args.overwrite),
    config=DisplayConfig,
    arguments=lambda parser: (
        parser.add_argument("path", help="scores of `detfm anomaly score`, or an anomaly run"),
        parser.add_argument("--out", default="runs/display", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace a display at --out"),
    ),
    description="Shows the most anomalous crossings, an ordinary one, and what each object contributed to the score. "
    "Example: detfm anomaly display runs/scores --out runs/display",
)
