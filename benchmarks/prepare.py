"""What is made once and is not timed: the weights as Keras writes them, and the network as ONNX.

Kept in the cache, beside the graphs converted for the engines. Run as a program, since it imports
TensorFlow: `python -m benchmarks.prepare JOB`.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.network import NAME, SIZE, build_keras_model
from benchmarks.processes import run_module
from features.backbones import get_backbone
from features.backbones.weights import WeightsSource
from features.downloads import cache_dir
from features.engines.graphs import find_graph


class Prepared(NamedTuple):
    """Where the network lies, in the form that each way takes.

    Attributes:
        weights: what WEIGHTS is, for this project.
        weights_file: `.weights.h5`, without the top.
        graph: folder of OpenVINO's graph.
        onnx: the ONNX file.
    """

    weights: str
    weights_file: str
    graph: str
    onnx: str


def prepare(source: WeightsSource, log: Path, *, quick: bool) -> Prepared:
    """Find what the ways need in the cache, or make it now."""
    graph = find_graph(get_backbone(NAME), source, "openvino")
    if not quick:
        find_graph(get_backbone(NAME), source, "tensorflow")
    keras_version = version("keras")
    folder = cache_dir() / "bottlenecks" / "bench" / f"{graph.weights_sha256[:16]}-keras-{keras_version}"
    weights_file, onnx = folder / f"{NAME}.weights.h5", folder / f"{NAME}.onnx"
    wanted = [weights_file] if quick else [weights_file, onnx]
    missing = [str(path) for path in wanted if not path.is_file()]
    if missing:
        job = {"weights": str(source.path or ""), "files": missing}
        run_module("benchmarks.prepare", job, log)
    return Prepared(source.spec, str(weights_file), str(graph.path), str(onnx))


def _make(weights: Path | None, files: list[Path]) -> None:
    import keras

    from features.backbones.network import build_network

    model = build_keras_model()
    model.set_weights(build_network(get_backbone(NAME), weights).get_weights())
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f"half-{path.name}")
        if path.suffix == ".onnx":
            shape = (None, SIZE, SIZE, 3)
            model.export(half, format="onnx", input_signature=[keras.InputSpec(shape=shape, dtype="float32")])
        else:
            model.save_weights(half)
        half.replace(path)


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    _make(Path(job["weights"]) if job["weights"] else None, [Path(path) for path in job["files"]])
