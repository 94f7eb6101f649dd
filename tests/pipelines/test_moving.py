"""Images that were moved: rows that slices left behind, and an input that was moved as a whole."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from features import store as feature_store
from features.augmentation import Augmentation
from features.errors import BottleneckError, MadeAnotherWay
from features.inputs import LISTING_SCHEMA, Listing, list_images
from features.store.commit import Change, commit, rejected_rows, set_augmentation
from features.store.conflicts import STORED_SCHEMA
from features.store.parts import write_part
from features.store.schema import REJECTED_SCHEMA, TableFacts
from features.store.table import FeatureTable
from pipelines.moving import move_data, remove_moved
from pipelines.options import ExtractOptions
from pipelines.planning import Plan, make_plan
from pipelines.runs import Header, Run
from pipelines.settling import SliceWork
from tests.contents import FACTS, Stored, Wish, extracted, id_of, part_of, table_of
from tests.tables import NOON, Rejected, add

LATER = NOON + datetime.timedelta(seconds=1)
BAD = Rejected("/bad", "corrupt", "no image in it", 100, 1_700_000_000_000_000)
ROSE, TULIP = Stored("/rose", "rose"), Stored("/tulip", "tulip")


def planned(table: FeatureTable, *files: Wish, views: int = 0) -> tuple[Plan, Run]:
    """A plan for an input of these files, each slice of which replaces rows of one part; its run."""
    listed = pa.Table.from_pylist([file._asdict() for file in files], LISTING_SCHEMA)
    plan, run = make_plan(listed, table, views=views), Run(table.store, "run-2")
    if plan.todo:
        run.plan_path.parent.mkdir(parents=True)
        made = table.augmentation.to_dict() if table.augmentation else None
        run.write_plan(Header(table.name, plan.basis, views, made), plan.slices(1))
    return plan, run


def settle(run: Run, *files: Wish, bad: Sequence[str] = ()) -> None:
    """What workers do: each slice is settled and committed."""
    header = run.header()
    assert header is not None
    for number in range(run.slices()):
        table = feature_store.open(run.store)
        work = SliceWork(run.slice(number), table, header)
        settled = work.settle(
            extracted(work, files, dict.fromkeys(bad, ("corrupt", "no image in it"))), run.run_id, LATER
        )
        part, rejected = (
            write_part(folder, rows.to_batches(), schema, run_id=run.run_id) if len(rows) else None
            for folder, rows, schema in (
                (table.folder, settled.features, table.facts.schema),
                (table.rejected_folder, settled.rejected, REJECTED_SCHEMA),
            )
        )
        change = Change(f"{run.run_id}/{number}", run.run_id, header.basis, settled.outdated)
        commit(run.store, table.name, change, {}, part=part, rejected=rejected)


def after_a_run(table: FeatureTable, *files: Wish, bad: Sequence[str] = ()) -> list[str]:
    """The uris that are missing from the input when all is done."""
    plan, run = planned(table, *files)
    settle(run, *files, bad=bad)
    missing = remove_moved(plan, run)
    assert missing.schema == STORED_SCHEMA
    return sorted(missing.column("uri").to_pylist())


def uris(store: Path) -> list[str]:
    return sorted(feature_store.open(store).metadata(["uri"], views=0).column("uri").to_pylist())


def test_what_a_slice_knew_of_it_has_replaced(tmp_path: Path):
    table = table_of(tmp_path, [ROSE, TULIP])
    assert after_a_run(table, Wish("/tulip", "tulip"), Wish("/b/rose", "rose")) == []
    assert uris(tmp_path) == ["/b/rose", "/tulip"]
    assert feature_store.open(tmp_path).version == table.version + 1


def test_rows_are_removed_whose_images_another_slice_found(tmp_path: Path):
    """Two of one size: by their times of change the plan takes each for the other, in slices of their own."""
    table = table_of(tmp_path, [ROSE], [TULIP._replace(modified_at=LATER)])
    files = Wish("/b/rose", "rose", modified_at=LATER), Wish("/b/tulip", "tulip")
    plan, run = planned(table, *files)
    assert run.slices() == 2 and plan.moved == 2
    settle(run, *files)
    assert uris(tmp_path) == ["/b/rose", "/b/tulip", "/rose", "/tulip"]
    assert len(remove_moved(plan, run)) == 0
    newest = feature_store.open(tmp_path)
    assert uris(tmp_path) == ["/b/rose", "/b/tulip"]
    assert newest.delta.history()[0]["change"] == "run-2/moved"
    assert len(remove_moved(plan, run)) == 0
    assert feature_store.open(tmp_path).version == newest.version


def test_views_leave_with_their_image(tmp_path: Path):
    table = table_of(
        tmp_path,
        [ROSE._replace(views=2), TULIP._replace(size=7)],
        [TULIP._replace(uri="/t", views=1, size=7)],
    )
    files = Wish("/b/rose", "rose", size=7), Wish("/tulip", "tulip", size=7), Wish("/t", "tulip", size=7)
    plan, run = planned(table, *files, views=2)
    settle(run, *files)
    assert len(remove_moved(plan, run)) == 0
    assert uris(tmp_path) == ["/b/rose", "/t", "/tulip"]
    found = feature_store.open(tmp_path).metadata(["uri", "view"]).to_pylist()
    assert len(found) == 3 * 3


def test_a_row_is_removed_for_one_image_and_each_image_once(tmp_path: Path):
    """Three of the same bytes are missing, and two came."""
    table = table_of(tmp_path, *([Stored(f"/{number}", "rose")] for number in range(3)))
    assert after_a_run(table, Wish("/a", "rose"), Wish("/b", "rose")) == ["/2"]
    assert uris(tmp_path) == ["/2", "/a", "/b"]


def test_of_rows_that_slices_left_as_many_are_removed_as_images_came(tmp_path: Path):
    """The sizes say nothing, and no slice knew of any."""
    images = [Stored(f"/{number}", "rose", size=number) for number in range(3)]
    table = table_of(tmp_path, images, [TULIP])
    assert after_a_run(table, Wish("/tulip", "tulip"), Wish("/a", "rose"), Wish("/b", "rose")) == ["/2"]
    assert uris(tmp_path) == ["/2", "/a", "/b", "/tulip"]


def test_of_rows_some_are_replaced_by_slices_and_others_removed(tmp_path: Path):
    """Of three images that came each stands for one row; so does the one whose slice has replaced a row."""
    table = table_of(tmp_path, [ROSE], [Stored("/2", "rose", size=2), Stored("/3", "rose", size=3)], [TULIP])
    files = [Wish(f"/{name}", "rose") for name in "abc"]
    assert after_a_run(table, Wish("/tulip", "tulip"), *files) == []
    assert uris(tmp_path) == ["/a", "/b", "/c", "/tulip"]


def test_views_are_no_images_that_came(tmp_path: Path):
    images = [Stored("/1", "rose", 1, size=1), Stored("/2", "rose", 1, size=2), TULIP._replace(views=1)]
    table = set_augmentation(table_of(tmp_path, images), Augmentation())
    files = Wish("/tulip", "tulip"), Wish("/a", "rose")
    plan, run = planned(table, *files, views=1)
    settle(run, *files)
    assert remove_moved(plan, run).column("uri").to_pylist() == ["/2"]
    assert uris(tmp_path) == ["/2", "/a", "/tulip"]


@pytest.mark.parametrize("rose", [{}, {"modified_at": LATER}, {"labels": ("z",)}, {"split": "test"}])
def test_a_copy_that_was_deleted_was_not_moved(tmp_path: Path, rose: dict[str, object]):
    """The other file of the same bytes was there before, whatever is said of it now."""
    table = table_of(tmp_path, [ROSE, Stored("/copy", "rose")])
    files = Wish("/rose", "rose")._replace(**rose), Wish("/new", "new", size=7)  # type: ignore[arg-type]
    assert after_a_run(table, *files) == ["/copy"]
    assert uris(tmp_path) == ["/copy", "/new", "/rose"]


def test_an_image_of_other_bytes_is_missing(tmp_path: Path):
    table = table_of(tmp_path, [ROSE], [TULIP])
    assert after_a_run(table, Wish("/new", "new"), Wish("/tulip", "tulip")) == ["/rose"]
    assert uris(tmp_path) == ["/new", "/rose", "/tulip"]


@pytest.mark.parametrize("stored", [[ROSE, TULIP], [ROSE]])
def test_an_image_may_be_moved_onto_another(tmp_path: Path, stored: list[Stored]):
    """`mv rose tulip`: the row of the one, or its rejection, is replaced, and that of the other removed."""
    rejected = [] if TULIP in stored else [BAD._replace(uri="/tulip")]
    table = table_of(tmp_path, stored, rejected=rejected)
    assert after_a_run(table, Wish("/tulip", "rose", modified_at=LATER)) == []
    assert uris(tmp_path) == ["/tulip"] and len(rejected_rows(feature_store.open(tmp_path))) == 0


def test_an_image_that_was_rejected_under_its_new_name_was_not_moved(tmp_path: Path):
    table = table_of(tmp_path, [ROSE])
    assert after_a_run(table, Wish("/b/rose", "broken"), bad=["broken"]) == ["/rose"]
    assert uris(tmp_path) == ["/rose"]


def test_rejections_that_are_missing_stay_missing(tmp_path: Path):
    """No bytes are known of them."""
    table = table_of(tmp_path, [ROSE], rejected=[BAD, BAD._replace(uri="/bad-2")])
    files = Wish("/b/rose", "rose"), Wish("/b/bad", "bad")
    plan, run = planned(table, *files)
    settle(run, *files, bad=["bad"])
    missing = remove_moved(plan, run)
    assert missing.sort_by("uri").to_pylist() == [
        row for row in plan.missing_from_input.sort_by("uri").to_pylist() if row["image_id"] is None
    ]
    assert [row["uri"] for row in missing.sort_by("uri").to_pylist()] == ["/bad", "/bad-2"]
    assert len(rejected_rows(feature_store.open(tmp_path))) == 3


def test_without_anything_to_settle_nothing_is_looked_for(tmp_path: Path):
    """A run that has nothing to do reads no rows once more."""
    table = table_of(tmp_path, [ROSE, TULIP], rejected=[BAD])
    plan, run = planned(table, Wish("/rose", "rose"))
    assert plan.todo == 0
    for path in [*table.paths, *table.rejected_paths]:
        os.remove(path)
    missing = remove_moved(plan, run)
    assert missing.equals(plan.missing_from_input) and len(missing) == 2


def test_with_nothing_missing_nothing_is_looked_for(tmp_path: Path):
    table = table_of(tmp_path, [ROSE])
    plan, run = planned(table, Wish("/rose", "rose"), Wish("/new", "new"))
    os.remove(table.paths[0])
    assert remove_moved(plan, run).equals(STORED_SCHEMA.empty_table())


def test_what_others_removed_meanwhile_is_not_missing_and_stands_for_an_image(tmp_path: Path):
    """Of two rows and one new image, another run has removed one: which one, for whom, nobody can tell."""
    table = table_of(tmp_path, [ROSE._replace(size=1)], [Stored("/rose-2", "rose", size=2)], [TULIP])
    files = Wish("/a", "rose"), Wish("/tulip", "tulip")
    plan, run = planned(table, *files)
    settle(run, *files)
    add(feature_store.open(tmp_path), replacing=["/rose"], run_id="other")
    assert remove_moved(plan, run).column("uri").to_pylist() == ["/rose-2"]
    assert uris(tmp_path) == ["/a", "/rose-2", "/tulip"]


def test_what_others_stored_under_the_old_name_meanwhile_stays(tmp_path: Path):
    """An image came under that name again."""
    table = table_of(tmp_path, [ROSE._replace(size=1)], [TULIP])
    files = Wish("/a", "rose"), Wish("/tulip", "tulip")
    plan, run = planned(table, *files)
    settle(run, *files)
    newest = feature_store.open(tmp_path)
    again = part_of(newest, [Stored("/rose", "another", run_id="other", modified_at=LATER)])
    add(newest, again, replacing=["/rose"], run_id="other")
    assert len(remove_moved(plan, run)) == 0
    assert uris(tmp_path) == ["/a", "/rose", "/tulip"]
    ids = feature_store.open(tmp_path).metadata(["image_id"]).column("image_id").to_pylist()
    assert id_of("another") in ids


def test_what_is_under_the_old_name_again_is_not_missing(tmp_path: Path):
    """Another run has stored an image there, and this one's was not moved."""
    table = table_of(tmp_path, [ROSE], [TULIP])
    files = Wish("/new", "new"), Wish("/tulip", "tulip")
    plan, run = planned(table, *files)
    settle(run, *files)
    newest = feature_store.open(tmp_path)
    again = part_of(newest, [Stored("/rose", "another", run_id="other", modified_at=LATER)])
    add(newest, again, replacing=["/rose"], run_id="other")
    assert len(remove_moved(plan, run)) == 0
    assert uris(tmp_path) == ["/new", "/rose", "/tulip"]


def data_folder(folder: Path) -> Listing:
    for name in ("rose/1.png", "rose/2.png", "tulip/3.png", "rose/bad.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return list_images(str(folder))


def data_list(path: Path, images: str) -> Listing:
    """A CSV file that names images from its folder, and one by its absolute path."""
    data_folder(path.parent / images)
    lines = [f"{images}/{name},{name[0]}" for name in ("rose/1.png", "rose/2.png", "rose/bad.png")]
    far = path.parents[1] / "far.png"
    far.write_text("far")
    path.write_text("\n".join([*lines, f"{far},r"]))
    return list_images(str(path))


def table_of_input(store: Path, listing: Listing) -> FeatureTable:
    """A table of an input, of which one image was rejected."""
    rows = listing.images.to_pylist()
    images = [
        Stored(row["uri"], row["uri"], 0, row["size"], row["modified_at"], row["labels"], row["split"])
        for row in rows
        if "bad" not in row["uri"]
    ]
    (bad,) = (row for row in rows if "bad" in row["uri"])
    modified_at = round(bad["modified_at"].timestamp() * 1_000_000)
    rejected = [Rejected(bad["uri"], "corrupt", "no image in it", bad["size"], modified_at)]
    facts = dataclasses.replace(FACTS, source=listing.source)
    table = table_of(store, images, rejected=rejected, facts=facts)
    add(table, run_id="run-1", facts={"decoding": 99}, slice=9)  # or it would be tried once more
    return feature_store.open(store)


def move(table: FeatureTable | None, listing: Listing, old: Path | str, store: Path) -> FeatureTable:
    options = ExtractOptions(data=listing.source, data_moved_from=str(old), features="inception_v3")
    return move_data(table, listing, options, Run(store, "run-9"))


def differs(listing: Listing, table: FeatureTable) -> list[int]:
    """How many images there are to settle, and how many are missing: none where all is as it was."""
    plan = make_plan(listing.images, table)
    return [plan.todo, len(plan.missing_from_input)]


@pytest.mark.parametrize("new", ["new", "data/v1", "."])
def test_a_folder_that_was_moved_has_nothing_to_do(tmp_path: Path, new: str):
    table = table_of_input(tmp_path / "store", data_folder(tmp_path / "at/data"))
    target = (tmp_path / "at" / new).resolve()
    for name in ("rose", "tulip"):
        target.mkdir(parents=True, exist_ok=True)
        (tmp_path / "at/data" / name).rename(target / name)
    listing = list_images(str(target))
    assert differs(listing, table) == [4, 4]
    newest = move(table, listing, tmp_path / "at/data/", table.store)
    assert newest.source == str(target) == feature_store.open(table.store).source
    assert differs(listing, newest) == [0, 0]


@pytest.mark.parametrize("new", ["new/list.csv", "data/renamed.csv", "new/renamed.csv"])
def test_a_list_that_was_moved_with_its_images_has_nothing_to_do(tmp_path: Path, new: str):
    """An image that lies elsewhere stays where it is."""
    table = table_of_input(tmp_path / "store", data_list(tmp_path / "data/list.csv", "images"))
    if "new" in new:
        (tmp_path / "data").rename(tmp_path / "new")
    ((tmp_path / new).parent / "list.csv").rename(tmp_path / new)
    listing = list_images(str(tmp_path / new))
    newest = move(table, listing, tmp_path / "data/list.csv", table.store)
    assert differs(listing, newest) == [0, 0] and newest.source == str(tmp_path / new)
    assert str(tmp_path / "far.png") in uris(table.store)


def test_what_was_moved_is_not_moved_again(tmp_path: Path):
    """The option may stand in a script, whatever the old folder's name has become."""
    listing = data_folder(tmp_path / "data")
    table = table_of_input(tmp_path / "store", listing)
    assert move(table, listing, "https://example.invalid/old", table.store) is table


def test_a_table_of_another_input_is_not_moved(tmp_path: Path):
    table = table_of_input(tmp_path / "store", data_folder(tmp_path / "data"))
    with pytest.raises(MadeAnotherWay) as error:
        move(table, data_folder(tmp_path / "new"), tmp_path / "other", table.store)
    assert str(error.value) == (
        f"`data_moved_from={tmp_path / 'other'}`: table 'inception_v3' was made from {tmp_path / 'data'}"
    )
    assert feature_store.open(table.store).version == table.version


def test_there_is_a_table_to_be_moved(tmp_path: Path):
    with pytest.raises(BottleneckError) as error:
        move(None, data_folder(tmp_path / "data"), tmp_path / "old", tmp_path)
    assert str(error.value) == (
        f"`data_moved_from={tmp_path / 'old'}`: there is no table 'inception_v3' to move"
    )


def test_a_table_that_another_run_is_at_work_on_is_not_moved(tmp_path: Path):
    """It would bring rows of the old uris. One whose turn is later sees the new ones."""
    table = table_of_input(tmp_path / "store", data_folder(tmp_path / "data"))
    (tmp_path / "data").rename(tmp_path / "new")
    listing = list_images(str(tmp_path / "new"))
    with (
        Run(table.store, "run-1").kept_alive(table.name, local=True),
        pytest.raises(BottleneckError) as error,
    ):
        move(table, listing, tmp_path / "data", table.store)
    assert str(error.value) == ("another run is at work on table 'inception_v3': move it when that has ended")
    with Run(table.store, "run-99").kept_alive(table.name, local=True):
        assert move(table, listing, tmp_path / "data", table.store).source == str(tmp_path / "new")


def test_facts_of_the_table_but_the_source_stay(tmp_path: Path):
    listing = data_folder(tmp_path / "data")
    table = table_of_input(tmp_path / "store", listing)
    (tmp_path / "data").rename(tmp_path / "new")
    newest = move(table, list_images(str(tmp_path / "new")), tmp_path / "data", table.store)
    assert newest.facts == TableFacts(**{**vars(table.facts), "source": str(tmp_path / "new")})
