"""Stock Beam: decode in a `Map`, Keras in `RunInference`, `WriteToParquet`.

The handler is what Beam's documentation tells to write where its own do not fit: its TensorFlow handler
needs TensorFlow Hub.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import keras
import numpy as np
import pyarrow as pa
import tensorflow as tf
from apache_beam.io.parquetio import WriteToParquet
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, PredictionResult, RunInference
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from benchmarks.network import LAYER, SIZE, load_keras_model, preprocess
from benchmarks.ways.common import Job, list_files, mark, read_job

SCHEMA = pa.schema([("uri", pa.string()), (LAYER, pa.list_(pa.float32()))])


def decode_image(uri: str) -> tuple[str, np.ndarray]:
    """The network's input for one file, as TensorFlow decodes and resizes it."""
    image = tf.io.decode_image(tf.io.read_file(uri), channels=3, expand_animations=False)
    pixels = tf.image.resize(image, (SIZE, SIZE))
    return uri, preprocess(pixels).numpy()


class KerasModelHandler(ModelHandler[np.ndarray, PredictionResult, keras.Model]):
    """A batch of arrays in, one row of features for each out."""

    def __init__(self, weights_file: str, marks: str) -> None:
        super().__init__()
        self.weights_file = weights_file
        self.marks = marks

    def load_model(self) -> keras.Model:
        return load_keras_model(self.weights_file)

    def run_inference(
        self, batch: Sequence[np.ndarray], model: keras.Model, inference_args: dict[str, Any] | None = None
    ) -> Iterator[PredictionResult]:
        features = model.predict(np.stack(batch), verbose=0)
        mark(self.marks, len(batch))
        return (PredictionResult(image, row) for image, row in zip(batch, features, strict=True))


def to_row(keyed: tuple[str, PredictionResult]) -> dict[str, Any]:
    """A row for `WriteToParquet`."""
    uri, result = keyed
    return {"uri": uri, LAYER: result.inference}


def main(job: Job) -> None:
    """Extract the features of every image into Parquet files."""
    # By name: Beam's default would first look for another runner, differently from machine to machine.
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = (
            pipeline
            | beam.Create(list_files(job.images))
            | beam.Map(decode_image)
            | RunInference(KeyedModelHandler(KerasModelHandler(job.weights_file, job.marks)))
            | beam.Map(to_row)
            | WriteToParquet(job.output, SCHEMA, file_name_suffix=".parquet")
        )
    mark(job.marks, 0)


if __name__ == "__main__":
    main(read_job())
