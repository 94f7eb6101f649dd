"""The bound: a bare loop around OpenVINO, with nothing of this project but its graph and its decoder.

Two threads decode ahead into buffers that are used again; OpenVINO's own queue keeps its streams busy; the
features are kept in a list and written at the end. It hashes nothing, rejects nothing, and loses all when
stopped.
"""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import openvino

from benchmarks.network import LAYER, SIZE
from benchmarks.ways.common import Job, list_files, mark, read_job, write_features
from features.images import decode, resize

_DECODERS = 2


def compile_graph(graph: str, precision: str, batch_size: int) -> openvino.CompiledModel:
    """The converted graph up to `LAYER`, whole in one precision, with OpenVINO's hint for throughput."""
    core = openvino.Core()
    model = core.read_model(Path(graph) / "graph.xml")
    model = openvino.Model([model.output(LAYER).get_node()], model.get_parameters())
    model.reshape([batch_size, SIZE, SIZE, 3])
    kind = openvino.Type.bf16 if precision == "bfloat16" else openvino.Type.f32
    return core.compile_model(
        model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": kind}
    )


def main(job: Job) -> None:
    """Extract the features of every image into one Parquet file."""
    from features.engines.openvino_engine import OpenVinoEngine

    cv2.setNumThreads(1)  # as the extractor has it: threads enough
    size = OpenVinoEngine.batch_size
    requests = openvino.AsyncInferQueue(compile_graph(job.graph, job.precision, size))
    uris = list_files(job.images)
    batches = [uris[start : start + size] for start in range(0, len(uris), size)]
    rows = [np.empty(0, np.float32)] * len(batches)
    free: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
    for _ in range(len(requests) + 2 * _DECODERS):
        free.put(np.zeros((size, SIZE, SIZE, 3), np.float32))

    def prepare(batch: list[str]) -> np.ndarray:
        pixels = free.get()
        for number, uri in enumerate(batch):
            resize(decode(Path(uri).read_bytes()).pixels, pixels[number])
        return pixels

    def done(request: openvino.InferRequest, batch: tuple[int, np.ndarray]) -> None:
        number, pixels = batch
        rows[number] = request.get_output_tensor().data[: len(batches[number])].copy()
        free.put(pixels)
        mark(job.marks, len(batches[number]))

    requests.set_callback(done)
    with ThreadPoolExecutor(_DECODERS) as pool:
        for number, pixels in enumerate(pool.map(prepare, batches)):
            requests.start_async(openvino.Tensor(pixels, shared_memory=True), (number, pixels))
    requests.wait_all()
    write_features(job.output, uris, rows)
    mark(job.marks, 0)


if __name__ == "__main__":
    main(read_job())
