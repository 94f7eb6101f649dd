"""OpenVINO: the engine for CPUs. Starts in a second and uses bfloat16 units where there are any."""

from __future__ import annotations

import tempfile
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from features.backbones import Backbone
from features.backbones.network import freeze
from features.machine import allowed_cores, processor_has_amx, usable_cores

if TYPE_CHECKING:
    import keras

_PRECISIONS = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}
_GRAPH = "graph.xml"
#: Refers to the same weights as the other.
_PRECISE_GRAPH = "graph_precise.xml"


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


def convert(backbone: Backbone, model: keras.Model, folder: Path) -> None:
    """Convert `features.backbones.network.feature_model` and save it, all its layers, in `folder`.

    By way of a file: OpenVINO's way from a Keras model (`convert_model(model)`) fails on Python 3.13.
    """
    graph, outputs = freeze(model)
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        (Path(aside) / "graph.pb").write_bytes(graph.SerializeToString())
        converted = openvino.convert_model(Path(aside) / "graph.pb")
    for layer, output in zip(backbone.layers, outputs, strict=True):
        converted.output(output).get_tensor().set_names({layer})
    openvino.save_model(converted, folder / _GRAPH, compress_to_fp16=False)
    precise = _keep_precise((folder / _GRAPH).read_text(), backbone.float32_convolutions)
    (folder / _PRECISE_GRAPH).write_text(precise)


def _keep_precise(graph: str, places: tuple[int, ...]) -> str:
    """The same graph with some of its convolutions marked to be computed in float32 at every precision."""
    root = ElementTree.fromstring(graph)
    convolutions = [layer for layer in root.iter("layer") if layer.get("type") == "Convolution"]
    for place in places:
        facts = ElementTree.Element("rt_info")
        ElementTree.SubElement(facts, "attribute", name="precise", version="0")
        convolutions[place].insert(1, facts)  # after <data>
    return ElementTree.tostring(root, encoding="unicode")


def load(folder: Path, layers: tuple[str, ...], precision: str) -> OpenVinoEngine:
    """Load the part of the saved graph that leads to `layers`, for the CPU at hand."""
    core = openvino.Core()
    # AMX adds up more exactly, and a float32 layer would be slow beside it.
    graph = _GRAPH if precision == "float32" or processor_has_amx() else _PRECISE_GRAPH
    whole = core.read_model(folder / graph, folder / "graph.bin")
    results = [whole.output(layer).get_node() for layer in layers]
    model = openvino.Model(results, whole.get_parameters())
    model.reshape([OpenVinoEngine.batch_size, *whole.input().get_partial_shape()[1:]])
    wanted = precision if _has_bfloat16(core) else "float32"
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": _PRECISIONS[wanted],
    }
    if usable_cores() < allowed_cores():
        # OpenVINO sees the cores and not a container's quota (openvinotoolkit/openvino issue 37838); and it
        # would pin fewer threads than cores to the first ones, in every container of the machine.
        settings |= {"INFERENCE_NUM_THREADS": usable_cores(), "ENABLE_CPU_PINNING": False}
    return OpenVinoEngine(core.compile_model(model, "CPU", settings))


def _has_bfloat16(core: openvino.Core) -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _precision_used(compiled: openvino.CompiledModel) -> str:
    """What the convolutions are really computed in: the hint is a wish, which some processors can't grant."""
    kinds = set()
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        if "layerType" in facts and facts["layerType"].astype(str) == "Convolution":
            kinds.add(facts["runtimePrecision"].astype(str))
    return "bfloat16" if "bf16" in kinds else "float32"
