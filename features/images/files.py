"""The bytes of an image file."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator

from features.images.errors import ImageError

#: Files of more bytes are in memory one at a time.
LARGE_FILE = 2**26
_large_files = threading.Lock()

#: No photo within `limits.MAX_PIXELS` needs more: 16-bit RGB without compression is 6 bytes a pixel.
MAX_BYTES = 2**30


@contextlib.contextmanager
def image_bytes(uri: str) -> Iterator[bytes]:
    """The bytes of the file at `uri` for as long as they are needed; large files one at a time in a process.

    Raises:
        ImageError: as `read_image`.
    """
    try:
        large = os.stat(uri).st_size > LARGE_FILE
    except (OSError, ValueError):  # reading it will tell
        large = False
    with _large_files if large else contextlib.nullcontext():
        yield read_image(uri)


def read_image(uri: str) -> bytes:
    """The bytes of the file at `uri`, an absolute path.

    Raises:
        ImageError: missing, not_a_file, unreadable, empty or too_large.
    """
    try:
        with open(uri, "rb", buffering=0, opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("not_a_file", "not a regular file")
            if status.st_size > MAX_BYTES:
                raise ImageError("too_large", f"{status.st_size:,} bytes; the limit is {MAX_BYTES:,}")
            data = file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError("missing", error.strerror or "no such file") from error
    except IsADirectoryError as error:
        raise ImageError("not_a_file", "a folder") from error
    except (OSError, ValueError) as error:
        raise ImageError("unreadable", str(getattr(error, "strerror", None) or error)) from error
    if not data:
        raise ImageError("empty", "0 bytes")
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a named pipe without waiting for someone to write to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
