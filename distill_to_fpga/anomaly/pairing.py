"""The same crossings in two stores: what the teacher sees of them, and what the trigger board receives.

Axes: n rows of one store, p pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped

from foundation.errors import DataError
from foundation.progress import console
from foundation.store import Store


def paired_rows(
    teacher: Store, student: Store, split: str, key: Sequence[str]
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]:
    """Rows of a split of two stores that are the same crossing, in the order of the teacher's.

    Rows without a partner are counted and left out.

    Args:
        key: observers that together name a crossing; compared exactly.

    Raises:
        DataError: a store has no such observer, a key is no number or occurs twice, or no crossing is in both.
    """
    names, others = (_names(store, split, key) for store in (teacher, student))
    shared, mine, theirs = np.intersect1d(names, others, return_indices=True)
    if not len(shared):
        raise DataError(
            f"no crossing of '{split}' is in both {teacher.path} and {student.path}: none of {len(names):,} and "
            f"{len(others):,} rows agree in {list(key)}. Split both by the same key"
        )
    if len(shared) < max(len(names), len(others)):
        lost = [len(each) - len(shared) for each in (names, others)]
        console.print(
            f"{split}: {len(shared):,} crossings in both stores; left out {lost[0]:,} of {teacher.path} and "
            f"{lost[1]:,} of {student.path}, which have no partner",
            highlight=False,
        )
    order = np.argsort(mine)
    return mine[order], theirs[order]


def _names(store: Store, split: str, key: Sequence[str]) -> Shaped[np.ndarray, " n"]:
    columns = [np.asarray(store.observer(split, name)) for name in key]
    for name, values in zip(key, columns):
        if not np.isfinite(values).all():
            raise DataError(f"{store.path}: observer '{name}' is no number in {int((~np.isfinite(values)).sum())} rows")
    names = np.empty(len(columns[0]), [(f"f{i}", np.float64) for i in range(len(columns))])
    for i, (name, values) in enumerate(zip(key, columns)):
        names[f"f{i}"] = values
        if values.dtype.kind == "i" and np.any(names[f"f{i}"].astype(np.int64) != values):
            raise DataError(f"{store.path}: observer '{name}' has integers beyond 2^53, which cannot be compared")
    found, counts = np.unique(names, return_counts=True)
    if len(found) < len(names):
        raise DataError(
            f"{store.path}: {int((counts > 1).sum()):,} values of {list(key)} occur in several rows of '{split}', "
            f"the first is {found[counts > 1][0]}: name more observers in stores.key"
        )
    return names
