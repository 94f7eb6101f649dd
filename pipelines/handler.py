"""A backbone as a Beam `ModelHandler`: slices of a plan in, their images' features or reasons out.

Use it with `RunInference` on the numbers of slices; it reads the images itself. Where encoded images already
travel in the pipeline, use `features.Extractor` in a handler of your own.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler

from features.extractor import Extractor
from features.store.commit import Change, TableReplaced, check_basis, is_committed, open_planned
from features.store.schema import TableFacts
from pipelines.extractor import ExtractorSettings, load_extractor
from pipelines.planning import MOST_ATTEMPTS
from pipelines.runs import Run
from pipelines.screen import progress
from pipelines.settling import SettledSlice, SliceWork

NAMESPACE = "bottlenecks"


class ExtractedSlice(NamedTuple):
    """A slice whose features are there.

    Attributes:
        run: whose plan it is of.
        number: of the slice.
        table: name of the feature table.
        facts: what that was made with.
        change: what is to be committed.
        settled: the rows of it.
        precision: what the worker really computed in; None where it had nothing to read.
        mark: that the slice is being worked on.
    """

    run: Run
    number: int
    table: str
    facts: TableFacts
    change: Change
    settled: SettledSlice
    precision: str | None
    mark: Path


class LateExtractor:
    """A process's extractor, loaded when a slice first has images to read."""

    def __init__(self, settings: ExtractorSettings) -> None:
        self._settings = settings

    def load(self) -> Extractor:
        return load_extractor(self._settings)


class SliceHandler(ModelHandler[int, ExtractedSlice, LateExtractor]):
    """Reads, hashes, decodes and infers on threads of its own; a bad image costs no other image."""

    def __init__(self, run: Run, settings: ExtractorSettings) -> None:
        super().__init__()
        self._run = run
        self._settings = settings

    def load_model(self) -> LateExtractor:
        return LateExtractor(self._settings)

    def run_inference(
        self, batch: Sequence[int], model: LateExtractor, inference_args: Mapping[str, Any] | None = None
    ) -> Iterator[ExtractedSlice]:
        for number in batch:
            with self._run.renewing():
                if (extracted := self._extract(number, model)) is not None:
                    yield extracted

    def _extract(self, number: int, model: LateExtractor) -> ExtractedSlice | None:
        """A slice's features; None where there is nothing to do, or no longer."""
        header = self._run.header()
        # No errors: an engine may hand out a slice that fails without end.
        if header is None:
            logging.error("the plan of run %s is missing: slice %d is left undone", self._run.run_id, number)
            return None
        change = Change(f"{self._run.run_id}/{number}", self._run.run_id, header.basis)
        try:
            table = open_planned(self._run.store, header.table)
            if is_committed(table, change.id):
                return None
            check_basis(table, header.basis)
        except TableReplaced as error:
            logging.error("slice %d is left undone: %s", number, error)
            return None
        planned = self._run.slice(number)
        ended = self._run.attempts()[number] + (pc.max(planned.column("attempts")).as_py() or 0)
        mark = self._run.begin(number)
        work = SliceWork(planned, table, header)
        progress.info("images", extra={"images": len(planned) - len(work.images), "rejected": 0})
        extracted, precision = None, None
        if work.images:
            extractor = model.load()
            precision = extractor.engine.precision
            batches = self._batches(work, extractor, isolated=ended >= MOST_ATTEMPTS)
            extracted = pa.Table.from_batches(batches, extractor.schema)
        settled = work.settle(extracted, self._run.run_id, datetime.datetime.now(datetime.UTC))
        change = change._replace(outdated=settled.outdated)
        return ExtractedSlice(self._run, number, header.table, table.facts, change, settled, precision, mark)

    def _batches(self, work: SliceWork, model: Extractor, *, isolated: bool) -> Iterator[pa.RecordBatch]:
        before = model.seconds.copy()
        for batch in model.extract(work.images, isolated=isolated, views=work.views):
            images = len(batch.column("image").unique())
            reasons = batch.column("reason").drop_null().to_pylist()
            progress.info("images", extra={"images": images, "rejected": len(reasons)})
            for reason in reasons:
                Metrics.counter(NAMESPACE, f"rejected_{reason}").inc()
            Metrics.counter(NAMESPACE, "images").inc(images)
            Metrics.counter(NAMESPACE, "batches").inc()
            yield batch
        for stage, seconds in (model.seconds - before).items():
            Metrics.counter(NAMESPACE, f"milliseconds_{stage}").inc(round(1000 * seconds))

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        # More would hold the features of two slices before the first is committed.
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_metrics_namespace(self) -> str:
        return NAMESPACE
