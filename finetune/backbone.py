"""The network under the heads when nothing is pretrained: the encoder, or one of the field's reference models."""

from __future__ import annotations

from flax import nnx

from finetune.config import FinetuneConfig
from foundation.models import Backbone, build_encoder
from foundation.models.encoder import StatisticsOf
from foundation.models.references import REFERENCES, build_reference
from foundation.schema import DetectorSchema


def build_backbone(
    schema: DetectorSchema, statistics: StatisticsOf, cfg: FinetuneConfig, *, rngs: nnx.Rngs
) -> Backbone:
    """A fresh backbone of the kind that the settings name.

    Raises:
        ConfigError: the schema lacks what the model needs, or a size is impossible.
    """
    if cfg.model in REFERENCES:
        return build_reference(cfg.model, schema, statistics, cfg.references, rngs=rngs)
    return build_encoder(schema, statistics, cfg.encoder, rngs=rngs)
