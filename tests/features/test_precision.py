from __future__ import annotations

import functools
from pathlib import Path

import pytest

from features.inception import InceptionV3
from features.precision import choose_precision
from features.processor import processor_has_bfloat16

load = functools.partial(InceptionV3, "random", layers="mixed3,avg_pool", engine="openvino")


def choose(paths: list[str]) -> tuple[str, str]:
    return choose_precision(
        functools.partial(load, precision="float32"), functools.partial(load, precision="bfloat16"), paths
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
