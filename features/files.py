"""The one way to the files of a store, of inputs and of weights: look up, read, write, move and remove.

It goes through `pyarrow.fs`; `_at` is where other file systems than this machine's come in. What only works
on files of this machine (locks, links, walking through folders, programs that are given a name) is elsewhere,
with a path from `features.locations.local_path`: this module's test lists it, and fails for what is new.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from features.locations import local_path

_LOCAL = fs.LocalFileSystem()
_MAPPED = fs.LocalFileSystem(use_mmap=True)


def _at(path: str | Path) -> tuple[fs.FileSystem, bytes]:
    """The file system that `path` is in, and its name there: bytes, since it need not be UTF-8."""
    return _LOCAL, os.fsencode(local_path(path))


def _type(path: str | Path) -> fs.FileType:
    system, name = _at(path)
    try:
        return system.get_file_info(name).type
    except (OSError, ValueError) as error:  # a name that no file can have
        if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
            raise
        return fs.FileType.NotFound


def is_file(path: str | Path) -> bool:
    """Whether there is a regular file; links are followed."""
    return _type(path) == fs.FileType.File


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder; links are followed."""
    return _type(path) == fs.FileType.Directory


def info(path: str | Path) -> fs.FileInfo:
    """The `size` and the time of change, `mtime_ns`, of a file or folder; FileNotFoundError for none."""
    system, name = _at(path)
    result = system.get_file_info(name)
    if result.type == fs.FileType.NotFound:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return result


def names(folder: str | Path) -> list[str]:
    """What is in a folder, sorted, but hidden names (see `aside`); nothing where there is no folder."""
    _, name = _at(folder)  # pyarrow lists no folder in which a name is not UTF-8
    entries = os.listdir(os.fsdecode(name)) if is_folder(folder) else []
    return sorted(entry for entry in entries if entry[0] != ".")


def read(path: str | Path) -> bytes:
    """The content of a file."""
    system, name = _at(path)
    with system.open_input_file(name) as file:
        return file.read()


def write(path: Path, content: str) -> None:
    """Write a text file that appears whole or not at all, in the place of an older one."""
    with writing(path) as file:
        file.write(content.encode())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[pa.NativeFile]:
    """A stream into a file that appears whole at the end of the block, or not at all where that fails."""
    with aside(path) as half:
        system, name = _at(half)
        with system.open_output_stream(name) as file:
            yield file


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """A folder of this machine to fill, which becomes `folder` at the end of the block; see `aside`."""
    with aside(folder) as half:
        system, name = _at(half)
        system.create_dir(name)
        yield half


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A hidden name beside `path`: what the block makes there is renamed to `path`, or removed if it fails.

    A file takes the place of an older one. A folder takes nobody's: whoever is first wins.
    """
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    system, name = _at(half)
    system.create_dir(_at(path.parent)[1])
    try:
        yield half
        try:
            system.move(name, _at(path)[1])
        except OSError:
            if not (is_folder(half) and is_folder(path)):
                raise
    finally:
        remove(half)


def remove(path: str | Path) -> None:
    """Remove a file, or a folder with all that is in it; nothing where there is neither."""
    system, name = _at(path)
    while (kind := system.get_file_info(name).type) != fs.FileType.NotFound:
        with contextlib.suppress(FileNotFoundError):  # another process removes it, too
            system.delete_dir(name) if kind == fs.FileType.Directory else system.delete_file(name)


def parquet_file(path: str | Path, *, mapped: bool = False, **options: Any) -> pq.ParquetFile:
    """A Parquet file to read; one that is mapped into memory is not copied from the system's cache."""
    system, name = _at(path)
    system = _MAPPED if mapped and system is _LOCAL else system
    return pq.ParquetFile(os.fsdecode(name), filesystem=system, **options)


def footer(path: str | Path) -> pq.FileMetaData:
    """The footer of a Parquet file."""
    with parquet_file(path) as file:
        return file.metadata


@contextlib.contextmanager
def parquet_writer(path: str | Path, schema: pa.Schema, **options: Any) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file in its place, not aside; where the block fails it is removed."""
    system, name = _at(path)
    try:
        with pq.ParquetWriter(os.fsdecode(name), schema, filesystem=system, **options) as writer:
            yield writer
    except BaseException:
        remove(path)
        raise


def delta_uri(path: str | Path) -> str:
    """What deltalake calls the table in the folder at `path`."""
    return os.fsdecode(_at(path)[1])


def why(error: OSError) -> str:
    """What went wrong with a file, in a few words: those of `pyarrow.fs` name its calls, too."""
    return os.strerror(error.errno) if error.errno else str(error)
