from __future__ import annotations

import hashlib
import io
import os
import tarfile
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from features.downloads import DownloadError
from features.errors import BottleneckError
from features.inputs.builtin import AUTO, DIGITS, FLOWERS, list_auto, list_digits, list_flowers
from features.inputs.listing import Listing, Request
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
    datasets.mkdir(parents=True, exist_ok=True)
    path = datasets / "flower_photos.tgz_archive"
    path.write_bytes(archive)
    return path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Listing:
    """The digits, in a cache of their own. Treat as read-only."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        return list_digits()


def test_digits_are_those_of_scikit_learn_and_the_same_everywhere(digits: Listing) -> None:
    assert (digits.source, len(digits.images), digits.ignored, digits.notices) == ("digits", 1797, 0, [])
    given = load_digits()
    images = refs(digits)
    assert sorted(ref.uri[-8:-4] for ref in images) == [f"{number:04}" for number in range(1797)]
    for ref in images[::50]:
        number = int(ref.uri[-8:-4])
        assert (ref.labels, ref.split) == ((str(given.target[number]),), None)
        with Image.open(ref.uri) as image:
            assert (image.format, image.mode) == ("PNG", "L")
            np.testing.assert_allclose(np.asarray(image), given.images[number] / 16 * 255, atol=0.5)
    # The hashes of the bytes decide the splits.
    paths = [Path(ref.uri) for ref in images]
    assert paths[0].parts[-3:] == ("digits", "0", "digit_0000.png")
    content = b"".join("/".join(path.parts[-2:]).encode() + path.read_bytes() for path in paths)
    expected = "e4ed1be38a0582b92c8039fe98b8a18a92549691b452798109b10f7e52727ac4"
    assert hashlib.sha256(content).hexdigest() == expected


def test_digits_are_written_once(digits: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(refs(digits)[0].uri).parents[3]
    monkeypatch.setenv("KERAS_HOME", str(home))
    assert list_digits() == digits
    assert [path.name for path in (home / "datasets").iterdir()] == ["digits"]


def test_incomplete_digits_are_not_taken_for_complete(
    datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.inputs.builtin._write_digits", lambda folder: None)
    (datasets / "digits" / "0").mkdir(parents=True)
    (datasets / "digits" / "0" / "digit_0000.png").touch()
    with pytest.raises(BottleneckError) as caught:
        list_digits()
    assert str(caught.value) == (
        f"{datasets}/digits does not hold the 1,797 images that it should: remove it, run again"
    )
    assert [path.name for path in datasets.iterdir()] == ["digits"]


def test_a_cache_that_can_not_be_written(datasets: Path) -> None:
    datasets.parent.parent.joinpath("keras").touch()
    with pytest.raises(BottleneckError) as caught:
        list_digits()
    assert str(caught.value) == (
        f"{datasets}/digits can't be written (Not a directory): make room, or set KERAS_HOME to another place"
    )


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
    assert {path.name for path in (datasets / "flower_photos").iterdir()} == {"LICENSE.txt", "daisy", "roses"}
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
    put_archive(datasets, archive)
    with pytest.raises(
        BottleneckError, match="flower_photos does not hold the 4 images .*: remove it, run again"
    ):
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
    datasets: Path, digits: Listing, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.inputs.builtin.list_flowers", flowers(archive))
    monkeypatch.setattr("features.inputs.builtin.list_digits", lambda: digits)
    assert list_auto() == digits._replace(
        notices=[
            "The flowers could not be downloaded, so the built-in handwritten digits are taken instead "
            f"(1,797 images of 8 × 8 pixels, good for trying things out): could not download {NOWHERE}: "
            f"127.0.0.1:1 refused the connection; if you can get the file another way, put it at {datasets}/"
            "flower_photos.tgz_archive"
        ]
    )


def test_what_is_downloaded(datasets: Path, digits: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(url: str, **options: Any) -> NoReturn:
        asked.append((url, options))
        raise DownloadError("no net")

    def progress(name: str, done: int, size: int | None) -> None:
        """Not called here."""

    monkeypatch.setattr("features.inputs.builtin.fetch", fetch)
    monkeypatch.setattr("features.inputs.builtin.list_digits", lambda: digits)
    assert AUTO.list("auto", Request(progress=progress)).source == "digits"
    with pytest.raises(DownloadError, match="no net"):
        FLOWERS.list("flowers", Request(progress=progress))
    url = "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz"
    options = {
        "known_hash": "sha256:4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
        "path": datasets / "flower_photos.tgz_archive",
        "progress": progress,
    }
    assert asked == [(url, options)] * 2


def test_names_of_data_sets(tmp_path: Path, digits: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = {"auto": AUTO, "digits": DIGITS, "flowers": FLOWERS}
    for name, form in forms.items():
        assert (form.description, form.has_folders) == (name, False)
        assert [form.accepts(data) for data in forms] == [data == name for data in forms]
    monkeypatch.setattr("features.inputs.builtin.list_digits", lambda: digits)
    monkeypatch.chdir(tmp_path)
    assert DIGITS.list("digits", Request()) == digits
    (tmp_path / "digits").mkdir()
    assert DIGITS.list("digits", Request()).notices == [
        "'digits' is the built-in data set: for the folder of that name, say ./digits"
    ]


def test_of_two_runs_at_once_the_first_to_finish_wins(
    datasets: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_archive(datasets, archive)
    listings: list[Listing | None] = []
    extractall = tarfile.TarFile.extractall

    def while_another_runs(tar: tarfile.TarFile, *arguments: Any, **options: Any) -> None:
        if not listings:
            listings.append(None)
            listings[0] = flowers(archive)()
        extractall(tar, *arguments, **options)

    monkeypatch.setattr(tarfile.TarFile, "extractall", while_another_runs)
    assert flowers(archive)() == listings[0]
    assert {path.name for path in datasets.iterdir()} == {"flower_photos", "flower_photos.tgz_archive"}
