"""What the programs of this folder share: their job, and how they tell that images are done.

Imports nothing heavy: a way's start-up is its own.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.network import LAYER

if TYPE_CHECKING:
    import numpy as np


class Job(NamedTuple):
    """What a way is asked to do.

    Attributes:
        images: folder of images, with a sub-folder per class.
        output: where the features go: a Parquet file of uris and features (or a prefix of such files);
            for this project the store.
        marks: file for lines of a time and how many images were done by then.
        weights: what WEIGHTS is.
        weights_file: the same as Keras writes them: `.weights.h5`, without the top.
        graph: folder of the graph converted for OpenVINO.
        onnx: the ONNX file.
        precision, engine: as in `bottlenecks extract`.
    """

    images: str
    output: str
    marks: str
    weights: str
    weights_file: str
    graph: str
    onnx: str
    precision: str
    engine: str


def read_job() -> Job:
    """The job that this program was started with."""
    return Job(**json.loads(sys.argv[1]))


def mark(path: str, images: int) -> None:
    """Note that `images` more images have their features, or with 0, that all features are on the disk."""
    with open(path, "a") as marks:
        marks.write(f"{time.time()} {images}\n")


def list_files(folder: str) -> list[str]:
    """The images of a job."""
    import os

    return sorted(entry.path for one in os.scandir(folder) for entry in os.scandir(one.path))


def write_features(path: str, uris: list[str], rows: list[np.ndarray]) -> None:
    """Write all features to one Parquet file, with Arrow's defaults; rows are batches of shape (n, width)."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = np.concatenate(rows)
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    lists = pa.ListArray.from_arrays(offsets, values.ravel())
    pq.write_table(pa.table({"uri": pa.array(uris, pa.string()), LAYER: lists}), path)
