"""The settings of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetune.task import TaskConfig
from foundation.models import EncoderConfig, HeadConfig
from foundation.train import TrainConfig

Mode = Literal["linear", "frozen", "full"]


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tuning.

    Attributes:
        task: what to learn.
        mode: `linear` (a linear probe on the frozen encoder), `frozen` (the head of `head` on the frozen encoder),
            `full` (everything).
        labels: number of labelled training examples, drawn by train.seed; 0 means all.
        trunk: learning rate of a pretrained encoder in mode `full`, relative to the head's.
        head: of the classes and regression targets (mode `linear` has no hidden layer).
        encoder: the backbone, used only when training from scratch.
        train: optimisation.
        batch_size: examples in a batch.
        buckets: number of padded lengths.
    """

    task: TaskConfig = field(default_factory=TaskConfig)
    mode: Mode = "full"
    labels: int = 0
    trunk: float = 0.2
    head: HeadConfig = field(default_factory=HeadConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=400, checkpoint_every=1000))
    batch_size: int = 128
    buckets: int = 2
