"""LorentzNet (arXiv:2201.08187): messages of Lorentz invariants, so that what it says of a jet does not depend on the
frame. 224 k parameters as in its paper (top tagging: no further scalars, two classes).

Deviations: layer for batch normalisation, which keeps the number of parameters and needs no statistics of other
examples; the mean of the tokens is over real ones. Axes: B batch, N tokens, D width, S scalars, 4 (E, px, py, pz).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from foundation.batch import TokenBatch
from foundation.errors import ConfigError, close_names
from foundation.models.encoder import Encoded, FeatureInput, StatisticsOf
from foundation.models.references.inputs import Directions, comparable, mask_of, masked_mean
from foundation.physics import invariant_mass, momentum_of
from foundation.schema import DetectorSchema, Modality

BEAMS = ((1.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, -1.0))
METRIC = (1.0, -1.0, -1.0, -1.0)


@dataclass(frozen=True)
class LorentzNetConfig:
    """LorentzNet. It sees four-momenta, the features named in `scalars`, and nothing else, no globals either.

    Attributes:
        width: of the messages and of a token's scalars.
        layers: rounds of messages.
        step: by how much messages move the four-momenta.
        beams: add the two beams as particles, as in the paper. That singles out the beam axis: rotations about it leave
            the result as it is, boosts and other rotations do not. Without, all do.
        scalars: features of tokens that do not change under Lorentz transformations: charge, kind of particle.
    """

    width: int = 72
    layers: int = 6
    step: float = 0.005
    beams: bool = True
    scalars: tuple[str, ...] = ()


def inner(a: Float[Array, "*#s 4"], b: Float[Array, "*#s 4"]) -> Float[Array, "*s"]:
    """The Minkowski product."""
    return jnp.sum(a * b * jnp.asarray(METRIC), axis=-1)


def squeeze(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """sign(x) ln(1 + |x|): products of momenta span many orders of magnitude."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


class Messages(nnx.Module):
    """One Lorentz group equivariant block.

    Senders are taken one after another and worked out again for the gradient: memory is that of the tokens, not of the
    pairs.
    """

    def __init__(self, width: int, scalars: int, step: float, last: bool, *, rngs: nnx.Rngs):
        self.step = step

        def linear(inputs: int, outputs: int, bias: bool = True) -> nnx.Linear:
            return nnx.Linear(inputs, outputs, use_bias=bias, rngs=rngs)

        # Together the first layer of the network of an edge: (h_i, h_j, |x_i - x_j|^2, x_i x_j) -> D
        self.receiver, self.sender = linear(width, width, False), linear(width, width, False)
        self.invariants = linear(2, width, False)
        self.norm_edge, self.edge = nnx.LayerNorm(width, rngs=rngs), linear(width, width)
        self.gate = linear(width, 1)
        self.update = linear(2 * width + scalars, width)
        self.norm_update, self.update_out = nnx.LayerNorm(width, rngs=rngs), linear(width, width)
        small = nnx.initializers.normal(1e-3 / width**0.5)
        self.move = None if last else linear(width, width)
        self.move_out = None if last else nnx.Linear(width, 1, use_bias=False, kernel_init=small, rngs=rngs)

    def __call__(
        self,
        h_BND: Float[Array, "B N D"],
        x_BN4: Float[Array, "B N 4"],
        scalars_BNS: Float[Array, "B N S"],
        edges_BNN: Bool[Array, "B N N"],
    ) -> tuple[Float[Array, "B N D"], Float[Array, "B N 4"]]:
        receiver_BND, sender_BND = self.receiver(h_BND), self.sender(h_BND)

        @jax.checkpoint
        def message(sender_BD: Array, x_B4: Array, there_BN: Array) -> tuple[Array, Array]:
            away_BN4 = x_BN4 - x_B4[:, None]
            products = jnp.stack([squeeze(inner(away_BN4, away_BN4)), squeeze(inner(x_BN4, x_B4[:, None]))], axis=-1)
            m = jax.nn.relu(self.norm_edge(receiver_BND + sender_BD[:, None] + self.invariants(products)))
            m = jax.nn.relu(self.edge(m))
            m = jnp.where(there_BN[..., None], m * jax.nn.sigmoid(self.gate(m)), 0.0)
            if self.move is None or self.move_out is None:
                return m, jnp.zeros_like(away_BN4)
            moved = jnp.clip(away_BN4 * self.move_out(jax.nn.relu(self.move(m))), -100, 100)
            return m, jnp.where(there_BN[..., None], moved, 0.0)

        def add(total: tuple[Array, Array], sender: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
            m, moved = message(*sender)
            return (total[0] + m, total[1] + moved), None

        start = (jnp.zeros_like(h_BND), jnp.zeros_like(x_BN4))
        senders = (jnp.swapaxes(sender_BND, 0, 1), jnp.swapaxes(x_BN4, 0, 1), jnp.moveaxis(edges_BNN, 2, 0))
        (heard_BND, moved_BN4), _ = jax.lax.scan(add, start, senders)
        count_BN1 = jnp.maximum(edges_BNN.sum(axis=2), 1)[..., None]
        update = self.update(jnp.concatenate([h_BND, heard_BND, scalars_BNS], axis=-1))
        h_BND = h_BND + self.update_out(jax.nn.relu(self.norm_update(update)))
        return h_BND, x_BN4 + self.step * moved_BN4 / count_BN1


class LorentzNet(nnx.Module):
    """Directions relative to a jet axis are those of a frame of their own, in which particles are taken as massless.

    Raises:
        ConfigError: no modality has pt, eta and phi, or one of `scalars` is a feature of none.
    """

    def __init__(self, schema: DetectorSchema, statistics: StatisticsOf, config: LorentzNetConfig, *, rngs: nnx.Rngs):
        self.schema, self.config, self.width = schema, config, config.width
        self.names = tuple(schema.modalities)
        self.directions = Directions.of(schema, ("pt", "eta", "phi"), "lorentznet")
        known = {feature for modality in schema.modalities.values() for feature in modality.features}
        for name in config.scalars:
            if name not in known:
                raise ConfigError(f"references.lorentznet.scalars: no feature '{name}'; {close_names(name, known)}")
        self.inputs = nnx.Dict({n: FeatureInput(m.features, *statistics[n]) for n, m in schema.modalities.items()})
        self.heavy = tuple(_mass_coordinate(modality) for modality in schema.modalities.values())
        size = 1 + config.beams + len(config.scalars)
        self.embed = nnx.Linear(size, config.width, rngs=rngs)
        self.blocks = nnx.List(
            [
                Messages(config.width, size, config.step, number == config.layers - 1, rngs=rngs)
                for number in range(config.layers)
            ]
        )
        self.hidden = nnx.Linear(config.width, config.width, rngs=rngs)

    def __call__(self, batch: TokenBatch, key: Array | None = None) -> Encoded:
        """Embeds a batch; the paper's drop-out before the last layer is the head's."""
        (pt_BN, eta_BN, phi_BN), frame_N = self.directions(batch)
        mask_BN = mask_of(batch, self.names) & jnp.asarray(frame_N > 0)
        x_BN4, mass_BN = self.momenta(batch, {"pt": pt_BN, "eta": eta_BN, "phi": phi_BN})
        x_BN4 = jnp.where(mask_BN[..., None], x_BN4, 0.0)
        scalars_BNS = jnp.where(mask_BN[..., None], self._scalars(batch, mass_BN), 0.0)
        edges_BNN = comparable(frame_N, mask_BN)
        encoded = self.encode(x_BN4, scalars_BNS, mask_BN, edges_BNN)
        return Encoded(encoded.tokens, encoded.pooled, mask_of(batch, self.names), encoded.pooled)

    def encode(
        self,
        x_BN4: Float[Array, "B N 4"],
        scalars_BNS: Float[Array, "B N S"],
        mask_BN: Bool[Array, "B N"],
        edges_BNN: Bool[Array, "B N N"],
    ) -> Encoded:
        """Of four-momenta (GeV) and invariant scalars: a function of Minkowski products where there are no beams."""
        length, real_BN = x_BN4.shape[1], mask_BN
        if self.config.beams:
            x_BN4, scalars_BNS, mask_BN, edges_BNN = _with_beams(x_BN4, scalars_BNS, mask_BN, edges_BNN)
        edges_BNN = edges_BNN & ~jnp.eye(x_BN4.shape[1], dtype=bool)
        h_BND = self.embed(scalars_BNS)
        for block in self.blocks:
            h_BND, x_BN4 = block(h_BND, x_BN4, scalars_BNS, edges_BNN)
        tokens_BND = jnp.where(real_BN[..., None], h_BND[:, :length], 0.0)
        pooled_BD = jax.nn.relu(self.hidden(masked_mean(tokens_BND, real_BN)))
        return Encoded(tokens_BND, pooled_BD, real_BN, pooled_BD)

    def momenta(
        self, batch: TokenBatch, parts: dict[str, Float[Array, "B N"]]
    ) -> tuple[Float[Array, "B N 4"], Float[Array, "B N"]]:
        """Four-momenta and masses; massless where the frame is a jet's or there is neither energy nor mass.

        A mass that is known is not worked out of the momentum again, which float32 leaves too few digits for.
        """
        momenta, masses, start = [], [], 0
        for name, heavy in zip(self.names, self.heavy):
            values_BNF = jnp.asarray(batch.modalities[name].values)
            stop = start + values_BNF.shape[1]
            own = {key: value[:, start:stop] for key, value in parts.items()}
            start = stop
            extra = {} if heavy is None else {heavy[0]: values_BNF[..., heavy[1]]}
            momenta.append(momentum_of(own | extra))
            known = extra.get("mass", jnp.zeros(values_BNF.shape[:2]))
            masses.append(invariant_mass(momenta[-1]) if "energy" in extra else known)
        return jnp.concatenate(momenta, axis=1), jnp.concatenate(masses, axis=1)

    def _scalars(self, batch: TokenBatch, mass_BN: Float[Array, "B N"]) -> Float[Array, "B N S"]:
        """The mass, whether it is a beam (never, here), and the features named; 0 where a modality lacks one."""
        mass_BN = squeeze(mass_BN)
        columns = [mass_BN, jnp.zeros_like(mass_BN)] if self.config.beams else [mass_BN]
        standard = {name: self.inputs[name](jnp.asarray(batch.modalities[name].values)) for name in self.names}
        for scalar in self.config.scalars:
            features = {name: list(self.schema.modalities[name].features) for name in self.names}
            parts = [
                x[..., features[name].index(scalar)] if scalar in features[name] else jnp.zeros(x.shape[:2])
                for name, x in standard.items()
            ]
            columns.append(jnp.concatenate(parts, axis=1))
        return jnp.stack(columns, axis=-1)


def _mass_coordinate(modality: Modality) -> tuple[str, int] | None:
    """Energy or mass of tokens and its place, where eta and phi are not relative to a jet axis."""
    found = ((name, modality.coordinate_index(name)) for name in ("energy", "mass"))
    return None if modality.relative else next(((name, at) for name, at in found if at is not None), None)


def _with_beams(
    x_BN4: Float[Array, "B N 4"],
    scalars_BNS: Float[Array, "B N S"],
    mask_BN: Bool[Array, "B N"],
    edges_BNN: Bool[Array, "B N N"],
) -> tuple[Float[Array, "B M 4"], Float[Array, "B M S"], Bool[Array, "B M"], Bool[Array, "B M M"]]:
    """Two more particles, of no mass, that have an edge with every real one and with each other."""
    size, pad = len(x_BN4), ((0, 0), (0, 2))
    beams_B24 = jnp.broadcast_to(jnp.asarray(BEAMS), (size, 2, 4))
    flags_B2S = jnp.zeros((size, 2, scalars_BNS.shape[2])).at[..., 1].set(1.0)
    mask_BM = jnp.pad(mask_BN, pad, constant_values=True)
    beam_M = jnp.arange(mask_BM.shape[1]) >= mask_BN.shape[1]
    edges_BMM = jnp.pad(edges_BNN, (*pad, (0, 2))) | (
        (beam_M[:, None] | beam_M[None, :]) & mask_BM[:, :, None] & mask_BM[:, None, :]
    )
    x_BM4, scalars_BMS = jnp.concatenate([x_BN4, beams_B24], axis=1), jnp.concatenate([scalars_BNS, flags_B2S], axis=1)
    return x_BM4, scalars_BMS, mask_BM, edges_BMM
