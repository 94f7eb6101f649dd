from __future__ import annotations

import dataclasses
import gc
import tracemalloc
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pytest

import features.store.table
from features import store as feature_store
from features.errors import BottleneckError
from features.locations import features_path
from features.store.parts import write_part
from features.store.schema import IMAGE_COLUMNS
from features.store.table import FeatureTable
from tests.tables import RECIPE, Rejected, add, as_views, make_rows, make_table

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


def test_columns_and_types_are_those_promised_to_other_readers(table: FeatureTable):
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
    with pytest.raises(BottleneckError, match="there is no split 'tset': choose from train, "):
        table.matrix("tset")


def test_batches_come_in_the_order_of_the_matrix_unless_shuffled_by_a_seed(table: FeatureTable):
    X, labels = table.matrix()
    batches = list(table.batches())
    assert [len(rows) for rows, _ in batches] == [1024, 1024, 452]
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in batches]), X)
    assert np.concatenate([names for _, names in batches]).tolist() == labels.tolist()

    def shuffled(**options: Any) -> list[float]:
        ((rows, _),) = table.batches("train", batch_size=2000, shuffle=True, **options)
        return rows[:, 0].tolist()

    train = table.matrix("train")[0][:, 0].tolist()
    assert shuffled() == shuffled(seed=0) != shuffled(seed=1)
    assert sorted(shuffled()) == sorted(shuffled(seed=1)) == sorted(train) and shuffled() != train


def test_the_deepest_of_several_layers_is_read_unless_another_is_named(tmp_path: Path):
    layers = {"mixed0": np.full((3, 256), 1, np.float32), "avg_pool": np.full((3, 2048), 2, np.float32)}
    table = make_table(tmp_path, layers, ["a"] * 3)
    widths = {None: (2048, 2), "avg_pool": (2048, 2), "mixed10": (2048, 2), "mixed0": (256, 1)}
    for layer, (width, value) in widths.items():
        (column,) = table.columns(layer)
        assert (column.recipe, column.width) == (RECIPE, width)
        ((batch, _),) = table.batches(layers=layer)
        for X in (table.matrix(layers=layer)[0], batch):
            np.testing.assert_array_equal(X, np.full((3, width), value))
    assert table.columns() == table.columns("mixed10") == table.columns(["avg_pool"])


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


def test_images_without_a_label_are_there_unless_left_out(tmp_path: Path):
    X = np.arange(3, dtype=np.float32)[:, None] * np.ones(2048, np.float32)
    table = make_table(tmp_path, X, ["a", [], "b"], ["train"] * 3)
    found, labels = table.matrix("train")
    assert labels.tolist() == ["a", None, "b"] and found[:, 0].tolist() == [0, 1, 2]
    assert [group.labels.tolist() for group in table.row_groups()] == [["a", None, "b"]]
    found, labels = table.matrix("train", labelled=True)
    assert labels.tolist() == ["a", "b"] and found[:, 0].tolist() == [0, 2]
    found, labels = table.matrix("train", classes=["b"])
    assert labels.tolist() == ["b"] and found[:, 0].tolist() == [2]
    ((found, labels),) = table.batches("train", labelled=True, batch_size=9)
    assert labels.tolist() == ["a", "b"] and found[:, 0].tolist() == [0, 2]
    ((found, labels),) = table.batches(classes=["a"])
    assert labels.tolist() == ["a"] and found[:, 0].tolist() == [0]


def test_an_empty_table_reads_as_empty(tmp_path: Path):
    table = make_table(tmp_path, np.zeros((0, 2048), np.float32), [])
    X, labels = table.matrix("train")
    assert X.shape == (0, 2048) and labels.shape == (0,)
    assert table.metadata().column_names == IMAGE_COLUMNS
    assert list(table.batches()) == []


def test_a_table_with_groups_gives_them(tmp_path: Path):
    X, groups = np.zeros((3, 2048), np.float32), ["p", None, "p"]
    table = make_table(tmp_path, X, ["a"] * 3, ["train"] * 3, groups)
    assert table.facts.groups and table.has_schema_of(table.facts)
    assert table.metadata().column_names == [*IMAGE_COLUMNS[:4], "group", *IMAGE_COLUMNS[4:]]
    assert table.metadata(["group"]).to_pydict() == {"group": ["p", None, "p"]}
    other = dataclasses.replace(table.facts, groups=False)
    assert not table.has_schema_of(other)
    images = table.delta.to_pyarrow_dataset()  # noqa: F841  (DuckDB finds it by its name)
    assert duckdb.execute('select count(distinct "group") from images').fetchall() == [(1,)]


def test_groups_of_a_table_without_them_are_refused(tmp_path: Path):
    table = make_table(tmp_path, np.zeros((1, 2048), np.float32), ["a"])
    with pytest.raises(BottleneckError) as refusal:
        table.metadata(["uri", "group"])
    assert str(refusal.value) == (
        "table 'inception_v3' has no groups: its images came without a column 'group', or with an empty one"
    )
    with pytest.raises(KeyError):
        table.metadata(["no_such_column"])


def test_a_layer_that_is_not_stored_is_named(table: FeatureTable):
    with pytest.raises(BottleneckError) as refusal:
        table.matrix(layers="mixed3")
    assert str(refusal.value) == (
        "table 'inception_v3' has no layer 'mixed3': it has avg_pool; "
        "extract others into a table of their own with `features=NAME`"
    )


def test_a_version_knows_its_facts_files_and_rejections(tmp_path: Path):
    """Parts come in the order of their names, whoever wrote them when."""
    bad = Rejected("/images/bad.jpg", "corrupt", "", 1, 1)
    first = make_table(tmp_path, np.zeros((1, 2048), np.float32), ["a"], ["test"], rejected=[bad])
    for run_id, others in (("run-3", [bad._replace(uri="/other")]), ("run-0", [])):
        rows = make_rows(first.facts, np.zeros((1, 2048)), ["b"], ["test"], prefix=run_id, run_id=run_id)
        part = write_part(first.folder, [rows], first.facts.schema, {run_id: 2}, run_id=run_id)
        add(first, part, others, run_id=run_id)
    table = feature_store.open(tmp_path)
    assert (table.store, table.name, table.version) == (tmp_path, "inception_v3", 3)
    assert (table.source, table.layers, table.recipe) == ("digits", ("avg_pool",), RECIPE)
    assert table.backbone.name == "inception_v3" and table.has_rows
    assert [name.split(".")[0] for name in table.names] == ["run-0", "run-1", "run-3"]
    assert table.paths == [f"{tmp_path}/features/inception_v3/{name}" for name in table.names]
    assert [name.split(".")[0] for name in table.rejected_names] == ["run-1", "run-3"]
    assert table.rejected_paths == [f"{tmp_path}/rejected/inception_v3/{n}" for n in table.rejected_names]
    assert table.rejected_version == 2 and first.rejected_version == 1
    assert table.metadata(["uri", "view"]).to_pylist() == [
        {"uri": f"/images/{prefix}-0.png", "view": 0} for prefix in ("run-0", "image", "run-3")
    ]
    assert list(table.decodings().items()) == [(2, 2), (0, 1)]
    empty = feature_store.open(tmp_path, version=0)
    assert (empty.has_rows, empty.rejected_version, empty.rejected_names) == (False, 0, [])


def test_a_table_tells_whether_delta_knows_the_columns_of_facts(table: FeatureTable):
    assert table.has_schema_of(table.facts)
    assert not table.has_schema_of(dataclasses.replace(table.facts, layers=("mixed0", "avg_pool")))
    other = dataclasses.replace(RECIPE, precision="bfloat16")
    assert not table.has_schema_of(dataclasses.replace(table.facts, recipe=other))
    assert table.has_schema_of(dataclasses.replace(table.facts, source="elsewhere"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    """Of 24 row groups of 8 MiB."""
    count = 1024 * 24
    X = np.zeros((count, 2048), np.float32)
    return make_table(tmp_path_factory.mktemp("large"), X, ["a"] * count, ["train"] * count)


@pytest.mark.parametrize("shuffle", [False, True])
def test_streaming_keeps_no_more_than_a_few_row_groups(large: FeatureTable, shuffle: bool):
    """Also where a read is an exact number of batches, which leaves nothing over."""
    gc.collect()
    tracemalloc.start()
    most = 0
    for rows, _ in large.batches("train", batch_size=1024, shuffle=shuffle):
        most = max(most, pa.total_allocated_bytes() + tracemalloc.get_traced_memory()[0])
        assert len(rows) == 1024
    tracemalloc.stop()
    pools = 3 if shuffle else 1  # one in use, one read ahead, one on its way out
    assert most < pools * 8 * 8 * 2**20 + 40 * 2**20


@pytest.fixture
def with_views(tmp_path: Path) -> FeatureTable:
    """Three images, of which two are for training and have two augmented views, in two parts."""
    X = np.arange(7, dtype=np.float32)[:, None] * np.ones(2048, np.float32)
    splits = ["train"] * 3 + ["test"] + ["train"] * 3
    table = make_table(tmp_path, X[:5], ["a"] * 5, splits[:5], views=[0, 1, 2, 0, 0])
    rows = as_views(make_rows(table.facts, X, ["b"] * 7, splits), [0] * 5 + [1, 2]).slice(5)
    add(table, write_part(table.folder, [rows], table.facts.schema))
    return feature_store.open(tmp_path)


@pytest.mark.parametrize(
    ("views", "train"), [(None, [0, 1, 2, 4, 5, 6]), (2, [0, 1, 2, 4, 5, 6]), (1, [0, 1, 4, 5]), (0, [0, 4])]
)
def test_no_more_views_of_an_image_are_read_than_asked_for(
    with_views: FeatureTable, views: int | None, train: list[int]
):
    def first(batches: Any) -> list[int]:
        return sorted(np.concatenate([X for X, _ in batches])[:, 0].tolist())

    table = with_views
    assert table.views == 2
    assert first([table.matrix("train", views=views)]) == train
    assert first([table.matrix(views=views)]) == sorted([*train, 3])
    for shuffle in (False, True):
        assert first(table.batches("train", views=views, shuffle=shuffle)) == train
    assert first(table.batches("test", views=views)) == [3]
    groups = table.row_groups("train", views=views)
    assert sum(len(group.rows) for group in groups) == len(train)
    data = feature_store.dataset(table, "train", labels=["a", "b"], views=views, batch_size=4)
    assert first((X.numpy(), y) for X, y in data) == train
    assert data.cardinality().numpy() == -(-len(train) // 4)
    rows = table.metadata(["view", "uri"], views=views)
    assert rows.column_names == ["view", "uri"] and len(rows) == len(train) + 1
    assert table.metadata(["uri"], views=views).column_names == ["uri"]
    assert max(rows.column("view").to_pylist()) == (2 if views is None else views)


def test_what_is_wanted_of_views_is_not_taken_for_what_was_asked_for_before(with_views: FeatureTable):
    assert [len(with_views.matrix("train", views=views)[0]) for views in (0, 1, None, 0)] == [2, 4, 6, 2]


def test_the_numbers_of_views_are_not_read_where_there_are_none(
    table: FeatureTable, monkeypatch: pytest.MonkeyPatch
):
    wanted: list[int | None] = []
    find = features.store.table.find_row_groups

    def note(*arguments: Any, views: int | None, **more: Any) -> list:
        wanted.append(views)
        return find(*arguments, views=views, **more)

    monkeypatch.setattr(features.store.table, "find_row_groups", note)
    assert len(feature_store.open(table.store).matrix("test", views=0)[0]) == 250
    assert wanted == [None]
