"""Labelled images to train on as pixels: each is read and decoded once first, then streamed from its file.

Pixels come from this project's own decoding, so that a network sees here what it sees when features are
extracted. Of all the images only what is known of them is in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BottleneckError
from features.images import ImageError
from features.images.preparation import prepare
from features.inputs import Listing
from features.machine import usable_cores
from features.splits import assign_splits
from features.store.labels import encode, have_labels, read_labels
from features.text import counted, printable, some

if TYPE_CHECKING:
    import tensorflow as tf

    from features.store.table import FeatureTable

#: Images whose outcomes are Python objects at a time.
_AT_ONCE = 4096
#: What is known of images before they are read: columns of a feature table.
_COLUMNS = ("uri", "labels", "split", "view")


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


class LabelledImages(NamedTuple):
    """Images that can be read, with their labels and splits, and those that have no label.

    Attributes:
        rows: `uri`, `labels`, `split` and `view`, as in a feature table.
        name: what they are the images of, for messages.
        notices: sentences to show.
    """

    rows: pa.Table
    name: str
    notices: list[str]

    def labels(self) -> list[str]:
        """All labels, each once."""
        return pc.list_flatten(self.rows.column("labels")).unique().to_pylist()

    def streams(
        self, classes: Sequence[str], reader: PixelReader, *, multi_label: bool, ignored: Collection[str]
    ) -> dict[str, PixelStream]:
        """The images with labels that are learned, by split.

        Args:
            classes: the labels that are learned.
            multi_label: whether images may have several.
            ignored: the other labels.
        """
        labels = read_labels(self.rows.column("labels"), multi_label=multi_label)
        learned = have_labels(labels, classes)
        streams = {}
        for split in ("train", "validation", "test"):
            of_split = learned & pc.equal(self.rows.column("split"), split).fill_null(False).to_numpy()
            y = encode(labels[of_split], classes, multi_label=multi_label, ignored=ignored)
            uris = self.rows.column("uri").filter(pa.array(of_split)).to_pylist()
            streams[split] = PixelStream(uris, y, reader)
        return streams


def images_of_listing(listing: Listing, reader: PixelReader) -> LabelledImages:
    """The images of an input that can be read, with splits that are cut as extraction cuts them.

    Raises:
        BottleneckError: where none with a label can be read.
    """
    name = f"`data={printable(listing.source)}`"
    labelled, unlabelled = _by_labels(listing.images)
    uris = labelled.column("uri").to_pylist()
    outcomes = list(reader.check(uris))
    bad = [f"{uri}: {fault}" for uri, (_, fault) in zip(uris, outcomes, strict=True) if fault]
    if uris and len(bad) == len(uris):
        images = counted(len(uris), "labelled image")
        raise BottleneckError(f"none of the {images} of {name} can be read: {some(bad)}")
    good = pa.array([fault is None for _, fault in outcomes], pa.bool_())
    labelled = labelled.filter(good)
    image_ids = pa.array([image_id for image_id, fault in outcomes if not fault], pa.string())
    cut = assign_splits(image_ids, labelled.column("split"), labelled.column("group"))
    place = labelled.schema.get_field_index("split")
    rows = pa.concat_tables([labelled.set_column(place, "split", cut), unlabelled], promote_options="default")
    rows = rows.append_column("view", pa.array(np.zeros(len(rows), np.int32)))
    left_out = [f"left out {counted(len(bad), 'image')} that can't be read: {some(bad)}"] if bad else []
    return LabelledImages(rows.select(_COLUMNS), name, [*listing.notices, *left_out])


def images_of_table(table: FeatureTable, reader: PixelReader) -> LabelledImages:
    """The images of a feature table, whose files have to be as they were when it was made.

    Raises:
        BottleneckError: where one with a label is missing or has changed.
    """
    name = f"table {table.name!r}"
    rows = table.metadata(["image_id", *_COLUMNS])
    rows = rows.filter(pc.equal(rows.column("view"), 0))
    labelled, _ = _by_labels(rows)
    uris, known = labelled.column("uri").to_pylist(), labelled.column("image_id").to_pylist()
    outcomes = zip(uris, known, reader.check(uris), strict=True)
    bad = [f"{uri}: {fault or 'changed'}" for uri, image_id, (now, fault) in outcomes if now != image_id]
    if bad:
        raise BottleneckError(
            f"training on pixels needs the files of {name}, version {table.version}, and {len(bad):,} of "
            f"{len(uris):,} are not as they were: {some(bad)}. Bring them back, or extract again and train a "
            f"head on what there is"
        )
    return LabelledImages(rows.select(_COLUMNS), name, [])


def _by_labels(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows with a label, and those without."""
    labelled = pc.greater(pc.list_value_length(rows.column("labels")), 0)
    return rows.filter(labelled), rows.filter(pc.invert(labelled))


class PixelStream:
    """Pixels and classes of images as datasets for `keras.Model.fit`, which read the files anew at each pass.

    Args:
        uris: of the images.
        y: their classes, of shape (n,), or labels, of shape (n, n_labels), as `heads.Head.fit_matrix` takes
            them.
        reader: how they are read.
    """

    def __init__(self, uris: Sequence[str], y: np.ndarray, reader: PixelReader) -> None:
        self.uris = uris
        self.y = y
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
