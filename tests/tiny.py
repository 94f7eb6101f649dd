"""A backbone of two convolutions, for tests of what is around a network: it converts and runs in no time.

Tests that ask for the fixture `tiny` find it under the name `tiny`, with random weights, for each engine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import features.backbones
from features import files
from features.backbones import Backbone
from features.backbones.weights import find_weights
from features.engines import ENGINES
from features.engines.graphs import _convert_here, _graph_path, _sha256_note, known_sha256

if TYPE_CHECKING:
    import keras


class Tiny(Backbone):
    """See `Backbone`."""

    def build(self, **options: Any) -> keras.Model:
        import keras

        pixels = keras.Input(self.input_shape)
        early = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="early")(pixels)
        late = keras.layers.Conv2D(16, 3, strides=2, activation="relu", name="late")(early)
        return keras.Model(pixels, late)


BACKBONE = Tiny(
    name="tiny",
    title="Tiny",
    keras_name="",
    input_size=32,
    scaling="tf",
    layers={"early": 8, "avg_pool": 16},
    last="late",
    weights_url="https://example.invalid/tiny.weights.h5",
    weights_hash="md5:0",
    float32_convolutions=(0,),
)
RANDOM = find_weights("random", BACKBONE)
#: Of its random weights.
SHA256 = "2cdec62b2e9661530107ee9f298b16f0a6c31a7545b63a8b3db8d3192cd8c8ce"
ROOT = Path(__file__).parents[1]


def make_known() -> None:
    """Make it one of the backbones of this process."""
    if BACKBONE.name not in features.backbones.BACKBONES:
        features.backbones.BACKBONES += (BACKBONE.name,)
        sys.modules[f"features.backbones.{BACKBONE.name}"] = sys.modules[__name__]


def register() -> None:
    """The same, and see that its graphs are in Keras's cache."""
    make_known()
    sha256 = known_sha256(BACKBONE, RANDOM)
    if sha256 is None or not all(_graph_path(BACKBONE, sha256, engine).exists() for engine in ENGINES):
        # In another process: converting imports TensorFlow, which most of the tests do without.
        subprocess.run([sys.executable, "-m", __name__], cwd=ROOT, check=True)


def weights_file(path: Path, backbone: Backbone, sha256: str) -> Path:
    """A file that counts as one with weights of this hash: an earlier run that had read it would say so."""
    path.touch()
    note = _sha256_note(backbone, find_weights(str(path), backbone))
    files.write(note, json.dumps({"weights_sha256": sha256}))
    return path


if __name__ == "__main__":
    for engine in ENGINES:
        _convert_here(BACKBONE, RANDOM, engine)
