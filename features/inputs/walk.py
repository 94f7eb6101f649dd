"""Walking through folders: what counts as an image, what is passed over, and what can't be listed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from operator import attrgetter

from features.errors import BottleneckError
from features.inputs.reference import ImageRef, image_ref
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


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image."""
    return name.rpartition(".")[2].lower() in EXTENSIONS and "." in name


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether there is something to look into; links are followed."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


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
        """What is in a folder in the order of the names, without hidden files and leftovers."""
        try:
            with os.scandir(folder) as found:
                entries = [entry for entry in found if not _is_passed_over(entry.name)]
        except OSError as error:
            raise BottleneckError(
                f"the folder {printable(folder)} can't be read: {error.strerror}"
            ) from error
        return sorted(entries, key=attrgetter("name"))

    def images(self, folder: str) -> list[ImageRef]:
        """The images anywhere below a folder, without labels."""
        return list(self._images(folder, os.path.realpath(folder), ()))

    def _images(self, folder: str, real: str, above: tuple[str, ...]) -> Iterator[ImageRef]:
        """`real` is the folder's path without links, `above` those of the folders above it."""
        if real in above:  # a link back to where we come from
            return
        for entry in self.entries(folder):
            if is_folder(entry):
                below = list(self._images(entry.path, _real(entry, real), (*above, real)))
                yield from below
                if below or not is_image_name(entry.name):
                    continue
            # A folder with an image's name and no images in it counts as an image that can't be read.
            if not is_image_name(entry.name):
                self.ignored += 1
            elif not is_text(entry.path):
                self.left_out.append(entry.path)
            else:
                yield image_ref(entry.path, ())


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
