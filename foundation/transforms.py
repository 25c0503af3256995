"""The transforms a schema may name: one place, for numpy at ingest and jax on the device."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

TINY = 1e-6  # `log` sees max(x, TINY) and `log1p` sees max(x, TINY - 1): zeros and small negatives stay finite

TRANSFORMS: dict[str, Callable[[Any, Any], Any]] = {
    "identity": lambda xp, x: x,
    "log": lambda xp, x: xp.log(xp.maximum(x, TINY)),
    "log1p": lambda xp, x: xp.log1p(xp.maximum(x, TINY - 1)),
    "asinh": lambda xp, x: xp.arcsinh(x),
}


def transform(name: str, values: Float[Any, "*shape"], xp: ModuleType = np) -> Float[Any, "*shape"]:
    """Raw physical values of one feature -> what networks see, by the transform `name`. `xp` is numpy or jax.numpy."""
    return TRANSFORMS[name](xp, values)


INVERSES: dict[str, Callable[[Any, Any], Any]] = {
    "identity": lambda xp, x: x,
    "log": lambda xp, x: xp.exp(x),
    "log1p": lambda xp, x: xp.expm1(x),
    "asinh": lambda xp, x: xp.sinh(x),
}


def inverse(name: str, values: Float[Any, "*shape"], xp: ModuleType = np) -> Float[Any, "*shape"]:
    """The raw value that `transform` makes `values` of, where it is one to one."""
    return INVERSES[name](xp, values)
