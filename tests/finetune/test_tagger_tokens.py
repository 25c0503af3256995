"""Taggers of tokens, pairs and tags, quantiles, weights of examples, decorrelation: on one small random batch."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from labelled_tokens import SCHEMA

from finetune.config import FinetuneConfig
from finetune.decorrelate import DecorrelateConfig, decorrelation, distance_correlation, mass
from finetune.model import Tagger, outputs
from finetune.task import Task, TaskConfig
from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError
from foundation.models import Encoder, EncoderConfig, HeadConfig
from foundation.schema import DetectorSchema, Feature, Modality

B, M, N = 4, 2, 6


def labelled_batch(spec: DetectorSchema, seed: int = 0) -> TokenBatch:
    rng = np.random.default_rng(seed)
    masks = {"muons": np.arange(M) < rng.integers(0, M + 1, (B, 1)), "hits": np.arange(N) < rng.integers(3, N, (B, 1))}
    modalities = {}
    for name, mask in masks.items():
        values = rng.exponential(size=(*mask.shape, len(spec.modalities[name].features))).astype(np.float32)
        modalities[name] = Tokens(values * mask[..., None], mask)
    hits = masks["hits"]
    labels = {
        "side": rng.integers(0, 2, B).astype(np.int32),
        "tags": rng.integers(-1, 2, (B, 3)).astype(np.int32),
        "total": rng.normal(size=B).astype(np.float32),
        "origin": np.where(hits, rng.integers(0, 2, (B, N)), -1).astype(np.int32),
        "share": np.where(hits, rng.normal(size=(B, N)), np.nan).astype(np.float32),
        "cluster": np.where(hits, rng.integers(0, 3, (B, N)), -1).astype(np.int32),
    }
    around = rng.normal(size=(B, 1)).astype(np.float32)
    return jax.tree.map(jnp.asarray, TokenBatch(modalities, around, labels, np.ones(B, np.float32), np.arange(B)))


def tagger(head: HeadConfig | None = None, mode: str = "full", **settings) -> tuple[Tagger, TokenBatch]:
    spec = DetectorSchema.load(SCHEMA)
    config = FinetuneConfig(task=TaskConfig(**settings), mode=mode, head=head or HeadConfig(hidden=8, dropout=0.0))
    sizes = {n: len(m.features) for n, m in spec.modalities.items()} | {"globals": 1}
    statistics = {n: (np.zeros(size), np.ones(size)) for n, size in sizes.items()}
    encoder = Encoder(spec, statistics, EncoderConfig(width=8, layers=1, heads=2), rngs=nnx.Rngs(0))
    model = Tagger(encoder, Task.resolve(spec, config.task), config, rngs=nnx.Rngs(1))
    return model, labelled_batch(spec)


def compiled(model: Tagger, function):
    """`function(model, ...)`, compiled once for all batches of a shape."""
    graph, state = nnx.split(model)
    return jax.jit(lambda *arguments: function(nnx.merge(graph, state), *arguments))


def loss_of(model: Tagger):
    return compiled(model, lambda model, batch: model.loss(batch, jax.random.key(0))[0])


def with_labels(batch: TokenBatch, **labels) -> TokenBatch:
    return dataclasses.replace(batch, labels={**batch.labels, **labels})


def reordered(batch: TokenBatch, order: np.ndarray) -> TokenBatch:
    """The hits in another order, padding among them."""
    hits = batch.modalities["hits"]
    turned = {**batch.modalities, "hits": Tokens(hits.values[:, order], hits.mask[:, order])}
    labels = {name: batch.labels[name][:, order] for name in ("origin", "share", "cluster")}
    return with_labels(dataclasses.replace(batch, modalities=turned), **labels)


ORDER = np.array([4, 2, 5, 0, 1, 3])


def test_outputs_of_tokens_go_with_their_tokens():
    model, batch = tagger(label="origin", regression=("share",), quantiles=(0.2, 0.5, 0.9))
    given = np.asarray(batch.modalities["hits"].mask)
    of = compiled(model, outputs)
    before, after = of(batch), of(reordered(batch, ORDER))
    assert before.shape == (B, N, 3)
    np.testing.assert_allclose(
        np.asarray(after)[given[:, ORDER]], np.asarray(before[:, ORDER])[given[:, ORDER]], atol=1e-5
    )
    loss = loss_of(model)
    assert float(loss(reordered(batch, ORDER))) == pytest.approx(float(loss(batch)), rel=1e-5)


def test_outputs_of_pairs_go_with_their_tokens():
    model, batch = tagger(label="cluster")
    place = np.argsort(ORDER)
    pairs = jnp.broadcast_to(jnp.asarray([[0, 1], [0, 2], [2, 1]]), (B, 3, 2))
    of = compiled(model, lambda model, batch, pairs: model.edges(model.vectors(batch, None), batch, pairs))
    before, after = of(batch, pairs), of(reordered(batch, ORDER), jnp.asarray(place)[pairs])
    np.testing.assert_allclose(after, before, atol=1e-5)  # the first three tokens are real
    loss = loss_of(model)
    assert float(loss(reordered(batch, ORDER))) == pytest.approx(float(loss(batch)), rel=1e-5)
    assert jax.eval_shape(compiled(model, outputs), batch).shape == (B, N * (N - 1) // 2, 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"regression": ("total",), "quantiles": (0.2, 0.5)},
        {"label": "tags"},
        {"label": "origin", "regression": ("share",)},
        {"label": "cluster"},
        {"decorrelate": DecorrelateConfig("met", ("left",))},
    ],
    ids=["class", "tags", "tokens", "edges", "decorrelated"],
)
def test_weights_weigh_and_unknown_labels_count_nothing(settings):
    """An example of weight 0 could as well be unlabelled, or of any other label."""
    model, batch = tagger(**settings)
    loss = loss_of(model)
    weights = jnp.asarray([1.0, 2.0, 0.0, 1.0])
    unknown = {
        name: values.at[2].set(jnp.nan if values.dtype == jnp.float32 else -1) for name, values in batch.labels.items()
    }
    other = {name: values.at[2].set(values[1]) for name, values in batch.labels.items()}
    weighted = float(loss(dataclasses.replace(batch, weights=weights)))
    ones = jnp.asarray([1.0, 2.0, 1.0, 1.0])
    unlabelled = float(loss(dataclasses.replace(with_labels(batch, **unknown), weights=ones)))
    relabelled = float(loss(dataclasses.replace(with_labels(batch, **other), weights=weights)))
    assert weighted == pytest.approx(unlabelled, rel=1e-5)
    assert weighted == pytest.approx(relabelled, rel=1e-5)
    assert abs(weighted - float(loss(batch))) > 1e-4
    nothing = {
        name: jnp.full_like(values, jnp.nan if values.dtype == jnp.float32 else -1) for name, values in other.items()
    }
    assert float(loss(with_labels(batch, **nothing))) == 0  # and not NaN


def test_quantiles_of_a_tagger_ascend_in_the_unit_of_the_label():
    model, batch = tagger(label="none", regression=("total",), quantiles=(0.9, 0.1, 0.45))
    model.target_mean[...], model.target_std[...] = jnp.asarray([100.0]), jnp.asarray([5.0])
    _, found = compiled(model, Tagger.quantiles)(batch)
    assert found.shape == (B, 1, 3)
    assert (np.diff(found, axis=-1) > 0).all()
    values = compiled(model, outputs)(batch)
    np.testing.assert_allclose(values, found[..., 1], rtol=1e-6)  # the value is the quantile nearest to the median
    assert np.abs(np.asarray(found) - 100).max() < 50


def test_a_frozen_encoder_under_attention_pooling_is_one_setting():
    model, batch = tagger(HeadConfig(pooling="attention", dropout=0.0), mode="frozen")
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    of = jax.jit(jax.grad(lambda params: nnx.merge(graph, params, rest).loss(batch, jax.random.key(0))[0]))
    gradients = of(params)
    largest = {name: max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradients[name])) for name in gradients}
    assert largest["encoder"] == 0
    assert min(largest["pool"], largest["head"]) > 0


def test_pooling_is_refused_where_nothing_is_pooled():
    with pytest.raises(ConfigError, match="pools nothing"):
        tagger(HeadConfig(pooling="attention"), label="origin")
    with pytest.raises(ConfigError, match="take mode frozen"):
        tagger(HeadConfig(pooling="attention"), mode="linear")


def test_the_mass_is_the_invariant_mass_of_the_tokens():
    """Two tokens of pt 50 back to back: 100 GeV if massless, else the sum of energies in the frame of the beam."""
    names = ("pt", "eta", "phi", "energy")
    values = np.array([[[50, 0, 0, 60], [50, 0, np.pi, 80], [0, 0, 0, 0]]], np.float32)
    values, mask = jnp.asarray(values), jnp.asarray([[True, True, False]])
    for coordinates, expected in (("pt eta phi", 100.0), ("pt eta phi energy", 140.0)):
        modality = Modality({n: Feature(n) for n in names}, {n: n for n in coordinates.split()})
        batch = TokenBatch({"all": Tokens(values, mask)}, np.zeros((1, 0)), {}, np.ones(1), np.zeros(1, int))
        assert float(mass(batch, modality, "all")[0]) == pytest.approx(expected, rel=1e-5)
    relative = Modality({n: Feature(n) for n in ("pt", "eta_rel", "phi", "energy")})
    places = {"pt": "pt", "eta": "eta_rel", "phi": "phi", "energy": "energy"}
    assert float(mass(batch, dataclasses.replace(relative, coordinates=places), "all")[0]) == pytest.approx(
        100, rel=1e-5
    )
    cartesian = jnp.asarray([[[140.0, 0, 0, 30], [100, 0, 0, -30], [7, 7, 7, 7]]])
    modality = Modality(
        {n: Feature(n) for n in ("e", "px", "py", "pz")}, {"energy": "e", "px": "px", "py": "py", "pz": "pz"}
    )
    batch = dataclasses.replace(batch, modalities={"all": Tokens(cartesian, mask)})
    assert float(mass(batch, modality, "all")[0]) == pytest.approx(240, rel=1e-5)


def test_decorrelation_makes_the_score_independent_of_the_quantity():
    """Two clues of the class, one of which is the quantity itself: with the term it is no longer used."""
    spec = DetectorSchema.load(SCHEMA)
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 1000)
    clue, met = side + rng.normal(0, 1, 1000), side + rng.normal(0, 0.7, 1000)
    batch = TokenBatch({}, met[:, None].astype(np.float32), {}, np.ones(1000, np.float32), np.arange(1000))
    x, target = jnp.asarray(np.stack([clue, met], 1), jnp.float32), jnp.asarray(side)

    def loss(p: jax.Array, config: DecorrelateConfig) -> jax.Array:
        logits = jnp.stack([jnp.zeros(1000), x @ p[:2] + p[2]], axis=1)
        entropy = optax.losses.softmax_cross_entropy_with_integer_labels(logits, target).mean()
        return entropy + config.weight * decorrelation(config, ("left", "right"), spec, batch, logits, target)

    def trained(weight: float) -> tuple[float, float]:
        config = DecorrelateConfig("met", ("left",), weight=weight)
        optimizer = optax.adam(0.05)

        def step(carry, _):
            p, state = carry
            updates, state = optimizer.update(jax.grad(loss)(p, config), state)
            return (optax.apply_updates(p, updates), state), None

        start = jnp.zeros(3)
        p = jax.jit(lambda: jax.lax.scan(step, (start, optimizer.init(start)), None, 150)[0][0])()
        score = jax.nn.sigmoid(x @ p[:2] + p[2])
        background = jnp.asarray(side == 0, jnp.float32)
        correlation = float(distance_correlation(score, x[:, 1], background))
        return correlation, float(np.mean((np.asarray(score) > 0.5) == side))

    without, free = trained(0.0)
    with_term, accuracy = trained(20.0)
    assert without > 0.3
    assert with_term < 0.1 * without
    assert 0.6 < accuracy < free
