"""A file that says that a run is alive, for as long as somebody renews it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from features import files
from features.locations import local_path

#: Seconds between two renewals, and after which a run that does not renew its mark counts as dead.
RENEWED_EVERY = 20.0
DEAD_AFTER = 120.0


class AliveMark:
    """The mark of one run: the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = Path(local_path(path))

    @contextlib.contextmanager
    def kept(self, table: str, *, local: bool) -> Iterator[None]:
        """Make the mark, and renew it on a thread. It goes at the end, unless workers elsewhere may go on.

        Args:
            table: the feature table that the run is at work on.
            local: the run is this process: others on this machine see at once when it ends.
        """
        with contextlib.ExitStack() as stack:
            with files.aside(self._path) as half:
                file = stack.enter_context(open(half, "w"))
                locked = local and _lock(file, fcntl.LOCK_EX)  # before others can see it
                file.write(json.dumps({"table": table, "host": socket.gethostname(), "locked": locked}))
                file.flush()
            if local:
                stack.callback(files.remove, self._path)
            with self.renewing():
                yield

    @contextlib.contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew a mark that somebody made, as workers do too."""
        ended = threading.Event()

        def renew() -> None:
            while True:
                with contextlib.suppress(OSError):  # the run is done, or its file system is away for a while
                    os.utime(self._path)
                if ended.wait(RENEWED_EVERY):
                    return

        threading.Thread(target=renew, daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def living_on(self) -> str | None:
        """The table that the run is at work on; None where it is dead, as far as can be seen from here."""
        try:
            with open(self._path) as file:
                mark = json.load(file)
                if time.time() - os.stat(self._path).st_mtime > DEAD_AFTER:
                    return None
                here = mark["locked"] and mark["host"] == socket.gethostname()
                return None if here and _lock(file, fcntl.LOCK_SH) else mark["table"]
        except (OSError, ValueError):
            return None


def _lock(file: IO[str], kind: int) -> bool:
    """Lock a file until it is closed; False where another one holds it, or the file system has no locks."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
