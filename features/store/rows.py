"""Rows of the two tables, from what a listing knows of images and what an extractor says of them."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.compute as pc

from features.splits import assign_splits
from features.store.schema import REJECTED_SCHEMA, TableFacts


def to_features(rows: pa.Table, facts: TableFacts, run_id: str, now: datetime.datetime) -> pa.Table:
    """Rows of the feature table, in its schema, for images that have features.

    Args:
        rows: columns of `features.inputs.LISTING_SCHEMA` and of `features.Extractor.extract`.
        now: when they were extracted.
    """
    count = len(rows)
    # Unknown when it was listed, readable since: the next plan finds it changed, and settles it.
    facts_of_file = {
        name: pc.fill_null(rows.column(name).cast(pa.int64()), 0) for name in ("size", "modified_at")
    }
    columns = {
        **{name: rows.column(name) for name in rows.column_names},
        **facts_of_file,
        "split": assign_splits(rows.column("image_id"), rows.column("split")),
        "view": pa.repeat(pa.scalar(0, pa.int32()), count),
        "extracted_at": pa.repeat(pa.scalar(now, facts.schema.field("extracted_at").type), count),
        "run_id": pa.repeat(pa.scalar(run_id), count),
    }
    arrays = [columns[field.name].cast(field.type) for field in facts.schema]
    return pa.table(arrays, schema=facts.schema)


def to_rejections(rows: pa.Table, run_id: str, now: datetime.datetime) -> pa.Table:
    """Rows of the rejected table, in its schema, for images that have a reason."""
    columns = {
        **{name: rows.column(name) for name in rows.column_names},
        "run_id": pa.repeat(pa.scalar(run_id), len(rows)),
        "rejected_at": pa.repeat(pa.scalar(now, REJECTED_SCHEMA.field("rejected_at").type), len(rows)),
    }
    return pa.table([columns[name] for name in REJECTED_SCHEMA.names], schema=REJECTED_SCHEMA)
