"""Targets of examples and of tokens: classes, yes-or-no tags, regressions, groups.

Axes: V labelled things (rows, or tokens of one modality), C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, Shaped

from foundation.errors import SchemaError
from foundation.schema import Feature, Label
from foundation.store.values import Checker, Limits

UNLIMITED = Feature()
SHOWN = 50  # distinct unknown values that are counted by name


@dataclass(frozen=True)
class Source:
    """Where label expressions get their values from.

    Attributes:
        numbers: (where, expression) -> one number per labelled thing.
        strings: likewise one string, or None if the expression gives no strings.
        row_of: the row in the chunk of each labelled thing.
    """

    numbers: Callable[[str, str], Shaped[np.ndarray, " V"]]
    strings: Callable[[str, str], Shaped[np.ndarray, " V"] | None]
    row_of: Int[np.ndarray, " V"]


def label_values(name: str, label: Label, source: Source, checker: Checker) -> Shaped[np.ndarray, " V ..."]:
    """What the store holds of a label; see `Label`.

    Not known, and no problem: NaN for a regression or a group, NaN or a negative number for a yes-or-no tag. A NaN
    where a class is expected is an unknown class.
    """
    where = f"labels.{name}"
    if label.kind == "regression":
        return _regression(where, source.numbers(where, label.expression), source, checker)
    if label.kind == "group":
        return groups(source.numbers(where, label.expression), source.row_of)
    if label.kind == "multilabel":
        return _multilabel(where, label, source, checker)
    if not label.expression:
        return _one_hot(where, label, source, checker)
    strings = source.strings(where, label.expression)
    if any(isinstance(value, str) for value in label.classes.values()):
        if strings is None:
            raise SchemaError(
                f"{where}: '{label.expression}' gives no text, so the patterns in classes cannot match; give integers, "
                "or leave out the expression to have a one-hot column per class"
            )
        return _patterns(where, label, strings, source, checker)
    if strings is not None:
        raise SchemaError(
            f"{where}: '{label.expression}' gives text; the values of classes must be patterns like 'data*'"
        )
    return _integers(where, label, source.numbers(where, label.expression), source, checker)


def groups(identity: Shaped[np.ndarray, " T"], row_of: Int[np.ndarray, " T"]) -> Int32[np.ndarray, " T"]:
    """Tokens of equal positive identity within a row -> 1, 2, ... by first appearance in the row; the others 0."""
    result = np.zeros(len(identity), np.int32)
    real = np.flatnonzero(identity > 0)
    if not len(real):
        return result
    order = real[np.lexsort((identity[real], row_of[real]))]  # stable: the first of each group is its first token
    begins = np.ones(len(order), bool)
    begins[1:] = (identity[order][1:] != identity[order][:-1]) | (row_of[order][1:] != row_of[order][:-1])
    group = np.cumsum(begins) - 1
    leader = order[begins]
    by_appearance = np.argsort(leader)  # tokens are in row order
    rows = row_of[leader[by_appearance]]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    number = np.empty(len(leader), np.int32)
    number[by_appearance] = place + 1
    result[order] = number[group]
    return result


def _regression(
    where: str, values: Shaped[np.ndarray, " V"], source: Source, checker: Checker
) -> Float[np.ndarray, " V"]:
    unknown = np.isnan(values)
    known = np.where(unknown, 0, values) if unknown.any() else values
    numbers = checker.numbers(Limits.of(where, UNLIMITED), known, lambda: source.row_of)
    return np.where(unknown, np.float32(np.nan), numbers)


def _integers(
    where: str, label: Label, values: Shaped[np.ndarray, " V"], source: Source, checker: Checker
) -> Int32[np.ndarray, " V"]:
    wanted = np.array(list(label.classes.values()))
    order = np.argsort(wanted, kind="stable")
    place = order[np.searchsorted(wanted, values, sorter=order).clip(max=len(wanted) - 1)]
    known = wanted[place] == values
    _note_unknown(where, label, ~known, [f"{value:g}" for value in values[~known]], source, checker)
    return np.where(known, place, -1).astype(np.int32)


def _patterns(
    where: str, label: Label, strings: Shaped[np.ndarray, " V"], source: Source, checker: Checker
) -> Int32[np.ndarray, " V"]:
    """The first class whose pattern matches."""
    distinct, inverse = np.unique(strings, return_inverse=True)
    patterns = [str(pattern) for pattern in label.classes.values()]
    codes = np.array([next((i for i, p in enumerate(patterns) if fnmatchcase(t, p)), -1) for t in map(str, distinct)])
    found = codes.astype(np.int32)[inverse]
    _note_unknown(where, label, found < 0, [f"'{text}'" for text in strings[found < 0]], source, checker)
    return found


def _one_hot(where: str, label: Label, source: Source, checker: Checker) -> Int32[np.ndarray, " V"]:
    each = [source.numbers(f"{where}.classes.{c}", str(e)) for c, e in label.classes.items()]
    match = np.stack(each, axis=1).astype(np.float64)
    known = (match.sum(axis=1) == 1) & (match.max(axis=1) == 1)
    texts = [f"one-hot sum {total:g}" for total in match[~known].sum(axis=1)]
    _note_unknown(where, label, ~known, texts, source, checker)
    return np.where(known, match.argmax(axis=1), -1).astype(np.int32)


def _multilabel(where: str, label: Label, source: Source, checker: Checker) -> Int32[np.ndarray, "V C"]:
    each = [source.numbers(f"{where}.classes.{c}", str(e)) for c, e in label.classes.items()]
    tags = np.full((len(source.row_of), len(each)), -1, np.int32)
    for position, (name, values) in enumerate(zip(label.classes, each)):
        sure = (values == 0) | (values == 1)
        tags[sure, position] = values[sure].astype(np.int32)
        strange = ~(sure | np.isnan(values) | (values < 0))
        texts = [f"{value:g}" for value in values[strange]]
        _note_unknown(f"{where}.classes.{name}", label, strange, texts, source, checker)
    return tags


def _note_unknown(
    where: str, label: Label, unknown: Bool[np.ndarray, " V"], texts: list[str], source: Source, checker: Checker
) -> None:
    if not texts:
        return
    problem = checker.problems["unknown_label"]
    rows = source.row_of[unknown]
    problem.rows[rows] = True
    counts = Counter(texts)
    named = dict(counts.most_common(SHOWN))
    problem.counts.update({f"{where} = {text}": count for text, count in named.items()})
    if others := len(texts) - sum(named.values()):
        problem.counts[f"{where} = (other values)"] += others
    if not problem.advice:
        expected = "0 or 1" if label.kind == "multilabel" else f"one of its classes {label.classes}"
        problem.advice = (
            f"a value of {where} must be {expected}; add the class to the schema, or choose the policy quarantine or "
            "unlabelled for `unknown_label`"
        )
