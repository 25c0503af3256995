"""All units -> the store: shards under their final names, indices, manifest. May be repeated after any interruption.

Axes: S shards, K length classes.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foundation import __version__
from foundation.errors import DataError
from foundation.io.files import is_url
from foundation.runs import PROVENANCE, Run, sealed, sha256
from foundation.store.accounting import Accounting
from foundation.store.counts import SplitCounts
from foundation.store.index import FORMAT, MANIFEST, VERSION, shard_name
from foundation.store.job import Job, Unit
from foundation.store.plan import Plan
from foundation.store.policies import REASONS
from foundation.store.probe import MOST_NAMED
from foundation.store.statistics import Moments
from foundation.store.unit import QUARANTINE, RESULT
from foundation.store.writer import write_durably

SOURCES, QUARANTINE_TABLE = "sources.json", "quarantine.parquet"


class Finish:
    """Puts a store together.

    Args:
        units: all that have rows, complete.
        skipped: number of each file that was left out -> why.
        hashes: number of each local file that was read -> its SHA-256.
    """

    def __init__(
        self, job: Job, plan: Plan, units: Sequence[Unit], skipped: Mapping[int, str], hashes: Mapping[int, str]
    ):
        self.job, self.plan, self.units, self.skipped, self.hashes = job, plan, units, skipped, hashes
        splits, classes = list(job.schema.split.fractions), len(next(iter(plan.edges.values())))
        self.accounting = Accounting()
        self.counts = {split: SplitCounts(job.schema, classes) for split in splits}
        self.shards: dict[str, list[dict[str, Any]]] = {split: [] for split in splits}
        self.moments = {name: Moments(modality.features) for name, modality in job.schema.modalities.items()}
        self.global_moments = Moments(job.schema.globals)
        self.rows = np.zeros((len(plan.files), 2), np.int64)

    def write(self, folder: Path, out: Path, facts: Mapping[str, Any]) -> None:
        """Moves the shards into `folder` and writes what describes them.

        The manifest holds the checksums of the other files, and the provenance that of the manifest and of itself.

        Args:
            out: where the folder will be.
            facts: for the provenance: how it was made, which the store itself does not depend on.

        Raises:
            DataError: no row is left.
        """
        for unit in self.units:
            self._merge(self.job.unit_folder(unit.number))
        self._check()
        folder.mkdir(exist_ok=True)
        files = [SOURCES, QUARANTINE_TABLE]
        for split, shards in self.shards.items():
            self._move(shards, folder / split)
            write_durably(folder / split / "index.npz", self._index(shards))
            files.append(f"{split}/index.npz")
        write_durably(folder / SOURCES, _json(self._sources()))
        self._write_quarantine(folder / QUARANTINE_TABLE)
        provenance = self._write_run(folder, out, facts)
        files += ["config.yaml", "schema.yaml"]
        listed = {name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in files}
        write_durably(folder / MANIFEST, _json(self._manifest(listed)))
        write_durably(folder / PROVENANCE, _json(sealed(provenance | {"manifest": sha256(folder / MANIFEST)})))

    def _merge(self, folder: Path) -> None:
        result = json.loads((folder / RESULT).read_text())
        self.accounting.merge(result["accounting"])
        for split, counts in result["splits"].items():
            self.counts[split].merge(counts)
            self.shards[split] += [shard | {"folder": folder / shard["name"]} for shard in result["shards"][split]]
        for name, moments in self.moments.items():
            moments.merge(Moments.restored(moments.features, result["moments"][name]))
        self.global_moments.merge(Moments.restored(self.job.schema.globals, result["global_moments"]))
        for number, rows in result["files"].items():
            self.rows[int(number)] += rows

    def _check(self) -> None:
        """Raises RuntimeError if a row was lost on the way, an error of detfm's; DataError if none is left."""
        self.accounting.check()
        planned = sum(file.rows for number, file in enumerate(self.plan.files) if number not in self.skipped)
        listed = sum(len(np.load(self.job.unit_folder(u.number) / QUARANTINE, mmap_mode="r")) for u in self.units)
        written = sum(int(counts.rows.sum()) for counts in self.counts.values())
        found = self.accounting
        if (planned, written, listed) != (found.read, found.written, found.quarantined.total()):
            raise RuntimeError(
                f"rows are not accounted for, an error in detfm: {planned} planned, {written} in shards, {listed} in "
                f"quarantine; {found.to_dict()}"
            )
        if found.written == 0:
            raise DataError(self._nothing_left())

    def _nothing_left(self) -> str:
        """What became of all rows and files, for people."""
        found, files = self.accounting, len(self.plan.files) - len(self.skipped)
        gone = [f"{rows} removed by the cut '{name}'" for name, rows in found.cuts.items()]
        gone += [f"{rows} quarantined ({reason})" for reason, rows in found.quarantined.items()]
        rows = f"none of the {found.read} rows read from {files} file(s) is left{''.join(f'; {each}' for each in gone)}"
        if not self.skipped:
            return rows
        reasons = [*list(self.skipped.values())[:MOST_NAMED], *(["..."] if len(self.skipped) > MOST_NAMED else [])]
        return f"{rows}; {len(self.skipped)} file(s) left out:\n  " + "\n  ".join(reasons)

    def _move(self, shards: Sequence[dict[str, Any]], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for number, shard in enumerate(shards):
            if shard["folder"].exists():  # else it was moved before an interruption
                shard["folder"].rename(folder / shard_name(number))

    def _index(self, shards: Sequence[dict[str, Any]]) -> bytes:
        classes = len(next(iter(self.plan.edges.values())))
        arrays = {
            "rows": np.array([shard["rows"] for shard in shards], np.uint32).reshape(-1, classes),
            "sha256": np.array([list(bytes.fromhex(s["sha256"])) for s in shards], np.uint8).reshape(-1, 32),
        }
        for name in self.job.schema.modalities:
            arrays[f"tokens.{name}"] = np.array([shard["tokens"][name] for shard in shards], np.int64)
        target = io.BytesIO()
        np.savez(target, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
        return target.getvalue()

    def _sources(self) -> list[dict[str, Any]]:
        return [
            {
                "path": file.path,
                "sha256": self.hashes.get(number),
                "bytes": file.bytes,
                "rows": {"read": int(self.rows[number, 0]), "written": int(self.rows[number, 1])},
                "skipped": self.skipped.get(number),
            }
            for number, file in enumerate(self.plan.files)
        ]

    def _write_quarantine(self, path: Path) -> None:
        """File, entry and reason of every row set aside, in file order."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([("file", pa.string()), ("entry", pa.int64()), ("reason", pa.string())])
        with pq.ParquetWriter(path, schema) as writer:
            for unit in self.units:
                rows = np.load(self.job.unit_folder(unit.number) / QUARANTINE)
                if len(rows):
                    names = [self.plan.files[number].path for number in rows[:, 0]]
                    reasons = [REASONS[reason] for reason in rows[:, 2]]
                    writer.write_table(pa.table([names, rows[:, 1], reasons], schema=schema))

    def _write_run(self, folder: Path, out: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
        """config.yaml and schema.yaml; returns the provenance. The inputs' checksums are known already."""
        job = self.job
        run = Run.create(job.folder / "run", "ingest", config=job.cfg, schema=job.schema, overwrite=True)
        inputs = {}
        for number, digest in self.hashes.items():
            path = Path(job.locate(self.plan.files[number].path)).resolve()
            relative = os.path.relpath(path, out.resolve())
            inputs[f"file_{number:05d}"] = {"path": str(path), "relative": relative, "sha256": digest}
        remote = [f.path for n, f in enumerate(self.plan.files) if is_url(f.path) and n not in self.skipped]
        for file in run.path.iterdir():
            file.replace(folder / file.name)
        return Run(folder, run.stage).provenance | {"inputs": inputs, "remote": remote, **facts}

    def _manifest(self, files: Mapping[str, Any]) -> dict[str, Any]:
        splits = {name: {"shards": len(self.shards[name]), **counts.to_dict()} for name, counts in self.counts.items()}
        accounting = self.accounting.to_dict()
        return {
            "format": FORMAT,
            "version": VERSION,
            "detfm": __version__,
            "schema": self.job.schema.to_dict(),
            "edges": self.plan.edges,
            "splits": splits,
            "statistics": {
                "split": self.job.fitted,
                "modalities": {name: moments.to_dict() for name, moments in self.moments.items()},
                "globals": self.global_moments.to_dict(),
            },
            "accounting": accounting | {"files": {"given": len(self.plan.files), "skipped": len(self.skipped)}},
            "files": files,
        }


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
