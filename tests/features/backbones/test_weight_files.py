"""Weights from every file that Keras writes, and from no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from features.backbones import Backbone, get_backbone
from features.backbones.network import arrays_sha256, build_network
from features.errors import BottleneckError
from tests.tiny import BACKBONE as TINY
from tests.tiny import Tiny


class WithTop(Tiny):
    """Builds its classifier too, as those of `keras.applications` do."""

    def build(self, include_top: bool = True, classes: int = 1000, **options: Any) -> keras.Model:
        base = super().build()
        if not include_top:
            return base
        pooled = keras.layers.GlobalAveragePooling2D()(base.output)
        return keras.Model(base.input, keras.layers.Dense(classes, name="predictions")(pooled))


SMALL = WithTop(**vars(TINY))


def save_published(path: Path, model: keras.Model) -> None:
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def save_all(backbone: Backbone, folder: Path) -> None:
    """Files of the random weights, of each kind."""
    base = build_network(backbone, None)
    top = backbone.build(classes=7)
    top.set_weights(base.get_weights() + top.get_weights()[len(base.weights) :])
    wrapped = keras.Sequential([base, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    for name, model in {"base": base, "top": top}.items():
        model.save_weights(folder / f"{name}.weights.h5")
        model.save(folder / f"{name}_model.h5")
        save_published(folder / f"{name}_published.h5", model)
    for name, model in {"base": base, "top": top, "wrapped": wrapped}.items():
        model.save(folder / f"{name}.keras")


@pytest.mark.parametrize(
    "backbone",
    [SMALL, pytest.param(get_backbone("inception_v3"), marks=pytest.mark.slow)],
    ids=["small", "inception"],
)
def test_the_same_arrays_come_from_every_kind_of_file(backbone: Backbone, tmp_path: Path):
    save_all(backbone, tmp_path)
    expected = arrays_sha256(build_network(backbone, None).get_weights())
    files = sorted(tmp_path.iterdir())
    assert len(files) == 9
    for file in files:
        assert arrays_sha256(build_network(backbone, file).get_weights()) == expected, file.name


def refusal(path: Path) -> str:
    with pytest.raises(BottleneckError) as error:
        build_network(SMALL, path)
    sentence = f"{path} does not hold the weights of Keras's Tiny ("
    assert str(error.value).startswith(sentence) and str(error.value).endswith(")")
    return str(error.value).removeprefix(sentence)[:-1]


def test_a_file_that_is_none_of_keras_is_refused(tmp_path: Path):
    path = tmp_path / "text.h5"
    path.write_text("no weights")
    assert "Unable to" in refusal(path) and "\n" not in refusal(path)


@pytest.mark.parametrize("name", ["other.weights.h5", "other.keras", "other.h5"])
def test_another_network_is_refused(tmp_path: Path, name: str):
    path = tmp_path / name
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    if name == "other.weights.h5":
        other.save_weights(path)
    else:
        other.save(path)
    told = refusal(path)
    assert told.startswith("Unable to") if name == "other.keras" else told == "no arrays of Tiny in it"


def test_a_network_of_other_shapes_is_refused(tmp_path: Path):
    """It loads as a whole model; what is said is why it is not one without the top."""
    path = tmp_path / "wide.keras"
    pixels = keras.Input((32, 32, 3))
    early = keras.layers.Conv2D(9, 3, name="early")(pixels)
    keras.Model(pixels, keras.layers.Conv2D(16, 3, name="late")(early)).save(path)
    assert refusal(path)


@pytest.mark.parametrize("top", [False, True])
def test_weights_that_are_not_all_there_are_refused(tmp_path: Path, top: bool):
    """Keras skips what it does not find in a file, and would leave it random."""
    path = tmp_path / "part.weights.h5"
    model = SMALL.build(include_top=top, classes=5)
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        del file["layers/conv2d_1/vars/1"]
    assert refusal(path)


def test_a_file_with_an_array_of_no_number_is_refused(tmp_path: Path):
    path = tmp_path / "nan.h5"
    model = SMALL.build(include_top=False)
    arrays = model.get_weights()
    arrays[0][0, 0, 0, 0] = np.nan
    model.set_weights(arrays)
    save_published(path, model)
    assert refusal(path) == "no arrays of Tiny in it"
