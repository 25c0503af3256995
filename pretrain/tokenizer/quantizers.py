"""Token -> code -> token, in standardised features: k-means, and a vector-quantised autoencoder.

Axes: B examples, N tokens, E described features, C codes, K numbers of a code, W width, T tokens of a sample.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from foundation.errors import ConfigError
from foundation.models.encoder import Statistics
from foundation.models.layers import Block
from pretrain.tokenizer.settings import VqvaeConfig


class KMeans(nnx.Module):
    """The code of a token is its nearest centre."""

    def __init__(self, features: int, codes: int):
        self.centres = Statistics(jnp.zeros((codes, features)))

    def learn(self, sample: Float[np.ndarray, "T E"], seed: int) -> None:
        """Clusters a sample (Sculley, "Web-scale k-means clustering", 2010).

        Raises:
            ConfigError: it has fewer different tokens than there are codes.
        """
        from sklearn.cluster import MiniBatchKMeans

        codes, different = len(self.centres[...]), len(np.unique(sample, axis=0))
        if different < codes:
            raise ConfigError(f"{different} different tokens cannot make {codes} clusters; lower codes or codes_of")
        fitted = MiniBatchKMeans(codes, random_state=seed, n_init=1, batch_size=8192, max_iter=30).fit(sample)
        self.centres[...] = jnp.asarray(fitted.cluster_centers_, jnp.float32)

    def encode(self, x_BNE: Float[Array, "B N E"], mask_BN: Bool[Array, "B N"]) -> Int[Array, "B N"]:
        return jnp.argmin(_distances(x_BNE, self.centres[...]), axis=-1)

    def decode(self, codes_BN: Int[Array, "B N"], mask_BN: Bool[Array, "B N"]) -> Float[Array, "B N E"]:
        return self.centres[...][codes_BN]


class Vqvae(nnx.Module):
    """Vector-quantised autoencoder (arXiv:1711.00937) of tokens, with or without regard to those around them."""

    def __init__(self, features: int, codes: int, config: VqvaeConfig, *, rngs: nnx.Rngs):
        self.commitment = config.commitment
        self.encoder = TokenNetwork(features, config.code_width, config, rngs=rngs)
        self.decoder = TokenNetwork(config.code_width, features, config, rngs=rngs)
        self.codebook = nnx.Param(nnx.initializers.normal(0.5)(rngs.params(), (codes, config.code_width)))

    def encode(self, x_BNE: Float[Array, "B N E"], mask_BN: Bool[Array, "B N"]) -> Int[Array, "B N"]:
        return jnp.argmin(_distances(self.encoder(x_BNE, mask_BN), self.codebook[...]), axis=-1)

    def decode(self, codes_BN: Int[Array, "B N"], mask_BN: Bool[Array, "B N"]) -> Float[Array, "B N E"]:
        return self.decoder(self.codebook[...][codes_BN], mask_BN)

    def loss(
        self, x_BNE: Float[Array, "B N E"], weights_BN: Float[Array, "B N"]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Reconstruction through the quantised code (straight through), codebook, commitment and revival.

        Revival: a code that no token of the batch uses is drawn to the token nearest to it, until it is used. It is
        part of the gradient, so that the plain training loop, its checkpoints included, need know nothing of it.

        Args:
            weights_BN: of the tokens; 0 where there is none.
        """
        mask_BN = weights_BN > 0
        z_BNK = self.encoder(x_BNE, mask_BN)
        distance_BNC = jax.lax.stop_gradient(_distances(z_BNK, self.codebook[...]))
        codes_BN = jnp.argmin(distance_BNC, axis=-1)
        code_BNK = self.codebook[...][codes_BN]
        straight_BNK = z_BNK + jax.lax.stop_gradient(code_BNK - z_BNK)
        restored_BNE = self.decoder(straight_BNK, mask_BN)

        def mean(error_BN: Float[Array, "B N"]) -> Float[Array, ""]:
            return jnp.sum(error_BN * weights_BN) / jnp.maximum(jnp.sum(weights_BN), 1e-6)

        reconstruction = mean(optax.losses.huber_loss(restored_BNE, x_BNE).mean(axis=-1))
        codebook = mean(jnp.sum((jax.lax.stop_gradient(z_BNK) - code_BNK) ** 2, axis=-1))
        commitment = mean(jnp.sum((z_BNK - jax.lax.stop_gradient(code_BNK)) ** 2, axis=-1))
        unused_C, revival = self._revival(z_BNK, codes_BN, distance_BNC, mask_BN)
        loss = reconstruction + codebook + self.commitment * commitment + revival
        return loss, {"reconstruction": reconstruction, "commitment": commitment, "unused": unused_C.mean()}

    def _revival(
        self,
        z_BNK: Float[Array, "B N K"],
        codes_BN: Int[Array, "B N"],
        distance_BNC: Float[Array, "B N C"],
        mask_BN: Bool[Array, "B N"],
    ) -> tuple[Float[Array, " C"], Float[Array, ""]]:
        """Which codes are unused, and the mean squared distance of those to their nearest token."""
        count = self.codebook[...].shape[0]
        used_C = jnp.zeros(count).at[codes_BN.ravel()].add(mask_BN.ravel())
        unused_C = jnp.where((used_C == 0) & mask_BN.any(), 1.0, 0.0)
        length_BN1 = jnp.sum(z_BNK**2, axis=-1, keepdims=True)
        far_BNC = jnp.where(mask_BN[..., None], distance_BNC + length_BN1, jnp.inf)
        nearest_C = jnp.argmin(far_BNC.reshape(-1, count), axis=0)
        goal_CK = jax.lax.stop_gradient(z_BNK.reshape(-1, z_BNK.shape[-1])[nearest_C])
        error_C = jnp.sum((self.codebook[...] - goal_CK) ** 2, axis=-1)
        return unused_C, jnp.sum(unused_C * error_C) / jnp.maximum(unused_C.sum(), 1.0)


class TokenNetwork(nnx.Module):
    """Per token: linear, GELU, linear, GELU, transformer blocks over the example's tokens if any, linear."""

    def __init__(self, inputs: int, outputs: int, config: VqvaeConfig, *, rngs: nnx.Rngs):
        width = config.width
        self.first = nnx.Linear(inputs, width, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.blocks = nnx.List(
            [
                Block(width, config.heads, 2 * width, dropout=0.0, dtype=jnp.dtype("float32"), rngs=rngs)
                for _ in range(config.layers)
            ]
        )
        self.out = nnx.Linear(width, outputs, rngs=rngs)

    def __call__(self, x: Float[Array, "B N I"], mask_BN: Bool[Array, "B N"]) -> Float[Array, "B N O"]:
        x_BNW = jax.nn.gelu(self.second(jax.nn.gelu(self.first(x))))
        for block in self.blocks:
            x_BNW = block(x_BNW, mask_BN)
        return self.out(x_BNW)


def _distances(x: Float[Array, "B N K"], centres_CK: Float[Array, "C K"]) -> Float[Array, "B N C"]:
    """Squared distances less |x|^2, which does not decide which is nearest."""
    return jnp.sum(centres_CK**2, axis=-1) - 2 * x @ centres_CK.T
