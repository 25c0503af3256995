"""Normalised autoencoder: the restoring error as the energy of a density, so that nothing else is restored well.

Dillon et al., A normalized autoencoder for LHC triggers, arXiv:2206.14225; Yoon, Noh and Park, arXiv:2105.05735.
Axes: B crossings, D their numbers, Z of the latent sphere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Method, weighted_mean, width_of
from finetune.anomaly.methods.layers import Dense
from finetune.anomaly.vectors import Vectors
from foundation.errors import ConfigError
from foundation.step import Carried

EDGE = 10.0  # inputs are clipped there: chains stay where crossings can be


@dataclass(frozen=True)
class Langevin:
    """A chain: x <- x - step dE/dx + noise, its stationary density exp(-E / T) of temperature T = noise^2 / (2 step).

    Attributes:
        steps: of the chain.
        step: of the squared distance that is the energy here.
        noise: deviation.
        clip: at most, of the length that a gradient moves the chain by in one step.
    """

    steps: int = 10
    step: float = 0.1
    noise: float = 0.05
    clip: float = 0.5


@dataclass(frozen=True)
class NAEConfig:
    """A normalised autoencoder of dense layers, its latent space a sphere.

    Attributes:
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent: dimensions of the space that has the sphere in it.
        pretrain: steps as a plain autoencoder, before its energy is normalised.
        latent_chain: on-manifold initialisation: a chain on the sphere, of the energy of what is decoded there.
        chain: from there on, in the space of the inputs.
        buffer: ends of latent chains that are kept, from which later ones start.
        replay: share of chains that start there; the others start anywhere on the sphere.
        gamma: weight of the squared energies of crossings and of the chains' ends, which keeps them from growing
            together without limit, their difference being the same.
    """

    hidden: tuple[int, ...] = (64, 32)
    latent: int = 8
    pretrain: int = 500
    latent_chain: Langevin = Langevin(10, 0.05, 0.1, 0.2)
    chain: Langevin = Langevin(10, 0.1, 0.05, 0.5)
    buffer: int = 10_000
    replay: float = 0.95
    gamma: float = 0.5


class NAE(Method):
    """Score: squared distance of a crossing to what is restored of it, as of `autoencoder`.

    A plain autoencoder is never told what it must not restore, and often restores simple crossings that do not occur.
    Here the energy of crossings is lowered and that of samples of exp(-energy) raised, until the two agree.
    """

    def __init__(self, shape: tuple[int, ...], config: NAEConfig, *, rngs: nnx.Rngs):
        width = width_of(shape, "nae", *config.hidden, config.latent, config.buffer)
        if config.latent < 2 or not 0 <= config.replay <= 1 or min(config.pretrain, config.gamma) < 0:
            raise ConfigError(f"nae: needs latent of 2 or more, replay from 0 to 1, no negative number; {config}")
        self.config = config
        self.encoder = Dense((width, *config.hidden, config.latent), rngs=rngs)
        self.decoder = Dense((config.latent, *config.hidden[::-1], width), rngs=rngs)
        self.steps = Carried(jnp.zeros((), jnp.int32))
        self.chains = Carried(on_sphere(jax.random.normal(rngs.params(), (config.buffer, config.latent))))

    def restored(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        return self.decoder(on_sphere(self.encoder(x)))

    def loss(self, batch: Vectors, key: jax.Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Difference of mean energies of crossings and of samples (eq. 8 of arXiv:2105.05735), energies per number.

        The samples are drawn with the parameters held, from a key, so that a resumed training sees the same ones.
        """
        config, width = self.config, batch.x.shape[1]
        normalizing = self.steps[...] >= config.pretrain
        self.steps[...] = self.steps[...] + 1
        graph, state = nnx.split(self)
        held = nnx.merge(graph, jax.lax.stop_gradient(state))
        rows = min(len(batch.x), config.buffer)
        start, latent_key, input_key = jax.random.split(key, 3)
        places, first = self._first(start, rows)
        latent, samples = jax.lax.cond(
            normalizing,
            lambda: held.sampled(first, latent_key, input_key),
            lambda: (first, jnp.zeros((rows, width))),
        )
        self.chains[...] = self.chains[...].at[places].set(jnp.where(normalizing, latent, self.chains[...][places]))
        found = self.scores(batch.x)["score"] / width
        positive = weighted_mean(found, batch.weights)
        energies = self.scores(samples)["score"] / width
        negative = jnp.where(normalizing, energies.mean(), 0.0)
        squares = weighted_mean(jnp.square(found), batch.weights) + jnp.square(energies).mean()
        limit = jnp.where(normalizing, squares, 0.0)
        terms = {"energy/crossings": positive, "energy/samples": negative}
        return positive - negative + config.gamma * limit, terms

    def _first(self, key: jax.Array, rows: int) -> tuple[Array, Float[Array, "B Z"]]:
        """Places in the buffer, one after another from a random one on, and the chains' first points."""
        place_key, new_key, kind_key = jax.random.split(key, 3)
        config = self.config
        places = (jax.random.randint(place_key, (), 0, config.buffer) + jnp.arange(rows)) % config.buffer
        new = on_sphere(jax.random.normal(new_key, (rows, config.latent)))
        replayed = jax.random.uniform(kind_key, (rows, 1)) < config.replay
        return places, jnp.where(replayed, self.chains[...][places], new)

    def sampled(
        self, first: Float[Array, "B Z"], latent_key: jax.Array, input_key: jax.Array
    ) -> tuple[Float[Array, "B Z"], Float[Array, "B D"]]:
        """Ends of the latent chains, and of the chains that start where those are decoded."""

        def energy(x: Float[Array, "B D"]) -> Float[Array, ""]:
            return self.scores(x)["score"].sum()

        def inside(x: Float[Array, "B D"]) -> Float[Array, "B D"]:
            return jnp.clip(x, -EDGE, EDGE)

        config = self.config
        latent = chain(lambda z: energy(self.decoder(z)), first, config.latent_chain, latent_key, on_sphere)
        return latent, chain(energy, inside(self.decoder(latent)), config.chain, input_key, inside)

    def scores(self, x: Float[Array, "B D"]) -> dict[str, Float[Array, " B"]]:
        return {"score": jnp.square(self.restored(x) - x).sum(axis=-1)}


def on_sphere(z: Float[Array, "B Z"]) -> Float[Array, "B Z"]:
    """The direction of each vector; finite for zero, too."""
    return z * jax.lax.rsqrt(jnp.square(z).sum(axis=-1, keepdims=True) + 1e-12)


def chain(
    energy: Callable[[Array], Array],
    first: Float[Array, "B L"],
    config: Langevin,
    key: jax.Array,
    held: Callable[[Array], Array],
) -> Float[Array, "B L"]:
    """Ends of Langevin chains without rejection.

    Args:
        energy: sum of the energies of all chains' points.
        held: brings a point back to where crossings can be.
    """

    def step(x: Array, key: jax.Array) -> tuple[Array, None]:
        move = config.step * jax.grad(energy)(x)
        length = jnp.sqrt(jnp.square(move).sum(axis=-1, keepdims=True) + 1e-12)
        move = move * jnp.minimum(1.0, config.clip / length)
        return held(x - move + config.noise * jax.random.normal(key, x.shape)), None

    return jax.lax.scan(step, first, jax.random.split(key, config.steps))[0]
