"""ROOT files through uproot: TTrees and RNTuples, jagged and fixed-size branches."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
import uproot

from foundation.errors import DataError, close_names
from foundation.io.divide import lists, spans
from foundation.io.files import damage, open_bytes, reason
from foundation.io.layout import Layout
from foundation.io.root_columns import RootColumn, columns_of, misplaced, pieces

TABLES = ("TTree", "TNtuple", "TNtupleD", "TChain", "ROOT::RNTuple", "ROOT::Experimental::RNTuple")
BIG_FILE = 1_000_000  # from this format version on, the header's pointers are 64 bits wide
HEADER_BYTES = 20
CACHE = "100 MB"  # of uproot's arrays
SAMPLE_ROWS = 1000  # to estimate sizes by
KEEP_BYTES = 256 << 20  # of decompressed baskets, over all columns of a read
Arrays = dict[RootColumn, ak.Array]

# The package isal, where it is installed, takes less than half of zlib's time over what ROOT writes by default.
# uproot's own switch, `uproot.ZLIB.library`, acts on writing alone.
if importlib.util.find_spec("isal") and hasattr(uproot.compression, "_decompress_ZLIB"):
    uproot.compression._decompress_ZLIB.library = "isal"


class RootReader:
    """See `foundation.io.Reader`. uproot raises whatever its parser ran into; here every failure is one DataError.

    Baskets are decompressed once: those that go beyond a chunk are kept for the next. Where that would keep more than
    KEEP_BYTES, blocks of about that size are read, one column after the other.
    """

    def __init__(self, path: str, tree: str = "", layout: Mapping[str, Layout] | None = None):
        self.path = path
        self.file = _open(path)
        try:
            self.name = _choose(path, _tables(self.file), tree)
            self.table: Any = self.file[self.name]
            self.found = columns_of(self.table)
            self.columns = list(self.found)
            self.num_rows = int(self.table.num_entries)
            self.sizes: dict[str, float] = {}
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
        found = self.found[column]
        return f"{found.typename} (cannot be read)" if found.problem else found.typename

    def require(self, columns: Sequence[str]) -> None:
        for column in columns:
            where = f"{self.path}: tree '{self.name}'"
            if column not in self.found:
                raise DataError(f"{where} has no branch '{column}'; {close_names(column, self.columns)}")
            if problem := self.found[column].problem or misplaced(self.found[column]):
                raise DataError(f"{where}, branch '{column}' cannot be used: it {problem}")

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        self.require(columns)
        return sum(map(self._bytes, columns))

    def _bytes(self, column: str) -> float:
        """Per row, as the basket's sizes say; of the first rows, where the format keeps no such sizes."""
        if column not in self.sizes:
            total = getattr(self.found[column].source, "uncompressed_bytes", 0)  # 0 also for a small tree in one piece
            rows = self.num_rows if total else min(SAMPLE_ROWS, self.num_rows)
            total = total or (self._apart([self.found[column]], 0, rows)[self.found[column]].nbytes if rows else 0)
            self.sizes[column] = total / max(rows, 1)
        return self.sizes[column]

    def chunks(self, columns: Sequence[str], rows: int, start: int = 0, stop: int | None = None) -> Iterator[ak.Array]:
        self.require(columns)
        stop = self.num_rows if stop is None else min(stop, self.num_rows)
        wanted = [self.found[c] for c in columns]
        longest = max((int(np.diff(column.edges).max(initial=0)) for column in wanted), default=0)
        most = int(KEEP_BYTES / max(self.bytes_per_row(columns), 1.0))
        if longest <= most:
            chunks = self._together(wanted, rows, start, stop)
        else:
            chunks = self._blocks(wanted, rows, max(most // rows, 1) * rows, start, stop)
        for arrays in chunks:
            yield ak.zip({c.name: lists(array) for c, array in arrays.items()}, depth_limit=1)

    def _together(self, columns: list[RootColumn], rows: int, start: int, stop: int) -> Iterator[Arrays]:
        found = pieces(self.table, columns, rows, start, stop)
        for first, last in spans(start, stop, rows):
            try:
                arrays = next(found)
            except Exception as error:
                self._apart(columns, first, last)  # names the damaged one
                raise DataError(f"{self._where(columns[0], first, last)} cannot be read ({reason(error)})") from error
            yield self._checked(arrays, first, last)

    def _blocks(self, columns: list[RootColumn], rows: int, block: int, start: int, stop: int) -> Iterator[Arrays]:
        """Reads blocks of several chunks, so that a large basket is not decompressed for every chunk."""
        for first, last in spans(start, stop, block):
            arrays = self._apart(columns, first, last)
            for a, b in spans(0, last - first, rows):
                yield {column: array[a:b] for column, array in arrays.items()}
            del arrays

    def _apart(self, columns: list[RootColumn], first: int, last: int) -> Arrays:
        """One column after the other, so that only one column's baskets are in memory."""
        arrays: Arrays = {}
        for column in columns:
            try:
                (found,) = pieces(self.table, [column], last - first, first, last)
            except Exception as error:
                where = self._where(column, first, last)
                raise DataError(f"{where} {damage(self.path, error)}") from error
            arrays[column] = ak.copy(ak.to_packed(found[column]))  # not a view, which would keep the whole basket
        return self._checked(arrays, first, last)

    def _checked(self, arrays: Arrays, first: int, last: int) -> Arrays:
        for column, array in arrays.items():
            if len(array) != last - first:
                where = self._where(column, first, last)
                raise DataError(f"{where}: the branch holds only {len(array)} of {last - first} entries")
        return arrays

    def _where(self, column: RootColumn, first: int, last: int) -> str:
        return f"{self.path}: tree '{self.name}', branch '{column.name}', entries {first} to {last - 1}"


def _open(path: str) -> Any:
    _check_header(path)
    try:
        # of an RNTuple uproot also reads the cluster after the last: the cache saves decompressing that twice
        return uproot.open(path, array_cache=CACHE)
    except Exception as error:
        raise DataError(f"{path}: the ROOT file's directory cannot be read ({reason(error)})") from error


def _tables(file: Any) -> dict[str, str]:
    """Path inside the file -> class, for everything that is a table (the newest cycle of each)."""
    names = file.classnames(recursive=True, cycle=False)
    return {name: kind for name, kind in names.items() if kind in TABLES}


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
    with open_bytes(path) as file:
        header = file.read(HEADER_BYTES)
        size = file.seek(0, 2)
    if not header:
        raise DataError(f"{path}: the file is empty; copy or write it again")
    if header[:4] != b"root":
        raise DataError(f"{path}: not a ROOT file (it begins with {header[:4]!r})")
    if len(header) < HEADER_BYTES:
        raise DataError(f"{path}: cut short inside the header: {len(header)} bytes")
    version, _ = struct.unpack(">ii", header[4:12])
    (end,) = struct.unpack(">q", header[12:20]) if version >= BIG_FILE else struct.unpack(">i", header[12:16])
    if size < end:
        raise DataError(
            f"{path}: cut short: the header says {end:,} bytes and {size:,} are there; copy or write the file again"
        )
