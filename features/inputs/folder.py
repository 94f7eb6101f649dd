"""Images in a folder: with a sub-folder per class, these within `train/ val/ test/`, or without any.

As in `keras.utils.image_dataset_from_directory`, the class is the name of the sub-folder, whatever lies
deeper belongs to it too, and images beside the classes' folders are left out (here with a notice).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from operator import attrgetter

from features.errors import BottleneckError
from features.inputs.reference import ImageRef, Listing, image_ref
from features.splits import given_splits, parse_split

#: Files that count as images. Their content decides how they are decoded, or that they are rejected.
EXTENSIONS = frozenset(
    {
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "gif", "bmp", "dib", "webp", "tif", "tiff"),
        *("avif", "heic", "heif", "jp2", "j2k", "ppm", "pgm", "pbm", "pnm", "tga"),
    }
)


def list_folder(folder: str) -> Listing:
    """List the images of a folder.

    Args:
        folder: absolute path.

    Raises:
        BottleneckError: when there are no images, a folder can't be read, or images lie beside
            `train/ val/ test/`.
    """
    walk = _Walk()
    parts = _split_folders(folder, walk)
    if parts:
        given, notices = given_splits({split for split, _ in parts})
        images = [ref._replace(split=given[split]) for split, part in parts for ref in walk.classes(part)]
        walk.notices += notices
    else:
        images = walk.classes(folder)
    if not images:
        raise BottleneckError(
            f"found no images in {folder} ({walk.ignored} other files): expected a sub-folder of images for "
            f"each class, with one of the extensions {', '.join(sorted(EXTENSIONS))}"
        )
    labels = {ref.labels for ref in images}
    if len(labels) == 1 and images[0].labels:
        walk.notices.append(
            f"all images have the label {images[0].labels[0]!r}: is {folder} one level too high?"
        )
    return Listing(folder, sorted(images, key=attrgetter("uri")), walk.ignored, walk.notices)


def list_file(path: str) -> Listing:
    """A single image file, by its absolute path, as an input of one image without a label."""
    return Listing(path, [image_ref(path, ())], 0, [])


def find_images(folder: str) -> list[str]:
    """Paths of all images anywhere below a folder, whatever their sub-folders are called, in order.

    Args:
        folder: absolute path.

    Raises:
        BottleneckError: when a folder can't be read.
    """
    return [ref.uri for ref in _Walk().images(folder, os.path.realpath(folder), (), ())]


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image."""
    return name.rpartition(".")[2].lower() in EXTENSIONS and "." in name


def _split_folders(folder: str, walk: _Walk) -> list[tuple[str, str]]:
    """The folders of the splits as (split, path), or nothing when `folder` does not come split.

    `train` alone may be a class beside others (`bus`, `car`); with `val` or `test` at its side it is not.
    """
    entries = walk.entries(folder)
    folders = [entry for entry in entries if _is_folder(entry)]
    parts = [(split, entry.path) for entry in folders if (split := parse_split(entry.name))]
    others = [entry for entry in folders if not parse_split(entry.name)]
    splits = {split for split, _ in parts}
    if others and not ("train" in splits and len(splits) > 1):
        return []
    astray = [entry.name for entry in others if walk.classes(entry.path)]
    if astray:
        raise BottleneckError(
            f"found images in {', '.join(map(repr, astray))} beside the folders of the splits in {folder}: "
            "move each class into train/, val/ and test/, or these elsewhere"
        )
    if parts:
        walk.ignored += len(entries) - len(folders)
    return parts


class _Walk:
    """One walk over a folder; counts what it ignores.

    Attributes:
        ignored: files that are no images (or are beside the classes).
        notices: what the user should know.
    """

    def __init__(self) -> None:
        self.ignored = 0
        self.notices: list[str] = []

    def entries(self, folder: str) -> list[os.DirEntry[str]]:
        """What is in a folder, but hidden files, in the order of the names."""
        try:
            with os.scandir(folder) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError as error:
            raise BottleneckError(f"the folder {folder} can't be read: {error.strerror}") from error
        return sorted(entries, key=attrgetter("name"))

    def classes(self, folder: str) -> list[ImageRef]:
        """The images in the folders of the classes, or those in `folder` itself where there are none."""
        beside: list[os.DirEntry[str]] = []
        images: list[ImageRef] = []
        empty: list[str] = []
        real = os.path.realpath(folder)
        for entry in self.entries(folder):
            if _is_folder(entry):
                inside = list(self.images(entry.path, _real(entry, real), (real,), (entry.name,)))
                images += inside
                if not inside:
                    empty.append(entry.name)
            elif self._is_image(entry):
                beside.append(entry)
        if not images:
            return [_ref(entry, ()) for entry in beside]
        if beside:
            self.ignored += len(beside)
            self.notices.append(f"left out {len(beside)} images beside the classes' folders in {folder}")
        if empty:
            self.notices.append(f"no images in {', '.join(empty)} (in {folder})")
        return images

    def images(
        self, folder: str, real: str, above: tuple[str, ...], labels: tuple[str, ...]
    ) -> Iterator[ImageRef]:
        """The images anywhere below a folder; `real` is its path without links, `above` those above it."""
        if real in above:  # a link back to where we come from
            return
        for entry in self.entries(folder):
            if _is_folder(entry):
                yield from self.images(entry.path, _real(entry, real), (*above, real), labels)
            elif self._is_image(entry):
                yield _ref(entry, labels)

    def _is_image(self, entry: os.DirEntry[str]) -> bool:
        if not is_image_name(entry.name):
            self.ignored += 1
            return False
        if not _is_text(entry.path):
            self.ignored += 1
            self.notices.append(f"left out {entry.path!r}: its name is not valid UTF-8, rename it")
            return False
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether to look inside. A folder with an image's name counts as an image that can't be read."""
    try:
        return not is_image_name(entry.name) and entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _real(entry: os.DirEntry[str], parent: str) -> str:
    return os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(parent, entry.name)


def _ref(entry: os.DirEntry[str], labels: tuple[str, ...]) -> ImageRef:
    return image_ref(entry.path, labels)


def _is_text(path: str) -> bool:
    if path.isascii():
        return True
    try:
        path.encode()
    except UnicodeEncodeError:  # Python stands in for undecodable bytes with lone surrogates
        return False
    return True
