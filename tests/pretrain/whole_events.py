"""Random whole events of four modalities, and what their augmentations may have done to them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from foundation.batch import TokenBatch, Tokens
from foundation.schema import DetectorSchema
from pretrain.augment import (
    AugmentConfig,
    Dropout,
    Rotation,
    Smearing,
    Splitting,
    Translation,
    augment,
)

SIZE, SLOTS, HALF = 24, 10, 0.5
QUICK = {"xla_backend_optimization_level": 0}


def features(text, **more):
    units = {"pt": "GeV", "et": "GeV", "ecal": "GeV", "phi": "rad", "z0": "mm", "x": "mm", "y": "mm", "z": "mm"}
    return {n: {"expression": "a", "unit": units.get(n, ""), **more.get(n, {})} for n in text.split()}


SCHEMA = DetectorSchema.load(
    {
        "name": "events",
        "modalities": {
            "towers": {
                "features": features("et eta phi ecal abs_eta", abs_eta={"recompute": "abs(eta)"}),
                "coordinates": {"pt": "et", "eta": "eta", "phi": "phi"},
            },
            "tracks": {
                "features": features("pt eta phi z0 charge", phi={"range": [0, 6.2832]}),
                "coordinates": {"pt": "pt", "eta": "eta", "phi": "phi", "z": "z0"},
            },
            "image": {
                "features": features("et"),
                "max_tokens": 6,
                "grid": {"shape": [2, 3], "row": "a", "column": "a"},
            },
            "hits": {"features": features("x y z"), "coordinates": {"x": "x", "y": "y", "z": "z"}},
        },
        "globals": features("met met_phi vertex_z", met={"unit": "GeV"}),
    }
)
STILL = AugmentConfig(
    splitting=Splitting(0.0), smearing=Smearing(0.0), dropout=Dropout(0.0), rotation=Rotation(0.0),
    translation=Translation(0.0),
)  # fmt: skip


def only(**chosen):
    return AugmentConfig(**{**{k: getattr(STILL, k) for k in STILL.__dataclass_fields__}, **chosen})


def make_batch(seed):
    """Every example has 2 to SLOTS towers and tracks; the last row is a filler."""
    rng = np.random.default_rng(seed)
    real = np.arange(SIZE) < SIZE - 1

    def tokens(slots, *columns, all_there=False):
        count = np.full((SIZE, 1), slots) if all_there else rng.integers(2, slots + 1, (SIZE, 1))
        mask = (np.arange(slots) < count) & real[:, None]
        values = np.stack([draw((SIZE, slots)) for draw in columns], axis=-1) * mask[..., None]
        return Tokens(jnp.asarray(values, jnp.float32), jnp.asarray(mask))

    def energy(shape):
        return np.sort(np.exp(rng.normal(1, 1, shape)), axis=-1)  # ascending: what augment must not re-sort

    def angle(shape):
        return rng.uniform(-np.pi, np.pi, shape)

    def eta(shape):
        return rng.normal(0, 1.5, shape)

    def length(shape):
        return rng.normal(0, 50, shape)

    towers = tokens(SLOTS, energy, eta, angle, energy, eta)
    towers = Tokens(towers.values.at[..., 4].set(jnp.abs(towers.values[..., 1])), towers.mask)
    modalities = {
        "towers": towers,
        "tracks": tokens(SLOTS, energy, eta, lambda s: np.pi + angle(s), length, lambda s: rng.choice([-1, 1], s)),
        "image": tokens(6, lambda s: energy(s) * (rng.random(s) < 0.7), all_there=True),
        "hits": tokens(4, length, length, length),
    }
    example = np.stack([energy(SIZE), angle(SIZE), length(SIZE)], axis=1) * real[:, None]
    index = jnp.where(jnp.asarray(real), jnp.arange(SIZE, dtype=jnp.int32), -1)
    return TokenBatch(modalities, jnp.asarray(example, jnp.float32), {}, jnp.asarray(real, jnp.float32), index)


@functools.cache
def compiled(config):
    """Hardly optimised: these batches are small, and there are many programs."""
    return jax.jit(functools.partial(augment, schema=SCHEMA, config=config), compiler_options=QUICK)


def apply(batch, seed, met_from=(), **chosen):
    return compiled(only(met_from=met_from, **chosen))(batch, key=jax.random.key(seed))


def column(batch, name, feature):
    return np.asarray(batch.modalities[name].values[..., SCHEMA.modalities[name].index(feature)])


def mask(batch, name):
    return np.asarray(batch.modalities[name].mask)


def rows_changed(before, after):
    same = np.all(np.asarray(before.globals == after.globals), axis=1)
    for name, tokens in before.modalities.items():
        same &= np.all(np.asarray(tokens.values == after.modalities[name].values), axis=(1, 2))
        same &= np.all(np.asarray(tokens.mask == after.modalities[name].mask), axis=1)
    return ~same


def turned(after, before):
    return (after - before + np.pi) % (2 * np.pi) - np.pi


def missing(batch):
    size, phi = np.asarray(batch.globals[:, 0]), np.asarray(batch.globals[:, 1])
    return np.stack([size * np.cos(phi), size * np.sin(phi)], axis=1)


def vector(batch, name, pt):
    phi = column(batch, name, "phi")
    return np.stack([(column(batch, name, pt) * f(phi)).sum(axis=1) for f in (np.cos, np.sin)], axis=1)


def survivors(before, after, name):
    """Which tokens of `before` are still there; checks that those are unchanged and in their order."""
    old, new = (np.asarray(b.modalities[name].values) for b in (before, after))
    kept = np.zeros(mask(before, name).shape, bool)
    for b in range(SIZE):
        here = new[b][mask(after, name)[b]]
        kept[b] = [bool(np.any(np.all(here == token, axis=1))) for token in old[b]] & mask(before, name)[b]
        np.testing.assert_array_equal(old[b][kept[b]], here)
    return kept
