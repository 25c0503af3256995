"""Which tokens the encoder does not get to see.

Axes: B batch, N tokens of a modality, T tokens of several, M modalities, P predictions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError, close_names
from foundation.physics import delta_phi
from foundation.schema import DetectorSchema

Masks = dict[str, Bool[Array, "B _"]]
WAYS = ("tokens", "regions", "modality", "cross")


@dataclass(frozen=True)
class HidingConfig:
    """How tokens are chosen to be hidden: each example draws one way, in proportion to the shares.

    An example in which the way it drew is impossible (regions without coordinates, a modality hidden when it has only
    one) has random tokens hidden instead. One token at least always stays.

    Attributes:
        tokens: share of random tokens, each hidden with probability `masked.fraction`.
        regions: share of regions: every token within `radius` of a random one, in eta and phi, is hidden.
        modality: share of whole modalities: all tokens of one, drawn from those that the example has.
        cross: share of cross-modal prediction: one of `predict`, drawn from those that the example allows.
        radius: of a region.
        predict: entries `{from: [MODALITY, ...], to: [MODALITY, ...]}`: the encoder sees the tokens of `from`
            alone, and those of `to` are predicted.
    """

    tokens: float = 1.0
    regions: float = 0.0
    modality: float = 0.0
    cross: float = 0.0
    radius: float = 0.3
    predict: list[dict[str, list[str]]] = field(default_factory=list)


@dataclass(frozen=True)
class Hiding:
    """The settings, checked against a schema. Hashable, so that a model may hold it.

    Attributes:
        fraction: of random tokens.
        shares: of `WAYS`, summing to 1.
        radius: of a region.
        predict: (from, to) of each cross-modal prediction.
        coordinates: modality -> places of eta and phi among its features, and whether they are relative to a jet axis.
    """

    fraction: float
    shares: tuple[float, ...]
    radius: float
    predict: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    coordinates: tuple[tuple[str, tuple[int, int, bool]], ...]

    @staticmethod
    def checked(schema: DetectorSchema, fraction: float, config: HidingConfig) -> Hiding:
        """Raises ConfigError: shares or a fraction that cannot be, or a way that this schema does not allow."""
        shares = [getattr(config, way) for way in WAYS]
        if not 0 <= fraction <= 1 or min(shares) < 0 or sum(shares) == 0:
            given = ", ".join(f"{way} {share:g}" for way, share in zip(WAYS, shares))
            raise ConfigError(
                f"masked.fraction is {fraction:g} and the shares of masked.hide are {given}; expected a fraction in "
                "[0, 1] and shares of at least 0, not all of them 0"
            )
        found = {}
        for name, modality in schema.modalities.items():
            eta, phi = modality.coordinate_index("eta"), modality.coordinate_index("phi")
            if eta is not None and phi is not None:
                found[name] = (eta, phi, modality.relative)
        if config.regions and (not found or config.radius <= 0):
            raise ConfigError(
                f"masked.hide.regions needs a radius above 0 (it is {config.radius:g}) and a modality whose "
                f"`coordinates` name eta and phi; those of schema '{schema.name}' that do: {', '.join(found) or 'none'}"
            )
        if config.modality and len(schema.modalities) < 2:
            raise ConfigError(
                f"masked.hide.modality hides a whole modality, and schema '{schema.name}' has only "
                f"'{next(iter(schema.modalities))}'"
            )
        total = sum(shares)
        return Hiding(
            fraction,
            tuple(s / total for s in shares),
            config.radius,
            _predictions(schema, config),
            tuple(found.items()),
        )

    def __call__(self, batch: TokenBatch, key: Array) -> tuple[TokenBatch, Masks]:
        """Hides tokens of a batch.

        Returns:
            What the encoder sees, and which tokens it has to predict.
        """
        way_key, *keys = jax.random.split(key, 1 + len(WAYS))
        masks = {name: jnp.asarray(batch.modalities[name].mask) for name in sorted(batch.modalities)}
        usual = random_tokens(masks, self.fraction, keys[0])
        seen, hidden = {name: masks[name] & ~usual[name] for name in masks}, usual
        drawn_B = jax.random.choice(way_key, len(WAYS), (batch.size,), p=jnp.asarray(self.shares))
        for i, draw in enumerate((None, self._regions, self._modality, self._cross)):
            if draw is None or not self.shares[i]:
                continue
            other_seen, other_hidden, possible_B = draw(batch, masks, keys[i])
            chosen_B1 = ((drawn_B == i) & possible_B)[:, None]
            seen = {name: jnp.where(chosen_B1, other_seen[name], seen[name]) for name in masks}
            hidden = {name: jnp.where(chosen_B1, other_hidden[name], hidden[name]) for name in masks}
        return _with_masks(batch, seen), hidden

    def _regions(self, batch: TokenBatch, masks: Masks, key: Array) -> tuple[Masks, Masks, Bool[Array, " B"]]:
        """Tokens near a random one. The farthest is never hidden, so one always stays."""
        places = dict(self.coordinates)
        names = [name for name in masks if name in places]
        values = {name: jnp.asarray(batch.modalities[name].values) for name in names}
        eta_BT, phi_BT = (
            jnp.concatenate([values[n][..., places[n][axis]] for n in names], axis=1) for axis in range(2)
        )
        frame_T = jnp.concatenate([jnp.full(masks[n].shape[1], places[n][2]) for n in names])
        real_BT = jnp.concatenate([masks[n] for n in names], axis=1)
        score_BT = jnp.where(real_BT, jax.random.uniform(key, real_BT.shape), -1.0)
        centre_B1 = jnp.argmax(score_BT, axis=1, keepdims=True)
        eta_B1, phi_B1 = (jnp.take_along_axis(x, centre_B1, axis=1) for x in (eta_BT, phi_BT))
        distance_BT = jnp.hypot(eta_BT - eta_B1, delta_phi(phi_BT, phi_B1))
        distance_BT = jnp.where(frame_T[None] == frame_T[centre_B1], distance_BT, jnp.inf)  # angles to different axes
        farthest_B1 = jnp.max(jnp.where(real_BT, distance_BT, -1.0), axis=1, keepdims=True)
        hidden_BT = real_BT & (distance_BT <= self.radius) & (distance_BT < farthest_B1)
        hidden, start = {name: jnp.zeros_like(mask) for name, mask in masks.items()}, 0
        for name in names:
            hidden[name] = hidden_BT[:, start : start + masks[name].shape[1]]
            start += masks[name].shape[1]
        return {n: masks[n] & ~hidden[n] for n in masks}, hidden, real_BT.any(axis=1)

    def _modality(self, batch: TokenBatch, masks: Masks, key: Array) -> tuple[Masks, Masks, Bool[Array, " B"]]:
        """All tokens of one modality, where the example has another."""
        present_BM = jnp.stack([mask.any(axis=1) for mask in masks.values()], axis=1)
        chosen_B = jnp.argmax(jnp.where(present_BM, jax.random.uniform(key, present_BM.shape), -1.0), axis=1)
        hidden = {name: mask & (chosen_B == i)[:, None] for i, (name, mask) in enumerate(masks.items())}
        return {n: masks[n] & ~hidden[n] for n in masks}, hidden, present_BM.sum(axis=1) > 1

    def _cross(self, batch: TokenBatch, masks: Masks, key: Array) -> tuple[Masks, Masks, Bool[Array, " B"]]:
        """One of the predictions that the example has both sides of; the modalities of neither side are not seen."""
        has = {name: mask.any(axis=1) for name, mask in masks.items()}
        allowed_BP = jnp.stack([_any(has, source) & _any(has, target) for source, target in self.predict], axis=1)
        chosen_B = jnp.argmax(jnp.where(allowed_BP, jax.random.uniform(key, allowed_BP.shape), -1.0), axis=1)
        seen, hidden = {}, {}
        for name, mask in masks.items():
            source_P, target_P = (jnp.asarray([name in pair[side] for pair in self.predict]) for side in range(2))
            seen[name], hidden[name] = mask & source_P[chosen_B][:, None], mask & target_P[chosen_B][:, None]
        return seen, hidden, allowed_BP.any(axis=1)


def random_tokens(masks: Masks, fraction: float, key: Array) -> Masks:
    """Each real token with probability `fraction`, except one alone in its modality and the last one of an example."""
    names = sorted(masks)  # jit sorts the keys of a dict; eager must draw the same
    draws = {
        name: jnp.where(masks[name], jax.random.uniform(jax.random.fold_in(key, i), masks[name].shape), -1.0)
        for i, name in enumerate(names)
    }
    largest_B1 = jnp.max(jnp.concatenate([draws[name] for name in names], axis=1), axis=1, keepdims=True)
    hidden = {}
    for name in names:
        alone = jnp.sum(masks[name], axis=1, keepdims=True) < 2
        hidden[name] = masks[name] & (draws[name] < fraction) & (draws[name] < largest_B1) & ~alone
    return hidden


def hide_tokens(batch: TokenBatch, fraction: float, key: Array) -> tuple[TokenBatch, Masks]:
    """Hides random tokens.

    Returns:
        The batch without the hidden tokens, and which those are.
    """
    masks = {name: jnp.asarray(tokens.mask) for name, tokens in batch.modalities.items()}
    hidden = random_tokens(masks, fraction, key)
    return _with_masks(batch, {name: masks[name] & ~hidden[name] for name in masks}), hidden


def nothing_hidden(batch: TokenBatch) -> Masks:
    return {name: jnp.zeros(tokens.mask.shape, bool) for name, tokens in batch.modalities.items()}


def _with_masks(batch: TokenBatch, masks: Masks) -> TokenBatch:
    visible = {name: Tokens(tokens.values, masks[name]) for name, tokens in batch.modalities.items()}
    return TokenBatch(visible, batch.globals, batch.labels, batch.weights, batch.index)


def _any(has: dict[str, Bool[Array, " B"]], names: tuple[str, ...]) -> Bool[Array, " B"]:
    return jnp.any(jnp.stack([has[name] for name in names]), axis=0)


def _predictions(schema: DetectorSchema, config: HidingConfig) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Raises ConfigError naming what is wrong in `predict`."""
    for entry in config.predict:
        if sorted(entry) != ["from", "to"] or not all(entry.values()):
            raise ConfigError(f"masked.hide.predict: expected {{from: [...], to: [...]}}, neither empty; got {entry}")
        for name in [*entry["from"], *entry["to"]]:
            if name not in schema.modalities:
                hint = close_names(name, schema.modalities)
                raise ConfigError(f"masked.hide.predict: schema '{schema.name}' has no modality '{name}'; {hint}")
        both = sorted(set(entry["from"]) & set(entry["to"]))
        if both:
            raise ConfigError(f"masked.hide.predict: '{both[0]}' cannot be predicted from itself: {entry}")
    if config.cross and not config.predict:
        raise ConfigError("masked.hide.cross needs masked.hide.predict: [{from: [...], to: [...]}]")
    return tuple((tuple(entry["from"]), tuple(entry["to"])) for entry in config.predict)
