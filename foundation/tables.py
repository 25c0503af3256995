"""Row tables for analysts: the same columns as Parquet and as a ROOT tree, in the input's row order."""

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
    """What ties a row to its origin: its number in the split, the observers (run, event, ...) and the true labels."""
    found: dict[str, np.ndarray] = {"row": np.arange(store.length(split), dtype=np.int64)}
    found |= store.observers(split)
    return found | {f"label_{name}": store.labels(split, name) for name in store.schema.labels}
