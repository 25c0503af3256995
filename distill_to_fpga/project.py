"""What the projects of all back ends have: a new folder, the meaning of the ports, test vectors as text."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from distill_to_fpga.graph import FixedPointGraph, run
from distill_to_fpga.vectors import Vectors
from foundation.errors import RunError

PROJECT = "project"  # the folder inside the run of an export


@dataclass(frozen=True)
class InputFeature:
    """One column of an input: its name, and the physical value of one count."""

    name: str
    lsb: float = 1.0
    unit: str = ""


@dataclass(frozen=True)
class Interface:
    """What the ports mean, for the project's README.

    Attributes:
        inputs: input name -> the features along its last axis.
        outputs: output port -> what each of its elements is.
    """

    inputs: Mapping[str, Sequence[InputFeature]] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[str]] = field(default_factory=dict)


def new_folder(root: Path) -> None:
    """Raises RunError where a project's folder holds something."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise RunError(f"{root} exists; the project needs a new folder")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_all(root: Path, texts: Mapping[str, str], copies: Mapping[str, Path] | None = None) -> None:
    """Files of a project by their relative paths: texts, and copies of files of others."""
    for name, text in texts.items():
        write(root / name, text)
    for name, source in (copies or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, root / name)


def vector_files(graph: FixedPointGraph, vectors: Vectors) -> dict[str, str]:
    """`tb/data`: one vector per line; hardware integers of inputs, bit patterns of the golden model's outputs."""
    from distill_to_fpga.hls.containers import to_words  # the package `hls` needs this module

    files = {f"tb/data/{name}.txt": lines(vectors.inputs[name].reshape(len(vectors), -1)) for name in graph.inputs}
    outputs = run(graph, vectors.inputs)
    for port, wire in graph.outputs.items():
        files[f"tb/data/{port}.txt"] = lines(to_words(graph.wires[wire], outputs[port]))
    return {**files, "tb/data/kinds.txt": "\n".join(vectors.kinds) + "\n"}


def lines(words: np.ndarray) -> str:
    return "".join(" ".join(map(str, row)) + "\n" for row in words.tolist())
