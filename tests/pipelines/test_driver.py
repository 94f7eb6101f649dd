"""Whole extractions: real images, a real pipeline, real tables; a small network with random weights."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.decodings import DECODING
from features.downloads import cache_dir
from features.errors import BottleneckError, InputShrunk
from features.extractor import InceptionV3
from features.inputs import list_images
from features.splits import SPLITS, TRAIN_AND_VALIDATION, assign_split
from features.store.commit import rejected_rows
from features.store.parts import read_decodings, write_part
from features.store.schema import IMAGE_COLUMNS
from features.store.table import FeatureTable
from pipelines.cli import main
from pipelines.driver import extract
from pipelines.options import ExtractOptions, InfoOptions
from pipelines.output import info_text, summary_text
from pipelines.planning import make_plan
from pipelines.runs import Header, Run
from pipelines.summary import Summary
from tests.conftest import photo
from tests.tiny import BACKBONE, SHA256, weights_file

pytestmark = pytest.mark.usefixtures("tiny")


def run(data: Path, store: Path, **options: Any) -> Summary:
    settings = {"weights": "random", "precision": "float32", "engine": "openvino", "backbone": "tiny"}
    return extract(ExtractOptions(data=str(data), store=str(store), **{**settings, **options}))


def open_table(store: Path, version: int | None = None) -> FeatureTable:
    return feature_store.open(store, "tiny", version=version)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three good photos of two classes."""
    for number, label in enumerate(["daisy", "daisy", "rose"]):
        folder = tmp_path / "data" / label
        folder.mkdir(parents=True, exist_ok=True)
        photo(number).save(folder / f"{number}.jpg")
    return tmp_path / "data"


@pytest.fixture
def messy(data: Path) -> Path:
    """The same, and one of everything that goes wrong."""
    daisy = data / "daisy"
    whole = (daisy / "0.jpg").read_bytes()
    (daisy / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (daisy / "text.jpg").write_text("no image at all")
    (daisy / "empty.png").touch()
    photo(7).save(daisy / "bitmap.jpg", format="BMP")
    Image.new("RGB", (1, 1), "red").save(daisy / "one_pixel.png")
    (daisy / "dangling.jpg").symlink_to(data / "nowhere.jpg")
    (daisy / "folder.jpg").mkdir()
    (data / "rose" / "same_as_0.jpg").write_bytes(whole)
    (data / "LICENSE.txt").write_text("a licence")
    return data


def test_every_image_ends_in_exactly_one_table(messy: Path, tmp_path: Path):
    summary = run(messy, tmp_path / "store", max_rejected=1.0)
    stored = summary.table.metadata().to_pylist()
    rejected = {Path(row["uri"]).name: row["reason"] for row in rejected_rows(summary.table).to_pylist()}
    assert {Path(row["uri"]).name for row in stored} == {
        "0.jpg", "1.jpg", "2.jpg", "bitmap.jpg", "one_pixel.png", "same_as_0.jpg",
    }  # fmt: skip
    assert rejected == {
        "truncated.jpg": "truncated",
        "text.jpg": "not_an_image",
        "empty.png": "empty",
        "dangling.jpg": "missing",
        "folder.jpg": "not_a_file",
    }
    assert (summary.seen, summary.stored, summary.rejected) == (11, 6, 5)
    assert summary.reasons == dict.fromkeys(rejected.values(), 1)
    assert (summary.new, summary.taken_over) == (5, {"same_bytes": 1})
    assert summary.rejected_share() == 5 / 11
    formats = {Path(row["uri"]).name: (row["format"], row["width"], row["height"]) for row in stored}
    assert formats["bitmap.jpg"] == ("bmp", 80, 60) and formats["one_pixel.png"] == ("png", 1, 1)


def test_the_same_bytes_under_two_labels_are_reported(messy: Path, tmp_path: Path):
    summary = run(messy, tmp_path / "store", max_rejected=1.0)
    assert summary.conflicts.labels == [[str(messy / "daisy/0.jpg"), str(messy / "rose/same_as_0.jpg")]]
    assert summary.conflicts.splits == []


def test_stored_features_are_those_of_the_extractor(data: Path, tmp_path: Path):
    table = run(data, tmp_path / "store", backbone="inception_v3", layers="mixed2,avg_pool").table
    uris = table.metadata(["uri"]).column("uri").to_pylist()
    expected = InceptionV3("random", layers="mixed2,avg_pool", engine="openvino").features(uris)
    for layer in ("mixed2", "avg_pool"):
        np.testing.assert_allclose(table.matrix(layers=layer)[0], expected[layer], rtol=1e-4, atol=1e-5)
    assert table.columns("avg_pool")[0].fingerprint != table.columns("mixed2")[0].fingerprint


def test_a_second_run_extracts_nothing_and_adds_no_rows(messy: Path, tmp_path: Path):
    first = run(messy, tmp_path / "store", max_rejected=1.0)
    again = run(Path("auto"), tmp_path / "store")
    assert (again.new, again.new_rejected) == (0, 0)
    assert again.table.version == first.table.version
    assert (again.stored, again.rejected, again.reasons) == (first.stored, first.rejected, first.reasons)


def test_a_run_says_what_it_finds_and_what_it_will_do(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    def said() -> list[str]:
        return [line for line in capfd.readouterr().err.splitlines() if "images/s" not in line]

    store = tmp_path / "store"
    (data / "LICENSE.txt").write_text("a licence")
    run(data, store)
    bring = (
        f"For the real ones, put {BACKBONE.weights_file} into {cache_dir() / 'models'} (or give WEIGHTS=PATH)"
    )
    assert said() == [
        f"{UNTRAINED} {bring}, and name a new table with FEATURES=NAME.",
        "Preparing Tiny for openvino …",
        "3 images of 2 classes (daisy, rose), 1 other file ignored; 3 new",
    ]
    photo(20).save(data / "rose" / "new.jpg")
    photo(21).save(data / "daisy" / "1.jpg")
    run(data, store)
    todo = "1 new, 1 changed, short of views, or tried again"
    assert said() == [UNTRAINED, f"4 images of 2 classes (daisy, rose), 1 other file ignored; {todo}"]
    assert [path.suffix for path in (store / "logs").iterdir()] == [".log"] * 2


def test_rejected_images_are_tried_again_when_that_is_asked_for(messy: Path, tmp_path: Path):
    run(messy, tmp_path / "store", max_rejected=1.0)
    again = run(messy, tmp_path / "store", retry_rejected=True)
    assert (again.seen, again.stored, again.rejected, again.new, again.new_rejected) == (11, 6, 5, 0, 5)


def test_new_changed_mended_and_lost_images(messy: Path, tmp_path: Path):
    store = tmp_path / "store"
    run(messy, store, max_rejected=1.0)
    photo(20).save(messy / "rose" / "new.jpg")
    photo(21).save(messy / "daisy" / "1.jpg")  # changed
    photo(22).save(messy / "daisy" / "text.jpg")  # mended
    (messy / "rose" / "2.jpg").write_bytes(b"broken now")
    (messy / "daisy" / "bitmap.jpg").unlink()
    summary = run(messy, store, max_rejected=1.0)
    assert (summary.new, summary.new_rejected, summary.missing_from_input) == (3, 1, 1)
    assert summary.seen == summary.stored + summary.rejected == 11
    stored = summary.table.metadata(["uri"]).column("uri").to_pylist()
    rejected = rejected_rows(summary.table).column("uri").to_pylist()
    assert len(stored) == len(set(stored)) and not set(stored) & set(rejected)
    assert str(messy / "rose/2.jpg") in rejected and str(messy / "daisy/text.jpg") in stored


def test_a_moved_image_replaces_its_row(data: Path, tmp_path: Path, prepared: list[str]):
    store = tmp_path / "store"
    first = run(data, store)
    prepared.clear()
    (data / "daisy" / "0.jpg").rename(data / "rose" / "0.jpg")
    moved = run(data, store, max_removed=0)
    assert (moved.stored, moved.missing_from_input, moved.removed, moved.new) == (3, 0, 0, 0)
    assert moved.taken_over == {"moved": 1} and prepared == [str(data / "rose" / "0.jpg")]
    rows = moved.table.metadata(["uri", "labels", "run_id"]).sort_by("uri").to_pylist()
    assert [(Path(row["uri"]).name, row["labels"], row["run_id"]) for row in rows] == [
        ("1.jpg", ["daisy"], first.run_id),
        ("0.jpg", ["rose"], first.run_id),
        ("2.jpg", ["rose"], first.run_id),
    ]
    assert moved.conflicts == ([], [], [])
    assert len(open_table(store, first.table.version).metadata()) == 3


def test_images_that_are_gone_stay_until_they_are_asked_to_go(data: Path, tmp_path: Path):
    store = tmp_path / "store"
    run(data, store)
    (data / "daisy" / "0.jpg").unlink()
    gone = run(data, store)
    assert (gone.stored, gone.missing_from_input, gone.removed) == (2, 1, 0)
    assert len(gone.table.metadata()) == 3
    mended = run(data, store, remove_gone=True)
    assert (mended.stored, mended.missing_from_input, mended.removed, mended.new) == (2, 0, 1, 0)
    assert len(mended.table.metadata()) == 2
    assert len(open_table(store, gone.table.version).metadata()) == 3


def test_an_input_that_lost_most_images_is_refused_and_nothing_is_changed(data: Path, tmp_path: Path):
    store = tmp_path / "store"
    first = run(data, store)
    for name in ("0.jpg", "1.jpg"):
        (data / "daisy" / name).unlink()
    photo(20).save(data / "rose" / "new.jpg")
    for remove_gone in (False, True):
        with pytest.raises(InputShrunk, match="^2 of the 3 images in table 'tiny' are missing from "):
            run(data, store, remove_gone=remove_gone)
    assert open_table(store).version == first.table.version
    assert list((store / "runs").iterdir()) == []
    allowed = run(data, store, remove_gone=True, max_removed=0.7)
    assert (allowed.stored, allowed.removed, allowed.new) == (2, 2, 1)


def test_the_default_layers_are_those_of_the_table(data: Path, tmp_path: Path):
    run(data, tmp_path / "store", layers="early")
    photo(20).save(data / "rose" / "new.jpg")
    again = run(data, tmp_path / "store")
    assert again.table.layers == ("early",) and again.stored == 4


def test_slices_are_commits_of_one_run(data: Path, tmp_path: Path):
    summary = run(data, tmp_path / "store", chunk_size=2)
    history = [entry for entry in summary.table.delta.history() if "run_id" in entry]
    assert sorted((entry["slice"], entry["stored"]) for entry in history) == [(0, 2), (1, 1)]
    assert {entry["run_id"] for entry in history} == {summary.run_id}
    entry = history[0]
    assert entry["engine"] == "openvino" and entry["precision_used"] == "float32"
    assert entry["recipe"] == summary.table.recipe.to_dict()
    assert entry["packages"]["apache-beam"]
    assert list((tmp_path / "store" / "runs").iterdir()) == [], "a run that is done leaves no plan"


def test_the_decoding_of_each_row_is_kept_when_its_part_is_rewritten(data: Path, tmp_path: Path):
    store = tmp_path / "store"
    first = run(data, store)
    assert first.table.decodings() == {DECODING: 3}
    assert first.table.delta.history(1)[0]["decoding"] == DECODING
    (path,) = first.table.paths
    assert read_decodings(path) == {first.run_id: DECODING}
    photo(21).save(data / "daisy" / "1.jpg")
    second = run(data, store)
    assert second.table.decodings() == {DECODING: 3}
    assert sorted(json.dumps(read_decodings(path)) for path in second.table.paths) == sorted(
        json.dumps({run_id: DECODING}) for run_id in (first.run_id, second.run_id)
    )


def test_rows_from_before_decodings_were_recorded_have_number_0(data: Path, tmp_path: Path):
    store = tmp_path / "store"
    first = run(data, store)
    old = write_part(
        tmp_path, [pq.ParquetFile(first.table.paths[0]).read().to_batches()[0]], first.table.facts.schema
    )
    shutil.copy(tmp_path / old.name, first.table.paths[0])
    table = open_table(store)
    assert table.decodings() == {0: 3}
    assert (
        f"  decoding  0 (3 rows)\n            3 images are read otherwise since number {DECODING} "
        f"(ARGS=--redo-decoding makes them anew)\n" in info_text(InfoOptions(store=str(store)))
    )
    photo(21).save(data / "daisy" / "1.jpg")
    changed = run(data, store)
    assert changed.table.decodings() == {DECODING: 1, 0: 2} and changed.stale == 2
    (data / "daisy" / "0.jpg").rename(data / "rose" / "0.jpg")
    moved = run(data, store)
    assert (moved.new, moved.stale, moved.table.decodings()) == (0, 2, {DECODING: 1, 0: 2})
    redone = run(data, store, redo_decoding=True)
    assert (redone.new, redone.table.decodings()) == (2, {DECODING: 3})
    assert run(data, store, redo_decoding=True).stale == 0


def test_each_image_is_decoded_once(data: Path, tmp_path: Path, prepared: list[str]):
    for number in range(3, 20):
        photo(number).save(data / "rose" / f"{number}.jpg")
    summary = run(data, tmp_path / "store", chunk_size=6)
    assert sorted(prepared) == sorted(summary.table.metadata(["uri"]).column("uri").to_pylist())
    photo(99).save(data / "rose" / "3.jpg")
    assert run(data, tmp_path / "store").new == 1


@contextlib.contextmanager
def another_run(store: Path, data: Path, uris: list[str]) -> Iterator[Run]:
    """Another run on the table, which is alive and has planned these images."""
    other = Run(store, "20200101T000000-other")
    listing = list_images(str(data)).images
    listing = listing.filter(pc.is_in(listing.column("uri"), pa.array(uris)))
    table = open_table(store)
    with other.kept_alive("tiny", local=True):
        plan = make_plan(listing, table)
        assert plan.todo == len(uris)
        other.write_plan(Header(table.name, plan.basis), plan.slices(1))
        yield other


def test_a_run_waits_for_another_that_is_at_work(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    store = tmp_path / "store"
    run(data, store)
    photo(5).save(data / "rose" / "new.jpg")
    with (
        ThreadPoolExecutor(1) as aside,
        another_run(store, data, [str(data / "rose" / "new.jpg")]) as other,
    ):
        waiting = aside.submit(run, data, store)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=2)
        assert other.run_id in info_text(InfoOptions(store=str(store)))
        other.remove()
        assert waiting.result(timeout=60).new == 1
    assert f"run {other.run_id} is at work on this table: waiting" in capfd.readouterr().err


def test_a_run_may_skip_what_another_one_has_planned(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    store = tmp_path / "store"
    run(data, store)
    for number in (5, 6):
        photo(number).save(data / "rose" / f"new{number}.jpg")
    with another_run(store, data, [str(data / "rose" / "new5.jpg")]):
        capfd.readouterr()
        summary = run(data, store, if_running="skip")
        assert "; 1 new, 1 left to another run\n" in capfd.readouterr().err
        assert (summary.new, summary.left, summary.seen) == (1, 1, 5)
        assert "5 images seen = 4 stored + 0 rejected + 1 left to another run" in summary_text(
            summary, ExtractOptions()
        )
        assert run(data, store, if_running="skip").new == 0
    assert run(data, store).new == 1, "that run has ended, and done nothing"


def test_what_dead_runs_had_planned_is_done_and_their_attempts_count(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = tmp_path / "store"
    run(data, store)
    photo(5).save(data / "rose" / "new.jpg")
    dead = Run(store, "20200101T000000-dead")
    plan = make_plan(list_images(str(data)).images, open_table(store))
    dead.plan_path.parent.mkdir(parents=True)
    dead.write_plan(Header("tiny", plan.basis), plan.slices(1))
    dead.begin(0)
    old = Run(store, "20190101T000000-old").begin(0).parents[1]
    os.utime(old, (0, 0))
    planned: list[dict[str, Any]] = []
    write_plan = Run.write_plan

    def note_plan(self, header, slices):
        slices = list(slices)
        planned.extend(row for rows in slices for row in rows.select(["uri", "attempts"]).to_pylist())
        write_plan(self, header, slices)

    monkeypatch.setattr(Run, "write_plan", note_plan)
    assert run(data, store).new == 1
    assert planned == [{"uri": str(data / "rose" / "new.jpg"), "attempts": 1}]
    assert list((store / "runs").iterdir()) == []


def test_a_run_gives_way_to_one_that_planned_while_it_did(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = tmp_path / "store"
    run(data, store)
    photo(5).save(data / "rose" / "new.jpg")
    seen: list[int] = []
    write_plan = Run.write_plan
    with contextlib.ExitStack() as stack:

        def be_overtaken(self, header, slices):
            if not seen and not self.run_id.endswith("other"):
                other = stack.enter_context(another_run(store, data, [str(data / "rose" / "new.jpg")]))
                threading.Timer(1, other.remove).start()
                time.sleep(0.1)
            if not self.run_id.endswith("other"):
                seen.append(1)
            write_plan(self, header, slices)

        monkeypatch.setattr(Run, "write_plan", be_overtaken)
        assert run(data, store).new == 1
    assert len(seen) == 2, "it planned again once the other one had ended"


def test_a_table_refuses_features_made_another_way_and_another_table_takes_them(data: Path, tmp_path: Path):
    store = tmp_path / "store"
    before = run(data, store).table.version
    with pytest.raises(BottleneckError, match="`layers` was avg_pool and is now early.*`features=NAME`"):
        run(data, store, layers="early")
    assert open_table(store).version == before
    another = run(
        data, store, features="another", layers="early", precision="bfloat16", exif_orientation=True
    )
    assert (another.stored, another.table.name, another.table.layers) == (3, "another", ("early",))
    assert (another.table.recipe.precision, another.table.recipe.exif_orientation) == ("bfloat16", True)


def test_a_table_of_another_backbone_has_its_name_and_trains_and_predicts(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    store = ["--store", str(tmp_path / "store"), "--backbone", "tiny"]
    for number in range(24):  # of which some land in each split
        photo(100 + number).save(data / ("rose" if number % 2 else "daisy") / f"more-{number}.png")
    table = run(data, tmp_path / "store", layers="early,avg_pool").table
    assert (table.name, table.layers) == ("tiny", ("early", "avg_pool"))
    assert table.matrix(layers="early")[0].shape == (27, 8)
    assert main(["train-head", *store, "--layers", "early"]) == 0
    assert main(["predict", *store, "--images", str(data)]) == 0
    assert "27 images labelled by head" in capfd.readouterr().err
    assert main(["info", *store]) == 0
    assert "recipe    tiny, weights random" in capfd.readouterr().out
    wrong = ["--store", str(tmp_path / "store"), "--backbone", "inception_v3", "--features", "tiny"]
    for command in (["train-head"], ["info"], ["predict", "--images", str(data)]):
        assert main([*command, *wrong]) == 1
        assert "inception_v3" in capfd.readouterr().err


def test_a_bfloat16_table_goes_on_in_float32_where_the_processor_has_no_other_and_says_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(data, tmp_path / "store", precision="bfloat16")
    photo(20).save(data / "rose" / "new.jpg")
    monkeypatch.setattr("features.engines.openvino_engine._has_bfloat16", lambda core: False)
    monkeypatch.setattr("pipelines.extractor._loaded", {})
    summary = run(data, tmp_path / "store", precision="auto")
    assert (summary.new, summary.precisions) == (1, ["float32"])
    assert summary.table.recipe.precision == "bfloat16"
    assert "computed in float32 by this run" in summary_text(summary, ExtractOptions())


def csv_of(folder: Path, rows: list[str], header: str = "uri,label") -> Path:
    (folder / "list.csv").write_text("\n".join([header, *rows]))
    return folder / "list.csv"


@pytest.fixture
def grouped(tmp_path: Path) -> list[str]:
    """Lines of a list: 40 pictures of ten subjects, who are cut into all splits, and one of nobody."""
    (tmp_path / "scans").mkdir()
    for number in range(41):
        photo(number, 20, 16).save(tmp_path / "scans" / f"{number}.png")
    lines = [f"scans/{number}.png,{'benign' if number % 3 else 'bad'},s{number % 10}" for number in range(40)]
    return [*lines, "scans/40.png,bad,"]


def splits_of_groups(table: FeatureTable) -> dict[str | None, dict[str, int]]:
    """From each group to how many of its images each split has, by what DuckDB finds in the part files."""
    rows = duckdb.read_parquet(table.paths).aggregate('"group", split, count(*)', '"group", split').fetchall()
    splits: dict[str | None, dict[str, int]] = {}
    for group, split, count in rows:
        splits.setdefault(group, {})[split] = count
    return splits


GROUP_HEADER = "uri,label,group"


def test_no_group_is_torn_apart_whenever_its_images_come(grouped: list[str], tmp_path: Path):
    store, list_csv = tmp_path / "store", lambda rows: csv_of(tmp_path, rows, GROUP_HEADER)
    first = run(list_csv(grouped[:25] + grouped[40:]), store)
    assert first.table.facts.groups and first.stored == 26
    second = run(list_csv(grouped), store)
    assert (second.new, second.stored) == (15, 41)
    splits = splits_of_groups(second.table)
    assert [len(splits[f"s{number}"]) for number in range(10)] == [1] * 10
    assert sum(splits[None].values()) == 1
    assert {split for found in splits.values() for split in found} == set(SPLITS)
    again = run(list_csv(grouped), store)
    assert (again.new, again.table.version) == (0, second.table.version)
    assert "nothing new to extract" in summary_text(again, ExtractOptions())
    assert again.conflicts == ([], [], [])

    joins = {"s3": "s1", "s2": "s4"}  # of the same split, and of another
    moved = [line[:-2] + joins.get(line[-2:], line[-2:]) for line in grouped]
    regrouped = run(list_csv(moved), store)
    assert (regrouped.new, regrouped.taken_over, regrouped.stored) == (0, {"relabelled": 8}, 41)
    splits = splits_of_groups(regrouped.table)
    assert (splits["s1"], splits["s4"]) == ({"train": 8}, {"validation": 8}) and not splits.keys() & joins
    assert all(len(found) == 1 for found in splits.values())
    assert "  groups    8 (each in one split)" in info_text(InfoOptions(store=str(store))).splitlines()


def test_groups_that_given_splits_tear_apart_are_reported_by_every_run(grouped: list[str], tmp_path: Path):
    places = {"s1": ["train", "train", "train", "test"], "s2": ["test", "validation", "", ""]}
    rows = []
    for line in grouped:
        given = places.get(line.rpartition(",")[2], ["train"])
        rows.append(f"{line},{given.pop(0) if len(given) > 1 else given[0]}")
    listed = csv_of(tmp_path, rows, "uri,label,group,split")
    for _ in range(2):
        summary = run(listed, tmp_path / "store")
        assert splits_of_groups(summary.table)["s1"] == {"train": 3, "test": 1}
        (first, counts), (second, _) = summary.conflicts.groups
        assert (first, counts, second) == ("s1", {"train": 3, "test": 1}, "s2")
        lines = summary_text(summary, ExtractOptions()).splitlines()
        place = lines.index("2 groups are torn apart by the splits that the data came with:")
        assert lines[place + 1] == "  s1: 3 in train, 1 in test"
    info = info_text(InfoOptions(store=str(tmp_path / "store")))
    assert "  groups    10 (2 torn apart by given splits)" in info.splitlines()


def test_a_given_training_part_is_cut_by_groups(grouped: list[str], tmp_path: Path):
    rows = [f"{line},{'test' if line.endswith('s0') else 'train'}" for line in grouped]
    summary = run(csv_of(tmp_path, rows, "uri,label,group,split"), tmp_path / "store")
    splits = splits_of_groups(summary.table)
    expected = {group: [assign_split("", TRAIN_AND_VALIDATION, group)] for group in splits if group}
    assert {group: list(found) for group, found in splits.items() if group} == expected | {"s0": ["test"]}
    assert ["validation"] in expected.values()


def test_the_same_bytes_in_groups_of_different_splits_are_reported(grouped: list[str], tmp_path: Path):
    by_split = {assign_split("", None, f"s{number}"): number for number in range(10)}
    train, test = (f"scans/{by_split[split]}.png" for split in ("train", "test"))
    shutil.copy(tmp_path / train, tmp_path / test)
    listed = csv_of(tmp_path, grouped, GROUP_HEADER)
    for _ in range(2):
        summary = run(listed, tmp_path / "store")
        assert summary.conflicts.splits == [sorted([str(tmp_path / train), str(tmp_path / test)])]
        assert summary.conflicts.groups == []


def test_a_table_goes_on_with_groups_or_without_them(grouped: list[str], tmp_path: Path):
    with_groups, without = tmp_path / "with", tmp_path / "without"
    plain = [line.rpartition(",")[0] for line in grouped[:4]]
    run(csv_of(tmp_path, grouped[:4], GROUP_HEADER), with_groups)
    run(csv_of(tmp_path, plain), without)
    assert open_table(without).metadata().column_names == IMAGE_COLUMNS
    refused = "table 'tiny' was made another way: `group` was {} and is now {}. Name a new table with"
    given, missing = "a column of the input", "missing from the input or empty"
    for rows, header in ((plain, "uri,label"), ([f"{line}," for line in plain], GROUP_HEADER)):
        with pytest.raises(BottleneckError, match=refused.format(given, missing)):
            run(csv_of(tmp_path, rows, header), with_groups)
    listed = csv_of(tmp_path, grouped[:4], GROUP_HEADER)
    with pytest.raises(BottleneckError, match=refused.format(missing, given)):
        run(listed, without)
    assert run(listed, without, features="another").table.facts.groups


def test_a_table_without_features_takes_groups_once_there_are_some(grouped: list[str], tmp_path: Path):
    store, plain = tmp_path / "store", [line.rpartition(",")[0] for line in grouped[:4]]
    pictures = [(tmp_path / line.partition(",")[0]) for line in plain]
    good = [path.read_bytes() for path in pictures]
    for path in pictures:
        path.write_text("no image")
    assert not run(csv_of(tmp_path, plain), store, max_rejected=1.0).table.facts.groups
    listed = csv_of(tmp_path, grouped[:4], GROUP_HEADER)
    unchanged = run(listed, store, max_rejected=1.0)
    assert (unchanged.rejected, unchanged.new_rejected) == (4, 0)
    for path, content in zip(pictures, good, strict=True):
        path.write_bytes(content)
    mended = run(listed, store)
    assert (mended.stored, mended.rejected) == (4, 0) and mended.table.facts.groups
    assert splits_of_groups(mended.table).keys() == {"s0", "s1", "s2", "s3"}


def test_an_input_of_which_nothing_is_there_is_refused_and_changes_nothing(data: Path, tmp_path: Path):
    store = tmp_path / "store"
    listed = csv_of(tmp_path, [f"photos/{number}.jpg,rose" for number in range(5)])
    with pytest.raises(
        BottleneckError,
        match=rf"none of the 5 images of `data={listed}` is there "
        rf"\({tmp_path}/photos/0.jpg, .* and 2 more\): "
        rf"relative paths count from the list's folder, {tmp_path}; correct",
    ):
        run(listed, store)
    assert feature_store.table_names(store) == []

    csv_of(tmp_path, [f"data/daisy/{number}.jpg,daisy" for number in (0, 1)])
    first = run(listed, store)
    shutil.move(data, tmp_path / "elsewhere")  # a disk that is not mounted, say
    with pytest.raises(BottleneckError, match="none of the 2 images"):
        run(listed, store)
    assert open_table(store).version == first.table.version


def test_a_folder_of_links_that_lead_nowhere_is_refused(data: Path, tmp_path: Path):
    for path in data.rglob("*.jpg"):
        path.unlink()
    (data / "rose" / "0.jpg").symlink_to(data / "nowhere.jpg")
    with pytest.raises(BottleneckError) as error:
        run(data, tmp_path / "store")
    assert str(error.value) == (
        f"none of the 1 image of `data={data}` is there ({data / 'rose' / '0.jpg'}): "
        f"their links lead nowhere; correct the paths, or bring the images there. Nothing was changed"
    )


def test_faults_in_the_options_are_told_before_anything_is_made(data: Path, tmp_path: Path):
    store = tmp_path / "store"
    for remote in ({"data": "s3://bucket/photos"}, {"weights": "gs://bucket/mine.h5"}):
        with pytest.raises(BottleneckError, match="is remote"):
            extract(ExtractOptions(**{"data": str(data), "store": str(store), **remote}))
    assert not store.exists()
    for options in ({"beam_args": ("--no_such_flag=1",)}, {"runner": "NoSuchRunner"}):
        with pytest.raises(BottleneckError, match=r"no_such_flag|NoSuchRunner"):
            run(data, store, **options)
    assert os.listdir(store) == ["logs"]


def test_a_table_that_was_made_anew_meanwhile_is_no_success(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def replace(run: Run, table: FeatureTable, *others: object) -> None:
        shutil.rmtree(table.folder)
        feature_store.create(table.store, table.name, table.facts)

    monkeypatch.setattr("pipelines.driver._run_pipeline", replace)
    with pytest.raises(BottleneckError, match="table 'tiny' was removed and made anew"):
        run(data, tmp_path / "store")


def test_files_that_are_away_keep_their_rows(data: Path, tmp_path: Path):
    store = tmp_path / "store"
    listed = csv_of(tmp_path, [f"{path},{path.parent.name}" for path in sorted(data.rglob("*.jpg"))])
    first = run(listed, store)
    (data / "daisy").rename(tmp_path / "elsewhere")
    away = run(listed, store)
    assert (away.seen, away.stored, away.rejected, away.missing_files, away.new) == (3, 3, 0, 2, 0)
    assert away.table.version == first.table.version
    text = summary_text(away, ExtractOptions())
    assert "2 stored images can't be read now, where the input says it is: the rows stay" in text
    (tmp_path / "elsewhere").rename(data / "daisy")
    back = run(listed, store)
    assert (back.stored, back.missing_files, back.new) == (3, 0, 0)


def test_how_folders_were_read_for_nothing_is_not_kept(data: Path, tmp_path: Path):
    store, sites = tmp_path / "store", tmp_path / "sites"
    for site in ("site_a", "site_b"):
        for label in ("daisy", "rose"):
            (sites / site / label).mkdir(parents=True)
            (sites / site / label / "bad.jpg").write_text("no image")
    run(sites, store, classes="deepest", max_rejected=1.0)
    with pytest.raises(BottleneckError, match="`classes=deepest`"):
        run(sites, store)
    photo(1).save(sites / "site_a" / "rose" / "good.jpg")
    again = run(sites, store, classes="top", max_rejected=1.0)
    assert again.table.facts.classes == "top"
    assert again.table.metadata(["labels"]).column("labels").to_pylist() == [["site_a"]]


def test_a_run_that_stored_nothing_binds_nobody(data: Path, tmp_path: Path):
    store = tmp_path / "store"
    bad = tmp_path / "bad" / "rose"
    bad.mkdir(parents=True)
    (bad / "text.jpg").write_text("no image")
    (bad / "empty.jpg").touch()
    failed = run(bad.parent, store, layers="early", max_rejected=1.0)
    assert (failed.seen, failed.stored, failed.rejected) == (2, 0, 2)

    again = run(bad.parent, store, layers="early")
    assert (again.stored, again.rejected, again.new_rejected) == (0, 2, 0), (
        "the same images are not tried again"
    )
    assert again.table.version == failed.table.version

    other = run(data, store, layers="avg_pool", exif_orientation=True)
    assert other.table.layers == ("avg_pool",) and other.table.source == str(data)
    assert other.table.recipe.exif_orientation
    assert (other.seen, other.stored, other.rejected, other.missing_from_input, other.removed) == (
        3,
        3,
        0,
        0,
        0,
    )
    assert len(rejected_rows(other.table)) == 0, "nothing is left of the other input"
    with pytest.raises(BottleneckError, match="`layers` was avg_pool and is now early"):
        run(data, store, layers="early")


def test_the_first_rejected_images_of_the_most_frequent_reason_are_kept_for_the_error(
    messy: Path, tmp_path: Path
):
    for number in (3, 1, 2, 4):
        (messy / "rose" / f"text{number}.jpg").write_text("no image")
    summary = run(messy, tmp_path / "store", max_rejected=1.0)
    assert list(summary.reasons.items())[0] == ("not_an_image", 5)
    detail = "unknown format; it begins with b'no image'"
    assert summary.examples == [
        (str(messy / name), "not_an_image", detail)
        for name in ("daisy/text.jpg", "rose/text1.jpg", "rose/text2.jpg")
    ]


def test_rejected_images_that_left_the_input_are_not_stored_images_that_did(messy: Path, tmp_path: Path):
    store = tmp_path / "store"
    run(messy, store, max_rejected=1.0)
    (messy / "daisy" / "text.jpg").unlink()
    (messy / "daisy" / "empty.png").unlink()
    summary = run(messy, store)
    assert (summary.missing_from_input, summary.rejected) == (0, 3)
    text = summary_text(summary, ExtractOptions())
    assert "2 rejected images are no longer in the input" in text and "stored images are no" not in text
    (messy / "daisy" / "0.jpg").unlink()
    summary = run(messy, store)
    assert summary.missing_from_input == 1
    assert "1 stored image is no longer in the input" in summary_text(summary, ExtractOptions())
    assert run(messy, store, remove_gone=True).removed == 3


def test_how_folders_are_read_is_kept_with_the_table(data: Path, tmp_path: Path):
    for site in ("site_a", "site_b"):
        shutil.copytree(data, tmp_path / "sites" / site)
    sites, store = tmp_path / "sites", tmp_path / "store"
    with pytest.raises(BottleneckError, match="`classes=deepest`"):
        run(sites, store)
    first = run(sites, store, splits={"site_a": "train", "site_b": "test"})
    assert first.table.facts.splits == (("site_a", "train"), ("site_b", "test"))
    for source in (sites, Path("auto")):
        again = run(source, store)
        assert (again.new, again.stored, again.table.version) == (0, 6, first.table.version)


def test_names_that_are_not_utf8_are_counted_beside_what_is_seen(data: Path, tmp_path: Path):
    try:
        os.mkdir(os.fsencode(data) + b"/t\xfclip")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    photo(3).save(os.fsencode(data) + b"/t\xfclip/3.jpg", "JPEG")
    summary = run(data, tmp_path / "store")
    assert (summary.seen, summary.stored, summary.rejected, summary.left_out) == (3, 3, 0, 1)
    assert summary_text(summary, ExtractOptions()).splitlines()[:2] == [
        "3 images seen = 3 stored + 0 rejected",
        "1 more image left out: the name is not valid UTF-8",
    ]


def test_a_table_takes_the_same_weights_from_another_file(data: Path, tmp_path: Path):
    table = run(data, tmp_path / "store").table
    photo(30).save(data / "rose" / "30.jpg")
    file = weights_file(tmp_path / "same.weights.h5", BACKBONE, table.recipe.weights_sha256)
    assert run(data, tmp_path / "store", weights=str(file)).stored == 4


def test_a_store_with_weights_of_its_own_can_be_moved(data: Path, tmp_path: Path):
    (tmp_path / "store" / "weights").mkdir(parents=True)
    file = weights_file(tmp_path / "store" / "weights" / "mine.weights.h5", BACKBONE, SHA256)
    first = run(data, tmp_path / "store", weights=str(file))
    assert first.table.facts.weights == "weights/mine.weights.h5"
    (tmp_path / "store").rename(tmp_path / "moved")
    again = run(data, tmp_path / "moved", weights="auto")
    assert (again.new, again.stored, again.table.version) == (0, 3, first.table.version)
    photo(30).save(data / "rose" / "30.jpg")
    weights_file(tmp_path / "moved" / "weights" / "mine.weights.h5", BACKBONE, SHA256)
    assert run(data, tmp_path / "moved", weights="auto").stored == 4


def test_given_splits_win(tmp_path: Path):
    for split, number in [("train", 1), ("val", 2), ("test", 3)]:
        for label in ("a", "b"):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            photo(number + 10 * ord(label)).save(folder / "photo.png")
    table = run(tmp_path / "data", tmp_path / "store").table
    found = {
        (os.path.relpath(row["uri"], tmp_path / "data"), row["split"], *row["labels"])
        for row in table.metadata(["uri", "split", "labels"]).to_pylist()
    }
    assert found == {
        (f"{folder}/{label}/photo.png", split, label)
        for folder, split in [("train", "train"), ("val", "validation"), ("test", "test")]
        for label in ("a", "b")
    }


def test_images_with_several_labels_can_be_extracted(data: Path, tmp_path: Path):
    (tmp_path / "list.csv").write_text("uri,labels\ndata/daisy/0.jpg,daisy|yellow\ndata/rose/2.jpg,rose\n")
    table = run(tmp_path / "list.csv", tmp_path / "store").table
    assert sorted(table.metadata(["labels"]).column("labels").to_pylist()) == [["daisy", "yellow"], ["rose"]]
