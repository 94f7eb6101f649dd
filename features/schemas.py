"""Rows in a schema, put together from columns and from values that are the same for all rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def to_schema(rows: pa.Table, schema: pa.Schema, **others: Any) -> pa.Table:
    """`rows` with the columns of `schema`: these alone, in its order and of its types.

    Args:
        others: columns in the place of those of `rows`, or besides them: an array, or a value for all rows.

    Raises:
        KeyError: for a column of `schema` that is in neither.
        ValueError: for a null where `schema` has none.
    """

    def column(field: pa.Field) -> pa.Array | pa.ChunkedArray:
        values = others[field.name] if field.name in others else rows.column(field.name)
        if isinstance(values, pa.Array | pa.ChunkedArray):
            return values
        # Arrow repeats no list zero times.
        return pa.repeat(pa.scalar(values, field.type), len(rows) or 1)[: len(rows)]

    return pa.table([column(field) for field in schema], names=schema.names).cast(schema)
