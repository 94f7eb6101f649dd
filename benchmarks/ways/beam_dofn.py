"""Plain Beam: a `DoFn` that decodes one image and calls the model on it, and `WriteToParquet`.

As Google's cloudml-samples/flowers did, and as a first pipeline is usually written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.parquetio import WriteToParquet
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from benchmarks.network import LAYER, load_keras_model
from benchmarks.ways.beam_inference import SCHEMA, decode_image
from benchmarks.ways.common import Job, list_files, mark, read_job


class ExtractFeatures(beam.DoFn):
    """The path of an image in, a row for `WriteToParquet` out."""

    def __init__(self, weights_file: str, marks: str) -> None:
        self.weights_file = weights_file
        self.marks = marks

    def setup(self) -> None:
        self.model = load_keras_model(self.weights_file)

    def process(self, uri: str) -> Iterator[dict[str, Any]]:
        _, pixels = decode_image(uri)
        features = self.model.predict(pixels[None], verbose=0)[0]
        mark(self.marks, 1)
        yield {"uri": uri, LAYER: features}


def main(job: Job) -> None:
    """Extract the features of every image into Parquet files."""
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = (
            pipeline
            | beam.Create(list_files(job.images))
            | beam.ParDo(ExtractFeatures(job.weights_file, job.marks))
            | WriteToParquet(job.output, SCHEMA, file_name_suffix=".parquet")
        )
    mark(job.marks, 0)


if __name__ == "__main__":
    main(read_job())
