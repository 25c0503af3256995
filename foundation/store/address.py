"""One address space over the files of many shards, so that a batch is gathered from all of them in one indexing.

A shard-by-shard gather costs Python time per shard, and a well shuffled batch touches as many shards as it has rows.
Here each array of a split (all shards' `weights.npy`, say) is one flat numpy view of reserved addresses: shard s starts
at element `first[s]`, and its file is mapped there when first needed. What is not mapped reads as zeros and is never
asked for: every gather is within `Mapper.hold`.
"""

from __future__ import annotations

import ctypes
import io
import mmap
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from foundation.errors import DataError

MOST_MAPPINGS = 40_000  # Linux allows 65,530 to a process (vm.max_map_count)
MAP_FIXED, MAP_NORESERVE, FAILED = 0x10, 0x4000, ctypes.c_void_p(-1).value


def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int64,
    ]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


LIBC = _libc()


class Region:
    """The array `name` of every shard of a split, as one flat array of numbers.

    Args:
        paths: shard -> its file, a .npy of `dtype` in C order.
        sizes: numbers in each shard's array.
        dtype: of all of them.
        guard: so many numbers may be read beyond the end of a shard's array (they are zeros or other data).

    Attributes:
        flat: every number of every shard; shard s begins at `first[s]`.
    """

    def __init__(self, paths: Callable[[int], Path], sizes: Int[np.ndarray, " S"], dtype: np.dtype, guard: int = 0):
        self.paths, self.sizes, self.dtype = paths, np.asarray(sizes, np.int64), np.dtype(dtype)
        header = len(npy_header(self.dtype, (0,)))
        page, item = mmap.PAGESIZE, self.dtype.itemsize
        room = -(-(header + page + (self.sizes + guard) * item) // page) * page
        self.offsets = np.concatenate([[0], np.cumsum(room)])
        self.length = int(self.offsets[-1]) + page
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        self.address = _mapped(None, self.length, mmap.PROT_READ, flags, -1)
        self.first = (self.offsets[:-1] + header) // item
        self.flat = self._view()

    def _view(self) -> Shaped[np.ndarray, " T"]:
        owner = _Addresses(self.address, self.length)
        interface = {"shape": (self.length // self.dtype.itemsize,), "typestr": self.dtype.str, "version": 3}
        owner.__array_interface__ = {**interface, "data": (self.address, True)}
        return np.asarray(owner)

    def map(self, shard: int) -> None:
        """Raises DataError: the shard's file is gone, or is not the array that it should be."""
        path = self.paths(shard)
        try:
            with path.open("rb") as file:
                self._check(path, file.fileno(), int(self.sizes[shard]))
                size = os.fstat(file.fileno()).st_size
                flags = mmap.MAP_SHARED | MAP_FIXED
                _mapped(self.address + int(self.offsets[shard]), size, mmap.PROT_READ, flags, file.fileno())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error}); `detfm inspect --verify` checks the store") from error

    def unmap(self, shard: int) -> None:
        start, length = int(self.offsets[shard]), int(self.offsets[shard + 1] - self.offsets[shard])
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
        _mapped(self.address + start, length, mmap.PROT_READ, flags, -1)

    def _check(self, path: Path, file: int, count: int) -> None:
        """The header decides where numbers begin, and reading beyond a file's end would kill the process."""
        expected = npy_header(self.dtype, (count,))
        header, size = os.pread(file, len(expected), 0), os.fstat(file).st_size
        stated = header.partition(b"'shape'")
        if stated[0] != expected.partition(b"'shape'")[0] or size != len(expected) + count * self.dtype.itemsize:
            raise DataError(
                f"{path}: is not the array of {count:,} numbers ({self.dtype.name}) that the store's index tells of; "
                "`detfm inspect --verify` checks the store"
            )


class _Addresses:
    """Owns reserved addresses; they are given back when no array needs them any more."""

    __array_interface__: dict[str, Any]

    def __init__(self, address: int, length: int):
        self.address, self.length = address, length

    def __del__(self, unmap: Any = LIBC.munmap) -> None:  # bound here, for at exit the module is taken apart first
        unmap(self.address, self.length)


def _mapped(address: int | None, length: int, protection: int, flags: int, file: int) -> int:
    found = LIBC.mmap(address, length, protection, flags, file, 0)
    if found == FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(found)


def npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """What `np.save` writes before the numbers."""
    target = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(target, description)
    return target.getvalue()


class Mapper:
    """Maps shards into all regions of a split while they are needed, within what the system allows."""

    def __init__(self, regions: Sequence[Region], shards: int, most: int):
        self.regions = regions
        self.most = max(most // max(len(regions), 1), 1)
        self.ready = np.zeros(shards, bool)
        self.recent: OrderedDict[int, None] = OrderedDict()
        self.held: Counter[int] = Counter()
        self.lock = Lock()

    @contextmanager
    def hold(self, shards: Int[np.ndarray, " n"]) -> Iterator[None]:
        """Within the block all of `shards` are mapped.

        Raises DataError: a shard's file is gone or is not what the index says.
        """
        if len(self.ready) <= self.most:  # all fit, none is ever unmapped
            if not self.ready[shards].all():
                with self.lock:
                    self._map_missing(np.unique(shards).tolist())
            yield
            return
        wanted = np.unique(shards).tolist()
        with self.lock:
            self.held.update(wanted)
            self._map_missing(wanted)
        try:
            yield
        finally:
            with self.lock:
                self.held -= Counter(wanted)

    def _map_missing(self, wanted: list[int]) -> None:
        for shard in wanted:
            if not self.ready[shard]:
                self._make_room()
                for region in self.regions:
                    region.map(shard)
                self.ready[shard] = True
            self.recent[shard] = None
            self.recent.move_to_end(shard)

    def _make_room(self) -> None:
        """Unmaps what was not needed for longest; a shard that some thread holds stays."""
        while len(self.recent) >= self.most:
            oldest = next((shard for shard in self.recent if not self.held[shard]), None)
            if oldest is None:
                return
            del self.recent[oldest]
            self.ready[oldest] = False
            for region in self.regions:
                region.unmap(oldest)
