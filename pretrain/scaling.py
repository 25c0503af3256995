"""`detfm scaling`: a sweep over model size and data, and what size a budget deserves (arXiv:2001.08361).

Each point is an ordinary `detfm pretrain` in a folder of its own, resumed if interrupted and left alone once finished.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from foundation.command import Command, to_yaml
from foundation.errors import ConfigError, RunError
from foundation.job_array import array_script
from foundation.plots import save
from foundation.progress import console
from foundation.runs import write_json
from foundation.store import Store
from pretrain.command import loader, pretrain
from pretrain.config import PretrainConfig
from pretrain.cost import Model, batch_shape, flops
from pretrain.plan import shapes_of
from pretrain.scaling_fit import NAMES, Fit, fit_law

METRIC = "val/loss"
FINISHED = "metrics.json"


@dataclass(frozen=True)
class Size:
    """A size of the encoder.

    Attributes:
        width: of a token's embedding.
        layers: transformer blocks.
        heads: attention heads.
    """

    width: int = 32
    layers: int = 2
    heads: int = 4


@dataclass(frozen=True)
class ScalingConfig:
    """A sweep: every size with every number of rows.

    Attributes:
        pretrain: what all points share. Its learning rate is that of its own width; a point takes it times the square
            root of (that width / the point's).
        sizes: of the encoder.
        rows: examples to learn from; 0 means all of train.
        epochs: how often each of them is seen.
        bootstraps: fits behind the errors.
    """

    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    sizes: tuple[Size, ...] = (Size(16, 1, 2), Size(32, 2, 4), Size(64, 3, 4), Size(128, 4, 8))
    rows: tuple[int, ...] = (1000, 4000, 16000)
    epochs: float = 1.0
    bootstraps: int = 200


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        name: of its folder.
        config: its settings.
        parameters: trained, of encoder and objectives.
        jets: examples seen, each as often as it comes.
        flops: of all its steps.
    """

    name: str
    config: PretrainConfig
    parameters: int
    jets: float
    flops: float


def sweep(data: Store, cfg: ScalingConfig) -> list[Point]:
    """The points, small ones first.

    Raises:
        ConfigError: a number of rows that train does not have, or the same point twice.
    """
    most = data.length("train")
    rows = [number or most for number in cfg.rows]
    if max(rows) > most:
        raise ConfigError(f"rows {max(rows):,}: the train split of {data.path} has {most:,}")
    points = [_point(data, cfg, size, number) for size in cfg.sizes for number in rows]
    names = [point.name for point in points]
    if len(set(names)) < len(names):
        raise ConfigError(f"the sweep has a point twice: {sorted(n for n in set(names) if names.count(n) > 1)}")
    return sorted(points, key=lambda point: point.flops)


def _point(data: Store, cfg: ScalingConfig, size: Size, rows: int) -> Point:
    base = cfg.pretrain
    encoder = replace(base.encoder, width=size.width, layers=size.layers, heads=size.heads)
    own = replace(base, encoder=encoder, rows=rows)
    batches = loader(data, "train", own)
    steps = max(1, round(cfg.epochs * batches.batches_per_epoch / base.train.accumulate))
    rate = base.train.learning_rate * math.sqrt(base.encoder.width / size.width)
    train = replace(base.train, steps=steps, learning_rate=rate, evaluate_every=0)
    own = replace(own, train=train, monitor=replace(base.monitor, report_rows=0))
    model = Model.of(data.schema, own)
    mean = sum(s.share * flops(model, batch_shape(data.schema, s.rows, s.lengths)) for s in shapes_of(batches))
    name = f"width{size.width}-layers{size.layers}-rows{rows}"
    return Point(name, own, model.parameters(), cfg.epochs * rows, mean * base.train.accumulate * steps)


def run_point(store: Path, point: Point, out: Path) -> None:
    """Pretrains one point, unless it has finished."""
    if (out / point.name / FINISHED).is_file():
        return
    size = f"{point.parameters:,} parameters, {point.jets:,.0f} jets, {point.config.train.steps:,} steps"
    console.print(f"scaling: {point.name}: {size}", highlight=False)
    pretrain(store, cfg=point.config, out=out / point.name, resume=True)


def losses(points: Sequence[Point], out: Path) -> list[float]:
    """The validation loss of every point.

    Raises:
        RunError: a point has not finished, or measured no validation loss; names it.
    """
    from foundation.runs import Run

    found = []
    missing = [point.name for point in points if not (out / point.name / FINISHED).is_file()]
    if missing:
        raise RunError(f"{len(missing)} of {len(points)} points are not finished: {', '.join(missing[:5])}")
    for point in points:
        metrics = Run.open(out / point.name, "pretrain").read(FINISHED)
        if METRIC not in metrics:
            raise RunError(f"{out / point.name} measured no {METRIC}: the store needs a val split, and monitor.batches")
        found.append(float(metrics[METRIC]))
    return found


def summary(fit: Fit, budgets: Sequence[float]) -> str:
    """The law and what the budgets deserve, with 68% intervals."""
    law = fit.law
    lines = [f"L(N, D) = {law.floor:.4g} + {law.A:.3g} / N^{law.alpha:.3f} + {law.B:.3g} / D^{law.beta:.3f}"]
    lines += [f"  {name:<6} {getattr(law, name):<9.4g} {_between(fit.error(name))}" for name in NAMES]
    lines.append(f"  residuals: {fit.spread:.1%} of the loss")
    for budget in budgets:
        size, jets = law.best(budget)
        sizes, data = fit.best_error(budget)
        lines.append(
            f"{budget:.2g} FLOPs deserve {size:.3g} parameters {_between(sizes)} and {jets:.3g} jets {_between(data)}: "
            f"loss {law.loss(size, jets):.4g}"
        )
    return "\n".join(lines)


def _between(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.3g}, {interval[1]:.3g}]"


def job_script(store: Path, cfg: ScalingConfig, out: Path, count: int) -> Path:
    """Writes OUT/scaling.sh, a SLURM job array of one task for each point, from configs/cluster/scaling.sh."""
    out.mkdir(parents=True, exist_ok=True)
    settings = out / "scaling.yaml"
    settings.write_text(to_yaml(cfg))
    return array_script("scaling.sh", out, count, {"STORE": store, "CONFIG": settings, "OUT": out})


def run(args: Any) -> None:
    """Runs or queues the points that are missing; once none is, fits, plots and prints."""
    from pretrain.scaling_plot import scaling_curves

    store, out, cfg = Path(args.store), Path(args.out), args.cfg
    points = sweep(Store.open(store), cfg)
    if args.slurm:
        script = job_script(store, cfg, out, len(points))
        console.print(f"scaling: {len(points)} jobs: sbatch {script}; then give this command again without --slurm")
        return
    if args.point is not None and not 0 <= args.point < len(points):
        raise ConfigError(f"--point {args.point}: the sweep has points 0 to {len(points) - 1}")
    for point in points if args.point is None else [points[args.point]]:
        run_point(store, point, out)
    if args.point is not None:
        return
    loss = np.array(losses(points, out))
    size, jets, spent = (np.array([float(getattr(p, n)) for p in points]) for n in ("parameters", "jets", "flops"))
    fit = fit_law(size, jets, spent, loss, bootstraps=cfg.bootstraps, seed=cfg.pretrain.train.seed)
    budgets = args.budget or [10 * float(spent.max())]
    table = [
        {"name": p.name, "parameters": p.parameters, "jets": p.jets, "flops": p.flops, "loss": float(value)}
        for p, value in zip(points, loss, strict=True)
    ]
    errors = {name: fit.error(name) for name in NAMES}
    best = {f"{budget:.3g}": fit.law.best(budget) for budget in budgets}
    law = {"law": asdict(fit.law), "errors": errors, "residuals": fit.spread, "best": best}
    write_json(out / "scaling.json", {"points": table, **law})
    save(scaling_curves(size, jets, spent, loss, fit, budgets), out / "scaling.png")
    print(summary(fit, budgets))
    print(f"written: {out}/scaling.json, {out}/scaling.png")


COMMAND = Command(
    run=run,
    config=ScalingConfig,
    arguments=lambda parser: (
        parser.add_argument("store", help="folder written by `detfm ingest`"),
        parser.add_argument("--out", default="runs/scaling", help="folder of the sweep: one run folder for each point"),
        parser.add_argument("--point", type=int, help="run this point alone, counted from 0"),
        parser.add_argument("--slurm", action="store_true", help="write a job array, OUT/scaling.sh, and run nothing"),
        parser.add_argument("--budget", type=float, nargs="*", help="FLOPs to spend; default: 10 x the largest run"),
    ),
    description="Pretrains encoders of several sizes on several numbers of jets, fits the validation loss against "
    "parameters and jets, plots it, and says what size a budget of FLOPs deserves. Points that have "
    "finished are not run again. Example: detfm scaling stores/jets --cfg scaling/jets --budget 1e17",
)
