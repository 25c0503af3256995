"""HDF5 files through h5py: arrays, compound datasets (`dataset.field`), datasets of lists, groups (`group/dataset`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import awkward as ak
import h5py
import numpy as np

from foundation.errors import DataError, close_names
from foundation.io.arrays import ArrayReader
from foundation.io.divide import Stored, dtype_name
from foundation.io.files import check_there, is_url, open_bytes, reason
from foundation.io.layout import Layout

BLOCK_BYTES = 256 << 20  # at most so much is read beyond a chunk to end on the file's own chunks, over all columns


class Hdf5Reader(ArrayReader):
    """`tree` may name a group; columns are then those below it."""

    def __init__(self, path: str, tree: str = "", layout: Mapping[str, Layout] | None = None):
        bytes_of_url = open_bytes(path) if is_url(path) else None
        file = _open(path, bytes_of_url)
        try:
            found = _datasets(path, file, tree)
            stored: dict[str, Stored] = {}
            types: dict[str, str] = {}
            for name, dataset in found.items():
                columns = _stored(name, Dataset(dataset))
                stored |= columns
                if "columns" in dataset.attrs:
                    types |= {c: f"{dtype_name(s)} ({_axis_names(dataset)})" for c, s in columns.items()}
            super().__init__(path, stored, layout, lambda: _close(file, bytes_of_url), types)
        except BaseException:
            _close(file, bytes_of_url)
            raise

    def chunks(self, columns: Sequence[str], rows: int, start: int = 0, stop: int | None = None) -> Iterator[ak.Array]:
        self.require(columns)
        parents = {id(parent): parent for parent in (self.stored[c].parent for c in columns)}  # type: ignore[attr-defined]
        for parent in parents.values():
            parent.align(BLOCK_BYTES // len(parents))
        return super().chunks(columns, rows, start, stop)

    @staticmethod
    def table_names(path: str) -> dict[str, str]:
        Hdf5Reader(path).close()
        return {"": "HDF5"}


class Dataset:
    """Reads rows in whole chunks of the file and keeps the last read, so that no chunk is decompressed twice.

    HDF5's own cache holds 1 MiB: chunks like (6481, 2, 1) of an array [N, 12, 4] do not fit, and every slice of rows
    would decompress all 24 of them again.
    """

    def __init__(self, dataset: h5py.Dataset):
        self.parent, self.dataset, self.shape, self.dtype = self, dataset, dataset.shape or (1,), dataset.dtype
        self.scalar = dataset.shape == ()
        self.row_bytes = float(self.dtype.itemsize * int(np.prod(self.shape[1:])))
        self.align(BLOCK_BYTES // 8)
        self.first, self.block = 0, np.empty((0, *self.shape[1:]), self.dtype)

    def align(self, allowance: int) -> None:
        """Reads in whole chunks of the file from now on, if a row of chunks is not larger than `allowance` bytes."""
        rows = self.dataset.chunks[0] if self.dataset.chunks else 1
        self.step = rows if rows * self.row_bytes <= allowance else 1

    def read(self, start: int, stop: int) -> np.ndarray:
        if self.scalar:
            return self.dataset[()].reshape(1)[start:stop] if start < stop else self.block
        if start >= stop:
            return self.block[:0]
        kept = self.first + len(self.block)
        if not (self.first <= start and stop <= kept):
            first = start // self.step * self.step
            last = min(-(-stop // self.step) * self.step, self.shape[0])
            head = self.block[first - self.first :] if self.first <= first < kept else self.block[:0]
            fresh = self.dataset[first + len(head) : last]
            self.first, self.block = first, np.concatenate([head, fresh]) if len(head) else fresh
        return self.block[start - self.first : stop - self.first]


class Field:
    """One field of a compound dataset."""

    def __init__(self, parent: Dataset, name: str):
        self.parent, self.name = parent, name
        inner = parent.dtype[name]
        self.dtype, self.shape = inner.base, (*parent.shape, *inner.shape)
        self.row_bytes = parent.row_bytes / len(parent.dtype.names)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.parent.read(start, stop)[self.name]


class Lists:
    """A dataset of lists or of strings of variable length."""

    def __init__(self, parent: Dataset):
        self.parent = parent
        item = h5py.check_vlen_dtype(parent.dtype)
        self.text = item is None or item in (str, bytes)
        self.dtype = np.dtype("U1") if self.text else np.dtype(item)
        self.shape = parent.shape if self.text else (*parent.shape, 0)
        sample = self.read(0, min(1000, parent.shape[0]))
        self.row_bytes = 8.0 + sample.nbytes / max(len(sample), 1)

    def read(self, start: int, stop: int) -> ak.Array:
        objects = self.parent.read(start, stop)
        if self.text:
            decoded = [x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x) for x in objects]
            return ak.from_numpy(np.array(decoded, dtype=np.str_))
        flat = np.concatenate([*objects, np.empty(0, self.dtype)])
        return ak.unflatten(flat, [len(x) for x in objects])


def _open(path: str, bytes_of_url: Any) -> h5py.File:
    if bytes_of_url is None:
        check_there(path)
    try:
        return h5py.File(bytes_of_url or path, "r", locking="best-effort")  # some file systems have no locks
    except OSError as error:
        _close(bytes_of_url)
        if "truncated" in str(error):
            raise DataError(f"{path}: cut short ({reason(error)}); copy or write the file again") from error
        if "signature not found" in str(error):
            raise DataError(f"{path}: not an HDF5 file, or an empty one ({reason(error)})") from error
        raise DataError(f"{path}: the HDF5 file cannot be opened; it is damaged ({reason(error)})") from error


def _datasets(path: str, file: h5py.File, group: str) -> dict[str, h5py.Dataset]:
    """Path below the group -> dataset, in the file's order."""
    top: Any = file
    if group:
        groups: list[str] = []
        file.visititems(lambda name, item: groups.append(name) if isinstance(item, h5py.Group) else None)
        if group.strip("/") not in groups:
            raise DataError(f"{path}: has no group '{group}'; {close_names(group, groups)}")
        top = file[group]
    found: dict[str, h5py.Dataset] = {}
    top.visititems(lambda name, item: found.setdefault(name, item) and None if isinstance(item, h5py.Dataset) else None)
    if not found:
        raise DataError(f"{path}: holds no dataset")
    return found


def _stored(name: str, dataset: Dataset) -> dict[str, Stored]:
    """The columns of a dataset, without those that are neither numbers nor strings."""
    if dataset.dataset.shape is None:  # an empty dataset has a type and no values
        return {}
    if dataset.dtype.names:
        fields = {f"{name}.{field}": Field(dataset, field) for field in dataset.dtype.names}
        return {column: field for column, field in fields.items() if field.dtype.kind in "biufSU"}
    if dataset.dtype.kind == "O" and len(dataset.shape) == 1 and not dataset.scalar:
        return {name: Lists(dataset)} if h5py.check_ref_dtype(dataset.dtype) is None else {}
    return {name: dataset} if dataset.dtype.kind in "biufSU" else {}


def _axis_names(dataset: h5py.Dataset) -> str:
    """The attribute `columns`: names of the last axis, as text or as a list of texts."""
    value = dataset.attrs["columns"]
    names = [value] if isinstance(value, (str, bytes)) else list(np.asarray(value).reshape(-1))
    return (
        ", ".join(n.decode() if isinstance(n, bytes) else str(n) for n in names).replace(",", ", ").replace("  ", " ")
    )


def _close(*files: Any) -> None:
    for file in files:
        if file is not None:
            file.close()
