"""OpenVINO: the engine for CPUs. Starts in a second and uses bfloat16 units where there are any."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino

from features.recipe import LAYER_WIDTHS

if TYPE_CHECKING:
    import keras

_PRECISIONS = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}


class OpenVinoEngine:
    """See `features.engines.Engine`."""

    name = "openvino"
    batch_size = 8

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._compiled = compiled
        self._requests = threading.local()
        self.precision = _precision_used(compiled)
        self.streams = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")

    def infer(self, pixels: np.ndarray) -> list[np.ndarray]:
        # A request belongs to one thread: its output buffers are overwritten by its next call.
        request = getattr(self._requests, "request", None)
        if request is None:
            request = self._requests.request = self._compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(pixels, shared_memory=True))
        request.infer()
        return [np.array(tensor.data) for tensor in request.output_tensors]


def convert(model: keras.Model, folder: Path) -> None:
    """Convert `features.backbone.feature_model` and save it, all its layers, in `folder`."""
    converted = openvino.convert_model(model)
    names = {output.name: layer for output, layer in zip(model.outputs, LAYER_WIDTHS, strict=True)}
    for output in converted.outputs:
        layer = next(names[name] for name in output.names if name in names)
        output.get_tensor().set_names({layer})
    openvino.save_model(converted, folder / "graph.xml", compress_to_fp16=False)


def load(folder: Path, layers: tuple[str, ...], precision: str) -> OpenVinoEngine:
    """Load the part of the saved graph that leads to `layers`, for the CPU at hand."""
    core = openvino.Core()
    whole = core.read_model(folder / "graph.xml")
    results = [whole.output(layer).get_node() for layer in layers]
    model = openvino.Model(results, whole.get_parameters())
    model.reshape([OpenVinoEngine.batch_size, 299, 299, 3])
    can_do_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    wanted = precision if can_do_bfloat16 else "float32"
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": _PRECISIONS[wanted]}
    return OpenVinoEngine(core.compile_model(model, "CPU", settings))


def _precision_used(compiled: openvino.CompiledModel) -> str:
    """What the convolutions are really computed in: the hint is a wish, which some processors can't grant."""
    kinds = set()
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        if "layerType" in facts and facts["layerType"].astype(str) == "Convolution":
            kinds.add(facts["runtimePrecision"].astype(str))
    return "bfloat16" if kinds == {"bf16"} else "float32"
