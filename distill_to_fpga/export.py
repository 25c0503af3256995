"""`detfm export`: a distilled student becomes firmware projects, or a bundle of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from jsonargparse import ArgumentParser

from distill_to_fpga.bundle.archive import pack
from distill_to_fpga.bundle.card import measured_run
from distill_to_fpga.bundle.layout import TARGETS_FOLDER, archive_name
from distill_to_fpga.bundle.thresholds import thresholds
from distill_to_fpga.bundle.write import Release, write_bundle
from distill_to_fpga.config import STUDENT
from distill_to_fpga.estimate import Estimate, estimate
from distill_to_fpga.graph import FixedPointGraph, GraphError
from distill_to_fpga.hls4ml_project.model import Settings
from distill_to_fpga.hls4ml_project.target import Hls4mlTarget
from distill_to_fpga.inputs import HardwareLayout, hardware_integers
from distill_to_fpga.lower import lower
from distill_to_fpga.project import PROJECT, InputFeature, Interface
from distill_to_fpga.search.kept import chosen
from distill_to_fpga.students import Student, load_student
from distill_to_fpga.target import Asked, Cost, Target
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import make_vectors
from foundation.command import Command
from foundation.errors import ConfigError, MissingToolError, RunError
from foundation.progress import console
from foundation.runs import Run, check_room
from foundation.schema import DetectorSchema
from foundation.store import Store

BUNDLE = "bundle"


@dataclass(frozen=True)
class ExportConfig:
    """Firmware.

    Attributes:
        name: of the firmware; a C++ identifier.
        version: of the firmware; the namespace is `detfm_NAME_vVERSION`, the bundle `NAME_vVERSION.tar.gz`.
        part: the FPGA.
        clock_ns: clock period that Vitis is asked for, or that the stages of an RTL pipeline are cut for.
        vectors: how many test vectors go into a project, half of them at most real examples.
        split: which examples those are.
        seed: of the random vectors.
        synthesis: count the cells of an RTL project with Yosys, where that is installed.
        licence: of the weights, an SPDX name such as Apache-2.0 or CC-BY-4.0; empty: a bundle says that none is stated.
        hls4ml: of target hls4ml.
    """

    name: str = "student"
    version: int = 1
    part: str = "xcvu13p-flga2577-2-e"
    clock_ns: float = 5.0
    vectors: int = 2000
    split: str = "test"
    seed: int = 0
    synthesis: bool = True
    licence: str = ""
    hls4ml: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        if self.clock_ns <= 0 or self.version < 0 or self.vectors < 0:
            raise ConfigError(f"clock_ns must be positive, version and vectors not negative: {self}")

    @property
    def archive(self) -> str:
        return archive_name(self.name, self.version)

    def targets(self, names: Iterable[str]) -> dict[str, Target]:
        """Back ends with what is set of them."""
        made = TARGETS | {Hls4mlTarget.name: Hls4mlTarget(self.hls4ml)}
        return {name: made[name] for name in names}


def export(
    student: str | Path,
    *,
    cfg: ExportConfig,
    out: str | Path,
    store: str | Path | None = None,
    trial: int | None = None,
    targets: Sequence[str] = ("hls",),
    evaluation: str | Path | None = None,
    overwrite: bool = False,
) -> Run:
    """Lowers the student of a distill run to integers and writes its firmware.

    One target is written into `OUT/project`, several into `OUT/project/TARGET`. `bundle` is `OUT/NAME_vVERSION.tar.gz`
    with the projects of every target that can be written here. A bundle joins those of other versions in `OUT`, which
    stay whatever is exported later.

    Args:
        student: a distill run, or a search.
        out: run folder to write.
        store: the data that test vectors come from, if it has moved.
        trial: of a search, whose student it is.
        targets: of `TARGETS`, and `bundle`.
        evaluation: an evaluate run of this student or its firmware, for the bundle's model card.

    Raises:
        RunError, ConfigError, GraphError, ToolError: see `load_student`, `lower`, `Target.write`; or the bundle of this
            version exists.
    """
    out, wanted = Path(out), [name for name in dict.fromkeys(targets) if name != BUNDLE]
    check_out(out, cfg, BUNDLE in targets, overwrite)
    origin = chosen(student, trial, "distill")
    measured = None if evaluation is None else measured_run(origin, evaluation)
    made = lowered(origin, store, cfg)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as scratch:  # a failure leaves no run
        root = Path(scratch) / cfg.archive.removesuffix(".tar.gz")
        among = cfg.targets(TARGETS if BUNDLE in targets else wanted)
        written = write_projects(root / TARGETS_FOLDER, made.graph, made.asked, among, wanted)
        if BUNDLE in targets:
            write_bundle(root, release(made, written, measured, cfg))
            pack(root, Path(scratch) / cfg.archive)
        keep_archives(out, Path(scratch))
        inputs, seeds, schema = {"student": origin.path, "store": made.data.path}, {"vectors": cfg.seed}, origin.schema
        run = Run.create(out, "export", config=cfg, schema=schema, inputs=inputs, seeds=seeds, overwrite=out.exists())
        for archive in Path(scratch).glob("*.tar.gz"):
            archive.replace(run.path / archive.name)
        place_projects(root / TARGETS_FOLDER, run.path / PROJECT, wanted)
    found = figures(made.network.to_dict(), written.costs)
    run.write("metrics.json", found | ({BUNDLE: cfg.archive} if BUNDLE in targets else {}))
    announce(run, written, wanted, cfg.archive if BUNDLE in targets else "")
    return run


@dataclass(frozen=True)
class Lowered:
    """A student as integers.

    Attributes:
        origin: the distill run.
        data: the store that test vectors come from.
        student, layout: as the run has them.
        examples: what the board receives of the split that is asked for.
        graph: the golden model.
        asked: what every target is given.
        network: the graph's estimate.
    """

    origin: Run
    data: Store
    student: Student
    layout: HardwareLayout
    examples: Int[np.ndarray, "n K H"]
    graph: FixedPointGraph
    asked: Asked
    network: Estimate


def lowered(origin: Run, store: str | Path | None, cfg: ExportConfig) -> Lowered:
    data = Store.open(Path(store) if store is not None else origin.input("store"))
    student, layout = load_student(origin.path / STUDENT)
    graph = lower(student, layout, cfg.name, cfg.version)
    examples, _ = hardware_integers(data, layout, cfg.split)
    vectors = make_vectors(graph, {layout.modality: examples[: cfg.vectors]}, cfg.vectors, cfg.seed)
    meaning = Interface({layout.modality: input_features(layout, origin.schema)}, {"outputs": output_names(student)})
    asked = Asked(vectors, cfg.clock_ns, cfg.part, meaning, cfg.synthesis)
    return Lowered(origin, data, student, layout, examples, graph, asked, estimate(graph, cfg.clock_ns))


def release(made: Lowered, written: Written, measured: Run | None, cfg: ExportConfig) -> Release:
    cuts = thresholds(made.origin, made.student, made.examples, made.data, cfg.split, measured)
    about = (made.graph, made.asked, made.network, written.costs, written.left_out, made.origin, made.data, cuts)
    return Release(*about, measured, cfg.licence)


def check_out(out: Path, cfg: ExportConfig, bundled: bool, overwrite: bool) -> None:
    """Raises RunError: something is there that may not be replaced. A folder of bundles takes another version."""
    if bundled and (out / cfg.archive).exists() and not overwrite:
        raise RunError(
            f"{out / cfg.archive} exists, and a version is given out once: raise --cfg.version, or --overwrite to "
            "replace it"
        )
    joins = bundled and any(out.glob("*_v*.tar.gz")) and not (out / PROJECT).exists()
    check_room(out, "export", overwrite or joins)


@dataclass(frozen=True)
class Written:
    """Target -> what its project costs, or why there is none."""

    costs: dict[str, Cost]
    left_out: dict[str, str]


def write_projects(
    folder: Path, graph: FixedPointGraph, asked: Asked, targets: Mapping[str, Target], wanted: Sequence[str]
) -> Written:
    """Writes `folder/TARGET` of every target, those that are not wanted if they can be.

    Raises:
        ToolError, GraphError: a target that is wanted cannot be written, or none can.
    """
    found = Written({}, {})
    for name, target in targets.items():
        try:
            found.costs[name] = target.write(graph, folder / name, asked)
        except (MissingToolError, GraphError) as error:
            if name in wanted:
                raise
            shutil.rmtree(folder / name, ignore_errors=True)
            found.left_out[name] = str(error)
    if not found.costs:
        raise MissingToolError("\n".join(found.left_out.values()))
    return found


def keep_archives(out: Path, scratch: Path) -> None:
    """Copies of the bundles in `out`, which is about to be replaced, except that of a version made anew."""
    for archive in out.glob("*_v*.tar.gz"):
        if not (scratch / archive.name).exists():
            shutil.copy2(archive, scratch)


def place_projects(folder: Path, project: Path, wanted: Iterable[str]) -> None:
    """`project` of one target, `project/TARGET` of several."""
    names = list(wanted)
    for name in names:
        place = project / name if len(names) > 1 else project
        place.parent.mkdir(exist_ok=True)
        (folder / name).rename(place)


def figures(network: dict[str, Any], costs: dict[str, Cost]) -> dict[str, Any]:
    """The network's estimate, and what a target knows beyond it."""
    more = {name: cost.to_dict() for name, cost in costs.items() if cost.to_dict() != network}
    return network | ({"targets": more} if more else {})


def announce(run: Run, written: Written, wanted: Sequence[str], archive: str) -> None:
    lines = [
        f"{run.path / PROJECT / (name if len(wanted) > 1 else '')}: {written.costs[name].line()}" for name in wanted
    ]
    if archive:
        lines += [f"{run.path / archive}: {', '.join(written.costs)}"]
        lines += [f"  without {name}: {' '.join(why.split())}" for name, why in written.left_out.items()]
    console.print("\n".join(lines), highlight=False, markup=False)


def input_features(layout: HardwareLayout, schema: DetectorSchema) -> list[InputFeature]:
    units = schema.modalities[layout.modality].features
    return [InputFeature(name, hardware.lsb, units[name].unit) for name, hardware in layout.features.items()]


def output_names(student: Student) -> list[str]:
    return [*(f"logit of {name}" for name in student.classes), *student.regressions]


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("student", help="a distill run, or a search")
    parser.add_argument("--trial", type=int, help="of a search: number of the trial")
    parser.add_argument(
        "--target",
        nargs="+",
        choices=[*TARGETS, BUNDLE],
        default=["hls"],
        help="; ".join(f"{name}: {target.help}" for name, target in TARGETS.items()) + "; bundle: all, in one archive",
    )
    parser.add_argument("--evaluation", help="of a bundle: an evaluate run of the student, for its model card")
    parser.add_argument("--store", help="the data, if it has moved")
    parser.add_argument("--out", default="runs/firmware", help="run folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an export run at --out")


COMMAND = Command(
    run=lambda args: export(
        args.student,
        cfg=args.cfg,
        out=args.out,
        store=args.store,
        trial=args.trial,
        targets=args.target,
        evaluation=args.evaluation,
        overwrite=args.overwrite,
    ),
    config=ExportConfig,
    arguments=arguments,
    description="Writes the student's firmware for one target or several, each with its golden model, vectors and "
    "checksums, or a bundle of all. "
    "Example: detfm export runs/student --cfg.clock_ns 2.78 --out runs/firmware && detfm verify runs/firmware",
)
