"""Inputs: from what a user names to a listing of its images. Nothing is read but folders and file facts.

A form of input is a module here with a `Form`, and a line in `FORMS`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from features import files
from features.downloads import DownloadProgress
from features.errors import BottleneckError
from features.inputs.builtin import AUTO, DIGITS, FLOWERS
from features.inputs.csv_file import LIST
from features.inputs.folder import CLASSES, FOLDER, IMAGE
from features.inputs.listing import LISTING_SCHEMA, Listing, Request
from features.inputs.walk import is_text
from features.text import printable, some

__all__ = ["CLASSES", "LISTING_SCHEMA", "Listing", "list_images"]

#: The forms of input; of several that accept a name the last one lists it.
FORMS = (FOLDER, LIST, IMAGE, FLOWERS, DIGITS, AUTO)


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
    if not data:
        raise BottleneckError(f"`data` is empty: expected {_forms()}")
    if not is_text(data):
        raise BottleneckError(f"the path {printable(data)} is not valid UTF-8: rename it")
    form = next((form for form in reversed(FORMS) if form.accepts(data)), None)
    if form is None:
        problem = "is a file of another kind" if files.is_file(data) else "does not exist"
        raise BottleneckError(f"`data={printable(data)}` {problem}: expected {_forms()}")
    given = [name for name, value in (("`splits`", splits), ("`classes`", classes)) if value]
    if given and not form.has_folders:
        raise BottleneckError(
            f"{' and '.join(given)} can only be given for a folder, which {printable(data)} is not"
        )
    listing = form.list(data, Request(splits or {}, classes, labelled, progress))
    _notice_similar_labels(listing)
    return listing


def _forms() -> str:
    *others, last = (form.description for form in FORMS)
    return f"{', '.join(others)} or {last}"


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
