"""The points of a sweep: what each trains from, its settings, and the folder that it is run in.

    OUT/points/NAME/{point.json, finetune, evaluate}

`point.json` holds what the point was made from; a folder whose record differs from what is asked for is never reused.
"""

from __future__ import annotations

import json
import re
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from finetune.command import finetune
from finetune.config import FinetuneConfig, Mode
from finetune.evaluate import EvaluateConfig, evaluate_tagger
from foundation.command import load_config, to_dict
from foundation.compilation_cache import forget_compiled
from foundation.errors import ConfigError, DetfmError, RunError
from foundation.models.published import STAGE
from foundation.runs import Run, checksum, flatten, write_json
from foundation.store import Store

SCRATCH = "scratch"
RECORD, ERROR, FINISHED = "point.json", "error.txt", "metrics.json"


@dataclass(frozen=True)
class SweepConfig:
    """A sweep: every start with every mode, number of labels and seed.

    Attributes:
        labels: numbers of labelled examples; 0 means all of train. Of one seed, fewer are among the more.
        starts: name -> pretrain run or published encoder; `scratch` for the network of `base` untrained; or the name of
            another network of `detfm finetune` (`--cfg.model`), trained from scratch.
        modes: of the pretrained starts; what starts from scratch is trained whole.
        seeds: of the rows drawn, the first parameters, the batches and drop-out.
        metrics: figures of `detfm evaluate`, each a table and a plot: `auc`, `auc/top`, `ratio.resolution`,
            `rejection/top@0.5` (at that signal efficiency). One whose lower values are better has a minus before it.
        base: the settings that all points share (`labels`, `mode` and `train.seed` are the sweep's).
        own: settings of some points in place of those of `base`. Whose: the name of a start, a mode, `START/MODE`, or
            `labels=N`; where several hold, the last of these counts most.
        evaluate: what to evaluate on; without a bootstrap, since the seeds show the spread.
        reference: the start whose labels are counted in the label efficiency.
        data_set: name of a data set in sweep/published.yml, to compare with the figures published for it.
    """

    labels: tuple[int, ...] = (100, 300, 1000)
    starts: dict[str, str] = field(default_factory=lambda: {"scratch": SCRATCH})
    modes: tuple[Mode, ...] = ("full",)
    seeds: tuple[int, ...] = (0, 1, 2)
    metrics: tuple[str, ...] = ("auc",)
    base: FinetuneConfig = field(default_factory=FinetuneConfig)
    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    evaluate: EvaluateConfig = field(default_factory=lambda: EvaluateConfig(replicas=0))
    reference: str = SCRATCH
    data_set: str = ""


@dataclass(frozen=True)
class Point:
    """One fine-tuning of a sweep and its evaluation.

    Attributes:
        start, mode, labels, seed: where it stands in the sweep.
        config: of the fine-tuning.
        encoder: what it starts from; None from scratch.
    """

    start: str
    mode: str
    labels: int
    seed: int
    config: FinetuneConfig
    encoder: Path | None

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.start}-{self.mode}-{self.labels or 'all'}-s{self.seed}"


def points_of(data: Store, cfg: SweepConfig) -> list[Point]:
    """Points that compile to the same programs one after another, few labels first.

    Raises:
        ConfigError: a setting that cannot be, or that belongs to no point.
        RunError: a start is a folder, but not one to start from.
    """
    most = data.length("train")
    if not cfg.starts or not cfg.labels or not cfg.seeds or not cfg.modes or not cfg.metrics:
        raise ConfigError("a sweep needs a start, a mode, a number of labels, a seed and a metric at the least")
    for name, values in (("labels", cfg.labels), ("modes", cfg.modes), ("seeds", cfg.seeds), ("metrics", cfg.metrics)):
        if len(set(values)) < len(values):
            raise ConfigError(f"{name} has an entry twice: {', '.join(map(str, values))}")
    if max(cfg.labels) > most:
        raise ConfigError(f"labels {max(cfg.labels):,}: the train split of {data.path} has {most:,} rows")
    found = [
        Point(start, mode, labels, seed, _seeded(shared, seed), encoder)
        for start, mode, encoder in _arms(cfg)
        for labels in sorted(cfg.labels, key=lambda n: n or most)
        for shared in [_settings(cfg, start, mode, labels, encoder)]
        for seed in cfg.seeds
    ]
    keys = {key for p in found for key in _keys(p.start, p.mode, p.labels)}
    if unknown := sorted(set(cfg.own) - keys):
        raise ConfigError(f"own: no point of the sweep is '{unknown[0]}'; there are {', '.join(sorted(keys))}")
    return found


def _arms(cfg: SweepConfig) -> Iterator[tuple[str, str, Path | None]]:
    for name, start in cfg.starts.items():
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise ConfigError(f"starts: '{name}' becomes part of a folder's name: letters, digits, '_', '.', '-' only")
        if not Path(start).is_dir():
            if "/" in start:
                raise RunError(f"starts: {name}: {start}: no such folder; `detfm pretrain --help` makes one")
            yield name, "full", None
            continue
        origin = Run.open(start, "pretrain", STAGE).path
        yield from ((name, mode, origin) for mode in cfg.modes)


def _keys(start: str, mode: str, labels: int) -> tuple[str, ...]:
    return f"labels={labels}", mode, start, f"{start}/{mode}"


def _settings(cfg: SweepConfig, start: str, mode: str, labels: int, encoder: Path | None) -> FinetuneConfig:
    found, changes = cfg.base, {}
    if encoder is None and cfg.starts[start] != SCRATCH:
        changes = {"model": cfg.starts[start]}
    for key in _keys(start, mode, labels):
        changes = _merged(changes, cfg.own.get(key, {}))
    if changes:
        found = load_config(FinetuneConfig, _merged(to_dict(found), changes))
    assert mode in get_args(Mode)
    return replace(found, labels=labels, mode=mode)  # type: ignore[arg-type]


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the entries of `above` in place of its own, mapping by mapping."""
    both = {k: _merged(below[k], v) for k, v in above.items() if isinstance(v, dict) and isinstance(below.get(k), dict)}
    return {**below, **above, **both}


def _seeded(config: FinetuneConfig, seed: int) -> FinetuneConfig:
    return replace(config, train=replace(config.train, seed=seed))


def record_of(store: Path, point: Point, evaluate: EvaluateConfig) -> dict[str, Any]:
    """What a point is made from, as JSON."""
    inputs = {"store": checksum(store)} | ({} if point.encoder is None else {"encoder": checksum(point.encoder)})
    record = {"finetune": to_dict(point.config), "evaluate": to_dict(evaluate), "inputs": inputs}
    return json.loads(json.dumps(record))


def check_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Whether the point's folder, if there is one, was made from the same.

    Raises:
        RunError: names what differs.
    """
    if not (folder / RECORD).is_file():
        return
    plain = json.loads(json.dumps({"finetune": to_dict(FinetuneConfig()), "evaluate": to_dict(EvaluateConfig())}))
    before = flatten(plain) | flatten(json.loads((folder / RECORD).read_text()))  # settings that came later had no say
    now = flatten(dict(record))
    different = [f"{k}: {before.get(k)} -> {now.get(k)}" for k in {**before, **now} if before.get(k) != now.get(k)]
    if different:
        raise RunError(
            f"{folder} was made with other settings or inputs; give the sweep another --out, or remove that folder:\n  "
            + "\n  ".join(different)
        )


def is_finished(folder: Path) -> bool:
    """Whether a point has been evaluated."""
    return (folder / "evaluate" / FINISHED).is_file()


def run_point(store: Path, point: Point, evaluate: EvaluateConfig, folder: Path) -> tuple[str, str, float]:
    """Fine-tunes and evaluates a point, going on where an interrupted one stopped.

    Returns:
        Its name, the error that ended it (or an empty string), and the seconds it took. What went wrong is kept in
        `error.txt`, so that one point does not end the others.
    """
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ERROR).unlink(missing_ok=True)
    try:
        check_record(folder, record := record_of(store, point, evaluate))
        write_json(folder / RECORD, record)
        tagger = folder / "finetune"
        if not (tagger / FINISHED).is_file():
            finetune(point.encoder or store, cfg=point.config, out=tagger, store=store, resume=True)
        evaluate_tagger(Run.open(tagger), cfg=evaluate, out=folder / "evaluate", store=store, overwrite=True)
    except Exception as error:
        told = str(error) if isinstance(error, DetfmError) else f"{type(error).__name__}: {error}"
        (folder / ERROR).write_text(f"{told}\n\n{traceback.format_exc()}")
        return point.name, told, time.monotonic() - start
    finally:
        forget_compiled()
    return point.name, "", time.monotonic() - start
