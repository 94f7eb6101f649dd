"""The images of a benchmark: the same files for every way, in folders that each of them can read."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from features.errors import BottleneckError
from features.images import ImageError, decode, read_image
from features.inputs import list_images

#: What every way can decode, by content; Keras takes files with these extensions.
_FORMATS = ("jpeg", "png")


class Photo(NamedTuple):
    """An image that every way can read: its file, its class and the format of its content."""

    path: str
    label: str
    format: str


def find_photos(data: str, count: int) -> tuple[str, list[Photo]]:
    """Up to `count` images of an input, class by class in turn, each tried beforehand.

    What is neither JPEG nor PNG, or is damaged, is left out: a single one of these would end the other ways.

    Args:
        data: as in `features.inputs.list_images`.

    Returns:
        The input's name, and its images.

    Raises:
        BottleneckError: where there are none.
    """
    listing = list_images(data)
    photos = list(itertools.islice(_good(listing.images), count))
    if not photos:
        raise BottleneckError(f"DATA={data} holds no JPEG or PNG image to measure with")
    return listing.source, photos


def _good(images: pa.Table) -> Iterator[Photo]:
    for uri, label in _in_turn(images):
        try:
            kind = decode(read_image(uri)).format
        except ImageError:
            continue
        if kind in _FORMATS:
            yield Photo(uri, label, kind)


def _in_turn(images: pa.Table) -> Iterator[tuple[str, str]]:
    """Uris with their label, one of each class, then the next of each: any first part has all classes."""
    classes: dict[str, list[str]] = {}
    for uri, labels in zip(*(images.column(name).to_pylist() for name in ("uri", "labels")), strict=True):
        label = labels[0].replace(os.sep, "_") if labels else "unlabelled"
        classes.setdefault(label, []).append(uri)
    for row in itertools.zip_longest(*classes.values()):
        yield from ((uri, label) for label, uri in zip(classes, row, strict=True) if uri is not None)


def lay_out(photos: list[Photo], folder: Path, count: int) -> Path:
    """Make a folder of exactly `count` images, a sub-folder per class, repeating photos where needed.

    Files are hard links where the file system allows, so that repeated images are read like any other. The
    n-th image has the same name in a folder of any count.
    """
    for number, photo in enumerate(itertools.islice(itertools.cycle(photos), count)):
        target = folder / photo.label / f"{number:06}.{photo.format}"
        target.parent.mkdir(parents=True, exist_ok=True)
        source = os.path.realpath(photo.path)
        try:
            os.link(source, target)
        except OSError:  # on another file system, or one without links
            shutil.copyfile(source, target)
    return folder
