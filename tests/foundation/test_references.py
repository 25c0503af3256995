"""The reference models: sizes of the papers, symmetries, padding, neighbours, what they refuse."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema, statistics
from flax import nnx
from small_references import SMALL

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError, SchemaError
from foundation.models import Backbone, Head, HeadConfig
from foundation.models.references import (
    REFERENCES,
    LorentzNetConfig,
    ParTConfig,
    ParticleNetConfig,
    PCNNConfig,
    ReferencesConfig,
    build_reference,
)
from foundation.models.references.particlenet import EdgeConv, nearest, squared_distance
from foundation.physics import wrap_phi
from foundation.schema import DetectorSchema

ORDER_MATTERS = {"pcnn"}


def spec() -> DetectorSchema:
    """Two modalities, of which muons have no coordinates, and globals."""
    return schema(("particles", "muons"), with_globals=True)


def built(name: str, described: DetectorSchema | None = None, config: ReferencesConfig = SMALL, **stats) -> Backbone:
    described = described or spec()
    return build_reference(name, described, statistics(described) | stats, config, rngs=nnx.Rngs(0))


@partial(jax.jit, static_argnames="graph")
def _pooled(state, b, *, graph):
    return nnx.merge(graph, state)(b).pooled


def pooled(model: Backbone, b: TokenBatch) -> jax.Array:
    graph, state = nnx.split(model)
    return _pooled(state, b, graph=graph)


@cache
def kept(name: str) -> tuple[Backbone, TokenBatch]:
    return built(name), batch(spec())


def changed(b: TokenBatch, change) -> TokenBatch:
    """A batch with `change(name, tokens)` for its tokens."""
    tokens = {name: change(name, each) for name, each in b.modalities.items()}
    return TokenBatch(tokens, b.globals, b.labels, b.weights, b.index)


def shuffled(name: str, tokens: Tokens) -> Tokens:
    order = np.random.default_rng(len(name)).permutation(tokens.mask.shape[1])
    return Tokens(tokens.values[:, order], tokens.mask[:, order])


def counted(name: str, features: int, classes: int) -> int:
    described = schema().to_dict()
    extra = {f"f{i}": {"expression": f"f{i}"} for i in range(features - 4)}
    described["modalities"]["particles"]["features"] |= extra
    described = DetectorSchema.load(described)

    def model():
        rngs = nnx.Rngs(0)
        backbone = build_reference(name, described, statistics(described), ReferencesConfig(), rngs=rngs)
        return backbone, Head(backbone.width, classes, HeadConfig(hidden=0, dropout=0.0), rngs=rngs)

    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(nnx.eval_shape(model), nnx.Param)))


@pytest.mark.parametrize(
    ("name", "published", "classes"),
    [
        ("pfn", 86.1e3, 10),
        ("pcnn", 354e3, 10),
        ("particlenet", 370e3, 10),
        ("part", 2.14e6, 10),
        ("part_plain", 2.13e6, 10),
        ("lorentznet", 224e3, 2),
    ],
)
def test_as_many_parameters_as_in_the_papers(name, published, classes):
    """arXiv:2202.03772, table 1 (17 features, 10 classes); LorentzNet's of arXiv:2201.08187, table 2."""
    assert counted(name, 17, classes) == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_order_of_tokens_does_not_matter_where_that_is_claimed(name):
    model, b = kept(name)
    before, after = pooled(model, b), pooled(model, changed(b, shuffled))
    moved = float(jnp.abs(before - after).max())
    assert moved > 1e-3 if name in ORDER_MATTERS else moved < 3e-5


@pytest.mark.parametrize("name", REFERENCES)
def test_padding_changes_nothing(name):
    model, b = kept(name)
    longer = batch(spec(), padding=5)
    np.testing.assert_allclose(pooled(model, b), pooled(model, longer), atol=3e-5)
    garbage = changed(b, lambda _, t: Tokens(jnp.where(t.mask[..., None], t.values, 1.3), t.mask))
    np.testing.assert_allclose(pooled(model, b), pooled(model, garbage), atol=3e-5)


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "part_plain"])  # a part of part
def test_gradients_are_finite_with_empty_examples_and_every_parameter_learns(name):
    model, b = kept(name)
    row = jnp.arange(b.size)[:, None] >= 2  # the first two examples are empty, the third has one particle
    one = (jnp.arange(b.size)[:, None] == 2) & (jnp.arange(12) > 0)

    def emptied(which: str, tokens: Tokens) -> Tokens:
        mask = tokens.mask & row & (~one if which == "particles" else True)
        return Tokens(tokens.values * mask[..., None], mask)

    target = jnp.asarray(np.random.default_rng(0).normal(size=(b.size, model.width)), jnp.float32)

    graph, parameters, fixed = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def gradient(parameters, fixed, b):
        def loss(p):
            return jnp.sum((nnx.merge(graph, p, fixed)(b, jax.random.key(0)).pooled - target) ** 2)

        return jax.grad(loss)(parameters)

    found = nnx.to_flat_state(gradient(parameters, fixed, changed(b, emptied)))
    assert all(np.isfinite(leaf[...]).all() for _, leaf in found)
    assert not [path for path, leaf in found if not np.any(leaf[...])]


def test_pcnn_sorts_by_pt_where_every_token_has_one():
    described = schema()
    model, b = built("pcnn", described), batch(described)
    before, after = pooled(model, b), pooled(model, changed(b, shuffled))
    np.testing.assert_allclose(before, after, atol=3e-5)
    softer = changed(b, lambda _, t: Tokens(t.values.at[:, 0, 0].mul(1e-3), t.mask))
    assert float(jnp.abs(pooled(model, softer) - before).max()) > 1e-3


@pytest.mark.parametrize("name", ["particlenet", "part", "lorentznet"])
def test_a_turn_in_phi_changes_nothing(name):
    """The feature phi itself is hidden (a huge deviation); neighbours, pairs and momenta are left, across +-pi too."""
    described = schema()
    mean, std = np.zeros(4, np.float32), np.asarray([1, 1, 1e6, 1], np.float32)
    model, b = built(name, described, particles=(mean, std)), batch(described)
    turned = changed(b, lambda _, t: Tokens(t.values.at[..., 2].set(wrap_phi(t.values[..., 2] + 2.8)), t.mask))
    mirrored = changed(b, lambda _, t: Tokens(t.values.at[:, ::2, 2].multiply(-1.0), t.mask))
    before = pooled(model, b)
    np.testing.assert_allclose(before, pooled(model, turned), atol=2e-3 if name == "lorentznet" else 2e-4)
    assert float(jnp.abs(before - pooled(model, mirrored)).max()) > 1e-2


def lorentz_transformation(rng: np.random.Generator) -> np.ndarray:
    """A rotation, a boost of |beta| up to 0.7 in any direction, a rotation."""
    rotations = []
    for _ in range(2):
        q, r = np.linalg.qr(rng.normal(size=(3, 3)))
        q = q * np.sign(np.diag(r))
        rotations.append(np.eye(4))
        rotations[-1][1:, 1:] = q * np.linalg.det(q)
    rapidity, boost = rng.uniform(0.3, 0.85), np.eye(4)
    boost[0, 0] = boost[3, 3] = np.cosh(rapidity)
    boost[0, 3] = boost[3, 0] = np.sinh(rapidity)
    return rotations[0] @ boost @ rotations[1]


@pytest.mark.parametrize("beams", [False, True])
def test_lorentznet_is_invariant_under_boosts_and_rotations(beams):
    """Without beams, as claimed; beams single out a frame, and the answer changes."""
    rng, (size, length) = np.random.default_rng(0), (4, 6)
    config = replace(SMALL, lorentznet=replace(SMALL.lorentznet, beams=beams, step=1.0))
    model = built("lorentznet", config=config)
    for block in model.blocks:  # messages that move the momenta by as much as they can
        if block.move_out is not None:
            block.move_out.kernel[...] = block.move_out.kernel[...] * 100
    momentum = rng.normal(size=(size, length, 3)) * 5
    mass = rng.uniform(0.5, 3, size=(size, length, 1))
    x = np.concatenate([np.sqrt((momentum**2).sum(-1, keepdims=True) + mass**2), momentum], axis=-1)
    mask = np.arange(length) < np.asarray([[6], [4], [2], [1]])
    scalars = jnp.asarray(rng.normal(size=(size, length, 2 + beams)), jnp.float32)

    @nnx.jit
    def answer(model, x):
        real = jnp.asarray(mask)
        return model.encode(x, scalars, real, real[:, :, None] & real[:, None, :]).pooled

    def answer_of(x):
        return answer(model, jnp.asarray(np.where(mask[..., None], x, 0), jnp.float32))

    before = answer_of(x)
    moved = [float(jnp.abs(answer_of(x @ lorentz_transformation(rng).T) - before).max()) for _ in range(5)]
    assert min(moved) > 1e-2 if beams else max(moved) < 2e-3
    assert float(jnp.abs(answer_of(x * [1.1, 1, 1, 1]) - before).max()) > 1e-2  # it does look at the momenta


def test_lorentznet_reads_momenta_of_either_frame():
    """pt, eta, phi and a mass make the momentum; relative to a jet axis particles are massless."""
    described = schema().to_dict()
    particles = described["modalities"]["particles"]
    particles["features"]["charge"]["expression"] = "mass"
    particles["coordinates"] = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "charge"}
    heavy = DetectorSchema.load(described)
    model, b = built("lorentznet", heavy), batch(heavy)
    tokens = b.modalities["particles"]
    pt, eta, phi, mass = (tokens.values[..., i] for i in range(4))
    x, found = model.momenta(b, {"pt": pt, "eta": eta, "phi": phi})
    np.testing.assert_array_equal(found, mass)
    np.testing.assert_allclose(x[..., 0] ** 2 - (x[..., 1:] ** 2).sum(-1), mass**2, atol=2e-2)
    particles["features"] = {("deta" if k == "eta" else k): v for k, v in particles["features"].items()}
    particles["coordinates"]["eta"] = "deta"
    relative = built("lorentznet", DetectorSchema.load(described))
    x, found = relative.momenta(b, {"pt": pt, "eta": eta, "phi": phi})
    np.testing.assert_allclose(x[..., 0], pt * jnp.cosh(eta), rtol=1e-5)
    assert not found.any()


def test_neighbours_are_those_of_a_brute_force_search():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 9, 4)).astype(np.float32)
    mask = np.arange(9) < np.asarray([[9], [6], [3], [1], [0]])
    mask = np.stack([rng.permutation(row) for row in mask])
    search = jax.jit(lambda x, valid: nearest(squared_distance(x), valid, 4))
    index, there = (np.asarray(each) for each in search(x, mask[:, :, None] & mask[:, None, :]))
    for b in range(5):
        for i in range(9):
            others = [j for j in np.flatnonzero(mask[b]) if j != i] if mask[b, i] else []
            others.sort(key=lambda j: float(np.sum((x[b, i] - x[b, j]) ** 2)))
            assert index[b, i][there[b, i]].tolist() == others[:4]


def test_edge_convolution_is_the_papers_network_of_each_edge():
    """(x_i, x_j - x_i) through linear layers, norms and ReLU, the mean over neighbours, and the shortcut."""
    rng = np.random.default_rng(0)
    layer = EdgeConv(3, (4, 5), rngs=nnx.Rngs(0))
    x = rng.normal(size=(2, 6, 3)).astype(np.float32)
    index = rng.integers(0, 6, size=(2, 6, 2)).astype(np.int32)
    there = rng.random((2, 6, 2)) < 0.7
    there[0, 0] = False

    @jax.jit
    def textbook(x, index, there):
        neighbour = jnp.take_along_axis(x[:, None], index[..., None], axis=2)
        own = jnp.broadcast_to(x[:, :, None], neighbour.shape)
        kernel = jnp.concatenate([layer.centre.kernel[...], layer.difference.kernel[...]])
        y = jax.nn.relu(layer.norms[0](jnp.concatenate([own, neighbour - own], axis=-1) @ kernel))
        y = jax.nn.relu(layer.norms[1](y @ layer.layers[0].kernel[...])) * there[..., None]
        mean = y.sum(axis=2) / jnp.maximum(there.sum(axis=2), 1)[..., None]
        return jax.nn.relu(layer.norm_shortcut(layer.shortcut(x)) + mean)

    np.testing.assert_allclose(jax.jit(layer.__call__)(x, index, there), textbook(x, index, there), atol=1e-5)


def test_pair_features_reach_the_particle_transformer():
    model, b = kept("part")
    before = pooled(model, b)
    last = model.pairs[-1]
    bias = last.kernel[...]
    last.kernel[...] = bias + jnp.arange(bias.size).reshape(bias.shape)
    after = pooled(model, b)
    last.kernel[...] = bias
    assert float(jnp.abs(after - before).max()) > 1e-3
    assert built("part_plain").pairs is None


@pytest.mark.parametrize("name", REFERENCES)
def test_muons_and_globals_matter(name):
    model, b = kept(name)
    base = pooled(model, b)
    moved = changed(b, lambda n, t: Tokens(t.values + (n == "muons") * t.mask[..., None], t.mask))
    shifted = TokenBatch(b.modalities, b.globals + 1.0, b.labels, b.weights, b.index)
    seen = [float(jnp.abs(pooled(model, each) - base).max()) > 1e-4 for each in (moved, shifted)]
    assert seen == ([False, False] if name == "lorentznet" else [True, True])  # which sees momenta alone


@pytest.mark.parametrize(
    ("name", "described", "config", "words"),
    [
        ("particlenet", schema(("muons",)), SMALL, "'particlenet' needs the coordinates eta, phi"),
        ("part", schema(("muons",)), SMALL, "'part' needs the coordinates pt, eta, phi"),
        ("lorentznet", schema(), replace(SMALL, lorentznet=LorentzNetConfig(scalars=("chrage",))), "'charge'"),
        ("part", schema(), replace(SMALL, part=ParTConfig(width=9)), "multiple"),
        ("pcnn", schema(), replace(SMALL, pcnn=PCNNConfig(channels=(8,))), "two numbers"),
        ("particlenet", schema(), replace(SMALL, particlenet=ParticleNetConfig(channels=())), "no network"),
    ],
)
def test_what_cannot_be_is_refused(name, described, config, words):
    with pytest.raises(ConfigError, match=words):
        built(name, described, config)


def test_a_batch_without_a_modality_is_refused():
    with pytest.raises(SchemaError, match="needs modality 'muons'"):
        built("pfn")(batch(schema()))
