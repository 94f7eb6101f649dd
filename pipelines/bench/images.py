"""The images of a benchmark: the same files for every way, in folders that each of them can read."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from features.errors import BottleneckError
from features.images import ImageError, decode, read_image
from features.inputs import ImageRef, list_images

#: What every way can decode, by content, and the extension that Keras expects of it.
_SUFFIXES = {"jpeg": ".jpg", "png": ".png"}


class Photo(NamedTuple):
    """An image that every way can read: its file, its class and the extension that fits its content."""

    path: str
    label: str
    suffix: str


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


def _good(images: list[ImageRef]) -> Iterator[Photo]:
    for image in _in_turn(images):
        try:
            kind = decode(read_image(image.uri)).format
        except ImageError:
            continue
        if kind in _SUFFIXES:
            yield Photo(image.uri, _label(image), _SUFFIXES[kind])


def _in_turn(images: list[ImageRef]) -> Iterator[ImageRef]:
    """One image of each class, then the next of each, and so on: any first part has them all."""
    classes: dict[str, list[ImageRef]] = {}
    for image in images:
        classes.setdefault(_label(image), []).append(image)
    for row in itertools.zip_longest(*classes.values()):
        yield from (image for image in row if image is not None)


def _label(image: ImageRef) -> str:
    return image.labels[0].replace(os.sep, "_") if image.labels else "unlabelled"


def lay_out(photos: list[Photo], folder: Path, count: int) -> Path:
    """Make a folder of exactly `count` images, a sub-folder per class, repeating photos where needed.

    Files are hard links where the file system allows, so that repeated images are read like any other. The
    n-th image has the same name in a folder of any count.
    """
    for number, photo in enumerate(itertools.islice(itertools.cycle(photos), count)):
        target = folder / photo.label / f"{number:06}{photo.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        source = os.path.realpath(photo.path)
        try:
            os.link(source, target)
        except OSError:  # on another file system, or one without links
            shutil.copyfile(source, target)
    return folder
