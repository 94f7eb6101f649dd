"""Inference alone: pixels in memory to features in memory, by each of the engines a user could take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from benchmarks.network import SIZE, WIDTH, load_keras_model, scale
from benchmarks.tasks.common import answer, read_job
from benchmarks.ways.common import list_files
from features.images import decode, read_image, resize

#: From pixels, float32 (n, size, size, 3) from 0 to 255, to features, float32 (n, width).
Infer = Callable[[np.ndarray], np.ndarray]

_BATCH = 8


def load_keras(job: dict[str, Any]) -> Infer:
    """`model.predict`, in float32 or `mixed_bfloat16`."""
    import keras

    if job["precision"] == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = load_keras_model(job["weights_file"])
    return lambda pixels: np.asarray(model.predict(scale(pixels), batch_size=32, verbose=0), np.float32)


def load_onnx_runtime(job: dict[str, Any]) -> Infer:
    import onnxruntime

    session = onnxruntime.InferenceSession(job["onnx"], providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: np.concatenate(
        [session.run(None, {name: batch})[0] for batch in _batches(scale(pixels))]
    )


def load_openvino(job: dict[str, Any]) -> Infer:
    """As OpenVINO's documentation has it for throughput: its hint, and its queue of requests."""
    import openvino

    from benchmarks.ways.openvino_loop import compile_graph

    compiled = compile_graph(job["graph"], job["precision"], _BATCH)

    def infer(pixels: np.ndarray) -> np.ndarray:
        requests = openvino.AsyncInferQueue(compiled)
        features = np.empty((len(pixels), WIDTH), np.float32)

        def done(request: openvino.InferRequest, start: int) -> None:
            features[start : start + _BATCH] = request.get_output_tensor().data

        requests.set_callback(done)
        for number, batch in enumerate(_batches(pixels)):
            requests.start_async(openvino.Tensor(batch, shared_memory=True), number * _BATCH)
        requests.wait_all()
        return features

    return infer


def load_ours(engine_name: str, job: dict[str, Any]) -> Infer:
    """One of this project's engines, from as many threads as it takes."""
    from features.extractor import InceptionV3

    engine = InceptionV3(job["weights"], engine=engine_name, precision=job["precision"]).engine
    threads = ThreadPoolExecutor(engine.streams)
    return lambda pixels: np.concatenate(
        [layers[0] for layers in threads.map(engine.infer, _batches(pixels))]
    )


#: By the id that the job names.
WAYS: dict[str, Callable[[dict[str, Any]], Infer]] = {
    "keras": load_keras,
    "onnx-runtime": load_onnx_runtime,
    "openvino": load_openvino,
    "ours-tensorflow": partial(load_ours, "tensorflow"),
    "ours-openvino": partial(load_ours, "openvino"),
}


def read_pixels(images: list[str]) -> np.ndarray:
    """Decoded and resized images; as many as fill whole batches."""
    pixels = np.empty((len(images) // _BATCH * _BATCH, SIZE, SIZE, 3), np.float32)
    for image, out in zip(images, pixels, strict=False):
        resize(decode(read_image(image)).pixels, out)
    return pixels


def _batches(pixels: np.ndarray) -> Iterable[np.ndarray]:
    return (pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH))


if __name__ == "__main__":
    job = read_job()
    pixels = read_pixels(list_files(job["images"]))
    infer = WAYS[job["way"]](job)
    infer(pixels[: 4 * _BATCH])  # the first calls prepare what the later ones use
    started = time.perf_counter()
    features = infer(pixels)
    seconds = time.perf_counter() - started
    np.save(job["file"], features)
    answer(job, images=len(pixels), seconds=seconds)
