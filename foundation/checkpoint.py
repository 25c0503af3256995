"""Checkpoints through orbax: parameters, optimiser state and step, with the loader's state beside them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from foundation.errors import TrainingError

FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints of a run, newest last. Writing is asynchronous and atomic; use as a context manager.

    Args:
        run: the run's folder.
        keep: how many to keep.
    """

    def __init__(self, run: Path, keep: int = 2):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)
        self.folder = (Path(run) / FOLDER).absolute()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self.manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: object) -> None:
        self.manager.wait_until_finished()
        self.manager.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return self.manager.latest_step()

    def save(self, step: int, state: Any, loader: dict[str, Any]) -> None:
        """Saves a pytree of arrays and the loader's state at `step` (a no-op if that step is saved already)."""
        import orbax.checkpoint as ocp

        if step in self.manager.all_steps():
            return
        parts = ocp.args.Composite(
            state=ocp.args.StandardSave(_stored(_plain(state))), loader=ocp.args.JsonSave(loader)
        )
        self.manager.save(step, args=parts)

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]]:
        """The newest checkpoint, in the shape and placement of `like`, and the loader's state.

        Raises:
            TrainingError: there is none, or it does not fit `like`.
        """
        import orbax.checkpoint as ocp

        step = self.latest
        if step is None:
            raise TrainingError(f"{self.folder} holds no complete checkpoint; start again without --resume")
        plain = _plain(like)
        _check_fits(self.folder / str(step) / "state", plain)
        parts = ocp.args.Composite(state=ocp.args.StandardRestore(_target(plain)), loader=ocp.args.JsonRestore())
        found = self.manager.restore(step, args=parts)
        return jax.tree.unflatten(jax.tree.structure(like), _filled(found["state"], plain)), found["loader"]


def _plain(tree: Any) -> dict[str, Any]:
    """The tree as one dict, path -> array, so that a checkpoint needs no class of ours to be read."""
    return {"/".join(map(_name, path)): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _stored(plain: dict[str, Any]) -> dict[str, Any]:
    """Without arrays of no elements, which orbax refuses; restoring takes those from the model itself."""
    return {name: leaf for name, leaf in plain.items() if leaf.size}


def _target(plain: dict[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    return {n: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding) for n, x in _stored(plain).items()}


def _name(entry: Any) -> str:
    return str(getattr(entry, "name", getattr(entry, "key", getattr(entry, "idx", entry))))


def save_model(run: Path, model: nnx.Module) -> None:
    """The finished model: every variable, trained or not, in one checkpoint at `RUN/model`."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((Path(run) / "model").absolute(), _stored(_plain(nnx.state(model))), force=True)


def load_model(run: Path, model: nnx.Module) -> None:
    """Fills `model` with the variables that `save_model` wrote.

    Raises:
        TrainingError: no model there (the run did not finish), or it does not fit.
    """
    import orbax.checkpoint as ocp

    folder = (Path(run) / "model").absolute()
    if not folder.is_dir():
        raise TrainingError(f"{run} holds no finished model; the run was interrupted: continue it with --resume")
    state = nnx.state(model)
    plain = _plain(state)
    with ocp.StandardCheckpointer() as checkpointer:
        _check_fits(folder, plain)
        found = checkpointer.restore(folder, _target(plain))
    nnx.update(model, jax.tree.unflatten(jax.tree.structure(state), _filled(found, plain)))


def _check_fits(folder: Path, plain: dict[str, Any]) -> None:
    """Raises TrainingError naming the first array that is missing from `folder` or of another shape there."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        stored, wanted = dict(checkpointer.metadata(folder).item_metadata.items()), _stored(plain)
    for name in [*wanted, *stored]:
        there, here = (tuple(tree[name].shape) if name in tree else "absent" for tree in (stored, wanted))
        if there != here:
            raise TrainingError(f"{folder} does not fit this model: '{name}' is {there} there, {here} here")


def _filled(found: dict[str, Any], plain: dict[str, Any]) -> list[Any]:
    return [found.get(name, leaf) for name, leaf in plain.items()]
