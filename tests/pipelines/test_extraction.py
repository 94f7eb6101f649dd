"""The pipeline of one chunk: its parts as plain functions, and as Beam runs them."""

from __future__ import annotations

import pickle
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.pvalue import TaggedOutput

from features import store as feature_store
from features.commit import Chunk, Rejected, rejected_rows
from features.errors import BottleneckError
from features.images import ImageError
from features.inception import Extracted, InceptionV3
from features.inputs import list_images
from features.inputs.reference import ImageRef
from features.recipe import FeatureRecipe
from features.schema import TableFacts
from features.table import FeatureTable
from pipelines.extraction import ExtractChunk, run_chunk, separate_rejected, to_record_batch
from pipelines.extractor import ExtractorSettings
from pipelines.handler import NAMESPACE, InceptionHandler, Outcome
from pipelines.runner import make_pipeline
from tests.tables import RECIPE

IMAGE = ImageRef("/images/é, 1.jpg", ("rose",), None, 10, 1_700_000_000_000_000)
GOOD = Extracted("ab" * 32, 80, 60, "jpeg", (np.arange(2048, dtype=np.float32),))


@pytest.fixture(scope="module")
def recipe() -> FeatureRecipe:
    return InceptionV3("random", engine="openvino").recipe


@pytest.fixture
def table(tmp_path: Path, recipe: FeatureRecipe) -> FeatureTable:
    facts = TableFacts("/images", "random", ("avg_pool",), recipe)
    return feature_store.create(tmp_path / "store", "inception_v3", facts)


def settings(recipe: FeatureRecipe) -> ExtractorSettings:
    return ExtractorSettings("random", ("avg_pool",), "openvino", recipe)


def images_of(photos: Path, bad: Path) -> list[ImageRef]:
    bad.write_text("no image")
    return [*list_images(str(photos)).images[:9], ImageRef(str(bad), ("rose",), None, 8, 0)]


def test_outcomes_are_separated_by_what_they_are():
    assert list(separate_rejected(Outcome(IMAGE, GOOD, "float32"))) == [Outcome(IMAGE, GOOD, "float32")]
    (tagged,) = separate_rejected(Outcome(IMAGE, ImageError("corrupt", "no end"), "float32"))
    assert isinstance(tagged, TaggedOutput) and tagged.tag == "rejected"
    assert tagged.value == Rejected(IMAGE.uri, "corrupt", "no end", 10, IMAGE.modified_at)


def test_rows_have_what_is_known_of_the_image():
    facts = TableFacts("/images", "random", ("avg_pool",), RECIPE)
    batch = to_record_batch([Outcome(IMAGE._replace(split="test"), GOOD, "float32")], facts, "run-1")
    assert batch.schema == facts.schema
    (row,) = batch.to_pylist()
    assert row["uri"] == IMAGE.uri and row["labels"] == ["rose"] and row["split"] == "test"
    assert (row["width"], row["height"], row["format"], row["view"]) == (80, 60, "jpeg", 0)
    assert row["modified_at"].isoformat() == "2023-11-14T22:13:20+00:00"
    assert row["avg_pool"] == list(range(2048))


def test_a_step_that_is_run_again_commits_once_and_beam_counts(
    table: FeatureTable, photos: Path, tmp_path: Path
):
    chunk = Chunk("run-1", 1, table.version)
    transform = ExtractChunk(
        table.store, table.name, table.facts, settings(table.recipe), chunk, {"note": "test"}
    )
    for _ in range(2):
        pipeline = make_pipeline("local", [])
        _ = pipeline | beam.Create(images_of(photos, tmp_path / "bad.jpg")) | transform
        result = pipeline.run()
        result.wait_until_finish()
    newest = feature_store.open(table.store)
    assert newest.version == table.version + 1
    assert len(newest.metadata()) == 9 and len(rejected_rows(newest)) == 1
    entry = newest.delta.history(1)[0]
    assert (entry["note"], entry["stored"], entry["rejected"]) == ("test", 9, 1)
    query = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(NAMESPACE))
    counters = {counter.key.metric.name: counter.committed for counter in query["counters"]}
    assert counters["images"] == 10 and counters["batches"] == 2 and counters["rejected_not_an_image"] == 1
    assert counters["milliseconds_infer"] > 0 and "milliseconds_decode" in counters


def test_a_chunk_planned_on_another_version_leaves_the_table_alone(table: FeatureTable, photos: Path):
    stale = Chunk("run-1", 1, table.version + 5)
    images = list_images(str(photos)).images[:1]
    run_chunk(images, table, settings(table.recipe), stale, "local", [])
    assert feature_store.open(table.store).version == table.version


def test_a_worker_with_another_backbone_is_refused_in_a_sentence(table: FeatureTable, photos: Path):
    other = settings(RECIPE)
    with pytest.raises(BottleneckError, match="backbone is not the one of the table: weights_sha256"):
        images = list_images(str(photos)).images[:1]
        run_chunk(images, table, other, Chunk("run-1", 1, table.version), "local", [])


def test_what_travels_to_workers_survives_pickling(table: FeatureTable):
    handler = pickle.loads(pickle.dumps(InceptionHandler(settings(table.recipe))))
    assert handler.get_num_bytes([IMAGE, IMAGE._replace(size=None)]) == 10
    error = pickle.loads(pickle.dumps(ImageError("corrupt", "no end")))
    assert (error.reason, error.detail) == ("corrupt", "no end")
