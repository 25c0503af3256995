"""Crossings that never were, for the teacher to score: objects of several real ones in their places, some harder.

A student sees what is normal a thousand times more often than what it must find. The teacher can score anything, so its
tail is filled without any signal: an object is replaced by the object in the same place of another crossing, and the
energies of some crossings are stretched. No label enters.

Axes: n crossings, N places, F features.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from distill_to_fpga.anomaly.teacher import Crossings, Teacher
from distill_to_fpga.config import ScoreConfig
from distill_to_fpga.inputs import HardwareLayout, to_hardware
from finetune.anomaly.model import scored
from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError, DataError
from foundation.schema import Feature

CHUNK = 4096  # crossings that the teacher scores at a time


def mixed_crossings(
    teacher: Teacher, layout: HardwareLayout, rows: Int[np.ndarray, " n"], count: int, cfg: ScoreConfig, seed: int
) -> Crossings:
    """Crossings made of the objects of rows of the `train` split; their `rows` are -1.

    Args:
        rows: of the teacher's store.
        count: how many to make.
        cfg: how many of a crossing's objects are exchanged, and how far energies are stretched (log-uniform).
        seed: of the random numbers.

    Raises:
        ConfigError: the student sees another store than the teacher. DataError: objects have no fixed places.
    """
    if teacher.paired:
        raise ConfigError("score.mixed makes new crossings, which no second store has: not with stores.student")
    random = np.random.default_rng([seed, count])
    graph, state = nnx.split(teacher.model)
    integers, scores = [], []
    for first in range(0, count, CHUNK):
        size = min(CHUNK, count - first)
        batch = teacher.data.read("train", random.choice(rows, CHUNK))
        modalities = {
            name: _mixed(tokens, teacher.data.schema.modalities[name].features, cfg, random)
            for name, tokens in batch.modalities.items()
        }
        made = replace(batch, modalities=modalities)
        integers.append(to_hardware(modalities[layout.modality], layout)[0][:size])
        scores.append(np.asarray(_score(state, made, graph=graph))[:size])
    values = np.concatenate(scores)
    if not np.isfinite(values).all():
        raise DataError(f"the teacher's score of {int((~np.isfinite(values)).sum())} mixed crossings is no number")
    return Crossings(np.concatenate(integers), values, np.full(count, -1, np.int64))


@partial(jax.jit, static_argnames="graph")
def _score(state: Any, batch: TokenBatch, *, graph: Any) -> Any:
    return scored(nnx.merge(graph, state), batch)


def _mixed(tokens: Tokens, features: dict[str, Feature], cfg: ScoreConfig, random: np.random.Generator) -> Tokens:
    """A batch whose crossings have exchanged objects: a share of them, uniform between none and the most."""
    values, mask = np.asarray(tokens.values), np.asarray(tokens.mask)
    if not mask.all():
        raise DataError("score.mixed exchanges objects in fixed places; here crossings have different numbers of them")
    count, places, _ = values.shape
    taken = random.random((count, places)) < cfg.exchanged * random.random((count, 1))
    donor = np.where(taken, random.integers(0, count, (count, places)), np.arange(count)[:, None])
    values = values[donor, np.arange(places)]
    factor = np.where(random.random(count) < 0.5, cfg.stretch ** random.random(count), 1.0)
    return Tokens(_stretched(values, features, factor), mask)


def _stretched(
    values: Float[np.ndarray, "n N F"], features: dict[str, Feature], factor: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n N F"]:
    """Energies times a factor of the crossing, on the grid of the hardware and within its range."""
    values = values.copy()
    for column, feature in enumerate(features.values()):
        kind = feature.hardware
        if feature.unit.endswith("eV") and kind is not None:
            counts = np.floor(values[..., column] * factor[:, None] / kind.lsb + 0.5)
            values[..., column] = np.clip(counts, kind.low, kind.high) * kind.lsb
    return values
