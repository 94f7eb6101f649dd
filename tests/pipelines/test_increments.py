"""Day after day: each kind of change costs what it must and no more, and the table is as one made anew.

On crops of scikit-learn's two photos, with a small network. Images that are inferred are counted where they
are decoded, not by what a run says of itself.
"""

from __future__ import annotations

import csv
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from features import extractor as extractor_module
from features import store as feature_store
from features.errors import BottleneckError, InputShrunk, MadeAnotherWay
from features.images import ImageError
from features.images.preparation import Prepared
from features.inputs import list_images
from features.splits import assign_split
from features.store.commit import rejected_rows
from features.store.table import FeatureTable
from pipelines import driver, extraction
from pipelines.cli import main
from pipelines.driver import extract
from pipelines.extraction import run_pipeline
from pipelines.extractor import ExtractorSettings
from pipelines.options import ExtractOptions
from pipelines.output import summary_text
from pipelines.planning import make_plan
from pipelines.runs import Header, Run
from pipelines.summary import Summary
from tests.tiny import BACKBONE

pytestmark = pytest.mark.usefixtures("tiny")

CLASSES = ("china", "flower")
SETTINGS = {"weights": "random", "precision": "float32", "engine": "openvino", "backbone": "tiny"}


class Inferred:
    """The views of images that are inferred since the last question, by the file's name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[tuple[str, int]] = []

    def note(self, uri: object, prepared: Prepared) -> None:
        with self._lock:
            self._seen += [(Path(str(uri)).name, view) for view in prepared.views]

    def __call__(self) -> list[tuple[str, int]]:
        with self._lock:
            seen, self._seen = sorted(self._seen), []
        return seen


@pytest.fixture
def inferred(monkeypatch: pytest.MonkeyPatch) -> Inferred:
    noted, prepare = Inferred(), extractor_module.prepare

    def note_and_prepare(image: Any, *arguments: Any) -> Prepared:
        prepared = prepare(image, *arguments)
        noted.note(image, prepared)
        return prepared

    monkeypatch.setattr(extractor_module, "prepare", note_and_prepare)
    return noted


@pytest.fixture(scope="module")
def crops() -> list[Image.Image]:
    """Forty crops of real photos, twenty of each."""
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    return [
        photos[number % 2].crop((left, top, left + 96, top + 72))
        for number in range(40)
        for left, top in [(13 * number, 9 * number)]
    ]


@pytest.fixture
def data(tmp_path: Path, crops: list[Image.Image]) -> Path:
    """Two classes of ten photos."""
    for number in range(20):
        folder = tmp_path / "data" / CLASSES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        crops[number].save(folder / f"{number:02}.jpg", quality=90)
    return tmp_path / "data"


class Days:
    """Runs on one store, each compared with a store that is made anew."""

    def __init__(self, data: Path, folder: Path, inferred: Inferred, **options: Any) -> None:
        self.data = data
        self.store = folder / "store"
        self._folder = folder
        self._options = options
        self._inferred = inferred
        self._runs = 0

    def run(self, **options: Any) -> Summary:
        """A run; the table must then be as one that is made anew of the same input."""
        summary = self.run_alone(**options)
        seen = self._inferred()
        self._runs += 1
        anew = self._folder / f"anew-{self._runs}"
        of_run = {
            name: value
            for name, value in {**self._options, **options}.items()
            if name not in ("remove_gone", "data_moved_from", "retry_rejected")
        }
        extract(ExtractOptions(**{**SETTINGS, **of_run}, data=str(self.data), store=str(anew)), quiet=True)
        assert_same(self.table(), feature_store.open(anew, "tiny"))
        shutil.rmtree(anew)
        self._inferred()
        self.seen = seen
        return summary

    def run_alone(self, **options: Any) -> Summary:
        given = {**SETTINGS, **self._options, **options}
        return extract(ExtractOptions(**given, data=str(self.data), store=str(self.store)), quiet=True)

    def table(self, version: int | None = None) -> FeatureTable:
        return feature_store.open(self.store, "tiny", version=version)


@pytest.fixture
def days(data: Path, tmp_path: Path, inferred: Inferred) -> Days:
    """After the first day, on which all images were new."""
    days = Days(data, tmp_path, inferred)
    days.run()
    assert len(days.seen) == 20
    return days


def rows_of(table: FeatureTable) -> pa.Table:
    """All rows, in an order that is the same for any table of these images."""
    rows = feature_store_rows(table)
    return rows.sort_by([("uri", "ascending"), ("view", "ascending")])


def feature_store_rows(table: FeatureTable) -> pa.Table:
    from features.store.log import read_parts

    return read_parts(table.paths, table.facts.schema)


def assert_same(table: FeatureTable, anew: FeatureTable) -> None:
    """Two tables hold the same, but for when and by which run."""
    mine, theirs = rows_of(table), rows_of(anew)
    own = ["extracted_at", "run_id", *table.layers]
    assert mine.drop_columns(own).to_pylist() == theirs.drop_columns(own).to_pylist()
    for layer in table.layers:
        given, expected = (np.array(rows.column(layer).to_pylist()) for rows in (mine, theirs))
        np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)
    of_rejections = ["uri", "reason", "size", "modified_at"]
    mine, theirs = (
        rejected_rows(one).select(of_rejections).sort_by("uri").to_pylist() for one in (table, anew)
    )
    assert mine == theirs


def later(path: Path, seconds: int = 100) -> None:
    """Change the time of a file's last change."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


def test_nothing_changed_is_nothing_to_do(days: Days):
    version = days.table().version
    days.run()
    assert days.seen == [] and days.table().version == version


def test_new_images_are_inferred_and_no_others(days: Days, crops: list[Image.Image]):
    crops[20].save(days.data / "china/20.jpg")
    crops[21].save(days.data / "flower/21.png")
    summary = days.run()
    assert days.seen == [("20.jpg", 0), ("21.png", 0)]
    assert (summary.new, summary.stored, summary.taken_over) == (2, 22, {})


def test_changed_content_replaces_the_row(days: Days, crops: list[Image.Image]):
    crops[22].save(days.data / "china/02.jpg")
    later(days.data / "china/02.jpg")
    summary = days.run()
    assert days.seen == [("02.jpg", 0)] and summary.stored == 20


def test_content_of_the_same_size_is_told_apart(days: Days):
    """By its bytes: the sizes say that it may be the same."""
    path = days.data / "china/04.jpg"
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    later(path)
    days.run()
    assert days.seen == [("04.jpg", 0)]


def test_a_touched_file_costs_no_inference(days: Days):
    path = days.data / "flower/03.jpg"
    later(path)
    summary = days.run()
    assert days.seen == [] and summary.taken_over == {"touched": 1} and summary.new == 0
    (row,) = [row for row in days.table().metadata().to_pylist() if row["uri"] == str(path)]
    assert row["modified_at"].timestamp() == pytest.approx(path.stat().st_mtime, abs=1e-5)
    version = days.table().version
    days.run()
    assert days.table().version == version, "the new time is noted"


@pytest.mark.parametrize("new", ["china/renamed.jpg", "flower/00.jpg", "roses/00.jpg"])
def test_a_file_that_is_moved_keeps_its_features(days: Days, new: str):
    (days.data / "roses").mkdir()
    before = rows_of(days.table())
    (days.data / "china/00.jpg").rename(days.data / new)
    if not list((days.data / "roses").iterdir()):
        (days.data / "roses").rmdir()
    summary = days.run()
    assert days.seen == [] and summary.taken_over == {"moved": 1}
    assert (summary.stored, summary.missing_from_input, summary.removed) == (20, 0, 0)
    assert len(before) == len(rows_of(days.table())), "the old row is replaced"


def test_a_class_that_is_renamed_is_not_counted_as_removed(days: Days):
    (days.data / "china").rename(days.data / "porcelain")
    summary = days.run(max_removed=0.1)
    assert days.seen == [] and summary.taken_over == {"moved": 10}


def test_everything_moved_with_new_times_is_found_by_its_bytes(days: Days):
    """Copied and deleted: the times are new, and many files may be of one size."""
    for number, path in enumerate(sorted(days.data.glob("*/*.jpg"))):
        target = path.with_name(f"new-{19 - number:02}.jpg")
        target.write_bytes(path.read_bytes())
        path.unlink()
    summary = days.run(chunk_size=3)
    assert days.seen == [] and summary.taken_over == {"moved": 20}
    assert summary.missing_from_input == 0


def bitmaps(folder: Path, numbers: range) -> Path:
    """Images of noise in two classes; each file has the size of every other."""
    for number in numbers:
        path = folder / "bitmaps" / f"class-{number % 2}" / f"{number:02}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(noise).save(path)
    return folder / "bitmaps"


def test_files_of_one_size_that_are_moved_are_matched_by_their_bytes(tmp_path: Path, inferred: Inferred):
    """The plan can't tell them apart."""
    days = Days(bitmaps(tmp_path, range(12)), tmp_path, inferred, chunk_size=4)
    days.run()
    for number, path in enumerate(sorted(days.data.glob("*/*.bmp"))):
        path.rename(path.with_name(f"moved-{11 - number:02}.bmp"))
        later(path.with_name(f"moved-{11 - number:02}.bmp"), (7 * number) % 12)
    (days.data / "class-0/new.bmp").write_bytes((days.data / "class-1/moved-00.bmp").read_bytes())
    summary = days.run()
    assert days.seen == [] and summary.stored == 13 and summary.missing_from_input == 0
    assert sum(summary.taken_over.values()) == 13


def test_a_second_file_of_the_same_bytes_has_a_row_of_its_own(days: Days):
    shutil.copy(days.data / "china/06.jpg", days.data / "flower/same.jpg")
    summary = days.run()
    assert days.seen == [] and summary.taken_over == {"same_bytes": 1} and summary.stored == 21


def test_new_files_of_the_same_bytes_are_inferred_once(days: Days, crops: list[Image.Image]):
    for name in ("china/a.jpg", "china/b.jpg", "flower/c.jpg"):
        crops[30].save(days.data / name)
    summary = days.run(chunk_size=4)
    assert len(days.seen) == 1 and summary.new == 1 and summary.taken_over == {"same_bytes": 2}


def test_a_copy_whose_other_file_is_deleted_is_no_move(days: Days):
    shutil.copy(days.data / "china/06.jpg", days.data / "flower/same.jpg")
    days.run()
    (days.data / "china/06.jpg").unlink()
    summary = days.run_alone()
    assert summary.missing_from_input == 1


@pytest.fixture
def listed(data: Path, tmp_path: Path, inferred: Inferred) -> tuple[Days, Callable[..., None]]:
    """The same images in a CSV with splits, and a function that writes it anew with changes."""
    path = tmp_path / "list.csv"
    files = sorted(data.glob("*/*.jpg"))
    images = {file.name: [str(file), file.parent.name, "train"] for file in files}
    for name, split in (("00.jpg", "test"), ("01.jpg", "test"), ("19.jpg", "validation")):
        images[name][2] = split

    def write(**changes: tuple[str, str]) -> None:
        """Change label and split of some images; they are named without their suffix."""
        for name, (label, split) in changes.items():
            images[f"{name.removeprefix('_')}.jpg"][1:] = [label, split]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["uri", "label", "split"], *images.values()])

    write()
    days = Days(path, tmp_path, inferred)
    days.run()
    return days, write


def test_edited_labels_and_splits_read_no_image(
    listed: tuple[Days, Callable[..., None]], prepared: list[str]
):
    days, write = listed
    prepared.clear()
    write(_02=("vase", "train"), _03=("flower", "test"), _04=("china", "validation"))
    summary = days.run_alone()
    assert (summary.taken_over, summary.new, prepared) == ({"relabelled": 3}, 0, [])
    days.run()


def test_what_is_gone_stays_until_it_is_to_be_removed(days: Days, capsys: pytest.CaptureFixture[str]):
    before = days.table().version
    for name in ("china/00.jpg", "flower/01.jpg"):
        (days.data / name).unlink()
    summary = days.run_alone()
    assert (summary.missing_from_input, summary.removed, days.table().version) == (2, 0, before)
    summary = days.run(remove_gone=True)
    assert days.seen == [] and (summary.missing_from_input, summary.removed, summary.stored) == (0, 2, 18)
    assert len(days.table(before).metadata()) == 20, "earlier versions keep them"


def test_moved_new_and_gone_at_once(days: Days, crops: list[Image.Image]):
    (days.data / "china/00.jpg").rename(days.data / "flower/moved.jpg")
    (days.data / "flower/01.jpg").unlink()
    crops[25].save(days.data / "china/25.jpg")
    later(days.data / "china/02.jpg")
    summary = days.run(remove_gone=True)
    assert days.seen == [("25.jpg", 0)]
    assert (summary.removed, summary.taken_over) == (1, {"moved": 1, "touched": 1})


@pytest.mark.parametrize("remove_gone", [False, True])
def test_an_input_that_lost_more_than_half_is_refused(days: Days, remove_gone: bool):
    version = days.table().version
    for path in sorted(days.data.glob("*/*.jpg"))[:11]:
        path.unlink()
    with pytest.raises(
        InputShrunk, match=r"^11 of the 20 images in table 'tiny' are missing from the input, "
    ):
        days.run_alone(remove_gone=remove_gone)
    assert days.table().version == version
    days.run(remove_gone=True, max_removed=0.55)
    assert len(days.table().metadata()) == 9


def test_an_input_that_came_back_empty_is_refused(days: Days):
    shutil.rmtree(days.data)
    days.data.mkdir()
    with pytest.raises(InputShrunk):
        days.run_alone(remove_gone=True, max_removed=1.0)
    assert len(days.table().metadata()) == 20


@pytest.fixture
def rejecting(days: Days) -> Days:
    """With an image that is none."""
    (days.data / "china/text.jpg").write_text("no image")
    days.run(max_rejected=1.0)
    days._options["max_rejected"] = 1.0
    return days


def test_a_rejected_image_stays_rejected_unless_it_is_asked_for(rejecting: Days, prepared: list[str]):
    version = rejecting.table().version
    rejecting.run_alone()
    assert (prepared, rejecting.table().version) == ([], version)
    rejecting.run_alone(retry_rejected=True)
    assert [Path(uri).name for uri in prepared] == ["text.jpg"]


def test_a_rejected_image_is_tried_once_more_by_a_newer_decoding(
    rejecting: Days, prepared: list[str], monkeypatch: pytest.MonkeyPatch
):
    newer(monkeypatch)
    for tried in (["text.jpg"], []):
        prepared.clear()
        rejecting.run_alone()
        assert [Path(uri).name for uri in prepared] == tried


def newer(monkeypatch: pytest.MonkeyPatch, formats: frozenset[str] = frozenset()) -> None:
    """A mend of how images of some formats are read."""
    from features import decodings
    from features.store import stale
    from pipelines import extraction, settling

    newest = decodings.DECODING + 1
    for module in (decodings, stale, extraction, settling):
        monkeypatch.setattr(module, "DECODING", newest)
    monkeypatch.setattr(decodings, "MENDED", {**decodings.MENDED, newest: formats})


def test_rows_of_an_older_decoding_are_named_and_made_anew_when_asked_for(
    days: Days, crops: list[Image.Image], monkeypatch: pytest.MonkeyPatch, inferred: Inferred
):
    crops[23].save(days.data / "china/23.png")
    days.run()
    newer(monkeypatch, frozenset({"png"}))
    summary = days.run_alone()
    assert (inferred(), summary.stale) == ([], 1)
    summary = days.run(redo_decoding=True)
    assert days.seen == [("23.png", 0)] and (summary.new, summary.stale) == (1, 0)
    summary = days.run_alone(redo_decoding=True)
    assert (inferred(), summary.stale) == ([], 0)


@pytest.mark.parametrize(
    "other",
    [{"precision": "bfloat16"}, {"exif_orientation": True}, {"layers": "early"}],
)
def test_another_recipe_is_refused_with_what_differs(days: Days, other: dict[str, Any]):
    with pytest.raises(
        MadeAnotherWay, match=r"was made another way: .* Name a new table with `features=NAME`"
    ):
        days.run_alone(**other)


def views_of(days: Days) -> dict[str, list[int]]:
    views: dict[str, list[int]] = {}
    for row in days.table().metadata(["uri", "view"]).to_pylist():
        views.setdefault(Path(row["uri"]).name, []).append(row["view"])
    return {name: sorted(numbers) for name, numbers in sorted(views.items())}


def test_more_views_infer_the_missing_ones_alone(listed: tuple[Days, Callable[..., None]]):
    days, _ = listed
    first = rows_of(days.table())
    summary = days.run(views=2)
    train = [name for name in views_of(days) if name not in ("00.jpg", "01.jpg", "19.jpg")]
    assert days.seen == [(name, view) for name in train for view in (1, 2)]
    assert (summary.new, summary.inferred_rows) == (17, 34)
    others = dict.fromkeys(("00.jpg", "01.jpg", "19.jpg"), [0])
    assert views_of(days) == {**others, **dict.fromkeys(train, [0, 1, 2])}
    originals = rows_of(days.table())
    originals = originals.filter(pa.array(np.array(originals.column("view")) == 0))
    assert originals.to_pylist() == first.to_pylist(), "what was stored stays as it was"
    days.run(views=3)
    assert days.seen == [(name, 3) for name in train]
    assert days.run_alone().new == 0 and days._inferred() == [], "as many as the table has"
    with pytest.raises(MadeAnotherWay, match="`views=1` is fewer"):
        days.run_alone(views=1)
    with pytest.raises(MadeAnotherWay, match="crop"):
        days.run_alone(views=3, augment=["crop=0.4", "flip"])


def test_files_of_the_same_bytes_share_the_views_that_are_added(listed: tuple[Days, Callable[..., None]]):
    days, _ = listed
    uris = {Path(uri).name: uri for uri in days.table().metadata(["uri"])["uri"].to_pylist()}
    shutil.copy(uris["02.jpg"], uris["04.jpg"])
    days.run()
    summary = days.run(views=1)
    assert summary.inferred_rows == summary.new == 16 and summary.taken_over == {"same_bytes": 1}


def test_views_of_one_image_are_made_from_one_decoding(
    data: Path, tmp_path: Path, prepared: list[str], inferred: Inferred
):
    days = Days(data, tmp_path, inferred)
    days.run_alone(views=4)
    assert sorted(Path(uri).name for uri in prepared) == sorted(path.name for path in data.glob("*/*.jpg"))


def test_an_image_that_leaves_train_loses_its_views_and_one_that_enters_gets_them(
    listed: tuple[Days, Callable[..., None]],
):
    days, write = listed
    days._options["views"] = 2
    days.run()
    write(_02=("china", "test"), _00=("china", "train"))
    summary = days.run()
    assert days.seen == [("00.jpg", 1), ("00.jpg", 2)]
    views = views_of(days)
    assert (views["02.jpg"], views["00.jpg"]) == ([0], [0, 1, 2])
    assert summary.taken_over == {"relabelled": 1} and summary.new == 1


def test_views_are_moved_touched_and_copied_with_their_image(days: Days, crops: list[Image.Image]):
    days._options["views"] = 2
    days.run()
    train = next(
        row["uri"]
        for row in days.table().metadata().to_pylist()
        if row["split"] == "train" and "china" in row["uri"]
    )
    shutil.copy(train, days.data / "china/copy.jpg")
    Path(train).rename(days.data / "flower/moved.jpg")
    later(days.data / "flower/moved.jpg")
    others = [path for path in days.data.glob("flower/0*.jpg")]
    for path in others:
        later(path)
    summary = days.run()
    assert days.seen == []
    assert summary.taken_over == {"moved": 1, "same_bytes": 1, "touched": len(others)}
    assert views_of(days)["moved.jpg"] == views_of(days)["copy.jpg"] == [0, 1, 2]


def test_new_images_get_the_views_that_the_table_has(days: Days, crops: list[Image.Image]):
    days.run(views=1)
    crops[31].save(days.data / "china/31.jpg")
    summary = days.run_alone()
    (row, *_) = [row for row in days.table().metadata().to_pylist() if row["uri"].endswith("31.jpg")]
    expected = [0, 1] if assign_split(row["image_id"], None) == "train" else [0]
    assert views_of(days)["31.jpg"] == expected and summary.new == 1


def test_data_that_was_moved_as_a_whole_is_not_read(
    rejecting: Days, tmp_path: Path, prepared: list[str], inferred: Inferred
):
    old = rejecting.data
    rejecting.data = tmp_path / "elsewhere" / "data"
    rejecting.data.parent.mkdir()
    old.rename(rejecting.data)
    before = rows_of(rejecting.table())
    with pytest.raises(MadeAnotherWay, match="was made another way: `data`"):
        rejecting.run_alone()
    with pytest.raises(MadeAnotherWay, match="was made from"):
        rejecting.run_alone(data_moved_from=str(tmp_path / "nowhere"))
    summary = rejecting.run_alone(data_moved_from=str(old))
    assert (prepared, inferred(), summary.stored, summary.missing_from_input) == ([], [], 20, 0)
    own = rows_of(rejecting.table())
    assert own.drop_columns(["uri"]).to_pylist() == before.drop_columns(["uri"]).to_pylist()
    rejecting.run()
    assert rejecting.seen == []
    version = rejecting.table().version
    rejecting.run_alone(data_moved_from=str(old))
    assert rejecting.table().version == version, "a scheduled run may go on saying so"


def test_a_list_that_was_moved_with_its_images_is_not_read(
    data: Path, tmp_path: Path, inferred: Inferred, prepared: list[str]
):
    (data / "list.csv").write_text(
        "\n".join(f"{path.parent.name}/{path.name},{path.parent.name}" for path in data.glob("*/*.jpg"))
    )
    days = Days(data / "list.csv", tmp_path, inferred)
    days.run()
    prepared.clear()
    data.rename(tmp_path / "moved")
    days.data = tmp_path / "moved" / "list.csv"
    days.run_alone(data_moved_from=str(data / "list.csv"))
    assert prepared == [] and len(days.table().metadata()) == 20
    assert {Path(uri).parents[1] for uri in days.table().metadata(["uri"])["uri"].to_pylist()} == {
        tmp_path / "moved"
    }


def test_features_stay_where_files_can_not_be_read_for_a_while(
    days: Days, inferred: Inferred, monkeypatch: pytest.MonkeyPatch
):
    """An image that is read only for its views, or for a new time, costs no features if that fails."""
    before = rows_of(days.table())
    later(days.data / "china/00.jpg")
    with monkeypatch.context() as away:
        read = extractor_module.prepare

        def fail(image: Any, *arguments: Any) -> Prepared:
            if Path(image).parent.name == "china":
                raise ImageError("unreadable", "Input/output error")
            return read(image, *arguments)

        away.setattr(extractor_module, "prepare", fail)
        summary = days.run_alone(views=1)
    kept = rows_of(days.table())
    kept = kept.filter(pa.array(np.array(kept.column("view")) == 0))
    assert kept.to_pylist() == before.to_pylist()
    assert (summary.stored, summary.rejected) == (20, 0) and 1 < summary.missing_files <= 10
    inferred()
    summary = days.run(views=1)
    assert all(view == 1 for _, view in days.seen) and summary.missing_files == 0


def test_what_another_run_is_moving_is_not_gone(days: Days, inferred: Inferred):
    """A run that leaves them to it takes nothing out, and refuses nothing."""
    (days.data / "china").rename(days.data / "porcelain")
    images = list_images(str(days.data)).images
    other = Run(days.store, "0-before")
    with other.kept_alive("tiny", local=True):
        plan = make_plan(images, days.table())
        other.write_plan(Header("tiny", plan.basis), plan.slices(100))
        summary = days.run_alone(if_running="skip", remove_gone=True, max_removed=0.1)
    assert (summary.removed, summary.left, inferred()) == (0, 10, [])
    summary = days.run(remove_gone=True)
    assert days.seen == [] and summary.taken_over == {"moved": 10}


def test_rows_of_moved_images_leave_also_where_a_run_was_stopped_before(
    tmp_path: Path, inferred: Inferred, monkeypatch: pytest.MonkeyPatch
):
    """Files of one size in slices of a few: some rows are replaced at the end of the run only."""
    days = Days(bitmaps(tmp_path, range(12)), tmp_path, inferred, chunk_size=4)
    days.run()
    for number, path in enumerate(sorted(days.data.glob("*/*.bmp"))):
        path.rename(path.with_name(f"moved-{11 - number:02}.bmp"))
        later(path.with_name(f"moved-{11 - number:02}.bmp"), (7 * number) % 12)

    def stop(*_: Any) -> pa.Table:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(driver, "remove_moved", stop)
        days.run_alone()
    assert len(days.table().metadata()) > 12, "else there is nothing to test here"
    summary = days.run()
    assert days.seen == [] and summary.missing_from_input == 0


def test_what_others_relabel_beside_views_that_came_later_is_not_lost(
    listed: tuple[Days, Callable[..., None]],
):
    """Rows of an image and of its views are of two runs: the image's says whether it is the one planned."""
    days, write = listed
    days._options["views"] = 1
    days.run()
    made = days.table().augmentation
    assert made is not None
    write(_02=("vase", "train"))
    images = list_images(str(days.data)).images
    first = Run(days.store, "0-first")
    with first.kept_alive("tiny", local=True):
        plan = make_plan(images, days.table(), views=1)
        first.write_plan(Header("tiny", plan.basis, 1, made.to_dict()), plan.slices(100))
        write(_04=("bowl", "train"))
        days.run_alone(if_running="skip")  # rewrites the part that the first one's row is in
        settings = ExtractorSettings("random", days.table().layers, "openvino", days.table().recipe)
        run_pipeline(first, days.table(), settings, "local", [])
    days.run()
    labels = {Path(row["uri"]).name: row["labels"] for row in days.table().metadata().to_pylist()}
    assert (labels["02.jpg"], labels["04.jpg"]) == (["vase"], ["bowl"])
    commits = days.table().delta.history()
    assert [commit["left_out"] for commit in commits if commit.get("run_id") == "0-first"] == [0]


def test_a_file_that_changes_after_it_was_listed_is_inferred_once(
    days: Days, crops: list[Image.Image], monkeypatch: pytest.MonkeyPatch, inferred: Inferred
):
    path = days.data / "china/02.jpg"
    later(path)
    read = extractor_module.prepare

    def change_and_read(image: Any, *arguments: Any) -> Prepared:
        if Path(image) == path:
            crops[33].save(path, quality=80)
        return read(image, *arguments)

    with monkeypatch.context() as changing:
        changing.setattr(extractor_module, "prepare", change_and_read)
        days.run_alone()
    assert inferred() == [("02.jpg", 0)]
    summary = days.run()
    assert days.seen == [] and summary.taken_over == {"touched": 1}


def test_an_input_that_is_missing_is_refused_with_what_may_have_happened(days: Days):
    shutil.rmtree(days.data)
    with pytest.raises(
        InputShrunk, match=r"/data is missing, which table 'tiny' was made from: mount it, or"
    ):
        days.run_alone()
    with pytest.raises(BottleneckError, match=r"^`data_moved_from` says where .*: give `data`"):
        extract(ExtractOptions(**SETTINGS, store=str(days.store), data_moved_from=str(days.data)), quiet=True)


def test_a_rejected_file_that_is_renamed_is_said_to_be_gone(rejecting: Days):
    (rejecting.data / "china/text.jpg").rename(rejecting.data / "china/other.jpg")
    summary = rejecting.run_alone()
    assert (summary.rejected, summary.rejections_missing_from_input) == (1, 1)
    assert "1 rejected image is no longer in the input" in summary_text(summary, ExtractOptions())
    assert rejecting.run(remove_gone=True).rejections_missing_from_input == 0


def test_there_may_not_be_any_number_of_views(days: Days):
    with pytest.raises(BottleneckError, match=r"^`views=65`: expected 64 at most$"):
        days.run_alone(views=65)


@pytest.fixture
def flags(days: Days) -> Iterator[list[str]]:
    given = {**SETTINGS, "data": days.data, "store": days.store}
    yield ["extract", *(f"--{name}={value}" for name, value in given.items())]


def test_kinds_of_failure_have_exit_codes_of_their_own(
    days: Days, flags: list[str], crops: list[Image.Image], capsys: pytest.CaptureFixture[str]
):
    assert main(flags) == 0
    assert main([*flags, "--precision=bfloat16"]) == 5
    (days.data / "china/text.jpg").write_text("no image")
    assert main(flags) == 3
    for path in days.data.glob("*/*.jpg"):
        path.unlink()
    crops[0].save(days.data / "china/other.jpg")
    assert main(flags) == 4
    assert main([*flags, "--views=65"]) == 1
    assert BACKBONE.name in feature_store.table_names(days.store)


def test_lost_files_of_the_size_of_new_ones_are_noticed_before_they_are_removed(
    tmp_path: Path, inferred: Inferred
):
    """By their sizes, all may have been moved; by their bytes, none was."""
    days = Days(bitmaps(tmp_path, range(6)), tmp_path, inferred)
    days.run()
    for path in sorted(days.data.glob("*/*.bmp"))[:4]:
        path.unlink()
    bitmaps(tmp_path, range(6, 10))
    with pytest.raises(InputShrunk, match=r"^4 of the 6 images .* none was taken out$"):
        days.run_alone(remove_gone=True)
    assert len(days.table().metadata()) == 10
    days.run(remove_gone=True)


def test_a_stop_loses_a_slice_also_where_views_are_added(
    listed: tuple[Days, Callable[..., None]], monkeypatch: pytest.MonkeyPatch, inferred: Inferred
):
    """All images are in one part, which is rewritten by each slice then."""
    days, _ = listed
    committed, commit = 0, extraction.commit

    def stop_after_two(*arguments: Any, **more: Any) -> int:
        nonlocal committed
        committed += 1
        if committed == 3:
            raise KeyboardInterrupt
        return commit(*arguments, **more)

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(extraction, "commit", stop_after_two)
        days.run_alone(views=1, chunk_size=4)
    inferred()
    summary = days.run(views=1, chunk_size=4)
    assert len(days.seen) == summary.new == 17 - 8
