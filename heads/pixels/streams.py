"""Pixels of images, read from their files anew at each pass: of all of them only what is known is in memory.

Pixels come from this project's own decoding, so that a network sees here what it sees when features are
extracted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from features.errors import BottleneckError
from features.images import ImageError
from features.images.preparation import prepare
from features.machine import usable_cores
from features.text import printable

if TYPE_CHECKING:
    import tensorflow as tf

#: Images that the threads are given at a time: a task each.
_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class PixelReader:
    """From the files of images to a network's input: see `features.images.preparation.prepare`.

    Attributes:
        side: of the square, in pixels.
        exif_orientation: whether photos are turned as their EXIF data say.
    """

    side: int
    exif_orientation: bool = False

    def read(self, uri: str) -> np.ndarray:
        """The pixels of an image, float32 (side, side, 3) from 0 to 255; raises ImageError."""
        pixels = np.zeros((self.side, self.side, 3), np.float32)
        prepare(uri, pixels, self.exif_orientation)
        return pixels

    def check(self, uris: Sequence[str]) -> Iterator[tuple[str | None, str | None]]:
        """Read and decode images on threads: of each its id, or why it can't be used."""
        of_thread = threading.local()

        def one(uri: str) -> tuple[str | None, str | None]:
            if not hasattr(of_thread, "pixels"):
                of_thread.pixels = np.zeros((self.side, self.side, 3), np.float32)
            try:
                return prepare(uri, of_thread.pixels, self.exif_orientation).image_id, None
            except ImageError as error:
                return None, f"{error.reason} ({error.detail})"

        with ThreadPoolExecutor(max(2, usable_cores())) as threads:
            for start in range(0, len(uris), _AT_ONCE):
                yield from threads.map(one, uris[start : start + _AT_ONCE])


class PixelStream:
    """Pixels and classes of images as datasets for `keras.Model.fit`, which read the files anew at each pass.

    Args:
        uris: of the images.
        y: their classes, of shape (n,), or labels, of shape (n, n_labels), as `heads.Head.fit_matrix` takes
            them.
        reader: how they are read.
        left_out: how many images with labels are not among them, since none of these is learned.
    """

    def __init__(self, uris: Sequence[str], y: np.ndarray, reader: PixelReader, left_out: int = 0) -> None:
        self.uris = uris
        self.y = y
        self.left_out = left_out
        self._reader = reader
        self._fault: str | None = None

    def __len__(self) -> int:
        return len(self.uris)

    def some(self, count: int, seed: int = 0) -> PixelStream:
        """At most `count` of the images, at random, in their order."""
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self))[:count])
        return PixelStream([self.uris[number] for number in chosen], self.y[chosen], self._reader)

    def dataset(self, batch_size: int, *, shuffle: bool = False, seed: int = 0) -> tf.data.Dataset:
        """A pass over the images; with `shuffle` in another order each time.

        Returns:
            Dataset of pixels : float32 (batch, side, side, 3) from 0 to 255, and y.
        """
        import tensorflow as tf

        side = self._reader.side

        def example(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            pixels = tf.numpy_function(self._read, [number], tf.float32)
            return tf.ensure_shape(pixels, (side, side, 3)), tf.gather(self.y, number)

        numbers = tf.data.Dataset.range(len(self))
        if shuffle:
            numbers = numbers.shuffle(len(self), seed=seed)
        data = numbers.map(example, num_parallel_calls=usable_cores(), deterministic=True)
        # As in `features.store.streams.as_dataset`: autotuning can hold up the end of the process.
        options = tf.data.Options()
        options.autotune.enabled = False
        return data.batch(batch_size).prefetch(2).with_options(options)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Around what reads its datasets: tells of a file that can't be read any more in a sentence.

        Raises:
            BottleneckError: for such a file.
        """
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            if self._fault is None:
                raise
            raise BottleneckError(f"an image can't be read any more: {self._fault}") from error

    def _read(self, number: int) -> np.ndarray:
        try:
            return self._reader.read(self.uris[number])
        except ImageError as error:
            self._fault = f"{printable(self.uris[number])}: {error.reason} ({error.detail})"
            raise
