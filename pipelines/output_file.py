"""The file that a command is asked to write: refused before any work where it can't be written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from features import files
from features.errors import BottleneckError


def check_output(output: Path, suffixes: Sequence[str]) -> None:
    """Refuse a name that is a folder, has another suffix, or is in no folder.

    Raises:
        BottleneckError: for such a name.
    """
    if files.is_folder(output):
        raise BottleneckError(f"`output={output}`: this is a folder, expected the name of a file")
    if output.suffix.lower() not in suffixes:
        raise BottleneckError(f"`output={output}`: expected a name that ends in {' or '.join(suffixes)}")
    if not files.is_folder(output.absolute().parent):
        raise BottleneckError(f"`output={output}`: there is no folder {output.absolute().parent}")
