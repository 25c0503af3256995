"""All objectives in one pass; the momentum teacher; anomalies; negatives from every device."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema, statistics
from flax import nnx

from foundation.errors import ConfigError
from foundation.models import EncoderConfig
from pretrain.augment import AugmentConfig, anomalous
from pretrain.config import PretrainConfig
from pretrain.model import Pretrainer
from pretrain.objectives import (
    Contrastive,
    ContrastiveConfig,
    MaskedConfig,
    Pass,
    SelfDistillationConfig,
    SupervisedConfig,
    VicregConfig,
    View,
)
from pretrain.objectives.hiding import nothing_hidden
from pretrain.objectives.self_distillation import sinkhorn

SPEC = schema(("particles", "muons"))
OFF = {"masked": MaskedConfig(weight=0), "contrastive": ContrastiveConfig(weight=0)}
WEIGHTS = {"masked": 1.0, "contrastive": 0.5, "vicreg": 0.25, "self_distillation": 2.0, "supervised": 0.125}


def pretrainer(precision="float32", **settings) -> Pretrainer:
    config = PretrainConfig(encoder=EncoderConfig(width=16, layers=1, heads=2, precision=precision), **settings)
    return Pretrainer(SPEC, statistics(SPEC), config, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def together():
    """A bf16 encoder with every objective of this family on, and its gradients by objective, from one compilation."""
    model = pretrainer(
        "bfloat16",
        masked=MaskedConfig(weight=WEIGHTS["masked"]),
        contrastive=ContrastiveConfig(weight=WEIGHTS["contrastive"]),
        vicreg=VicregConfig(weight=WEIGHTS["vicreg"], projection=8),
        self_distillation=SelfDistillationConfig(weight=WEIGHTS["self_distillation"], prototypes=8, projection=8),
        supervised=SupervisedConfig(weight=WEIGHTS["supervised"], labels={"flavour": 1.0}),
    )
    graph, params, fixed = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def found(params, data):
        def losses(params):
            made = nnx.merge(graph, params, fixed)
            total, terms = made.loss(data, jax.random.key(0), teacher=made)
            return jnp.stack([total, *(terms[f"loss/{name}"] for name in WEIGHTS)]), terms

        return (*jax.jacrev(losses, has_aux=True)(params), losses(params)[0])

    return found(params, batch(SPEC, size=8))


def test_weights_of_all_objectives_add_up(together):
    _, terms, values = together
    assert float(values[0]) == pytest.approx(sum(w * float(terms[f"loss/{n}"]) for n, w in WEIGHTS.items()), rel=1e-4)
    assert {"vicreg/variance", "vicreg/invariance", "vicreg/covariance"} <= set(terms)
    assert all(np.isfinite(float(term)) for term in terms.values())


@pytest.mark.parametrize("place", range(len(WEIGHTS)))
def test_every_objective_teaches_the_encoder(together, place):
    """In bf16 too: and its weight times its gradient is its part of the whole's."""
    gradients = jax.tree.leaves(together[0]["encoder"])
    assert all(np.isfinite(leaf).all() for leaf in gradients)
    assert max(float(np.abs(leaf[1 + place]).max()) for leaf in gradients) > 1e-5


def test_gradients_add_up_by_weight(together):
    for leaf in jax.tree.leaves(together[0]["encoder"]):
        parts = sum(weight * np.asarray(leaf[1 + i]) for i, weight in enumerate(WEIGHTS.values()))
        np.testing.assert_allclose(leaf[0], parts, rtol=0.05, atol=0.02 * float(np.abs(leaf[0]).max()) + 1e-5)


def test_the_teacher_sees_all_and_gives_the_target():
    """The student's first view lacks tokens; the targets are those of another model, of the whole views."""
    settings = SelfDistillationConfig(weight=1.0, prototypes=8, projection=8, hide=0.5)
    student, teacher = (
        Pretrainer(
            SPEC,
            statistics(SPEC),
            PretrainConfig(encoder=EncoderConfig(width=16, layers=1, heads=2), **OFF, self_distillation=settings),
            rngs=nnx.Rngs(seed),
        )
        for seed in (0, 1)
    )
    assert student.wants_teacher
    batches = student._views(batch(SPEC), jax.random.key(1))
    views = student._encode(batches, jax.random.key(2), jax.random.key(3))
    step = Pass(student.encoder, views, teacher, jax.random.key(0))
    assert views[0].hidden["particles"].any()
    assert views[0].seen.modalities["particles"].mask.sum() < views[0].batch.modalities["particles"].mask.sum()
    found = student.self_distillation._targets(step, jnp.ones(6))
    for view, targets in zip(views, found):
        scores = teacher.self_distillation.scores(teacher.encoder(view.batch).pooled)
        expected = np.asarray(sinkhorn(scores, jnp.ones(6), 0.04, 3))
        np.testing.assert_allclose(np.asarray(targets), expected, rtol=0.02, atol=1e-4)
    loss, _ = student.self_distillation(step)
    said = [jax.nn.log_softmax(student.self_distillation.scores(v.encoded.pooled) / 0.1) for v in views]
    expected = -np.mean(np.sum(found[1] * said[0] + found[0] * said[1], axis=1)) / 2
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"teacher_temperature": 0.2},
        {"teacher_temperature": 0.0},
        {"prototypes": 1},
        {"hide": 1.0},
    ],
)
def test_self_distillation_that_cannot_be_is_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        pretrainer(**OFF, self_distillation=SelfDistillationConfig(weight=1.0, **settings))


@pytest.mark.parametrize("anomalies", ["added", "alone"])
def test_anomalies_repel_as_the_paper_says(anomalies):
    """arXiv:2301.04660: -log(exp((s(z, z') - s(z, z*)) / t) / sum over the others), or without the sum."""
    model = pretrainer(**OFF | {"contrastive": ContrastiveConfig(temperature=0.5, anomalies=anomalies)})
    objective, still = model.contrastive, AugmentConfig()
    assert isinstance(objective, Contrastive)
    looks = [batch(SPEC, seed=seed) for seed in range(2)]
    views = tuple(View(look, look, nothing_hidden(look), model.encoder(look)) for look in looks)
    key = jax.random.key(5)
    loss, terms = objective(Pass(model.encoder, views, None, key))
    odd = anomalous(looks[0], SPEC, objective.anomalous, jax.random.split(key)[0])
    z = [np.asarray(objective.projector(model.encoder(each).pooled), np.float64) for each in (*looks, odd)]
    a, b, c = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in z)
    total, rows = 0.0, np.concatenate([a, b])
    for i in range(12):
        others = [j for j in range(12) if j != i]
        score = rows[i] @ rows[(i + 6) % 12] - rows[i] @ c[i % 6]
        total -= score / 0.5 - (np.log(np.exp(rows[others] @ rows[i] / 0.5).sum()) if anomalies == "added" else 0)
    assert float(loss) == pytest.approx(total / 12, rel=1e-4)
    assert set(terms) == {"similarity", "anomaly_similarity"}
    assert still == model.augmentations


SHARDED = """
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
    from pretrain.objectives.contrastive import nt_xent
    from pretrain.objectives.projection import unit
    from pretrain.objectives.self_distillation import sinkhorn
    from pretrain.objectives.vicreg import vicreg

    def loss(a, b, w):
        target = sinkhorn(jax.lax.stop_gradient(a), w, 0.1, 3)
        distilled = -jnp.sum(jnp.sum(target * jax.nn.log_softmax(b / 0.1), 1) * w) / w.sum()
        return jnp.stack([nt_xent(unit(a), unit(b), w, 0.2), *vicreg(a, b, w), distilled])

    f = jax.jit(lambda a, b, w: (loss(a, b, w), jax.grad(lambda a, b: loss(a, b, w).sum(), argnums=(0, 1))(a, b)))
    rng = np.random.default_rng(0)
    a, b = 0.5 * rng.normal(size=(2, 16, 4)).astype(np.float32)
    w = np.r_[np.ones(13), np.zeros(3)].astype(np.float32)
    spread = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), P("data"))
    assert len(spread.device_set) == 2
    whole = f(*map(jnp.asarray, (a, b, w)))
    found = f(*(jax.device_put(x, spread) for x in (a, b, w)))
    for x, y in zip(jax.tree.leaves(whole), jax.tree.leaves(found)):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    apart = np.mean([loss(*map(jnp.asarray, (a[i:j], b[i:j], w[i:j]))) for i, j in ((0, 8), (8, 16))], axis=0)
    different = np.abs(apart / np.asarray(whole[0]) - 1)
    assert (different[[0, 2, 3, 4]] > 0.002).all(), different  # 20 tolerances; invariance is a mean of rows
"""


def test_rows_of_every_device_are_negatives():
    """On two simulated devices losses and gradients are those of one, not the mean of what each would find alone."""
    root = Path(__file__).parent.parent.parent
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(SHARDED)], check=True, env=env, cwd=root)
