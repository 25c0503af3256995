"""ROOT files through uproot: TTrees and RNTuples, jagged and fixed-size branches."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import uproot

from foundation.errors import DataError, close_names
from foundation.io.divide import spans
from foundation.io.files import reason
from foundation.io.layout import Layout

TABLES = ("TTree", "TNtuple", "TNtupleD", "TChain", "ROOT::RNTuple", "ROOT::Experimental::RNTuple")
BIG_FILE = 1_000_000  # from this format version on, the header's pointers are 64 bits wide
HEADER_BYTES = 20


class RootReader:
    """See `foundation.io.Reader`. uproot raises whatever its parser ran into; here every failure is one DataError."""

    def __init__(self, path: str, tree: str = "", layout: Mapping[str, Layout] | None = None):
        self.path = path
        self.file = _open(path)
        try:
            self.name = _choose(path, _tables(self.file), tree)
            self.table: Any = self.file[self.name]
            self.columns = _columns(self.table)
            self.num_rows = int(self.table.num_entries)
        except DataError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise DataError(f"{path}: tree '{tree}' cannot be read ({reason(error)})") from error

    @staticmethod
    def table_names(path: str) -> dict[str, str]:
        with _open(path) as file:
            return _tables(file)

    def close(self) -> None:
        self.file.close()

    def column_type(self, column: str) -> str:
        return str(self.table[column].typename)

    def require(self, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in self.columns:
                hint = close_names(column, self.columns)
                raise DataError(f"{self.path}: tree '{self.name}' has no branch '{column}'; {hint}")

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        self.require(columns)
        return sum(self.table[c].uncompressed_bytes for c in columns) / max(self.num_rows, 1)

    def chunks(self, columns: Sequence[str], rows: int, start: int = 0, stop: int | None = None) -> Iterator[ak.Array]:
        self.require(columns)
        stop = self.num_rows if stop is None else min(stop, self.num_rows)
        for first, last in spans(start, stop, rows):
            yield ak.zip({c: self._read(c, first, last) for c in columns}, depth_limit=1)

    def _read(self, column: str, start: int, stop: int) -> ak.Array:
        where = f"{self.path}: tree '{self.name}', branch '{column}', entries {start} to {stop - 1}"
        try:
            array = self.table[column].array(entry_start=start, entry_stop=stop, library="ak")
        except Exception as error:
            raise DataError(f"{where} cannot be read; the file is damaged ({reason(error)})") from error
        if len(array) != stop - start:
            raise DataError(f"{where}: the branch holds only {len(array)} of {stop - start} entries")
        return ak.from_regular(array, axis=1) if array.ndim > 1 else array


def _open(path: str) -> Any:
    _check_header(path)
    try:
        return uproot.open(path)
    except Exception as error:
        raise DataError(f"{path}: the ROOT file's directory cannot be read ({reason(error)})") from error


def _tables(file: Any) -> dict[str, str]:
    """Path inside the file -> class, for everything that is a table (the newest cycle of each)."""
    names = file.classnames(recursive=True, cycle=False)
    return {name: kind for name, kind in names.items() if kind in TABLES}


def _columns(table: Any) -> list[str]:
    """Names of a TTree's branches, without those that only group others, or of an RNTuple's fields."""
    if not hasattr(table, "branches"):
        return [field.name for field in table.fields]
    return [branch.name for branch in table.itervalues(recursive=True) if len(branch.branches) == 0]


def _choose(path: str, found: dict[str, str], wanted: str) -> str:
    if not found:
        raise DataError(f"{path}: holds no tree")
    if wanted and wanted not in found:
        raise DataError(f"{path}: has no tree '{wanted}'; {close_names(wanted, found)}")
    if not wanted and len(found) > 1:
        raise DataError(
            f"{path}: holds {len(found)} trees ({', '.join(sorted(found))}); name one as `tree:` in the schema"
        )
    return wanted or next(iter(found))


def _check_header(path: str) -> None:
    """Raises DataError unless this is a ROOT file that is as long as its header says."""
    with open(path, "rb") as file:
        header = file.read(HEADER_BYTES)
    if header[:4] != b"root":
        raise DataError(f"{path}: not a ROOT file (it begins with {header[:4]!r})")
    if len(header) < HEADER_BYTES:
        raise DataError(f"{path}: cut short inside the header: {len(header)} bytes")
    version, _ = struct.unpack(">ii", header[4:12])
    (end,) = struct.unpack(">q", header[12:20]) if version >= BIG_FILE else struct.unpack(">i", header[12:16])
    size = Path(path).stat().st_size
    if size < end:
        raise DataError(
            f"{path}: cut short: the header says {end:,} bytes and {size:,} are there; copy or write the file again"
        )
