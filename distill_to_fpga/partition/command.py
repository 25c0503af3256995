"""`detfm partition`: the smallest system of many FPGAs that runs a network at the rate and latency of the trigger.

OUT/{config.yaml, schema.yaml, provenance.json, plan.json, metrics.json, utilisation.png, time_chart.png, systems.png}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from distill_to_fpga.partition.config import PartitionConfig
from distill_to_fpga.partition.given import read_network
from distill_to_fpga.partition.report import table, told, write_results
from distill_to_fpga.partition.search import Found, search
from foundation.command import Command
from foundation.errors import DetfmError
from foundation.progress import console
from foundation.runs import Run, check_room

STAGE = "partition"


class InfeasibleError(DetfmError):
    """No system keeps all limits."""


def partition(
    source: str | Path,
    *,
    cfg: PartitionConfig,
    out: str | Path,
    schema: str = "data/jets",
    overwrite: bool = False,
) -> Run:
    """Finds the smallest system and writes it; if none keeps all limits, writes the nearest.

    Args:
        source: see `read_network`.
        out: run folder to write.
        schema: of a preset: its tokens and features.
        overwrite: replace a partition run at `out`.

    Raises:
        InfeasibleError: a limit is broken; names each, and by how much. Without any system nothing is written.
        RunError, ConfigError, GraphError: see `read_network`, `search`.
    """
    check_room(Path(out), STAGE, overwrite)
    given = read_network(source, schema, cfg)
    found = search(given.network, cfg)
    system, simulation = found.best.system, found.best.simulation
    if system is None or simulation is None:
        raise InfeasibleError(_said(found, f"{source} fits on no system"))
    run = Run.create(out, STAGE, config=cfg, schema=given.schema, inputs=given.inputs, overwrite=overwrite)
    write_results(run, found, system, simulation)
    console.print(table(run.read("metrics.json")))
    if found.best.violations:
        raise InfeasibleError(_said(found, f"no system keeps all limits; the nearest is in {run.path}"))
    return run


def _said(found: Found, lead: str) -> str:
    return "\n  ".join([f"{lead}:", *told(found.best.violations)])


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "network",
        help="a pretrain, finetune, distill or export run, a graph.json, or the preset of a pretraining: pretrain/500k",
    )
    parser.add_argument("--schema", default="data/jets", help="of a preset: its tokens and features")
    parser.add_argument("--out", default="runs/partition", help="run folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a partition run at --out")


def _run(args: Any) -> None:
    run = partition(args.network, cfg=args.cfg, out=args.out, schema=args.schema, overwrite=args.overwrite)
    console.print(f"{run.path}: plan.json, metrics.json, utilisation.png, time_chart.png, systems.png", highlight=False)


COMMAND = Command(
    run=_run,
    config=PartitionConfig,
    arguments=_arguments,
    description="Divides a network that no chip can hold over many FPGAs: layers, groups of tokens and slices of "
    "channels, under the limits of chips and links; simulates the pipeline clock by clock and finds the smallest "
    "system that takes every crossing in time. "
    "Example: detfm partition pretrain/500k --cfg partition/level1 --out runs/partition",
)
