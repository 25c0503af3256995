"""The objectives: setting of `PretrainConfig` -> class. An objective whose weight is 0 is not built."""

from pretrain.objectives.base import Objective, Pass, View
from pretrain.objectives.contrastive import Contrastive, ContrastiveConfig
from pretrain.objectives.masked import Masked, MaskedConfig

OBJECTIVES: dict[str, type[Objective]] = {
    "masked": Masked,
    "contrastive": Contrastive,
}

__all__ = [
    "OBJECTIVES",
    "Contrastive",
    "ContrastiveConfig",
    "Masked",
    "MaskedConfig",
    "Objective",
    "Pass",
    "View",
]
