"""Inception V3 as a feature extractor: encoded images in, rows of features out.

Use it from a notebook, from the pipeline, or to predict:

    extractor = InceptionV3("imagenet", layers="mixed8,avg_pool")
    extractor.features(["rose.jpg", "tulip.jpg"])["avg_pool"]  # float32 (2, 2048)

Don't use it to fill a table from thousands of images: the pipeline does that, in commits that survive a stop.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from features.engines import choose_engine, load_engine
from features.errors import BottleneckError
from features.graphs import find_graph
from features.images import ImageError, image_bytes, read_pixels
from features.processor import usable_cores
from features.recipe import LAYER_WIDTHS, FeatureRecipe, parse_layers
from features.weights import find_weights

#: An image as it is given: a path, or the encoded bytes.
_Image = str | Path | bytes


class Extracted(NamedTuple):
    """What became of one image.

    Attributes:
        image_id: sha256 of the encoded bytes, hex.
        width, height: of the decoded image, in pixels.
        format: as its content says: `jpeg`, `png`, …
        features: for each of the extractor's layers, float32 of shape (width of the layer,).
    """

    image_id: str
    width: int
    height: int
    format: str
    features: tuple[np.ndarray, ...]


class _Batch(NamedTuple):
    """An engine batch on its way: its images, and what becomes of them."""

    images: list[_Image]
    outcomes: Future[list[Extracted | ImageError]]


class InceptionV3:
    """Keras's Inception V3 without its top, run by an engine made for inference.

    It brings threads of its own, as many as the machine (or its container's quota) has use for, and sets
    OpenCV, in this process, to use none: each image has a thread already.

    Args:
        weights: `auto`, `imagenet`, `random` or a file, as in `features.weights.find_weights`.
        layers: names from `features.recipe.LAYER_WIDTHS`, as a list or with commas between them.
        precision: `float32` or `bfloat16`; a processor without bfloat16 computes in float32.
        engine: `auto`, `openvino` or `tensorflow`.
        exif_orientation: turn photos as their EXIF data say.

    Attributes:
        layers: the layers that are computed, in the order of the network.
        recipe: how the features are made.
        engine: the engine that makes them; its `precision` is the one really used.
        coming: paths that the next call of `extract` will begin with: the call before it starts on them when
            it has nothing else left to start on. For whoever makes one call after another.
        seconds: thread seconds spent by stage (`read`, `decode`, `infer`, `wait`), and since when.

    Raises:
        BottleneckError: for an unknown layer, or weights that can't be had.
    """

    def __init__(
        self,
        weights: str = "auto",
        *,
        layers: str | Iterable[str] = "avg_pool",
        precision: str = "float32",
        engine: str = "auto",
        exif_orientation: bool = False,
    ) -> None:
        self.layers = parse_layers(layers)
        source = find_weights(weights)
        engine = choose_engine(engine)
        graph = find_graph(source, engine)
        self.engine = load_engine(engine, graph.path, self.layers, precision)
        self.recipe = FeatureRecipe(
            weights=source.name,
            weights_sha256=graph.weights_sha256,
            precision=precision,
            exif_orientation=exif_orientation,
        )
        cv2.setNumThreads(1)
        # Those beyond the engine's streams read, decode and resize ahead of it.
        self._workers = self.engine.streams + max(2, usable_cores() // 2)
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="extract")
        self.coming: Sequence[str] = ()
        self._begun: collections.deque[_Batch] = collections.deque()
        self.seconds: collections.Counter[str] = collections.Counter()
        self._free = threading.BoundedSemaphore(self.engine.streams)
        self._threads = threading.local()
        self._lock = threading.Lock()

    def features(self, images: Iterable[_Image]) -> dict[str, np.ndarray]:
        """Features of images that are all expected to be good.

        Args:
            images: paths, or encoded images as bytes.

        Returns:
            For each layer, float32 of shape (n_images, width).

        Raises:
            BottleneckError: for an image that can't be read or decoded.
        """
        images = list(images)
        rows = []
        for image, outcome in zip(images, self.extract(images), strict=True):
            if isinstance(outcome, ImageError):
                name = "an image given as bytes" if isinstance(image, bytes) else image
                raise BottleneckError(f"{name}: {outcome.reason} ({outcome.detail})")
            rows.append(outcome.features)
        return {
            layer: np.array([row[number] for row in rows], np.float32).reshape(-1, LAYER_WIDTHS[layer])
            for number, layer in enumerate(self.layers)
        }

    def begin(self, images: Iterable[_Image]) -> list[Future[list[Extracted | ImageError]]]:
        """Start on the images that the next call of `extract` begins with, to hand out what is done by then.

        A call of `extract` with other images stops this, and does its own.

        Returns:
            What becomes of each batch of the engine's size, to look at before `extract` is called.
        """
        batches = list(_batched(images, self.engine.batch_size))
        with self._lock:
            if [begun.images for begun in self._begun] != batches[: len(self._begun)]:
                self._forget_begun()
            self._begun.extend(self._submit(batch) for batch in batches[len(self._begun) :])
            return [begun.outcomes for begun in self._begun]

    def extract(self, images: Iterable[_Image]) -> Iterator[Extracted | ImageError]:
        """Features of each image, or why it has none, in the order given.

        Images are read, decoded and resized on threads ahead of inference; what is in flight is bounded.
        """
        flying: collections.deque[_Batch] = collections.deque()
        try:
            for batch in _batched(images, self.engine.batch_size):
                flying.append(self._take_begun(batch) or self._submit(batch))
                if len(flying) > 2 * self._workers:
                    yield from flying.popleft().outcomes.result()
            if self.coming:
                self.begin(self.coming)
                self.coming = ()
            while flying:
                yield from flying.popleft().outcomes.result()
        finally:
            for unwanted in flying:
                unwanted.outcomes.cancel()

    def _submit(self, images: list[_Image]) -> _Batch:
        return _Batch(images, self._pool.submit(self._extract_batch, images))

    def _take_begun(self, images: list[_Image]) -> _Batch | None:
        """The batch of these images, if it is the next one begun; if another is, none of them is wanted."""
        with self._lock:
            if self._begun and self._begun[0].images == images:
                return self._begun.popleft()
            self._forget_begun()
            return None

    def _forget_begun(self) -> None:
        while self._begun:
            self._begun.popleft().outcomes.cancel()

    def _extract_batch(self, images: Sequence[_Image]) -> list[Extracted | ImageError]:
        """One engine batch through all its stages, on one thread."""
        pixels = self._pixels()
        found: list[Extracted | ImageError] = []
        for image in images:
            good = sum(isinstance(outcome, Extracted) for outcome in found)
            try:
                found.append(self._prepare(image, pixels[good]))
            except ImageError as error:
                found.append(error)
        if not any(isinstance(outcome, Extracted) for outcome in found):
            return found
        started = time.perf_counter()
        with self._free:
            entered = time.perf_counter()
            layers = self.engine.infer(pixels)
        self._count(wait=entered - started, infer=time.perf_counter() - entered)
        rows = zip(*layers, strict=True)
        return [
            _with_features(outcome, next(rows)) if isinstance(outcome, Extracted) else outcome
            for outcome in found
        ]

    def _prepare(self, image: _Image, out: np.ndarray) -> Extracted:
        """Read, hash, decode and resize one image into `out`, float32 (299, 299, 3)."""
        started = time.perf_counter()
        source: contextlib.AbstractContextManager[bytes]
        source = contextlib.nullcontext(image) if isinstance(image, bytes) else image_bytes(str(image))
        with source as data:
            image_id = hashlib.sha256(data).hexdigest()
            read = time.perf_counter()
            width, height, format = read_pixels(data, out, exif_orientation=self.recipe.exif_orientation)
        self._count(read=read - started, decode=time.perf_counter() - read)
        return Extracted(image_id, width, height, format, ())

    def _pixels(self) -> np.ndarray:
        """This thread's batch of pixels, used again and again."""
        pixels = getattr(self._threads, "pixels", None)
        if pixels is None:
            size = self.recipe.input_size
            pixels = np.zeros((self.engine.batch_size, size, size, 3), np.float32)
            self._threads.pixels = pixels
        return pixels

    def _count(self, **seconds: float) -> None:
        with self._lock:
            self.seconds.update(seconds)


def _with_features(image: Extracted, rows: tuple[np.ndarray, ...]) -> Extracted | ImageError:
    if all(np.isfinite(row).all() for row in rows):
        return image._replace(features=rows)
    return ImageError("not_finite", "the network gave NaN or infinite features")


def _batched(images: Iterable[_Image], size: int) -> Iterator[list[_Image]]:
    iterator = iter(images)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
