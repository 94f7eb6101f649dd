from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from features.backbones import get_backbone, weights
from features.backbones.weights import WeightsSource, find_weights
from features.downloads import DownloadError
from features.errors import BottleneckError

INCEPTION = get_backbone("inception_v3")
FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
#: A port where nothing listens: the answer of a host that can't be reached.
NOWHERE = dataclasses.replace(INCEPTION, weights_url=f"http://127.0.0.1:9/{FILE}")

UNTRAINED = (
    "UNTRAINED WEIGHTS: these features come from seeded random weights, good for trying the pipeline and for "
    "nothing else."
)
BRING = (
    " For the real ones, put {file} into {folder} (or give `weights=PATH`), and name a new table with "
    "`features=NAME`."
)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights of an empty cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "models"


def test_random_weights_say_loudly_what_they_are_and_how_to_bring_others(models: Path):
    notice = UNTRAINED + BRING.format(file=FILE, folder=models)
    assert find_weights("random", INCEPTION) == WeightsSource("random", "random", None, (notice,))


def test_auto_falls_back_to_random_and_says_why(models: Path):
    with pytest.raises(DownloadError) as error:
        find_weights("imagenet", NOWHERE)
    assert "127.0.0.1:9 refused the connection" in str(error.value)
    why = f" The ImageNet weights could not be downloaded: {error.value}."
    notice = UNTRAINED + why + BRING.format(file=FILE, folder=models)
    assert find_weights("auto", NOWHERE) == WeightsSource("random", "random", None, (notice,))


@pytest.mark.parametrize("spec", ["auto", "imagenet"])
def test_what_keras_has_downloaded_is_taken_if_its_hash_is_the_published_one(models: Path, spec: str):
    models.mkdir()
    (models / FILE).write_bytes(b"arrays")
    published = dataclasses.replace(NOWHERE, weights_hash=f"md5:{hashlib.md5(b'arrays').hexdigest()}")
    assert find_weights(spec, published) == WeightsSource("imagenet", "imagenet", models / FILE, ())
    other = dataclasses.replace(NOWHERE, weights_hash=f"md5:{hashlib.md5(b'other').hexdigest()}")
    with pytest.raises(DownloadError):
        find_weights("imagenet", other)


def test_the_published_file_is_fetched_into_keras_own_folder(models: Path, monkeypatch: pytest.MonkeyPatch):
    def fetch(url: str, *, known_hash: str, path: Path, progress) -> Path:
        progress(f"{url} {known_hash}", 1, 2)
        return path

    shown: list[tuple] = []
    monkeypatch.setattr(weights, "fetch", fetch)
    source = find_weights("imagenet", INCEPTION, lambda *facts: shown.append(facts))
    assert source == WeightsSource("imagenet", "imagenet", models / FILE)
    assert shown == [(f"{INCEPTION.weights_url} {INCEPTION.weights_hash}", 1, 2)]


@pytest.mark.parametrize("name", ["mine.weights.h5", "mine.h5", "mine.keras"])
def test_a_file_is_known_by_its_stem(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    path = tmp_path / name
    assert find_weights(f"file://{path}", INCEPTION) == WeightsSource("mine", str(path), path, ())


def test_a_file_that_was_made_from_random_weights_says_so(tmp_path: Path):
    path = tmp_path / "mine-untrained.weights.h5"
    path.touch()
    assert find_weights(str(path), INCEPTION) == WeightsSource(
        "mine-untrained", str(path), path, (UNTRAINED,)
    )


def test_what_is_no_weights_file_is_refused(tmp_path: Path):
    with pytest.raises(BottleneckError) as error:
        find_weights(str(tmp_path / "missing.h5"), INCEPTION)
    assert str(error.value) == f"there is no weights file {tmp_path / 'missing.h5'}"
    with pytest.raises(BottleneckError) as error:
        find_weights("inception.ckpt", INCEPTION)
    assert str(error.value) == (
        "`weights=inception.ckpt` is neither auto, imagenet, random nor a file that ends in "
        ".weights.h5, .h5, .keras"
    )
