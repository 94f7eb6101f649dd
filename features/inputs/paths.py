"""From the paths that a list gives to the files that they mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import unquote

from features.errors import BottleneckError
from features.inputs.listing import FileFacts, file_facts
from features.inputs.walk import is_image_name, is_text
from features.locations import is_remote, local_path
from features.text import printable, some


class PathFinder:
    """Finds the files that paths mean; relative ones count from `folder`.

    A path that is no file is tried with `\\` as `/`, with `%20` and its like decoded, and, where it has no
    image's extension, with the one that fits: in the folder that the path points to, not below.

    Attributes:
        changes: what had to be done to find files, in words, each once.
    """

    def __init__(self, folder: str) -> None:
        self.changes: dict[str, None] = {}
        self._folder = folder
        self._stems: dict[str, dict[str, list[str]]] = {}

    def find(self, path: str, where: str) -> tuple[str, FileFacts]:
        """The file that `path` means, or `path` as it is where there is none, absolute; and its facts.

        Args:
            path: a path or a `file:` URL.
            where: for messages: the file and line that it is given on.

        Raises:
            BottleneckError: for a remote path, or one that fits several files.
        """
        if is_remote(path):
            raise BottleneckError(
                f"{where}: {printable(path)} is remote, which is not supported yet; copy the images first"
            )
        path = local_path(path) if path.lower().startswith("file:/") else path
        plain = self._absolute(path)
        if not is_text(plain):
            raise BottleneckError(f"{where}: the path {printable(path)} is not valid UTF-8: rename it")
        facts = file_facts(plain)
        if facts.size is not None or os.path.lexists(plain):
            return plain, facts
        for variant, changes in _variants(path):
            variant = self._absolute(variant)
            if changes and file_facts(variant).size is not None:
                return self._noted(variant, changes)
            if not is_image_name(variant) and (completed := self._completed(variant, where)):
                return self._noted(completed, [*changes, "extension added"])
        return plain, facts

    def _absolute(self, path: str) -> str:
        return os.path.abspath(os.path.join(self._folder, os.path.expanduser(path)))

    def _noted(self, path: str, changes: list[str]) -> tuple[str, FileFacts]:
        self.changes.update(dict.fromkeys(changes))
        return path, file_facts(path)

    def _completed(self, path: str, where: str) -> str | None:
        """The one image in the path's folder that has its name and an extension."""
        folder, stem = os.path.split(path)
        if folder not in self._stems:
            self._stems[folder] = _images_by_stem(folder)
        names = self._stems[folder].get(stem, [])
        if len(names) > 1:
            raise BottleneckError(
                f"{where}: '{printable(stem)}' fits several files ({some(names)}): give the extension"
            )
        return os.path.join(folder, names[0]) if names else None


def _variants(path: str) -> Iterator[tuple[str, list[str]]]:
    """Other readings of a path, and what was done to it."""
    slashes, decoded = r"\ read as /", "%-escapes decoded"
    yield path, []
    if "\\" in path:
        yield path.replace("\\", "/"), [slashes]
    if "%" in path:
        yield unquote(path), [decoded]
    if "\\" in path and "%" in path:
        yield unquote(path.replace("\\", "/")), [slashes, decoded]


def _images_by_stem(folder: str) -> dict[str, list[str]]:
    """Names of the images in a folder, by the part before the extension."""
    stems: dict[str, list[str]] = {}
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):  # no such folder: the image is missing, which its facts say
        return stems
    for name in filter(is_image_name, names):
        stems.setdefault(name.rpartition(".")[0], []).append(name)
    return stems
