from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from features.downloads import DownloadProgress
from features.errors import BottleneckError
from features.inputs import list_images
from features.inputs.listing import LISTING_SCHEMA, Listing
from tests.features.inputs.refs import refs


def test_a_folder(photos: Path) -> None:
    listing = list_images(str(photos))
    assert listing.source == str(photos)
    assert len(listing.images) == 20
    assert {ref.labels for ref in refs(listing)} == {("daisy",), ("rose",)}


def test_a_csv_file(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.CSV"
    path.write_text("".join(f"{ref.uri},{ref.labels[0]}\n" for ref in refs(list_images(str(photos)))))
    assert refs(list_images(str(path))) == refs(list_images(str(photos)))


def test_a_single_image(photos: Path) -> None:
    path = photos / "rose" / "00.jpg"
    (ref,) = refs(list_images(str(path)))
    assert (ref.uri, ref.labels, ref.split, ref.size) == (str(path), (), None, path.stat().st_size)


def test_the_name_of_a_data_set_is_preferred_to_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = Listing("digits", LISTING_SCHEMA.empty_table(), 0, [])
    monkeypatch.setattr("features.inputs.builtin.list_digits", lambda: digits)
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "a.jpg").touch()
    monkeypatch.chdir(tmp_path)
    assert list_images("digits").source == "digits"
    assert list_images("./digits").source == str(tmp_path / "digits")


def test_progress_of_a_download_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def list_flowers(progress: DownloadProgress) -> Listing:
        progress("flowers.tgz", 1, 2)
        return Listing("flowers", LISTING_SCHEMA.empty_table(), 0, [])

    calls: list[tuple[str, int, int | None]] = []
    monkeypatch.setattr("features.inputs.builtin.list_flowers", list_flowers)
    list_images("flowers", progress=lambda *call: calls.append(call))
    assert calls == [("flowers.tgz", 1, 2)]


def test_relative_paths_and_home(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    monkeypatch.setenv("HOME", str(photos.parent))
    expected = list_images(str(photos))
    assert (
        list_images(photos.name)
        == list_images(f"./{photos.name}/")
        == list_images(f"~/{photos.name}")
        == expected
    )


def test_the_path_of_a_link_is_kept(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    listing = list_images(str(tmp_path / "link"))
    assert listing.source == str(tmp_path / "link")
    assert refs(listing)[0].uri.startswith(str(tmp_path / "link"))


def test_a_file_url_is_a_local_path(photos: Path, tmp_path: Path) -> None:
    expected = list_images(str(photos))
    assert list_images(f"file://{photos}") == list_images(f"file://localhost{photos}") == expected
    (tmp_path / "my photos").symlink_to(photos)
    assert list_images(f"file://{tmp_path}/my%20photos").source == str(tmp_path / "my photos")
    with pytest.raises(BottleneckError, match="file://elsewhere/photos is remote"):
        list_images("file://elsewhere/photos")


def test_labels_that_differ_only_in_case_or_unicode_form_are_said(tmp_path: Path) -> None:
    lines = ["a.jpg,Rose", "b.jpg,rose", "c.jpg,caf\u00e9", "d.jpg,cafe\u0301", "e.jpg,tulip"]
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    notices = list_images(str(tmp_path / "list.csv")).notices
    assert notices[1:] == [
        "the labels 'Rose', 'rose' differ only in case or in Unicode form: they are separate classes",
        "the labels 'cafe\u0301 (decomposed)', 'caf\u00e9' differ only in case or in Unicode form: they are "
        "separate classes",
    ]


FORMS = (
    "a folder (with a sub-folder per class, or train/ val/ test/ with these within), a CSV file (uri,label "
    "or with a header), a text file with a path on each line, an image file, flowers, digits or auto"
)


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"splits": {"a": "train"}}, "`splits`"),
        ({"classes": "deepest"}, "`classes`"),
        ({"splits": {"a": "train"}, "classes": "top"}, "`splits` and `classes`"),
    ],
)
def test_how_folders_are_read_can_not_be_said_of_other_inputs(
    tmp_path: Path, options: dict[str, Any], given: str
) -> None:
    (tmp_path / "list\n.csv").write_text("a.jpg,rose\n")
    for data, name in ((f"{tmp_path}/list\n.csv", rf"{tmp_path}/list\n.csv"), ("digits", "digits")):
        with pytest.raises(BottleneckError) as caught:
            list_images(data, **options)
        assert str(caught.value) == f"{given} can only be given for a folder, which {name} is not"


def test_what_is_asked_for_reaches_the_form(tmp_path: Path) -> None:
    for name in ("a/cat/1.jpg", "a/dog/2.jpg", "b/cat/3.jpg", "b/dog/4.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(str(tmp_path), classes="deepest").labels() == ["cat", "dog"]
    split = list_images(str(tmp_path), splits={"a": "train"})
    assert {(ref.labels, ref.split) for ref in refs(split)} == {(("cat",), None), (("dog",), None)}
    (tmp_path / "list.csv").write_text("uri,breed\na.jpg,rose\n")
    assert list_images(str(tmp_path / "list.csv"), labelled=False).labels() == []
    with pytest.raises(BottleneckError, match="no column is known for the labels"):
        list_images(str(tmp_path / "list.csv"))


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system takes UTF-8 names only")
def test_a_path_that_is_not_utf8_is_refused_in_printable_words(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(folder)
    with pytest.raises(BottleneckError) as caught:
        list_images(folder)
    assert str(caught.value) == rf"the path {tmp_path}/\xff is not valid UTF-8: rename it"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("no/such/folder", f"`data=no/such/folder` does not exist: expected {FORMS}"),
        ("", f"`data` is empty: expected {FORMS}"),
        ("no\x1b[31m", rf"`data=no\x1b[31m` does not exist: expected {FORMS}"),
        (__file__, f"`data={__file__}` is a file of another kind: expected {FORMS}"),
        *(
            (url, f"{url} is remote, which is not supported yet: give a local path, or copy it here first")
            for url in ("gs://bucket/photos", "s3://bucket/photos.csv")
        ),
    ],
)
def test_other_names_are_refused_with_what_is_expected(data: str, message: str) -> None:
    with pytest.raises(BottleneckError) as caught:
        list_images(data)
    assert str(caught.value) == message


def test_listing_imports_nothing_heavy(photos: Path) -> None:
    code = (
        "import sys; from features.inputs import list_images; list_images(sys.argv[1]); "
        "heavy = {'tensorflow', 'apache_beam', 'cv2', 'PIL', 'sklearn', 'requests'}; "
        "sys.exit(','.join(heavy & sys.modules.keys()) or None)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(photos)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
