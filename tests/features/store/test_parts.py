from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.transaction import AddAction
from hypothesis import given, settings
from hypothesis import strategies as st

from features.splits import SPLITS
from features.store.parts import Part, is_of_run, part_at, read_decodings, rewrite_part, write_part
from features.store.schema import REJECTED_SCHEMA, TableFacts
from features.store.streams import find_row_groups, read_matrix
from tests.tables import RECIPE, Rejected, make_rows, rejections

FACTS = TableFacts("digits", "random", ("avg_pool",), RECIPE)
#: Of two features a row.
NARROW = pa.schema(
    [
        pa.field("uri", pa.string()),
        pa.field("labels", pa.list_(pa.field("element", pa.string()))),
        pa.field("split", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("x", pa.list_(pa.field("element", pa.float32())), metadata={"width": "2"}),
    ]
)


def narrow_rows(splits: list[str], start: int = 0) -> pa.RecordBatch:
    """Row n is of image `n`, with the features (n, -n); every third has no size."""
    numbers = range(start, start + len(splits))
    columns = {
        "uri": [str(number) for number in numbers],
        "labels": [[f"label {number}"] for number in numbers],
        "split": splits,
        "size": [number if number % 3 else None for number in numbers],
        "x": [[number, -number] for number in numbers],
    }
    return pa.RecordBatch.from_pydict(columns, NARROW)


@settings(max_examples=15)
@given(
    counts=st.lists(st.tuples(st.sampled_from(SPLITS), st.integers(0, 1100)), max_size=4),
    shuffle=st.booleans(),
    cut=st.integers(0, 3000),
)
def test_every_row_is_kept_once_in_row_groups_of_one_split(
    counts: list[tuple[str, int]], shuffle: bool, cut: int
) -> None:
    splits = [split for split, count in counts for _ in range(count)]
    if shuffle:
        np.random.default_rng(len(splits)).shuffle(splits)
    batches = [narrow_rows(splits[:cut]), narrow_rows(splits[cut:], len(splits[:cut]))]
    with tempfile.TemporaryDirectory() as folder:
        part = write_part(Path(folder), batches, NARROW)
        path = Path(folder) / part.name
        file = pq.ParquetFile(path)
        of_split = {split: [n for n, one in enumerate(splits) if one == split] for split in SPLITS}
        expected = [
            numbers[start : start + 1024]
            for numbers in of_split.values()
            for start in range(0, len(numbers), 1024)
        ]
        groups = [file.read_row_group(group) for group in range(file.num_row_groups)]
        assert [list(map(int, group.column("uri").to_pylist())) for group in groups] == expected
        for number, group in enumerate(groups):
            footer = file.metadata.row_group(number)
            for place, name in ((0, "uri"), (2, "split"), (3, "size")):
                values = group.column(name).drop_null().to_pylist()
                found = footer.column(place).statistics
                assert found.null_count == footer.num_rows - len(values)
                if values:
                    assert (found.min, found.max) == (min(values), max(values))
        for split, numbers in of_split.items():
            wanted = find_row_groups([path], split, labelled=False, classes=None, multi_label=False)
            X, labels = read_matrix(wanted, {"x": 2})
            assert X.tolist() == [[number, -number] for number in numbers]
            assert labels.tolist() == [f"label {number}" for number in numbers]
        assert file.schema_arrow.equals(NARROW)
        assert part == part_at(path) == Part(path.name, path.stat().st_size, len(splits))


def test_floats_are_split_by_byte_and_names_kept_in_dictionaries(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((30, 2048)).astype(np.float32)
    path = tmp_path / write_part(tmp_path, [make_rows(FACTS, X, ["a"] * 30)], FACTS.schema).name
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    dictionaries = [column.path_in_schema for column in columns if column.has_dictionary_page]
    assert dictionaries == ["labels.list.element", "split", "format", "run_id"]
    assert [c.path_in_schema for c in columns if "BYTE_STREAM_SPLIT" in c.encodings] == [
        "avg_pool.list.element"
    ]
    without = [c.path_in_schema for c in columns if not c.is_stats_set]
    assert without == ["labels.list.element", "avg_pool.list.element"]


def test_a_part_may_hold_nothing(tmp_path: Path) -> None:
    part = write_part(tmp_path, [], NARROW)
    assert part.rows == 0 and pq.read_table(tmp_path / part.name).equals(NARROW.empty_table())


def test_rejections_are_one_row_group_in_the_order_given(tmp_path: Path) -> None:
    bad = [Rejected(f"/{number % 7}/{number}", "corrupt", "", 1, None) for number in range(1500)]
    path = tmp_path / write_part(tmp_path, rejections(bad).to_batches(), REJECTED_SCHEMA).name
    assert pq.read_table(path).equals(rejections(bad))
    footer = pq.read_metadata(path)
    assert [footer.row_group(number).num_rows for number in range(footer.num_row_groups)] == [1024, 476]
    assert [footer.row_group(0).column(n).has_dictionary_page for n in range(7)] == [
        *(False, True, False, False, False, True, False)
    ]


def test_a_part_carries_the_name_of_its_run(tmp_path: Path) -> None:
    parts = [write_part(tmp_path, [narrow_rows(["test"])], NARROW, run_id=run) for run in ("run-1", None, "")]
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    for part, start in zip(parts, ("run-1", "part", "part"), strict=True):
        assert re.fullmatch(rf"{start}\.{uuid}\.zstd\.parquet", part.name)
    assert is_of_run(parts[0].name, "run-1")
    assert not is_of_run("run-10.x.zstd.parquet", "run-1") and not is_of_run(parts[0].name, "run")


def test_the_action_that_adds_a_part_tells_its_bytes_rows_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.store.parts.time.time", lambda: 1_700_000_000.5)
    assert Part("run-1.x.zstd.parquet", 4711, 3).add_action() == AddAction(
        path="run-1.x.zstd.parquet",
        size=4711,
        partition_values={},
        modification_time=1_700_000_000_500,
        data_change=True,
        stats='{"numRecords": 3}',
    )


@pytest.mark.parametrize(("views", "told"), [([0, 3, 1], (0, 3)), ([2], (2, 2)), ([0, 0], None)])
def test_a_part_tells_of_views_where_it_has_any(
    tmp_path: Path, views: list[int], told: tuple[int, int] | None
) -> None:
    schema = WITH_RUN.append(pa.field("view", pa.int32()))
    rows = with_run(narrow_rows(["train"] * len(views)), "run-1")
    rows = rows.append_column(schema.field("view"), pa.array(views, pa.int32()))
    part = write_part(tmp_path, [rows], schema)
    assert part.views == told
    stats = json.loads(part.add_action().stats)
    if told is None:
        assert stats == {"numRecords": len(views)}
    else:
        assert stats == {
            "numRecords": len(views),
            "minValues": {"view": told[0]},
            "maxValues": {"view": told[1]},
            "nullCount": {"view": 0},
        }
    if len(views) == 3:
        rewritten = rewrite_part(tmp_path / part.name, pa.array(["1"]), schema, None)
        assert rewritten and rewritten.views == (0, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_written(tmp_path: Path, bad: float):
    X = np.zeros((2, 2048), np.float32)
    X[1, 7] = bad
    with pytest.raises(ValueError) as refusal:
        write_part(tmp_path, [make_rows(FACTS, X, ["a"] * 2)], FACTS.schema)
    assert str(refusal.value) == "column avg_pool has NaN or infinite features"
    assert not list(tmp_path.iterdir())


def test_rows_of_another_width_are_not_written(tmp_path: Path):
    with pytest.raises(ValueError, match="expected rows of 2048 features"):
        write_part(tmp_path, [make_rows(FACTS, np.zeros((2, 2047), np.float32), ["a"] * 2)], FACTS.schema)
    assert not list(tmp_path.iterdir())


def with_run(rows: pa.RecordBatch, run_id: str) -> pa.RecordBatch:
    return rows.append_column(WITH_RUN.field("run_id"), pa.array([run_id] * len(rows)))


WITH_RUN = NARROW.append(pa.field("run_id", pa.string()))


@settings(max_examples=25)
@given(leaving=st.sets(st.integers(0, 8)))
def test_a_rewritten_part_keeps_every_other_row_and_the_decodings_of_their_runs(leaving: set[int]) -> None:
    """Images 0 to 2 are of run-1, 3 and 4 of run-2, 5 of run-3 of unknown decoding; others are elsewhere."""
    runs = ["run-1"] * 3 + ["run-2"] * 2 + ["run-3"]
    batches = [with_run(narrow_rows(["test"], number), run) for number, run in enumerate(runs)]
    with tempfile.TemporaryDirectory() as folder:
        old = write_part(Path(folder), batches, WITH_RUN, {"run-2": 2, "run-1": 1}, run_id="run-3")
        path = Path(folder) / old.name
        uris = pa.array([str(number) for number in leaving], pa.string())
        part = rewrite_part(path, uris, WITH_RUN, "run-4")
        kept = [number for number in range(6) if number not in leaving]
        assert read_decodings(path) == {"run-1": 1, "run-2": 2}
        if part is None:
            assert not kept
            return
        assert part.name.startswith("run-4.") and part.rows == len(kept)
        new = pq.read_table(path.with_name(part.name))
        old_rows = pq.read_table(path)
        assert new.equals(old_rows.take(kept)) and new.schema.equals(WITH_RUN)
        assert read_decodings(path.with_name(part.name)) == {
            run: number for run, number in (("run-1", 1), ("run-2", 2)) if run in {runs[n] for n in kept}
        }


def test_a_footer_tells_decodings_only_where_they_are_known(tmp_path: Path) -> None:
    plain = tmp_path / write_part(tmp_path, [narrow_rows(["test"])], NARROW).name
    assert read_decodings(plain) == {}
    told = tmp_path / write_part(tmp_path, [narrow_rows(["test"])], NARROW, {"run-2": 3, "run-1": 0}).name
    metadata = pq.read_metadata(told).metadata
    assert metadata[b"bottlenecks.decodings"] == b'{"run-1": 0, "run-2": 3}'


def test_each_view_of_a_split_has_row_groups_of_its_own(tmp_path: Path) -> None:
    views = [0, 2, 1, 0, 1, 0, 2]
    splits = ["train", "train", "train", "test", "train", "train", "train"]
    rows = narrow_rows(splits).append_column(pa.field("view", pa.int32()), pa.array(views, pa.int32()))
    file = pq.ParquetFile(tmp_path / write_part(tmp_path, [rows], rows.schema).name)
    groups = [file.read_row_group(group) for group in range(file.num_row_groups)]
    numbers = [list(map(int, group.column("uri").to_pylist())) for group in groups]
    assert numbers == [[0, 5], [2, 4], [1, 6], [3]]
