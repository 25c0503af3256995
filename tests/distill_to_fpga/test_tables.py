"""Layers of tables: an address stands for the value that was cut to it, tables teach as their functions would, and what
is always zero can still learn."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_students import called, jets, slopes, student

from distill_to_fpga.students import StudentConfig, freeze
from distill_to_fpga.students.settings import TablesConfig
from distill_to_fpga.students.tables import AddressQuantizer, EdgeTables, looked_up
from foundation.errors import ConfigError

CONFIG = StudentConfig(kind="lut", tokens=4, tables=TablesConfig((3,), units=4), weight_fraction=4)


@pytest.mark.parametrize("most", [2, 6, 8])
def test_an_address_stands_for_the_value_that_was_cut_to_it(most):
    """Of 300 inputs of all scales, signed or not, with fractions finer and coarser than there is room for."""
    random = np.random.default_rng(most)
    centre, spread = random.normal(0, 10, 300), 2.0 ** random.uniform(-8, 6, 300)
    x = jnp.asarray(random.normal(centre * (random.random(300) < 0.5), spread, (64, 300)), jnp.float32)
    made = AddressQuantizer(300, random.integers(-4, 10, 300), most)
    trained = made(x, "calibrate")
    for mode in ("calibrate", "fixed"):
        if mode == "fixed":
            made.freeze()
        found = made(x, mode)
        assert (found == trained).all(), "what is frozen is what was trained"
        points, addresses = np.asarray(made.points(mode)), np.asarray(made.addresses(found, mode))
        assert (found == np.take_along_axis(points, addresses.T, axis=1).T).all()
    bits = np.asarray(made.bits[...])
    assert (bits.min(), bits.max()) == (0, most)


def test_far_outliers_saturate_instead_of_taking_the_addresses():
    x = np.random.default_rng(0).normal(0, 1, (2000, 1)).astype(np.float32)
    x[0] = 60
    made = AddressQuantizer(1, 9.0, 6)
    found = np.asarray(made(jnp.asarray(x), "calibrate"))
    assert float(made.high[0]) < 15
    assert np.abs(found - x)[np.abs(x) < 3].max() <= 0.25
    assert found[0] == found.max()


def test_gradients_of_what_is_looked_up():
    random = np.random.default_rng(3)
    tables, steep = jnp.asarray(random.normal(size=(2, 3, 4, 5)), jnp.float32)
    addresses = jnp.asarray(random.integers(0, 4, (7, 3)))
    given = jnp.asarray(random.normal(size=(7, 5)), jnp.float32)
    said = looked_up(tables, steep, addresses, jnp.zeros((7, 3)))
    by_hand = sum(np.asarray(tables)[i, np.asarray(addresses)[:, i]] for i in range(3))
    np.testing.assert_allclose(said, by_hand, rtol=1e-6)
    towards = jax.grad(lambda t, x: (looked_up(t, steep, addresses, x) * given).sum(), (0, 1))
    tables_slope, x_slope = towards(tables, jnp.zeros((7, 3)))
    expected = np.zeros((3, 4, 5))
    np.add.at(expected, (np.arange(3), np.asarray(addresses)), np.asarray(given)[:, None])
    np.testing.assert_allclose(tables_slope, expected, rtol=1e-5, atol=1e-6)
    there = np.asarray(steep)[np.arange(3), np.asarray(addresses)]
    np.testing.assert_allclose(x_slope, (there * np.asarray(given)[:, None]).sum(-1), rtol=1e-5)


def test_the_slope_of_a_function_is_its_derivative():
    made = EdgeTables(AddressQuantizer(2, 5.0, 6), 3, 4, 5.0, np.random.default_rng(1))
    x = np.linspace(-2, 2, 9, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    step = 2.0**-6
    ahead, behind = (np.asarray(made.functions(jnp.asarray(x + d))[0]) for d in (step, -step))
    np.testing.assert_allclose(made.functions(jnp.asarray(x))[1], (ahead - behind) / (2 * step), rtol=2e-2, atol=2e-3)


def test_a_layer_that_says_nothing_but_zero_still_learns():
    made = student(CONFIG)
    tables = [layer for layer in made.layers if isinstance(layer, EdgeTables)]
    for layer in tables:
        layer.fraction[...] -= 9
    said = called(made, jets(200), "train")
    assert (said == 0).all()
    graphdef, state = nnx.split(made)

    def loss(weight):
        again = nnx.merge(graphdef, state, copy=True)
        next(layer for layer in again.layers if isinstance(layer, EdgeTables)).weight[...] = weight
        return ((again(jnp.asarray(jets(200)), "train") - 1.0) ** 2).mean()

    slope = np.asarray(jax.jit(jax.grad(loss))(tables[0].weight[...]))
    assert np.isfinite(slope).all()
    assert (np.abs(slope) > 0).mean() > 0.5


def test_zero_bits_prune_a_connection():
    made = student(CONFIG)
    first = next(layer for layer in made.layers if isinstance(layer, EdgeTables))
    first.fraction[...] = first.fraction[...].at[2].set(-9.0)
    frozen = next(layer for layer in freeze(made, jets(500)).layers if isinstance(layer, EdgeTables))
    entries = np.asarray(frozen.entries[...])
    assert (entries[2] == 0).all()
    assert (entries[0] != 0).any()
    called(made, jets(500), "train")
    slope = slopes(made, lambda m: m.luts("train"))["layers/3/fraction"]
    assert (slope[2] == 0).all(), "what has no bits costs nothing"
    assert (slope[0] > 0).any()


def test_impossible_tables():
    for wrong in (TablesConfig(bits=9), TablesConfig(units=0)):
        with pytest.raises(ConfigError, match="2 <= bits <= 8 and units >= 1"):
            wrong.check()
