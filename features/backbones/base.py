"""All that is known of a network: what `features.backbones.network`, the engines and the tables ask for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from features.errors import BottleneckError

if TYPE_CHECKING:
    import keras

#: The deepest layer of each backbone: its last feature map, pooled as Keras's `pooling="avg"` does it.
AVG_POOL = "avg_pool"


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network of `keras.applications`, without its classifier.

    Attributes:
        name: as users and recipes name it.
        title: as people name it.
        keras_name: of the function of `keras.applications` that builds it.
        input_size: side of the square it takes, in pixels.
        scaling: how Keras's `preprocess_input` scales its pixels: `tf` (to [-1, 1]), `caffe` (BGR, less the
            means), `torch` (normalized) or `inside` (by layers of its own).
        layers: width of each layer's features after global average pooling, in the order of the network; the
            last is `avg_pool`.
        last: Keras's name of the layer that `avg_pool` is pooled from.
        weights_url: the ImageNet weights, without the classifier, that Keras publishes.
        weights_hash: of that file, as Keras checks it: `md5:…` or `sha256:…`.
        float32_convolutions: places, in the order of the network, of the convolutions that an engine computes
            in float32 at every precision, where the processor adds up bfloat16 products inexactly.
    """

    name: str
    title: str
    keras_name: str
    input_size: int
    scaling: Literal["tf", "caffe", "torch", "inside"]
    layers: Mapping[str, int]
    last: str
    weights_url: str
    weights_hash: str
    float32_convolutions: tuple[int, ...] = ()

    @property
    def weights_file(self) -> str:
        """Name of the published file, which Keras's cache has too."""
        return self.weights_url.rpartition("/")[2]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (self.input_size, self.input_size, 3)

    def build(self, **options: Any) -> keras.Model:
        """The network as `keras.applications` builds it, with arbitrary weights.

        Args:
            **options: of the function in `keras.applications`.
        """
        import keras

        return getattr(keras.applications, self.keras_name)(weights=None, **options)

    def keras_layer(self, layer: str) -> str:
        """Keras's name of the layer that a feature column is pooled from."""
        return self.last if layer == AVG_POOL else layer

    def parse_layers(self, layers: str | Iterable[str] | None) -> tuple[str, ...]:
        """Layer names, checked, without repetition and in the order of the network.

        Args:
            layers: names such as `["mixed8", "avg_pool"]`, or one string with commas between them; None for
                `avg_pool`.

        Raises:
            BottleneckError: for an unknown name; the message lists the right ones.
        """
        if layers is None:
            return (AVG_POOL,)
        names = [name.strip() for name in (layers.split(",") if isinstance(layers, str) else layers)]
        wanted = {AVG_POOL if name == self.last else name for name in names if name}
        unknown = sorted(wanted - self.layers.keys())
        if unknown or not wanted:
            problem = f"unknown layer {', '.join(map(repr, unknown))}" if unknown else "no layer was named"
            raise BottleneckError(
                f"{problem}: {self.title} has {', '.join([*self.layers, self.last])} "
                f"({self.last} is the same as {AVG_POOL})"
            )
        return tuple(name for name in self.layers if name in wanted)
