"""The model, data and sizes of the pretraining benchmark: JetClass-like jets, masked modelling, pair features."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jetclass_like
import numpy as np
from flax import nnx

from foundation.batch import TokenBatch
from foundation.embedding import input_statistics
from foundation.loader import Loader
from foundation.models import EncoderConfig
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import ingest
from foundation.train import TrainConfig, TrainState, start, train_step
from pretrain.augment import AugmentConfig
from pretrain.config import PretrainConfig
from pretrain.model import Pretrainer
from pretrain.objectives import ContrastiveConfig, MaskedConfig

TRAIN = TrainConfig(steps=100_000)


@dataclass(frozen=True)
class Size:
    """What is measured on a kind of device.

    Attributes:
        batch_tokens: padded tokens of a batch, on both sides.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    batch_tokens: int
    precision: Literal["float32", "bfloat16"]


SIZES = {
    "cpu": Size(width=64, layers=4, heads=4, hidden=4, batch_tokens=4096, precision="float32"),
    "gpu": Size(width=128, layers=10, heads=8, hidden=4, batch_tokens=65536, precision="bfloat16"),
}


def schema() -> DetectorSchema:
    """That of `jetclass_like`, with the coordinates that pair features need."""
    features = {name.removeprefix("part_"): {"expression": name} for name in jetclass_like.BRANCHES}
    features["pt"] = {"expression": "abs(part_pt)"}
    coordinates = {"pt": "pt", "eta": "deta", "phi": "dphi"}
    particles = {"features": features, "coordinates": coordinates, "max_tokens": jetclass_like.MOST}
    return jetclass_like.schema(modalities={"particles": particles}, split={"fractions": {"train": 1.0}})


def store(folder: Path, jets: int) -> Store:
    path = jetclass_like.write(folder / "jets.root", jets)
    return Store.open(ingest([path], schema=schema(), out=folder / "store"))


def loader(data: Store, size: Size, buckets: int) -> Loader:
    return Loader(data, "train", batch_tokens=size.batch_tokens, buckets=buckets, seed=0)


def model(data: Store, size: Size) -> Pretrainer:
    sizes = {f.name: getattr(size, f.name) for f in dataclasses.fields(size) if f.name != "batch_tokens"}
    cfg = PretrainConfig(
        encoder=EncoderConfig(**sizes, pair_features=True),
        masked=MaskedConfig(decoder_layers=1),
        contrastive=ContrastiveConfig(weight=0.0),
        augment=no_augmentation(),
        train=TRAIN,
    )
    return Pretrainer(data.schema, input_statistics(data), cfg, rngs=nnx.Rngs(0))


def no_augmentation() -> AugmentConfig:
    """Both sides get the jets as they are."""
    default = AugmentConfig()
    return AugmentConfig(
        **{name: dataclasses.replace(getattr(default, name), probability=0.0) for name in default.names()}
    )


class Trainer:
    """A model in training, whose step is compiled for each shape once, with what that took."""

    def __init__(self, network: Pretrainer):
        self.graph, self.state = start(network, TRAIN)
        self.steps: dict[Any, Any] = {}
        self.compile_seconds: list[float] = []
        self.flops: dict[Any, float] = {}

    def __call__(self, batch: TokenBatch) -> dict[str, jax.Array]:
        """One step; returns before the device is done."""
        shape = next(iter(batch.modalities.values())).mask.shape
        if shape not in self.steps:
            begun = time.perf_counter()
            lowered = train_step.lower(self.state, batch, np.uint32(0), graph=self.graph, config=TRAIN)
            self.steps[shape] = lowered.compile()
            self.compile_seconds.append(time.perf_counter() - begun)
            self.flops[shape] = float(lowered.cost_analysis()["flops"])  # type: ignore[index]
        state: TrainState
        state, metrics = self.steps[shape](self.state, batch, np.uint32(0))
        self.state = state
        return metrics

    def seconds(self, batches: Sequence[TokenBatch]) -> float:
        """Of a step on batches of one shape that lie on the device: the mean over them."""
        return timed(lambda: [self(batch) for batch in batches][-1]) / len(batches)


def timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - begun
