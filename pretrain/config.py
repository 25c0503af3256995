"""The settings of pretraining."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.models import EncoderConfig
from foundation.train import TrainConfig
from pretrain.augment import AugmentConfig
from pretrain.objectives import (
    ContrastiveConfig,
    MaskedConfig,
    NextTokenConfig,
    SelfDistillationConfig,
    SupervisedConfig,
    VicregConfig,
)
from pretrain.views import ModalityViews, Positives


@dataclass(frozen=True)
class MonitorConfig:
    """Seeing the embedding form, every `train.evaluate_every` steps and at the end. Its labels never reach the loss.

    Attributes:
        label: class label of the schema for probe and kNN; empty: the first one, if there is any.
        rows: examples taken from each of the train and val splits.
        k: neighbours that vote in kNN.
        batches: batches of val on which each loss is measured, always the same ones with the same random numbers.
        narrow: an effective rank below this share of the width is called a dimensional collapse.
        report_rows: examples of val in the report's map, neighbours and invariances; 0: no report at the end.
        observer: that colours the report's second map; empty: the mass of all constituents together.
    """

    label: str = ""
    rows: int = 1000
    k: int = 20
    batches: int = 4
    narrow: float = 0.05
    report_rows: int = 1000
    observer: str = ""


@dataclass(frozen=True)
class PretrainConfig:
    """Self-supervised pretraining. An objective of weight 0 is off.

    Attributes:
        encoder: the backbone.
        masked: masked-token modelling.
        contrastive: contrastive learning between two views.
        vicreg: two views agree, all dimensions vary and none repeats another; no negatives.
        self_distillation: one view foretells the momentum teacher's output for the other; needs `train.ema`.
        supervised: simulation labels beside the other objectives; the only one that reads labels.
        next_token: the code of each token from those before it; `detfm generate` samples from it.
        positives: what makes the two views: `augmentation`, `resimulation` (rows of equal `event_id`) or `modality`
            (different modalities of one example).
        positives_modalities: which modalities each view has, for `modality`.
        augment: the augmentations of every view.
        train: optimisation.
        monitor: what is measured on the way, to see the embedding form.
        rows: examples of train to learn from, drawn by `train.seed`, fewer being part of more; 0: all.
        batch_tokens: budget of a batch: examples times padded length.
        buckets: number of padded lengths.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    vicreg: VicregConfig = field(default_factory=VicregConfig)
    self_distillation: SelfDistillationConfig = field(default_factory=SelfDistillationConfig)
    supervised: SupervisedConfig = field(default_factory=SupervisedConfig)
    next_token: NextTokenConfig = field(default_factory=NextTokenConfig)
    positives: Positives = "augmentation"
    positives_modalities: ModalityViews = field(default_factory=ModalityViews)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(evaluate_every=250))
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    rows: int = 0
    batch_tokens: int = 8192
    buckets: int = 3
