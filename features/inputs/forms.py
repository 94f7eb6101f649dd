"""What a form of input is: how it is known, and what lists its images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from features.downloads import DownloadProgress
from features.inputs.listing import Listing


class Request(NamedTuple):
    """How an input is to be listed: see `features.inputs.list_images`."""

    splits: Mapping[str, str] = {}
    classes: str | None = None
    labelled: bool = True
    progress: DownloadProgress | None = None


class Form(NamedTuple):
    """A form of input.

    Attributes:
        description: of it, for the message that lists them all.
        accepts: whether a path, or the name of a data set, is of this form.
        list: gives the listing of one.
        has_folders: whether `splits` and `classes` say how it is read.
    """

    description: str
    accepts: Callable[[str], bool]
    list: Callable[[str, Request], Listing]
    has_folders: bool = False
