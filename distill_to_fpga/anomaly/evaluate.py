"""`detfm evaluate` of a student of an anomaly model, or of its firmware: how much of the teacher is left."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from distill_to_fpga.anomaly.comparison import Scored, efficiencies, hardware_thresholds
from distill_to_fpga.anomaly.distill import TRANSFORM, agreement, load_transform, said_of
from distill_to_fpga.anomaly.plots import draw_scores
from distill_to_fpga.anomaly.teacher import Crossings, Teacher
from distill_to_fpga.anomaly.transform import ScoreTransform
from distill_to_fpga.config import REFERENCE, STUDENT, DistillRunConfig
from distill_to_fpga.firmware import firmware_outputs
from distill_to_fpga.robustness import energy_features, robustness, score_figures
from distill_to_fpga.students import StudentConfig, load_student
from finetune.anomaly.saved import STAGE as ANOMALY
from foundation.errors import ConfigError, DataError, close_names
from foundation.evaluation_config import EvaluateConfig
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.tables import row_columns, write_table


def is_score_student(distilled: Run) -> bool:
    """Whether a distill run's teacher was an anomaly model."""
    return (distilled.path / TRANSFORM).is_file()


def evaluate_score(
    origin: Run,
    distilled: Run,
    *,
    cfg: EvaluateConfig,
    out: str | Path,
    store: str | Path | None = None,
    overwrite: bool = False,
) -> Run:
    """Writes metrics.json, scores (Parquet, ROOT) and plots of a student or its firmware.

    Rates are those of the normal crossings of the split: the classes that the teacher took as normal, or
    `cfg.background`. Every other class (or those of `cfg.signal`) is a signal.

    Args:
        origin: the distill run, or the export run made of it.
        store: where, if not on the student's own store.

    Raises:
        RunError, DataError, ConfigError: see the modules that raise them.
    """
    cfg.check()
    teacher = _teacher(distilled, store)
    student, layout = load_student(distilled.path / STUDENT)
    crossings = teacher.crossings(cfg.split, layout)
    if origin.stage == "export":
        said = firmware_outputs(origin, crossings.integers)[:, 0]
    else:
        said = said_of(student, crossings.integers)
    classes = NormalAndSignals.of(teacher.board, cfg, teacher.normal.label, teacher.normal.classes, crossings.rows)
    weights = np.asarray(teacher.board.part(cfg.split, "weights", 0, teacher.board.length(cfg.split)), np.float64)
    scored = Scored(crossings.scores.astype(np.float64), said, classes.normal, classes.signals, weights[crossings.rows])
    inputs = {"model": origin.path, "store": teacher.board.path}
    schema, seeds = teacher.board.schema, {"bootstrap": cfg.seed}
    run = Run.create(out, "evaluate", config=cfg, schema=schema, inputs=inputs, seeds=seeds, overwrite=overwrite)
    transform = load_transform(distilled)
    found = {"split": cfg.split, "rows": len(said), "normal": classes.describe()}
    found |= figures(scored, transform, student.config, cfg)
    if origin.stage == "distill" and (distilled.path / REFERENCE).is_dir():
        floating = said_of(load_student(distilled.path / REFERENCE)[0], crossings.integers)
        other = figures(dataclasses.replace(scored, student=floating), transform, student.config, cfg)
        found[REFERENCE] = {k: v for k, v in other.items() if k not in ("thresholds", "output")}
    if origin.stage == "distill" and cfg.robustness.rows:
        found["robustness"] = _robustness(distilled, crossings, classes, teacher.board.schema, cfg)
    columns = {name: values[crossings.rows] for name, values in row_columns(teacher.board, cfg.split).items()}
    unit = 2.0 ** (student.config.score_bits - student.config.score_integer)
    words = np.round(said * unit).astype(np.int64)
    write_table(run.path, "scores", {"score": said, "word": words, "teacher_score": scored.teacher, **columns})
    draw_scores(run.path, scored, transform, distilled.path.name)
    run.write("metrics.json", found)
    return run


def _teacher(distilled: Run, store: str | Path | None) -> Teacher:
    """The teacher of a student, with both of their stores."""
    settings = distilled.config(DistillRunConfig)
    apart = "teacher_store" in distilled.provenance["inputs"]
    if apart and store is not None:
        raise ConfigError("--store: this student is paired with its teacher by stores.key; it is evaluated on its own")
    where = Path(store) if store is not None else distilled.input("teacher_store" if apart else "store")
    stores = dataclasses.replace(settings.stores, extra=(), student=str(distilled.input("store")) if apart else "")
    return Teacher.load(
        Run.open(distilled.input("teacher"), ANOMALY), dataclasses.replace(settings, stores=stores), where
    )


def figures(scored: Scored, transform: ScoreTransform, shape: StudentConfig, cfg: EvaluateConfig) -> dict[str, Any]:
    """Figures of merit: agreement, efficiencies at fixed rates, thresholds as integers."""
    normal = scored.normal
    found: dict[str, Any] = agreement(transform, scored.teacher[normal], scored.student[normal])
    if not normal.all():
        found["all_rows"] = agreement(transform, scored.teacher, scored.student)
    fraction = shape.score_bits - shape.score_integer
    most = 2.0**shape.score_integer - 2.0**-fraction
    found["output"] = {
        "type": f"ap_ufixed<{shape.score_bits}, {shape.score_integer}>",
        "at_zero": int((scored.student <= 0).sum()),
        "saturated": int((scored.student >= most).sum()),
    }
    shares = tuple(share * cfg.beam.crossing_rate_khz for share in cfg.pass_fractions)
    wanted = tuple(sorted({*cfg.rates_khz, *shares}))
    found["efficiencies"] = efficiencies(scored, wanted, cfg.beam, cfg.replicas, cfg.confidence, cfg.seed)
    found["thresholds"] = hardware_thresholds(scored, cfg.rates_khz, cfg.beam, fraction)
    return found


def _robustness(
    distilled: Run, crossings: Crossings, classes: NormalAndSignals, schema: DetectorSchema, cfg: EvaluateConfig
) -> list[dict[str, Any]]:
    """What the student and its reference lose by disturbed inputs, of so many normal crossings and of each signal."""
    groups = [classes.normal, *classes.signals.values()]
    rows = np.unique(np.concatenate([np.flatnonzero(each)[: cfg.robustness.rows] for each in groups]))
    integers = crossings.integers[rows]
    signals = {name: which[rows] for name, which in classes.signals.items()}
    of = (integers, crossings.scores[rows].astype(np.float64), classes.normal[rows], signals, max(cfg.pass_fractions))
    students = {"": STUDENT} | ({REFERENCE: REFERENCE} if (distilled.path / REFERENCE).is_dir() else {})
    loaded = {name: load_student(distilled.path / folder) for name, folder in students.items()}
    layout = loaded[""][1]
    figures_of = {name: score_figures(each, *of) for name, (each, _) in loaded.items()}
    return robustness(figures_of, integers, layout, energy_features(schema, layout.modality), cfg.robustness)


@dataclass(frozen=True)
class NormalAndSignals:
    """Which crossings are normal, and which are of a signal."""

    label: str
    names: tuple[str, ...]
    normal: Bool[np.ndarray, " n"]
    signals: dict[str, Bool[np.ndarray, " n"]]

    @staticmethod
    def of(
        data: Store, cfg: EvaluateConfig, label: str, normal: tuple[str, ...], rows: Int[np.ndarray, " n"]
    ) -> NormalAndSignals:
        """By the teacher's label (else the schema's first of classes) in the student's store.

        Raises:
            ConfigError: no such class. DataError: no row is normal.
        """
        labels = [name for name, each in data.schema.labels.items() if each.kind == "class" and not each.modality]
        label = label if label in labels else next(iter(labels), "") if cfg.background or cfg.signal else ""
        if not label:
            return NormalAndSignals("", (), np.ones(len(rows), bool), {})
        known = list(data.schema.class_names(label))
        for name in (*cfg.background, *cfg.signal):
            if name not in known:
                raise ConfigError(f"label '{label}' has no class '{name}'; {close_names(name, known)}")
        names = cfg.background or normal
        if not names:
            raise ConfigError("cfg.signal is given and not what is normal: give cfg.background too")
        numbers = np.asarray(data.labels(cfg.split, label))[rows]
        used = np.isin(numbers, [known.index(name) for name in names])
        if not used.any():
            raise DataError(f"{data.path}: no row of '{cfg.split}' is of {label} {list(names)}, so there is no rate")
        wanted = cfg.signal or tuple(name for name in known if name not in names)
        each = {name: numbers == known.index(name) for name in wanted}
        return NormalAndSignals(label, names, used, {name: chosen for name, chosen in each.items() if chosen.any()})

    def describe(self) -> dict[str, Any]:
        counted = {"crossings": int(self.normal.sum()), "rates": "as if these were zero bias"}
        return {"label": self.label, "classes": ", ".join(self.names), **counted}
