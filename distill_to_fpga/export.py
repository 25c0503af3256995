"""`detfm export`: a distilled student becomes a firmware project."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import ArgumentParser

from distill_to_fpga.config import STUDENT
from distill_to_fpga.inputs import HardwareLayout, hardware_integers
from distill_to_fpga.lower import lower
from distill_to_fpga.project import PROJECT, InputFeature, Interface
from distill_to_fpga.search.kept import chosen
from distill_to_fpga.students import Student, load_student
from distill_to_fpga.target import Asked
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import make_vectors
from foundation.command import Command
from foundation.errors import ConfigError
from foundation.progress import console
from foundation.runs import Run, check_room
from foundation.schema import DetectorSchema
from foundation.store import Store


@dataclass(frozen=True)
class ExportConfig:
    """A firmware project.

    Attributes:
        name: of the firmware; a C++ identifier.
        version: of the firmware; the namespace is `detfm_NAME_vVERSION`.
        part: the FPGA.
        clock_ns: clock period that Vitis is asked for, or that the stages of an RTL pipeline are cut for.
        vectors: how many test vectors go into the project, half of them at most real examples.
        split: which examples those are.
        seed: of the random vectors.
        synthesis: count the cells of an RTL project with Yosys, where that is installed.
    """

    name: str = "student"
    version: int = 1
    part: str = "xcvu13p-flga2577-2-e"
    clock_ns: float = 5.0
    vectors: int = 2000
    split: str = "test"
    seed: int = 0
    synthesis: bool = True

    def __post_init__(self) -> None:
        if self.clock_ns <= 0 or self.version < 0 or self.vectors < 0:
            raise ConfigError(f"clock_ns must be positive, version and vectors not negative: {self}")


def export(
    student: str | Path,
    *,
    cfg: ExportConfig,
    out: str | Path,
    store: str | Path | None = None,
    trial: int | None = None,
    target: str = "hls",
    overwrite: bool = False,
) -> Run:
    """Lowers the student of a distill run to integers and writes its project into `OUT/project`.

    Args:
        student: a distill run, or a search.
        out: run folder to write.
        store: the data that test vectors come from, if it has moved.
        trial: of a search, whose student it is.
        target: the back end, one of `TARGETS`.

    Raises:
        RunError, ConfigError, GraphError, ToolError: see `load_student`, `lower`, `Target.write`.
    """
    origin = chosen(student, trial, "distill")
    where = Path(store) if store is not None else origin.input("store")
    model, layout = load_student(origin.path / STUDENT)
    graph = lower(model, layout, cfg.name, cfg.version)
    data = Store.open(where)
    examples, _ = hardware_integers(data, layout, cfg.split)
    vectors = make_vectors(graph, {layout.modality: examples[: cfg.vectors]}, cfg.vectors, cfg.seed)
    meaning = Interface({layout.modality: input_features(layout, origin.schema)}, {"outputs": output_names(model)})
    asked = Asked(vectors, cfg.clock_ns, cfg.part, meaning, cfg.synthesis)
    check_room(Path(out), "export", overwrite)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=Path(out).parent) as scratch:  # a failure leaves no run
        project = Path(scratch) / PROJECT
        cost = TARGETS[target].write(graph, project, asked)
        inputs = {"student": origin.path, "store": where}
        run = Run.create(
            out,
            "export",
            config=cfg,
            schema=origin.schema,
            inputs=inputs,
            seeds={"vectors": cfg.seed},
            overwrite=overwrite,
        )
        project.rename(run.path / PROJECT)
    run.write("metrics.json", cost.to_dict())
    console.print(f"{run.path / PROJECT}: {cost.line()}")
    return run


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
        choices=TARGETS,
        default="hls",
        help=", ".join(f"{name}: {target.help}" for name, target in TARGETS.items()),
    )
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
        target=args.target,
        overwrite=args.overwrite,
    ),
    config=ExportConfig,
    arguments=arguments,
    description="Writes the student as a Vitis HLS or Verilog project, with its golden model, vectors and checksums. "
    "Example: detfm export runs/student --cfg.clock_ns 2.78 --out runs/firmware && detfm verify runs/firmware",
)
