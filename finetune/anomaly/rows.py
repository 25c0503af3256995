"""Which rows of a store are the normal crossings, and what each is worth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from finetune.anomaly.config import RowsConfig
from foundation.errors import ConfigError, DataError, SchemaError
from foundation.expression import parsed
from foundation.store import Store


def normal_rows(data: Store, cfg: RowsConfig, seed: int, split: str = "train") -> Int[np.ndarray, " n"]:
    """Rows of a split that are taken as normal, ascending.

    Raises:
        ConfigError, DataError: a label, class or observer is not there, or no row is left.
    """
    rows = np.arange(data.length(split))
    if cfg.label:
        label = data.schema.labels.get(cfg.label)
        unknown = [] if label is None else [c for c in cfg.classes if c not in label.classes]
        if label is None or label.kind != "class" or unknown or not cfg.classes:
            known = {name: data.schema.class_names(name) for name in data.schema.class_labels}
            raise ConfigError(
                f"rows.label '{cfg.label}' with rows.classes {list(cfg.classes)}: {data.path} has the class labels "
                + ("; ".join(f"{name}: {', '.join(names)}" for name, names in known.items()) or "(none)")
            )
        numbers = [list(label.classes).index(c) for c in cfg.classes]
        rows = rows[np.isin(data.labels(split, cfg.label), numbers)]
    if cfg.cut:
        rows = rows[_passes(data, cfg.cut, split)[rows]]
    if not len(rows):
        chosen = f"of {cfg.label} {list(cfg.classes)}" if cfg.label else "there"
        passed = f" and passes '{cfg.cut}'" if cfg.cut else ""
        raise DataError(f"{data.path}: no row of '{split}' is {chosen}{passed}: nothing to learn from")
    drawn = np.random.default_rng(seed).permutation(len(rows))[: cfg.most]
    return rows[np.sort(drawn)]


def _passes(data: Store, cut: str, split: str) -> Bool[np.ndarray, " R"]:
    try:
        value = np.asarray(parsed(cut).evaluate(data.observers(split), np))
    except SchemaError as error:
        raise ConfigError(
            f"rows.cut: {error}; the observers are {', '.join(data.schema.observers) or 'none'}"
        ) from error
    if value.shape not in ((), (data.length(split),)) or value.dtype.kind not in "biuf":
        raise ConfigError(
            f"rows.cut '{cut}' gives {value.dtype} of shape {value.shape}; one yes or no per row is needed"
        )
    return np.broadcast_to(np.nan_to_num(value).astype(bool), (data.length(split),))


def weights_of(data: Store, split: str, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The rows' weights, with mean 1.

    Raises:
        DataError: one is negative or not finite, or all are 0.
    """
    weights = np.asarray(data.part(split, "weights", 0, data.length(split)))[rows].astype(np.float32)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any() or not weights.any():
        which = f"row {rows[np.flatnonzero(bad)[0]]}, for one" if bad.any() else "all are 0"
        raise DataError(f"{data.path}: {int(bad.sum())} weights of '{split}' are negative or not finite ({which})")
    return weights / weights.mean()
