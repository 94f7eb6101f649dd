from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import store as feature_store
from features.inputs import LISTING_SCHEMA
from features.locations import features_path
from features.splits import TRAIN_AND_VALIDATION, assign_split
from features.store.parts import write_part
from features.store.table import FeatureTable
from pipelines import planning
from pipelines.planning import Plan, make_plan, slice_lengths
from pipelines.runs import PLANNED_SCHEMA, outdated
from tests.features.inputs.refs import Ref
from tests.tables import NOON, Rejected, add, make_rows, make_table

AT_NOON = round(NOON.timestamp() * 1_000_000)
BAD = Rejected("/images/bad.png", "corrupt", "no image in it", None, None)


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    return make_table(tmp_path, np.zeros((3, 2048), np.float32), ["a", "b", "a"], rejected=[BAD])


def ref(number: int, label: str, **facts: object) -> Ref:
    image = Ref(f"/images/image-{number}.png", (label,), None, 100, AT_NOON)
    return image._replace(**facts)  # type: ignore[arg-type]


STORED = [ref(0, "a"), ref(1, "b"), ref(2, "a")]
REJECTED = Ref(BAD.uri, ("a",), None, None, None)


def plan_of(images: list[Ref], table: FeatureTable, **options: Any) -> Plan:
    return make_plan(
        pa.Table.from_pylist([image._asdict() for image in images], LISTING_SCHEMA), table, **options
    )


def todo(plan: Plan, chunk_size: int = 4096) -> list[list[str]]:
    """The uris of each slice."""
    slices = list(plan.slices(chunk_size))
    assert all(rows.schema == PLANNED_SCHEMA for rows in slices)
    return [rows.column("uri").to_pylist() for rows in slices]


def test_nothing_is_to_do_when_nothing_changed(table: FeatureTable):
    plan = plan_of([*STORED, REJECTED], table)
    assert (plan.listed, plan.todo, plan.stored, plan.rejected, len(plan.missing_from_input)) == (
        4,
        0,
        3,
        1,
        0,
    )
    assert todo(plan) == [] and plan.basis.version == table.version


def test_new_images_are_to_do_and_replace_nothing(table: FeatureTable):
    plan = plan_of([*STORED, ref(3, "b")], table)
    (rows,) = plan.slices(10)
    assert rows.select(LISTING_SCHEMA.names).to_pylist() == [
        {**ref(3, "b")._asdict(), "labels": ["b"], "modified_at": NOON}
    ]
    assert plan.replaced == len(outdated(rows)) == 0 and plan.stored == 3


@pytest.mark.parametrize(
    "change",
    [{"size": 101}, {"modified_at": AT_NOON + 1}, {"labels": ("b",)}, {"labels": ("a", "b")}, {"labels": ()}],
)
def test_a_changed_image_takes_the_place_of_its_row(table: FeatureTable, change: dict[str, object]):
    plan = plan_of([ref(0, "a", **change), *STORED[1:]], table)
    (rows,) = plan.slices(10)
    assert outdated(rows).to_pylist() == [
        {
            "uri": STORED[0].uri,
            "part": table.names[0],
            "size": 100,
            "modified_at": NOON,
            "image_id": hashlib.sha256(STORED[0].uri.encode()).hexdigest(),
            "written_at": NOON,
        }
    ]
    assert (plan.todo, plan.replaced, plan.stored) == (1, 1, 2)


def test_the_order_of_labels_says_nothing(tmp_path: Path):
    table = make_table(tmp_path, np.zeros((1, 2048), np.float32), [["a", "b"]])
    assert plan_of([ref(0, "a", labels=("b", "a"))], table).todo == 0
    assert plan_of([ref(0, "a", labels=("b", "c"))], table).todo == 1


@pytest.mark.parametrize("given", [None, "train", "test", TRAIN_AND_VALIDATION])
def test_splits_are_those_that_are_assigned(tmp_path: Path, given: str | None):
    """The join says so in SQL, extraction in Python."""
    ids = [hashlib.sha256(f"/images/image-{number}.png".encode()).hexdigest() for number in range(100)]
    splits = [assign_split(image_id, given) for image_id in ids]
    table = make_table(tmp_path, np.zeros((100, 2048), np.float32), ["a"] * 100, splits)
    images = [ref(number, "a", split=given) for number in range(100)]
    assert plan_of(images, table).todo == 0
    other = {"train": "test", "validation": "train", "test": "validation"}
    moved = make_table(
        tmp_path,
        np.zeros((100, 2048), np.float32),
        ["a"] * 100,
        [other[split] for split in splits],
        name="moved",
    )
    assert plan_of(images, moved).todo == 100


@pytest.fixture
def grouped(tmp_path: Path) -> FeatureTable:
    """A table of which two images belong to groups."""
    return make_table(tmp_path, np.zeros((3, 2048), np.float32), ["a", "b", "a"], groups=["p", "q", None])


GROUPED = [ref(0, "a", group="p"), ref(1, "b", group="q"), ref(2, "a")]


@pytest.mark.parametrize("given", [None, "train", TRAIN_AND_VALIDATION])
def test_splits_of_groups_are_those_that_are_assigned(tmp_path: Path, given: str | None):
    """Whatever the groups are called: the join says so in SQL, extraction in Python."""
    groups = [None, "", " ", "'", '"', "ä漢", "🌸", "0", "a\0b", "a" * 1000, *(f"p{n}" for n in range(90))]
    ids = [hashlib.sha256(f"/images/image-{number}.png".encode()).hexdigest() for number in range(100)]
    splits = [assign_split(image_id, given, group) for image_id, group in zip(ids, groups, strict=True)]
    table = make_table(tmp_path, np.zeros((100, 2048), np.float32), ["a"] * 100, splits, groups)
    images = [ref(number, "a", split=given, group=group) for number, group in enumerate(groups)]
    assert plan_of(images, table).todo == 0


def test_nothing_is_to_do_where_no_group_changed(grouped: FeatureTable):
    plan = plan_of(GROUPED, grouped)
    assert (plan.todo, plan.stored) == (0, 3)
    (rows,) = plan_of([*GROUPED, ref(3, "b", group="p")], grouped).slices(10)
    assert rows.column("group").to_pylist() == ["p"]


@pytest.mark.parametrize(("number", "group"), [(0, "q"), (0, None), (2, "p"), (0, "p "), (0, "P")])
def test_an_image_of_another_group_has_changed(grouped: FeatureTable, number: int, group: str | None):
    # Its given split is that of its row: the group alone says so.
    splits = grouped.metadata(["uri", "split"]).to_pylist()
    (split,) = (row["split"] for row in splits if row["uri"] == GROUPED[number].uri)
    images = list(GROUPED)
    images[number] = images[number]._replace(group=group, split=split)
    plan = plan_of(images, grouped)
    (rows,) = plan.slices(10)
    assert (plan.todo, plan.replaced) == (1, 1)
    assert rows.select(["uri", "group"]).to_pylist() == [{"uri": GROUPED[number].uri, "group": group}]


def test_an_empty_table_without_groups_plans_all_images_of_an_input_with_them(tmp_path: Path):
    table = make_table(tmp_path, np.empty((0, 2048)), [], rejected=[BAD])
    plan = plan_of([*GROUPED, REJECTED._replace(group="p")], table)
    assert (plan.todo, plan.replaced, plan.rejected) == (3, 0, 1)


def test_rejected_images_are_tried_again_when_changed_or_asked_for(table: FeatureTable):
    mended = REJECTED._replace(size=50, modified_at=AT_NOON)
    plan = plan_of([mended], table)
    assert (plan.todo, plan.replaced, plan.rejected) == (1, 1, 0)
    (rows,) = plan.slices(10)
    assert [(row["uri"], row["part"], row["image_id"]) for row in outdated(rows).to_pylist()] == [
        (BAD.uri, table.rejected_names[0], None)
    ]
    assert plan_of([REJECTED], table).todo == 0
    assert plan_of([REJECTED], table, retry_rejected=True).todo == 1


@pytest.mark.parametrize(
    ("known", "listed", "todo"),
    [
        ((50, AT_NOON), (50, AT_NOON), 0),
        ((50, AT_NOON), (50, AT_NOON + 1), 1),
        ((50, AT_NOON), (51, AT_NOON), 1),
        ((50, AT_NOON), (None, None), 1),
        ((None, None), (50, AT_NOON), 1),
        ((None, AT_NOON), (50, AT_NOON), 1),
        ((50, None), (50, AT_NOON), 1),
    ],
)
def test_a_rejected_image_has_changed_when_its_size_or_its_time_has(
    tmp_path: Path, known: tuple[int | None, ...], listed: tuple[int | None, ...], todo: int
):
    bad = BAD._replace(size=known[0], modified_at=known[1])
    table = make_table(tmp_path, np.empty((0, 2048)), [], rejected=[bad])
    image = REJECTED._replace(size=listed[0], modified_at=listed[1])
    plan = plan_of([image], table)
    assert (plan.todo, plan.replaced, plan.rejected) == (todo, todo, 1 - todo)


def test_augmented_views_are_no_images(table: FeatureTable):
    views = make_rows(table.facts, np.zeros((3, 2048), np.float32), ["a", "b", "a"])
    place = views.schema.get_field_index("view")
    views = views.set_column(place, views.schema.field(place), pa.array([1, 2, 1], pa.int32()))
    add(table, write_part(features_path(table.store, table.name), [views], table.facts.schema))
    plan = plan_of([*STORED[:2], REJECTED], feature_store.open(table.store))
    assert (plan.todo, plan.stored, plan.rejected, plan.stored_missing_from_input) == (0, 2, 1, 1)


def test_images_whose_files_are_away_keep_their_rows(table: FeatureTable):
    away = [image._replace(size=None, modified_at=None) for image in STORED]
    plan = plan_of([*away, REJECTED], table)
    assert (plan.todo, plan.missing_files, plan.stored, plan.rejected) == (0, 3, 3, 1)


def test_images_that_have_gone_are_named(table: FeatureTable):
    plan = plan_of(STORED[:1], table)
    assert sorted(plan.missing_from_input.column("uri").to_pylist()) == [
        BAD.uri,
        STORED[1].uri,
        STORED[2].uri,
    ]
    assert (plan.stored_missing_from_input, plan.stored, plan.rejected) == (2, 1, 0)


def test_what_other_runs_have_planned_is_left_to_them(table: FeatureTable):
    images = [ref(0, "b"), ref(7, "a"), ref(8, "a"), REJECTED]
    others = pa.chunked_array([[ref(7, "a").uri, ref(0, "b").uri]])
    plan = plan_of(images, table, left_to_others=others, retry_rejected=True)
    assert todo(plan) == [[BAD.uri, ref(8, "a").uri]]
    assert (plan.left, plan.stored, plan.rejected) == (2, 0, 0)


def test_slices_hold_what_replaces_rows_of_one_part_together(table: FeatureTable):
    rows = make_rows(table.facts, np.zeros((3, 2048), np.float32), ["a"] * 3, prefix="other", run_id="run-2")
    add(table, write_part(features_path(table.store, table.name), [rows], table.facts.schema))
    table = feature_store.open(table.store)
    changed = [ref(n, "z") for n in range(3)] + [ref(n, "z", uri=f"/images/other-{n}.png") for n in range(3)]
    new = [ref(n, "a") for n in range(10, 15)]
    plan = plan_of([*changed, *new], table)
    assert sorted(map(sorted, todo(plan, 2))) == sorted(
        [
            *(sorted(image.uri for image in pair) for pair in (new[:2], new[2:4], new[4:])),
            [image.uri for image in changed[:3]],
            [image.uri for image in changed[3:]],
        ]
    )
    assert len(todo(plan_of([*changed, *new], table), 6)) == 2


def test_images_that_processes_have_ended_on_come_last_with_their_part(table: FeatureTable):
    new = [ref(n, "a") for n in range(10, 14)]
    attempts = pa.table(
        {
            "uri": [new[0].uri, new[0].uri, new[1].uri, STORED[2].uri],
            "attempts": pa.array([1, 1, 1, 2], pa.int32()),
        }
    )
    plan = plan_of([ref(0, "z"), ref(1, "b"), ref(2, "z"), *new], table, attempts=attempts)
    slices = list(plan.slices(4096))
    assert [rows.column("uri").to_pylist() for rows in slices] == [
        [image.uri for image in new[1:]],
        [new[0].uri, STORED[0].uri, STORED[2].uri],
    ]
    assert [max(rows.column("attempts").to_pylist()) for rows in slices] == [1, 2]


@pytest.mark.parametrize(
    ("groups", "lengths"),
    [
        ([], []),
        ([(False, None, 10)], [4, 4, 2]),
        ([(False, None, 8)], [4, 4]),
        ([(False, None, 8), (False, "p", 3), (False, "q", 1), (False, "r", 2)], [4, 4, 4, 2]),
        ([(False, None, 2), (False, "p", 2)], [4]),
        ([(False, "p", 9), (False, "q", 1)], [9, 1]),
        ([(False, None, 3), (True, None, 1), (True, "p", 3)], [3, 4]),
        ([(False, "p", 1), (True, "q", 1), (True, "r", 1)], [1, 2]),
    ],
)
def test_lengths_of_slices(groups: list[tuple[bool, str | None, int]], lengths: list[int]):
    assert slice_lengths(groups, 4) == lengths


@given(
    st.dictionaries(
        st.tuples(st.booleans(), st.one_of(st.none(), st.sampled_from("pqrstu"))),
        st.integers(1, 20),
        max_size=8,
    ),
    st.integers(1, 9),
)
@settings(max_examples=100)
def test_slices_are_as_full_as_whole_parts_allow(counts: dict[tuple[bool, str | None], int], most: int):
    groups = [(*key, counts[key]) for key in sorted(counts, key=lambda key: (key[0], key[1] or ""))]
    lengths = slice_lengths(groups, most)
    images = iter((doubtful, part) for doubtful, part, count in groups for _ in range(count))
    slices = [[next(images) for _ in range(length)] for length in lengths]
    assert next(images, None) is None and all(slices)
    assert all(len({doubtful for doubtful, _ in members}) == 1 for members in slices)
    for key, count in counts.items():
        holding = [members for members in slices if key in members]
        assert len(holding) == (-(-count // most) if key[1] is None else 1)
    assert all(len(members) <= most or len(set(members)) == 1 for members in slices)
    for before, after in itertools.pairwise(slices):
        doubtful, part = after[0]
        if part is not None and before[0][0] == doubtful:
            assert len(before) + counts[doubtful, part] > most


def test_slices_are_cut_across_what_is_read_at_once():
    names = [str(number) for number in range(9)]
    rows = [{"uri": name, "labels": [], "attempts": 0} for name in names]
    batches = pa.Table.from_pylist(rows, PLANNED_SCHEMA).to_batches(max_chunksize=3)
    slices = list(planning._cut(batches, [1, 4, 1, 3]))
    assert [one.column("uri").to_pylist() for one in slices] == [
        ["0"],
        ["1", "2", "3", "4"],
        ["5"],
        names[6:],
    ]


def test_slices_are_smaller_where_features_are_wide_or_images_few(
    table: FeatureTable, monkeypatch: pytest.MonkeyPatch
):
    def lengths(images: int, chunk_size: int = 4096) -> list[int]:
        plan = plan_of([ref(number, "a") for number in range(3, 3 + images)], table)
        return [len(uris) for uris in todo(plan, chunk_size)]

    assert planning._SLICE_BYTES == 64 * 2**20
    assert lengths(1500) == [512, 512, 476]
    monkeypatch.setattr(planning, "_SMALL", 3)
    assert lengths(100) == [4] * 25, "more than 32 slices would be smaller"
    assert lengths(5) == [3, 2] and lengths(5, 2) == [2, 2, 1]
    monkeypatch.setattr(planning, "_SLICE_BYTES", 2 * 4 * 2048 + 1)
    assert lengths(5) == [2, 2, 1]
    monkeypatch.setattr(planning, "_SLICE_BYTES", 1)
    assert lengths(2) == [1, 1]
