from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.backbones import get_backbone
from features.extractor import InceptionV3
from features.machine import processor_has_bfloat16
from features.precision import choose_precision

load = functools.partial(InceptionV3, "random", layers="mixed3,avg_pool", engine="openvino")


def choose(paths: list[str]) -> tuple[str, str]:
    return choose_precision(
        functools.partial(load, precision="float32"),
        functools.partial(load, precision="bfloat16"),
        pa.chunked_array([paths], pa.string()),
    )


def test_auto_takes_bfloat16_where_it_is_there_and_close_enough(photos: Path):
    precision, why = choose([str(path) for path in sorted(photos.rglob("*.jpg"))])
    if processor_has_bfloat16():
        assert precision == "bfloat16" and "at least" in why and "first 8 images" in why
    else:
        assert precision == "float32" and "no bfloat16" in why


def test_auto_stays_with_float32_where_no_image_can_be_tried(tmp_path: Path):
    assert choose([str(tmp_path / "missing.jpg")])[0] == "float32"


@pytest.mark.skipif(not processor_has_bfloat16(), reason="nothing is tried without bfloat16")
def test_auto_takes_float32_where_bfloat16_strays(photos: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("features.precision.LEAST_COSINE", 1.1)
    precision, why = choose([str(path) for path in sorted(photos.rglob("*.jpg"))])
    assert precision == "float32" and "cosine with float32 at least" in why


Features = Mapping[str, tuple[np.ndarray, ...]]


class MadeUpExtractor:
    """Features from a table instead of a network; images that are not in it can't be read."""

    backbone = get_backbone("inception_v3")
    engine = SimpleNamespace(name="openvino", precision="bfloat16")
    layers = ("mixed0", "avg_pool")
    schema = pa.schema([("reason", pa.string()), *((layer, pa.list_(pa.float32())) for layer in layers)])

    def __init__(self, features: Features) -> None:
        self.features = features

    def extract(self, images: Iterable[str]) -> Iterator[pa.RecordBatch]:
        for image in images:
            rows = self.features.get(image, (None, None))
            row = {"reason": "corrupt" if rows[0] is None else None}
            yield pa.RecordBatch.from_pylist([row | dict(zip(self.layers, rows, strict=True))], self.schema)


def choose_of(
    exact: Features,
    near: Features,
    images: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, str]:
    monkeypatch.setattr("features.precision.processor_has_bfloat16", lambda: True)
    made: list[Any] = [MadeUpExtractor(exact), MadeUpExtractor(near)]
    return choose_precision(lambda: made[0], lambda: made[1], pa.chunked_array([images], pa.string()))


def test_images_that_give_no_features_settle_nothing(monkeypatch: pytest.MonkeyPatch):
    images = [f"{number}.jpg" for number in range(100)]
    ones = (np.ones(256, np.float32), np.ones(2048, np.float32))
    good = {image: ones for image in images[70:75]}
    precision, why = choose_of(good, good, images, monkeypatch)
    assert (precision, why) == ("bfloat16", "cosine with float32 at least 1.0000 on the first 5 images")
    assert choose_of({}, {}, images, monkeypatch) == ("float32", "no image could be tried in bfloat16")


def test_one_layer_of_one_image_that_strays_is_enough(monkeypatch: pytest.MonkeyPatch):
    images = [f"{number}.jpg" for number in range(8)]
    ones = np.ones(256, np.float32)
    exact = {image: (ones, np.ones(2048, np.float32)) for image in images}
    for strayed, expected in (([1.0, 1.0, 1.0, 0.93], "bfloat16"), ([1.0, 1.0, 1.0, 0.85], "float32")):
        near = exact | {"5.jpg": (ones, np.tile(np.array(strayed, np.float32), 512))}
        assert choose_of(exact, near, images, monkeypatch)[0] == expected
