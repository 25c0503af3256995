"""P-CNN: a ResNet of one-dimensional convolutions over the particles by descending pt (CMS DP-2017/049; the sizes are
those of arXiv:1902.08570 and arXiv:2202.03772): 354 k parameters with 17 features and 10 classes.

The papers' batch normalisation is a layer normalisation over the channels here: it keeps the number of parameters and
needs no statistics of other examples. Axes: B batch, N tokens, D channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from foundation.batch import TokenBatch
from foundation.errors import ConfigError
from foundation.models.encoder import Encoded, StatisticsOf
from foundation.models.references.inputs import ExampleInput, TokenInput
from foundation.schema import DetectorSchema


@dataclass(frozen=True)
class PCNNConfig:
    """P-CNN.

    Attributes:
        channels: of the first convolution, then of each stage; from the second stage on, each halves the length.
        units: residual units of two convolutions in a stage.
        hidden: width of the layer between the convolutions and the last linear layer (the head).
    """

    channels: tuple[int, ...] = (32, 64, 64, 128)
    units: int = 2
    hidden: int = 512


class Unit(nnx.Module):
    """Two convolutions of three neighbours beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, rngs: nnx.Rngs):
        self.stride = stride
        self.first = nnx.Conv(inputs, outputs, 3, strides=stride, padding=1, rngs=rngs)
        self.second = nnx.Conv(outputs, outputs, 3, padding=1, rngs=rngs)
        self.norm_first = nnx.LayerNorm(outputs, rngs=rngs)
        self.norm_second = nnx.LayerNorm(outputs, rngs=rngs)
        alike = inputs == outputs and stride == 1
        self.shortcut = None if alike else nnx.Conv(inputs, outputs, 1, strides=stride, use_bias=False, rngs=rngs)

    def __call__(
        self, x_BND: Float[Array, "B N D"], mask_BN: Bool[Array, "B N"]
    ) -> tuple[Float[Array, "B M E"], Bool[Array, "B M"]]:
        kept_BM = mask_BN[:, :: self.stride]
        there_BM1 = kept_BM[..., None]
        y = jnp.where(there_BM1, jax.nn.relu(self.norm_first(self.first(x_BND))), 0.0)
        y = jax.nn.relu(self.norm_second(self.second(y)))
        shortcut = x_BND if self.shortcut is None else self.shortcut(x_BND)
        return jnp.where(there_BM1, y + shortcut, 0.0), kept_BM


class PCNN(nnx.Module):
    """Real tokens come first whatever the padding: by pt where every modality has one, else in the order of the schema.

    Absent tokens stay zero through all layers. The mean is taken over the places that the schema's longest example
    fills, empty ones counting as zeros: the papers pad all jets to one length. Strides leave no token a vector of its
    own, so `Encoded.tokens` is zero.

    Raises:
        ConfigError: fewer than two numbers of channels.
    """

    def __init__(
        self, schema: DetectorSchema, statistics: StatisticsOf, config: PCNNConfig, embed: int, *, rngs: nnx.Rngs
    ):
        if len(config.channels) < 2:
            raise ConfigError(f"references.pcnn.channels needs two numbers or more; it is {list(config.channels)}")
        self.schema, self.config, self.width = schema, config, config.hidden
        self.tokens = TokenInput(schema, statistics, embed, rngs=rngs)
        self.example = ExampleInput(schema, statistics, config.channels[-1], rngs=rngs)
        self.pt = tuple(modality.coordinate_index("pt") for modality in schema.modalities.values())
        self.places = sum(m.capacity for m in schema.modalities.values()) / 2 ** (len(config.channels) - 2)
        self.first = nnx.Conv(self.tokens.width, config.channels[0], 3, padding=1, rngs=rngs)
        self.norm = nnx.LayerNorm(config.channels[0], rngs=rngs)
        units = []
        for stage, (before, after) in enumerate(zip(config.channels, config.channels[1:])):
            for number in range(config.units):
                stride = 2 if stage and not number else 1
                units.append(Unit(after if number else before, after, stride, rngs=rngs))
        self.units = nnx.List(units)
        self.hidden = nnx.Linear(config.channels[-1], config.hidden, rngs=rngs)

    def __call__(self, batch: TokenBatch, key: Array | None = None) -> Encoded:
        """Embeds a batch; the papers' drop-out before the last layer is the head's."""
        x_BND, mask_BN = self.tokens(batch)
        order_BN = self._order(batch, mask_BN)
        x_BND = jnp.take_along_axis(x_BND, order_BN[..., None], axis=1)
        there_BM = jnp.take_along_axis(mask_BN, order_BN, axis=1)
        x_BND = jnp.where(there_BM[..., None], jax.nn.relu(self.norm(self.first(x_BND))), 0.0)
        for unit in self.units:
            x_BND, there_BM = unit(x_BND, there_BM)
        pooled_BD = jax.nn.relu(self.hidden(x_BND.sum(axis=1) / self.places + self.example(batch)))
        return Encoded(jnp.zeros((*mask_BN.shape, self.width)), pooled_BD, mask_BN, pooled_BD)

    def _order(self, batch: TokenBatch, mask_BN: Bool[Array, "B N"]) -> Array:
        """Places of the tokens in the order of the convolutions."""
        if None in self.pt:
            return jnp.argsort(~mask_BN, axis=1, stable=True)
        values = [jnp.asarray(batch.modalities[n].values)[..., at] for n, at in zip(self.tokens.names, self.pt)]
        falling_BN = jnp.where(mask_BN, -jnp.concatenate(values, axis=1), jnp.inf)
        return jnp.argsort(falling_BN, axis=1, stable=True)
