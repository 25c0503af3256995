from __future__ import annotations

from typing import get_args

import jax.numpy as jnp
import numpy as np
import pytest

from foundation.schema import Transform
from foundation.transforms import TINY, TRANSFORMS, transform

VALUES = np.array([-2.0, -1.0, 0.0, 1e-9, 0.5, 3.0, 1e6], np.float32)


def test_every_transform_of_the_schema_exists():
    assert set(TRANSFORMS) == set(get_args(Transform))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_numpy_and_jax_agree_and_stay_finite(name):
    ours = transform(name, VALUES)
    assert np.isfinite(ours).all()
    assert (np.diff(ours) >= 0).all()
    np.testing.assert_allclose(transform(name, jnp.asarray(VALUES), jnp), ours, rtol=1e-5, atol=1e-6)


def test_values_and_clamps():
    np.testing.assert_allclose(transform("log", np.array([0.0, np.e])), [np.log(TINY), 1])
    np.testing.assert_allclose(transform("log1p", np.array([-5.0, np.e - 1])), [np.log(TINY), 1])
    np.testing.assert_allclose(transform("asinh", np.sinh(np.array([-3.0, 2.0]))), [-3, 2])
