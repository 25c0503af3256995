"""Edges: a score for pairs of tokens, the same whichever of the two comes first.

Axes: B batch, N tokens, P pairs of each example, D width, K width of the hidden layer, E pair features.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from foundation.batch import Tokens
from foundation.models.heads import HeadConfig
from foundation.models.layers import drop
from foundation.physics import delta_phi, pair_features, safe_sqrt
from foundation.schema import Modality

FLOOR = 1e-6  # of the arguments of logarithms


def all_pairs(tokens: int) -> Int[Array, "P 2"]:
    """Every pair (i, j) of `tokens` tokens with i < j."""
    return jnp.stack(jnp.triu_indices(tokens, k=1), axis=1).astype(jnp.int32)


class EdgeHead(nnx.Module):
    """Two token vectors and their pair features -> one logit.

    What the hidden layer sees of tokens a and b is W (a + b) + |V (a - b)| + U features: exact under their exchange.
    Without a hidden layer it is the sum, the absolute difference and the features, weighed linearly.
    """

    def __init__(self, width: int, modality: Modality, config: HeadConfig, *, rngs: nnx.Rngs):
        self.dropout, self.places = config.dropout, places(modality)
        features = pair_width(self.places)
        small = nnx.initializers.normal(1e-2)
        inner = config.hidden or 2 * width + features
        self.sum = nnx.Linear(width, inner, rngs=rngs) if config.hidden else None
        self.difference = nnx.Linear(width, inner, use_bias=False, rngs=rngs) if config.hidden else None
        self.features = nnx.Linear(features, inner, use_bias=False, rngs=rngs) if config.hidden and features else None
        self.out = nnx.Linear(inner, 1, kernel_init=small, rngs=rngs)

    def __call__(
        self,
        tokens_BND: Float[Array, "B N D"],
        inputs: Tokens,
        pairs: Int[Array, "B P 2"],
        key: Array | None = None,
    ) -> Float[Array, "B P"]:
        """Logits that the two tokens of each pair belong together.

        Args:
            inputs: the modality's raw values, for the pair features.
            pairs: positions of the tokens.
        """
        x = tokens_BND.astype(jnp.float32)
        of_pairs = pair_values(inputs, self.places, pairs)
        if self.sum is None or self.difference is None:
            a, b = _ends(x, pairs)
            return self.out(jnp.concatenate([a + b, jnp.abs(a - b), of_pairs], axis=-1))[..., 0]
        (a, b), (c, d) = _ends(self.sum(x), pairs), _ends(self.difference(x), pairs)
        hidden = a + b + jnp.abs(c - d)
        if self.features is not None:
            hidden = hidden + self.features(of_pairs)
        return self.out(drop(jax.nn.gelu(hidden), self.dropout, key))[..., 0]


Places = tuple[tuple[str, int], ...]  # coordinate, position of its feature


def places(modality: Modality) -> Places:
    """Where the coordinates of a modality are."""
    return tuple((name, modality.index(feature)) for name, feature in modality.coordinates.items())


def pair_width(where: Places) -> int:
    """How many pair features `pair_values` finds."""
    known = set(dict(where))
    return 4 if {"pt", "eta", "phi"} <= known else 5 if {"x", "y", "z"} <= known else 0


def pair_values(inputs: Tokens, where: Places, pairs: Int[Array, "B P 2"]) -> Float[Array, "B P E"]:
    """What is known of a pair from the coordinates of its tokens; every one the same under their exchange.

    With pt, eta and phi: ln deltaR, ln kT, ln z, ln m^2 (arXiv:2202.03772). With x, y and z, of hits: logarithms of the
    distance, of the differences in radius and azimuth, of where the line through both crosses the beam (|z0|), and of
    the change of azimuth with radius, which is a track's curvature. Without either: none.
    """
    at = {name: inputs.values[..., position] for name, position in where}
    if {"pt", "eta", "phi"} <= at.keys():
        ends = (jnp.stack(_ends(at[c], pairs), axis=-1).reshape(-1, 2) for c in ("pt", "eta", "phi"))
        pt, eta, phi = ends
        found = pair_features(pt, eta, phi, None, jnp.ones(pt.shape, bool))[:, 0, 1]
        return found.reshape(*pairs.shape[:2], -1)
    if {"x", "y", "z"} <= at.keys():
        return _of_hits(*(_ends(at[c], pairs) for c in ("x", "y", "z")))
    return jnp.zeros((*pairs.shape[:2], 0))


Ends = tuple[Float[Array, "B P ..."], Float[Array, "B P ..."]]


def _of_hits(x: Ends, y: Ends, z: Ends) -> Float[Array, "B P 5"]:
    r = tuple(safe_sqrt(x[i] ** 2 + y[i] ** 2) for i in (0, 1))
    outward = jnp.abs(r[0] - r[1])
    turn = jnp.abs(delta_phi(jnp.arctan2(y[0], x[0]), jnp.arctan2(y[1], x[1])))
    distance = safe_sqrt((x[0] - x[1]) ** 2 + (y[0] - y[1]) ** 2 + (z[0] - z[1]) ** 2)
    step = jnp.maximum(outward, FLOOR)
    crossing = jnp.abs(z[0] * r[1] - z[1] * r[0]) / step
    found = jnp.stack([distance, outward, turn, crossing, turn / step], axis=-1)
    return jnp.log(jnp.maximum(found, FLOOR))


def _ends(x: Float[Array, "B N ..."], pairs: Int[Array, "B P 2"]) -> Ends:
    """The values of the first and of the second token of each pair."""
    if x.ndim == 3:
        return jnp.take_along_axis(x, pairs[..., :1], axis=1), jnp.take_along_axis(x, pairs[..., 1:], axis=1)
    return jnp.take_along_axis(x, pairs[..., 0], axis=1), jnp.take_along_axis(x, pairs[..., 1], axis=1)
