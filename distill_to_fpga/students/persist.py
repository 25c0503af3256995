"""A student on disk: `student.npz` (arrays) and `student.json` (shape, outputs, hardware layout)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.students.config import StudentConfig
from distill_to_fpga.students.student import Student, build_student
from foundation.command import load_config, to_dict
from foundation.errors import ConfigError, RunError
from foundation.runs import write_json

FORMAT = 2  # 1 was that of students before weights had digits


def save_student(path: str | Path, student: Student, layout: HardwareLayout) -> None:
    """Writes `student.npz` and `student.json` into the folder `path`, which is made if need be."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"/".join(map(str, key)): np.asarray(leaf[...]) for key, leaf in nnx.to_flat_state(nnx.state(student))}
    np.savez(folder / "student.npz", **arrays)  # type: ignore[arg-type]
    description = {
        "format": FORMAT,
        "config": to_dict(student.config),
        "classes": list(student.classes),
        "regressions": list(student.regressions),
        "layout": to_dict(layout),
    }
    write_json(folder / "student.json", description)


def load_student(path: str | Path) -> tuple[Student, HardwareLayout]:
    """The student and hardware layout that `save_student` wrote; bit for bit the same student.

    Raises:
        RunError: a file is missing, damaged, of another format, or does not fit the other.
    """
    folder = Path(path)
    try:
        description = json.loads((folder / "student.json").read_text())
        if description["format"] != FORMAT:
            raise RunError(
                f"{folder}/student.json has format {description['format']}; this version reads {FORMAT}: distil again"
            )
        config = load_config(StudentConfig, description["config"])
        layout = load_config(HardwareLayout, description["layout"])
        with (folder / "student.npz").open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        places = (config.tokens,) if config.scaling == "place" else ()
        features = np.zeros((*places, len(layout.features)), np.int64)
        student = build_student(config, features, features, description["classes"], description["regressions"])
        _fill(student, arrays)
    except FileNotFoundError as error:
        raise RunError(f"{folder} holds no student: {error.filename} is missing; `detfm distill` writes it") from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, ConfigError) as error:
        raise RunError(f"the student in {folder} is damaged: {type(error).__name__}: {error}") from error
    return student, layout


def _fill(student: Student, arrays: dict[str, np.ndarray]) -> None:
    """Sets every variable; freezing gave each weight its own fraction, whatever the granularity was in training."""
    flat = nnx.to_flat_state(nnx.state(student))
    state = {"/".join(map(str, path)): variable for path, variable in flat}
    if set(state) != set(arrays):
        raise ValueError(f"student.npz does not fit student.json: {sorted(set(state) ^ set(arrays))}")
    for name, variable in state.items():
        shapes = [variable.shape, state[name.removesuffix("_fraction")].shape]
        if arrays[name].shape not in shapes:
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {shapes[0]}")
        variable.set_value(jnp.asarray(arrays[name]))
    nnx.update(student, nnx.from_flat_state(flat))
