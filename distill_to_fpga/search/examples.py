"""What all trials learn from and are measured on: the teacher speaks once, and its words are kept.

    OUT/examples/{train.npz, val.npz, examples.json}

Axes: B examples, K tokens, H hardware features.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from distill_to_fpga.anomaly.comparison import Scored, efficiencies
from distill_to_fpga.anomaly.distill import agreement, said_of, score_shape, train_score, training_crossings
from distill_to_fpga.anomaly.evaluate import NormalAndSignals
from distill_to_fpga.anomaly.teacher import Crossings, Teacher
from distill_to_fpga.anomaly.transform import ScoreTransform
from distill_to_fpga.config import DistillRunConfig
from distill_to_fpga.distill import Distilled, distill
from distill_to_fpga.inputs import HardwareLayout, hardware_layout
from distill_to_fpga.objective import Examples
from distill_to_fpga.robustness import Figures, tagger_figures
from distill_to_fpga.search.space import SearchConfig
from distill_to_fpga.students import Student
from distill_to_fpga.taught import Taggers
from finetune.anomaly.saved import STAGE as ANOMALY
from foundation.calibration import probabilities
from foundation.command import load_config, to_dict
from foundation.errors import DataError
from foundation.evaluation_config import EvaluateConfig
from foundation.metrics import classification
from foundation.runs import Run, write_json
from foundation.store import Store
from foundation.trigger.beam import Beam

SPLITS = ("train", "val")
DESCRIPTION = "examples.json"
Arrays = dict[str, Shaped[np.ndarray, "..."]]


@dataclass(frozen=True)
class Material:
    """Examples for every student of a search.

    Attributes:
        layout: all features and the most tokens that any trial looks at.
        classes, regressions: outputs of a tagger's student; both empty for a score.
        train, val: arrays of the splits: fields of `Examples` or of `Crossings`, and of the latter's val also
            `normal`, `weights` and `signal/CLASS`.
    """

    layout: HardwareLayout
    classes: tuple[str, ...]
    regressions: tuple[str, ...]
    train: Arrays
    val: Arrays

    @property
    def score(self) -> bool:
        """Whether the teacher is an anomaly model."""
        return not self.classes and not self.regressions

    def keep(self, folder: Path) -> None:
        """Writes the folder, if it is not there; the description comes last and says that it is."""
        if (folder / DESCRIPTION).is_file():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            np.savez(folder / f"{split}.npz", **getattr(self, split))
        description = {"layout": self.layout, "classes": self.classes, "regressions": self.regressions}
        write_json(folder / DESCRIPTION, to_dict(description))

    @staticmethod
    def load(folder: Path) -> Material:
        """What `keep` wrote."""
        said, parts = json.loads((folder / DESCRIPTION).read_text()), []
        for split in SPLITS:
            with np.load(folder / f"{split}.npz", allow_pickle=False) as file:
                parts.append({name: file[name] for name in file.files})
        layout = load_config(HardwareLayout, said["layout"])
        return Material(layout, tuple(said["classes"]), tuple(said["regressions"]), parts[0], parts[1])

    def seen(self, cfg: DistillRunConfig) -> HardwareLayout:
        """What the student of a trial sees: its features and its tokens."""
        names = cfg.student.features or tuple(self.layout.features)
        return HardwareLayout(
            self.layout.modality,
            cfg.student.tokens,
            {name: self.layout.features[name] for name in names},
            tuple(self.layout.columns[list(self.layout.features).index(name)] for name in names),
        )

    def integers(self, split: str, layout: HardwareLayout) -> Int[np.ndarray, "B K H"]:
        """The inputs of a split as a student sees them."""
        columns = [list(self.layout.features).index(name) for name in layout.features]
        return np.ascontiguousarray(getattr(self, split)["integers"][:, : layout.tokens, columns])

    def train_student(self, cfg: DistillRunConfig) -> tuple[Distilled, ScoreTransform | None]:
        """The student of these settings; of a score also how the teacher's was transformed.

        Raises:
            ConfigError, DataError, TrainingError: as `distill`.
        """
        layout = self.seen(cfg)
        integers = self.integers("train", layout)
        if self.score:
            crossings = Crossings(integers, self.train["scores"], self.train["rows"])
            made = train_score(dataclasses.replace(cfg, student=score_shape(cfg)), crossings, None, layout)
            return made.distilled, made.transform
        train = _examples(self.train, integers)
        return distill(cfg.distill, cfg.student, train, self.classes, self.regressions, None, cfg.seed, layout), None

    def figures(
        self, student: Student, transform: ScoreTransform | None, cfg: SearchConfig, rows: int | None = None
    ) -> Figures:
        """What measures a student on its inputs of the first `rows` of `val`; None: of all."""
        val = {name: values[:rows] for name, values in self.val.items()}
        if transform is not None:
            return functools.partial(_score_figures, student, transform, val, cfg)
        return tagger_figures(student, _examples(val, val["integers"]))

    def teacher_figures(self) -> dict[str, float]:
        """AUC and accuracy of a tagger itself on `val`; none of other teachers."""
        if not self.classes:
            return {}
        scores = probabilities(self.val["teacher"], exclusive=True)
        found = classification(self.val["labels"], scores, self.classes, signal_efficiencies=())
        return {name: found[name] for name in ("auc", "accuracy") if found[name] is not None}


def _examples(arrays: Arrays, integers: Int[np.ndarray, "B K H"]) -> Examples:
    return Examples(integers, arrays["labels"], arrays["teacher"], arrays.get("targets"), None, arrays.get("embedding"))


def _score_figures(
    student: Student, transform: ScoreTransform, val: Arrays, cfg: SearchConfig, integers: Int[np.ndarray, "B K H"]
) -> dict[str, float]:
    """Agreement with the teacher on the normal crossings, and the signal kept where both let the same rate pass."""
    said, normal = said_of(student, integers), val["normal"]
    found = agreement(transform, val["scores"][normal], said[normal])
    found = {name: found[name] for name in ("spearman", "pearson")}
    signals = {name.removeprefix("signal/"): chosen for name, chosen in val.items() if name.startswith("signal/")}
    if signals:
        scored = Scored(val["scores"].astype(np.float64), said, normal, signals, val["weights"])
        records = efficiencies(scored, (cfg.rate_khz,), Beam(), 0, 0.68, 0)
        known = [record["kept"] for record in records if record["kept"] is not None]
        found |= {"kept": float(np.mean(known))} if known else {}
    return found


def material(folder: Path | None, origin: Run, cfg: SearchConfig, store: str | Path | None) -> Material:
    """The examples kept in `folder`, or new ones by the teacher."""
    if folder is not None and (folder / DESCRIPTION).is_file():
        return Material.load(folder)
    return (_of_anomaly if origin.stage == ANOMALY else _of_tagger)(origin, cfg, store)


@functools.lru_cache(maxsize=1)
def loaded(folder: Path) -> Material:
    """`Material.load`, once for a process."""
    return Material.load(folder)


def _of_tagger(origin: Run, cfg: SearchConfig, store: str | Path | None) -> Material:
    searched = {"distill.embedding_weight", "distill.relational_weight"} & set(cfg.space)
    embeds = cfg.base.distill.embeds or bool(searched)
    teachers = Taggers.load(origin, cfg.base, store, embeds=embeds)
    schema, task = teachers.board.schema, teachers.taggers[0].task
    cfg.check_inputs(schema)
    _check_val(teachers.data, teachers.board)
    modality = cfg.base.modality or next(iter(schema.modalities))
    layout = hardware_layout(schema, modality, (), cfg.most_tokens())
    parts = [teachers.train(layout, cfg.base.stores.extra), teachers.examples(layout, "val")]
    arrays: list[Arrays] = [
        {f.name: np.asarray(v) for f in dataclasses.fields(Examples) if (v := getattr(part, f.name)) is not None}
        for part in parts
    ]
    return Material(layout, task.classes, task.regression, *arrays)


def _of_anomaly(origin: Run, cfg: SearchConfig, store: str | Path | None) -> Material:
    base = cfg.base
    teacher = Teacher.load(origin, base, store)
    cfg.check_inputs(teacher.board.schema)
    _check_val(teacher.data, teacher.board)
    all_features = dataclasses.replace(base.student, features=(), tokens=cfg.most_tokens())
    layout = teacher.layout(dataclasses.replace(base, student=all_features))
    train = training_crossings(teacher, layout, base)
    val = teacher.crossings("val", layout)
    chosen = NormalAndSignals.of(
        teacher.board, dataclasses.replace(EvaluateConfig(), split="val"), *_normal(teacher), val.rows
    )
    board = teacher.board
    weights = np.asarray(board.part("val", "weights", 0, board.length("val")), np.float64)[val.rows]
    arrays = dataclasses.asdict(val) | {"normal": chosen.normal, "weights": weights}
    arrays |= {f"signal/{name}": where for name, where in chosen.signals.items()}
    return Material(layout, (), (), dataclasses.asdict(train), arrays)


def _normal(teacher: Teacher) -> tuple[str, tuple[str, ...]]:
    return teacher.normal.label, teacher.normal.classes


def store_of(origin: Run, store: str | Path | None) -> Path:
    """The teacher's data."""
    return Path(store) if store is not None else origin.input("store")


def stores_of(origin: Run, cfg: SearchConfig, store: str | Path | None) -> dict[str, Any]:
    """Inputs of a distill run from this teacher: role -> folder."""
    data, of_score = store_of(origin, store), origin.stage == ANOMALY
    board = Path(cfg.base.stores.student or data)
    inputs = {"teacher": origin.path, "store": board}
    inputs |= {"teacher_store": data} if board.resolve() != data.resolve() else {}
    more = () if of_score else cfg.base.ensemble
    return inputs | {f"teacher_{i}": Path(path) for i, path in enumerate(more, 2)}


def _check_val(*stores: Store) -> None:
    for data in stores:
        if "val" not in data.splits or not data.length("val"):
            raise DataError(
                f"{data.path} has no rows of 'val', by which trials are judged; ingest it with such a split"
            )
