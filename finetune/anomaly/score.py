"""`detfm anomaly score`: anomaly run + data -> a score for every crossing, beside run and event, streaming."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from finetune.anomaly.drift import Watch, drift, warnings
from finetune.anomaly.pipeline import ahead, behind
from finetune.anomaly.saved import RECORDED, STAGE, load_anomaly
from finetune.anomaly.score_sources import Chunk, FileSource, StoreSource
from finetune.anomaly.scorer import Scorer, unusable
from foundation.command import Command
from foundation.errors import ConfigError, DataError
from foundation.interrupt import stoppable
from foundation.progress import console, progress
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.tables import TableWriter
from foundation.trigger.observables import observables

SCORES, METRICS = "anomaly_scores", "metrics.json"
LISTED = 30  # records of drift in metrics.json


@dataclass(frozen=True)
class ScoreConfig:
    """Scoring.

    Attributes:
        splits: of a store; each gets its own table. Empty: all.
        nan: values that are not finite: `refuse` the data, or `flag`: the row's score is NaN, and it is counted.
        rows: at a time.
        root: write the scores as ROOT, too.
    """

    splits: tuple[str, ...] = ()
    nan: Literal["refuse", "flag"] = "refuse"
    rows: int = 32768
    root: bool = True


def anomaly_score(
    run: str | Path, data: Sequence[str | Path], *, cfg: ScoreConfig, out: str | Path, overwrite: bool = False
) -> Run:
    """Writes `SPLIT.parquet` and `SPLIT.root` (of files: `data.parquet` and `data.root`), a row per crossing in order.

    Columns: `score`; `row`, `source_file`, `source_entry`; the observers; `label_NAME`; `weight`; the observables of
    `foundation.trigger.observables`. Memory does not grow with the number of rows. Nothing is left where the work was
    interrupted.

    Args:
        run: an anomaly run.
        data: one store; or detector files, read as the run's schema says.

    Raises:
        RunError, DataError: a folder or file is not what it should be, or holds values that are not finite.
        ConfigError: settings that cannot be.
    """
    begun = time.monotonic()
    if cfg.rows < 1:
        raise ConfigError(f"rows is a number of crossings, 1 or more; it is {cfg.rows}")
    origin = Run.open(run, STAGE)
    recorded = origin.read(RECORDED)
    model = load_anomaly(origin)
    source = source_of(data, origin.schema, cfg)
    inputs = {"model": origin.path} | _inputs(source)
    written = Run.create(out, SCORES, config=cfg, schema=source.schema, inputs=inputs, overwrite=overwrite)
    try:
        found = {
            split: _Split(source, split, Scorer(model), recorded, cfg).write(written.path) for split in source.rows
        }
    except BaseException:
        shutil.rmtree(written.path, ignore_errors=True)
        raise
    rows, seconds = sum(source.rows.values()), time.monotonic() - begun
    figures: dict[str, Any] = {"rows": rows, "files": [f"{split}.parquet" for split in source.rows]}
    for key in ("empty", "flagged", "unusable"):
        figures[key] = sum(each[key] for each in found.values())
    figures |= {"seconds": seconds, "crossings_per_s": rows / sum(each["seconds"] for each in found.values())}
    written.write(METRICS, figures | {"splits": found})
    return written


def source_of(data: Sequence[str | Path], schema: DetectorSchema, cfg: ScoreConfig) -> StoreSource | FileSource:
    """What the command line names.

    Raises:
        ConfigError: several stores, or splits of files.
        DataError: a store of another schema than the run's; or as the sources.
    """
    folders = [each for each in data if Path(each).is_dir()]
    if not folders:
        if cfg.splits:
            raise ConfigError(f"cfg.splits {list(cfg.splits)} are splits of a store; files are scored as a whole")
        source = FileSource(data, schema, cfg.nan)
        for each in source.left_out:
            console.print(f"anomaly: no file has the columns of the {each}: left out", highlight=False)
        return source
    if len(data) > 1:
        raise ConfigError(f"one store, or detector files; got {', '.join(map(str, data))}")
    store = Store.open(folders[0])
    check_same_inputs(schema, store)
    return StoreSource(store, cfg.splits)


def check_same_inputs(schema: DetectorSchema, store: Store) -> None:
    """Raises DataError naming the first thing that the run's schema has and the store has otherwise."""
    for name, modality in schema.modalities.items():
        there = store.schema.modalities.get(name)
        if there is None:
            raise DataError(f"{store.path} has no modality '{name}', which the run was trained on; it has "
                            f"{', '.join(store.schema.modalities)}")  # fmt: skip
        wanted, got = ([(n, f.unit) for n, f in each.features.items()] for each in (modality, there))
        if wanted != got:
            raise DataError(f"{store.path}: modality '{name}' has the features {got}; the run was trained on {wanted}")
    if list(schema.globals) != list(store.schema.globals):
        raise DataError(f"{store.path} has the globals {list(store.schema.globals)}; the run was trained on "
                        f"{list(schema.globals)}")  # fmt: skip


def _inputs(source: StoreSource | FileSource) -> dict[str, str | Path]:
    if isinstance(source, StoreSource):
        return {"store": source.store.path}
    return {f"file_{number}": path for number, path in enumerate(source.paths) if Path(path).is_file()}


class _Split:
    """One table: reading, scoring and writing at the same time."""

    def __init__(
        self,
        source: StoreSource | FileSource,
        split: str,
        scorer: Scorer,
        recorded: dict[str, Any],
        cfg: ScoreConfig,
    ):
        self.source, self.split, self.scorer, self.recorded, self.cfg = source, split, scorer, recorded, cfg
        self.watch = Watch(source.schema, source.rows[split])
        self.nonfinite: Counter[str] = Counter()
        self.notes: dict[str, Counter[str]] = {}
        self.flagged = self.unusable = 0

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the table. Returns what metrics.json says of it."""
        begun = time.monotonic()
        rows = self.source.rows[self.split]
        table = TableWriter(folder, self.split, root=self.cfg.root)
        try:
            with (
                progress(f"score {self.split}", rows, "crossings") as bar,
                ahead(self.source.chunks(self.split, self.cfg.rows)) as chunks,
                behind(table.write) as write,
            ):
                for chunk in chunks:
                    write(self._columns(chunk))
                    bar.advance(len(chunk.bad))
            table.close()
        except BaseException:
            table.discard()
            raise
        return self._figures(time.monotonic() - begun)

    def _columns(self, chunk: Chunk) -> dict[str, np.ndarray]:
        if chunk.bad.any():
            self._note_bad(chunk)
        scores = self.scorer.chunk(chunk)
        self.unusable += unusable(scores, chunk.bad)
        self.watch.see(chunk.batch, scores)
        for reason, counts in chunk.notes.items():
            self.notes.setdefault(reason, Counter()).update(counts)
        found = {"score": scores, **chunk.columns}
        found |= {
            n: v.astype(np.float32) for n, v in observables(chunk.batch, self.source.schema).items() if n not in found
        }
        return found

    def _note_bad(self, chunk: Chunk) -> None:
        named = {self._named(where): count for where, count in chunk.nonfinite.items()}
        self.nonfinite.update(named)
        self.flagged += int(chunk.bad.sum())
        if self.cfg.nan == "refuse":
            first = int(chunk.columns["row"][np.flatnonzero(chunk.bad)[0]])
            listed = ", ".join(f"{name} ({count})" for name, count in named.items())
            raise DataError(
                f"'{self.split}' holds values that are NaN or infinite: {listed}; row {first} first. Correct the data, "
                "or --cfg.nan flag gives such crossings the score NaN and counts them"
            )

    def _named(self, where: str) -> str:
        """`jets.0`, as a store's check has it, -> `jets.pt`."""
        name, _, feature = where.partition(".")
        schema = self.source.schema
        known = (
            schema.globals
            if name == "globals"
            else schema.modalities[name].features
            if name in schema.modalities
            else {}
        )
        return f"{name}.{list(known)[int(feature)]}" if feature.isdigit() else where

    def _figures(self, seconds: float) -> dict[str, Any]:
        records = drift(self.watch, self.recorded)
        said = warnings(self.watch, self.recorded, records)
        if self.flagged:
            said.append(f"not finite: {self.flagged} crossings have the score NaN, for {dict(self.nonfinite)}")
        if self.unusable:
            said.append(f"{self.unusable} scores of sound crossings are not finite: the model overflowed")
        said += [f"{reason.replace('_', ' ')}: {dict(counts)}" for reason, counts in self.notes.items()]
        for text in said:
            console.print(f"[yellow]anomaly: {self.split}: {text}[/yellow]", highlight=False)
        return {
            "rows": self.watch.rows,
            "seconds": seconds,
            "empty": self.watch.empty,
            "flagged": self.flagged,
            "unusable": self.unusable,
            "nonfinite": dict(self.nonfinite),
            "saturated": self.watch.counts(),
            "warnings": said,
            "drift": records[:LISTED],
        }


def _arguments(parser: Any) -> None:
    parser.add_argument("run", help="an anomaly run")
    parser.add_argument("data", nargs="+", help="a store, or detector files (ROOT, HDF5, Parquet, npz) or patterns")
    parser.add_argument("--out", default="runs/scores", help="run folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace scores at --out")


def _run(args: Any) -> Run:
    with stoppable("stopped; nothing was written"):
        run = anomaly_score(args.run, args.data, cfg=args.cfg, out=args.out, overwrite=args.overwrite)
    found = run.read(METRICS)
    console.print(
        f"{run.path}: {found['rows']:,} crossings at {found['crossings_per_s']:,.0f}/s, {found['empty']:,} empty",
        highlight=False,
    )
    return run


COMMAND = Command(
    run=_run,
    config=ScoreConfig,
    arguments=_arguments,
    description="Scores every crossing of a store or of detector files, in bounded memory, beside run and event. "
    "Example: detfm anomaly score runs/anomaly stores/zerobias --out runs/scores",
)
