"""The extraction pipeline: one for a run, over the slices of its plan.

Reads as: slices → Reshuffle → RunInference → a part file → commit. What travels are the numbers of slices:
images are read, and features written, where a slice is worked on.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.runners.runner import PipelineState

from features.decodings import DECODING
from features.engines import ENGINES
from features.errors import BottleneckError
from features.locations import features_path, rejected_path
from features.store.commit import TableReplaced, commit
from features.store.parts import Part, write_part
from features.store.schema import REJECTED_SCHEMA
from features.store.table import FeatureTable
from pipelines.extractor import ExtractorSettings
from pipelines.handler import ExtractedSlice, SliceHandler
from pipelines.runner import make_pipeline
from pipelines.runs import Run

#: Packages whose versions the table's history tells of each commit.
_PACKAGES = ("apache-beam", "deltalake", "pyarrow")


class WrittenSlice(NamedTuple):
    """A slice whose part files, of features and of rejections, are written and not committed yet."""

    extracted: ExtractedSlice
    part: Part | None
    rejected: Part | None


@dataclasses.dataclass
class ExtractSlices(beam.PTransform):
    """Extracts the features of a plan's slices and commits each; from the pipeline's begin to nothing.

    Attributes:
        run: whose plan it is.
        settings: how workers make their extractor.
        history: what each commit shall say of the run.
    """

    run: Run
    settings: ExtractorSettings
    history: Mapping[str, Any]

    def expand(self, pipeline):  # type: ignore[no-untyped-def]
        return (
            pipeline
            | "Plan" >> beam.Create([self.run])
            | "Slices" >> beam.FlatMap(slice_numbers)
            | "Reshuffle" >> beam.Reshuffle()
            | "RunInference" >> RunInference(SliceHandler(self.run, self.settings))
            | "WritePart" >> beam.Map(write_slice)
            | "Commit" >> beam.Map(commit_slice, self.history)
        )


def slice_numbers(run: Run) -> Iterator[int]:
    """The numbers of a plan's slices; none where the plan is missing."""
    yield from range(run.slices() if run.header() else 0)


def write_slice(extracted: ExtractedSlice) -> WrittenSlice:
    """Write the part files of a slice: of its images that give features, and of those that give none."""
    run_id, store, settled = extracted.run.run_id, extracted.run.store, extracted.settled
    part = rejected = None
    if len(settled.features):
        part = write_part(
            features_path(store, extracted.table),
            settled.features.to_batches(),
            extracted.facts.schema,
            settled.decodings,
            run_id=run_id,
        )
    if len(settled.rejected):
        rejected = write_part(
            rejected_path(store, extracted.table),
            settled.rejected.to_batches(),
            REJECTED_SCHEMA,
            run_id=run_id,
        )
    written = settled._replace(features=settled.features.schema.empty_table())
    return WrittenSlice(extracted._replace(settled=written), part, rejected)


def commit_slice(written: WrittenSlice, history: Mapping[str, Any]) -> None:
    """Commit a slice; the mark that it is worked on goes."""
    extracted = written.extracted
    facts = {
        **history,
        "slice": extracted.number,
        "decoding": DECODING,
        **({"precision_used": extracted.precision} if extracted.settled.counts["inferred"] else {}),
        "images": extracted.settled.counts,
    }
    run, table, change = extracted.run, extracted.table, extracted.change
    try:
        commit(run.store, table, change, facts, part=written.part, rejected=written.rejected)
    except TableReplaced as error:  # once more would not help
        logging.error("slice %d is left undone: %s", extracted.number, error)
    run.end(extracted.mark)


def run_pipeline(
    run: Run, table: FeatureTable, settings: ExtractorSettings, runner: str, beam_args: list[str]
) -> None:
    """Run the pipeline of a run's plan to its end, on `runner` (`pipelines.runner`).

    Raises:
        BottleneckError: where the runner reports anything but success.
    """
    history = {
        "recipe": table.recipe.to_dict(),
        "engine": settings.engine,
        "packages": {package: version(package) for package in (*_PACKAGES, *ENGINES[settings.engine])},
    }
    pipeline = make_pipeline(runner, beam_args)
    _ = pipeline | "ExtractSlices" >> ExtractSlices(run, settings, history)
    try:
        state = pipeline.run().wait_until_finish()
    except RuntimeError as error:
        raise (_meant_for_people(error) or error) from None
    if state != PipelineState.DONE:
        raise BottleneckError(f"the pipeline on `runner={runner}` ended as {state}, see the runner's own log")


def _meant_for_people(error: BaseException | None) -> BaseException | None:
    """Ctrl-C, or a fault the user can mend, from within the RuntimeErrors that Beam wraps round it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | BottleneckError | OSError):
            return error
        error = error.__cause__ or error.__context__
    return None
