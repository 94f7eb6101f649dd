"""EfficientNetV2-S: https://arxiv.org/abs/2104.00298"""

from features.backbones.base import Backbone

BACKBONE = Backbone(
    name="efficientnet_v2_s",
    title="EfficientNetV2-S",
    keras_name="EfficientNetV2S",
    input_size=384,
    scaling="inside",
    layers={
        "block2d_add": 48,
        "block3d_add": 64,
        "block4f_add": 128,
        "block5i_add": 160,
        "block6o_add": 256,
        "avg_pool": 1280,
    },
    last="top_activation",
    weights_url="https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2/"
    "efficientnetv2-s_notop.h5",
    weights_hash="md5:af0682fb74e8c54910f2d4393339c070",
)
