"""The images that an evaluation names, each with its thumbnail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from features.text import printable
from heads.page.figures import items
from heads.page.parts import Cell, Picture, short


def named_images(evaluation: Mapping[str, Any]) -> list[str]:
    """The files of all images that an evaluation names, each once, in the order of the page."""
    return list(dict.fromkeys(uri for uri in _uris(evaluation) if isinstance(uri, str)))


def _uris(evaluation: Mapping[str, Any]) -> Iterator[Any]:
    yield from (image.get("uri") for image in items(evaluation, "trust", "worst"))
    yield from (image.get("uri") for image in items(evaluation, "data", "label_errors", "images"))
    for pair in items(evaluation, "data", "near_duplicates", "pairs"):
        yield from items(pair, "uris")
    yield from (image.get("uri") for image in items(evaluation, "data", "outliers"))


def file_name(uri: str) -> str:
    """The last part of a path."""
    return uri.rstrip("/").rpartition("/")[2] or uri


class Album:
    """Pictures from their files.

    Args:
        thumbnails: data URIs by file; None for an image that could not be read.
    """

    def __init__(self, thumbnails: Mapping[str, str | None]) -> None:
        self._thumbnails = thumbnails

    def picture(self, uri: Any, label: Any, facts: Sequence[tuple[str, Cell]]) -> Picture:
        """An image with its label and what else is known of it."""
        path = str(uri)
        said = f"labelled {short(label)}" if label else "without a label"
        alt = f"Image {said}: {printable(short(file_name(path)))}"
        return Picture(path, alt, self._thumbnails.get(path), facts)


def labels_text(labels: Any) -> str | None:
    """Labels of an image as one text."""
    if isinstance(labels, list | tuple):
        return " | ".join(map(str, labels)) or None
    return None if labels is None else str(labels)
