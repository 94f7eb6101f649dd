"""Where things lie, in a store and behind the names that users give. Nothing is read or made."""

from __future__ import annotations

import functools
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
    text = _URL_AS_PATH.sub(r"\1://", str(name)) if isinstance(name, PurePath) else name
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


def weights_to_keep(store: str | Path, weights: str) -> str:
    """How a store's facts name weights: a file in the store relative to it, so that the store can be moved.

    Args:
        weights: a name, such as `imagenet`, or the absolute path of a file; either may lead through links.
    """
    if not os.path.isabs(weights):
        return weights
    folder = local_path(store)
    for path, inside in ((weights, folder), (os.path.realpath(weights), os.path.realpath(folder))):
        if PurePath(path).is_relative_to(inside):
            return PurePath(path).relative_to(inside).as_posix()
    return weights


def kept_weights(store: str | Path, weights: str) -> str:
    """The weights that `weights_to_keep` gave the name `weights`, as this machine finds them."""
    is_file = os.path.splitext(weights)[1]  # a name has no suffix
    return str(store_path(store) / weights) if is_file else weights


def _path(folder: str, store: str | Path, *names: str) -> Path:
    return store_path(store).joinpath(folder, *names)


#: The Delta table of a feature table, by store and name, and that of the images rejected beside it.
features_path = functools.partial(_path, "features")
rejected_path = functools.partial(_path, "rejected")
#: The folder of the heads trained from a feature table, by store and name.
heads_path = functools.partial(_path, "heads")
#: The folder of the weights that were made here.
weights_path = functools.partial(_path, "weights")
#: The folder of a store's log files, and that of what its runs have planned.
logs_path = functools.partial(_path, "logs")
runs_path = functools.partial(_path, "runs")
#: The folder of the lists of images that a table was sampled for.
samples_path = functools.partial(_path, "samples")
