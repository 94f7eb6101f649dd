from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.splits import SPLITS
from features.store.parts import list_values, write_part
from features.store.schema import TableFacts
from tests.tables import RECIPE, make_rows

FACTS = TableFacts("digits", "random", ("avg_pool",), RECIPE)


def rows(X: np.ndarray) -> pa.RecordBatch:
    """Of every ten rows eight for train, one for validation and one for test."""
    splits = [("validation", "test")[number % 2] if number % 5 == 4 else "train" for number in range(len(X))]
    return make_rows(FACTS, X, ["a"] * len(X), splits)


def test_a_part_holds_what_was_given_compressed_as_floats_are(tmp_path: Path):
    X = np.random.default_rng(0).standard_normal((1500, 2048)).astype(np.float32)
    part = write_part(tmp_path, [rows(X[:700]), rows(X[700:])], FACTS.schema)
    assert (part.rows, part.size) == (1500, (tmp_path / part.name).stat().st_size)
    file = pq.ParquetFile(tmp_path / part.name)
    splits = [
        file.read_row_group(number, columns=["split"]).column("split").to_pylist()
        for number in range(file.num_row_groups)
    ]
    assert [set(names) for names in splits] == [{"train"}, {"train"}, {"validation"}, {"test"}]
    assert [len(names) for names in splits] == [1024, 176, 150, 150]
    column = next(
        column
        for column in map(file.metadata.row_group(0).column, range(file.metadata.num_columns))
        if column.path_in_schema == "avg_pool.list.element"
    )
    assert column.compression == "ZSTD" and "BYTE_STREAM_SPLIT" in column.encodings
    assert not column.has_dictionary_page
    stored = np.concatenate([list_values(chunk, 2048) for chunk in file.read().column("avg_pool").chunks])
    kind = np.array(rows(X[:700]).column("split").to_pylist() + rows(X[700:]).column("split").to_pylist())
    np.testing.assert_array_equal(stored, np.concatenate([X[kind == split] for split in SPLITS]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_written(tmp_path: Path, bad: float):
    X = np.zeros((2, 2048), np.float32)
    X[1, 7] = bad
    with pytest.raises(ValueError, match="avg_pool has NaN or infinite"):
        write_part(tmp_path, [rows(X)], FACTS.schema)
    assert not list(tmp_path.iterdir())


def test_rows_of_another_width_are_not_written(tmp_path: Path):
    with pytest.raises(ValueError, match="expected rows of 2048 features"):
        write_part(tmp_path, [rows(np.zeros((2, 2047), np.float32))], FACTS.schema)


def test_list_values_follow_a_slice():
    column = pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32()))
    np.testing.assert_array_equal(list_values(column[1:], 2), [[3.0, 4.0], [5.0, 6.0]])
