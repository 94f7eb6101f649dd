from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pytest

from features import store as feature_store
from features.errors import BottleneckError
from features.locations import features_path
from features.store.schema import IMAGE_COLUMNS
from features.store.table import FeatureTable
from tests.tables import make_table

SPLITS = ["train"] * 7 + ["validation"] * 2 + ["test"]
#: Where the rows stand within their part file: split by split.
ORDER = np.argsort([("train", "validation", "test").index(split) for split in SPLITS * 250], kind="stable")


@pytest.fixture(scope="module")
def X() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2500, 2048)).astype(np.float32)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, X: np.ndarray) -> FeatureTable:
    labels = [f"class {number % 3}" for number in range(len(X))]
    return make_table(tmp_path_factory.mktemp("store"), X, labels, SPLITS * 250)


def test_columns_and_types_are_those_promised(table: FeatureTable):
    types = {field.name: str(field.type) for field in table.delta.to_pyarrow_dataset().schema}
    assert types == {
        "image_id": "string",
        "uri": "string",
        "labels": "list<element: string not null>",
        "split": "string",
        "view": "int32",
        "width": "int32",
        "height": "int32",
        "format": "string",
        "size": "int64",
        "modified_at": "timestamp[us, tz=UTC]",
        "extracted_at": "timestamp[us, tz=UTC]",
        "run_id": "string",
        "avg_pool": "list<element: float not null>",
    }


def test_the_matrix_is_what_was_stored(table: FeatureTable, X: np.ndarray):
    found, labels = table.matrix()
    np.testing.assert_array_equal(found, X[ORDER])
    assert found.dtype == np.float32 and found.flags.c_contiguous
    assert labels.tolist() == [f"class {number % 3}" for number in ORDER]


def test_splits_come_in_the_order_asked_for(table: FeatureTable, X: np.ndarray):
    splits = np.array(SPLITS * 250)
    found, labels = table.matrix(["test", "train"])
    np.testing.assert_array_equal(found, np.concatenate([X[splits == "test"], X[splits == "train"]]))
    assert len(labels) == 250 * 8
    assert table.matrix("no such split")[0].shape == (0, 2048)


@pytest.mark.parametrize("batch_size", [64, 1000, 5000])
def test_batches_hold_every_row_once(table: FeatureTable, X: np.ndarray, batch_size: int):
    batches = list(table.batches("train", batch_size=batch_size, shuffle=True, seed=3))
    found = np.concatenate([rows for rows, _ in batches])
    expected = X[np.array(SPLITS * 250) == "train"]
    assert not np.array_equal(found, expected)
    np.testing.assert_array_equal(np.sort(found[:, 0]), np.sort(expected[:, 0]))
    assert {len(rows) for rows, _ in batches[:-1]} <= {batch_size}
    again = np.concatenate([rows for rows, _ in table.batches("train", batch_size=77, shuffle=True, seed=3)])
    np.testing.assert_array_equal(found, again)


def test_batches_keep_labels_and_order_without_shuffling(table: FeatureTable, X: np.ndarray):
    rows, labels = zip(*table.batches(batch_size=333), strict=True)
    np.testing.assert_array_equal(np.concatenate(rows), X[ORDER])
    assert np.concatenate(labels).tolist() == table.matrix()[1].tolist()


def test_a_dataset_feeds_keras_and_shuffles_anew_at_each_epoch(table: FeatureTable):
    classes = ["class 0", "class 1", "class 2"]
    data = feature_store.dataset(table, "train", labels=classes, batch_size=100, shuffle=True)
    epochs = [np.concatenate([rows.numpy()[:, 0] for rows, _ in data]) for _ in range(2)]
    assert not np.array_equal(epochs[0], epochs[1])
    np.testing.assert_array_equal(np.sort(epochs[0]), np.sort(epochs[1]))
    lookup = dict(zip(table.matrix()[0][:, 0].tolist(), table.matrix()[1], strict=True))
    rows, numbers = next(iter(data))
    assert [classes[number] for number in numbers.numpy()] == [lookup[x] for x in rows.numpy()[:, 0].tolist()]


def test_pandas_pyarrow_duckdb_and_polars_read_it(table: FeatureTable, X: np.ndarray):
    path = str(features_path(table.store, table.name))
    frame = table.delta.to_pandas().sort_values(
        "uri", key=lambda uris: uris.str.extract(r"(\d+)")[0].astype(int)
    )
    np.testing.assert_array_equal(np.stack(frame["avg_pool"].to_list()), X)
    rows = table.delta.to_pyarrow_dataset().to_table(
        columns=["uri"], filter=pa.dataset.field("split") == "test"
    )
    assert len(rows) == 250
    images = table.delta.to_pyarrow_dataset()  # noqa: F841  (DuckDB finds it by its name)
    counts = duckdb.execute(
        "select split, count(*), avg(len(avg_pool)) from images group by 1 order by 1"
    ).fetchall()
    assert counts == [("test", 250, 2048.0), ("train", 1750, 2048.0), ("validation", 500, 2048.0)]
    assert duckdb.read_parquet(table.delta.file_uris()).shape[0] == 2500
    lazy = polars.scan_delta(path).filter(polars.col("split") == "validation")
    assert lazy.collect()["avg_pool"].list.len().unique().to_list() == [2048]
    assert lazy.collect().height == 500


def test_images_with_several_labels_are_no_matrix(tmp_path: Path):
    table = make_table(tmp_path, np.zeros((2, 2048), np.float32), [["a", "b"], ["a"]])
    with pytest.raises(BottleneckError, match="several labels"):
        table.matrix()
    assert table.metadata(["labels"]).column("labels").to_pylist() == [["a", "b"], ["a"]]


def test_images_without_a_label_are_there_unless_left_out(tmp_path: Path):
    X = np.arange(3, dtype=np.float32)[:, None] * np.ones(2048, np.float32)
    table = make_table(tmp_path, X, ["a", [], "b"], ["train"] * 3)
    found, labels = table.matrix("train")
    assert labels.tolist() == ["a", None, "b"] and found[:, 0].tolist() == [0, 1, 2]
    found, labels = table.matrix("train", labelled=True)
    assert labels.tolist() == ["a", "b"] and found[:, 0].tolist() == [0, 2]
    ((rows, numbers),) = feature_store.dataset(table, "train", labels=["a", "b"])
    assert rows.shape == (2, 2048) and numbers.numpy().tolist() == [0, 1]


def test_an_empty_table_reads_as_empty(tmp_path: Path):
    table = make_table(tmp_path, np.zeros((0, 2048), np.float32), [])
    X, labels = table.matrix("train")
    assert X.shape == (0, 2048) and labels.shape == (0,)
    assert table.metadata().column_names == IMAGE_COLUMNS
    assert list(table.batches()) == []


def test_a_layer_that_is_not_stored_is_named(table: FeatureTable):
    assert table.column("mixed10").layer == "avg_pool"
    with pytest.raises(BottleneckError, match="no layer 'mixed3': it has avg_pool"):
        table.matrix(layer="mixed3")


def test_rows_of_another_width_are_refused_on_reading(tmp_path: Path):
    import pyarrow.parquet as pq

    table = make_table(tmp_path, np.zeros((3, 2048), np.float32), ["a"] * 3)
    (path,) = table.paths
    rows = pq.read_table(path)
    narrow = pa.array([[0.0] * 7] * 3, rows.schema.field("avg_pool").type)
    pq.write_table(rows.set_column(rows.schema.get_field_index("avg_pool"), "avg_pool", narrow), path)
    with pytest.raises(BottleneckError, match="avg_pool.*expected rows of 2048"):
        feature_store.open(tmp_path).matrix()


@pytest.mark.parametrize("shuffle", [False, True])
def test_streaming_keeps_no_more_than_a_few_row_groups(tmp_path: Path, shuffle: bool):
    """Also where a read is an exact number of batches, which leaves nothing over."""
    X = np.zeros((1024 * 24, 2048), np.float32)
    table = make_table(tmp_path, X, ["a"] * len(X), ["train"] * len(X))
    del X
    gc.collect()
    tracemalloc.start()
    most = 0
    for rows, _ in table.batches("train", batch_size=1024, shuffle=shuffle):
        most = max(most, pa.total_allocated_bytes() + tracemalloc.get_traced_memory()[0])
        assert len(rows) == 1024
    tracemalloc.stop()
    pools = 3 if shuffle else 1  # one in use, one read ahead, one on its way out
    assert most < pools * 8 * 8 * 2**20 + 40 * 2**20
