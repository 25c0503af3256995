"""Crossings with the teacher's score and what the trigger board receives of them.

Axes: n crossings, K tokens, H hardware features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from distill_to_fpga.anomaly.pairing import paired_rows
from distill_to_fpga.config import DistillRunConfig
from distill_to_fpga.inputs import HardwareLayout, hardware_integers, hardware_layout
from finetune.anomaly.config import AnomalyConfig, RowsConfig
from finetune.anomaly.model import AnomalyModel, scored
from finetune.anomaly.saved import load_anomaly
from foundation.embedding import apply
from foundation.errors import ConfigError, DataError, close_names
from foundation.progress import console
from foundation.runs import Run
from foundation.store import Store


@dataclass(frozen=True)
class Crossings:
    """Crossings of a split.

    Attributes:
        integers: what the board receives.
        scores: the teacher's, not transformed.
        rows: in the student's store; -1 for crossings that are in none.
    """

    integers: Int[np.ndarray, "n K H"]
    scores: Float[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Teacher:
    """An anomaly model with the data that it sees, and the data that its student sees.

    Attributes:
        model: the anomaly model.
        normal: what the model took as normal.
        data: store of the model's inputs.
        board: store of the student's inputs; mostly the same.
        key: observers that pair the rows of two stores.
    """

    model: AnomalyModel
    normal: RowsConfig
    data: Store
    board: Store
    key: tuple[str, ...] = field(default=())

    @staticmethod
    def load(run: Run, cfg: DistillRunConfig, store: str | Path | None = None) -> Teacher:
        """The teacher of an anomaly run.

        Args:
            store: the teacher's data, if it has moved.

        Raises:
            ConfigError: settings of stores that do not go together.
        """
        data = Store.open(Path(store) if store is not None else run.input("store"))
        cfg.stores.check()
        board = Store.open(cfg.stores.student) if cfg.stores.student else data
        return Teacher(load_anomaly(run), run.config(AnomalyConfig).rows, data, board, cfg.stores.key)

    @property
    def paired(self) -> bool:
        return self.board.path.resolve() != self.data.path.resolve()

    def layout(self, cfg: DistillRunConfig) -> HardwareLayout:
        """What the board receives."""
        schema = self.board.schema
        modality = cfg.modality or next(iter(schema.modalities))
        return hardware_layout(schema, modality, cfg.student.features, cfg.student.tokens)

    def crossings(self, split: str, layout: HardwareLayout, classes: tuple[str, ...] | None = None) -> Crossings:
        """The crossings of a split, in the order of the teacher's store.

        Args:
            classes: of the label that says what is normal, in the teacher's store; None: all rows.

        Raises:
            DataError: a score is no number, or no row is left.
        """
        mine = theirs = np.arange(self.data.length(split))
        if self.paired:
            mine, theirs = paired_rows(self.data, self.board, split, self.key)
        if classes is not None:
            used = self.of_classes(split, classes)[mine]
            mine, theirs = mine[used], theirs[used]
        if not len(mine):
            raise DataError(f"{self.data.path}: no crossing of '{split}' to learn from or to test on")
        integers, saturated = hardware_integers(self.board, layout, split)
        for name, count in zip(layout.features, saturated):
            if count > 0.001 * integers[..., 0].size:
                console.print(f"{split}: {count} values of '{name}' saturate their hardware type", highlight=False)
        return Crossings(integers[theirs], teacher_scores(self.model, self.data, split, mine), theirs)

    def of_classes(self, split: str, classes: tuple[str, ...]) -> Bool[np.ndarray, " n"]:
        """Which rows of the teacher's store are of classes of its label of normal crossings; all, if it has none."""
        name = self.normal.label
        if not name:
            return np.ones(self.data.length(split), bool)
        known = list(self.data.schema.class_names(name))
        for each in classes:
            if each not in known:
                raise ConfigError(f"label '{name}' has no class '{each}'; {close_names(each, known)}")
        return np.isin(self.data.labels(split, name), [known.index(each) for each in classes])


def teacher_scores(
    model: AnomalyModel, data: Store, split: str, rows: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The teacher's score of rows of a split. Raises DataError: it is not finite."""
    scores = apply(model, scored, data, split, rows=rows)
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise DataError(f"{data.path}: the teacher's score of {bad} of {len(scores)} rows of '{split}' is no number")
    return scores
