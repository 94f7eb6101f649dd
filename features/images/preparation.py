"""From an image to the network's input: read, hashed, decoded, resized; here, or in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import signal
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.errors import BottleneckError
from features.images.decoding import read_pixels
from features.images.errors import ImageError
from features.images.files import image_bytes

#: An image as it is given: a path, or the encoded bytes.
Image = str | Path | bytes

#: Seconds that a process has to end by itself.
_GRACE = 5


class Prepared(NamedTuple):
    """An image whose pixels are ready.

    Attributes:
        image_id: sha256 of the encoded bytes, hex.
        width, height: of the decoded image, in pixels.
        format: as its content says: `jpeg`, `png`, …
        read, decode: seconds that it took to read and hash, and to decode and resize.
    """

    image_id: str
    width: int
    height: int
    format: str
    read: float
    decode: float


def prepare(image: Image, out: np.ndarray, exif_orientation: bool = False) -> Prepared:
    """Read, hash, decode and resize one image into `out`, float32 (height, width, 3).

    Raises:
        ImageError: where it can't be used.
    """
    started = time.perf_counter()
    with contextlib.nullcontext(image) if isinstance(image, bytes) else image_bytes(str(image)) as data:
        image_id = hashlib.sha256(data).hexdigest()
        read = time.perf_counter()
        width, height, format = read_pixels(data, out, exif_orientation=exif_orientation)
    return Prepared(image_id, width, height, format, read - started, time.perf_counter() - read)


class IsolatedPreparation:
    """`prepare` in processes beside this one, one for each thread that calls it; a context manager.

    For images that may end the process that decodes them. They cost a start of a process for each thread,
    and a copy of the pixels.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()
        self._children: list[_Child] = []

    def __enter__(self) -> IsolatedPreparation:
        return self

    def __exit__(self, *error: object) -> None:
        for child in self._children:
            child.close()

    def __call__(self, image: Image, out: np.ndarray, exif_orientation: bool = False) -> Prepared:
        """See `prepare`.

        Raises:
            ImageError: `crashed`, for an image that has ended two processes.
            BottleneckError: where no process can be started.
        """
        for _ in range(2):  # the first may have been ended by something else, such as a lack of memory
            child = self._child()
            with contextlib.suppress(EOFError, OSError):
                return child.prepare(image, out, exif_orientation)
            ended = child.close()
            self._of_thread.child = None
        raise ImageError("crashed", f"the process that read it ended by {ended}, twice")

    def _child(self) -> _Child:
        child = getattr(self._of_thread, "child", None)
        if child is None:
            child = self._of_thread.child = _Child()
            self._children.append(child)
        return child


class _Child:
    """A process that prepares one image after the other."""

    def __init__(self) -> None:
        # Spawned: the threads of deltalake and of the engines do not survive a fork.
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process: SpawnProcess = spawn.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._connection.recv()  # it is ready
        except (EOFError, OSError):
            raise BottleneckError(
                f"the process that should decode images could not be started (it ended by {self.close()}): "
                f"a program that calls this needs `if __name__ == '__main__':` around what it runs"
            ) from None

    def prepare(self, image: Image, out: np.ndarray, exif_orientation: bool) -> Prepared:
        """Raises EOFError or OSError where the process has ended."""
        self._connection.send((image, out.shape, exif_orientation))
        outcome, pixels = self._connection.recv()
        if isinstance(outcome, Exception):
            raise outcome
        out[:] = pixels
        return outcome

    def close(self) -> str:
        """End it; how it has ended."""
        self._connection.close()
        self._process.join(_GRACE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _serve(connection: Connection) -> None:
    """Prepare images until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    with contextlib.suppress(EOFError, OSError):
        connection.send("ready")
        while True:
            image, shape, exif_orientation = connection.recv()
            out = np.zeros(shape, np.float32)
            try:
                outcome: Prepared | Exception = prepare(image, out, exif_orientation)
            except (ImageError, MemoryError) as error:
                outcome = error
            connection.send((outcome, out))
