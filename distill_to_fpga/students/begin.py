"""A student that begins as another one ended: trained in floating point first, or shrunk budget by budget."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import jax.numpy as jnp
from flax import nnx

from distill_to_fpga.students.layers import Constant
from distill_to_fpga.students.student import Student
from foundation.errors import ConfigError

FREE = ("quantized", "weight_digits", "weight_fraction", "activation_fraction", "weight_granularity")


def begun(student: Student, start: Student) -> Student:
    """`student` with the weights, the learnt widths and the scaling of the inputs of `start`.

    Weights of a frozen student are on its grid; those that it pruned are zero. A width that several weights share is
    the largest of theirs. A floating-point student has widths that nobody learnt.

    Args:
        student: built, not trained; it is changed.
        start: of the same shape, frozen or in floating point.

    Raises:
        ConfigError: another shape, other outputs, or trees, which are grown; names what differs.
    """
    if student.config.kind == "trees":
        raise ConfigError("--start: trees are grown at once, from nothing")
    ours, theirs = student.config, start.config
    names = [f.name for f in fields(ours) if f.name not in FREE and getattr(ours, f.name) != getattr(theirs, f.name)]
    differing = [f"student.{n} is {getattr(ours, n)}, that of the start {getattr(theirs, n)}" for n in names]
    if (student.classes, student.regressions) != (start.classes, start.regressions):
        outputs = [[*each.classes, *each.regressions] for each in (student, start)]
        differing.append(f"the outputs are {outputs[0]}, those of the start {outputs[1]}")
    if differing:
        raise ConfigError(f"--start: a student begins as one of its own shape; {'; '.join(differing)}")
    given = dict(nnx.to_flat_state(nnx.state(start)))
    flat = nnx.to_flat_state(nnx.state(student))
    for path, variable in flat:
        if isinstance(variable, (nnx.Param, Constant)):
            variable.set_value(_shared(given[path][...], variable.shape))
    nnx.update(student, nnx.from_flat_state(flat))
    return student


def _shared(values: Any, shape: tuple[int, ...]) -> Any:
    """Widths in a coarser granularity: the largest of those that become one; in a finer one: the same for all.

    A copy: training takes its arrays over.
    """
    axes = tuple(axis for axis, size in enumerate(shape) if size < values.shape[axis])
    return jnp.array(jnp.broadcast_to(values.max(axis=axes, keepdims=True) if axes else values, shape))
