"""References to the images of the input: where they are and what is known before they are read."""

from __future__ import annotations

import os
from typing import NamedTuple


class ImageRef(NamedTuple):
    """One image of the input, as its listing found it.

    Attributes:
        uri: absolute path (symbolic links are not resolved) or URL.
        labels: one for ordinary classification, several for multi-label, none for unlabelled.
        split: the split that the data came with: `train`, `validation`, `test`, `train+validation`
            (to be cut between these two) or None (to be cut into all three); `features.splits` cuts.
        size: bytes, or None where the file can't be looked up (a dangling link, for instance).
        modified_at: microseconds since the epoch (UTC), or None like `size`.
    """

    uri: str
    labels: tuple[str, ...]
    split: str | None
    size: int | None
    modified_at: int | None


class Listing(NamedTuple):
    """What the input holds.

    Attributes:
        source: the input's canonical name, kept with the table: an absolute path, `digits` or `flowers`.
        images: in the order of their uri, each once.
        ignored: files that are no images.
        notices: what the user should know.
        left_out: images that can't be listed, since their names are not UTF-8.
    """

    source: str
    images: list[ImageRef]
    ignored: int
    notices: list[str]
    left_out: int = 0


def image_ref(uri: str, labels: tuple[str, ...], split: str | None = None) -> ImageRef:
    """The reference to the file at `uri`, looked up; links are followed."""
    try:
        status = os.stat(uri)
    except (OSError, ValueError):  # a dangling link, no permission, a null in the name: reading it will tell
        return ImageRef(uri, labels, split, None, None)
    return ImageRef(uri, labels, split, status.st_size, status.st_mtime_ns // 1000)
