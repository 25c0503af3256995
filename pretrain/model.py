"""The model that pretraining trains: encoder plus objectives."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from foundation.batch import TokenBatch
from foundation.errors import ConfigError
from foundation.models import Encoder, EncoderConfig
from foundation.schema import DetectorSchema
from foundation.train import TrainConfig
from pretrain.augment import AugmentConfig, augment
from pretrain.objectives import ContrastiveConfig, MaskedConfig, MaskedModel, Projector, hide_tokens, nt_xent


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
    """Self-supervised pretraining.

    Attributes:
        encoder: the backbone.
        masked: masked-token modelling.
        contrastive: contrastive learning between augmented views.
        augment: the augmentations that make those views.
        train: optimisation.
        probe: a labelled probe, to see the embedding form.
        batch_tokens: budget of a batch: examples times padded length.
        buckets: number of padded lengths.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(evaluate_every=250))
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    batch_tokens: int = 8192
    buckets: int = 3


class Pretrainer(nnx.Module):
    """Encoder and objectives.

    With both objectives on, one pass serves both: the first view is augmented and has tokens hidden, the second is
    augmented only. The masked model restores the first, and the two pooled embeddings are a positive pair.

    Raises:
        ConfigError: both objectives are off.
    """

    def __init__(
        self,
        schema: DetectorSchema,
        statistics: dict[str, tuple[np.ndarray, np.ndarray]],
        config: PretrainConfig,
        *,
        rngs: nnx.Rngs,
    ):
        if config.masked.weight <= 0 and config.contrastive.weight <= 0:
            raise ConfigError("no objective: give masked.weight or contrastive.weight a value above 0")
        e = config.encoder
        self.schema, self.augmentations = schema, config.augment
        self.masked_config, self.contrastive_config = config.masked, config.contrastive
        self.encoder = Encoder(schema, statistics, e, rngs=rngs)
        if config.masked.weight > 0:
            self.masked = MaskedModel(schema, e.width, e.heads, e.hidden, config.masked, rngs=rngs)
        if config.contrastive.weight > 0:
            self.projector = Projector(e.width, config.contrastive, rngs=rngs)

    def loss(self, batch: TokenBatch, key: Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Weighted sum of the objectives that are on, and each of them."""
        augment_key, hide_key, dropout_key = jax.random.split(key, 3)
        masked, contrastive = self.masked_config.weight > 0, self.contrastive_config.weight > 0
        size, total, terms = batch.size, jnp.zeros(()), {}
        twice = jax.tree.map(lambda a: jnp.concatenate([a, a]), batch) if contrastive else batch
        views = augment(twice, self.schema, self.augmentations, augment_key)
        visible, hidden = hide_tokens(views, self.masked_config.fraction * masked, hide_key, first=size)
        encoded = self.encoder(visible, dropout_key)
        if masked:
            targets = jax.lax.stop_gradient(self.encoder.standardize(views))
            seen, wanted, absent = jax.tree.map(lambda a: a[:size], (encoded, targets, hidden))
            terms["loss/masked"] = self.masked(seen, wanted, absent, batch.weights)
            total += self.masked_config.weight * terms["loss/masked"]
        if contrastive:
            projected = self.projector(encoded.pooled)
            terms["loss/contrastive"] = nt_xent(
                projected[:size], projected[size:], batch.weights, self.contrastive_config.temperature
            )
            total += self.contrastive_config.weight * terms["loss/contrastive"]
        return total, terms
