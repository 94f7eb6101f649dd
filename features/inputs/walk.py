"""Walking through folders: what counts as an image, what is passed over, and what can't be listed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from features.errors import BottleneckError
from features.inputs.listing import LISTING_SCHEMA, ColumnBuilder, file_facts, single_labels
from features.schemas import to_schema
from features.text import printable

#: Files that count as images. Their content decides how they are decoded, or that they are rejected.
EXTENSIONS = frozenset(
    {
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "gif", "bmp", "dib", "webp", "tif", "tiff"),
        *("avif", "heic", "heif", "jp2", "j2k", "ppm", "pgm", "pbm", "pnm", "tga"),
    }
)

#: What systems and programs leave in folders, besides hidden files.
_LEFTOVERS = {"__macosx", "__pycache__", "@eadir", "$recycle.bin", "lost+found", "system volume information"}

#: `folder` is a number: see `WalkedImages`.
_WALKED_SCHEMA = pa.schema(
    [*(LISTING_SCHEMA.field(name) for name in ("uri", "size", "modified_at")), pa.field("folder", pa.int32())]
)


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image."""
    return name.rpartition(".")[2].lower() in EXTENSIONS and "." in name


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether there is something to look into; links are followed."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


@dataclasses.dataclass(frozen=True)
class WalkedImages:
    """The images below a folder.

    Attributes:
        files: columns `uri`, `size`, `modified_at` and `folder`.
        folders: the folders that images lie in, each by the names that lead to it from the one that the walk
            began in; a file's `folder` is a number in this list.
    """

    files: pa.Table
    folders: list[tuple[str, ...]]

    def __len__(self) -> int:
        return self.files.num_rows

    def counts(self) -> np.ndarray:
        """How many images lie in each folder itself."""
        return np.bincount(self.files.column("folder").to_numpy(), minlength=len(self.folders))

    def labelled(self, labels: Sequence[str | None]) -> pa.Table:
        """The images in `LISTING_SCHEMA`; those in folder n have the label n, or none."""
        rows = self.files.column("folder").combine_chunks()
        column = single_labels(pa.array(labels, pa.string()).take(rows))
        return to_schema(self.files, LISTING_SCHEMA, labels=column, split=None, group=None)

    def within(self, wanted: Sequence[bool]) -> WalkedImages:
        """The images in those folders alone."""
        rows = pa.array(wanted, pa.bool_()).take(self.files.column("folder").combine_chunks())
        return WalkedImages(self.files.filter(rows), self.folders)


class Walk:
    """A walk over folders.

    Attributes:
        ignored: files that are no images, or are beside the folders of the classes.
        left_out: paths of images that can't be listed, since a name in them is not UTF-8.
        notices: what the user should know.
    """

    def __init__(self) -> None:
        self.ignored = 0
        self.left_out: list[str] = []
        self.notices: list[str] = []

    def entries(self, folder: str) -> list[os.DirEntry[str]]:
        """What is in a folder, without hidden files and leftovers, by name."""
        try:
            with os.scandir(folder) as scanned:
                entries = [entry for entry in scanned if not _is_passed_over(entry.name)]
        except OSError as error:
            raise BottleneckError(
                f"the folder {printable(folder)} can't be read: {error.strerror}"
            ) from error
        return sorted(entries, key=lambda entry: entry.name)

    def images(self, folder: str) -> WalkedImages:
        """The images anywhere below a folder."""
        builder = ColumnBuilder(_WALKED_SCHEMA)
        folders: list[tuple[str, ...]] = []
        self._add_images(builder, folders, folder, (), os.path.realpath(folder), ())
        return WalkedImages(builder.table(), folders)

    def _add_images(
        self,
        builder: ColumnBuilder,
        folders: list[tuple[str, ...]],
        folder: str,
        names: tuple[str, ...],
        real: str,
        above: tuple[str, ...],
    ) -> None:
        """`names` lead to the folder; `real` is its path without links, `above` those of folders above it."""
        if real in above:  # a link back to where we come from
            return
        number = None
        for entry in self.entries(folder):
            image = is_image_name(entry.name)
            if is_folder(entry):
                before = len(builder)
                below = (*names, entry.name)
                self._add_images(builder, folders, entry.path, below, _real(entry, real), (*above, real))
                if len(builder) > before or not image:
                    continue
            # A folder with an image's name and no images in it counts as an image that can't be read.
            if not image:
                self.ignored += 1
            elif not is_text(entry.path):
                self.left_out.append(entry.path)
            else:
                if number is None:
                    number = len(folders)
                    folders.append(names)
                builder.add(entry.path, *file_facts(entry.path), number)


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFTOVERS


def _real(entry: os.DirEntry[str], parent: str) -> str:
    return os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(parent, entry.name)


def is_text(path: str) -> bool:
    """Whether a path is UTF-8."""
    if path.isascii():
        return True
    try:
        path.encode()
    except UnicodeEncodeError:  # Python stands in for undecodable bytes with lone surrogates
        return False
    return True
