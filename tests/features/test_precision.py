from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features import precision
from features.backbones import get_backbone
from features.extractor import InceptionV3
from features.machine import processor_has_bfloat16
from features.precision import choose_precision

Features = Mapping[str, Sequence[np.ndarray]]

IMAGES = [f"{number}.jpg" for number in range(100)]


class MadeUpExtractor:
    """Features from a table instead of a network; images that are not in it can't be read."""

    backbone = get_backbone("inception_v3")
    layers = ("mixed0", "avg_pool")
    schema = pa.schema([("reason", pa.string()), *((layer, pa.list_(pa.float32())) for layer in layers)])

    def __init__(self, features: Features, precision: str = "bfloat16") -> None:
        self.features = features
        self.engine = SimpleNamespace(name="openvino", precision=precision)
        self.tried: list[list[str]] = []

    def extract(self, images: Iterable[str]) -> Iterator[pa.RecordBatch]:
        self.tried.append(list(images))
        for image in self.tried[-1]:
            rows = self.features.get(image, (None, None))
            row = {"reason": "corrupt" if rows[0] is None else None}
            yield pa.RecordBatch.from_pylist([row | dict(zip(self.layers, rows, strict=True))], self.schema)


@pytest.fixture
def with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: True)


made_up = pytest.mark.usefixtures("with_bfloat16")


def choose(exact: MadeUpExtractor, tried: MadeUpExtractor, images: list[str]) -> tuple[str, str]:
    made: Any = {"float32": exact, "bfloat16": tried}
    paths = pa.chunked_array([images[:3], images[3:]], pa.string())
    return choose_precision(lambda: made["float32"], lambda: made["bfloat16"], paths)


def at_cosine(cosine: float, length: float = 1.0) -> list[np.ndarray]:
    """Features of both layers at this cosine to the first axis."""
    rows = [np.zeros(MadeUpExtractor.backbone.layers[layer], np.float32) for layer in MadeUpExtractor.layers]
    for row in rows:
        row[:2] = length * cosine, length * (1 - cosine**2) ** 0.5
    return rows


def test_a_processor_without_bfloat16_takes_float32_and_nothing_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: False)
    exact = tried = MadeUpExtractor({})
    assert choose(exact, tried, IMAGES) == ("float32", "this processor has no bfloat16 arithmetic")
    assert tried.tried == []


@made_up
def test_an_engine_without_bfloat16_takes_float32_and_nothing_is_tried() -> None:
    exact = tried = MadeUpExtractor({}, precision="float32")
    assert choose(exact, tried, IMAGES) == ("float32", "openvino does not compute in bfloat16 here")
    assert tried.tried == []


@made_up
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("image", ["0.jpg", "7.jpg"])
@pytest.mark.parametrize(("cosine", "expected"), [(0.9991, "bfloat16"), (0.9989, "float32")])
def test_the_layer_of_the_image_that_strays_most_decides(
    layer: int, image: str, cosine: float, expected: str
) -> None:
    exact = {name: at_cosine(1, length=2) for name in IMAGES}
    near = {name: at_cosine(0.9999, length=3) for name in IMAGES}
    near[image][layer] = at_cosine(cosine)[layer]
    chosen = choose(MadeUpExtractor(exact), MadeUpExtractor(near), IMAGES)
    assert chosen == (expected, f"cosine with float32 at least {cosine:.4f} on the first 8 images")


@made_up
@pytest.mark.parametrize(
    ("exact", "near", "expected"), [(0.0, 0.0, "bfloat16"), (0.0, 1.0, "float32"), (1.0, 0.0, "float32")]
)
def test_features_that_are_all_zero_are_near_to_zeros_only(exact: float, near: float, expected: str) -> None:
    reference, tried = (MadeUpExtractor({"a.jpg": at_cosine(1, length)}) for length in (exact, near))
    message = f"cosine with float32 at least {expected == 'bfloat16':.4f} on the first 1 images"
    assert choose(reference, tried, ["a.jpg"]) == (expected, message)


@made_up
@pytest.mark.parametrize(
    ("good", "blocks"),
    [
        ([0, 5, 40], [(0, 8)]),
        ([8], [(0, 8), (8, 16)]),
        ([31], [(0, 8), (8, 16), (16, 32)]),
        ([99], [(0, 8), (8, 16), (16, 32), (32, 64), (64, 100)]),
    ],
)
def test_images_that_give_no_features_settle_nothing(good: list[int], blocks: list[tuple[int, int]]) -> None:
    features = {IMAGES[number]: at_cosine(1) for number in good}
    exact, tried = MadeUpExtractor(features), MadeUpExtractor(features)
    number = len([number for number in good if number < blocks[-1][1]])
    assert choose(exact, tried, IMAGES) == (
        "bfloat16",
        f"cosine with float32 at least 1.0000 on the first {number} images",
    )
    assert exact.tried == tried.tried == [IMAGES[start:stop] for start, stop in blocks]


@made_up
@pytest.mark.parametrize("images", [[], IMAGES[:16], IMAGES])
def test_where_no_image_gives_features_float32_is_taken(images: list[str]) -> None:
    exact, tried = MadeUpExtractor({}), MadeUpExtractor({})
    assert choose(exact, tried, images) == ("float32", "no image could be tried in bfloat16")
    assert sum(tried.tried, []) == images


def test_the_network_is_near_enough_where_the_processor_has_bfloat16(photos: Path) -> None:
    load = functools.partial(InceptionV3, "random", layers="mixed3,avg_pool", engine="openvino")
    images = pa.chunked_array([[str(path) for path in sorted(photos.rglob("*.jpg"))]], pa.string())
    float32, bfloat16 = (functools.partial(load, precision=name) for name in ("float32", "bfloat16"))
    chosen, why = choose_precision(float32, bfloat16, images)
    assert chosen == ("bfloat16" if processor_has_bfloat16() else "float32"), why
