"""How a training step lies on its devices: one mesh of two axes, `data` and `fsdp`.

Each device works on its own rows of the batch. Devices along `data` hold equal copies of the training state; those
along `fsdp` share one copy, each array split along its largest axis that divides (ZeRO-3: arXiv:1910.02054). A step
means the same on every mesh: the loss is that of the whole batch. On one device there is no mesh, and nothing is added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from foundation.batch import Batch, TokenBatch
from foundation.errors import ConfigError

AXES = ("data", "fsdp")
SMALL = 1024  # arrays of fewer numbers are not worth gathering

T = TypeVar("T")


@dataclass(frozen=True)
class MeshConfig:
    """How the devices share the work; their number is the product. One of the two may be -1: all devices left over.

    Attributes:
        data: groups of devices that each hold a whole copy of the model.
        fsdp: devices that share one copy of parameters, moving average and optimiser state.
    """

    data: int = -1
    fsdp: int = 1


@dataclass(frozen=True)
class Layout:
    """Where arrays lie. Hashable, so that a compiled step can depend on it.

    Attributes:
        mesh: the devices as an array [data, fsdp], or None for a single device.
    """

    mesh: Mesh | None = None

    @staticmethod
    def of(config: MeshConfig, devices: Sequence[Any] | None = None) -> Layout:
        """The layout over `devices` (default: all of all processes), neighbours along `fsdp` next to each other.

        Raises:
            ConfigError: the sizes do not multiply to the number of devices.
        """
        devices = list(jax.devices() if devices is None else devices)
        shape = mesh_shape(config, len(devices))
        return Layout() if len(devices) == 1 else Layout(Mesh(np.asarray(devices).reshape(shape), AXES))

    @property
    def processes(self) -> int:
        return 1 if self.mesh is None else jax.process_count()

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes a run's files."""
        return self.mesh is None or jax.process_index() == 0

    def sharding(self, shape: tuple[int, ...]) -> NamedSharding:
        """Of an array of the training state."""
        assert self.mesh is not None
        return NamedSharding(self.mesh, PartitionSpec(*split(shape, self.mesh.shape["fsdp"])))

    def place(self, state: T) -> T:
        """A tree of equal arrays in every process -> global arrays, spread by the rule."""
        if self.mesh is None:
            return state

        def spread(leaf: Any) -> jax.Array:
            whole = np.asarray(leaf)
            return jax.make_array_from_callback(whole.shape, self.sharding(whole.shape), lambda part: whole[part])

        return jax.tree.map(spread, state)

    def tied(self, state: T) -> T:
        """A tree that is tied to the one device there is, or spread already.

        Arrays read from a file are tied to a device and fresh ones are not. A step on both kinds would be compiled for
        them and, since it returns tied ones only, once more.
        """
        return jax.device_put(state, jax.local_devices()[0]) if self.mesh is None else state

    def constrain(self, state: T) -> T:
        """Within a compiled function: keeps a tree of the training state spread by the rule."""
        if self.mesh is None:
            return state
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, self.sharding(x.shape)), state)

    def gather(self, tree: T) -> T:
        """Within a compiled function: the whole of every array on every device."""
        if self.mesh is None:
            return tree
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, everywhere), tree)

    def local(self, tree: T) -> T:
        """Global arrays -> whole ones on one device of this process. All processes must call it together."""
        if self.mesh is None:
            return tree
        return jax.tree.map(lambda x: x.addressable_data(0), _gathered(tree, layout=self))

    def batch(self, rows: Batch) -> Any:
        """This process's rows -> the global batch, one part of its rows on each device.

        Rows are filled up to a number that the devices can share, with weight 0, index -1 and no tokens.
        """
        if self.mesh is None:
            return rows
        here = len(self.mesh.local_devices)
        filled = fill(rows, math.lcm(here, 2))  # an even number: rows 2i and 2i + 1 may be a pair
        over_rows = NamedSharding(self.mesh, PartitionSpec(AXES))
        return jax.tree.map(partial(jax.make_array_from_process_local_data, over_rows), filled)

    def largest(self, number: int) -> Any:
        """The largest of the numbers that the processes bring, known to all once the devices have come so far."""
        if self.processes == 1:
            return number
        assert self.mesh is not None
        mine = np.full(len(self.mesh.local_devices), number, np.int32)
        over_rows = NamedSharding(self.mesh, PartitionSpec(AXES))
        return _largest(jax.make_array_from_process_local_data(over_rows, mine), layout=self)


@partial(jax.jit, static_argnames="layout")
def _largest(numbers: jax.Array, layout: Layout) -> jax.Array:
    return layout.gather(numbers.max())


@partial(jax.jit, static_argnames="layout")
def _gathered(tree: Any, layout: Layout) -> Any:
    return layout.gather(tree)


def mesh_shape(config: MeshConfig, devices: int) -> tuple[int, int]:
    """Sizes of `data` and `fsdp` for so many devices.

    Raises:
        ConfigError: they do not multiply to the number of devices.
    """
    data, fsdp = config.data, config.fsdp
    if (data == -1 and fsdp == -1) or min(data, fsdp) < -1 or 0 in (data, fsdp):
        raise ConfigError(f"train.mesh: data {data} and fsdp {fsdp} must be positive, or one of them -1")
    data = devices // fsdp if data == -1 else data
    fsdp = devices // data if fsdp == -1 else fsdp
    if data * fsdp != devices:
        raise ConfigError(
            f"train.mesh: data {config.data} x fsdp {config.fsdp} does not fit the {devices} devices here; "
            "-1 takes all that are left"
        )
    return data, fsdp


def split(shape: tuple[int, ...], fsdp: int) -> tuple[str | None, ...]:
    """The axis names of a PartitionSpec: the largest axis that `fsdp` divides is split, the first among equals.

    A small array, and one that does not divide, stays whole on every device.
    """
    dividing = [size for size in shape if size % fsdp == 0]
    if fsdp == 1 or math.prod(shape) < SMALL or not dividing:
        return ()
    at = shape.index(max(dividing))
    return (None,) * at + ("fsdp",)


def fill(rows: Batch, multiple: int) -> Batch:
    """Adds rows of weight 0 (of tokens: without any) until their number is a multiple."""
    missing = -rows.size % multiple
    if not missing:
        return rows

    def more(array: Any, value: float) -> np.ndarray:
        added = np.full((missing, *array.shape[1:]), value, array.dtype)
        return np.concatenate([np.asarray(array), added])

    def unknown(label: Any) -> np.ndarray:
        return more(label, np.nan if np.issubdtype(label.dtype, np.floating) else -1)

    zeros = partial(more, value=0)
    if not isinstance(rows, TokenBatch):
        return jax.tree.map(zeros, rows)
    modalities, around = jax.tree.map(zeros, (rows.modalities, rows.globals))
    labels = {name: unknown(label) for name, label in rows.labels.items()}
    return TokenBatch(modalities, around, labels, zeros(rows.weights), more(rows.index, -1))
