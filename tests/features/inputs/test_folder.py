from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.errors import BottleneckError
from features.inputs.folder import list_folder
from features.inputs.reference import Listing


def make(folder: Path, *names: str) -> Path:
    """Files of three bytes each; listing reads none of them."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"abc")
    return folder


def told(listing: Listing, folder: Path) -> dict[str, tuple[tuple[str, ...], str | None]]:
    """What was listed: from relative path to (labels, split)."""
    uris = [ref.uri for ref in listing.images]
    assert uris == sorted(set(uris))
    assert all(os.path.isabs(uri) for uri in uris)
    return {os.path.relpath(ref.uri, folder): (ref.labels, ref.split) for ref in listing.images}


def test_a_folder_per_class(tmp_path: Path) -> None:
    make(
        tmp_path,
        "rose/b.JPG",
        "rose/a.png",
        "daisy/a.jpeg",
        "daisy/deep/er/c.webp",
        "rose/notes.txt",
        "LICENSE.txt",
    )
    listing = list_folder(str(tmp_path))
    assert told(listing, tmp_path) == {
        "daisy/a.jpeg": (("daisy",), None),
        "daisy/deep/er/c.webp": (("daisy",), None),
        "rose/a.png": (("rose",), None),
        "rose/b.JPG": (("rose",), None),
    }
    assert listing.source == str(tmp_path)
    assert listing.ignored == 2
    assert listing.notices == []
    assert listing.images[0].size == 3


def test_without_classes_the_images_have_no_labels(tmp_path: Path) -> None:
    make(tmp_path, "b.jpg", "a.jpg", "readme.md", "docs/page.html")
    listing = list_folder(str(tmp_path))
    assert told(listing, tmp_path) == {"a.jpg": ((), None), "b.jpg": ((), None)}
    assert listing.ignored == 2


def test_images_beside_the_classes_are_left_out_with_a_notice(tmp_path: Path) -> None:
    make(tmp_path, "rose/a.jpg", "daisy/a.jpg", "stray.jpg", "empty/notes.txt")
    listing = list_folder(str(tmp_path))
    assert set(told(listing, tmp_path)) == {"rose/a.jpg", "daisy/a.jpg"}
    assert listing.ignored == 2
    assert "left out 1 images" in listing.notices[0] and "empty" in listing.notices[1]


def test_what_can_not_be_read_is_listed_all_the_same(tmp_path: Path) -> None:
    make(tmp_path, "rose/good.jpg", "rose/folder.jpg/inside.jpg", "daisy/a.jpg")
    (tmp_path / "rose" / "dangling.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "rose" / "empty.jpg").touch()
    listing = list_folder(str(tmp_path))
    assert set(told(listing, tmp_path)) == {
        *("daisy/a.jpg", "rose/good.jpg", "rose/folder.jpg", "rose/dangling.jpg", "rose/empty.jpg"),
    }
    dangling = next(ref for ref in listing.images if ref.uri.endswith("dangling.jpg"))
    assert (dangling.size, dangling.modified_at) == (None, None)


def test_hidden_files_are_skipped(tmp_path: Path) -> None:
    make(
        tmp_path,
        "rose/a.jpg",
        "rose/._a.jpg",
        ".cache/b.jpg",
        "daisy/.thumbs/c.jpg",
        "daisy/a.jpg",
        ".DS_Store",
    )
    listing = list_folder(str(tmp_path))
    assert set(told(listing, tmp_path)) == {"rose/a.jpg", "daisy/a.jpg"}
    assert listing.ignored == 0


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    make(tmp_path, "data/rose/a.jpg", "elsewhere/b.jpg", "data/tulip/t.jpg")
    (tmp_path / "data" / "daisy").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "rose" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "tulip" / "itself").symlink_to("itself")
    listing = list_folder(str(tmp_path / "data"))
    assert told(listing, tmp_path / "data") == {
        "daisy/b.jpg": (("daisy",), None),
        "rose/a.jpg": (("rose",), None),
        "tulip/t.jpg": (("tulip",), None),
    }


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "VALID", "Test"), ("train", "validation", "test")]
)
def test_train_validation_and_test_are_taken_as_given(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(tmp_path, *(f"{name}/{label}/x.jpg" for name in names for label in ("rose", "daisy")), "README")
    listing = list_folder(str(tmp_path))
    splits = dict(zip(names, ("train", "validation", "test"), strict=True))
    assert told(listing, tmp_path) == {
        f"{name}/{label}/x.jpg": ((label,), splits[name]) for name in names for label in ("rose", "daisy")
    }
    assert listing.notices == []
    assert listing.ignored == 1


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (("train", "val"), {"train": "train+validation", "val": "test"}),
        (("train", "test"), {"train": "train+validation", "test": "test"}),
        (("train",), {"train": None}),
        (("test",), {"test": "test"}),
    ],
)
def test_missing_splits_are_cut(tmp_path: Path, names: tuple[str, ...], given: dict[str, str | None]) -> None:
    make(tmp_path, *(f"{name}/{label}/x.jpg" for name in names for label in ("rose", "daisy")))
    listing = list_folder(str(tmp_path))
    assert {path.split("/")[0]: split for path, (_, split) in told(listing, tmp_path).items()} == given
    assert bool(listing.notices) == (len(names) == 2)


def test_a_test_part_without_classes(tmp_path: Path) -> None:
    make(tmp_path, "train/rose/a.jpg", "train/daisy/a.jpg", "test/1.jpg")
    assert told(list_folder(str(tmp_path)), tmp_path)["test/1.jpg"] == ((), "test")


def test_train_may_be_a_class(tmp_path: Path) -> None:
    make(tmp_path, "train/a.jpg", "bus/a.jpg", "car/a.jpg")
    assert told(list_folder(str(tmp_path)), tmp_path)["train/a.jpg"] == (("train",), None)


def test_classes_beside_the_splits_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "train/rose/a.jpg", "val/rose/a.jpg", "daisy/a.jpg")
    with pytest.raises(BottleneckError, match="'daisy' beside the folders of the splits"):
        list_folder(str(tmp_path))


def test_other_folders_beside_the_splits_are_ignored(tmp_path: Path) -> None:
    make(tmp_path, "train/rose/a.jpg", "val/rose/a.jpg", "annotations/a.xml")
    listing = list_folder(str(tmp_path))
    assert len(listing.images) == 2
    assert listing.ignored == 1


def test_one_class_only_asks_whether_the_folder_is_the_right_one(tmp_path: Path) -> None:
    make(tmp_path, "flower_photos/rose/a.jpg", "flower_photos/daisy/a.jpg")
    assert "one level too high" in list_folder(str(tmp_path)).notices[0]


@pytest.mark.parametrize(
    "names", [(), ("notes.txt",), ("rose/notes.txt",), ("train/rose/a.txt", "val/rose/a.txt")]
)
def test_no_images(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(tmp_path, *names)
    with pytest.raises(BottleneckError, match=rf"no images in .*\({len(names)} other files\).*jpg"):
        list_folder(str(tmp_path))


def test_names_that_are_not_utf8_are_left_out_with_a_notice(tmp_path: Path) -> None:
    make(tmp_path, "rose/a.jpg", "daisy/ä.jpg")
    try:
        make(tmp_path, os.fsdecode(b"rose/\xff.jpg"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    listing = list_folder(str(tmp_path))
    assert set(told(listing, tmp_path)) == {"rose/a.jpg", "daisy/ä.jpg"}
    assert listing.ignored == 1
    assert "UTF-8" in listing.notices[0]
    listing.notices[0].encode()
