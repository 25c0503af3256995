"""`detfm inspect FILE`."""

from __future__ import annotations

import awkward as ak
import numpy as np
from rich.table import Table

from foundation.errors import DataError
from foundation.inspect.tables import table
from foundation.io import Reader

CHUNK_ROWS = 50_000


def file_summary(reader: Reader, rows: int) -> Table:
    """One line per column: type, numbers per row, range, and how many are NaN or infinite."""
    read = min(rows, reader.num_rows)
    title = f"{reader.path}: {reader.num_rows:,} rows"
    title += f", ranges of the first {read:,}" if read < reader.num_rows else ""
    shown = table(title, "column", "type", "per row", "min", "max", "NaN", "inf")
    for name in reader.columns:
        shown.add_row(name, reader.column_type(name), *_describe(reader, name, read))
    return shown


def _describe(reader: Reader, column: str, rows: int) -> list[str]:
    """One pass over a column: per row, min, max, NaN, inf."""
    fewest, most, low, high = np.inf, 0, np.inf, -np.inf
    nans, infinities, left = 0, 0, rows
    try:
        for chunk in reader.chunks([column], min(CHUNK_ROWS, max(rows, 1))):
            array = chunk[column][:left]
            left -= len(array)
            if array.ndim > 1:
                counts = ak.num(array, axis=1)
                fewest, most = min(fewest, int(ak.min(counts))), max(most, int(ak.max(counts)))
            flat = ak.to_numpy(ak.flatten(array, axis=None))
            if flat.dtype.kind not in "biuf":
                return ["", "", "", "", ""]
            finite = flat[np.isfinite(flat)]
            nans, infinities = nans + int(np.isnan(flat).sum()), infinities + int(np.isinf(flat).sum())
            if len(finite):
                low, high = min(low, finite.min()), max(high, finite.max())
            if left <= 0:
                break
    except DataError as error:
        return ["damaged", str(error).rpartition(",")[2].strip(), "", "", ""]
    except (TypeError, ValueError):  # strings, records: nothing to take a range of
        return ["", "", "", "", ""]
    per_row = "1" if most == 0 and fewest == np.inf else f"{fewest:g}" if fewest == most else f"{fewest:g} to {most:g}"
    span = [f"{low:.6g}", f"{high:.6g}"] if low <= high else ["", ""]
    return [per_row, *span, *(f"[red]{n}[/red]" if n else "0" for n in (nans, infinities))]
