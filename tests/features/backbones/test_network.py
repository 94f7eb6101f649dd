"""Weights from every file that Keras writes, and from no other."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from features.backbones import get_backbone
from features.backbones.network import arrays_sha256, build_network
from features.errors import BottleneckError

INCEPTION = get_backbone("inception_v3")


@pytest.fixture(scope="module")
def base() -> keras.Model:
    return build_network(INCEPTION, None)


def test_random_weights_are_always_the_same_and_keep_activations_alive(base: keras.Model):
    assert arrays_sha256(base.get_weights()) == arrays_sha256(build_network(INCEPTION, None).get_weights())
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 299, 299, 3)).astype(np.float32)
    last = base(pixels).numpy()
    assert 0.1 < last.std() < 10


def test_the_hash_follows_the_arrays_and_their_shapes():
    array = np.arange(6, dtype=np.float32)
    hashes = {arrays_sha256([array]), arrays_sha256([array.reshape(2, 3)]), arrays_sha256([array + 1])}
    assert len(hashes) == 3


@pytest.mark.slow
def test_the_same_arrays_come_from_every_kind_of_file(base: keras.Model, tmp_path: Path):
    top = keras.applications.InceptionV3(weights=None, classes=7)
    top.set_weights(base.get_weights() + top.get_weights()[len(base.weights) :])
    wrapped = keras.Sequential([base, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    base.save_weights(tmp_path / "base.weights.h5")
    top.save_weights(tmp_path / "top.weights.h5")
    for name, model in {"base": base, "top": top, "wrapped": wrapped}.items():
        model.save(tmp_path / f"{name}.keras")
    base.save(tmp_path / "base_model.h5")
    top.save(tmp_path / "top_model.h5")
    for name, model in {"base": base, "top": top}.items():
        with h5py.File(tmp_path / f"{name}_published.h5", "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    expected = arrays_sha256(base.get_weights())
    files = sorted(tmp_path.iterdir())
    assert len(files) == 9
    for file in files:
        assert arrays_sha256(build_network(INCEPTION, file).get_weights()) == expected, file.name


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    text = tmp_path / "text.h5"
    text.write_text("no weights")
    small = tmp_path / "small.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(small)
    for path in (text, small):
        with pytest.raises(BottleneckError, match=f"{path.name} does not hold the weights"):
            build_network(INCEPTION, path)


def test_weights_that_are_not_all_there_are_refused(base: keras.Model, tmp_path: Path):
    """Keras skips what it does not find in a file, and would leave it random."""
    path = tmp_path / "part.weights.h5"
    base.save_weights(path)
    with h5py.File(path, "a") as file:
        del file["layers/conv2d_5/vars/0"]
    with pytest.raises(BottleneckError, match="does not hold the weights"):
        build_network(INCEPTION, path)
