"""Inception V3 as a Beam `ModelHandler`: image references in, features or the reason why not out.

Use it with `RunInference` on references; it reads the images itself. Where encoded images already
travel in the pipeline, use `features.inception.InceptionV3` in a handler of your own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler

from features.images import ImageError
from features.inception import Extracted, InceptionV3
from features.inputs.reference import ImageRef
from pipelines.extractor import CALL_IMAGES, ExtractorSettings, in_order, load_extractor
from pipelines.screen import progress

NAMESPACE = "bottlenecks"


class Outcome(NamedTuple):
    """One image, its features or why it has none, and the precision that the worker really computed in."""

    image: ImageRef
    result: Extracted | ImageError
    precision: str


class InceptionHandler(ModelHandler[ImageRef, Outcome, InceptionV3]):
    """Reads, hashes, decodes and infers on threads of its own; a bad image costs no other image."""

    def __init__(self, settings: ExtractorSettings) -> None:
        super().__init__()
        self._settings = settings

    def load_model(self) -> InceptionV3:
        return load_extractor(self._settings)

    def run_inference(
        self, batch: Sequence[ImageRef], model: InceptionV3, inference_args: Mapping[str, Any] | None = None
    ) -> Iterator[Outcome]:
        before = model.seconds.copy()
        batch = in_order(batch)
        outcomes = model.extract(image.uri for image in batch)
        for image, result in zip(batch, outcomes, strict=True):
            progress.info("image", extra={"rejected": isinstance(result, ImageError)})
            if isinstance(result, ImageError):
                Metrics.counter(NAMESPACE, f"rejected_{result.reason}").inc()
            yield Outcome(image, result, model.engine.precision)
        Metrics.counter(NAMESPACE, "images").inc(len(batch))
        Metrics.counter(NAMESPACE, "batches").inc(-(-len(batch) // model.engine.batch_size))
        for stage, seconds in (model.seconds - before).items():
            Metrics.counter(NAMESPACE, f"milliseconds_{stage}").inc(round(1000 * seconds))

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        return {"min_batch_size": CALL_IMAGES, "max_batch_size": CALL_IMAGES}

    def get_num_bytes(self, batch: Sequence[ImageRef]) -> int:
        return sum(image.size or 0 for image in batch)

    def get_metrics_namespace(self) -> str:
        return NAMESPACE
