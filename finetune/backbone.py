"""The network under the heads when nothing is pretrained: the encoder, or one of the field's reference models."""

from __future__ import annotations

from flax import nnx

from finetune.config import FinetuneConfig
from foundation.errors import ConfigError
from foundation.models import Backbone, Encoder
from foundation.models.encoder import StatisticsOf
from foundation.models.references import REFERENCES, build_reference
from foundation.schema import DetectorSchema, Label


def build_backbone(
    schema: DetectorSchema, statistics: StatisticsOf, cfg: FinetuneConfig, *, rngs: nnx.Rngs
) -> Backbone:
    """A fresh backbone of the kind that the settings name.

    Raises:
        ConfigError: the schema lacks what the model needs, or the task asks for vectors that it does not make.
    """
    names = (cfg.task.label, *cfg.task.regression)
    of_tokens = [name for name in names if schema.labels.get(name, Label()).modality]
    if cfg.model == "pcnn" and of_tokens:
        raise ConfigError(
            f"model 'pcnn' pools as it goes and has no vector per token, and '{of_tokens[0]}' is a label of tokens; take "
            f"another model: {', '.join(name for name in REFERENCES if name != 'pcnn')}"
        )
    if cfg.model in REFERENCES:
        return build_reference(cfg.model, schema, statistics, cfg.references, rngs=rngs)
    return Encoder(schema, statistics, cfg.encoder, rngs=rngs)
