"""ResNet-50: https://arxiv.org/abs/1512.03385"""

from features.backbones.base import Backbone

BACKBONE = Backbone(
    name="resnet50",
    title="ResNet-50",
    keras_name="ResNet50",
    input_size=224,
    scaling="caffe",
    layers={
        "conv2_block3_out": 256,
        "conv3_block4_out": 512,
        "conv4_block6_out": 1024,
        "avg_pool": 2048,
    },
    last="conv5_block3_out",
    weights_url="https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    weights_hash="md5:4d473c1dd8becc155b73f8504c6f6626",
)
