"""TensorFlow: the reference engine, and the one for GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from features.processor import processor_has_bfloat16
from features.recipe import LAYER_WIDTHS

if TYPE_CHECKING:
    import keras


class TensorFlowEngine:
    """See `features.engines.Engine`."""

    name = "tensorflow"
    batch_size = 8
    # Two calls in flight keep the cores busy through the narrow layers of one of them.
    streams = 2

    def __init__(self, session: tf.compat.v1.Session, outputs: list[str], precision: str) -> None:
        self._run = session.make_callable(outputs, feed_list=["pixels:0"])
        self.precision = precision

    def infer(self, pixels: np.ndarray) -> list[np.ndarray]:
        return self._run(pixels)


def convert(model: keras.Model, folder: Path) -> None:
    """Freeze `features.backbone.feature_model`, all its layers, into `folder`."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = tf.TensorSpec((None, 299, 299, 3), tf.float32, name="pixels")
    function = tf.function(lambda pixels: model(pixels, training=False), input_signature=[shape])
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    names = dict(zip(LAYER_WIDTHS, (tensor.name for tensor in frozen.outputs), strict=True))
    (folder / "graph.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    (folder / "outputs.txt").write_text("\n".join(f"{layer} {name}" for layer, name in names.items()))


def load(folder: Path, layers: tuple[str, ...], precision: str) -> TensorFlowEngine:
    """Load the part of the frozen graph that leads to `layers`.

    In a session of its own: how it is rewritten must not change what else the process does in TensorFlow.
    """
    fast = precision == "bfloat16"
    config = tf.compat.v1.ConfigProto()
    if tf.config.list_physical_devices("GPU"):
        # TensorFloat-32 keeps more digits than bfloat16 does: it may stand in for it, and counts as float32.
        tf.config.experimental.enable_tensor_float_32_execution(fast)
        used = "float32"
    else:
        # oneDNN's rewriter does nothing on a processor without bfloat16.
        rewriter = config.graph_options.rewrite_options
        rewriter.auto_mixed_precision_onednn_bfloat16 = rewriter.ON if fast else rewriter.OFF
        used = "bfloat16" if fast and processor_has_bfloat16() else "float32"
    frozen = tf.compat.v1.GraphDef()
    frozen.ParseFromString((folder / "graph.pb").read_bytes())
    names = dict(line.split() for line in (folder / "outputs.txt").read_text().splitlines())
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(frozen, name="")
    session = tf.compat.v1.Session(graph=graph, config=config)
    return TensorFlowEngine(session, [names[layer] for layer in layers], used)
