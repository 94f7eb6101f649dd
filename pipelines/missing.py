"""Images that are stored and no longer in the input: how many of them look like a mistake."""

from __future__ import annotations

import pyarrow as pa

from features.errors import InputShrunk
from features.text import counted
from pipelines.options import ExtractOptions
from pipelines.planning import Plan


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
            f"more than `max_removed={options.max_removed:g}` allows: is it whole? If so, allow more; "
            f"{kept}"
        )
