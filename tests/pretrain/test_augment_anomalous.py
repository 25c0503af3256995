"""Anomalous examples: each kind changes what it says and conserves the rest, and every example gets one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from whole_events import QUICK, SCHEMA, SIZE, SLOTS, column, make_batch, mask, missing, rows_changed

from foundation.batch import TokenBatch, Tokens
from foundation.command import load_config
from foundation.errors import ConfigError
from foundation.schema import DetectorSchema
from pretrain.augment import AddedObjects, AnomalousConfig, MetShift, Multiplicity, PtShift, anomalous

NONE = AnomalousConfig(AddedObjects(0.0), Multiplicity(0.0), PtShift(0.0), MetShift(0.0))
PT = {"towers": "et", "tracks": "pt"}


@functools.cache
def compiled(config):
    return jax.jit(functools.partial(anomalous, schema=SCHEMA, config=config), compiler_options=QUICK)


def apply(batch, seed, **chosen):
    config = AnomalousConfig(**{**{k: getattr(NONE, k) for k in NONE.__dataclass_fields__}, **chosen})
    return compiled(config)(batch, key=jax.random.key(seed))


def test_added_objects_are_hard_and_the_softest_give_way():
    for seed in range(3):
        batch = make_batch(seed)
        after = apply(batch, seed, added=AddedObjects(1.0, count=3, low=0.5, high=1.0))
        most = np.max([column(batch, n, pt).max(axis=1) for n, pt in PT.items()], axis=0)
        total = np.zeros(SIZE, int)
        for name, pt in PT.items():
            own = column(batch, name, pt)
            for b in range(SIZE - 1):
                found = column(after, name, pt)[b][mask(after, name)[b]]
                new = found[~np.isin(found, own[b])]
                total[b] += len(new)
                assert np.all((new >= 0.4999 * most[b]) & (new <= 1.0001 * most[b]))
                real, kept = mask(batch, name)[b], np.isin(own[b], found)
                lost = own[b][real & ~kept]
                assert len(lost) == max(0, real.sum() + len(new) - SLOTS)
                assert not len(lost) or lost.max() <= own[b][real & kept].min()
        assert np.all((total[:-1] >= 1) & (total[:-1] <= 3))
        assert len(set(total[:-1])) > 1


def test_another_multiplicity_at_the_same_sum_of_pt():
    counts = []
    for seed in range(4):
        batch = make_batch(seed)
        after = apply(batch, seed, multiplicity=Multiplicity(1.0, 0.5, 0.4))
        for name, pt in PT.items():
            before, now = (column(b, name, pt).sum(axis=1, dtype=np.float64) for b in (batch, after))
            np.testing.assert_allclose(now, before, rtol=1e-5)
            change = (mask(after, name).sum(axis=1) - mask(batch, name).sum(axis=1))[:-1]
            assert np.all(change != 0)
            counts.append(change > 0)
            place = [(column(b, name, pt) * column(b, name, "eta")).sum(axis=1) for b in (batch, after)]
            up = np.append(change > 0, False)
            np.testing.assert_allclose(place[1][up], place[0][up], atol=2e-3 * before.max())
            assert not np.any(np.isin(column(after, name, "eta")[up][:, 0], column(batch, name, "eta")[up][:, 0]).all())
    assert 0.3 < np.mean(counts) < 0.6  # up or down alike; down where there is no slot


def test_pt_is_shifted_by_one_factor_up_or_down():
    batch = make_batch(1)
    after = apply(batch, 1, pt=PtShift(1.0, 2.0, 3.0))
    factors = [column(after, n, pt)[:-1, 0] / column(batch, n, pt)[:-1, 0] for n, pt in PT.items()]
    np.testing.assert_allclose(factors[0], factors[1], rtol=1e-5)
    size = np.exp(np.abs(np.log(factors[0])))
    assert np.all((size >= 1.999) & (size <= 3.001))
    assert 0 < np.sum(factors[0] > 1) < SIZE - 1
    np.testing.assert_array_equal(column(after, "towers", "phi"), column(batch, "towers", "phi"))


def test_missing_momentum_is_shifted_and_nothing_else():
    batch = make_batch(2)
    after = apply(batch, 2, met=MetShift(1.0, 20.0, 30.0))
    shift = np.hypot(*(missing(after) - missing(batch))[:-1].T)
    assert np.all((shift > 19.99) & (shift < 30.01))
    for name, tokens in batch.modalities.items():
        np.testing.assert_array_equal(after.modalities[name].values, tokens.values)


def test_every_example_gets_one_anomaly_and_fillers_none():
    config = AnomalousConfig()
    batch = make_batch(5)
    after = compiled(config)(batch, key=jax.random.key(0))
    changed = rows_changed(batch, after)
    assert changed[:-1].all()
    assert not changed[-1]
    met = np.asarray(after.globals[:, 0] != batch.globals[:, 0])
    tokens = np.any(np.asarray(after.modalities["towers"].values != batch.modalities["towers"].values), axis=(1, 2))
    assert 0 < met.sum() < SIZE - 1
    assert not np.any(met & tokens)  # one, and not two
    assert not rows_changed(after, compiled(config)(batch, key=jax.random.key(0))).any()
    assert rows_changed(after, compiled(config)(batch, key=jax.random.key(1))).any()
    for name in SCHEMA.modalities:
        values, real = np.asarray(after.modalities[name].values), mask(after, name)
        assert np.all(values[~real] == 0)
        assert np.all(real[:, :-1] >= real[:, 1:])


def test_what_a_schema_cannot_carry_is_left_out_or_refused_by_name():
    schema = DetectorSchema.load({"name": "hits", "modalities": {"hits": {"features": {"x": {"expression": "x"}}}}})
    batch = TokenBatch({"hits": Tokens(jnp.ones((2, 3, 1)), jnp.ones((2, 3), bool))}, jnp.zeros((2, 0)), {},
                       jnp.ones(2), jnp.arange(2))  # fmt: skip
    with pytest.raises(ConfigError, match="schema 'hits' can carry none of the anomalies"):
        anomalous(batch, schema, AnomalousConfig(), jax.random.key(0))
    for bad, says in (
        ({"met": {"share": 2.0}}, "anomalous.met: no modality of schema 'hits' has a missing transverse momentum"),
        ({"pt": {"low": 3.0, "high": 2.0}}, "anomalous.pt: low 3.0 and high 2.0 must be positive and in this order"),
        ({"added": {"count": 0}}, "anomalous.added.count must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=says):
            anomalous(batch, schema, load_config(AnomalousConfig, bad), jax.random.key(0))
