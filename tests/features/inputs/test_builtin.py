from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from features.downloads import DownloadError
from features.errors import BottleneckError
from features.images import decode
from features.inputs.builtin import list_auto, list_digits, list_flowers
from tests.features.inputs.refs import refs

NOWHERE = "http://127.0.0.1:1/flower_photos.tgz"


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `datasets` folder of an empty cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "keras" / "datasets"


@pytest.fixture(scope="module")
def archive() -> bytes:
    """What the flowers' archive looks like, with two classes of two files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        top = tarfile.TarInfo("flower_photos")
        top.type = tarfile.DIRTYPE
        tar.addfile(top)
        for name in ("LICENSE.txt", "daisy/1.jpg", "daisy/2.jpg", "roses/1.jpg", "roses/2.jpg"):
            member = tarfile.TarInfo(f"flower_photos/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return file.getvalue()


def flowers(archive: bytes) -> partial:
    """`list_flowers` for a small archive that is nowhere to be downloaded from."""
    return partial(list_flowers, url=NOWHERE, sha256=hashlib.sha256(archive).hexdigest(), images=4)


def put_archive(datasets: Path, archive: bytes) -> Path:
    datasets.mkdir(parents=True)
    path = datasets / "flower_photos.tgz_archive"
    path.write_bytes(archive)
    return path


def test_digits_are_those_of_scikit_learn(datasets: Path) -> None:
    listing = list_digits()
    assert listing.source == "digits"
    assert (len(listing.images), listing.ignored, listing.notices) == (1797, 0, [])
    assert {ref.labels for ref in refs(listing)} == {(str(digit),) for digit in range(10)}
    assert {ref.split for ref in refs(listing)} == {None}
    digits = load_digits()
    for ref in refs(listing)[::100]:
        number = int(ref.uri[-8:-4])
        assert ref.labels == (str(digits.target[number]),)
        pixels = decode(Path(ref.uri).read_bytes()).pixels
        assert pixels.shape == (8, 8, 3)
        np.testing.assert_allclose(pixels[..., 0], digits.images[number] / 16 * 255, atol=0.5)
        with Image.open(ref.uri) as image:
            assert image.mode == "L"


def test_digits_have_the_same_bytes_everywhere(datasets: Path) -> None:
    # Their hash decides the split.
    names = (os.path.relpath(ref.uri, datasets) for ref in refs(list_digits()))
    assert next(names) == "digits/0/digit_0000.png"
    data = (datasets / "digits" / "0" / "digit_0000.png").read_bytes()
    assert (
        hashlib.sha256(data).hexdigest() == "d79b74a84660260fea78c0b6384a0ffa2d88bef62d035c7a70a4a233c4ae194a"
    )


def test_digits_are_written_once(datasets: Path) -> None:
    first = list_digits()
    assert list_digits() == first
    assert [path.name for path in datasets.iterdir()] == ["digits"]


def test_incomplete_digits_are_not_taken_for_complete(datasets: Path) -> None:
    list_digits()
    (datasets / "digits" / "0" / "digit_0000.png").unlink()
    with pytest.raises(BottleneckError, match=r"digits does not hold the 1,797 images .* remove it"):
        list_digits()


def test_a_cache_that_can_not_be_written(datasets: Path) -> None:
    datasets.parent.parent.joinpath("keras").touch()
    with pytest.raises(BottleneckError, match="KERAS_HOME"):
        list_digits()


def test_flowers_are_unpacked_from_the_archive_once(datasets: Path, archive: bytes) -> None:
    path = put_archive(datasets, archive)
    listing = flowers(archive)()
    assert listing.source == "flowers"
    assert [os.path.relpath(ref.uri, datasets) for ref in refs(listing)] == [
        *("flower_photos/daisy/1.jpg", "flower_photos/daisy/2.jpg"),
        *("flower_photos/roses/1.jpg", "flower_photos/roses/2.jpg"),
    ]
    assert [ref.labels for ref in refs(listing)] == [("daisy",), ("daisy",), ("roses",), ("roses",)]
    assert listing.ignored == 1
    path.unlink()
    assert flowers(archive)() == listing
    assert [path.name for path in datasets.iterdir()] == ["flower_photos"]


@pytest.mark.parametrize("place", ["", "flower_photos", "flower_photos.tgz", "flower_photos_extracted"])
def test_flowers_that_keras_unpacked_are_found(datasets: Path, archive: bytes, place: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(datasets / place, filter="data")
    listing = flowers(archive)()
    assert [ref.labels for ref in refs(listing)] == [("daisy",), ("daisy",), ("roses",), ("roses",)]
    assert refs(listing)[0].uri == str(datasets / place / "flower_photos" / "daisy" / "1.jpg")


def test_incomplete_flowers_are_not_taken(datasets: Path, archive: bytes) -> None:
    (datasets / "flower_photos" / "daisy").mkdir(parents=True)
    (datasets / "flower_photos" / "daisy" / "1.jpg").touch()
    with pytest.raises(DownloadError, match="refused the connection"):
        flowers(archive)()


def test_an_archive_that_leads_out_of_its_folder_is_not_unpacked(datasets: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../outside.jpg"))
    put_archive(datasets, file.getvalue())
    with pytest.raises(tarfile.OutsideDestinationError):
        flowers(file.getvalue())()
    assert [path.name for path in datasets.iterdir()] == ["flower_photos.tgz_archive"]


def test_auto_takes_the_flowers(datasets: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    put_archive(datasets, archive)
    monkeypatch.setattr("features.inputs.builtin.list_flowers", flowers(archive))
    assert list_auto().source == "flowers"


def test_auto_takes_the_digits_where_the_flowers_can_not_be_had(
    datasets: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.inputs.builtin.list_flowers", flowers(archive))
    listing = list_auto()
    assert listing.source == "digits"
    assert len(listing.images) == 1797
    assert "digits are taken instead" in listing.notices[0] and "refused the connection" in listing.notices[0]


def test_two_runs_at_once(datasets: Path) -> None:
    code = "from features.inputs.builtin import list_digits; print(len(list_digits().images))"
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)]
    assert [run.communicate()[0].strip() for run in runs] == [b"1797"] * 2
    assert [path.name for path in datasets.iterdir()] == ["digits"]
