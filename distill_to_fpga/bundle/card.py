"""The model card: where the student comes from, what it was measured to do, and where to cut."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foundation.errors import RunError
from foundation.figure_tables import figure_tables
from foundation.page import Settings, Table, format_value
from foundation.runs import Run, checksum, flatten
from foundation.store import Store
from pretrain.model_card import table, without_folders

KEPT = ("detfm", "created", "python", "packages", "git_commit", "seeds")
MEASURED = ("rate_khz", "word", "value", "achieved_khz", "low_khz", "high_khz", "crossings", "measured", "reason")


def facts(origin: Run, data: Store, measured: Run | None, thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """`model_card.json`.

    Args:
        origin: the distill run.
        data: what the test vectors come from.
        measured: an evaluate run of the student, or of its firmware.
    """
    before = origin.provenance
    teacher = before["inputs"].get("teacher", {})
    return {
        "training": {name: before.get(name) for name in KEPT} | {"command": without_folders(before["command"])},
        "teacher": {"run": Path(teacher.get("path", "")).name, "sha256": teacher.get("sha256")},
        "data": described(data),
        "distillation": origin.read("metrics.json"),
        "evaluation": None if measured is None else measured.read("metrics.json"),
        "thresholds": dict(thresholds),
    }


def described(data: Store) -> dict[str, Any]:
    splits = {n: {"rows": s["rows"], "classes": s.get("classes", {})} for n, s in data.manifest["splits"].items()}
    schema = data.schema
    return {"store": data.path.name, "sha256": data.checksum, "schema": schema.name, "comment": schema.comment} | {
        "splits": splits
    }


def measured_run(origin: Run, path: str | Path) -> Run:
    """An evaluate run of the student in `origin`, or of its firmware. Raises RunError: it is of another student."""
    measured, student = Run.open(path, "evaluate"), checksum(origin.path)
    model = measured.provenance["inputs"]["model"]
    if student not in (model["sha256"], _exported(measured)):
        raise RunError(
            f"--evaluation {path} is of {model['path']}, not of the student in {origin.path}; "
            f"`detfm evaluate {origin.path}` makes one that is"
        )
    return measured


def _exported(measured: Run) -> str:
    """Checksum of the student whose firmware was measured; empty, if it was no firmware or has been moved."""
    try:
        return Run.open(measured.input("model"), "export").provenance["inputs"]["student"]["sha256"]
    except RunError:
        return ""


def card(title: str, licence: str, found: Mapping[str, Any]) -> str:
    """`model_card.md`."""
    data, training = found["data"], found["training"]
    splits = [
        [
            split,
            f"{each['rows']:,}",
            ", ".join(f"{k.split('.')[-1]} {v:,}" for k, v in flatten(each["classes"]).items()),
        ]
        for split, each in data["splits"].items()
    ]
    made = {
        "trained": training["created"],
        "command": f"`{training['command']}`",
        "detfm": training["detfm"],
        "commit": training["git_commit"] or "not known",
        "packages": ", ".join(f"{package} {version}" for package, version in training["packages"].items()),
        "teacher": f"`{found['teacher']['run']}`, SHA-256 of its provenance `{found['teacher']['sha256']}`",
    }
    parts = [
        f"# Model card: {title}",
        "## Data",
        data["comment"],
        f"Store `{data['store']}`, schema `{data['schema']}`, SHA-256 of its manifest `{data['sha256']}`.",
        table(["split", "examples", "classes"], splits),
        "## Training",
        table(["", ""], made.items()),
        "## Figures of the training",
        *tables({name: value for name, value in found["distillation"].items() if name != "student"}),
        "## Figures at working points",
        *(tables(found["evaluation"]) if found["evaluation"] else [UNMEASURED]),
        "## Thresholds",
        *cuts(found["thresholds"]),
        "## Licence",
        licence or "None is stated for the weights, so nobody but their authors may use them. Ask them.",
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def tables(figures: Mapping[str, Any]) -> list[str]:
    parts = []
    for each in figure_tables({k: v for k, v in figures.items() if k != "thresholds"}):
        parts.append(f"**{each.caption}**" if each.caption else "")
        parts.append(markdown(each))
    return parts


def markdown(each: Table | Settings) -> str:
    if isinstance(each, Settings):
        return table(["figure", "value"], [[name, format_value(value)] for name, value in each.values.items()])
    return table(each.header, [[format_value(value) for value in row] for row in each.rows])


def cuts(found: Mapping[str, Any]) -> list[str]:
    """The integers, or why there are none."""
    if "records" not in found:
        return [f"None: {found['why']}."]
    rows = [[_cell(name, record.get(name)) for name in MEASURED] for record in found["records"]]
    of = ", ".join(f"{key} {value}" for key, value in found["of"].items() if value)
    return [f"A crossing passes where the output's integer is `word` or more. Set with: {of}.", table(MEASURED, rows)]


def _cell(name: str, value: Any) -> str:
    return f"`{value}`" if name == "word" and value is not None else format_value(value)


UNMEASURED = "Not measured: no `detfm evaluate` run was given (`detfm export --evaluation RUN`)."
LIMITS = """The student imitates its teacher on data like those above, and on nothing else was it measured. Another
detector, simulation, pile-up or calibration changes what its outputs mean: measure on data of your own before a menu
relies on it."""
