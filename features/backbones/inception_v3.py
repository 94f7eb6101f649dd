"""Inception V3: https://arxiv.org/abs/1512.00567"""

from features.backbones.base import Backbone

BACKBONE = Backbone(
    name="inception_v3",
    title="Inception V3",
    keras_name="InceptionV3",
    input_size=299,
    scaling="tf",
    layers={
        "mixed0": 256,
        "mixed1": 288,
        "mixed2": 288,
        "mixed3": 768,
        "mixed4": 768,
        "mixed5": 768,
        "mixed6": 768,
        "mixed7": 768,
        "mixed8": 1280,
        "mixed9": 2048,
        "avg_pool": 2048,
    },
    last="mixed10",
    weights_url="https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
    "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    weights_hash="md5:bcbd6486424b2319ff4ef7d526e38f63",
    # With AVX512-BF16, most of what bfloat16 costs arises there: the least cosine with float32 over 56 photos
    # rises from 0.9991 to 0.9997 (OpenVINO), for a few per cent of the time.
    float32_convolutions=(0, 1),
)
