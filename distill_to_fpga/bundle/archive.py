"""A folder as `.tar.gz`: the same bytes from the same files, and taken apart without trust."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from distill_to_fpga.manifest import MANIFEST, check_manifest
from foundation.errors import DataError

EPOCH = 315_532_800  # 1980-01-01, as of the files in an .npz; zip knows no earlier time


def pack(folder: Path, archive: Path) -> None:
    """Writes the folder's files, sorted, with one time, no owner and no mode of this machine."""
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=EPOCH) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            member = tarfile.TarInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}")
            member.size, member.mtime, member.mode = path.stat().st_size, EPOCH, 0o644
            with path.open("rb") as file:
                tar.addfile(member, file)


def unpacked(archive: Path, into: Path) -> Path:
    """Unpacks an archive that `pack` wrote below `into` and compares all checksums; the folder.

    Raises:
        DataError: it is damaged, a member would leave the folder or is no plain file, or a file is missing, changed or
            not listed in the manifest; names it.
    """
    tops: set[str] = set()
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                tops.add(safe(archive, member).parts[0])
                target = into / member.name
                if target.exists():
                    raise DataError(f"{archive}: it holds {member.name} twice")
                target.parent.mkdir(parents=True, exist_ok=True)
                file = tar.extractfile(member)
                assert file is not None, "plain files only"
                target.write_bytes(file.read())
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{archive} is damaged ({error or type(error).__name__}); get or export it again") from error
    if len(tops) != 1:
        raise DataError(f"{archive}: expected one folder of a bundle, found {sorted(tops) or 'nothing'}")
    root = into / tops.pop()
    try:
        listed = {MANIFEST, *check_manifest(root)["sha256"]}
    except DataError as error:
        raise DataError(str(error).replace(str(root), str(archive))) from error
    strange = sorted({p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()} - listed)
    if strange:
        raise DataError(f"{archive}: {', '.join(strange)} is not listed in its manifest; get or export it again")
    return root


def safe(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """The path of a member. Raises DataError: it leaves the folder, or is a link, a device, or anything but a file."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or len(path.parts) < 2:
        raise DataError(f"{archive}: the member '{member.name}' would leave the bundle's folder; nothing is read of it")
    if not member.isreg():
        raise DataError(f"{archive}: the member '{member.name}' is no plain file; nothing is read of it")
    return path
