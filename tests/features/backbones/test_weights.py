from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from features.backbones import get_backbone
from features.backbones.weights import find_weights
from features.downloads import DownloadError
from features.errors import BottleneckError

#: A port where nothing listens: the answer of a host that can't be reached.
INCEPTION = get_backbone("inception_v3")
NOWHERE = dataclasses.replace(INCEPTION, weights_url="http://127.0.0.1:9/weights.h5")


def test_random_weights_say_loudly_what_they_are_and_how_to_bring_others(keras_home: Path):
    source = find_weights("random", INCEPTION)
    assert (source.name, source.spec, source.path) == ("random", "random", None)
    (notice,) = source.notices
    assert "UNTRAINED" in notice and INCEPTION.weights_file in notice and str(keras_home / "models") in notice


def test_auto_falls_back_to_random_and_says_why():
    source = find_weights("auto", NOWHERE)
    assert source.name == "random"
    assert "UNTRAINED" in source.notices[0] and "127.0.0.1:9 refused the connection" in source.notices[0]


def test_imagenet_never_falls_back():
    with pytest.raises(DownloadError, match="refused the connection"):
        find_weights("imagenet", NOWHERE)


@pytest.mark.parametrize("name", ["mine.weights.h5", "mine.h5", "mine.keras"])
def test_a_file_is_known_by_its_stem(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    source = find_weights(str(tmp_path / name), INCEPTION)
    assert (source.name, source.spec, source.path) == ("mine", str(tmp_path / name), tmp_path / name)
    assert source.notices == ()


def test_what_is_no_weights_file_is_refused(tmp_path: Path):
    with pytest.raises(BottleneckError, match="there is no weights file"):
        find_weights(str(tmp_path / "missing.h5"), INCEPTION)
    with pytest.raises(BottleneckError, match=r"neither auto, imagenet, random nor a file that ends in"):
        find_weights("inception.ckpt", INCEPTION)
