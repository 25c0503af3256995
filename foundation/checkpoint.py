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
        parts = ocp.args.Composite(state=ocp.args.StandardSave(_plain(state)), loader=ocp.args.JsonSave(loader))
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
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), plain)
        parts = ocp.args.Composite(state=ocp.args.StandardRestore(target), loader=ocp.args.JsonRestore())
        try:
            found = self.manager.restore(step, args=parts)
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{self.folder}/{step} does not fit this model: {str(error).splitlines()[0]}"
            ) from error
        return jax.tree.unflatten(jax.tree.structure(like), [found["state"][name] for name in plain]), found["loader"]


def _plain(tree: Any) -> Any:
    """The tree as nested dicts of arrays, so that a checkpoint needs no class of ours to be read."""
    return {"/".join(map(_name, path)): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(entry: Any) -> str:
    return str(getattr(entry, "name", getattr(entry, "key", getattr(entry, "idx", entry))))


def save_model(run: Path, model: nnx.Module) -> None:
    """The finished model: every variable, trained or not, in one checkpoint at `RUN/model`."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((Path(run) / "model").absolute(), _plain(nnx.state(model)), force=True)


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
        try:
            target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), plain)
            found = checkpointer.restore(folder, target)
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{folder} does not fit this model: {str(error).splitlines()[0]}") from error
    nnx.update(model, jax.tree.unflatten(jax.tree.structure(state), [found[name] for name in plain]))
