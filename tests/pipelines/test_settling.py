"""What becomes of the images of a slice, with as few of them inferred as there is need of."""

from __future__ import annotations

import datetime
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features import store as feature_store
from features.augmentation import Augmentation
from features.decodings import DECODING
from features.extractor import Extractor
from features.inputs import list_images
from features.splits import assign_split
from features.store.commit import Basis, Change, commit
from features.store.conflicts import STORED_SCHEMA, rows_of_parts
from features.store.parts import write_part
from features.store.schema import REJECTED_SCHEMA, TableFacts
from features.store.table import FeatureTable
from pipelines.planning import make_plan
from pipelines.runs import COPY, PLANNED_SCHEMA, READ, REDO, Header
from pipelines.settling import SettledSlice, SliceWork
from tests.contents import FACTS, Stored, Wish, extracted, has_its_own_features, id_of, part_of, table_of
from tests.tables import NOON, Rejected, add

NOW = NOON + datetime.timedelta(days=1)
BAD = Rejected("/bad", "corrupt", "no image in it", 100, 1_700_000_000_000_000)
CORRUPT, GONE = ("corrupt", "no image in it"), ("unreadable", "it is no longer there")
NOTHING = dict.fromkeys(("inferred", "rows", "moved", "touched", "same_bytes", "relabelled", "unread"), 0)


def planned(table: FeatureTable, wishes: Sequence[Wish]) -> pa.Table:
    uris = pa.array([wish.replaces for wish in wishes], pa.string()).drop_null()
    stored = rows_of_parts(table.paths, table.rejected_paths, uris).to_pylist()
    rows = []
    for wish in wishes:
        replaced: dict[str, Any] = next((row for row in stored if row["uri"] == wish.replaces), {})
        row = wish._asdict() | {"attempts": 0}
        rows.append(row | {f"replaced_{name}": value for name, value in replaced.items()})
    return pa.Table.from_pylist(rows, PLANNED_SCHEMA)


def work_of(table: FeatureTable, wishes: Sequence[Wish], views: int = 0) -> SliceWork:
    augmentation = Augmentation().to_dict() if views else None
    return SliceWork(planned(table, wishes), table, Header(table.name, Basis.of(table), views, augmentation))


def settle(
    table: FeatureTable,
    *wishes: Wish,
    views: int = 0,
    bad: Mapping[str, tuple[str, str]] | None = None,
    order: Sequence[int] = (),
) -> SettledSlice:
    """Settle a slice; each row that comes of it has the features of its own bytes and view."""
    work = work_of(table, wishes, views)
    settled = work.settle(extracted(work, wishes, bad or {}, order), "run-2", NOW)
    assert settled.features.schema == table.facts.schema and settled.rejected.schema == REJECTED_SCHEMA
    assert settled.outdated.schema == STORED_SCHEMA
    assert has_its_own_features(settled.features)
    contents = {wish.uri: id_of(wish.content) for wish in wishes}
    for uri, image_id in zip(*settled.features.select(["uri", "image_id"]).to_pydict().values(), strict=True):
        assert contents[uri] == image_id
    runs = set(settled.features.column("run_id").to_pylist())
    assert settled.decodings.keys() == runs
    settled_uris = {*settled.features.column("uri").to_pylist(), *settled.rejected.column("uri").to_pylist()}
    assert settled_uris == {wish.uri for wish in wishes}
    assert sum(settled.counts.values()) - settled.counts["rows"] == len(wishes) - len(settled.rejected)
    return settled


def rows(settled: SettledSlice, *names: str) -> list[tuple[Any, ...]]:
    """Of features, in the order of uris and views: these of their columns."""
    found = settled.features.sort_by([("uri", "ascending"), ("view", "ascending")])
    return list(zip(*(found.column(name).to_pylist() for name in names), strict=True))


def counts(**others: int) -> dict[str, int]:
    return NOTHING | others


def leaving(settled: SettledSlice) -> list[str]:
    return sorted(settled.outdated.column("uri").to_pylist())


ROSE = Stored("/rose", "rose")


def test_new_images_are_inferred(tmp_path: Path):
    table = table_of(tmp_path, [ROSE])
    wishes = Wish("/new", "new", same_size=False), Wish("/known-size", "other", labels=())
    settled = settle(table, *wishes)
    assert settled.counts == counts(inferred=2, rows=2) and leaving(settled) == []
    assert rows(settled, "uri", "view", "labels", "run_id", "extracted_at", "format") == [
        ("/known-size", 0, [], "run-2", NOW, "png"),
        ("/new", 0, ["a"], "run-2", NOW, "png"),
    ]
    assert settled.decodings == {"run-2": DECODING} and len(settled.rejected) == 0


def test_the_same_bytes_twice_in_a_slice_are_inferred_once(tmp_path: Path):
    """Whichever is hashed first; each row has its own facts."""
    table = table_of(tmp_path)
    wishes = [
        Wish("/a", "twin", labels=("a",), size=7),
        Wish("/b", "twin", labels=("b", "c"), split="test", modified_at=NOW),
        Wish("/c", "other"),
        Wish("/d", "twin", labels=()),
    ]
    for order in ((0, 1, 2, 3), (3, 2, 1, 0)):
        settled = settle(table, *wishes, order=order)
        assert settled.counts == counts(inferred=2, rows=2, same_bytes=2)
        assert rows(settled, "uri", "labels", "split", "size", "modified_at", "run_id", "extracted_at") == [
            ("/a", ["a"], "train", 7, NOON, "run-2", NOW),
            ("/b", ["b", "c"], "test", 100, NOW, "run-2", NOW),
            ("/c", ["a"], "train", 100, NOON, "run-2", NOW),
            ("/d", [], "train", 100, NOON, "run-2", NOW),
        ]


def test_known_bytes_are_not_inferred_again(tmp_path: Path):
    """The copy keeps when and by whom its features were made; the row that they are of stays."""
    table = table_of(tmp_path, [ROSE._replace(run_id="run-0", format="jpeg")], [Stored("/tulip", "tulip")])
    wishes = [
        Wish("/copy", "rose", labels=("z",), split="validation", modified_at=NOW),
        Wish("/unknown-size", "rose", size=None, modified_at=None),
    ]
    settled = settle(table, *wishes)
    assert settled.counts == counts(same_bytes=2) and leaving(settled) == []
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    names = ("uri", "labels", "split", "size", "modified_at", "run_id", "extracted_at", "format")
    assert rows(settled, *names) == [
        ("/copy", ["z"], "validation", 100, NOW, "run-0", NOON, "jpeg"),
        ("/unknown-size", ["a"], "train", 0, epoch, "run-0", NOON, "jpeg"),
    ]


def test_bytes_are_known_among_files_of_the_sizes_of_the_slice_alone(tmp_path: Path):
    """The plan's join has found no stored file of this size: none is looked for."""
    table = table_of(tmp_path, [ROSE])
    settled = settle(table, Wish("/copy", "rose", same_size=False))
    assert settled.counts == counts(inferred=1, rows=1)


def test_bytes_that_were_stored_since_the_plan_are_known(tmp_path: Path):
    table = table_of(tmp_path, [ROSE])
    add(table, part_of(table, [Stored("/late", "late", run_id="late")]), run_id="late")
    settled = settle(feature_store.open(tmp_path), Wish("/copy", "late"))
    assert settled.counts == counts(same_bytes=1)


def test_a_touched_image_gets_its_new_time_and_a_changed_one_new_features(tmp_path: Path):
    table = table_of(tmp_path, [ROSE, Stored("/tulip", "tulip")])
    settled = settle(
        table,
        Wish("/rose", "rose", replaces="/rose", modified_at=NOW),
        Wish("/tulip", "other tulip", replaces="/tulip"),
    )
    assert settled.counts == counts(inferred=1, rows=1, touched=1)
    assert leaving(settled) == ["/rose", "/tulip"]
    assert rows(settled, "uri", "modified_at", "run_id", "extracted_at") == [
        ("/rose", NOW, "run-1", NOON),
        ("/tulip", NOON, "run-2", NOW),
    ]
    assert (
        settled.outdated.to_pylist()
        == rows_of_parts(table.paths, [], pa.array(["/rose", "/tulip"])).to_pylist()
    )


def test_a_changed_image_may_have_bytes_that_are_known(tmp_path: Path):
    table = table_of(tmp_path, [ROSE, Stored("/tulip", "tulip")])
    settled = settle(table, Wish("/rose", "tulip", replaces="/rose"))
    assert settled.counts == counts(same_bytes=1) and leaving(settled) == ["/rose"]


def test_an_image_that_was_moved_takes_the_place_of_its_row(tmp_path: Path):
    table = table_of(tmp_path, [ROSE, Stored("/tulip", "tulip")])
    settled = settle(table, Wish("/b/rose", "rose", replaces="/rose", labels=("b",)))
    assert settled.counts == counts(moved=1) and leaving(settled) == ["/rose"]
    assert rows(settled, "uri", "labels", "run_id") == [("/b/rose", ["b"], "run-1")]


def test_of_two_of_one_size_that_were_moved_each_replaces_its_own(tmp_path: Path):
    """The plan knows sizes alone, and has taken one for the other."""
    table = table_of(tmp_path, [ROSE], [Stored("/tulip", "tulip")])
    settled = settle(
        table, Wish("/b/rose", "rose", replaces="/tulip"), Wish("/b/tulip", "tulip", replaces="/rose")
    )
    assert settled.counts == counts(moved=2)
    stored = rows_of_parts(table.paths, [], pa.array(["/rose", "/tulip"]))
    assert settled.outdated.sort_by("uri").equals(stored.sort_by("uri"))


def test_an_image_that_only_seemed_to_be_moved_replaces_nothing(tmp_path: Path):
    table = table_of(tmp_path, [ROSE])
    settled = settle(table, Wish("/new", "other", replaces="/rose"))
    assert settled.counts == counts(inferred=1, rows=1) and leaving(settled) == []


def test_a_row_is_replaced_by_one_image(tmp_path: Path):
    """Of three that have its bytes one was moved, and the others are copies."""
    table = table_of(tmp_path, [ROSE], [Stored("/tulip", "tulip")])
    wishes = [Wish("/1", "rose"), Wish("/2", "rose", replaces="/rose"), Wish("/3", "rose", replaces="/tulip")]
    settled = settle(table, *wishes)
    assert settled.counts == counts(moved=1, same_bytes=2) and leaving(settled) == ["/rose"]


def test_several_rows_of_the_same_bytes_are_replaced_by_as_many_images(tmp_path: Path):
    table = table_of(tmp_path, [ROSE, Stored("/rose-2", "rose")])
    wishes = [Wish("/1", "rose", replaces="/rose"), Wish("/2", "rose", replaces="/rose-2")]
    settled = settle(table, *wishes)
    assert settled.counts == counts(moved=2) and leaving(settled) == ["/rose", "/rose-2"]


def test_an_image_with_a_row_of_its_own_replaces_no_other(tmp_path: Path):
    """It was moved onto another: that the old name is gone, the run finds out when all slices are done."""
    table = table_of(tmp_path, [ROSE, Stored("/tulip", "tulip"), Stored("/lily", "lily")])
    settled = settle(table, Wish("/tulip", "rose", replaces="/tulip"), Wish("/new", "new", replaces="/rose"))
    assert settled.counts == counts(inferred=1, rows=1, same_bytes=1) and leaving(settled) == ["/tulip"]


def test_what_only_is_said_of_an_image_is_changed_without_reading_it(tmp_path: Path):
    facts = TableFacts(**{**vars(FACTS), "groups": True})
    stored = [Stored("/rose", "rose", 2, group="g", run_id="run-0"), Stored("/tulip", "tulip", 2)]
    table = table_of(tmp_path, stored, facts=facts)
    wishes = [
        Wish("/rose", "rose", COPY, "/rose", labels=("x", "y"), group="h"),
        Wish("/tulip", "tulip", COPY, "/tulip", labels=()),
    ]
    assert work_of(table, wishes, 2).images == []
    settled = settle(table, *wishes, views=2)
    assert settled.counts == counts(relabelled=2) and leaving(settled) == ["/rose", "/tulip"]
    assert rows(settled, "uri", "view", "labels", "group", "split", "run_id", "extracted_at") == [
        *(("/rose", view, ["x", "y"], "h", "train", "run-0", NOON) for view in range(3)),
        *(("/tulip", view, [], None, "train", "run-1", NOON) for view in range(3)),
    ]


@pytest.mark.parametrize("action", [COPY, READ])
def test_views_of_an_image_that_leaves_the_training_images_leave(tmp_path: Path, action: str):
    table = table_of(tmp_path, [Stored("/rose", "rose", 2)])
    settled = settle(table, Wish("/rose", "rose", action, "/rose", split="test"), views=2)
    assert settled.counts == (counts(relabelled=1) if action == COPY else counts(touched=1))
    assert rows(settled, "uri", "view", "split") == [("/rose", 0, "test")] and leaving(settled) == ["/rose"]


def test_views_of_an_image_that_comes_to_the_training_images_are_inferred(tmp_path: Path):
    table = table_of(tmp_path, [ROSE._replace(split="test")])
    settled = settle(table, Wish("/rose", "rose", replaces="/rose", split="train"), views=2)
    assert settled.counts == counts(inferred=1, rows=2)
    assert rows(settled, "view", "split", "run_id") == [
        (0, "train", "run-1"),
        (1, "train", "run-2"),
        (2, "train", "run-2"),
    ]
    assert settled.decodings == {"run-1": 0, "run-2": DECODING}


@pytest.mark.parametrize("given", [None, "train+validation"])
def test_splits_that_are_cut_by_hash_say_which_images_have_views(tmp_path: Path, given: str | None):
    facts = TableFacts(**{**vars(FACTS), "groups": True})
    wishes = [
        Wish(f"/{number}", str(number), split=given, group=f"g{number % 7}" if number % 2 else None)
        for number in range(20)
    ]
    settled = settle(table_of(tmp_path, facts=facts), *wishes, views=1)
    splits = {wish.uri: assign_split(id_of(wish.content), given, wish.group) for wish in wishes}
    assert len(set(splits.values())) > 1
    expected = [
        (uri, view, split)
        for uri, split in sorted(splits.items())
        for view in range(2 if split == "train" else 1)
    ]
    assert rows(settled, "uri", "view", "split") == expected
    assert settled.counts == counts(inferred=20, rows=len(expected))


def test_of_more_views_only_those_that_lack_are_inferred(tmp_path: Path):
    table = table_of(tmp_path, [Stored("/rose", "rose", 1), Stored("/t", "tulip", split="test")])
    settled = settle(table, Wish("/rose", "rose", replaces="/rose"), Wish("/copy", "tulip"), views=3)
    assert settled.counts == counts(inferred=2, rows=2 + 3)
    assert rows(settled, "uri", "view", "run_id") == [
        ("/copy", 0, "run-1"),
        *(("/copy", view, "run-2") for view in (1, 2, 3)),
        ("/rose", 0, "run-1"),
        ("/rose", 1, "run-1"),
        ("/rose", 2, "run-2"),
        ("/rose", 3, "run-2"),
    ]


def test_more_views_than_an_image_is_to_have_are_left(tmp_path: Path):
    """Of the same bytes a training image has three, and a test image shows itself."""
    table = table_of(tmp_path, [Stored("/rose", "rose", 3)])
    settled = settle(table, Wish("/copy", "rose", split="test"), Wish("/few", "rose"), views=2)
    assert settled.counts == counts(same_bytes=2)
    assert rows(settled, "uri", "view") == [("/copy", 0), *(("/few", view) for view in range(3))]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_views_of_one_image_may_be_inferred_for_two_of_a_slice(tmp_path: Path, order: tuple[int, int]):
    """A test image has no views, and one for training with the same bytes has them."""
    wishes = Wish("/test", "twin", split="test"), Wish("/train", "twin")
    settled = settle(table_of(tmp_path), *wishes, views=2, order=order)
    assert rows(settled, "uri", "view") == [("/test", 0), ("/train", 0), ("/train", 1), ("/train", 2)]
    inferred = 2 if order == (0, 1) else 1
    assert settled.counts == counts(inferred=inferred, rows=3, same_bytes=2 - inferred)


def test_an_image_that_is_made_anew_is_inferred_whatever_is_stored(tmp_path: Path):
    """With its twin, which has the same bytes, in one go; a copy that is new takes what is stored."""
    table = table_of(tmp_path, [Stored("/rose", "rose", 1), Stored("/rose-2", "rose", 1)])
    wishes = (
        Wish("/rose", "rose", REDO, "/rose"),
        Wish("/rose-2", "rose", REDO, "/rose-2"),
        Wish("/new", "rose"),
    )
    settled = settle(table, *wishes, views=1)
    assert settled.counts == counts(inferred=1, rows=2, same_bytes=2)
    assert leaving(settled) == ["/rose", "/rose-2"]
    assert rows(settled, "uri", "view", "run_id") == [
        *(("/new", view, "run-1") for view in range(2)),
        *((uri, view, "run-2") for uri in ("/rose", "/rose-2") for view in range(2)),
    ]


def test_rejected_images_are_told_with_their_reasons(tmp_path: Path):
    table = table_of(tmp_path, [ROSE], rejected=[BAD])
    wishes = [
        Wish("/rose", "broken", replaces="/rose", size=7, modified_at=NOW),
        Wish("/bad", "still bad", replaces="/bad"),
        Wish("/no-file", "", size=None, modified_at=None),
        Wish("/good", "good"),
    ]
    bad = {"broken": CORRUPT, "still bad": CORRUPT, "/no-file": GONE}
    settled = settle(table, *wishes, bad=bad)
    names = ("uri", "reason", "detail", "size", "modified_at", "run_id", "rejected_at")
    assert settled.rejected.to_pylist() == [
        dict(zip(names, row, strict=True))
        for row in (
            ("/rose", *CORRUPT, 7, NOW, "run-2", NOW),
            ("/bad", *CORRUPT, 100, NOON, "run-2", NOW),
            ("/no-file", *GONE, None, None, "run-2", NOW),
        )
    ]
    assert rows(settled, "uri") == [("/good",)] and leaving(settled) == ["/bad", "/rose"]
    assert settled.counts == counts(inferred=1, rows=1)


def test_a_rejected_image_that_is_good_now_leaves_the_rejections(tmp_path: Path):
    table = table_of(tmp_path, [ROSE], rejected=[BAD, BAD._replace(uri="/bad-2")])
    settled = settle(table, Wish("/bad", "good", replaces="/bad"), Wish("/bad-2", "rose", replaces="/bad-2"))
    assert settled.counts == counts(inferred=1, rows=1, same_bytes=1)
    assert leaving(settled) == ["/bad", "/bad-2"]
    assert settled.outdated.column("image_id").null_count == 2


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_twins_of_a_rejected_image_are_rejected(tmp_path: Path, order: tuple[int, ...]):
    """Only one of them was decoded. What was moved then leaves no row behind, and takes none away."""
    table = table_of(tmp_path, [ROSE])
    wishes = Wish("/a", "broken"), Wish("/b", "broken", replaces="/rose"), Wish("/c", "good")
    settled = settle(table, *wishes, bad={"broken": CORRUPT}, order=order)
    found = [tuple(row.values()) for row in settled.rejected.select(["uri", "reason", "detail"]).to_pylist()]
    assert found == [("/a", *CORRUPT), ("/b", *CORRUPT)]
    assert rows(settled, "uri") == [("/c",)] and leaving(settled) == []
    assert settled.counts == counts(inferred=1, rows=1)


def test_a_twin_that_takes_nothing_from_a_rejected_image_is_stored(tmp_path: Path):
    """Its views lack for a training image alone, and can't be made since the decoding was mended."""
    table = table_of(tmp_path, [ROSE._replace(split="test")])
    wishes = Wish("/train", "rose"), Wish("/test", "rose", split="test"), Wish("/train-2", "rose")
    settled = settle(table, *wishes, views=1, bad={"rose": CORRUPT})
    assert sorted(settled.rejected.column("uri").to_pylist()) == ["/train", "/train-2"]
    assert rows(settled, "uri", "view") == [("/test", 0)] and settled.counts == counts(same_bytes=1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_a_rejected_image_no_view_is_stored(tmp_path: Path, order: tuple[int, int]):
    """The views of one come from two images of a slice, and only one of these gives any."""
    wishes = Wish("/test", "twin", split="test"), Wish("/train", "twin")
    bad = {"views of /test" if order == (0, 1) else "views of /train": ("not_finite", "NaN")}
    settled = settle(table_of(tmp_path), *wishes, views=2, bad=bad, order=order)
    assert settled.rejected.column("uri").to_pylist() == ["/test", "/train"]
    assert len(settled.features) == 0 and settled.counts == NOTHING


def test_one_whose_file_is_gone_costs_its_twins_nothing(tmp_path: Path):
    settled = settle(table_of(tmp_path), Wish("/a", "rose"), Wish("/b", "rose"), bad={"/a": GONE})
    assert rows(settled, "uri") == [("/b",)] and settled.counts == counts(inferred=1, rows=1)


def test_a_slice_of_which_nothing_is_good_brings_rejections_alone(tmp_path: Path):
    settled = settle(table_of(tmp_path), Wish("/a", "a"), bad={"a": CORRUPT}, views=1)
    assert len(settled.features) == 0 and settled.decodings == {} and settled.counts == NOTHING


def test_all_kinds_of_images_settle_in_one_slice(tmp_path: Path):
    """Those that are copied are none of the extractor's; places count without them."""
    stored = [Stored(f"/{name}", name, 1) for name in ("copied", "touched", "moved", "redone", "changed")]
    table = table_of(tmp_path, stored[:2], stored[2:], rejected=[BAD])
    wishes = [
        Wish("/copied", "copied", COPY, "/copied", labels=("z",)),
        Wish("/touched", "touched", replaces="/touched", modified_at=NOW),
        Wish("/new", "new"),
        Wish("/elsewhere", "moved", replaces="/moved"),
        Wish("/bad", "bad", replaces="/bad"),
        Wish("/redone", "redone", REDO, "/redone"),
        Wish("/changed", "new", replaces="/changed"),
    ]
    assert work_of(table, wishes, 1).images == [wish.uri for wish in wishes[1:]]
    settled = settle(table, *wishes, views=1, bad={"bad": CORRUPT})
    assert settled.counts == counts(inferred=2, rows=4, moved=1, touched=1, same_bytes=1, relabelled=1)
    assert leaving(settled) == ["/bad", "/changed", "/copied", "/moved", "/redone", "/touched"]
    assert settled.decodings == {"run-1": 0, "run-2": DECODING}


def test_decodings_of_what_is_taken_over_are_kept(tmp_path: Path):
    """Of the runs whose rows are taken over, and of no other run in that part."""
    table = table_of(tmp_path)
    images = [Stored(f"/{run}", run, run_id=run) for run in ("older", "newer", "unused", "unknown")]
    add(table, part_of(table, images, {"older": 3, "newer": 4, "unused": 5}))
    wishes = [Wish(f"/copy-{name}", name) for name in ("older", "newer", "unknown", "new")]
    settled = settle(feature_store.open(tmp_path), *wishes)
    assert settled.decodings == {"older": 3, "newer": 4, "unknown": 0, "run-2": DECODING}


def test_a_file_that_changes_while_it_is_read_twice_has_the_bytes_of_the_last_time(tmp_path: Path):
    """A process that decodes images on its own may end, and another one reads the image again."""
    table = table_of(tmp_path, [ROSE])
    work = work_of(table, [Wish("/new", "new")])
    assert tuple(work.views.choose(0, id_of("rose"))) == ()
    assert tuple(work.views.choose(0, id_of("new"))) == (0,)
    assert tuple(work.views.choose(0, id_of("new"))) == (0,)


def test_threads_that_ask_at_once_share_each_view_out_once(tmp_path: Path):
    twins = 64
    work = work_of(table_of(tmp_path), [Wish(f"/{n}", str(n % 2)) for n in range(twins)], views=3)
    barrier = threading.Barrier(8)

    def choose(first: int) -> list[tuple[int, int]]:
        barrier.wait()
        return [
            (place % 2, view)
            for place in range(first, twins, 8)
            for view in work.views.choose(place, id_of(str(place % 2)))
        ]

    switched_every = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            chosen = [pair for pairs in pool.map(choose, range(8)) for pair in pairs]
    finally:
        sys.setswitchinterval(switched_every)
    assert sorted(chosen) == [(content, view) for content in range(2) for view in range(4)]


def test_an_extractor_is_asked_for_no_more_views_than_there_may_be(tmp_path: Path):
    table = table_of(tmp_path)
    none, some = work_of(table, [Wish("/a", "a")]).views, work_of(table, [Wish("/a", "a")], 3).views
    assert (none.most, none.augmentation) == (1, None)
    assert (some.most, some.augmentation) == (4, Augmentation())


def test_photos_end_in_the_rows_of_a_table_that_is_made_anew(tmp_path: Path, photos: Path, tiny: str):
    """Two runs of a real extractor: copies, moves and a new class, then against one run over it all."""
    first = shutil.copytree(photos, tmp_path / "photos")
    extractor = Extractor("random", backbone=tiny)
    table = feature_store.create(tmp_path / "store", "inception_v3", facts_of_tiny(first, extractor))
    assert extract_all(table, first, extractor, 1) == counts(inferred=20, rows=20 + trained(table))
    shutil.copyfile(first / "rose/00.jpg", first / "daisy/copy.jpg")
    (first / "daisy/01.jpg").rename(first / "rose/moved.jpg")
    (first / "rose/02.jpg").touch()
    newest = feature_store.open(tmp_path / "store")
    did = extract_all(newest, first, extractor, 1)
    assert did == counts(moved=1, touched=1, same_bytes=1)
    more = extract_all(feature_store.open(tmp_path / "store"), first, extractor, 3)
    newest = feature_store.open(tmp_path / "store")
    # The copy takes over the views of the image that it shows.
    images = newest.metadata(["image_id", "split"], views=0).filter(pc.field("split") == "train")
    assert more["rows"] == 2 * len(images.column("image_id").unique()) and more["moved"] == 0

    anew = feature_store.create(tmp_path / "anew", "inception_v3", facts_of_tiny(first, extractor))
    extract_all(anew, first, extractor, 3)
    rows, expected = (all_rows(feature_store.open(tmp_path / name)) for name in ("store", "anew"))
    assert rows.drop_columns(["avg_pool"]).equals(expected.drop_columns(["avg_pool"]))
    stored, made = (np.array(one.column("avg_pool").to_pylist()) for one in (rows, expected))
    np.testing.assert_allclose(stored, made, rtol=1e-4, atol=1e-6)


def facts_of_tiny(folder: Path, extractor: Extractor) -> TableFacts:
    return TableFacts(str(folder), "random", extractor.layers, extractor.recipe)


def trained(table: FeatureTable) -> int:
    newest = feature_store.open(table.store)
    return len(newest.metadata(["split"], views=0).filter(pc.field("split") == "train"))


def all_rows(table: FeatureTable) -> pa.Table:
    rows = table.metadata()
    X, _ = table.matrix()
    rows = rows.append_column("avg_pool", pa.array(list(X), pa.list_(pa.float32())))
    rows = rows.drop_columns(["extracted_at", "run_id"])
    return rows.sort_by([("uri", "ascending"), ("view", "ascending")])


def extract_all(table: FeatureTable, folder: Path, extractor: Extractor, views: int) -> dict[str, int]:
    """One slice of all that there is to do, settled and committed; what was done."""
    plan = make_plan(list_images(str(folder)).images, table, views=views)
    (rows,) = plan.slices(4096)
    work = SliceWork(rows, table, Header(table.name, plan.basis, views, Augmentation().to_dict()))
    batches = extractor.extract(work.images, views=work.views)
    run_id = f"run-{table.version}"
    settled = work.settle(pa.Table.from_batches(batches, extractor.schema), run_id, NOW)
    part = write_part(
        table.folder, settled.features.to_batches(), table.facts.schema, settled.decodings, run_id=run_id
    )
    change = Change(f"{run_id}/0", run_id, plan.basis, settled.outdated)
    commit(table.store, table.name, change, {"decoding": DECODING}, part=part)
    return settled.counts
