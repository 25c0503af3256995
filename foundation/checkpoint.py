"""Checkpoints through orbax: parameters, optimiser state and step, with the loader's state beside them.

Each process writes the parts of the arrays that its devices hold; on restoring, orbax reads what the devices of then
need, however many there are.
"""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from foundation.errors import TrainingError
from foundation.seal import SEAL, damage, seal

FOLDER, MODEL = "checkpoints", "model"
ASIDE = ".damaged"


class Checkpoints:
    """The checkpoints of a run, newest last. Writing is asynchronous and atomic; use as a context manager.

    A checkpoint gets its seal, the checksums of its files, as the last thing before it gets its name.

    Args:
        run: the run's folder.
        keep: how many to keep.
    """

    def __init__(self, run: Path, keep: int = 2):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)
        self.folder = (Path(run) / FOLDER).absolute()
        self.writing: int | None = None
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=True,
            async_options=ocp.options.AsyncOptions(post_finalization_callback=self._seal),
        )
        self.manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: object) -> None:
        self.manager.wait_until_finished()
        self.manager.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest complete checkpoint, damaged since or not."""
        return self.manager.latest_step()

    def save(self, step: int, state: Any, loader: dict[str, Any]) -> None:
        """Saves a pytree of arrays and the loader's state at `step` (a no-op if that step is saved already)."""
        import orbax.checkpoint as ocp

        if step in self.manager.all_steps():
            return
        parts = ocp.args.Composite(
            state=ocp.args.StandardSave(_stored(_plain(state))), loader=ocp.args.JsonSave(loader)
        )
        self.manager.wait_until_finished()  # orbax would wait too, but the seal must know which one is being written
        self.writing = step
        self.manager.save(step, args=parts)

    def _seal(self) -> None:
        """Called by orbax in its own thread, of the first process, when all is written and before the last rename."""
        for folder in self.folder.glob(f"{self.writing}.orbax-checkpoint-tmp*"):
            seal(folder)

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]]:
        """The newest checkpoint that is whole, in the shape and placement of `like`, and the loader's state.

        Newer ones that are damaged are named on stderr and put aside as `STEP.damaged`.

        Raises:
            TrainingError: there is none, all are damaged, or it does not fit `like`.
        """
        import orbax.checkpoint as ocp

        step = self._newest_whole()
        plain = _plain(like)
        _check_fits(self.folder / str(step) / "state", plain)
        parts = ocp.args.Composite(state=ocp.args.StandardRestore(_target(plain)), loader=ocp.args.JsonRestore())
        found = self.manager.restore(step, args=parts)
        return jax.tree.unflatten(jax.tree.structure(like), _filled(found["state"], plain)), found["loader"]

    def _newest_whole(self) -> int:
        """Step of the newest checkpoint without damage; one process reads all files and tells the others."""
        from jax.experimental import multihost_utils

        self.manager.wait_until_finished()
        first = jax.process_index() == 0
        step, faults = self._examine() if first else (None, {})
        step = int(multihost_utils.broadcast_one_to_all(np.int32(-1 if step is None else step)))
        if step < 0:
            named = "".join(f"\n  {self.folder / str(number)}: {fault}" for number, fault in faults.items())
            what = "has no checkpoint that is whole" if faults or not first else "holds no complete checkpoint"
            raise TrainingError(f"{self.folder} {what}; start again without --resume{named}")
        self.manager.reload()
        return step

    def _examine(self) -> tuple[int | None, dict[int, str]]:
        """The newest step without damage, and what is wrong with those after it, which are named and put aside."""
        faults: dict[int, str] = {}
        for step in sorted(self.manager.all_steps(), reverse=True):
            fault = damage(self.folder / str(step))
            if not fault:
                self._put_aside(faults, step)
                return step, faults
            faults[step] = fault
        return None, faults

    def _put_aside(self, faults: dict[int, str], instead: int) -> None:
        for step, fault in faults.items():
            path, aside = self.folder / str(step), self.folder / f"{step}{ASIDE}"
            shutil.rmtree(aside, ignore_errors=True)  # of an earlier time
            path.rename(aside)
            print(
                f"warning: checkpoint {path} is damaged ({fault}); it is kept as {aside.name}, "
                f"and step {instead} is used instead",
                file=sys.stderr,
            )


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
    """The finished model: every variable, trained or not, in one sealed checkpoint at `RUN/model`.

    In several processes all call this, each with the whole model, and the first one writes.
    """
    import orbax.checkpoint as ocp

    folder = (Path(run) / MODEL).absolute()
    whole = jax.tree.map(np.asarray, _stored(_plain(nnx.state(model))))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, whole, force=True)
        checkpointer.wait_until_finished()
    if jax.process_index() == 0:
        seal(folder)


def load_model(run: Path, model: nnx.Module) -> None:
    """Fills `model` with the variables that `save_model` wrote.

    Raises:
        TrainingError: no model there (the run did not finish), a file of it is damaged, or it does not fit.
    """
    import orbax.checkpoint as ocp

    folder = (Path(run) / MODEL).absolute()
    if not folder.is_dir():
        raise TrainingError(f"{run} holds no finished model; the run was interrupted: continue it with --resume")
    fault = damage(folder) if (folder / SEAL).is_file() else ""
    if fault:
        raise TrainingError(f"the model {folder} is damaged: {fault}; copy it again, or train it again")
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
