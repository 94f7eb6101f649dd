"""Streams over row groups of small part files: every row once, whatever the batches and the pools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import store as feature_store
from features.errors import BottleneckError
from features.store import streams
from features.store.streams import RowGroup, as_dataset, find_row_groups, read_batches, read_matrix
from tests.tables import make_table

WIDTH = 3
#: Rows in the row groups of each of three parts: more groups than are shuffled together.
GROUPS = ((5, 1, 4, 4, 2), (3, 3, 7, 1, 1, 6, 2, 2), (4,) * 9)
COUNT = sum(map(sum, GROUPS))
#: Row n has the features (n, -n, 2 n).
X = np.arange(COUNT, dtype=np.float32)[:, None] * np.array([1, -1, 2], np.float32)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> list[RowGroup]:
    """All rows of three parts; the label of row n is str(n)."""
    folder, start = tmp_path_factory.mktemp("parts"), 0
    for number, sizes in enumerate(GROUPS):
        schema = pa.schema(
            [("labels", pa.list_(pa.string())), ("split", pa.string()), ("x", pa.list_(pa.float32()))]
        )
        with pq.ParquetWriter(folder / f"{number}.parquet", schema) as writer:
            for size in sizes:
                labels = [[str(row)] for row in range(start, start + size)]
                columns = [labels, ["train"] * size, list(X[start : start + size])]
                writer.write_table(pa.table(columns, schema=schema))
                start += size
    return find_row_groups(sorted(folder.iterdir()), None, labelled=False, classes=None, multi_label=False)


def numbers(batches: list[streams.Batch]) -> list[int]:
    """The numbers of the rows, whose features and labels must be theirs."""
    rows = [int(label) for _, labels in batches for label in labels]
    np.testing.assert_array_equal(np.concatenate([np.empty((0, WIDTH)), *(x for x, _ in batches)]), X[rows])
    return rows


@given(data=st.data(), batch_size=st.integers(1, COUNT + 5), shuffle=st.booleans(), seed=st.integers(0, 99))
def test_every_wanted_row_comes_once_whatever_the_batches(
    groups: list[RowGroup], data: st.DataObject, batch_size: int, shuffle: bool, seed: int
) -> None:
    taken = data.draw(st.lists(st.sampled_from(groups), unique_by=id))
    wanted = []
    for group in taken:
        rows = np.array(sorted(data.draw(st.sets(st.sampled_from(group.rows.tolist()), min_size=1))))
        wanted.append(group._replace(rows=rows, labels=group.labels[rows]))
    expected = [int(label) for group in wanted for label in group.labels]
    batches = list(read_batches(wanted, {"x": WIDTH}, batch_size, shuffle=shuffle, seed=seed))
    found = numbers(batches)
    assert (sorted(found) if shuffle else found) == (sorted(expected) if shuffle else expected)
    sizes = [len(rows) for rows, _ in batches]
    assert sizes == [batch_size] * (len(expected) // batch_size) + [len(expected) % batch_size] * (
        len(expected) % batch_size > 0
    )
    again = list(read_batches(wanted, {"x": WIDTH}, COUNT, shuffle=shuffle, seed=seed))
    assert numbers(again) == found
    assert numbers([read_matrix(wanted, {"x": WIDTH})]) == expected


def test_shuffling_mixes_the_rows_of_eight_groups_from_all_over_the_table(groups: list[RowGroup]) -> None:
    groups = [group for group in groups if len(group.rows) > 3]
    group_of = {int(label): number for number, group in enumerate(groups) for label in group.labels}
    orders = {}
    for seed in (0, 1):
        orders[seed] = numbers(list(read_batches(groups, {"x": WIDTH}, 10, shuffle=True, seed=seed)))
        order = [group_of[row] for row in orders[seed]]
        together = list(dict.fromkeys(order))[:8]
        rows = sum(len(groups[number].rows) for number in together)
        assert set(order[:rows]) == set(together) and not set(order[rows:]) & set(together)
        assert len(set(order[:8])) > 3, "two of them have eight rows"
        assert len({groups[number].path for number in together}) == 3 and max(together) > 8
    assert orders[0] != orders[1]


def part(path: Path, rows: list[tuple[list[str], str]], group: int) -> Path:
    table = pa.table(
        {
            "labels": pa.array([labels for labels, _ in rows], pa.list_(pa.string())),
            "split": [s for _, s in rows],
        }
    )
    pq.write_table(table, path, row_group_size=group)
    return path


@pytest.mark.parametrize(
    ("split", "labelled", "classes", "expected"),
    [
        (
            None,
            False,
            None,
            [("1", 0, [0, 1], ["a", None]), ("1", 1, [0], ["b"]), ("2", 0, [0, 1], ["c", "a"])],
        ),
        ("train", False, None, [("1", 0, [0, 1], ["a", None]), ("2", 0, [1], ["a"])]),
        ("train", True, None, [("1", 0, [0], ["a"]), ("2", 0, [1], ["a"])]),
        (None, True, {"b", "c"}, [("1", 1, [0], ["b"]), ("2", 0, [0], ["c"])]),
        ("test", False, {"a"}, []),
        ("test", False, {"c", None}, [("2", 0, [0], ["c"])]),
    ],
)
def test_row_groups_are_found_by_split_and_label(
    tmp_path: Path, split: str | None, labelled: bool, classes: set[str] | None, expected: list
) -> None:
    paths = [
        part(tmp_path / "1", [(["a"], "train"), ([], "train"), (["b"], "test")], 2),
        part(tmp_path / "2", [(["c"], "test"), (["a"], "train")], 5),
    ]
    found = find_row_groups(paths, split, labelled=labelled, classes=classes, multi_label=False)
    assert [
        (Path(group.path).name, group.number, group.rows.tolist(), group.labels.tolist()) for group in found
    ] == expected
    assert all(group.path == str(tmp_path / Path(group.path).name) for group in found)


def test_images_with_several_labels_are_no_matrix(tmp_path: Path) -> None:
    path = part(tmp_path / "1", [(["a"], "train"), (["a", "b"], "test")], 2)
    with pytest.raises(BottleneckError) as refusal:
        find_row_groups([path], "train", labelled=False, classes=None, multi_label=False)
    assert str(refusal.value) == (
        "the table has images with several labels: `multi_label=True` gives a tuple of them each"
    )


def test_rows_of_another_width_are_refused_with_their_file(groups: list[RowGroup]) -> None:
    with pytest.raises(BottleneckError) as refusal:
        read_matrix(groups, {"x": 4})
    assert str(refusal.value) == (
        f"{groups[0].path}, column 'x': expected rows of 4 features each, and there are others"
    )
    with pytest.raises(BottleneckError, match="expected rows of 4"):
        list(read_batches(groups, {"x": 4}, 8, shuffle=False, seed=0))


def test_no_more_than_one_pool_is_read_ahead() -> None:
    read: list[int] = []

    def note(number: int) -> int:
        read.append(number)
        return number

    pools = streams._read_ahead(note, range(5))
    for number in range(5):
        assert next(pools) == number
        assert len(read) <= number + 2
    assert list(pools) == [] and read == [0, 1, 2, 3, 4]


def test_a_dataset_has_a_generator_for_each_epoch_and_a_known_length() -> None:
    seeds: list[int] = []

    def epoch(seed: int) -> Iterator[streams.Batch]:
        seeds.append(seed)
        for start in (0, 4, 8):
            yield X[start : start + 4][: 9 - start], np.arange(start, min(start + 4, 9))

    data = as_dataset(epoch, WIDTH, 9, 4, 7)
    assert data.cardinality().numpy() == 3
    for _ in range(2):
        batches = [(rows.numpy(), numbers.numpy()) for rows, numbers in data]
        np.testing.assert_array_equal(np.concatenate([rows for rows, _ in batches]), X[:9])
        assert np.concatenate([numbers for _, numbers in batches]).tolist() == list(range(9))
        assert {rows.dtype for rows, _ in batches} == {np.dtype(np.float32)}
        assert {numbers.dtype for _, numbers in batches} == {np.dtype(np.int64)}
    assert seeds == [7, 8]
    assert not data.options().autotune.enabled


def test_a_dataset_of_some_classes_of_a_split(tmp_path: Path) -> None:
    layers = {"mixed0": np.arange(8, dtype=np.float32)[:, None] * np.ones(256, np.float32)}
    layers["avg_pool"] = np.repeat(-layers["mixed0"], 8, axis=1)
    labels = ["a", "b", [], "c", "b", "a", "c", "b"]
    table = make_table(tmp_path, layers, labels, ["train"] * 6 + ["test"] * 2)
    data = feature_store.dataset(table, "train", labels=["b", "a"], layers="mixed0", batch_size=3)
    batches = [(rows[:, 0].numpy().tolist(), numbers.numpy().tolist()) for rows, numbers in data]
    assert batches == [([0, 1, 4], [1, 0, 0]), ([5], [1])]
    assert data.cardinality().numpy() == 2
    ((rows, classes),) = feature_store.dataset(table, labels=["c", "b"])
    assert rows.shape == (5, 2048) and rows[:, 0].numpy().tolist() == [-1, -3, -4, -6, -7]
    assert classes.numpy().tolist() == [1, 0, 1, 0, 1]

    names = ["a", "b", "c"]
    shuffled = {
        0: feature_store.dataset(table, labels=names, shuffle=True),
        4: feature_store.dataset(table, labels=names, shuffle=True, seed=4),
    }
    for seed, epochs in shuffled.items():
        for epoch in (0, 1):
            ((rows, classes),) = epochs
            ((expected, wanted),) = table.batches(labelled=True, shuffle=True, seed=seed + epoch)
            np.testing.assert_array_equal(rows, expected)
            assert [names[number] for number in classes] == wanted.tolist()
