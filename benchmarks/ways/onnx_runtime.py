"""ONNX Runtime: the network exported by Keras, two threads that decode ahead, one Parquet file.

Decoder and resize are this project's, so that the engine makes the difference.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from benchmarks.network import SIZE, scale
from benchmarks.ways.common import Job, list_files, mark, read_job, write_features
from features.images import decode, resize

_BATCH = 8
_DECODERS = 2


def main(job: Job) -> None:
    """Extract the features of every image into one Parquet file."""
    cv2.setNumThreads(1)  # as the extractor has it: threads enough
    session = onnxruntime.InferenceSession(job.onnx, providers=["CPUExecutionProvider"])
    (pixels,) = session.get_inputs()
    uris = list_files(job.images)
    rows = []
    for batch in _decoded_ahead([uris[start : start + _BATCH] for start in range(0, len(uris), _BATCH)]):
        (features,) = session.run(None, {pixels.name: batch})
        rows.append(features)
        mark(job.marks, len(batch))
    write_features(job.output, uris, rows)
    mark(job.marks, 0)


def _decoded_ahead(batches: list[list[str]]) -> Iterator[np.ndarray]:
    ahead: collections.deque[Future[np.ndarray]] = collections.deque()
    with ThreadPoolExecutor(_DECODERS) as pool:
        for batch in batches:
            ahead.append(pool.submit(_decode, batch))
            if len(ahead) > 2 * _DECODERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _decode(uris: list[str]) -> np.ndarray:
    """A batch of the network's inputs, from -1 to 1."""
    batch = np.empty((len(uris), SIZE, SIZE, 3), np.float32)
    for number, uri in enumerate(uris):
        resize(decode(Path(uri).read_bytes()).pixels, batch[number])
    return scale(batch, out=batch)


if __name__ == "__main__":
    main(read_job())
