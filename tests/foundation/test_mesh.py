"""The rules of the mesh: who gets what, without any device."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError
from foundation.mesh import SMALL, Layout, MeshConfig, fill, mesh_shape, split


@pytest.mark.parametrize(
    ("config", "devices", "shape"),
    [
        (MeshConfig(), 1, (1, 1)),
        (MeshConfig(), 8, (8, 1)),
        (MeshConfig(data=-1, fsdp=4), 8, (2, 4)),
        (MeshConfig(data=1, fsdp=-1), 8, (1, 8)),
        (MeshConfig(data=1, fsdp=-1), 1, (1, 1)),
        (MeshConfig(data=2, fsdp=3), 6, (2, 3)),
    ],
)
def test_minus_one_is_all_that_are_left(config, devices, shape):
    assert mesh_shape(config, devices) == shape


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MeshConfig(data=-1, fsdp=3), "8 devices"),
        (MeshConfig(data=4, fsdp=4), "8 devices"),
        (MeshConfig(data=16, fsdp=-1), "8 devices"),
        (MeshConfig(data=-1, fsdp=-1), "one of them -1"),
        (MeshConfig(data=0, fsdp=8), "positive"),
        (MeshConfig(data=-2, fsdp=4), "positive"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        mesh_shape(config, 8)


def test_one_device_has_no_mesh_and_touches_nothing():
    layout, array = Layout.of(MeshConfig()), np.ones(3)
    assert layout.mesh is None
    assert layout.place(array) is layout.constrain(array) is layout.gather(array) is layout.local(array) is array
    assert layout.largest(15) == 15


@pytest.mark.parametrize(
    ("shape", "fsdp", "axes"),
    [
        ((64, 192), 8, (None, "fsdp")),
        ((192, 64), 8, ("fsdp",)),
        ((64, 64), 8, ("fsdp",)),
        ((3, 1000, 512), 8, (None, "fsdp")),
        ((3, 1001, 512), 8, (None, None, "fsdp")),
        ((1001, 1001), 8, ()),
        ((64,), 8, ()),
        ((64, 192), 1, ()),
        ((), 8, ()),
    ],
)
def test_the_largest_axis_that_divides_is_split(shape, fsdp, axes):
    assert split(shape, fsdp) == axes


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 300), max_size=4).map(tuple), st.integers(1, 16))
def test_at_most_one_axis_is_split_and_always_evenly(shape, fsdp):
    axes = split(shape, fsdp)
    assert axes.count("fsdp") == (len(axes) > 0)
    if axes:
        assert math.prod(shape) >= SMALL
        assert shape[axes.index("fsdp")] % fsdp == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 9))
def test_rows_that_fill_up_weigh_nothing_and_have_no_tokens(rows, multiple):
    tokens = Tokens(np.ones((rows, 3, 2), np.float32), np.ones((rows, 3), bool))
    labels = {"kind": np.ones(rows, np.int32), "mass": np.ones((rows, 3), np.float32)}
    weights, index = np.ones(rows, np.float32), np.arange(rows, dtype=np.int32)
    batch = TokenBatch({"p": tokens}, np.ones((rows, 1), np.float32), labels, weights, index)
    filled = fill(batch, multiple)
    assert filled.size % multiple == 0
    assert filled.size < rows + multiple
    more = slice(rows, None)
    assert not filled.weights[more].any()
    assert not filled.modalities["p"].mask[more].any()
    assert not filled.modalities["p"].values[more].any()
    assert (filled.index[more] == -1).all()
    assert (filled.labels["kind"][more] == -1).all()
    assert np.isnan(filled.labels["mass"][more]).all()
    for before, after in ((weights, filled.weights), (tokens.values, filled.modalities["p"].values)):
        np.testing.assert_array_equal(after[:rows], before)
        assert after.dtype == before.dtype
