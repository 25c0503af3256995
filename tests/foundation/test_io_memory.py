"""Files larger than memory: a reader's memory does not grow with the file. 1.5 GB each, constant, so small on disk."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

ROOT = Path(__file__).parents[2]
TOKENS, FEATURES, PART, PARTS = 40, 4, 20_000, 120  # 640 bytes a row, 2.4 million rows
ROWS = PART * PARTS
LIMIT_MB = 1000  # the stated bound is 2 GB; imports take about 250 MB of it

READ = """
import sys
from foundation.io import open_reader
reader = open_reader(sys.argv[1])
columns = [c for c in reader.columns if c[0] in 'fxd']  # not uproot's counts
assert reader.bytes_per_row(columns) * reader.num_rows > 1.4e9, reader.bytes_per_row(columns)
rows = int(64e6 / reader.bytes_per_row(columns))
total = sum(len(chunk) for chunk in reader.chunks(columns, rows))
assert total == reader.num_rows == int(sys.argv[2]), total
# VmHWM is of this program alone; what getrusage tells begins with the memory of the process that started it
print(int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024)
"""


def ragged() -> dict[str, ak.Array]:
    values = ak.from_regular(np.ones((PART, TOKENS), np.float32), axis=1)
    return {f"f{i}": values for i in range(FEATURES)}


def tree(path: Path) -> None:
    with uproot.recreate(path, compression=uproot.LZ4(1)) as file:
        table = file.mktree("t", {name: ak.type(v).content for name, v in ragged().items()})
        for _ in range(PARTS):
            table.extend(ragged())


def ntuple(path: Path) -> None:
    with uproot.recreate(path, compression=uproot.LZ4(1)) as file:
        table = file.mkrntuple("t", ragged())
        for _ in range(PARTS - 1):
            table.extend(ragged())


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "x",
            (ROWS, TOKENS, FEATURES),
            "f4",
            chunks=(PART, 2, 1),
            fillvalue=1,
            compression="gzip",
            compression_opts=1,
        )
        for i in range(0, PARTS, 8):  # the others are never written, and read as the fill value all the same
            data[i * PART : (i + 1) * PART] = np.ones((PART, TOKENS, FEATURES), np.float32)


def table(parts: int) -> pa.Table:
    values = ak.to_arrow(ragged()["f0"], extensionarray=False)
    return pa.table({f"f{i}": pa.chunked_array([values] * parts) for i in range(FEATURES)})


def parquet(path: Path) -> None:
    """All rows in one row group."""
    pq.write_table(table(PARTS), path, row_group_size=ROWS, use_dictionary=False, compression="zstd")


def arrow(path: Path) -> None:
    with pa.ipc.new_file(path, table(1).schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as file:
        for _ in range(PARTS):
            file.write_table(table(1))


def npy(path: Path) -> None:
    """A hole, which reads as zeros."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (ROWS, TOKENS, FEATURES)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 4 * ROWS * TOKENS * FEATURES)


def npz(path: Path) -> None:
    part = np.zeros((PART, TOKENS, FEATURES), np.float32)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": (ROWS, TOKENS, FEATURES)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(PARTS):
            file.write(part.tobytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("tree.root", tree),
        ("ntuple.root", ntuple),
        ("a.h5", hdf5),
        ("a.parquet", parquet),
        ("a.arrow", arrow),
        ("a.npy", npy),
        ("a.npz", npz),
    ],
)
def test_memory_is_bounded(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    path = tmp_path / name
    make(path)
    result = subprocess.run(
        [sys.executable, "-c", READ, str(path), str(ROWS)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    path.unlink()
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < LIMIT_MB
    print(f"{name}: {float(result.stdout):.0f} MB")
