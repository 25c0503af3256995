"""Test examples among the training examples: found by a hash of what a network sees of each row.

Rows are compared by the features that both stores have, in the same unit, whatever the order of features or tokens. A
row of fewer than two tokens says too little to be recognised (hardware integers repeat by chance) and is left out.
Axes: B rows of a block, N padded tokens, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from foundation.errors import DataError, RunError
from foundation.hashing import mix, word
from foundation.runs import Run
from foundation.schema import DetectorSchema, Feature
from foundation.store import Store

BLOCK = 4096  # rows read at a time
MOST = 2_000_000  # rows of a split that are looked at
FEWEST = 2  # tokens of a row that can be recognised


@dataclass(frozen=True)
class Shared:
    """What two schemas both describe: feature names by modality, tokens compared, global names."""

    modalities: dict[str, tuple[str, ...]]
    tokens: dict[str, int]
    globals: tuple[str, ...]

    @staticmethod
    def of(one: DetectorSchema, other: DetectorSchema) -> Shared:
        names = [name for name in one.modalities if name in other.modalities]
        features = {n: _common(one.modalities[n].features, other.modalities[n].features) for n in names}
        features = {name: found for name, found in features.items() if found}
        tokens = {n: min(one.modalities[n].capacity, other.modalities[n].capacity) for n in features}
        return Shared(features, tokens, _common(one.globals, other.globals))


def leakage(
    train: Store, rows: Int[np.ndarray, " n"] | None, test: Store, split: str, *, train_split: str = "train"
) -> Int[np.ndarray, "m 2"]:
    """Pairs of a training row and a row of `split` with equal content; at most one for each row of `split`.

    Args:
        train: the store that was trained on.
        rows: of its `train_split` that were used; None: all.
        test: the store to be measured on, which may be the same.

    Returns:
        [m, 2]: row of `train_split` in `train`, row of `split` in `test`; ascending in the latter.
    """
    shared = Shared.of(train.schema, test.schema)
    if not shared.modalities:
        return np.zeros((0, 2), np.int64)
    used = np.arange(train.length(train_split)) if rows is None else np.asarray(rows)
    known, recognised = contents(train, train_split, used, shared)
    used, known = used[:MOST][recognised], known[recognised]
    if not len(known):
        return np.zeros((0, 2), np.int64)
    seen, recognised = contents(test, split, np.arange(test.length(split)), shared)
    distinct, first = np.unique(known, return_index=True)
    place = np.minimum(np.searchsorted(distinct, seen), len(distinct) - 1)
    found = np.flatnonzero(recognised & (distinct[place] == seen))
    return np.stack([used[first[place[found]]], found], axis=1)


def check_leakage(
    data: Store, rows: Int[np.ndarray, " n"], origin: Run | None, *, allow: bool
) -> tuple[dict[str, int], list[str]]:
    """Looks for examples of `val` and `test` among the training rows, and among those an encoder was pretrained on.

    Args:
        rows: of `train` that are trained on.
        origin: the run of the encoder, if there is one.
        allow: count them only.

    Returns:
        `SPLIT/labels` or `SPLIT/pretraining` -> how many rows were found, without the zeros; notes for people.

    Raises:
        DataError: some were found and are not allowed.
    """
    earlier, notes = None, []
    if origin is not None:
        try:
            earlier = Store.open(origin.input("store"))
        except (RunError, DataError) as error:
            notes.append(f"cannot tell whether test examples were pretrained on: {error}")
    against: list[tuple[str, Store, Any]] = [("labels", data, rows)]
    if earlier is not None and earlier.checksum != data.checksum:
        against.append(("pretraining", earlier, None))
        if not Shared.of(earlier.schema, data.schema).modalities:
            notes.append("cannot tell whether test examples were pretrained on: no feature of equal name and unit")
    found = {}
    for store in {each.path: each for _, each, _ in against}.values():
        many = [name for name in store.splits if store.length(name) > MOST]
        notes += [f"only {MOST:,} rows of '{name}' of {store.path} were compared for leakage" for name in many]
    for split in (name for name in ("val", "test") if name in data.splits):
        for where, known, chosen in against:
            pairs = leakage(known, chosen, data, split)
            if not allow:
                refuse_leakage(pairs, known, data, split)
            if len(pairs):
                found[f"{split}/{where}"] = len(pairs)
                notes.append(f"{len(pairs)} rows of '{split}' are among those of the {where}, as allow_leakage permits")
    return found, notes


def refuse_leakage(found: Int[np.ndarray, "m 2"], train: Store, test: Store, split: str) -> None:
    """Raises DataError if there is any pair; says how many and which are the first."""
    if not len(found):
        return
    first = ", ".join(f"{row} (training row {known})" for known, row in found[:3].tolist())
    more = ", ..." if len(found) > 3 else ""
    where = "" if train.path == test.path else f" of {test.path}"
    raise DataError(
        f"{len(found)} rows of split '{split}'{where} are also among the training rows of {train.path}: row {first}"
        f"{more}\n  figures measured on them would be too good: ingest again without the doubles, or with a split.key "
        "that keeps them together; --cfg.allow_leakage true goes on all the same"
    )


def contents(
    store: Store, split: str, rows: Int[np.ndarray, " n"], shared: Shared
) -> tuple[UInt64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """A hash of each row, the same in every store that holds it, and whether the row says enough to be recognised."""
    rows = rows[:MOST]
    hashes, tokens = np.zeros(len(rows), np.uint64), np.zeros(len(rows), np.int64)
    for start in range(0, len(rows), BLOCK):
        here = slice(start, start + BLOCK)
        batch = store.read(split, rows[here])
        total = _words(batch.globals, store.schema.globals, shared.globals)
        for name, features in sorted(shared.modalities.items()):
            part = batch.modalities[name]
            values, mask = part.values[:, : shared.tokens[name]], part.mask[:, : shared.tokens[name]]
            mask = mask & values.any(axis=-1)  # an empty cell of a grid is no token
            words = mix(_words(values, store.schema.modalities[name].features, features) ^ word("token", name))
            summed = np.sum(words, axis=1, where=mask, dtype=np.uint64)  # whatever the order of the tokens
            total = mix(total ^ mix(summed ^ mask.sum(axis=1).astype(np.uint64)))
            tokens[here] += mask.sum(axis=1)
        hashes[here] = total
    return hashes, tokens >= min(FEWEST, sum(shared.tokens.values()))


def _words(
    values: Float[np.ndarray, "*shape F"], features: dict[str, Feature], names: tuple[str, ...]
) -> UInt64[np.ndarray, "*shape"]:
    """64 bits for the named features of each token: a multilinear hash (Lemire and Kaser, arXiv:1202.4961)."""
    total: Any = np.zeros(values.shape[:-1], np.uint64)
    for name in names:
        column = np.ascontiguousarray(values[..., list(features).index(name)]) + np.float32(0)  # -0 is 0
        total += column.view(np.uint32) * (word("feature", name) | np.uint64(1))
    return total


def _common(one: dict[str, Feature], other: dict[str, Feature]) -> tuple[str, ...]:
    return tuple(sorted(name for name in one if name in other and one[name].unit == other[name].unit))
