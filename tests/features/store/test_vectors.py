from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.store.vectors import list_array, list_values, matrix


@given(rows=st.integers(0, 9), width=st.integers(1, 5), start=st.integers(0, 9), stop=st.integers(0, 9))
def test_a_matrix_comes_back_from_a_column_and_its_slices_without_a_copy(
    rows: int, width: int, start: int, stop: int
) -> None:
    X = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
    column = list_array(X)
    assert column.type == pa.list_(pa.float32()) and column.to_pylist() == X.tolist()
    values = list_values(column[start:stop], width)
    np.testing.assert_array_equal(values, X[start:stop])
    assert np.shares_memory(values, X) == bool(values.size)
    together = matrix(pa.chunked_array([column[start:stop], column], column.type), width)
    np.testing.assert_array_equal(together, np.concatenate([X[start:stop], X]))


def test_a_column_without_chunks_is_a_matrix_of_its_width() -> None:
    nothing = matrix(pa.chunked_array([], pa.list_(pa.float32())), 7)
    assert (nothing.shape, nothing.dtype) == ((0, 7), np.float32)


@pytest.mark.parametrize("row", [None, [1.0], [1.0, 2.0, 3.0]])
def test_rows_of_another_width_are_refused(row: list[float] | None) -> None:
    column = pa.array([[1.0, 2.0], row], pa.list_(pa.float32()))
    with pytest.raises(ValueError) as refusal:
        list_values(column, 2)
    assert str(refusal.value) == "expected rows of 2 features each, and there are others"


def test_a_null_that_has_values_is_refused() -> None:
    offsets, values = pa.array([0, 2, 4], pa.int32()), pa.array([1.0, 2, 3, 4], pa.float32())
    column = pa.ListArray.from_arrays(offsets, values, mask=pa.array([False, True]))
    with pytest.raises(ValueError, match="expected rows of 2 features each"):
        list_values(column, 2)


def test_a_feature_that_is_null_is_refused() -> None:
    with pytest.raises(ValueError, match="null"):
        list_values(pa.array([[1.0, None]], pa.list_(pa.float32())), 2)
