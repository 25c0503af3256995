"""`detfm simulate`: a sample as a ROOT file, and as a store if asked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from foundation.cluster import ClusterConfig
from foundation.command import Command
from foundation.errors import ConfigError
from foundation.interrupt import stoppable
from foundation.progress import console
from foundation.runs import check_room
from foundation.schema import DetectorSchema
from foundation.simulate.config import SimulateConfig
from foundation.simulate.engine import Simulated, simulate
from foundation.simulate.plan import kind_of
from foundation.simulate.write import metadata, read_metadata


def _arguments(parser: Any) -> None:
    parser.add_argument("--out", type=Path, default=Path("jets.root"), help="the ROOT file to write")
    parser.add_argument("--store", type=Path, default=None, help="also ingest the file into this store")
    parser.add_argument("--schema", default="", help="of the store: a preset or file, for instance data/jets")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="their number; the file is the same")
    parser.add_argument("--scheduler", default="", help="address of a dask scheduler, or slurm, instead of processes")
    parser.add_argument("--cluster", type=ClusterConfig, default=ClusterConfig(), help="jobs of --scheduler slurm")
    parser.add_argument("--overwrite", action="store_true", help="replace what this command wrote")


def _run(arguments: Any) -> None:
    if (arguments.store is None) != (not arguments.schema):
        raise ConfigError("--store and --schema belong together: give both, or neither")
    cfg, out, overwrite = arguments.cfg, arguments.out, arguments.overwrite
    if arguments.store is not None:
        DetectorSchema.load(arguments.schema).check()  # said before generating, not after
        check_room(arguments.store, "ingest", overwrite)
    if arguments.store is not None and not overwrite and _is_made(cfg, out):
        console.print(f"{out} is there already")  # it was made before the ingest was interrupted
    else:
        _report(simulate(cfg, out, arguments.processes, arguments.scheduler, arguments.cluster, overwrite), cfg)
    if arguments.store is not None:
        from foundation.store.ingest import ingest

        with stoppable(f"stopped; {out} is complete, and the same command continues with the store"):
            ingest(
                [out],
                schema=arguments.schema,
                out=arguments.store,
                overwrite=overwrite,
                processes=arguments.processes,
                scheduler=arguments.scheduler,
            )
        console.print(f"{arguments.store}: the store of {out}")


def _is_made(cfg: SimulateConfig, out: Path) -> bool:
    found = read_metadata(out) if out.exists() else None
    return found == json.loads(json.dumps(metadata(cfg)))


def _report(made: Simulated, cfg: SimulateConfig) -> None:
    size = made.path.stat().st_size / 1e6
    text = f"{made.path}: {made.rows:,} {kind_of(cfg).unit}, {size:.2f} MB"
    if made.clipped:
        text += f"; {made.clipped:,} jets had more than {cfg.max_constituents} constituents and lost the softest"
    if cfg.views.count > 1:
        text += f"; {cfg.views.count} views of each; {made.lost:,} jets more were seen in view 0 but not in all"
    console.print(text)


COMMAND = Command(
    run=_run,
    config=SimulateConfig,
    arguments=_arguments,
    description="Generate labelled jets or whole events with Pythia 8, FastJet and a parametrised detector. What is"
    " interrupted continues by the same command."
    " Example: detfm simulate --out jets.root --cfg simulate/sample --cfg.jets_per_class 10000",
)
