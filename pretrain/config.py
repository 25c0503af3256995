"""The settings of pretraining."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.models import EncoderConfig
from foundation.train import TrainConfig
from pretrain.augment import AugmentConfig
from pretrain.objectives import ContrastiveConfig, MaskedConfig
from pretrain.views import Positives


@dataclass(frozen=True)
class ProbeConfig:
    """The closed-form probe: a ridge classifier on the frozen embedding, for watching; labels never reach the loss.

    Attributes:
        label: class label of the schema; empty: the first one, if there is any.
        rows: labelled examples taken from each of the train and val splits.
    """

    label: str = ""
    rows: int = 1000


@dataclass(frozen=True)
class PretrainConfig:
    """Self-supervised pretraining. An objective of weight 0 is off.

    Attributes:
        encoder: the backbone.
        masked: masked-token modelling.
        contrastive: contrastive learning between two views.
        positives: what makes the two views: `augmentation`, or `resimulation` (rows of equal `event_id`).
        augment: the augmentations of every view.
        train: optimisation.
        probe: a labelled probe, to see the embedding form.
        batch_tokens: budget of a batch: examples times padded length.
        buckets: number of padded lengths.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    positives: Positives = "augmentation"
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(evaluate_every=250))
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    batch_tokens: int = 8192
    buckets: int = 3
