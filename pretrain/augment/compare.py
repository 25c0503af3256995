"""One event before and after each augmentation of some settings.

Axes: B copies of the event, then others (donors of pile-up), N tokens, F features.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from foundation.batch import TokenBatch, Tokens
from foundation.command import find_preset, load_config
from foundation.errors import ConfigError
from foundation.schema import DetectorSchema, Modality
from foundation.store import Store
from pretrain.augment.anomalous_settings import AnomalousConfig
from pretrain.augment.apply import anomalous, augment
from pretrain.augment.check import anomalies_of, harmless, steps_of
from pretrain.augment.config import AugmentConfig
from pretrain.augment.steps import ANOMALIES, STEPS

COPIES, OTHERS = 16, 16  # tries at an augmentation that may happen to change nothing; donors of pile-up
SPARE = 1.3  # slots to each token, so that there is room for more
QUICK = {"xla_backend_optimization_level": 0}  # each program runs once
Change = Callable[[TokenBatch, Any], TokenBatch]


class Look(NamedTuple):
    """The tokens of one event, and which of them are not in the other version of it."""

    tokens: dict[str, np.ndarray]
    other: dict[str, np.ndarray]
    globals: np.ndarray


def changes_of(schema: DetectorSchema, cfg: str | Path = "") -> dict[str, Change]:
    """Name -> function of (batch, key), each acting on every example."""
    augmentations, anomalies = AugmentConfig(), AnomalousConfig()
    if cfg:
        values = _mapping(cfg)
        own = {f.name for f in fields(AugmentConfig)}
        augmentations = load_config(AugmentConfig, values if own & values.keys() else values.get("augment") or {})
        contrastive = values.get("contrastive") or {}
        anomalies = load_config(AnomalousConfig, contrastive.get("anomalous") or {})
        chosen = list(steps_of(augmentations, schema))
        odd = list(anomalies_of(anomalies, schema)) if contrastive.get("anomalies", "none") != "none" else []
    else:
        every = {name: getattr(augmentations, name) for name in STEPS}
        chosen = [n for n, step in STEPS.items() if step.carriers(schema, every[n]) and harmless(every[n], schema)]
        odd = [name for name, step in ANOMALIES.items() if step.carriers(schema, getattr(anomalies, name))]
    if not chosen and not odd:
        raise ConfigError(f"{cfg}: no augmentation is on that schema '{schema.name}' can carry: nothing to draw")
    found: dict[str, Change] = {name: _one(schema, augmentations, name) for name in chosen}
    return found | {f"anomaly: {name}": _odd(schema, anomalies, name) for name in odd}


def _mapping(cfg: str | Path) -> dict[str, Any]:
    import yaml

    values = yaml.safe_load(find_preset(cfg).read_text()) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{cfg} holds a {type(values).__name__}; expected settings, `key: value`")
    return values


def _one(schema: DetectorSchema, config: AugmentConfig, name: str) -> Change:
    return functools.partial(_apply, augment, schema, config.alone(name))


def _odd(schema: DetectorSchema, config: AnomalousConfig, name: str) -> Change:
    off = {n: replace(getattr(config, n), share=0.0) for n in ANOMALIES}
    alone = replace(config, **{**off, name: replace(getattr(config, name), share=1.0)})
    return functools.partial(_apply, anomalous, schema, alone)


def _apply(change: Callable[..., TokenBatch], schema: DetectorSchema, config: Any, batch: TokenBatch, key: Any) -> Any:
    compiled = jax.jit(functools.partial(change, schema=schema, config=config), compiler_options=QUICK)
    return jax.tree.map(np.asarray, compiled(batch, key=key))


def copies(store: Store, number: int, split: str) -> TokenBatch:
    """The event several times, then others, with slots to spare."""
    others = np.linspace(0, store.length(split) - 1, OTHERS).astype(np.int64)
    rows = np.concatenate([np.full(COPIES, number), others])
    longest = {n: t.mask.shape[1] for n, t in store.read(split, rows).modalities.items()}
    roomy = {n: length if store.schema.modalities[n].grid else int(SPARE * length) + 8 for n, length in longest.items()}
    return store.read(split, rows, roomy)


def pair_of(batch: TokenBatch, schema: DetectorSchema, change: Change) -> tuple[Look, Look]:
    """The first copy of the event of which a token changed, before and after; the first copy, where none did."""
    after = change(batch, jax.random.key(0))
    pairs = (_looks(batch, after, schema, row) for row in range(COPIES))
    changed = (pair for pair in pairs if any(new.any() for look in pair for new in look.other.values()))
    return next(changed, _looks(batch, after, schema, 0))


def _looks(batch: TokenBatch, after: TokenBatch, schema: DetectorSchema, row: int) -> tuple[Look, Look]:
    old, new = (_tokens(each, schema, row) for each in (batch, after))
    return (
        Look(old, {n: _absent(v, new[n], schema.modalities[n]) for n, v in old.items()}, batch.globals[row]),
        Look(new, {n: _absent(v, old[n], schema.modalities[n]) for n, v in new.items()}, after.globals[row]),
    )


def _tokens(batch: TokenBatch, schema: DetectorSchema, row: int) -> dict[str, np.ndarray]:
    def real(tokens: Tokens) -> np.ndarray:
        return np.asarray(tokens.values)[row][np.asarray(tokens.mask)[row]]

    return {name: real(batch.modalities[name]) for name in schema.modalities}


def _absent(values: np.ndarray, others: np.ndarray, modality: Modality) -> np.ndarray:
    """Which tokens are not among the others, by their coordinates: pt fractions change where one token was added."""
    columns = [modality.index(feature) for feature in modality.coordinates.values()] or [0]
    return np.array([not np.any(np.all(others[:, columns] == token[columns], axis=1)) for token in values], bool)
