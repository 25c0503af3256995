"""A published encoder: one folder that needs neither the run it came from nor orbax to be read.

`weights.npz` (path of a variable -> array, numpy's own format, no pickle), `encoder.yaml`, `schema.yaml`, `config.yaml`
(the pretraining's settings), `metrics.json`, `README.md` (the model card) and `provenance.json`, which lists the
SHA-256 of all the others and carries its own. Commands that take a pretrain run take such a folder in its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from foundation.errors import RunError
from foundation.models.encoder import Encoder
from foundation.runs import PROVENANCE, Run, sealed, sha256

STAGE = "publish"
WEIGHTS = "weights.npz"


def variables(model: nnx.Module) -> dict[str, np.ndarray]:
    """Every variable of a model, trained or not: path (`blocks/0/feed/up/kernel`) -> array."""
    return {"/".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(model))}


def set_variables(model: nnx.Module, arrays: Mapping[str, np.ndarray], where: str | Path) -> None:
    """Fills the variables of `model` that `arrays` names; the others stay as they are.

    Raises:
        RunError: the model has no such variable, or one of another shape. Nothing is changed then.
    """
    known = {"/".join(map(str, path)): (path, leaf) for path, leaf in nnx.to_flat_state(nnx.state(model))}
    for name, array in arrays.items():
        here = known[name][1].shape if name in known else "absent"
        if here != array.shape:
            raise RunError(f"{where}: the variable '{name}' is {array.shape} there and {here} in the model asked for")
    filled = [(known[name][0], known[name][1].replace(jnp.asarray(array))) for name, array in arrays.items()]
    nnx.update(model, nnx.from_flat_state(filled))


def is_published(folder: str | Path) -> bool:
    """Whether a folder is a published encoder."""
    path = Path(folder) / PROVENANCE
    try:
        return path.is_file() and json.loads(path.read_text()).get("stage") == STAGE
    except ValueError:
        return False


def write_weights(folder: Path, encoder: Encoder) -> None:
    """Writes `weights.npz`."""
    np.savez(folder / WEIGHTS, allow_pickle=False, **variables(encoder))


def read_weights(folder: str | Path, encoder: Encoder) -> None:
    """Fills an encoder from `weights.npz`.

    Raises:
        RunError: the weights do not fit.
    """
    with np.load(Path(folder) / WEIGHTS, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    missing = variables(encoder).keys() - arrays.keys()
    if missing:
        raise RunError(f"{folder}: {WEIGHTS} lacks {', '.join(sorted(missing)[:3])}; it is of another version of detfm")
    set_variables(encoder, arrays, folder)


def seal(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Writes the provenance with the checksums of every other file; the last step of publishing."""
    files = {p.name: {"sha256": sha256(p), "bytes": p.stat().st_size} for p in sorted(folder.iterdir())}
    files.pop(PROVENANCE, None)
    (folder / PROVENANCE).write_text(json.dumps(sealed({**provenance, "files": files}), indent=2) + "\n")


def check_files(folder: str | Path) -> int:
    """Reads every file of a published encoder and compares it with its SHA-256. Returns the number of files.

    Raises:
        RunError: names every file that is gone or differs.
    """
    folder = Path(folder)
    try:
        found = json.loads((folder / PROVENANCE).read_text())
    except ValueError as error:
        raise RunError(f"{folder / PROVENANCE}: damaged ({error}); fetch the folder again") from error
    if sealed(found) != found:
        raise RunError(f"{folder / PROVENANCE}: damaged (it differs from its own SHA-256); fetch the folder again")
    files = found["files"]
    bad = [f"{n} is gone" for n in files if not (folder / n).is_file()]
    bad += [
        f"{n} differs" for n, entry in files.items() if (folder / n).is_file() and sha256(folder / n) != entry["sha256"]
    ]
    if bad:
        raise RunError(f"{folder}: {', '.join(bad)} from what was published; fetch the folder again")
    return len(files)


def data_of(origin: Run, store: str | Path | None) -> Path:
    """The store to use with an encoder: the one given, else the one its run was trained on.

    Raises:
        RunError: a published encoder comes without data, and none is given; or the run's store is gone.
    """
    if store is not None:
        return Path(store)
    if origin.stage == STAGE:
        raise RunError(f"{origin.path} is a published encoder, which comes without data; name a store: --store STORE")
    return origin.input("store")
