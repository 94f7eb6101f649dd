"""The pipeline of a plan's slices: its steps as plain functions, and as Beam runs them."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import io
import pickle
import shutil
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from apache_beam.runners.runner import PipelineState
from PIL import Image

from features import store as feature_store
from features.augmentation import Augmentation
from features.decodings import DECODING
from features.errors import BottleneckError
from features.extractor import Extractor, Views
from features.inputs import list_images
from features.locations import features_path
from features.recipe import FeatureRecipe
from features.splits import assign_split
from features.store.commit import rejected_rows
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from pipelines.extraction import ExtractSlices, commit_slice, run_pipeline, slice_numbers, write_slice
from pipelines.extractor import ExtractorSettings, load_extractor
from pipelines.handler import NAMESPACE, SliceHandler
from pipelines.planning import make_plan
from pipelines.runner import make_pipeline
from pipelines.runs import Header, Run
from pipelines.screen import ImageProgress


@pytest.fixture(scope="module")
def recipe(tiny: str) -> FeatureRecipe:
    return Extractor("random", backbone=tiny, engine="openvino").recipe


@pytest.fixture
def images(photos: Path, tmp_path: Path) -> pa.Table:
    """Nine good ones, and one that is none."""
    folder = tmp_path / "images" / "rose"
    folder.mkdir(parents=True)
    for path in sorted(photos.rglob("*.jpg"))[:9]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "bad.jpg").write_text("no image")
    return list_images(str(folder.parent)).images


@pytest.fixture
def table(tmp_path: Path, recipe: FeatureRecipe) -> FeatureTable:
    facts = TableFacts("/images", "random", ("avg_pool",), recipe)
    return feature_store.create(tmp_path / "store", "inception_v3", facts)


@pytest.fixture
def run(table: FeatureTable, images: pa.Table) -> Iterator[Run]:
    """A living run that has planned slices of four images."""
    run = Run(table.store, "run-1")
    with run.kept_alive("inception_v3", local=True):
        plan = make_plan(images, table)
        run.write_plan(Header(table.name, plan.basis), plan.slices(4))
        yield run


def settings(recipe: FeatureRecipe) -> ExtractorSettings:
    return ExtractorSettings("random", ("avg_pool",), "openvino", recipe)


def extract(run: Run, number: int, recipe: FeatureRecipe) -> list[Any]:
    handler = SliceHandler(run, settings(recipe))
    return list(handler.run_inference([number], handler.load_model()))


def test_every_slice_is_a_commit_and_beam_counts(run: Run, table: FeatureTable, images: pa.Table):
    pipeline = make_pipeline("local", [])
    _ = pipeline | ExtractSlices(run, settings(table.recipe), {"note": "test"})
    with ImageProgress(10, io.StringIO()) as shown:
        result = pipeline.run()
        result.wait_until_finish()
    assert (shown.done, shown.rejected) == (10, 1)
    newest = feature_store.open(table.store)
    assert newest.version == table.version + 3
    assert len(newest.metadata()) == 9 and len(rejected_rows(newest)) == 1
    entries = newest.delta.history(3)
    assert sorted((entry["slice"], entry["stored"] + entry["rejected"]) for entry in entries) == [
        (0, 4),
        (1, 4),
        (2, 2),
    ]
    told = {
        tuple(entry[name] for name in ("run_id", "note", "decoding", "precision_used")) for entry in entries
    }
    assert told == {("run-1", "test", DECODING, "float32")} and newest.decodings() == {DECODING: 9}
    query = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(NAMESPACE))
    counters = {counter.key.metric.name: counter.committed for counter in query["counters"]}
    assert counters["images"] == 10 and counters["batches"] == 3 and counters["rejected_not_an_image"] == 1
    assert {f"milliseconds_{stage}" for stage in ("read", "decode", "infer", "wait")} <= counters.keys()
    assert not run.attempts(), "no slice is left in the middle"
    did: Counter[str] = Counter()
    for entry in entries:
        did.update(entry["images"])
    assert did == {
        "inferred": 9, "rows": 9, "moved": 0, "touched": 0, "same_bytes": 0, "relabelled": 0, "unread": 0,
    }  # fmt: skip


def test_rows_have_what_is_known_of_the_image(run: Run, table: FeatureTable, images: pa.Table):
    before = datetime.datetime.now(datetime.UTC)
    for number in range(3):
        (extracted,) = extract(run, number, table.recipe)
        commit_slice(write_slice(extracted), {})
    newest = feature_store.open(table.store)
    rows = {row["uri"]: row for row in newest.metadata().to_pylist()}
    listed = {row["uri"]: row for row in images.to_pylist()}
    (bad,) = rejected_rows(newest).to_pylist()
    assert rows.keys() | {bad["uri"]} == listed.keys()
    assert max(row["size"] for row in rows.values()) > 2048
    for uri, row in rows.items():
        data = Path(uri).read_bytes()
        image_id = hashlib.sha256(data).hexdigest()
        assert before <= row.pop("extracted_at") <= datetime.datetime.now(datetime.UTC)
        assert row == {
            "image_id": image_id,
            "uri": uri,
            "labels": ["rose"],
            "split": assign_split(image_id, None),
            "view": 0,
            **dict(zip(("width", "height"), Image.open(uri).size, strict=True)),
            "format": "jpeg",
            "size": len(data),
            "modified_at": listed[uri]["modified_at"],
            "run_id": "run-1",
        }
    assert before <= bad.pop("rejected_at") <= datetime.datetime.now(datetime.UTC)
    assert bad == {
        **{name: listed[bad["uri"]][name] for name in ("uri", "size", "modified_at")},
        **{"reason": "not_an_image", "detail": "unknown format; it begins with b'no image'"},
        "run_id": "run-1",
    }
    X, _ = newest.matrix()
    expected = load_extractor(settings(table.recipe)).features(
        newest.metadata(["uri"]).column("uri").to_pylist()
    )
    np.testing.assert_allclose(X, expected["avg_pool"], rtol=1e-4, atol=1e-5)


def settle_all(table: FeatureTable, run_id: str, images: pa.Table, views: int = 0) -> list[dict[str, Any]]:
    """Do all that there is to do for an input; what the commits say, slice by slice."""
    run = Run(table.store, run_id)
    augmentation = Augmentation(rotation=0.1).to_dict() if views else None
    with run.kept_alive("inception_v3", local=True):
        plan = make_plan(images, table, views=views)
        run.write_plan(Header(table.name, plan.basis, views, augmentation), plan.slices(20))
        for number in range(run.slices()):
            (extracted,) = extract(run, number, table.recipe)
            commit_slice(write_slice(extracted), {})
        assert not run.attempts()
    newest = feature_store.open(table.store)
    return newest.delta.history(newest.version - plan.basis.version)


def test_what_is_only_said_of_images_is_changed_without_reading_or_inferring_any(
    table: FeatureTable, images: pa.Table, prepared: list[str], monkeypatch: pytest.MonkeyPatch
):
    settle_all(table, "run-1", images)
    before = feature_store.open(table.store)
    prepared.clear()
    monkeypatch.setattr("pipelines.handler.load_extractor", None)  # nothing has use for a network
    other = pa.array([["tulip"]] * len(images), images.schema.field("labels").type)
    labelled = images.set_column(
        images.schema.get_field_index("labels"), images.schema.field("labels"), other
    )
    (told,) = settle_all(before, "run-2", labelled)
    assert prepared == [] and told["images"]["relabelled"] == 9 and told["images"]["inferred"] == 0
    assert "precision_used" not in told and told["stored"] == 9
    after = feature_store.open(table.store)
    assert set(map(tuple, after.metadata(["labels"]).column("labels").to_pylist())) == {("tulip",)}
    for name in ("run_id", "extracted_at", "image_id"):
        assert sorted(after.metadata([name]).column(name).to_pylist()) == sorted(
            before.metadata([name]).column(name).to_pylist()
        )
    assert after.decodings() == {DECODING: 9}


def test_training_images_get_the_views_that_the_plan_wants(table: FeatureTable, images: pa.Table):
    train = pa.array(["train"] * 8 + ["test"] * 2)
    split = images.set_column(images.schema.get_field_index("split"), images.schema.field("split"), train)
    (told,) = settle_all(table, "run-1", split, views=2)
    newest = feature_store.open(table.store)
    trained = split.filter(pc.equal(split.column("split"), "train")).column("uri").to_pylist()
    (bad,) = rejected_rows(newest).column("uri").to_pylist()
    rows = newest.metadata(["uri", "view"])
    found = list(zip(rows.column("uri").to_pylist(), rows.column("view").to_pylist(), strict=True))
    expected = [
        (uri, view)
        for uri in split.column("uri").to_pylist()
        if uri != bad
        for view in range(3 if uri in trained else 1)
    ]
    assert sorted(found) == sorted(expected)
    assert (told["images"]["inferred"], told["images"]["rows"]) == (9, len(expected))
    assert newest.views == 2
    model = load_extractor(settings(table.recipe))
    views = Views(lambda place, image_id: (0, 1, 2), 3, Augmentation(rotation=0.1))
    X, _ = newest.matrix()
    wanted = {
        (uri, row["view"]): row["avg_pool"]
        for uri in trained
        if uri != bad
        for batch in model.extract([uri], views=views)
        for row in batch.to_pylist()
    }
    places = [number for number, key in enumerate(found) if key in wanted]
    assert len(places) == len(wanted) == 3 * len(set(trained) - {bad})
    np.testing.assert_allclose(X[places], [wanted[found[number]] for number in places], rtol=1e-4, atol=1e-5)


def test_a_slice_that_is_handed_out_again_is_passed_over_once_it_is_committed(
    run: Run, table: FeatureTable, prepared: list[str]
):
    (before,) = extract(run, 0, table.recipe)
    (again,) = extract(run, 0, table.recipe)
    assert run.attempts() == {0: 2} and len(prepared) == 8
    commit_slice(write_slice(before), {})
    half_way = write_slice(again)
    commit_slice(half_way, {})
    assert extract(run, 0, table.recipe) == [] and len(prepared) == 8
    newest = feature_store.open(table.store)
    assert newest.version == table.version + 1 and not run.attempts()
    assert len(newest.metadata()) + len(rejected_rows(newest)) == 4


@pytest.mark.parametrize(
    ("before", "marks", "isolated"), [(0, 1, False), (1, 0, False), (1, 1, True), (2, 0, True), (0, 2, True)]
)
def test_an_image_that_processes_have_ended_on_twice_is_kept_apart(
    run: Run,
    table: FeatureTable,
    images: pa.Table,
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    marks: int,
    isolated: bool,
):
    ended = pa.table({"uri": images.column("uri")[:1], "attempts": pa.array([before], pa.int32())})
    plan = make_plan(images, table, attempts=ended)
    run.write_plan(Header(table.name, plan.basis), plan.slices(10))
    number = run.slices() - 1
    for _ in range(marks):
        run.begin(number)
    asked: list[bool] = []
    model = load_extractor(settings(table.recipe))

    def note_and_extract(uris: list[str], *, isolated: bool, views: Views) -> Iterator[pa.RecordBatch]:
        asked.append(isolated)
        return Extractor.extract(model, uris, views=views)

    monkeypatch.setattr(model, "extract", note_and_extract)
    extract(run, number, table.recipe)
    assert asked == [isolated]


def test_a_slice_whose_plan_is_gone_ends_without_a_fault(
    run: Run, table: FeatureTable, prepared: list[str], caplog: pytest.LogCaptureFixture
):
    run.remove()
    assert list(slice_numbers(run)) == []
    assert extract(run, 0, table.recipe) == [] and prepared == []
    assert caplog.messages == ["the plan of run run-1 is missing: slice 0 is left undone"]


def test_a_slice_of_a_table_that_was_made_anew_is_not_begun(
    run: Run, table: FeatureTable, prepared: list[str], caplog: pytest.LogCaptureFixture
):
    (extracted,) = extract(run, 0, table.recipe)
    shutil.rmtree(features_path(table.store, table.name))
    feature_store.create(table.store, table.name, table.facts)
    commit_slice(write_slice(extracted), {})
    assert extract(run, 1, table.recipe) == [] and len(prepared) == 4
    assert feature_store.open(table.store).version == 0 and not run.attempts()
    assert caplog.messages[-2:] == [
        f"slice {number} is left undone: table 'inception_v3' was removed and made anew after this run had "
        f"planned its work, which is not committed there: run it again"
        for number in (0, 1)
    ]


def test_a_worker_with_another_backbone_is_refused_in_a_sentence(run: Run, table: FeatureTable):
    with pytest.raises(BottleneckError, match="backbone is not the one of the table: weights_sha256"):
        run_pipeline(
            run, table, settings(dataclasses.replace(table.recipe, weights_sha256="0" * 64)), "local", []
        )


def test_the_history_says_how_a_run_made_its_features(run: Run, table: FeatureTable):
    run_pipeline(run, table, settings(table.recipe), "local", [])
    newest = feature_store.open(table.store, table.name)
    commits = [entry for entry in newest.delta.history() if "run_id" in entry]
    assert len(commits) == 3 and all(name.startswith("run-1.") for name in newest.names)
    for entry in commits:
        assert (entry["recipe"], entry["engine"]) == (table.recipe.to_dict(), "openvino")
        assert {"apache-beam", "deltalake", "openvino", "tensorflow"} <= entry["packages"].keys()
        assert all(version(name) == number for name, number in entry["packages"].items())


def test_a_runner_that_ends_otherwise_than_done_is_told(
    run: Run, table: FeatureTable, monkeypatch: pytest.MonkeyPatch
):
    class Elsewhere(beam.Pipeline):
        def run(self, *_: object) -> Any:
            return SimpleNamespace(wait_until_finish=lambda: PipelineState.CANCELLED)

    monkeypatch.setattr("pipelines.extraction.make_pipeline", lambda *_: Elsewhere())
    with pytest.raises(BottleneckError) as error:
        run_pipeline(run, table, settings(table.recipe), "Elsewhere", [])
    assert str(error.value) == (
        "the pipeline on `runner=Elsewhere` ended as CANCELLED, see the runner's own log"
    )


def test_what_travels_to_workers_survives_pickling_and_does_not_grow_with_the_images(
    run: Run, table: FeatureTable, images: pa.Table
):
    def size_of_graph(run: Run) -> int:
        pipeline = make_pipeline("local", [])
        _ = pipeline | ExtractSlices(run, settings(table.recipe), {})
        return len(pipeline.to_runner_api().SerializeToString())

    other = Run(table.store, "run-2")
    with other.kept_alive("inception_v3", local=True):
        many = images.take(np.arange(1000) % len(images))
        names = pa.array([f"/images/{number}.jpg" for number in range(1000)])
        plan = make_plan(many.set_column(0, images.schema.field("uri"), names), table)
        other.write_plan(Header(table.name, plan.basis), plan.slices(1))
        assert other.slices() == 1000 and run.slices() == 3
        # Beam's own pickles differ by some bytes from one time to the next.
        assert abs(size_of_graph(other) - size_of_graph(run)) < 500
    handler = pickle.loads(pickle.dumps(SliceHandler(run, settings(table.recipe))))
    assert handler.batch_elements_kwargs() == {"min_batch_size": 1, "max_batch_size": 1}
