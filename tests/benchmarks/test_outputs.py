"""A way that leaves images out, or gives other features, must not go unseen."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.outputs import Features, check_same, cosines, read_features, relative_error
from benchmarks.ways.common import write_features
from features.errors import BottleneckError


def features(seed: int = 0, rows: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, 2048), np.float32)


def test_rows_are_sorted_by_name_from_one_file_or_several(tmp_path: Path) -> None:
    X = features()
    names = [f"/images/{name}.jpg" for name in "edcba"]
    write_features(str(tmp_path / "out"), names, [X[:2], X[2:]])
    whole = read_features(tmp_path / "out", 5, "a way")
    assert whole.names == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"]
    np.testing.assert_array_equal(whole.X, X[::-1])
    write_features(str(tmp_path / "parts-0.parquet"), names[:3], [X[:3]])
    write_features(str(tmp_path / "parts-1.parquet"), names[3:], [X[3:]])
    np.testing.assert_array_equal(read_features(tmp_path / "parts", 5, "a way").X, whole.X)


def test_too_few_rows_are_an_error(tmp_path: Path) -> None:
    write_features(str(tmp_path / "out"), ["/a.jpg", "/a.jpg"], [features(rows=2)])
    with pytest.raises(BottleneckError, match="2 rows of 1 images, not 2"):
        read_features(tmp_path / "out", 2, "a way")
    with pytest.raises(BottleneckError, match="2 rows of 1 images, not 3"):
        read_features(tmp_path / "out", 3, "a way")
    with pytest.raises(BottleneckError, match="a way wrote no features"):
        read_features(tmp_path / "other", 2, "a way")


def test_features_are_compared_image_by_image() -> None:
    X = features()
    ours = Features(list("abcde"), X)
    fewer = Features(list("bd"), X[[1, 3]] * np.float32(1.001))
    assert cosines(fewer, ours) == pytest.approx([1, 1])
    assert relative_error(fewer, ours) == pytest.approx(1e-3, rel=0.01)
    check_same("a way", fewer, ours)


def test_other_features_are_an_error() -> None:
    ours = Features(list("ab"), features(rows=2))
    with pytest.raises(BottleneckError, match="a way has other features"):
        check_same("a way", Features(list("ba"), ours.X), ours)
    with pytest.raises(BottleneckError, match="no image in common"):
        check_same("a way", Features(list("cd"), ours.X), ours)
    with pytest.raises(BottleneckError, match="a cosine of nan"):
        check_same("a way", Features(list("ab"), ours.X * np.float32(np.nan)), ours)
