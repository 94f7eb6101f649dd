"""Columns of features: Arrow lists of equal length as matrices, and back, without a copy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def list_array(rows: np.ndarray) -> pa.ListArray:
    """A matrix, of shape (rows, width), as a list column."""
    count, width = rows.shape
    return pa.ListArray.from_arrays(np.arange(count + 1, dtype=np.int32) * width, np.ravel(rows))


def list_values(column: pa.ListArray, width: int) -> np.ndarray:
    """A list column's floats as a view of shape (rows, width).

    Raises:
        ValueError: where a row is null or not `width` long.
    """
    offsets = column.offsets.to_numpy()
    if column.null_count or (np.diff(offsets) != width).any():
        raise ValueError(f"expected rows of {width} features each, and there are others")
    return column.flatten().to_numpy(zero_copy_only=True).reshape(-1, width)


def matrix(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """The same for a column in chunks, which are copied together."""
    chunks = [list_values(chunk, width) for chunk in column.chunks]
    return np.concatenate([np.empty((0, width), np.float32), *chunks])
