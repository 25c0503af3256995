"""The model that pretraining trains: encoder plus objectives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from foundation.batch import TokenBatch
from foundation.errors import ConfigError
from foundation.models import build_encoder
from foundation.schema import DetectorSchema
from pretrain.config import PretrainConfig
from pretrain.objectives import OBJECTIVES, Objective, Pass, View
from pretrain.objectives.hiding import nothing_hidden
from pretrain.views import make_views


class Pretrainer(nnx.Module):
    """Encoder and objectives, each an attribute named as in `OBJECTIVES`.

    One pass of the encoder serves all objectives. Tokens are hidden in the first view, so with two views the masked
    model restores the first, and the two pooled embeddings are a positive pair.

    Raises:
        ConfigError: all objectives are off, or one needs the vectors of tokens that a flat encoder has not.
    """

    def __init__(
        self,
        schema: DetectorSchema,
        statistics: dict[str, tuple[np.ndarray, np.ndarray]],
        config: PretrainConfig,
        *,
        rngs: nnx.Rngs,
    ):
        self.weights = tuple((n, s.weight) for n in OBJECTIVES if (s := getattr(config, n)).weight > 0)
        self.objectives = tuple(name for name, _ in self.weights)
        if not self.objectives:
            names = ", ".join(f"{name}.weight" for name in OBJECTIVES)
            raise ConfigError(f"no objective: give one of {names} a value above 0")
        wanting = [name for name in self.objectives if OBJECTIVES[name].needs_tokens]
        if config.encoder.flat and wanting:
            raise ConfigError(
                f"{wanting[0]}.weight: the objective {wanting[0]} needs vectors of tokens, and a flat encoder has none;"
                " take contrastive or vicreg, or encoder.flat: []"
            )
        self.schema, self.augmentations, self.positives = schema, config.augment, config.positives
        modality = config.positives == "modality"
        self.modalities = config.positives_modalities.resolved(schema) if modality else config.positives_modalities
        self.encoder = build_encoder(schema, statistics, config.encoder, rngs=rngs)
        for name in self.objectives:
            setattr(self, name, OBJECTIVES[name](schema, config.encoder, getattr(config, name), rngs=rngs))
            self._objective(name).prepare(statistics)
        self.wants_teacher = any(self._objective(name).wants_teacher for name in self.objectives)

    def loss(
        self, batch: TokenBatch, key: Array, teacher: Pretrainer | None = None
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Weighted sum of the objectives that are on, and each of them as `loss/NAME`.

        Args:
            teacher: this model with averaged parameters, for the objectives that want one.
        """
        own_key, view_key, hide_key, dropout_key = jax.random.split(key, 4)
        views = self._encode(self._views(batch, view_key), hide_key, dropout_key)
        total = jnp.zeros(())
        terms: dict[str, Float[Array, ""]] = {}
        for i, (name, weight) in enumerate(self.weights):
            step = Pass(self.encoder, views, teacher, jax.random.fold_in(own_key, i))
            loss, more = self._objective(name)(step)
            total += weight * loss
            terms |= {f"loss/{name}": loss, **{f"{name}/{key}": value for key, value in more.items()}}
        return total, terms

    def _objective(self, name: str) -> Objective:
        return getattr(self, name)

    def _views(self, batch: TokenBatch, key: Array) -> tuple[TokenBatch, ...]:
        count = max(self._objective(name).views for name in self.objectives)
        return make_views(batch, self.schema, self.augmentations, self.positives, count, key, self.modalities)

    def _encode(self, batches: tuple[TokenBatch, ...], hide_key: Array, dropout_key: Array) -> tuple[View, ...]:
        """All views through the encoder at once; tokens are hidden in the first."""
        seen, hidden = list(batches), [nothing_hidden(batch) for batch in batches]
        hiders = [name for name in self.objectives if OBJECTIVES[name].hide is not Objective.hide]
        if hiders:
            seen[0], hidden[0] = self._objective(hiders[0]).hide(batches[0], hide_key)
        together = jax.tree.map(lambda *a: jnp.concatenate(a), *seen) if len(seen) > 1 else seen[0]
        encoded = self.encoder(together, dropout_key)
        size = batches[0].size
        parts = [jax.tree.map(lambda a, i=i: a[i * size : (i + 1) * size], encoded) for i in range(len(seen))]
        return tuple(View(*fields) for fields in zip(batches, seen, hidden, parts, strict=True))
