"""The ways to extract features that are measured: each module is a program, as a user would write it.

A new way is a module here and a line in `WAYS`. Every program imports this module: nothing heavy in it.
"""

from __future__ import annotations

from typing import NamedTuple

#: As many images as the benchmark is asked for.
ALL = 10**9


class Way(NamedTuple):
    """One row of the main table.

    Attributes:
        id: what code and result files know it by.
        name: what tables call it.
        module: its program in this folder.
        precision: what it computes in; `auto` where it decides itself.
        engine: as in `bottlenecks extract`, for this project.
        images: how many it gets at most: slow ways get fewer.
        quick_images: the same in a quick benchmark; 0 where it is no part of it.
    """

    id: str
    name: str
    module: str
    precision: str = "float32"
    engine: str = "auto"
    images: int = ALL
    quick_images: int = 0


#: In the order in which they run. The others are measured against the first.
WAYS = (
    Way("ours", "this project", "this_project", "auto", quick_images=320),
    Way("openvino-loop", "bare OpenVINO loop", "openvino_loop", "bfloat16", quick_images=320),
    Way("ours-float32", "this project, float32", "this_project", quick_images=128),
    Way("openvino-loop-float32", "bare OpenVINO loop, float32", "openvino_loop", quick_images=160),
    Way("ours-tensorflow", "this project, TensorFlow engine", "this_project", "bfloat16", "tensorflow"),
    Way("onnx-runtime", "ONNX Runtime, 2 decoding threads", "onnx_runtime"),
    Way("keras-guide", "the Keras guide: tf.data, model.predict", "keras_guide", quick_images=96),
    Way(
        "beam-inference",
        "stock Beam RunInference, WriteToParquet",
        "beam_inference",
        images=120,
        quick_images=40,
    ),
    Way("beam-dofn", "plain Beam DoFn, WriteToParquet", "beam_dofn", images=40),
)
OURS = WAYS[0]
NAMES = {way.id: way.name for way in WAYS}
