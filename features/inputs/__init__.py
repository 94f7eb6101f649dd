"""Inputs: from what a user names to a listing of its images. Nothing is read but folders and file facts.

`list_images` is the one place where it is decided what kind of input a name stands for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from features import files
from features.downloads import DownloadProgress
from features.errors import BottleneckError
from features.inputs.builtin import list_auto, list_digits, list_flowers
from features.inputs.csv_file import list_csv
from features.inputs.folder import CLASSES, is_image_name, list_file, list_folder
from features.inputs.listing import LISTING_SCHEMA, Listing
from features.inputs.walk import is_text
from features.locations import local_path
from features.text import printable, some

__all__ = ["CLASSES", "LISTING_SCHEMA", "Listing", "list_images"]

_BUILTIN = {"auto": list_auto, "digits": list_digits, "flowers": list_flowers}
_LISTS = (".csv", ".tsv", ".txt")

_FORMS = (
    "a folder (with a sub-folder per class, or train/ val/ test/ with these within), a CSV file "
    "(uri,label or with a header), a text file with a path on each line, an image file, flowers, digits or "
    "auto"
)


def list_images(
    data: str,
    *,
    splits: Mapping[str, str] | None = None,
    classes: str | None = None,
    labelled: bool = True,
    progress: DownloadProgress | None = None,
) -> Listing:
    """List the images of an input, without reading any.

    Args:
        data: a folder, a CSV file, a list of paths, an image file, or a built-in data set; `auto` takes
            `flowers` and, where these can't be downloaded, `digits` with a notice.
        splits, classes: how a folder is read: see `features.inputs.folder.list_folder`.
        labelled: whether the labels of a CSV are wanted.
        progress: see `features.downloads.fetch`.

    Raises:
        BottleneckError: when there is no such input, or something is wrong with it.
    """
    listing = _list(data, splits or {}, classes, labelled, progress)
    _notice_similar_labels(listing)
    return listing


def _list(
    data: str,
    splits: Mapping[str, str],
    classes: str | None,
    labelled: bool,
    progress: DownloadProgress | None,
) -> Listing:
    if not data:
        raise BottleneckError(f"`data` is empty: expected {_FORMS}")
    if data in _BUILTIN:
        _refuse_choices(data, splits, classes)
        listing = _BUILTIN[data](progress)
        if files.is_folder(data):
            notice = f"{data!r} is the built-in data set: for the folder of that name, say ./{data}"
            listing.notices.append(notice)
        return listing
    path = local_path(data)
    if not is_text(path):
        raise BottleneckError(f"the path {printable(path)} is not valid UTF-8: rename it")
    if files.is_folder(path):
        return list_folder(path, splits=splits, classes=classes)
    if files.is_file(path):
        _refuse_choices(data, splits, classes)
        if path.lower().endswith(_LISTS):
            return list_csv(path, labelled=labelled)
        if is_image_name(path):
            return list_file(path)
        raise BottleneckError(f"`data={printable(data)}` is a file of another kind: expected {_FORMS}")
    raise BottleneckError(f"`data={printable(data)}` does not exist: expected {_FORMS}")


def _refuse_choices(data: str, splits: Mapping[str, str], classes: str | None) -> None:
    given = [name for name, value in (("`splits`", splits), ("`classes`", classes)) if value]
    if given:
        raise BottleneckError(
            f"{' and '.join(given)} can only be given for a folder, which {printable(data)} is not"
        )


def _notice_similar_labels(listing: Listing) -> None:
    """Labels that look the same, and are not."""
    alike: dict[str, set[str]] = {}
    for label in listing.labels():
        alike.setdefault(unicodedata.normalize("NFC", label).casefold(), set()).add(label)
    for labels in sorted(sorted(labels) for labels in alike.values() if len(labels) > 1):
        texts = [
            label if unicodedata.is_normalized("NFC", label) else f"{label} (decomposed)" for label in labels
        ]
        listing.notices.append(
            f"the labels {some(texts, quote=True)} differ only in case or in Unicode form: "
            "they are separate classes"
        )
