"""Rows of the two tables, from what a listing knows of images and what an extractor says of them."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.compute as pc

from features.schemas import to_schema
from features.splits import assign_splits
from features.store.schema import REJECTED_SCHEMA, TableFacts


def to_features(rows: pa.Table, facts: TableFacts, run_id: str, now: datetime.datetime) -> pa.Table:
    """Rows of the feature table, in its schema, for images that have features.

    Args:
        rows: columns of `features.inputs.LISTING_SCHEMA` and of `features.Extractor.extract`, one row a view.
        now: when they were extracted.
    """
    # Unknown when it was listed, readable since: the next plan finds it changed, and settles it.
    of_file = {name: pc.fill_null(rows.column(name).cast(pa.int64()), 0) for name in ("size", "modified_at")}
    splits = assign_splits(*(rows.column(name) for name in ("image_id", "split", "group")))
    return to_schema(rows, facts.schema, **of_file, split=splits, extracted_at=now, run_id=run_id)


def taken_over(stored: pa.Table, images: pa.Table, facts: TableFacts) -> pa.Table:
    """Rows of the feature table for images whose features are stored already, in its schema.

    Args:
        stored: the rows that have them, in the schema of the table.
        images: for each of these a row of `features.inputs.LISTING_SCHEMA`: of whom it is to be.
    """
    of_file = {
        name: pc.fill_null(images.column(name).cast(pa.int64()), 0) for name in ("size", "modified_at")
    }
    of_image = {name: images.column(name) for name in ("uri", "labels", "group")}
    splits = assign_splits(stored.column("image_id"), images.column("split"), images.column("group"))
    return to_schema(stored, facts.schema, **of_image, **of_file, split=splits)


def to_rejections(rows: pa.Table, run_id: str, now: datetime.datetime) -> pa.Table:
    """Rows of the rejected table, in its schema, for images that have a reason."""
    return to_schema(rows, REJECTED_SCHEMA, run_id=run_id, rejected_at=now)
