"""Where files are: local paths and URLs, opened as bytes, and lists of patterns -> files."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from foundation.errors import DataError, DetfmError, missing_extra

BinaryFile = Any  # Python's files and fsspec's have no type in common
BLOCK_BYTES = 2 << 20  # of a remote file: read and kept at a time, at most BLOCKS of them
BLOCKS = 32
# protocol -> the package that fsspec needs for it
PACKAGES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "root": "fsspec-xrootd", "xrootd": "fsspec-xrootd"}


def is_url(path: str) -> bool:
    """Whether `path` names a protocol, as in `https://site/file.root`."""
    return re.match(r"[a-z][a-z0-9+.-]*://", path) is not None


def suffix(path: str) -> str:
    """`.root` of `folder/file.ROOT` and of `https://site/file.root?download=1`."""
    return PurePosixPath(urlsplit(path).path if is_url(path) else path).suffix.lower()


def check_there(path: str) -> None:
    """Raises DataError unless `path` is a local file; a URL is taken as it is, for opening it tells."""
    if not is_url(path) and not Path(path).is_file():
        raise DataError(f"{path}: no such file" + (" (it is a folder)" if Path(path).is_dir() else ""))


def open_bytes(path: str) -> BinaryFile:
    """The file, opened for reading at any place.

    Raises:
        DataError: not there, or a server that cannot send parts of it.
        ToolError: the package for the URL's protocol is not installed.
    """
    if not is_url(path):
        check_there(path)
        return open(path, "rb")
    system, name = filesystem(path)
    try:
        file = system.open(name, block_size=BLOCK_BYTES, cache_type="blockcache", cache_options={"maxblocks": BLOCKS})
    except Exception as error:
        raise unreachable(path, error) from error
    if not _sends_parts(path, file):
        file.close()
        raise DataError(f"{path}: the server sends whole files only, no ranges of bytes; download the file first")
    return file


def _sends_parts(url: str, file: BinaryFile) -> bool:
    """Whether parts of an open remote file can be had. Many web servers do not say so: its last byte is asked for."""
    if not file.seekable() or file.size is None:
        return False
    if not url.startswith("http") or file.size < 2:
        return True
    try:
        file._fetch_range(file.size - 1, file.size)
    except ValueError:  # fsspec's, for an answer that begins at the first byte
        return False
    except Exception as error:
        file.close()
        raise unreachable(url, error) from error
    return True


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the file's name in it. Raises as `open_bytes` does."""
    import fsspec

    protocol = url.partition("://")[0]
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = PACKAGES.get(protocol, protocol)
        raise missing_extra(package, "remote", f"reading {protocol}:// files") from error
    except ValueError as error:
        if protocol in PACKAGES:  # fsspec knows `root` only once fsspec-xrootd is there
            raise missing_extra(PACKAGES[protocol], "remote", f"reading {protocol}:// files") from error
        raise DataError(f"{url}: unknown protocol '{protocol}'; known: {', '.join(sorted(PACKAGES))}") from error


def unreachable(url: str, error: Exception) -> DataError:
    """The error for a URL that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{url}: no such file on the server")
    return DataError(f"{url}: cannot be opened ({reason(error)}); check the address and the connection")


def damage(path: str, error: BaseException) -> str:
    """Why bytes of an open file cannot be read, for the end of an error."""
    broken = "the connection broke or the file is damaged" if is_url(path) else "the file is damaged"
    return f"cannot be read; {broken} ({reason(error)})"


@contextmanager
def opening(path: str) -> Iterator[None]:
    """Whatever a format's own parser runs into while it opens `path` becomes a DataError."""
    try:
        yield
    except DetfmError:
        raise
    except Exception as error:
        if is_url(path):
            raise unreachable(path, error) from error
        raise DataError(f"{path}: it {damage(path, error)}; copy or write it again") from error


def reason(error: BaseException) -> str:
    """Kind and first line of another package's error, for the end of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def expand(files: Sequence[str | Path]) -> list[str]:
    """Paths, URLs and globs of either -> paths and URLs, in the order given and sorted within a glob.

    Raises:
        DataError: a glob that matches nothing, a file that is not there, or one named twice.
        ToolError: the package for a URL's protocol is not installed.
    """
    paths = [path for given in files for path in _matches(str(given))]
    if not paths:
        raise DataError("no input file given")
    same = Counter(path if is_url(path) else str(Path(path).resolve()) for path in paths)
    repeated = [path for path, count in same.items() if count > 1]
    if repeated:
        raise DataError(f"{repeated[0]} is given twice; its rows would be in the store twice")
    return paths


def _matches(given: str) -> list[str]:
    if is_url(given):
        return _remote(given) if glob.has_magic(given.replace("?", "")) else [given]
    matches = [given] if Path(given).exists() else sorted(glob.glob(given, recursive=True))
    if not matches:
        raise DataError(f"{given}: no such file, and no file matches it as a pattern")
    return matches


def _remote(pattern: str) -> list[str]:
    """Files that match, where the protocol can list; `?` stays what it is in a URL: the start of a query."""
    system, name = filesystem(pattern)
    try:
        found = sorted(system.glob(name))
    except Exception as error:
        raise unreachable(pattern, error) from error
    if not found:
        raise DataError(f"{pattern}: no file matches, or the server does not list its files; give their names")
    return [path if is_url(path) else system.unstrip_protocol(path) for path in found]
