from __future__ import annotations

import datetime
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
from features.decodings import DECODING
from features.inputs import LISTING_SCHEMA
from features.locations import features_path
from features.schemas import to_schema
from features.splits import TRAIN_AND_VALIDATION, assign_split
from features.store.parts import write_part
from features.store.table import FeatureTable
from pipelines import planning
from pipelines.planning import Plan, make_plan, slice_lengths
from pipelines.runs import COPY, PLANNED_SCHEMA, READ, REDO, outdated
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
    assert rows.select(["action", "same_size"]).to_pylist() == [{"action": READ, "same_size": True}]


def actions(plan: Plan) -> dict[str, str]:
    """From each uri that is to be settled to what is to be done."""
    rows = pa.concat_tables([PLANNED_SCHEMA.empty_table(), *plan.slices(4096)])
    return dict(zip(*(rows.column(name).to_pylist() for name in ("uri", "action")), strict=True))


@pytest.mark.parametrize(
    ("change", "action"),
    [
        ({"size": 101}, READ),
        ({"modified_at": AT_NOON + 1}, READ),
        ({"labels": ("b",)}, COPY),
        ({"split": "other"}, COPY),
        ({"labels": ("b",), "modified_at": AT_NOON + 1}, READ),
    ],
)
def test_only_what_may_have_other_bytes_is_read(table: FeatureTable, change: dict[str, object], action: str):
    if "split" in change:
        (split,) = table.metadata(["uri", "split"]).to_pylist()[:1]
        change = {"split": "test" if split["split"] == "train" else "train"}
    plan = plan_of([ref(0, "a", **change), *STORED[1:], REJECTED], table, retry_rejected=True)
    assert actions(plan) == {STORED[0].uri: action, BAD.uri: READ}


def test_an_image_of_another_group_is_not_read(grouped: FeatureTable):
    assert actions(plan_of([*GROUPED[:2], ref(2, "a", group="p")], grouped)) == {GROUPED[2].uri: COPY}


def test_files_that_may_be_stored_are_told_by_their_size(table: FeatureTable):
    rows = make_rows(table.facts, np.zeros((1, 2048)), ["a"], prefix="large")
    rows = rows.set_column(rows.schema.get_field_index("size"), "size", pa.array([200]))
    add(table, write_part(table.folder, [rows.cast(table.facts.schema)], table.facts.schema))
    table = feature_store.open(table.store)
    images = [
        *STORED,
        REJECTED,
        ref(0, "a", uri="/images/large-0.png", size=201),
        *(ref(size, "a", size=size) for size in (100, 200, 201, 300)),
        ref(7, "a", size=None, modified_at=None),
    ]
    rows = pa.concat_tables(plan_of(images, table).slices(4096))
    same = dict(zip(*(rows.column(name).to_pylist() for name in ("uri", "same_size")), strict=True))
    assert same == {
        "/images/large-0.png": False,
        "/images/image-100.png": True,
        "/images/image-200.png": True,
        "/images/image-201.png": False,
        "/images/image-300.png": False,
        "/images/image-7.png": False,
    }


def replacing(plan: Plan) -> dict[str, str | None]:
    """From each uri that is to be settled to that of the row that it may replace."""
    rows = pa.concat_tables([PLANNED_SCHEMA.empty_table(), *plan.slices(4096)])
    return dict(zip(*(rows.column(name).to_pylist() for name in ("uri", "replaced_uri")), strict=True))


def with_facts(table: FeatureTable, prefix: str, **facts: list[Any]) -> FeatureTable:
    """The table with further rows that have these facts."""
    count = len(next(iter(facts.values())))
    rows = pa.table(make_rows(table.facts, np.zeros((count, 2048)), ["a"] * count, prefix=prefix))
    rows = to_schema(rows, table.facts.schema, **{name: pa.array(values) for name, values in facts.items()})
    add(table, write_part(table.folder, rows.to_batches(), table.facts.schema), run_id=prefix)
    return feature_store.open(table.store)


def test_new_images_may_replace_rows_of_their_size_that_are_missing_from_the_input(table: FeatureTable):
    later = NOON + datetime.timedelta(seconds=1)
    table = with_facts(table, "old", size=[7, 7, 8, 9], modified_at=[later, NOON, NOON, NOON])
    new = [
        ref(10, "a", size=7, modified_at=AT_NOON + 1_000_000),
        ref(11, "a", size=7),
        ref(12, "a", size=7, modified_at=AT_NOON + 2_000_000),
        ref(13, "a", size=9),
        ref(14, "a", size=100),
        ref(15, "a", size=None, modified_at=None),
    ]
    plan = plan_of([*STORED, *new, REJECTED], table)
    assert replacing(plan) == {
        new[0].uri: "/images/old-0.png",  # in the order in which they were changed
        new[1].uri: "/images/old-1.png",
        new[2].uri: None,
        new[3].uri: "/images/old-3.png",
        new[4].uri: None,  # rows of its size are in the input
        new[5].uri: None,
    }
    assert (plan.moved, plan.stored_missing_from_input, plan.replaced, plan.todo) == (3, 4, 0, 6)
    assert len(plan.missing_from_input) == 4, "their bytes are not known yet"
    (part,) = (name for name in table.names if name.startswith("part."))
    (rows,) = plan_of([*STORED, new[3], REJECTED], table).slices(10)
    assert outdated(rows).to_pylist() == [
        {
            "uri": "/images/old-3.png",
            "part": part,
            "size": 9,
            "modified_at": NOON,
            "image_id": hashlib.sha256(b"/images/old-3.png").hexdigest(),
            "written_at": NOON,
        }
    ]


def test_no_image_replaces_a_rejection_of_another_name(tmp_path: Path):
    table = make_table(tmp_path, np.empty((0, 2048)), [], rejected=[BAD._replace(size=50)])
    plan = plan_of([ref(0, "a", size=50)], table)
    assert replacing(plan) == {ref(0, "a").uri: None} and plan.moved == 0


def test_images_that_another_run_moves_are_not_taken_for_lost(table: FeatureTable):
    moved = [ref(n, "a", uri=f"/moved/{n}.png") for n in range(3)]
    plan = plan_of(moved, table, left_to_others=pa.chunked_array([[image.uri for image in moved[:2]]]))
    assert (plan.left, plan.moved, plan.stored_missing_from_input) == (2, 3, 3)
    assert list(replacing(plan)) == [moved[2].uri]


def test_images_that_were_moved_from_one_part_stay_together(table: FeatureTable):
    table = with_facts(table, "old", size=[7, 8, 9])
    new = [ref(n, "a", uri=f"/moved/{n}.png", size=n) for n in (9, 8, 7)]
    changed = [ref(0, "z"), ref(1, "z"), STORED[2]]
    slices = todo(plan_of([*changed, *new], table), 2)
    assert sorted(sorted(uris) for uris in slices) == [
        [STORED[0].uri, STORED[1].uri],
        ["/moved/7.png", "/moved/8.png", "/moved/9.png"],
    ]


def test_how_much_is_missing_is_a_share_of_what_was_stored(table: FeatureTable):
    away = STORED[0]._replace(size=None, modified_at=None)
    plan = plan_of([away, ref(1, "z"), ref(8, "a"), REJECTED], table)
    assert (plan.stored_before, plan.stored_missing_from_input, plan.stored) == (3, 1, 1)
    others = pa.chunked_array([[STORED[1].uri, ref(8, "a").uri]])
    assert plan_of([ref(1, "z"), ref(8, "a")], table, left_to_others=others).stored_before == 3
    assert plan_of([REJECTED, ref(9, "a")], table).stored_before == 3


@pytest.fixture
def viewed(tmp_path: Path) -> FeatureTable:
    """Two training images with two views each, and one for testing."""
    splits = ["train"] * 6 + ["test"]
    X = np.zeros((7, 2048), np.float32)
    table = make_table(tmp_path, X, ["a"] * 7, splits, views=[0, 1, 2, 0, 1, 2, 0])
    assert (table.views, len(table.metadata(views=0))) == (2, 3)
    return table


VIEWED = [
    ref(0, "a", split="train"),
    ref(3, "a", split="train"),
    ref(6, "a", split="test"),
]


def test_the_views_that_are_wanted_are_of_training_images(viewed: FeatureTable):
    plan = plan_of(VIEWED, viewed, views=2)
    assert (plan.todo, plan.stored) == (0, 3)
    more = plan_of(VIEWED, viewed, views=3)
    assert actions(more) == {VIEWED[0].uri: READ, VIEWED[1].uri: READ}
    assert (more.todo, more.replaced) == (2, 2)
    assert actions(plan_of(VIEWED, viewed, views=1)) == {VIEWED[0].uri: COPY, VIEWED[1].uri: COPY}
    assert todo(plan_of([*VIEWED, ref(9, "a", split="test")], viewed, views=2)) == [[ref(9, "a").uri]]


def test_views_come_and_go_as_an_image_enters_and_leaves_training(viewed: FeatureTable):
    left, entered = VIEWED[0]._replace(split="validation"), VIEWED[2]._replace(split="train")
    assert actions(plan_of([left, VIEWED[1], entered], viewed, views=2)) == {
        left.uri: COPY,
        entered.uri: READ,
    }


@pytest.mark.parametrize("given", [None, TRAIN_AND_VALIDATION])
def test_views_are_wanted_of_images_whose_split_is_cut_by_hash(tmp_path: Path, given: str | None):
    ids = [hashlib.sha256(f"/images/image-{number}.png".encode()).hexdigest() for number in range(40)]
    splits = [assign_split(image_id, given) for image_id in ids]
    table = make_table(tmp_path, np.zeros((40, 2048), np.float32), ["a"] * 40, splits)
    images = [ref(number, "a", split=given) for number in range(40)]
    wanted = {image.uri: READ for image, split in zip(images, splits, strict=True) if split == "train"}
    assert 20 < len(wanted) < 40
    assert actions(plan_of(images, table, views=1)) == wanted


def decoded_by(table: FeatureTable, decodings: dict[str, int], formats: list[str]) -> FeatureTable:
    """The table with rows of these formats, of each of the runs, that were read by these decodings."""
    batches = []
    for run_id in decodings:
        rows = pa.table(
            make_rows(
                table.facts,
                np.zeros((len(formats), 2048)),
                ["a"] * len(formats),
                prefix=run_id,
                run_id=run_id,
            )
        )
        batches += to_schema(rows, table.facts.schema, format=pa.array(formats)).to_batches()
    add(table, write_part(table.folder, batches, table.facts.schema, decodings), run_id="both")
    return feature_store.open(table.store)


def test_what_an_older_decoding_has_read_is_named_and_inferred_again_where_asked_for(tmp_path: Path):
    table = make_table(tmp_path, np.empty((0, 2048)), [])
    table = decoded_by(table, {"old": DECODING - 1, "new": DECODING}, ["jpeg", "bmp", "gif"])
    images = [ref(n, "a", uri=f"/images/{run}-{n}.png") for run in ("old", "new") for n in range(3)]
    plan = plan_of(images, table)
    assert (plan.stale, plan.todo) == (2, 0), "of bitmaps nothing was mended"
    plan = plan_of(images, table, redo_decoding=True)
    assert actions(plan) == {"/images/old-0.png": REDO, "/images/old-2.png": REDO}
    assert (plan.stale, plan.replaced, plan.stored) == (2, 2, 4)
    other = [image._replace(labels=("b",), size=5) for image in images]
    assert actions(plan_of(other, table, redo_decoding=True)) == {
        image.uri: REDO if image.uri in ("/images/old-0.png", "/images/old-2.png") else READ
        for image in other
    }
    away = [image._replace(size=None, modified_at=None) for image in images]
    assert plan_of(away, table, redo_decoding=True).todo == 0


def test_what_an_older_decoding_has_rejected_is_tried_once_more(table: FeatureTable):
    others = [BAD._replace(uri=f"/images/{name}.png") for name in ("old", "unknown")]
    add(table, rejected=others[:1], run_id="run-2", facts={"decoding": DECODING - 1})
    add(table, rejected=others[1:], run_id="run-3")
    table = feature_store.open(table.store)
    images = [*STORED, REJECTED, *(REJECTED._replace(uri=other.uri) for other in others)]
    plan = plan_of(images, table)
    assert actions(plan) == {other.uri: READ for other in others}
    assert (plan.todo, plan.replaced, plan.rejected, plan.stale) == (2, 2, 1, 3)
    add(
        table,
        rejected=others,
        replacing=[other.uri for other in others],
        run_id="run-4",
        facts={"decoding": DECODING},
    )
    again = plan_of(images, feature_store.open(table.store))
    assert (again.todo, again.rejected) == (0, 3), "they stay rejected"


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


def test_augmented_views_are_no_images(viewed: FeatureTable):
    plan = plan_of(VIEWED[1:], viewed, views=2)
    assert (plan.todo, plan.stored, plan.stored_before, plan.stored_missing_from_input) == (0, 2, 3, 1)
    assert plan.missing_from_input.column("uri").to_pylist() == [VIEWED[0].uri]


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


GROUPS_SCHEMA = pa.schema([("doubtful", pa.bool_()), ("whole", pa.string()), ("images", pa.int64())])


def lengths_of(groups: list[tuple[bool, str | None, int]], most: int) -> list[int]:
    columns = list(zip(*groups, strict=True)) or [()] * 3
    return slice_lengths(pa.table([list(column) for column in columns], GROUPS_SCHEMA), most)


@pytest.mark.parametrize(
    ("groups", "lengths"),
    [
        ([], []),
        ([(False, None, 10)], [4, 4, 2]),
        ([(False, None, 8)], [4, 4]),
        ([(False, None, 2), (False, None, 1), (False, None, 2)], [3, 2]),
        ([(False, None, 1), (False, None, 10), (False, None, 2)], [1, 4, 4, 4]),
        ([(False, None, 8), (False, "p", 3), (False, "q", 1), (False, "r", 2)], [4, 4, 4, 2]),
        ([(False, None, 2), (False, "p", 2)], [4]),
        ([(False, "p", 9), (False, "q", 1)], [9, 1]),
        ([(False, None, 3), (True, None, 1), (True, "p", 3)], [3, 4]),
        ([(False, "p", 1), (True, "q", 1), (True, "r", 1)], [1, 2]),
    ],
)
def test_lengths_of_slices(groups: list[tuple[bool, str | None, int]], lengths: list[int]):
    assert lengths_of(groups, 4) == lengths


@given(
    st.dictionaries(
        st.tuples(
            st.booleans(),
            st.one_of(st.integers(0, 3), st.sampled_from("pqrstu")),  # files of one size, or a part
        ),
        st.integers(1, 20),
        max_size=10,
    ),
    st.integers(1, 9),
)
@settings(max_examples=200)
def test_slices_are_as_full_as_whole_parts_and_sizes_allow(
    counts: dict[tuple[bool, int | str], int], most: int
):
    keys = sorted(counts, key=lambda key: (key[0], isinstance(key[1], str), str(key[1])))
    groups = [(doubtful, of if isinstance(of, str) else None, counts[doubtful, of]) for doubtful, of in keys]
    images = iter(key for key in keys for _ in range(counts[key]))
    slices = [[next(images) for _ in range(length)] for length in lengths_of(groups, most)]
    assert next(images, None) is None and all(slices)
    assert all(len({doubtful for doubtful, _ in members}) == 1 for members in slices)
    for key, count in counts.items():
        holding = [members for members in slices if key in members]
        assert len(holding) == (1 if isinstance(key[1], str) else -(-count // most))
    for members in slices:
        assert len(members) <= most or (len(set(members)) == 1 and isinstance(members[0][1], str))
    for before, after in itertools.pairwise(slices):
        if before[0][0] == after[0][0]:
            assert len(before) + counts[after[0]] > most


def test_files_of_one_size_are_in_one_slice(table: FeatureTable):
    sizes = [5, 3, 9, 5, 7, 3, 9, 5]
    new = [ref(10 + number, "a", size=size) for number, size in enumerate(sizes)]
    unreadable = ref(30, "a", size=None, modified_at=None)
    assert todo(plan_of([*STORED, *new, unreadable, REJECTED], table), 3) == [
        [new[1].uri, new[5].uri],
        [new[0].uri, new[3].uri, new[7].uri],
        [new[4].uri, new[2].uri, new[6].uri],
        [unreadable.uri],
    ]


def test_slices_are_cut_across_what_is_read_at_once():
    names = [str(number) for number in range(9)]
    rows = [{"uri": name, "labels": [], "action": READ, "same_size": False, "attempts": 0} for name in names]
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
    def lengths(images: int, chunk_size: int = 4096, views: int = 0) -> list[int]:
        plan = plan_of(
            [*STORED, *(ref(number, "a", size=200) for number in range(3, 3 + images))], table, views=views
        )
        return [len(uris) for uris in todo(plan, chunk_size)]

    assert planning._SLICE_BYTES == 64 * 2**20
    assert lengths(1500) == [512, 512, 476]
    monkeypatch.setattr(planning, "_SMALL", 3)
    assert lengths(100) == [4] * 25, "more than 32 slices would be smaller"
    assert lengths(5) == [3, 2] and lengths(5, 2) == [2, 2, 1]
    monkeypatch.setattr(planning, "_SLICE_BYTES", 2 * 4 * 2048 + 1)
    assert lengths(5) == [2, 2, 1]
    monkeypatch.setattr(planning, "_SLICE_BYTES", 4 * 4 * 2048)
    assert max(lengths(8)) == 3
    assert max(lengths(8, views=1)) == 2, "what each image may become counts"
    monkeypatch.setattr(planning, "_SLICE_BYTES", 1)
    assert lengths(2) == [1, 1]
