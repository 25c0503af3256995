"""Row tables for analysts: the same columns as Parquet and as a ROOT tree, in the store's row order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
    arrays = {}
    for name, values in columns.items():
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        arrays[name] = flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    pq.write_table(pa.table(arrays), folder / f"{stem}.parquet")
    with uproot.recreate(folder / f"{stem}.root") as file:
        file.mktree(stem, {name: (values.dtype, values.shape[1:]) for name, values in columns.items()})
        file[stem].extend(dict(columns))


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
