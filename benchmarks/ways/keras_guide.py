"""The Keras guide: `image_dataset_from_directory`, `preprocess_input`, `model.predict`, then pandas.

As in https://keras.io/guides/transfer_learning/ and in the documentation of `keras.applications`.
"""

from __future__ import annotations

from typing import Any

import keras
import pandas as pd
import tensorflow as tf

from benchmarks.network import LAYER, SIZE, load_keras_model, preprocess
from benchmarks.ways.common import Job, mark, read_job

_BATCH = 32


class _Marks(keras.callbacks.Callback):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        mark(self.path, len((logs or {})["outputs"]))


def main(job: Job) -> None:
    """Extract the features of every image into one Parquet file."""
    data = keras.utils.image_dataset_from_directory(
        job.images, image_size=(SIZE, SIZE), batch_size=_BATCH, shuffle=False
    )
    uris = data.file_paths
    # Autotuning sleeps in doubling steps and can hold up the end of the process for many seconds.
    options = tf.data.Options()
    options.autotune.enabled = False
    inputs = data.map(lambda images, _: preprocess(images)).prefetch(2).with_options(options)
    model = load_keras_model(job.weights_file)
    features = model.predict(inputs, callbacks=[_Marks(job.marks)], verbose=0)
    pd.DataFrame({"uri": uris, LAYER: list(features)}).to_parquet(job.output)
    mark(job.marks, 0)


if __name__ == "__main__":
    main(read_job())
