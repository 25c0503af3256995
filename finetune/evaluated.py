"""Evaluations on disk, as comparisons read them.

Axes: N objects (examples, tokens or pairs of tokens), C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from foundation.errors import RunError
from foundation.runs import Run, checksum

TABLE = "predictions.parquet"
SAME = ("row", "token", "token_a", "token_b", "source_file", "source_entry", "target")  # what makes rows the same


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation left.

    Attributes:
        name: shown.
        kind: of the predictions.
        classes: names.
        scores: [N, C].
        columns: the other columns of the predictions: what identifies the objects, targets, regressions.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    scores: Float[np.ndarray, "N C"]
    columns: dict[str, np.ndarray]

    @staticmethod
    def read(run: Run, name: str) -> Evaluated:
        """The predictions of an evaluation.

        Raises:
            RunError: it was written by a detfm that did not say of which classes.
        """
        figures, table = run.read("metrics.json"), pq.read_table(run.path / TABLE)
        if "classes" not in figures:
            raise RunError(f"{run.path} was written by an older detfm: evaluate again, with --overwrite")
        classes = tuple(figures["classes"])
        scores = [table[f"score_{c}"].to_numpy().astype(np.float64) for c in classes]
        columns = {}
        for column in table.column_names:
            values = table[column].combine_chunks()
            width = getattr(values.type, "list_size", 0)
            flat = values.flatten() if width else values
            columns[column] = flat.to_numpy(zero_copy_only=False).reshape(-1, width) if width else flat.to_numpy()
        stacked = np.stack(scores, axis=1) if scores else np.zeros((len(table), 0))
        return Evaluated(name, figures["kind"], classes, stacked, columns)

    @property
    def targets(self) -> Int[np.ndarray, "N *C"]:
        return self.columns["target"]


def open_evaluation(path: Path) -> Run:
    """An evaluation that finished.

    Raises:
        RunError: the run is none, or did not finish; says which command makes one.
    """
    run = Run.open(path)
    if run.stage != "evaluate":
        advice = f"; evaluate it first: detfm evaluate {path} --out {path}-evaluated"
        advice = advice if run.stage in ("finetune", "distill", "export") else ""
        raise RunError(f"{path} is a run of stage '{run.stage}'; a comparison takes evaluations{advice}")
    run.read("metrics.json")  # refuses one that did not finish
    return run


def check_same(first_run: Run, first: Evaluated, run: Run, other: Evaluated) -> None:
    """Raises RunError: the two are not of the same rows, classes and truth; says in what they differ."""
    here, there = (each.read("metrics.json") for each in (first_run, run))
    stores = [each.input("store") for each in (first_run, run)]
    advice = f"evaluate both on the same rows: detfm evaluate MODEL --store {stores[0]} --cfg.split {here['split']}"
    pair = f"{first_run.path} and {run.path}"
    if (first.kind, first.classes) != (other.kind, other.classes):
        raise RunError(
            f"{pair} are of different tasks: {first.kind} {list(first.classes)} and {other.kind} {list(other.classes)}"
        )
    if here["split"] != there["split"] or len(first.scores) != len(other.scores):
        raise RunError(
            f"{pair} were measured on different rows: {len(first.scores)} of '{here['split']}' and "
            f"{len(other.scores)} of '{there['split']}'; {advice}"
        )
    if checksum(stores[0]) == checksum(stores[1]):
        return
    for column in SAME:
        if (column in first.columns) != (column in other.columns) or (
            column in first.columns and not np.array_equal(first.columns[column], other.columns[column])
        ):
            raise RunError(f"{pair} were measured on different rows: '{column}' differs; {advice}")
