"""Which head of a table is the current one: `current.json` beside the heads names it.

`heads.promotion` decides it; what only reads or writes the name is here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

from features import files
from features.backbones import DEFAULT_BACKBONE
from features.errors import BottleneckError
from features.locations import heads_path, local_path

#: The file beside the heads of a table that names the current one.
CURRENT_FILE = "current.json"
#: The file beside it that is locked while it is replaced; its hidden name is none of a head.
_LOCK_FILE = ".current.lock"
#: Of file systems without locks, such as some network mounts.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def current_head(store: str | Path = "store", features: str = DEFAULT_BACKBONE) -> str | None:
    """Id of a table's current head, or None where there is none yet.

    Raises:
        BottleneckError: where `current.json` is damaged.
    """
    path = heads_path(store, features) / CURRENT_FILE
    if not files.is_file(path):
        return None
    try:
        return json.loads(files.read(path))["id"]
    except (ValueError, TypeError, KeyError) as error:
        raise BottleneckError(f"{path} does not name a head: promote one, which writes it anew") from error


def make_current(store: str | Path, features: str, id: str) -> None:
    """Make a head the current one of a table: at once, and for everybody who looks from then on."""
    files.write(heads_path(store, features) / CURRENT_FILE, json.dumps({"id": id}) + "\n")


@contextlib.contextmanager
def only_writer(store: str | Path, features: str) -> Iterator[None]:
    """No other process of this machine is in such a block of the same table; the lock of a dead one is gone.

    Where the file system has no locks, nobody waits.
    """
    path = local_path(heads_path(store, features) / _LOCK_FILE)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
