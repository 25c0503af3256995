"""What a device can do at most, from its maker's data sheet (dense arithmetic, no sparsity)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from foundation.errors import ConfigError, close_names

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Chip:
    """One device.

    Attributes:
        name: as `--chip` takes it.
        bfloat16: peak, FLOP/s.
        float32: peak of matrix products of float32 arrays, FLOP/s; on newer NVIDIA cards jax does them in TF32.
        memory: bytes; 0 if it is the machine's.
    """

    name: str
    bfloat16: float
    float32: float
    memory: float

    def peak(self, precision: Precision) -> float:
        return self.bfloat16 if precision == "bfloat16" else self.float32


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v100", 15.7e12, 15.7e12, 32e9),  # no bfloat16 units
        Chip("a100", 312e12, 156e12, 40e9),
        Chip("a100-80gb", 312e12, 156e12, 80e9),
        Chip("a10", 125e12, 62.5e12, 24e9),
        Chip("l4", 121e12, 60e12, 24e9),
        Chip("l40s", 362e12, 183e12, 48e9),
        Chip("rtx4090", 165e12, 82.6e12, 24e9),
        Chip("h100", 989e12, 494e12, 80e9),
        Chip("gh200", 989e12, 494e12, 96e9),
        Chip("h200", 989e12, 494e12, 141e9),
        Chip("b200", 2250e12, 1100e12, 180e9),
        Chip("mi250x", 191.5e12, 47.9e12, 64e9),  # one of its two dies, which is what a process sees
        Chip("mi300x", 1307e12, 653e12, 192e9),
    )
}
HERE = "cpu"


def find_chip(name: str) -> Chip:
    """A device by name; `cpu` is the processor here, whose peak is measured.

    Raises:
        ConfigError: not in the table.
    """
    if name == HERE:
        return _processor()
    if name not in CHIPS:
        raise ConfigError(f"no device '{name}' in the table; {close_names(name, [*CHIPS, HERE])}")
    return CHIPS[name]


def _processor(size: int = 1024) -> Chip:
    """The best of a few matrix products in float32, which a CPU uses for bfloat16, too."""
    product = jax.jit(lambda a: a @ a, backend="cpu")
    a = jnp.full((size, size), 1 / size)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        product(a).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return Chip(HERE, 2 * size**3 / best, 2 * size**3 / best, 0.0)
