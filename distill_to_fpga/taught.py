"""What one tagger or several teach a student: examples as the board sees them, with what the teachers say of them.

Axes: n rows of a split, C classes, R regression targets, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from distill_to_fpga.anomaly.pairing import paired_rows
from distill_to_fpga.config import DistillRunConfig
from distill_to_fpga.inputs import HardwareLayout, hardware_integers
from distill_to_fpga.objective import Examples
from finetune.config import FinetuneConfig
from finetune.labelled import labelled_rows
from finetune.model import Tagger, outputs
from finetune.saved import load_tagger
from foundation.batch import TokenBatch
from foundation.embedding import apply
from foundation.errors import ConfigError, DataError
from foundation.progress import console
from foundation.runs import Run
from foundation.store import Store


@dataclass(frozen=True)
class Taggers:
    """Teachers with the data that they see, and the data that their student sees.

    Attributes:
        taggers: of one task; what they say is averaged.
        data: store of their inputs.
        board: store of the student's inputs; mostly the same.
        key: observers that pair the rows of two stores.
        labelled: rows of `train` that any of them was given the labels of.
        embeds: whether the first one's embedding is taught, too.
    """

    taggers: tuple[Tagger, ...]
    data: Store
    board: Store
    key: tuple[str, ...]
    labelled: Int[np.ndarray, " m"]
    embeds: bool = False

    @staticmethod
    def load(run: Run, cfg: DistillRunConfig, store: str | Path | None = None, *, embeds: bool = False) -> Taggers:
        """The teachers: a finetune run and those of `cfg.ensemble`.

        Args:
            store: the teachers' data, if it has moved.

        Raises:
            RunError, ConfigError: a run that is no teacher, or teachers of different tasks.
        """
        cfg.stores.check()
        runs = [run, *(Run.open(path, "finetune") for path in cfg.ensemble)]
        taggers = tuple(checked_teacher(load_tagger(each)) for each in runs)
        task = taggers[0].task
        for each, tagger in zip(runs, taggers):
            if (tagger.task.classes, tagger.task.regression) != (task.classes, task.regression):
                raise ConfigError(
                    f"ensemble: {each.path} has outputs {[*tagger.task.classes, *tagger.task.regression]}, "
                    f"{run.path} has {[*task.classes, *task.regression]}"
                )
        data = Store.open(Path(store) if store is not None else run.input("store"))
        board = Store.open(cfg.stores.student) if cfg.stores.student else data
        given = [
            labelled_rows(data, task, each.config(FinetuneConfig).labels, each.provenance["seeds"]["train"])
            for each in runs
        ]
        return Taggers(taggers, data, board, cfg.stores.key, np.unique(np.concatenate(given)), embeds)

    @property
    def paired(self) -> bool:
        return self.board.path.resolve() != self.data.path.resolve()

    def train(self, layout: HardwareLayout, extra_stores: Sequence[str] = ()) -> Examples:
        """The split `train`, labels hidden that no teacher was given, and the unlabelled `train` of more stores.

        Raises:
            DataError: another store has other modalities.
        """
        parts = [self.examples(layout, "train", self.labelled)]
        for path in extra_stores:
            extra = Store.open(path)
            if extra.schema.modalities != self.data.schema.modalities:
                raise DataError(f"{path} has other modalities than {self.data.path}: the teacher cannot read it")
            unknown = Taggers(self.taggers, extra, extra, (), np.zeros(0, np.int64), self.embeds)
            parts.append(unknown.examples(layout, "train", unknown.labelled))
        return parts[0] if len(parts) == 1 else jax.tree.map(lambda *each: np.concatenate(each), *parts)

    def given(self) -> Int[np.ndarray, " m"]:
        """Which of the examples of `train` have labels that a teacher was given."""
        mine = np.arange(self.data.length("train"))
        if self.paired:
            mine, _ = paired_rows(self.data, self.board, "train", self.key)
        return np.flatnonzero(np.isin(mine, self.labelled))

    def examples(self, layout: HardwareLayout, split: str, labelled: Int[np.ndarray, " m"] | None = None) -> Examples:
        """A split as the student sees it, with what the teachers say. Labels of rows outside `labelled` are hidden.

        Where a regression target is hidden or unknown, the teachers' own value stands in.
        """
        mine = theirs = np.arange(self.data.length(split))
        if self.paired:
            mine, theirs = paired_rows(self.data, self.board, split, self.key)
        integers, saturated = hardware_integers(self.board, layout, split)
        for name, count in zip(layout.features, saturated):
            if count > 0.001 * integers[..., 0].size:
                console.print(f"{split}: {count} values of '{name}' saturate their hardware type")
        task, predicted = self.taggers[0].task, self._said(split, mine)
        shown = np.ones(len(mine), bool) if labelled is None else np.isin(mine, labelled)
        labels, targets = np.full(len(mine), -1, np.int32), None
        hidden = labelled is not None and not len(labelled)  # a store whose labels, if it has any, are not ours
        if task.label is not None and not hidden:
            labels = np.where(shown, task.targets(self.data.labels(split, task.label))[mine], -1).astype(np.int32)
        if task.regression:
            targets = predicted[:, len(task.classes) :]
            if not hidden:
                true = np.stack([self.data.labels(split, name)[mine] for name in task.regression], axis=1)
                targets = np.where(shown[:, None] & np.isfinite(true), true, targets)
            targets = targets.astype(np.float32)
        embedding = apply(self.taggers[0], vectors, self.data, split, rows=mine) if self.embeds else None
        return Examples(
            integers[theirs], labels, predicted[:, : len(task.classes)].astype(np.float32), targets, None, embedding
        )

    def _said(self, split: str, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n O"]:
        """Logits and regression values of one teacher; of several the mean of log-probabilities and of values."""
        each = [apply(tagger, outputs, self.data, split, rows=rows) for tagger in self.taggers]
        return each[0] if len(each) == 1 else mean_of_log_probabilities(each, len(self.taggers[0].task.classes))


def mean_of_log_probabilities(each: Sequence[Float[np.ndarray, "n O"]], classes: int) -> Float[np.ndarray, "n O"]:
    """What several teachers say together: logits whose probabilities are the geometric mean of theirs."""
    said = np.stack([np.asarray(values, np.float64) for values in each])
    if classes:
        said[..., :classes] -= np.logaddexp.reduce(said[..., :classes], axis=-1, keepdims=True)
    return said.mean(axis=0).astype(np.float32)


def vectors(tagger: Tagger, batch: TokenBatch) -> Float[Array, "B D"]:
    """The teacher's embedding: what its heads stand on."""
    return tagger.vectors(batch, None)


def checked_teacher(tagger: Any) -> Tagger:
    """A teacher that students can learn from. Raises ConfigError: its outputs are not one vector of an example."""
    if not isinstance(tagger, Tagger):
        raise ConfigError("the teacher is a boosted tree; a student is distilled from a network: finetune one")
    task = tagger.task
    if task.kind in ("class", "none") and not task.modality:
        return tagger
    what = {"multilabel": "multi-labels", "edge": "edges (pairs of tokens)"}.get(task.kind, "tokens")
    raise ConfigError(
        f"the teacher is a tagger of {what} ('{task.label or task.regression[0]}'); students are distilled from "
        "taggers with one class per example, regression targets of examples, or both"
    )
