"""The objectives: setting of `PretrainConfig` -> class. An objective whose weight is 0 is not built."""

from pretrain.objectives.base import Objective, Pass, View
from pretrain.objectives.contrastive import Contrastive, ContrastiveConfig
from pretrain.objectives.masked import Masked, MaskedConfig
from pretrain.objectives.next_token import NextToken, NextTokenConfig
from pretrain.objectives.self_distillation import SelfDistillation, SelfDistillationConfig
from pretrain.objectives.supervised import Supervised, SupervisedConfig
from pretrain.objectives.vicreg import Vicreg, VicregConfig

OBJECTIVES: dict[str, type[Objective]] = {
    "masked": Masked,
    "contrastive": Contrastive,
    "vicreg": Vicreg,
    "self_distillation": SelfDistillation,
    "supervised": Supervised,
    "next_token": NextToken,
}

__all__ = [
    "OBJECTIVES",
    "Contrastive",
    "ContrastiveConfig",
    "Masked",
    "MaskedConfig",
    "NextToken",
    "NextTokenConfig",
    "Objective",
    "Pass",
    "SelfDistillation",
    "SelfDistillationConfig",
    "Supervised",
    "SupervisedConfig",
    "Vicreg",
    "VicregConfig",
    "View",
]
