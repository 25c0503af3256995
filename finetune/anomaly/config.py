"""The settings of `detfm anomaly fit`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetune.anomaly.inputs import RawConfig
from finetune.anomaly.methods import MethodsConfig, Name
from finetune.config import AdaptConfig
from foundation.optimizer import TrainConfig


@dataclass(frozen=True)
class RowsConfig:
    """Which crossings of the `train` split are the normal ones.

    Attributes:
        label: a class label of the schema; empty: all rows.
        classes: rows of these classes are used.
        cut: expression over the observers, e.g. `(npu > 40) & (run < 360000)`; rows where it is false are not used.
        most: at most so many rows, drawn by train.seed.
    """

    label: str = ""
    classes: tuple[str, ...] = ()
    cut: str = ""
    most: int = 1_000_000


@dataclass(frozen=True)
class AnomalyConfig:
    """Learning what is normal.

    Attributes:
        inputs: what a method sees of a crossing: `raw` (objects in their places, or an image) or the `embedding` of a
            pretrained encoder.
        raw: how raw inputs are laid out.
        adapt: how a pretrained encoder reads data of another schema.
        method: see `finetune.anomaly.methods`.
        methods: settings of each method.
        score: which of the method's scores; empty: its default.
        rows: the normal crossings.
        train: optimisation, of methods that are trained.
        batch_size: crossings in a batch.
    """

    inputs: Literal["raw", "embedding"] = "raw"
    raw: RawConfig = field(default_factory=RawConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    method: Name = "autoencoder"
    methods: MethodsConfig = field(default_factory=MethodsConfig)
    score: str = ""
    rows: RowsConfig = field(default_factory=RowsConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=2000, checkpoint_every=1000))
    batch_size: int = 512
