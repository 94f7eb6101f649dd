"""Images that are stored and no longer in the input: how many of them look like a mistake."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pyarrow as pa

from features import files
from features.errors import BottleneckError, InputShrunk
from features.locations import local_path
from features.store.table import FeatureTable
from features.text import counted, printable
from pipelines.options import ExtractOptions
from pipelines.planning import Plan


def check_there(table: FeatureTable | None, options: ExtractOptions) -> None:
    """Refuse an input that a table was made from and that is not there now, as where its disk is not mounted.

    Raises:
        InputShrunk: where it is missing.
        BottleneckError: where it was moved, and it is not said where it is now.
    """
    if options.data_moved_from is not None and options.data == "auto":
        raise BottleneckError("`data_moved_from` says where the images were: give `data`, where they are now")
    if table is None or not table.has_rows or not os.path.isabs(table.source):
        return
    asked = options.data == "auto" or local_path(options.data) == table.source
    if asked and not (files.is_folder(table.source) or files.is_file(table.source)):
        raise InputShrunk(
            f"{printable(table.source)} is missing, which table {table.name!r} was made from: mount it, or "
            f"say where it is now with `data` and `data_moved_from`; nothing was changed"
        )


@contextlib.contextmanager
def nothing_lost(table: FeatureTable | None) -> Iterator[None]:
    """Say of an empty input what it means for a table that holds its images."""
    try:
        yield
    except InputShrunk as error:
        if table is None or not table.has_rows:
            raise
        raise InputShrunk(f"{error}; nothing was changed in table {table.name!r}") from None


def check_shrunk(plan: Plan, options: ExtractOptions) -> None:
    """Refuse an input that has lost so many of the stored images that this looks like a mistake.

    Those that seem to have been moved within the input are not lost.

    Raises:
        InputShrunk: where more are missing than `max_removed` allows.
    """
    _check(plan.stored_missing_from_input - plan.moved, plan, options, "nothing was changed")


def check_lost(missing: pa.Table, plan: Plan, options: ExtractOptions) -> None:
    """The same for images that are missing for sure, before they are taken out: sizes alone may have misled.

    Args:
        missing: in `features.store.conflicts.STORED_SCHEMA`.
    """
    _check(images_with_features(missing), plan, options, "none was taken out")


def images_with_features(missing: pa.Table) -> int:
    """How many of these rows are of images with features, and not of rejected ones."""
    return len(missing) - missing.column("image_id").null_count


def _check(lost: int, plan: Plan, options: ExtractOptions, kept: str) -> None:
    stored = plan.stored_before
    if lost > options.max_removed * stored:
        raise InputShrunk(
            f"{lost:,} of the {counted(stored, 'image')} in table {plan.table!r} are missing from the input, "
            f"more than `max_removed={options.max_removed:g}` allows. If they are gone for good, run it once "
            f"with `remove_gone` and `max_removed=1`; {kept}"
        )
