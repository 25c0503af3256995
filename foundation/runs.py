"""Run folders (contract 4): each stage writes one, the next stage takes it and needs nothing else."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation import __version__
from foundation.command import INVOCATION, load_config, to_dict, to_yaml
from foundation.errors import DataError, RunError
from foundation.schema import DetectorSchema

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "awkward",
    "uproot",
    "grain",
    "hls4ml",
    "xgboost-cpu",
    "optuna",
)
PROVENANCE = "provenance.json"


# Stages that are not named as the command that writes them.
MADE_BY = {
    "anomaly": "anomaly fit",
    "anomaly_scores": "anomaly score",
    "anomaly_rates": "anomaly rates",
    "anomaly_display": "anomaly display",
}


def made_by(stage: str) -> str:
    """The command that writes runs of a stage, as one types it."""
    return f"`detfm {MADE_BY.get(stage, stage)}`"


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        path: the folder.
        stage: which command wrote it: `ingest`, `pretrain`, `finetune`, `evaluate`, `distill`, `export`.
    """

    path: Path
    stage: str

    @staticmethod
    def create(
        path: str | Path,
        stage: str,
        *,
        config: Any,
        schema: DetectorSchema,
        inputs: Mapping[str, str | Path] | None = None,
        seeds: Mapping[str, int] | None = None,
        overwrite: bool = False,
    ) -> Run:
        """A new folder with config.yaml, schema.yaml and provenance.json.

        Args:
            path: where; must not exist unless `overwrite`, which only ever replaces a run of the same stage.
            stage: the command's name.
            config: the fully resolved settings (a dataclass).
            inputs: role -> folder or file that this stage consumes; recorded with checksums.
            seeds: name -> seed.
            overwrite: replace an existing run of the same stage.

        Raises:
            RunError: the folder exists and may not be replaced, or an input has no checksum. Nothing is touched then.
        """
        path = Path(path)
        provenance = _provenance(path, stage, inputs or {}, seeds or {})
        make_room(path, stage, overwrite)
        made = path.with_name(path.name + ".new")  # gets its name last: a job killed here can be started again
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        (made / "config.yaml").write_text(to_yaml(config))
        schema.save(made / "schema.yaml")
        write_json(made / PROVENANCE, provenance)
        made.rename(path)
        return Run(path, stage)

    @staticmethod
    def open(path: str | Path, *stages: str) -> Run:
        """An existing run of one of `stages` (of any stage if none is named).

        Raises:
            RunError: no such folder, no run folder, or a run of another stage; says which command makes the right one.
        """
        path = Path(path)
        wanted = " or ".join(f"'{s}'" for s in stages) or "any"
        hint = f"{made_by(stages[0])} makes one" if stages else "every detfm command writes one"
        if not path.is_dir():
            raise RunError(f"{path}: no such folder; expected a run folder of stage {wanted}; {hint}")
        if not (path / PROVENANCE).is_file():
            raise RunError(f"{path} is not a run folder (no {PROVENANCE}); expected stage {wanted}; {hint}")
        try:
            stage = json.loads((path / PROVENANCE).read_text()).get("stage", "unknown")
        except ValueError as error:
            raise RunError(f"{path / PROVENANCE}: damaged ({error})") from error
        if stages and stage not in stages:
            raise RunError(f"{path} is a run of stage '{stage}'; expected {wanted}. {made_by(stages[0])} makes one")
        return Run(path, stage)

    @property
    def schema(self) -> DetectorSchema:
        return DetectorSchema.load(self.path / "schema.yaml")

    @property
    def provenance(self) -> dict[str, Any]:
        return json.loads((self.path / PROVENANCE).read_text())

    def config(self, kind: type) -> Any:
        """The settings, as the dataclass they were written from."""
        return load_config(kind, self.path / "config.yaml")

    def input(self, role: str) -> Path:
        """The path of an input recorded under `role`.

        Raises:
            RunError: no such role recorded, or the folder has moved (says how to name its new place).
        """
        recorded = self.provenance["inputs"].get(role)
        if recorded is None:
            raise RunError(f"{self.path} records no input '{role}'; it has {sorted(self.provenance['inputs'])}")
        found = next((p for p in (self.path / recorded["relative"], Path(recorded["path"])) if p.exists()), None)
        if found is None:
            raise RunError(f"{self.path} was made from {recorded['path']}, which is gone; give --{role} its new place")
        return found

    def write(self, name: str, value: Any) -> None:
        """Writes a small JSON file (metrics, results) into the folder."""
        write_json(self.path / name, value)

    def read(self, name: str) -> Any:
        """Reads a JSON file of the folder.

        Raises:
            RunError: the file is not there (the stage did not finish).
        """
        if not (self.path / name).is_file():
            raise RunError(
                f"{self.path} has no {name}: stage '{self.stage}' did not finish; run it again with --resume"
            )
        return json.loads((self.path / name).read_text())


def continue_or_create(
    path: str | Path,
    stage: str,
    *,
    config: Any,
    resume: bool,
    inputs: Mapping[str, str | Path] | None = None,
    **rest: Any,
) -> Run:
    """`Run.create`, or with `resume` the run at `path` if there is one, made with equal settings from equal inputs.

    Raises:
        RunError: as `Run.create`, or the settings or the inputs differ; names them.
    """
    if not resume or not Path(path).exists():
        return Run.create(path, stage, config=config, inputs=inputs, **rest)
    run = Run.open(path, stage)
    before, now = flatten(to_dict(run.config(type(config)))), flatten(to_dict(config))
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    different = [f"{key}: {before.get(key)} -> {now.get(key)}" for key in keys]
    if different:
        raise RunError(
            f"{path} was started with other settings; resume it with the same ones:\n  " + "\n  ".join(different)
        )
    _check_same_inputs(run, inputs or {})
    return run


def _check_same_inputs(run: Run, inputs: Mapping[str, str | Path]) -> None:
    """Raises RunError if `inputs` are not, byte for byte, those that `run` was started from; their place may differ."""
    recorded = run.provenance["inputs"]
    for role in {**recorded, **inputs}:
        given = checksum(Path(inputs[role])) if role in inputs else None
        if given != recorded.get(role, {}).get("sha256"):
            before, now = recorded.get(role, {}).get("path", "none"), inputs.get(role, "none")
            raise RunError(f"{run.path} was started from another {role}: {before} then, {now} now; resume it with that")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last line cut short by an interruption is left out.

    Raises:
        DataError: another line is not a JSON object.
    """
    lines = path.read_text().splitlines()
    rows = []
    for number, text in enumerate(lines, start=1):
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise DataError(f"{path}, line {number}: not JSON ({error.msg}); the file is damaged") from error
        if not isinstance(row, dict) or "step" not in row:
            raise DataError(f"{path}, line {number}: expected an object with a 'step', got {text[:60]}")
        rows.append(row)
    return rows


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        k: v for name, inner in value.items() for k, v in flatten(inner, f"{prefix}.{name}" if prefix else name).items()
    }


def check_room(path: Path, stage: str, overwrite: bool) -> None:
    """Checks that `path` may be written, touching nothing.

    Raises:
        RunError: something is there, and it is not an empty folder, nor (if `overwrite`) a run of the same stage.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise RunError(f"{path} exists; choose another --out, or --overwrite to replace it")
    Run.open(path, stage)


def make_room(path: Path, stage: str, overwrite: bool) -> None:
    """Checks that `path` may be written; removes a run of the same stage if `overwrite`.

    Raises:
        RunError: something is there that may not be replaced. Nothing is touched then.
    """
    check_room(path, stage, overwrite)
    if path.exists():
        shutil.rmtree(path)


def write_json(path: Path, value: Any) -> None:
    """Atomic write of indented JSON."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    temporary.replace(path)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the SHA-256 of all else in it as its entry `sha256`."""
    rest = {key: each for key, each in value.items() if key != "sha256"}
    return rest | {"sha256": hashlib.sha256(json.dumps(rest).encode()).hexdigest()}


def checksum(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of its manifest.json (which holds the files' own) or provenance.json (which
    holds an id of its own, that a copy shares)."""
    if path.is_file():
        return sha256(path)
    for name in ("manifest.json", PROVENANCE):
        if (path / name).is_file():
            return sha256(path / name)
    raise RunError(f"{path} is neither a file nor a folder with a manifest.json or {PROVENANCE}")


def _provenance(folder: Path, stage: str, inputs: Mapping[str, str | Path], seeds: Mapping[str, int]) -> dict[str, Any]:
    recorded = {}
    for role, given in inputs.items():
        path = Path(given).resolve()
        relative = os.path.relpath(path, folder.resolve())
        recorded[role] = {"path": str(path), "relative": relative, "sha256": checksum(path)}
    return {
        "id": uuid.uuid4().hex,  # two runs begun in the same second are two runs
        "stage": stage,
        "detfm": __version__,
        "command": INVOCATION.get() or shlex.join(sys.argv),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "packages": _versions(PACKAGES),
        "git_commit": _git_commit(),
        "seeds": dict(seeds),
        "inputs": recorded,
    }


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    result = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
