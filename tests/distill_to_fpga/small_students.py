"""Students and inputs small enough for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.objective import Examples
from distill_to_fpga.quantize import Mode, Width
from distill_to_fpga.students import Student, StudentConfig, build_student, input_scaling
from distill_to_fpga.students.student import forward
from foundation.schema import Hardware

LAYOUT = HardwareLayout(
    "particles",
    tokens=4,
    features={"pt": Hardware(0.25, 10, False), "deta": Hardware(0.01, 7, True), "isMuon": Hardware(1.0, 1, False)},
    columns=(0, 1, 2),
)


def jets(count: int, seed: int = 0, layout: HardwareLayout = LAYOUT) -> np.ndarray:
    """Real-like integers: falling first feature, centred others, empty slots at the end."""
    random = np.random.default_rng(seed)
    size = (count, layout.tokens, len(layout.features))
    spread = np.maximum((layout.high - layout.low) / 8, 1)
    values = np.clip(np.floor(random.normal(size=size) * spread), layout.low, layout.high).astype(np.int32)
    values[..., 0] = np.sort(np.abs(values[..., 0]), axis=1)[:, ::-1]
    return values * (np.arange(layout.tokens) < random.integers(1, layout.tokens + 1, size=(count, 1)))[..., None]


def adversarial(layout: HardwareLayout = LAYOUT) -> np.ndarray:
    """All smallest, all largest, all zero, and uniformly random integers over the whole range of the types."""
    random = np.random.default_rng(1).integers(layout.low, layout.high + 1, (200, layout.tokens, len(layout.low)))
    shape = random.shape[1:]
    corners = [np.broadcast_to(value, shape) for value in (layout.low, layout.high, 0)]
    return np.concatenate([np.stack(corners), random]).astype(np.int32)


def examples(layout: HardwareLayout = LAYOUT) -> np.ndarray:
    """Jets that calibrated nothing, and `adversarial`: 500, for which tests ask everywhere, as each number of rows is
    a program of its own to compile."""
    return np.concatenate([jets(297, 9, layout), adversarial(layout)])


def learnable(count: int, seed: int) -> Examples:
    """Signal is what has a large sum of |deta|; the teacher knows by how much."""
    x = jets(count, seed)
    score = (np.abs(x[..., 1]).sum(1) - 15) / 6.0
    return Examples(x, (score < 0).astype(np.int32), np.stack([score, -score], 1).astype(np.float32))


def student(config: StudentConfig, seed: int = 0, layout: HardwareLayout = LAYOUT) -> Student:
    """An untrained student for `jets`, with two classes and one regression output."""
    offset, shift = input_scaling(jets(500, layout=layout))
    return build_student(config, offset, shift, ("signal", "background"), ("pt",), seed)


def called(made: Student, x: np.ndarray, mode: Mode) -> np.ndarray:
    """Outputs of a call in any mode, compiled as a whole; the student remembers what it recorded."""
    graphdef, state = nnx.split(made)
    outputs, state = forward(graphdef, state, x, mode)
    nnx.update(made, state)
    return np.asarray(outputs)


def slopes(made: nnx.Module, cost: Callable[[Any], jax.Array]) -> dict[str, np.ndarray]:
    """Gradients of a cost on every width, by path; compiled as a whole."""
    graphdef, widths, rest = nnx.split(made, Width, ...)
    gradient = jax.jit(jax.grad(lambda w: cost(nnx.merge(graphdef, w, rest, copy=True))))(widths)
    return {"/".join(map(str, path)): np.asarray(value[...]) for path, value in nnx.to_flat_state(gradient)}


def scatter_widths(made: Student, seed: int, low: float = -2.0, high: float = 7.0) -> Student:
    """The student with random fractions everywhere, so that some weights and activations keep no bits at all."""
    random = np.random.default_rng(seed)
    widths = nnx.state(made, Width)
    nnx.update(made, jax.tree.map(lambda w: jnp.asarray(random.uniform(low, high, w.shape), jnp.float32), widths))
    return made
