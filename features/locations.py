"""Where things lie, in a store and behind the names that users give. Nothing is looked up or made."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath
from urllib.parse import unquote

from features.errors import BottleneckError
from features.text import printable

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
#: Not by urlsplit, which would cut a path at # and ?.
_FILE_URL = re.compile(r"file:(?://(?:localhost)?(/.*)|(/(?!/).*))", re.IGNORECASE | re.DOTALL)
#: `Path` makes one slash of the two in a URL.
_URL_AS_PATH = re.compile(r"^(?!file:)([a-z][a-z0-9+.-]+):/", re.IGNORECASE)


def is_remote(name: str) -> bool:
    """Whether `name` is a URL of something that is not a file of this machine."""
    return _SCHEME.match(name) is not None and not _FILE_URL.match(name)


def local_path(name: str | Path) -> str:
    """The absolute path that `name` means: a path, in which `~` is expanded, or a `file:` URL.

    Raises:
        BottleneckError: for any other URL.
    """
    text = _URL_AS_PATH.sub(r"\1://", str(name), count=1) if isinstance(name, PurePath) else name
    if is_remote(text):
        raise BottleneckError(
            f"{printable(text)} is remote, which is not supported yet: "
            "give a local path, or copy it here first"
        )
    if url := _FILE_URL.match(text):
        text = unquote(url[1] or url[2], errors="surrogateescape")
    return os.path.abspath(os.path.expanduser(text))


def store_path(store: str | Path) -> Path:
    """The folder of a store, absolute.

    Raises:
        BottleneckError: for a store that is not local.
    """
    return Path(local_path(store))


def features_path(store: str | Path, name: str) -> Path:
    """The Delta table of a feature table."""
    return store_path(store) / "features" / name


def rejected_path(store: str | Path, name: str) -> Path:
    """The Delta table of the images rejected beside it."""
    return store_path(store) / "rejected" / name


def heads_path(store: str | Path, name: str) -> Path:
    """The folder of the heads trained from it."""
    return store_path(store) / "heads" / name


def logs_path(store: str | Path) -> Path:
    """The folder of the runs' log files."""
    return store_path(store) / "logs"


def runs_path(store: str | Path) -> Path:
    """The folder of what runs have planned."""
    return store_path(store) / "runs"
