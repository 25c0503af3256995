"""`detfm anomaly rates`: scores of zero bias -> thresholds and rates in kHz, beside a menu, limits in words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from finetune.anomaly.rates_config import RatesConfig
from finetune.anomaly.rates_draw import draw
from finetune.anomaly.rates_measure import measure
from finetune.anomaly.rates_pages import sections, show
from finetune.anomaly.rates_table import STAGE, read_scores
from foundation import __version__
from foundation.command import Command
from foundation.page import write_report
from foundation.runs import Run

__all__ = ["COMMAND", "RatesConfig", "anomaly_rates"]

RATES, METRICS, REPORT = "anomaly_rates", "metrics.json", "report.html"


def anomaly_rates(paths: Sequence[str | Path], *, cfg: RatesConfig, out: str | Path, overwrite: bool = False) -> Run:
    """Writes metrics.json, pictures and report.html of score runs of one model, whose rows are taken together.

    Raises:
        RunError: a run is none of scores, did not finish, or they are of different models.
        ConfigError: a setting cannot be, or names what is not there.
        DataError: no zero-bias crossing, or a value that is not finite.
    """
    cfg.check()
    runs = [Run.open(path, STAGE) for path in paths]
    for each in runs:
        each.read(METRICS)  # refuses one that did not finish
    scored = read_scores(runs, cfg)
    found = measure(scored, cfg)
    inputs = {"scores" if len(runs) == 1 else f"scores_{i}": run.path for i, run in enumerate(runs)}
    run = Run.create(
        out,
        RATES,
        config=cfg,
        schema=runs[0].schema,
        inputs=inputs,
        seeds={"bootstrap": cfg.seed},
        overwrite=overwrite,
    )
    draw(run.path, scored, found, cfg)
    run.write(METRICS, found.figures)
    made = {"detfm": __version__, "command": run.provenance["command"]}
    made |= {"made": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())}
    write_report(run.path / REPORT, f"Rates of {', '.join(r.path.name for r in runs)}", sections(run, found), made)
    show(run, found)
    return run


COMMAND = Command(
    run=lambda args: anomaly_rates(args.scores, cfg=args.cfg, out=args.out, overwrite=args.overwrite),
    config=RatesConfig,
    arguments=lambda parser: (
        parser.add_argument("scores", nargs="+", help="score runs of one model: zero bias, and signals if there are"),
        parser.add_argument("--out", default="runs/rates", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace rates at --out"),
    ),
    description="Sets thresholds for rates in kHz and says what they keep of signals, beside a menu and against cuts "
    "on HT, leading jet and multiplicity. Example: detfm anomaly rates runs/scores --cfg anomaly/rates/run3 "
    "--out runs/rates",
)
