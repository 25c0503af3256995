"""Row tables for analysts: the same columns as Parquet and as a ROOT tree, in the store's row order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot
from jaxtyping import Shaped

from foundation.store import Store


def write_table(folder: Path, stem: str, columns: Mapping[str, Shaped[np.ndarray, "n ..."]]) -> None:
    """Writes `stem.parquet` and `stem.root` (tree `stem`).

    Args:
        columns: name -> one value, or one vector of fixed length, per row.
    """
    pq.write_table(_arrow(columns), folder / f"{stem}.parquet")
    with uproot.recreate(folder / f"{stem}.root") as file:
        file.mktree(stem, {name: (values.dtype, values.shape[1:]) for name, values in columns.items()})
        file[stem].extend(dict(columns))


def _arrow(columns: Mapping[str, Shaped[np.ndarray, "n ..."]]) -> pa.Table:
    arrays = {}
    for name, values in columns.items():
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        arrays[name] = flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.table(arrays)


class TableWriter:
    """The same table as `write_table`, written part by part in bounded memory.

    The files have the ending `.partial` until `close`: what was interrupted is never taken for complete.

    Args:
        folder, stem: as of `write_table`.
        root: write the ROOT tree, too.
        part_rows: rows that are collected before they are written: a row group of Parquet, a basket of ROOT.
    """

    def __init__(self, folder: Path, stem: str, *, root: bool = True, part_rows: int = 200_000):
        self.stem, self.part_rows, self.rows = stem, part_rows, 0
        self.paths = {kind: folder / f"{stem}.{kind}" for kind in (("parquet", "root") if root else ("parquet",))}
        self._waiting: list[Mapping[str, np.ndarray]] = []
        self._parquet: pq.ParquetWriter | None = None
        self._root: Any = None

    def write(self, columns: Mapping[str, Shaped[np.ndarray, "n ..."]]) -> None:
        """Appends rows; the columns are those of the first call."""
        self._waiting.append(columns)
        self.rows += len(next(iter(columns.values())))
        if sum(len(next(iter(each.values()))) for each in self._waiting) >= self.part_rows:
            self._flush()

    def close(self) -> None:
        """Writes what is left and gives the files their names. A table without rows is one of no columns."""
        self._flush()
        if self._parquet is None:
            pq.write_table(pa.table({}), self._partial("parquet"))
        else:
            self._parquet.close()
        if "root" in self.paths:
            self._root = self._root or self._create()
            self._root.close()
        for kind, path in self.paths.items():
            self._partial(kind).replace(path)

    def discard(self) -> None:
        """Removes what was written so far."""
        for each in (self._parquet, self._root):
            if each is not None:
                each.close()
        for kind in self.paths:
            self._partial(kind).unlink(missing_ok=True)

    def _partial(self, kind: str) -> Path:
        return self.paths[kind].with_name(f"{self.paths[kind].name}.partial")

    def _create(self) -> Any:
        return uproot.recreate(self._partial("root"), compression=uproot.ZSTD(1))  # thrice as fast as zlib, and smaller

    def _flush(self) -> None:
        if not self._waiting:
            return
        columns = {name: np.concatenate([each[name] for each in self._waiting]) for name in self._waiting[0]}
        self._waiting = []
        table = _arrow(columns)
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._partial("parquet"), table.schema)
        self._parquet.write_table(table)
        if "root" in self.paths:
            if self._root is None:
                self._root = self._create()
                self._root.mktree(self.stem, {n: (v.dtype, v.shape[1:]) for n, v in columns.items()})
            self._root[self.stem].extend(columns)


def row_columns(store: Store, split: str) -> dict[str, Shaped[np.ndarray, " n"]]:
    """What ties a row to its origin, and its true labels.

    Returns:
        `row` in the split; `source_file` (its number in the store's sources.json) and `source_entry`, the entry there;
        the observers (run, event, ...); `label_NAME` of each label of the example.
    """
    source = store.source(split)
    found: dict[str, np.ndarray] = {"row": np.arange(store.length(split), dtype=np.int64)}
    found |= {"source_file": source[:, 0], "source_entry": source[:, 1], **store.observers(split)}
    labels = [name for name, label in store.schema.labels.items() if not label.modality]
    return found | {f"label_{name}": store.labels(split, name) for name in labels}
