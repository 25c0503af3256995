"""What `detfm verify` is given: a project, an export run or a bundle; as one golden model and all that must agree."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from distill_to_fpga.bundle.archive import unpacked
from distill_to_fpga.bundle.layout import STUDENT_FOLDER, TARGETS_FOLDER, VECTORS_FOLDER
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.manifest import BUNDLE, GRAPH, MANIFEST, check_manifest
from distill_to_fpga.project import PROJECT
from distill_to_fpga.targets import TARGETS, target_of
from distill_to_fpga.vectors import Vectors
from foundation.errors import DataError, RunError
from foundation.runs import PROVENANCE, Run, checksum

STUDENT = "student"  # as the name of an executor


@dataclass(frozen=True)
class Subject:
    """A golden model, and what claims to compute the same.

    Attributes:
        graph: the golden model.
        vectors, stored: the vectors shipped, and the output words shipped with them.
        projects: target -> its project.
        student: folder of the JAX student; None where it is not at hand.
        absent: executor -> why it is not here.
    """

    graph: FixedPointGraph
    vectors: Vectors
    stored: Int[np.ndarray, "vectors words"]
    projects: Mapping[str, Path]
    student: Path | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    def check_has(self, names: Iterable[str]) -> None:
        """Raises RunError: an executor of one of these names is not here; says why."""
        for name in names:
            if name not in self.projects and not (name == STUDENT and self.student):
                why = self.absent.get(name, f"there is no project of it, only of {', '.join(self.projects)}")
                raise RunError(f"--require {name}: {why}")


@contextmanager
def opened(path: str | Path) -> Iterator[Subject]:
    """The contents of a path, every checksum compared; a bundle is unpacked for as long.

    Raises:
        RunError: it is not there, or none of the three.
        DataError: a file is missing or changed (each is named), or the archive is damaged or unsafe.
    """
    path = Path(path)
    if not path.exists():
        raise RunError(f"{path}: no such bundle, export run or project; `detfm export` makes one")
    if path.is_dir() and (path / PROVENANCE).is_file():
        run = Run.open(path, "export")
        if (path / PROJECT).is_dir():
            yield of_run(run)
            return
        path = path / str(run.read("metrics.json")["bundle"])
    if not path.is_file():
        yield of_folder(path)
        return
    with tempfile.TemporaryDirectory(prefix="detfm-bundle-") as folder:
        yield of_folder(unpacked(path, Path(folder)))


def of_run(run: Run) -> Subject:
    """The projects of an export run, and the student that they were made of, if it is still there."""
    root = run.path / PROJECT
    inside = sorted(manifest.parent for manifest in root.glob(f"*/{MANIFEST}"))
    found = of_projects([root] if (root / MANIFEST).is_file() or not inside else inside)
    try:
        origin = run.input(STUDENT)
    except RunError as error:
        return replace(found, absent={STUDENT: str(error)})
    if checksum(origin) != run.provenance["inputs"][STUDENT]["sha256"]:
        return replace(found, absent={STUDENT: f"{origin} has changed since the export"})
    return replace(found, student=origin / STUDENT_FOLDER)


def of_folder(root: Path) -> Subject:
    """A project, or a bundle that has been unpacked."""
    manifest = check_manifest(root)
    if manifest["format"] != BUNDLE:
        return replace(of_projects([root]), absent={STUDENT: "a project alone does not hold it"})
    found = of_projects(sorted((root / TARGETS_FOLDER).iterdir()))
    if found.graph != FixedPointGraph.load(root / GRAPH):
        raise DataError(f"{root}: the projects are of another network than {GRAPH}; export the bundle again")
    vectors, stored = read_vectors(root / VECTORS_FOLDER, found.graph)
    return Subject(found.graph, vectors, stored, found.projects, root / STUDENT_FOLDER, manifest["left_out"])


def of_projects(folders: Sequence[Path]) -> Subject:
    """Projects of one network."""
    found = {target_of(check_manifest(folder)).name: folder for folder in folders}
    projects = {name: found[name] for name in TARGETS if name in found}
    first, *others = projects.values()
    graph = FixedPointGraph.load(first / GRAPH)
    for other in others:
        if FixedPointGraph.load(other / GRAPH) != graph:
            raise DataError(f"{first} and {other} are not firmware of the same network; export both again")
    return Subject(graph, *read_vectors(first / "tb" / "data", graph), projects)


def read_vectors(folder: Path, graph: FixedPointGraph) -> tuple[Vectors, Int[np.ndarray, "vectors words"]]:
    """Shipped vectors, and the output words stored with them; of a target that ships none, none."""
    if not folder.is_dir():
        nothing = {name: np.zeros((0, *graph.wires[name].shape), np.int64) for name in graph.inputs}
        return Vectors(nothing, ()), np.zeros((0, sum(graph.wires[w].size for w in graph.outputs.values())), np.int64)
    kinds = tuple((folder / "kinds.txt").read_text().split())
    inputs = {name: table(folder, name).reshape(-1, *graph.wires[name].shape) for name in graph.inputs}
    stored = np.concatenate([table(folder, port) for port in graph.outputs], axis=1)
    lengths = {len(kinds), len(stored), *(len(values) for values in inputs.values())}
    if len(lengths) > 1:
        raise DataError(f"{folder}: files of different lengths {sorted(lengths)}; export the project again")
    return Vectors(inputs, kinds), stored


def table(folder: Path, port: str) -> np.ndarray:
    return np.loadtxt(folder / f"{port}.txt", dtype=np.int64, ndmin=2)
