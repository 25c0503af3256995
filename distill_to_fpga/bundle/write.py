"""The folder that becomes a bundle: everything but the projects, which are there already."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill_to_fpga.anomaly.distill import TRANSFORM
from distill_to_fpga.bundle import layout
from distill_to_fpga.bundle.card import card, facts
from distill_to_fpga.bundle.licences import third_party
from distill_to_fpga.bundle.ports import ports_json
from distill_to_fpga.bundle.report import report
from distill_to_fpga.config import STUDENT
from distill_to_fpga.estimate import Estimate
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.readme import input_section, output_section
from distill_to_fpga.hls.sources import CodeTemplate
from distill_to_fpga.manifest import BUNDLE, GRAPH, write_manifest
from distill_to_fpga.project import vector_files, write
from distill_to_fpga.target import Asked, Cost
from distill_to_fpga.targets import TARGETS
from foundation import __version__
from foundation.runs import Run, sha256
from foundation.store import Store
from pretrain.model_card import table

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Release:
    """What a bundle tells, beside the projects.

    Attributes:
        graph: the golden model.
        asked: vectors, clock, part and meaning of the ports.
        network: the graph's estimate.
        costs: target -> what its project costs.
        left_out: target -> why there is no project of it.
        origin: the distill run.
        data: what the test vectors come from.
        thresholds: see `distill_to_fpga.bundle.thresholds`.
        measured: an evaluate run of the student, or of its firmware.
        licence: of the weights.
    """

    graph: FixedPointGraph
    asked: Asked
    network: Estimate
    costs: Mapping[str, Cost]
    left_out: Mapping[str, str]
    origin: Run
    data: Store
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    measured: Run | None = None
    licence: str = ""


def write_bundle(root: Path, release: Release) -> None:
    """Adds papers, golden model, vectors, student and checksums to a folder that has the projects in `targets/`."""
    graph, asked, costs = release.graph, release.asked, release.costs
    found = facts(release.origin, release.data, release.measured, release.thresholds)
    texts = {
        GRAPH: graph.to_json(),
        layout.INPUTS: ports_json(graph, asked.meaning),
        f"{layout.REPORT}.md": report(release.network, costs, asked.part),
        f"{layout.REPORT}.json": as_json({"network": release.network, **costs}),
        f"{layout.CARD}.md": card(f"{graph.name}, version {graph.version}", release.licence, found),
        f"{layout.CARD}.json": json.dumps({"licence": release.licence, **found}, indent=1) + "\n",
        layout.README: readme(root, release),
    }
    for name, text in texts.items():
        write(root / name, without_paths(text, release))
    for name, text in vector_files(graph, asked.vectors).items():
        write(root / layout.VECTORS_FOLDER / Path(name).name, text)
    shutil.copytree(release.origin.path / STUDENT, root / layout.STUDENT_FOLDER)
    if (release.origin.path / TRANSFORM).is_file():
        shutil.copyfile(release.origin.path / TRANSFORM, root / layout.STUDENT_FOLDER / TRANSFORM)
    shutil.copyfile(release.origin.path / "schema.yaml", root / "schema.yaml")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    sums = "".join(f"{sha256(path)}  {path.relative_to(root).as_posix()}\n" for path in files)
    write(root / layout.SUMS, sums)
    write_manifest(root, graph, BUNDLE, targets=list(costs), left_out=dict(release.left_out))


def as_json(costs: Mapping[str, Cost]) -> str:
    return json.dumps({name: cost.to_dict() for name, cost in costs.items()}, indent=1) + "\n"


def without_paths(text: str, release: Release) -> str:
    """The text without the folders of this machine that runs and stores lie in."""
    paths = [release.data.path, release.origin.path, *([release.measured.path] if release.measured else [])]
    for path in paths:
        text = text.replace(str(path.resolve()), path.name).replace(str(path), path.name)
    return text


def readme(root: Path, release: Release) -> str:
    graph, asked = release.graph, release.asked
    sections = [input_section(graph, name, asked.meaning) for name in graph.inputs]
    sections += [output_section(graph, port, asked.meaning) for port in graph.outputs]
    rows = [[f"`{layout.TARGETS_FOLDER}/{name}`", TARGETS[name].help, c.line()] for name, c in release.costs.items()]
    rows += [[f"{name}: left out", TARGETS[name].help, " ".join(why.split())] for name, why in release.left_out.items()]
    others = [[f"`{each.folder}`", ", ".join(each.files), each.spdx, f"`{each.text}`"] for each in third_party(root)]
    return CodeTemplate((TEMPLATES / "README.md").read_text()).substitute(
        title=f"{graph.name}, version {graph.version}",
        detfm=__version__,
        archive=layout.archive_name(graph.name, graph.version),
        count=len(asked.vectors),
        kinds=", ".join(f"{count} {kind}" for kind, count in asked.vectors.counts().items()),
        targets=table(["project", "", "cost"], rows),
        ports="\n\n".join(sections),
        licences=licences(others, release.licence),
    )


def licences(others: list[list[str]], weights: str) -> str:
    parts = [
        "Files of others:",
        table(["folder", "files", "licence", "its text"], others),
        "All other files are output of detfm and of the generators that the targets' READMEs name, and carry no "
        f"condition of their authors. The weights: {weights or 'no licence is stated'}.",
    ]
    return "\n\n".join(parts if others else parts[2:])
