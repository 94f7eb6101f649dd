"""TensorFlow: the reference engine, and the one for GPUs."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from features.backbones import Backbone
from features.backbones.network import freeze
from features.machine import allowed_cores, processor_has_amx, processor_has_bfloat16, usable_cores

if TYPE_CHECKING:
    import keras


_FACTS = "graph.json"


class TensorFlowEngine:
    """See `features.engines.Engine`."""

    name = "tensorflow"

    def __init__(
        self, session: tf.compat.v1.Session, outputs: list[str], precision: str, *, gpu: bool
    ) -> None:
        self._run = session.make_callable(outputs, feed_list=["pixels:0"])
        # Before the interpreter is taken apart, which its threads do not always survive.
        weakref.finalize(self, session.close)
        self.precision = precision
        self.batch_size = 64 if gpu else 8
        # Two calls in flight keep the cores busy through the narrow layers of one of them; many cores
        # find too little to do in the layers of two.
        self.streams = 2 if gpu else max(2, usable_cores() // 4)

    def infer(self, pixels: np.ndarray) -> list[np.ndarray]:
        return self._run(pixels)


def convert(backbone: Backbone, model: keras.Model, folder: Path) -> None:
    """Freeze `features.backbones.network.feature_model`, all its layers, into `folder`."""
    graph, outputs = freeze(model)
    convolutions = [node.name for node in graph.node if node.op == "Conv2D"]
    facts = {
        "outputs": dict(zip(backbone.layers, outputs, strict=True)),
        "float32_convolutions": [convolutions[place] for place in backbone.float32_convolutions],
    }
    (folder / "graph.pb").write_bytes(graph.SerializeToString())
    (folder / _FACTS).write_text(json.dumps(facts))


def load(folder: Path, layers: tuple[str, ...], precision: str) -> TensorFlowEngine:
    """Load the part of the frozen graph that leads to `layers`.

    In a session of its own: how it is rewritten must not change what else the process does in TensorFlow.
    """
    fast = precision == "bfloat16"
    frozen = tf.compat.v1.GraphDef()
    frozen.ParseFromString((folder / "graph.pb").read_bytes())
    facts = json.loads((folder / _FACTS).read_text())
    config = tf.compat.v1.ConfigProto()
    if usable_cores() < allowed_cores():  # TensorFlow sees the cores, and not a container's quota
        config.intra_op_parallelism_threads = usable_cores()
    gpu = bool(tf.config.list_physical_devices("GPU"))
    if gpu:
        # TensorFloat-32 keeps more digits than bfloat16 does: it may stand in for it, and counts as float32.
        tf.config.experimental.enable_tensor_float_32_execution(fast)
        used = "float32"
    else:
        # oneDNN's rewriter does nothing on a processor without bfloat16.
        rewriter = config.graph_options.rewrite_options
        rewriter.auto_mixed_precision_onednn_bfloat16 = rewriter.ON if fast else rewriter.OFF
        used = "bfloat16" if fast and processor_has_bfloat16() else "float32"
        if used == "bfloat16" and not processor_has_amx():
            _keep_precise(frozen, facts["float32_convolutions"])
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(frozen, name="")
    session = tf.compat.v1.Session(graph=graph, config=config)
    return TensorFlowEngine(session, [facts["outputs"][layer] for layer in layers], used, gpu=gpu)


def _keep_precise(graph: tf.compat.v1.GraphDef, names: list[str]) -> None:
    """Let some convolutions be computed in float32 at every precision.

    oneDNN's rewriter passes over convolutions that are fused already, so they are given a bias of zeros.
    """
    nodes = {node.name: node for node in graph.node}
    for convolution in (nodes[name] for name in names):
        kernel = nodes[convolution.input[1]]
        while kernel.op == "Identity":
            kernel = nodes[kernel.input[0]]
        channels = kernel.attr["value"].tensor.tensor_shape.dim[3].size
        bias = graph.node.add(op="Const", name=f"{convolution.name}/zeros")
        bias.attr["dtype"].type = tf.float32.as_datatype_enum
        bias.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.zeros(channels, np.float32)))
        convolution.op = "_FusedConv2D"
        convolution.input.append(bias.name)
        convolution.attr["num_args"].i = 1
        convolution.attr["TArgs"].list.type.append(tf.float32.as_datatype_enum)
        convolution.attr["fused_ops"].list.s.append(b"BiasAdd")
