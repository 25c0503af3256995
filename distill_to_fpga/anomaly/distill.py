"""`detfm distill` of an anomaly run: the teacher scores unlabelled crossings, the student regresses the score."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import pearsonr, spearmanr

from distill_to_fpga.anomaly.mixing import mixed_crossings
from distill_to_fpga.anomaly.teacher import Crossings, Teacher
from distill_to_fpga.anomaly.transform import ScoreTransform, tail_weights
from distill_to_fpga.config import REFERENCE, STUDENT, DistillRunConfig, ScoreConfig
from distill_to_fpga.distill import Distilled, distill
from distill_to_fpga.inputs import HardwareLayout, hardware_integers
from distill_to_fpga.objective import Examples
from distill_to_fpga.prune import PruneConfig
from distill_to_fpga.started import started
from distill_to_fpga.students import SCORE, Student, load_student, predict, predict_exact, save_student
from distill_to_fpga.written import describe, write_history
from foundation.command import load_config, to_dict
from foundation.errors import ConfigError
from foundation.runs import Run, make_room
from foundation.store import Store

TRANSFORM = "score.json"  # of a distill run: how the teacher's score was transformed
SCORE_BITS = 18  # of a student whose config does not say


@dataclass(frozen=True)
class ScoreStudent:
    """A student of an anomaly model.

    Attributes:
        distilled: the student and its training.
        transform: of the teacher's score.
    """

    distilled: Distilled
    transform: ScoreTransform


def distill_score(
    origin: Run,
    *,
    cfg: DistillRunConfig,
    out: str | Path,
    store: str | Path | None = None,
    start: str | Path | None = None,
    overwrite: bool = False,
) -> Run:
    """Distils an anomaly run into a student with one score. No label is used but the one that says what is normal.

    The teacher scores the crossings of the `train` split that were normal to it, and those of `score.extra_classes`
    and `stores.extra`. It may see more of a crossing than the student (`stores.student`).

    Args:
        origin: a run of stage `anomaly`.
        store: the teacher's data, if it has moved.
        start: a distill run of the same shape, whose student this one begins as.
        out: run folder to write.

    Raises:
        RunError, DataError, SchemaError, ConfigError, TrainingError: see the modules that raise them.
    """
    cfg = dataclasses.replace(cfg, student=score_shape(cfg))
    cfg.score.check()
    teacher = Teacher.load(origin, cfg, store)
    layout = teacher.layout(cfg)
    first = None if start is None else started(start, layout)
    make_room(Path(out), "distill", overwrite)
    train = training_crossings(teacher, layout, cfg)
    validation = teacher.crossings("val", layout, normal_classes(teacher)) if _has(teacher, "val") else None
    found = train_score(cfg, train, validation, layout, first)
    inputs = {"teacher": origin.path, "store": teacher.board.path}
    inputs |= {"teacher_store": teacher.data.path} if teacher.paired else {}
    inputs |= {} if start is None else {"start": Path(start)}
    schema = teacher.board.schema
    run = Run.create(out, "distill", config=cfg, schema=schema, inputs=inputs, seeds={"student": cfg.seed})
    save_student(run.path / STUDENT, found.distilled.student, layout)
    run.write(TRANSFORM, to_dict(found.transform))
    results: dict[str, Any] = {
        "rows": int((train.rows >= 0).sum()),
        "mixed": int((train.rows < 0).sum()),
        "student": describe(found.distilled, layout),
    }
    if validation is not None:
        said = predict_exact(found.distilled.student, validation.integers)[:, 0]
        results["val"] = agreement(found.transform, validation.scores, said)
    if cfg.reference:
        shape = dataclasses.replace(cfg.student, quantized=False)
        whole = dataclasses.replace(cfg.distill, prune=PruneConfig())
        reference = train_score(dataclasses.replace(cfg, student=shape, distill=whole), train, validation)
        save_student(run.path / REFERENCE, reference.distilled.student, layout)
        results["reference"] = {"seconds": reference.distilled.seconds}
    write_history(run, found.distilled)
    run.write("metrics.json", results)
    return run


def score_shape(cfg: DistillRunConfig) -> Any:
    """The student's config, its score given a type if it has none."""
    return dataclasses.replace(cfg.student, score_bits=cfg.student.score_bits or SCORE_BITS)


def training_crossings(teacher: Teacher, layout: HardwareLayout, cfg: DistillRunConfig) -> Crossings:
    """The crossings that a student learns from.

    Raises:
        ConfigError: extra classes of a teacher to which all rows were normal.
    """
    score = cfg.score
    if score.extra_classes and not teacher.normal.label:
        raise ConfigError("score.extra_classes: all rows were normal to this teacher, which names no label")
    normal = normal_classes(teacher)
    parts = [teacher.crossings("train", layout, None if normal is None else (*normal, *score.extra_classes))]
    for path in cfg.stores.extra:
        extra = Store.open(path)
        parts.append(dataclasses.replace(teacher, data=extra, board=extra).crossings("train", layout))
    count = round(score.mixed * len(parts[0].rows))
    if count:
        parts.append(mixed_crossings(teacher, layout, parts[0].rows, count, score, cfg.seed))
    return Crossings(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(Crossings)))


def normal_classes(teacher: Teacher) -> tuple[str, ...] | None:
    """The classes that were normal to the teacher; None: all rows."""
    return teacher.normal.classes if teacher.normal.label else None


def train_score(
    cfg: DistillRunConfig,
    train: Crossings,
    validation: Crossings | None = None,
    layout: HardwareLayout | None = None,
    start: Student | None = None,
) -> ScoreStudent:
    """Trains a student on crossings that the teacher has scored; `cfg.student.score_bits` must be set.

    Raises:
        ConfigError, DataError, TrainingError: as `distill`.
    """
    transform = ScoreTransform.of(train.scores[train.rows >= 0], cfg.score.transform)
    settings = dataclasses.replace(cfg.distill, alpha=0.0)
    examples = _examples(train, transform, cfg.score)
    held_out = None if validation is None else _examples(validation, transform, cfg.score)
    made = distill(settings, cfg.student, examples, (), (SCORE,), held_out, cfg.seed, layout, start)
    return ScoreStudent(made, transform)


def _examples(crossings: Crossings, transform: ScoreTransform, cfg: ScoreConfig) -> Examples:
    values = transform.apply(crossings.scores)
    return Examples(
        crossings.integers,
        np.full(len(values), -1, np.int32),
        None,
        values[:, None].astype(np.float32),
        tail_weights(values, cfg),
    )


def agreement(
    transform: ScoreTransform, teacher: Float[np.ndarray, " n"], student: Float[np.ndarray, " n"]
) -> dict[str, float]:
    """Correlation of a student's score with its teacher's: of the transformed scores (Pearson) and of ranks."""
    if np.ptp(student) == 0 or np.ptp(teacher) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    transformed = transform.apply(teacher)
    return {"pearson": float(pearsonr(transformed, student)[0]), "spearman": float(spearmanr(teacher, student)[0])}


def load_transform(run: Run) -> ScoreTransform:
    """How the teacher's score was transformed in a distill run."""
    return load_config(ScoreTransform, run.read(TRANSFORM))


def student_scores(
    run: str | Path | Run, store: str | Path | Store, split: str = "test", *, reference: bool = False
) -> Float[np.ndarray, " n"]:
    """The score that a distill run's student gives each row of a split, exact, in units of the firmware's output.

    Args:
        run: a distill run of an anomaly model.
        store: any store of the student's schema.
        reference: that of the floating-point student of the same shape.
    """
    folder = (run if isinstance(run, Run) else Run.open(run, "distill")).path
    student, layout = load_student(folder / (REFERENCE if reference else STUDENT))
    data = store if isinstance(store, Store) else Store.open(store)
    return said_of(student, hardware_integers(data, layout, split)[0])


def said_of(student: Student, integers: Int[np.ndarray, "n K H"]) -> Float[np.ndarray, " n"]:
    """The score of a student; exact, if it is quantised."""
    return (predict_exact if student.config.quantized else predict)(student, integers)[:, 0].astype(np.float64)


def _has(teacher: Teacher, split: str) -> bool:
    if split not in teacher.data.splits or split not in teacher.board.splits:
        return False
    normal = normal_classes(teacher)
    return bool(teacher.data.length(split)) and (normal is None or bool(teacher.of_classes(split, normal).any()))
