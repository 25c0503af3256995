"""An encoder on disk: `encoder.yaml`, `schema.yaml` and the variables, under `model/` in a run folder and in
`weights.npz` in a published one. Needs no store to be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from flax import nnx

from foundation.checkpoint import load_model, save_model
from foundation.command import load_config, to_yaml
from foundation.distributed import is_primary
from foundation.errors import RunError
from foundation.models.encoder import Encoder, EncoderConfig
from foundation.models.flat import build_encoder
from foundation.models.published import check_files, is_published, read_weights
from foundation.schema import DetectorSchema

CONFIG = "encoder.yaml"
M = TypeVar("M", bound=nnx.Module)


def save_encoder(folder: Path, encoder: Encoder) -> None:
    """Writes an encoder into a run folder. In a job of several processes all call this together."""
    if is_primary():
        (folder / CONFIG).write_text(to_yaml(encoder.config))
        encoder.schema.save(folder / "schema.yaml")
    save_model(folder, encoder)


def load_encoder(folder: Path) -> Encoder:
    """Reads the encoder of a run folder, or a published one.

    Raises:
        RunError: the folder holds none (the run did not finish), or a published file is damaged; names it.
        TrainingError: the variables do not fit the settings beside them.
    """
    if published := is_published(folder):
        check_files(folder)  # before a damaged one is read
    if not (folder / CONFIG).is_file():
        raise RunError(f"{folder} holds no finished encoder (no {CONFIG}); continue its training with --resume")
    schema = DetectorSchema.load(folder / "schema.yaml")
    config = load_config(EncoderConfig, folder / CONFIG)
    encoder = hollow(lambda: blank_encoder(schema, config))
    if published:
        read_weights(folder, encoder)
    else:
        load_model(folder, encoder)
    return encoder


def blank_encoder(schema: DetectorSchema, config: EncoderConfig) -> Encoder:
    """An encoder whose parameters and statistics are still to be filled in."""
    return build_encoder(schema, blank_statistics(schema), config, rngs=nnx.Rngs(0))


def hollow(make: Callable[[], M]) -> M:
    """What `make` makes, with zeros for variables that are to be read from a file: drawing them takes seconds."""
    graph, state = nnx.split(nnx.eval_shape(make))
    zeros = jax.tree.map(lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype)), state)
    return nnx.merge(graph, zeros)


def blank_statistics(schema: DetectorSchema) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Statistics of a store that is not at hand: modality (and `globals`) -> zeros[F], ones[F]."""
    sizes = {name: len(m.features) for name, m in schema.modalities.items()} | {"globals": len(schema.globals)}
    return {name: (np.zeros(n, np.float32), np.ones(n, np.float32)) for name, n in sizes.items()}


def count_parameters(model: nnx.Module) -> int:
    """Trainable numbers of a model."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
