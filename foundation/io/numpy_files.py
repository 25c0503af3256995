"""npz and npy files, read in pieces at their place in the file; objects that need pickle are refused."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from foundation.errors import DataError
from foundation.io.arrays import ArrayReader
from foundation.io.divide import Stored
from foundation.io.files import BinaryFile, open_bytes, reason
from foundation.io.layout import Layout

LOCAL_HEADER = 30  # bytes of a zip member's header before its name
KEEP_BYTES = 8 << 20  # compressed arrays up to this size are kept whole
SKIP_BYTES = 4 << 20


class NpyReader(ArrayReader):
    """One column, `data`. A structured array has a column `data.FIELD` for each field."""

    def __init__(self, path: str, tree: str = "", layout: Mapping[str, Layout] | None = None):
        file = open_bytes(path)
        try:
            shape, fortran, dtype = _header(path, "data", file)
            array = FileArray(file, file.tell(), shape, dtype, fortran)
            size = file.seek(0, 2)
            if size < array.end:
                raise DataError(
                    f"{path}: cut short: its header says {array.end:,} bytes and {size:,} are there; "
                    "copy or write the file again"
                )
            super().__init__(path, _columns("data", array), layout, file.close)
        except BaseException:
            file.close()
            raise

    @staticmethod
    def table_names(path: str) -> dict[str, str]:
        NpyReader(path).close()
        return {"": "npy"}


class NpzReader(ArrayReader):
    """One column per member; a structured member has a column `member.FIELD` for each field.

    Members of an uncompressed npz (`np.savez`) are read at their place. Those of a compressed one are decompressed
    along with the chunks; going back to an earlier row begins anew.
    """

    def __init__(self, path: str, tree: str = "", layout: Mapping[str, Layout] | None = None):
        file = open_bytes(path)
        try:
            archive = _archive(path, file)
            stored: dict[str, Stored] = {}
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    stored |= _columns(member.filename[:-4], _member(path, file, archive, member))
            super().__init__(path, stored, layout, file.close)
        except BaseException:
            file.close()
            raise

    @staticmethod
    def table_names(path: str) -> dict[str, str]:
        NpzReader(path).close()
        return {"": "npz"}


class FileArray:
    """An array that lies uncompressed in a file, read by rows.

    Reading, not mapping: the pages of a map count as memory of the process, and a URL cannot be mapped.
    """

    def __init__(self, file: BinaryFile, offset: int, shape: tuple[int, ...], dtype: np.dtype, fortran: bool):
        self.file, self.offset, self.dtype = file, offset, dtype
        self.shape = shape or (1,)
        self.items = int(np.prod(self.shape[1:]))
        self.fortran = fortran and self.items > 1
        self.row_bytes = float(self.dtype.itemsize * self.items)
        self.end = offset + self.dtype.itemsize * self.items * self.shape[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        if not self.fortran:
            return self._at(start * self.items, (stop - start) * self.items).reshape(-1, *self.shape[1:])
        columns = [self._at(j * self.shape[0] + start, stop - start) for j in range(self.items)]
        return (
            np.stack(columns, axis=-1).reshape(-1, *self.shape[1:], order="F") if columns else self._empty(start, stop)
        )

    def _empty(self, start: int, stop: int) -> np.ndarray:
        return np.empty((stop - start, *self.shape[1:]), self.dtype)

    def _at(self, item: int, count: int) -> np.ndarray:
        array = np.empty(count, self.dtype)
        self.file.seek(self.offset + item * self.dtype.itemsize)
        _fill(self.file, array)
        return array


class Compressed:
    """An array that lies compressed in a zip: small ones are kept, large ones decompressed as they are read."""

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: tuple[Any, Any, Any], offset: int):
        shape, fortran, self.dtype = header
        self.archive, self.member, self.offset = archive, member, offset
        self.shape = shape or (1,)
        self.items = int(np.prod(self.shape[1:]))
        self.row_bytes = float(self.dtype.itemsize * self.items)
        self.order: Any = "F" if fortran and self.items > 1 else "C"
        # columns after each other cannot be read by rows: such an array is kept, whatever its size
        self.keep = member.file_size <= KEEP_BYTES or self.order == "F"
        self.whole: np.ndarray | None = None
        self.stream: BinaryFile | None = None
        self.at, self.first, self.block = 0, 0, np.empty((0, *self.shape[1:]), self.dtype)

    def read(self, start: int, stop: int) -> np.ndarray:
        if self.keep:
            if self.whole is None:
                self.whole = self._fresh(0, self.shape[0]).reshape(self.shape, order=self.order)
            return self.whole[start:stop]
        if start >= stop:
            return self.block[:0]
        if not (self.first <= start and stop <= self.first + len(self.block)):
            self.first, self.block = start, self._fresh(start, stop).reshape(-1, *self.shape[1:])
        return self.block[start - self.first : stop - self.first]

    def _fresh(self, start: int, stop: int) -> np.ndarray:
        if self.stream is None or self.at > start:
            self.stream = self.archive.open(self.member)
            self._skip(self.offset)
            self.at = 0
        self._skip(int((start - self.at) * self.row_bytes))
        array = np.empty((stop - start) * self.items, self.dtype)
        _fill(self.stream, array)
        self.at = stop
        if stop == self.shape[0] and self.stream.read(1):  # reading to the end also checks the CRC
            raise ValueError("more bytes than the array's header says")
        return array

    def _skip(self, size: int) -> None:
        assert self.stream is not None
        while size > 0:
            got = len(self.stream.read(min(size, SKIP_BYTES)))
            if not got:
                raise EOFError("the array ends early")
            size -= got


class Field:
    """One field of a structured array."""

    def __init__(self, parent: Stored, name: str):
        self.parent, self.name = parent, name
        inner = parent.dtype[name]
        self.dtype, self.shape = inner.base, (*parent.shape, *inner.shape)
        self.row_bytes = parent.row_bytes / len(parent.dtype.names or "1")

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(self.parent.read(start, stop))[self.name]


def _columns(name: str, array: FileArray | Compressed) -> dict[str, Stored]:
    """The columns of an array, without those that are neither numbers nor strings."""
    fields: dict[str, Stored] = {f"{name}.{f}": Field(array, f) for f in array.dtype.names or ()}
    return {c: s for c, s in (fields or {name: array}).items() if s.dtype.kind in "biufSU"}


def _archive(path: str, file: BinaryFile) -> zipfile.ZipFile:
    begin = file.read(4)
    if begin[:2] != b"PK":
        raise DataError(
            f"{path}: not an npz file (it begins with {begin!r})" if begin else f"{path}: the file is empty"
        )
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: the npz file is cut short ({reason(error)}); copy or write it again") from error


def _member(path: str, file: BinaryFile, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> FileArray | Compressed:
    name = member.filename[:-4]
    try:
        with archive.open(member) as stream:
            header = _header(path, name, stream)
            offset = stream.tell()
        if member.compress_type != zipfile.ZIP_STORED:
            array = Compressed(archive, member, header, offset)
            if offset + array.row_bytes * array.shape[0] != member.file_size:
                raise DataError(f"{path}: member '{name}' is not as long as its header says; the file is damaged")
            return array
        file.seek(member.header_offset)
        local = file.read(LOCAL_HEADER)
        begin = member.header_offset + LOCAL_HEADER + sum(struct.unpack("<HH", local[26:30]))
        shape, fortran, dtype = header
        stored = FileArray(file, begin + offset, shape, dtype, fortran)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: member '{name}' cannot be read; the file is damaged ({reason(error)})") from error
    if stored.end != begin + member.file_size:
        raise DataError(f"{path}: member '{name}' is not as long as its header says; the file is damaged")
    return stored


def _header(path: str, name: str, file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type of the .npy that begins here."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: '{name}' is not a .npy array, or is cut short ({reason(error)})") from error
    if dtype.hasobject:
        raise DataError(
            f"{path}: '{name}' holds Python objects, which would run code when read; save numbers, with ragged ones "
            "as one flat array and an array of offsets"
        )
    return shape, fortran, dtype


def _fill(file: Any, array: np.ndarray) -> None:
    """Reads the file into an array. Raises EOFError if it ends before."""
    view = array.view(np.uint8)
    done = 0
    while done < len(view):
        part = file.read(min(len(view) - done, SKIP_BYTES))
        if not part:
            raise EOFError(f"{len(view) - done:,} bytes are missing")
        view[done : done + len(part)] = np.frombuffer(part, np.uint8)
        done += len(part)
