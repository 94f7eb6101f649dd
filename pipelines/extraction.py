"""The extraction pipeline: one chunk of planned images to one commit of the feature table.

Reads as: references → Reshuffle → RunInference → record batches in Parquet parts → commit. References and
features travel; encoded bytes and pixels never do.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import RunInference
from apache_beam.pvalue import AsList, TaggedOutput
from apache_beam.runners.runner import PipelineState

from features.commit import Chunk, Rejected, StalePlan, commit_chunk
from features.errors import BottleneckError
from features.images import DECODING
from features.inception import Extracted
from features.inputs.reference import ImageRef
from features.locations import features_path
from features.parts import Part, row_groups, write_row_groups
from features.schema import IMAGE_COLUMNS, TableFacts
from features.splits import assign_split
from features.table import FeatureTable
from pipelines.extractor import ExtractorSettings
from pipelines.handler import NAMESPACE, InceptionHandler, Outcome
from pipelines.runner import make_pipeline

#: Packages whose versions the table's history tells of each commit.
_PACKAGES = ("apache-beam", "deltalake", "keras", "openvino", "pyarrow", "tensorflow")

#: Rows of one part file: 32 MiB of 2,048-wide features.
_PART_ROWS = 4096


class WrittenPart(NamedTuple):
    """A part file, and the precisions that its rows were really computed in."""

    part: Part
    precisions: frozenset[str]


@dataclasses.dataclass
class ExtractChunk(beam.PTransform):
    """Extracts features of planned images and commits them; a PCollection of ImageRef in, nothing out.

    Attributes:
        store, name: the feature table, which exists.
        facts: what it was created with.
        settings: how workers make their extractor.
        chunk: what is committed, and on which version of the table.
        history: what the commit shall say of the run.
    """

    store: Path
    name: str
    facts: TableFacts
    settings: ExtractorSettings
    chunk: Chunk
    history: dict[str, Any]

    def expand(self, images):  # type: ignore[no-untyped-def]
        outcomes = (
            images
            | "Reshuffle" >> beam.Reshuffle()
            | "RunInference" >> RunInference(InceptionHandler(self.settings))
            | "SeparateRejected" >> beam.FlatMap(separate_rejected).with_outputs("rejected", main="features")
        )
        written = (
            outcomes.features
            | "BatchRows" >> beam.BatchElements(min_batch_size=_PART_ROWS, max_batch_size=_PART_ROWS)
            | "WriteParts" >> beam.Map(self._write_part)
        )
        return (
            images.pipeline
            | "Once" >> beam.Create([None])
            | "Commit" >> beam.Map(self._commit, written=AsList(written), rejected=AsList(outcomes.rejected))
        )

    def _write_part(self, outcomes: Sequence[Outcome]) -> WrittenPart:
        groups = row_groups([split_of(outcome) for outcome in outcomes])
        batches = (
            to_record_batch([outcomes[row] for row in rows], self.facts, self.chunk.run_id) for rows in groups
        )
        folder, decodings = features_path(self.store, self.name), {self.chunk.run_id: DECODING}
        part = write_row_groups(folder, batches, self.facts.schema, decodings)
        return WrittenPart(part, frozenset(outcome.precision for outcome in outcomes))

    def _commit(self, _: None, written: Sequence[WrittenPart], rejected: Sequence[Rejected]) -> None:
        facts = {
            **self.history,
            "stored": sum(one.part.rows for one in written),
            "rejected": len(rejected),
            "decoding": DECODING,
            "precision_used": sorted(set().union(*(one.precisions for one in written))),
        }
        try:
            commit_chunk(self.store, self.name, self.chunk, [one.part for one in written], rejected, facts)
        except StalePlan:
            # No failure: the driver sees that its chunk is not in the table, plans again and continues.
            beam.metrics.Metrics.counter(NAMESPACE, "stale_commits").inc()


def separate_rejected(outcome: Outcome) -> Iterator[Any]:
    """Outcomes with features as they are; the others, tagged `rejected`, as `Rejected`."""
    if isinstance(outcome.result, Extracted):
        yield outcome
    else:
        image, error = outcome.image, outcome.result
        rejected = Rejected(image.uri, error.reason, error.detail, image.size, image.modified_at)
        yield TaggedOutput("rejected", rejected)


def split_of(outcome: Outcome) -> str:
    """The split of an image that has features."""
    assert isinstance(outcome.result, Extracted)
    return assign_split(outcome.result.image_id, outcome.image.split)


def to_record_batch(outcomes: Sequence[Outcome], facts: TableFacts, run_id: str) -> pa.RecordBatch:
    """Rows of the feature table, in its schema, for images that have features."""
    images: list[ImageRef] = [outcome.image for outcome in outcomes]
    results: list[Extracted] = [outcome.result for outcome in outcomes]  # type: ignore[misc]
    now = datetime.datetime.now(datetime.UTC)
    columns: dict[str, Any] = {
        "image_id": [result.image_id for result in results],
        "uri": [image.uri for image in images],
        "labels": [image.labels for image in images],
        "split": [split_of(outcome) for outcome in outcomes],
        "view": np.zeros(len(images), np.int32),
        "width": [result.width for result in results],
        "height": [result.height for result in results],
        "format": [result.format for result in results],
        # Unknown when it was listed, readable since: the next plan finds it changed, and settles it.
        "size": [image.size or 0 for image in images],
        "modified_at": [image.modified_at or 0 for image in images],
        "extracted_at": [now] * len(images),
        "run_id": [run_id] * len(images),
    }
    for number, layer in enumerate(facts.layers):
        columns[layer] = _list_array([result.features[number] for result in results])
    arrays = [pa.array(columns[name], facts.schema.field(name).type) for name in IMAGE_COLUMNS]
    arrays += [columns[layer].cast(facts.schema.field(layer).type) for layer in facts.layers]
    return pa.RecordBatch.from_arrays(arrays, schema=facts.schema)


def _list_array(rows: list[np.ndarray]) -> pa.ListArray:
    """Rows of equal width as one Arrow list array."""
    values = np.concatenate(rows)
    width = len(values) // len(rows)
    return pa.ListArray.from_arrays(np.arange(len(rows) + 1, dtype=np.int32) * width, values)


def run_chunk(
    images: list[ImageRef],
    table: FeatureTable,
    settings: ExtractorSettings,
    chunk: Chunk,
    runner: str,
    beam_args: list[str],
) -> None:
    """Run one chunk to its end, on `runner` (`pipelines.runner`).

    Raises:
        BottleneckError: where the runner reports anything but success.
    """
    history = {
        "recipe": table.recipe.to_dict(),
        "engine": settings.engine,
        "packages": {package: version(package) for package in _PACKAGES},
    }
    pipeline = make_pipeline(runner, beam_args)
    _ = (
        pipeline
        | "PlannedImages" >> beam.Create(images, reshuffle=False)
        | "ExtractChunk" >> ExtractChunk(table.store, table.name, table.facts, settings, chunk, history)
    )
    try:
        state = pipeline.run().wait_until_finish()
    except RuntimeError as error:
        raise (_meant_for_people(error) or error) from None
    if state != PipelineState.DONE:
        raise BottleneckError(f"the pipeline on RUNNER={runner} ended as {state}, see the runner's own log")


def _meant_for_people(error: BaseException | None) -> BaseException | None:
    """Ctrl-C, or a fault the user can mend, from within the RuntimeErrors that Beam wraps round it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | BottleneckError):
            return error
        error = error.__cause__ or error.__context__
    return None
