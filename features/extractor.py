"""A backbone as a feature extractor: encoded images in, rows of features out.

Use it from a notebook, from the pipeline, or to predict:

    extractor = Extractor("imagenet", backbone="resnet50")
    extractor.features(["rose.jpg", "tulip.jpg"])["avg_pool"]  # float32 (2, 2048)

Don't use it to fill a table from thousands of images: the pipeline does that, in commits that survive a stop.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from features.augmentation import Augmentation
from features.backbones import DEFAULT_BACKBONE, get_backbone
from features.backbones.weights import find_weights
from features.downloads import DownloadProgress
from features.engines import choose_engine, load_engine
from features.engines.graphs import find_graph
from features.errors import BottleneckError, check_known
from features.images import ImageError
from features.images.preparation import Choose, Image, IsolatedPreparation, Prepared, itself, prepare
from features.machine import usable_cores
from features.recipe import PRECISIONS, FeatureRecipe
from features.store.vectors import list_array, matrix

_Item = TypeVar("_Item")
_Prepare = Callable[[Image, np.ndarray, bool, Choose, Augmentation | None], Prepared]

#: What is said of each view of an image, besides a column of features for each layer, null for a rejected
#: one:
#: image: its place among those that were given.
#: view: 0 the image itself, else its augmented view of this number; null where none was wanted.
#: image_id: sha256 of the encoded bytes, hex.
#: width, height: of the decoded image, in pixels.
#: format: as its content says: `jpeg`, `png`, …
#: reason, detail: why it gives no features (`features.images.REASONS`), and what exactly was seen.
EXTRACTED_FIELDS = (
    pa.field("image", pa.int32()),
    pa.field("view", pa.int32()),
    pa.field("image_id", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("format", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("detail", pa.string()),
)


class Views(NamedTuple):
    """Which views of images are wanted.

    Attributes:
        choose: called with the place of an image and its id, from several threads and perhaps twice: the
            numbers of its views, 0 for the image itself. Without any, it is neither decoded nor inferred.
        most: how many views an image has at most, itself included.
        augmentation: how the others are made.
    """

    choose: Callable[[int, str], Sequence[int]]
    most: int
    augmentation: Augmentation | None = None


#: Each image itself, and no other view.
ITSELF = Views(lambda _, image_id: itself(image_id), 1)


class _Row(NamedTuple):
    """A row of a batch: a view of an image, or why there is none."""

    image: int
    view: int | None
    outcome: Prepared | ImageError


class Extractor:
    """A network of Keras's without its top, run by an engine made for inference.

    It brings threads of its own, as many as the machine (or its container's quota) has use for. OpenCV's own
    threads, which each resize would use as well, are best turned off: `cv2.setNumThreads(1)`.

    Args:
        weights: `auto`, `imagenet`, `random` or a file, as in `features.backbones.weights.find_weights`.
        backbone: the network, one of `features.backbones.BACKBONES`.
        layers: names of its layers, as a list or with commas between them; by default `avg_pool`.
        precision: `float32` or `bfloat16`; a processor without bfloat16 computes in float32.
        engine: `auto`, `openvino` or `tensorflow`.
        exif_orientation: turn photos as their EXIF data say.
        progress: of a download of the weights: see `features.downloads.fetch`.

    Attributes:
        backbone: the network.
        layers: the layers that are computed, in the order of the network.
        recipe: how the features are made.
        engine: the engine that makes them; its `precision` is the one really used.
        schema: of the record batches that `extract` gives.
        seconds: thread seconds spent by stage (`read`, `decode`, `infer`, `wait`), and since when.

    Raises:
        BottleneckError: for an unknown layer, or weights that can't be found or downloaded.
    """

    def __init__(
        self,
        weights: str = "auto",
        *,
        backbone: str = DEFAULT_BACKBONE,
        layers: str | Iterable[str] | None = None,
        precision: str = "float32",
        engine: str = "auto",
        exif_orientation: bool = False,
        progress: DownloadProgress | None = None,
    ) -> None:
        self.backbone = get_backbone(backbone)
        self.layers = self.backbone.parse_layers(layers)
        source = find_weights(weights, self.backbone, progress)
        engine = choose_engine(engine)
        check_known("precision", precision, PRECISIONS)
        graph = find_graph(self.backbone, source, engine)
        self.engine = load_engine(engine, graph.path, self.layers, precision)
        self.recipe = FeatureRecipe(
            weights=source.name,
            weights_sha256=graph.weights_sha256,
            precision=precision,
            exif_orientation=exif_orientation,
            backbone=backbone,
        )
        # Those beyond the engine's streams read, decode and resize ahead of it.
        self._workers = self.engine.streams + max(2, usable_cores() // 2)
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="extract")
        features = [pa.field(layer, pa.list_(pa.float32())) for layer in self.layers]
        self.schema = pa.schema([*EXTRACTED_FIELDS, *features])
        self.seconds: collections.Counter[str] = collections.Counter()
        self._free = threading.BoundedSemaphore(self.engine.streams)
        self._threads = threading.local()
        self._lock = threading.Lock()

    def features(self, images: Iterable[Image]) -> dict[str, np.ndarray]:
        """Features of images that are all expected to be good.

        Args:
            images: paths, or encoded images as bytes.

        Returns:
            For each layer, float32 of shape (n_images, width).

        Raises:
            BottleneckError: for an image that can't be read or decoded.
        """
        images = list(images)
        rows = pa.Table.from_batches(self.extract(images), self.schema)
        for image, reason, detail in zip(images, *rows.select(["reason", "detail"]).columns, strict=True):
            if reason.is_valid:
                name = "an image given as bytes" if isinstance(image, bytes) else image
                raise BottleneckError(f"{name}: {reason} ({detail})")
        return {layer: matrix(rows.column(layer), self.backbone.layers[layer]) for layer in self.layers}

    def extract(
        self, images: Iterable[Image], *, isolated: bool = False, views: Views = ITSELF
    ) -> Iterator[pa.RecordBatch]:
        """Features of each image, or why it has none, in the order given, a few images at a time.

        Images are read, decoded and resized on threads ahead of inference; what is in flight is bounded. The
        views of an image are made from one decoding.

        Args:
            isolated: read and decode in processes of their own: an image that ends its process is rejected as
                `crashed`.
            views: those that are wanted of each; by default the image itself.

        Yields:
            Batches in the extractor's `schema`: a row for each view, one for an image that is rejected, and
            one without features for an image of which no view is wanted.
        """
        with IsolatedPreparation() if isolated else contextlib.nullcontext(prepare) as prepare_image:
            flying: collections.deque[Future[pa.RecordBatch]] = collections.deque()
            try:
                for batch in _batched(enumerate(images), self.engine.batch_size):
                    flying.append(self._pool.submit(self._extract_batch, batch, prepare_image, views))
                    if len(flying) > 2 * self._workers:
                        yield flying.popleft().result()
                while flying:
                    yield flying.popleft().result()
            finally:
                for unwanted in flying:
                    unwanted.cancel()

    def _extract_batch(
        self, images: Sequence[tuple[int, Image]], prepare_image: _Prepare, views: Views
    ) -> pa.RecordBatch:
        """A few images through all stages, on one thread; as many calls of the engine as their views need."""
        size = self.engine.batch_size
        pixels = self._pixels(size - 1 + views.most)
        rows: list[_Row] = []
        outputs: list[list[np.ndarray]] = []
        ready = 0  # places of `pixels` that wait for inference
        for number, image in images:
            choose = functools.partial(views.choose, number)
            try:
                prepared = prepare_image(
                    image, pixels[ready:], self.recipe.exif_orientation, choose, views.augmentation
                )
            except ImageError as error:
                rows.append(_Row(number, 0, error))
                continue
            self._count(read=prepared.read, decode=prepared.decode)
            rows += [_Row(number, view, prepared) for view in prepared.views or (None,)]
            ready += len(prepared.views)
            while ready >= size:
                outputs.append(self._infer(pixels[:size]))
                ready -= size
                pixels[:ready] = pixels[size : size + ready]
        if ready:
            outputs.append([layer[:ready] for layer in self._infer(pixels[:size])])
        return self._to_batch(rows, [np.concatenate(layer) for layer in zip(*outputs, strict=True)])

    def _to_batch(self, rows: Sequence[_Row], layers: Sequence[np.ndarray]) -> pa.RecordBatch:
        """Rows and the features of those that are not rejected; an image with any that are not finite is."""
        places = iter(range(len(rows)))
        taken = [
            None if row.view is None or isinstance(row.outcome, ImageError) else next(places) for row in rows
        ]
        bad = {
            row.image
            for row, place in zip(rows, taken, strict=True)
            if place is not None and not all(np.isfinite(layer[place]).all() for layer in layers)
        }
        if bad:
            error = ImageError("not_finite", "the network gave NaN or infinite features")
            good = [number for number, row in enumerate(rows) if row.image not in bad]
            rejected = [_Row(image, 0, error) for image in sorted(bad)]
            taken = [*(taken[number] for number in good), *([None] * len(rejected))]
            rows = [*(rows[number] for number in good), *rejected]
            order = sorted(range(len(rows)), key=lambda number: rows[number].image)
            rows, taken = [rows[number] for number in order], [taken[number] for number in order]
        facts = [
            pa.array(
                [getattr(row, field.name, getattr(row.outcome, field.name, None)) for row in rows], field.type
            )
            for field in EXTRACTED_FIELDS
        ]
        of_rows = pa.array(taken, pa.int32())
        columns = [_column(layer, of_rows) for layer in layers or itertools.repeat(None, len(self.layers))]
        return pa.RecordBatch.from_arrays([*facts, *columns], schema=self.schema)

    def _infer(self, pixels: np.ndarray) -> list[np.ndarray]:
        started = time.perf_counter()
        with self._free:
            entered = time.perf_counter()
            layers = self.engine.infer(pixels)
        self._count(wait=entered - started, infer=time.perf_counter() - entered)
        return layers

    def _pixels(self, places: int) -> np.ndarray:
        """This thread's places for pixels, used again and again."""
        pixels = getattr(self._threads, "pixels", None)
        if pixels is None or len(pixels) < places:
            size = self.backbone.input_size
            pixels = np.zeros((places, size, size, 3), np.float32)
            self._threads.pixels = pixels
        return pixels

    def _count(self, **seconds: float) -> None:
        with self._lock:
            self.seconds.update(seconds)


class InceptionV3(Extractor):
    """The extractor of Inception V3; arguments as of `Extractor`."""

    def __init__(self, weights: str = "auto", **options: Any) -> None:
        super().__init__(weights, backbone="inception_v3", **options)


def _column(layer: np.ndarray | None, rows: pa.Array) -> pa.Array:
    """These rows of a layer's features as a column, null where there is none."""
    if layer is None:
        return pa.nulls(len(rows), pa.list_(pa.float32()))
    if rows.null_count == 0 and len(rows) == len(layer):
        return list_array(layer)
    return list_array(layer).take(rows)


def _batched(images: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(images)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
