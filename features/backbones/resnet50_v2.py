"""ResNet-50 V2, which normalizes before each convolution: https://arxiv.org/abs/1603.05027"""

from features.backbones.base import Backbone

BACKBONE = Backbone(
    name="resnet50_v2",
    title="ResNet-50 V2",
    keras_name="ResNet50V2",
    input_size=224,
    scaling="tf",
    layers={
        "conv2_block3_out": 256,
        "conv3_block4_out": 512,
        "conv4_block6_out": 1024,
        "avg_pool": 2048,
    },
    last="post_relu",
    weights_url="https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
    "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    weights_hash="md5:fac2f116257151a9d068a22e544a4917",
)
