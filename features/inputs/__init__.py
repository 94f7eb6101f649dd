"""Inputs: from what `DATA=` names to a list of image references. Nothing is read but folders and file facts.

`list_images` is the one place where it is decided what kind of input a name stands for.
"""

from __future__ import annotations

import os
import re

from features.errors import BottleneckError
from features.inputs.builtin import list_auto, list_digits, list_flowers
from features.inputs.csv_file import list_csv
from features.inputs.folder import is_image_name, list_file, list_folder
from features.inputs.reference import ImageRef, Listing

__all__ = ["ImageRef", "Listing", "list_images"]

_BUILTIN = {"auto": list_auto, "digits": list_digits, "flowers": list_flowers}

_FORMS = (
    "a folder (with a sub-folder per class, or train/ val/ test/ with these within), "
    "a CSV file (uri,label or with the header uri,labels,split), an image file, flowers, digits or auto"
)


def list_images(data: str) -> Listing:
    """List the images of an input, without reading any.

    Args:
        data: a folder, a CSV file, an image file, or a built-in data set; `auto` takes `flowers` and,
            where these can't be had, `digits` with a notice.

    Raises:
        BottleneckError: when there is no such input, or something is wrong with it.
    """
    if data in _BUILTIN:
        listing = _BUILTIN[data]()
        if os.path.isdir(data):
            notice = f"{data!r} is the built-in data set: for the folder of that name, say ./{data}"
            listing.notices.append(notice)
        return listing
    if re.match(r"[a-z][a-z0-9+.-]+://", data, re.IGNORECASE):
        raise BottleneckError(
            f"DATA={data} is remote, which is not supported yet: copy it to this machine first"
        )
    path = os.path.abspath(os.path.expanduser(data))
    if data and os.path.isdir(path):
        return list_folder(path)
    if data and os.path.isfile(path):
        if path.lower().endswith(".csv"):
            return list_csv(path)
        if is_image_name(path):
            return list_file(path)
        raise BottleneckError(f"DATA={data} is a file of another kind: expected {_FORMS}")
    raise BottleneckError(f"DATA={data} does not exist: expected {_FORMS}")
