"""From an image to the network's input: read, hashed, decoded, resized; here, or in a process of its own.

What is known by its hash need not be decoded, and the views of an image are all made from one decoding.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.augmentation import Augmentation, augment
from features.errors import BottleneckError
from features.images.decoding import decoded
from features.images.errors import ImageError
from features.images.files import image_bytes
from features.images.resizing import resize

#: An image as it is given: a path, or the encoded bytes.
Image = str | Path | bytes

#: Which views of an image are wanted, given its id: 0 is the image itself; without any, it is not decoded.
Choose = Callable[[str], Sequence[int]]

#: Seconds that a process has to end by itself.
_GRACE = 5


class Prepared(NamedTuple):
    """An image whose pixels are ready.

    Attributes:
        image_id: sha256 of the encoded bytes, hex.
        width, height: of the decoded image, in pixels; 0 where no view was wanted.
        format: as its content says: `jpeg`, `png`, …; empty where no view was wanted.
        read, decode: seconds that it took to read and hash, and to decode and resize.
        views: whose pixels are ready.
    """

    image_id: str
    width: int
    height: int
    format: str
    read: float
    decode: float
    views: tuple[int, ...] = (0,)


def itself(image_id: str) -> Sequence[int]:
    """Wants the image itself and no other view."""
    return (0,)


def prepare(
    image: Image,
    out: np.ndarray,
    exif_orientation: bool = False,
    choose: Choose = itself,
    augmentation: Augmentation | None = None,
) -> Prepared:
    """Read, hash, decode and resize one image.

    Args:
        out: where the pixels go: float32 (height, width, 3), or (n, height, width, 3), a place for each view.
        choose: which views are wanted.
        augmentation: how views beside the image itself are made.

    Raises:
        ImageError: where it can't be used.
    """
    places = out if out.ndim == 4 else out[np.newaxis]
    started = time.perf_counter()
    with contextlib.nullcontext(image) if isinstance(image, bytes) else image_bytes(str(image)) as data:
        image_id = hashlib.sha256(data).hexdigest()
        read = time.perf_counter()
        views = tuple(choose(image_id))
        width, height, format = 0, 0, ""
        if views:
            with decoded(data, exif_orientation=exif_orientation) as (pixels, format):
                height, width = pixels.shape[:2]
                for view, place in zip(views, places, strict=False):
                    if view == 0:
                        resize(pixels, place)
                    else:
                        assert augmentation is not None, "views are made by an augmentation"
                        augment(pixels, place, augmentation, image_id, view)
    return Prepared(image_id, width, height, format, read - started, time.perf_counter() - read, views)


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

    def __call__(
        self,
        image: Image,
        out: np.ndarray,
        exif_orientation: bool = False,
        choose: Choose = itself,
        augmentation: Augmentation | None = None,
    ) -> Prepared:
        """See `prepare`; `choose` may be called twice for an image, and says the same each time.

        Raises:
            ImageError: `crashed`, for an image that has ended two processes.
            BottleneckError: where no process can be started.
        """
        for _ in range(2):  # the first may have been ended by something else, such as a lack of memory
            child = self._child()
            with contextlib.suppress(EOFError, OSError):
                return child.prepare(image, out, exif_orientation, choose, augmentation)
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

    def prepare(
        self,
        image: Image,
        out: np.ndarray,
        exif_orientation: bool,
        choose: Choose,
        augmentation: Augmentation | None,
    ) -> Prepared:
        """Raises EOFError or OSError where the process has ended."""
        self._connection.send((image, out.shape, exif_orientation, augmentation))
        outcome, pixels = self._connection.recv()
        if isinstance(outcome, str):  # it asks which views of this image are wanted
            self._connection.send(tuple(choose(outcome)))
            outcome, pixels = self._connection.recv()
        if isinstance(outcome, Exception):
            raise outcome
        out[: len(pixels)] = pixels
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

    def ask(image_id: str) -> Sequence[int]:
        connection.send((image_id, None))
        return connection.recv()

    with contextlib.suppress(EOFError, OSError):
        connection.send("ready")
        while True:
            image, shape, exif_orientation, augmentation = connection.recv()
            out = np.zeros(shape, np.float32)
            try:
                prepared = prepare(image, out, exif_orientation, ask, augmentation)
            except (ImageError, MemoryError) as error:
                connection.send((error, None))
            else:
                connection.send((prepared, out if out.ndim == 3 else out[: len(prepared.views)]))
