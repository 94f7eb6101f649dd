from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import BottleneckError
from features.inputs.folder import FOLDER, IMAGE, find_images, list_file, list_folder
from features.inputs.listing import Listing, Request
from features.inputs.walk import EXTENSIONS
from tests.features.inputs.refs import Ref, refs


def make(folder: Path, *names: str) -> Path:
    """Files of three bytes each; listing reads none of them."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"abc")
    return folder


def told(listing: Listing, folder: Path) -> dict[str, tuple[tuple[str, ...], str | None]]:
    """What was listed: from relative path to (labels, split)."""
    uris = [ref.uri for ref in refs(listing)]
    assert uris == sorted(set(uris))
    assert all(os.path.isabs(uri) for uri in uris)
    return {os.path.relpath(ref.uri, folder): (ref.labels, ref.split) for ref in refs(listing)}


def refusal(folder: Path, **options: Any) -> str:
    """What listing a folder is refused with; `F` stands for its path."""
    with pytest.raises(BottleneckError) as caught:
        list_folder(str(folder), **options)
    return str(caught.value).replace(str(folder), "F")


def notices(folder: Path, **options: Any) -> list[str]:
    return [notice.replace(str(folder), "F") for notice in list_folder(str(folder), **options).notices]


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
    assert listing.notices == [
        f"left out 1 image beside the classes' folders in {tmp_path}",
        f"no images in empty (in {tmp_path})",
    ]


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


def test_train_may_be_a_class(tmp_path: Path) -> None:
    make(tmp_path, "train/a.jpg", "train/red/b.jpg", "bus/a.jpg", "car/a.jpg")
    train = {
        path: read for path, read in told(list_folder(str(tmp_path)), tmp_path).items() if "train" in path
    }
    assert train == {"train/a.jpg": (("train",), None), "train/red/b.jpg": (("train",), None)}


def test_classes_beside_the_splits_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "train/rose/a.jpg", "val/rose/a.jpg", "daisy/a.jpg")
    assert refusal(tmp_path) == (
        "found images in 'daisy' beside the folders of the splits in F: move each class into train/, val/ "
        "and test/, or say `splits=train=train,val=validation` to leave the others out"
    )


def test_other_folders_beside_the_splits_are_ignored(tmp_path: Path) -> None:
    make(tmp_path, "train/rose/a.jpg", "val/rose/a.jpg", "annotations/a.xml")
    listing = list_folder(str(tmp_path))
    assert len(listing.images) == 2
    assert listing.ignored == 1


def test_one_class_only_asks_whether_the_folder_is_the_right_one(tmp_path: Path) -> None:
    make(tmp_path, "flower_photos/rose/a.jpg", "flower_photos/daisy/a.jpg")
    assert notices(tmp_path) == ["all images have the label 'flower_photos': is F one level too high?"]
    make(tmp_path / "rose" / "split", "train/rose/a.jpg", "test/b.jpg")
    assert not any("too high" in notice for notice in notices(tmp_path / "rose" / "split"))


@pytest.mark.parametrize(
    "names", [(), ("notes.txt",), ("rose/notes.txt",), ("train/rose/a.txt", "val/rose/a.txt")]
)
def test_no_images(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(tmp_path, *names)
    assert refusal(tmp_path) == (
        f"found no images in F ({len(names)} other files): expected a sub-folder of images for each class, "
        f"with one of the extensions {', '.join(sorted(EXTENSIONS))}"
    )


def test_what_systems_leave_in_folders_is_no_class(tmp_path: Path) -> None:
    leftovers = (
        "__MACOSX",
        ".ipynb_checkpoints",
        "@eaDir",
        "$RECYCLE.BIN",
        "lost+found",
        "System Volume Information",
    )
    make(tmp_path, "rose/a.jpg", "daisy/a.jpg", *(f"{name}/rose/a.jpg" for name in leftovers))
    make(tmp_path, "rose/__MACOSX/b.jpg", "rose/@eadir/c.jpg")
    listing = list_folder(str(tmp_path))
    assert set(told(listing, tmp_path)) == {"rose/a.jpg", "daisy/a.jpg"}
    assert listing.notices == []
    both = make(tmp_path / "split", "train/rose/a.jpg", "test/rose/a.jpg", "__MACOSX/train/rose/a.jpg")
    assert len(list_folder(str(both)).images) == 2


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("seg_train", "Test"), ("train", "test")),
        (("training", "validation_set", "testing"), ("train", "validation", "test")),
    ],
)
def test_other_names_of_splits_are_taken_and_said(
    tmp_path: Path, names: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    make(tmp_path, *(f"{name}/{label}/x.jpg" for name in names for label in ("rose", "daisy")))
    listing = list_folder(str(tmp_path))
    given = {"train": "train" if "validation" in splits else "train+validation"}
    assert told(listing, tmp_path) == {
        f"{name}/{label}/x.jpg": ((label,), given.get(split, split))
        for name, split in zip(names, splits, strict=True)
        for label in ("rose", "daisy")
    }
    taken = ", ".join(sorted(f"{name} as {split}" for name, split in zip(names, splits, strict=True)))
    assert listing.notices[0] == f"folders taken as splits: {taken}"


def test_a_split_that_holds_only_a_folder_of_its_name_is_gone_into(tmp_path: Path) -> None:
    make(
        tmp_path,
        *(f"seg_{s}/seg_{s}/{label}/x.jpg" for s in ("train", "test") for label in ("sea", "street")),
    )
    listing = list_folder(str(tmp_path))
    assert told(listing, tmp_path)["seg_test/seg_test/sea/x.jpg"] == (("sea",), "test")
    assert {label for image in refs(listing) for label in image.labels} == {"sea", "street"}
    make(tmp_path, "seg_pred/seg_pred/1.jpg")
    assert refusal(tmp_path) == (
        "found images in 'seg_pred' beside the folders of the splits in F: move each class into train/, val/ "
        "and test/, or say `splits=seg_test=test,seg_train=train` to leave the others out"
    )
    left = list_folder(str(tmp_path), splits={"seg_train": "train", "seg_test": "test"})
    assert len(left.images) == 4
    assert left.notices == [
        "left out seg_pred, which `splits` does not name",
        "the data have no validation part: it is cut from the training part by hash",
    ]


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    return make(
        tmp_path, *(f"site_{site}/{pet}/{n}.jpg" for site in "ab" for pet in ("cat", "dog") for n in "12")
    )


def test_the_same_names_below_several_folders_are_refused_until_it_is_said_what_they_are(sites: Path) -> None:
    assert refusal(sites) == (
        "F has folders of folders, and the same names ('cat', 'dog') in several of them "
        "('site_a', 'site_b'): say which are the classes, with `classes=top` (site_a, site_b) "
        "or `classes=deepest` (cat, dog), or which are the splits, with `splits=site_a=train,site_b=test`"
    )
    top = told(list_folder(str(sites), classes="top"), sites)
    assert top["site_a/cat/1.jpg"] == (("site_a",), None)
    deepest = told(list_folder(str(sites), classes="deepest"), sites)
    assert deepest["site_a/cat/1.jpg"] == (("cat",), None)
    split = told(list_folder(str(sites), splits={"site_a": "train", "site_b": "test"}), sites)
    assert split["site_a/cat/1.jpg"] == (("cat",), "train+validation")
    assert split["site_b/dog/2.jpg"] == (("dog",), "test")


def test_splits_below_the_classes_are_refused_and_said(tmp_path: Path) -> None:
    make(tmp_path, *(f"{pet}/{split}/1.jpg" for pet in ("cat", "dog") for split in ("train", "test")))
    assert refusal(tmp_path) == (
        "F has the splits (test, train) below the classes (cat, dog): put them above, as train/cat, "
        "or say `classes=top` to leave them out of account"
    )


def test_a_stray_image_or_another_case_makes_them_no_clearer(sites: Path) -> None:
    make(sites, "site_a/preview.png")
    assert "`classes=deepest` (cat, dog)" in refusal(sites)
    (sites / "site_a" / "preview.png").unlink()
    (sites / "site_b" / "cat").rename(sites / "site_b" / "Cat")
    (sites / "site_b" / "dog").rename(sites / "site_b" / "DOG")
    assert "`classes=deepest` (cat, dog)" in refusal(sites)


def test_the_advice_names_the_split_that_a_folder_is_called_after(tmp_path: Path) -> None:
    make(tmp_path, *(f"{top}/{pet}/1.jpg" for top in ("holdout", "train") for pet in ("cat", "dog")))
    assert refusal(tmp_path) == (
        "F has 'train' with folders of images in it (cat, dog), beside 'holdout': say which are the splits, "
        "with `splits=train=train,…`, or which are the classes, with `classes=top`"
    )
    listing = list_folder(str(tmp_path), splits={"train": "train", "holdout": "test"})
    assert {image.labels for image in refs(listing)} == {("cat",), ("dog",)}
    assert {image.labels for image in refs(list_folder(str(tmp_path), classes="top"))} == {
        ("holdout",),
        ("train",),
    }


def test_files_beside_the_inner_folder_of_a_split_do_not_hide_it(tmp_path: Path) -> None:
    make(
        tmp_path, "train/train/cat/1.jpg", "train/train/dog/1.jpg", "train/readme.txt", "test/test/cat/2.jpg"
    )
    labels = {image.labels for image in refs(list_folder(str(tmp_path)))}
    assert labels == {("cat",), ("dog",)}


def test_parts_that_share_no_class_and_loose_images_are_said(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/cats/2.jpg", "test/dogs/2.jpg", "cover.jpg")
    assert notices(tmp_path) == [
        "left out 1 image beside the folders of the splits in F",
        "no class of test is a class of the training part",
        "the data have no validation part: it is cut from the training part by hash",
    ]


def test_it_is_unclear_within_a_split_too(tmp_path: Path) -> None:
    make(
        tmp_path,
        *(f"{s}/{site}/{pet}/1.jpg" for s in ("train", "test") for site in "ab" for pet in ("cat", "dog")),
    )
    assert refusal(tmp_path).startswith("F/test has folders of folders, and the same names ('cat', 'dog')")
    listing = list_folder(str(tmp_path), classes="deepest")
    assert {image.labels for image in refs(listing)} == {("cat",), ("dog",)}


@pytest.mark.parametrize(
    "names",
    [
        ("rose/red/a.jpg", "rose/white/a.jpg", "tulip/yellow/a.jpg"),  # nothing in common
        ("n01/images/a.jpg", "n02/images/a.jpg"),  # one name is no level of classes
        ("rose/a.jpg", "rose/more/b.jpg", "tulip/c.jpg", "tulip/more/d.jpg"),  # images above
        ("rose/red/a.jpg", "rose/white/a.jpg", "tulip/a.jpg"),
    ],
)
def test_what_can_be_read_in_one_way_only_is_not_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(tmp_path, *names)
    listing = list_folder(str(tmp_path))
    assert {path: labels for path, (labels, _) in told(listing, tmp_path).items()} == {
        name: (name.split("/")[0],) for name in names
    }


def test_colors_below_flowers_are_refused_and_deepest_takes_them(tmp_path: Path) -> None:
    make(tmp_path, "roses/red/a.jpg", "roses/white/b.jpg", "tulips/red/c.jpg", "tulips/white/d.jpg")
    assert "the same names ('red', 'white')" in refusal(tmp_path)
    assert told(list_folder(str(tmp_path), classes="deepest"), tmp_path)["tulips/red/c.jpg"] == (
        ("red",),
        None,
    )


def test_wrong_splits_say_what_is_there(sites: Path) -> None:
    assert refusal(sites, splits={"site_a": "train", "site_\n": "test"}) == (
        r"`splits` names site_\n, and F has no such folder: it has site_a, site_b"
    )
    assert refusal(sites, splits={"site_a": "holdout"}) == (
        "`splits=site_a=holdout`: expected one of train, validation, test"
    )
    assert refusal(sites / "site_a" / "cat", splits={"a": "test"}) == (
        "`splits` names a, and F has no such folder: it has none"
    )


def test_a_test_part_without_classes_is_said_and_test_is_cut_from_train(tmp_path: Path) -> None:
    make(tmp_path, "train/rose/a.jpg", "train/daisy/a.jpg", "test/1.jpg", "test/2.jpg")
    listing = list_folder(str(tmp_path))
    assert told(listing, tmp_path) == {
        **{"train/rose/a.jpg": (("rose",), None), "train/daisy/a.jpg": (("daisy",), None)},
        **{"test/1.jpg": ((), "test"), "test/2.jpg": ((), "test")},
    }
    assert listing.notices == [
        "test holds 2 images and no folders of classes: they are stored without a label, and can't test a "
        "head"
    ]


def test_a_part_whose_one_folder_is_no_class_is_said(tmp_path: Path) -> None:
    make(
        tmp_path,
        "train/n01/images/a.jpg",
        "train/n02/images/b.jpg",
        "val/images/c.jpg",
        "val/annotations.txt",
    )
    listing = list_folder(str(tmp_path))
    assert told(listing, tmp_path)["val/images/c.jpg"] == ((), "validation")
    assert told(listing, tmp_path)["train/n01/images/a.jpg"] == (("n01",), None)
    assert listing.notices == [
        "val holds 1 image and the one folder 'images', which is no class of train: "
        "they are stored without a label, and can't test a head"
    ]


def test_names_that_are_not_utf8_are_left_out_counted_and_named_once(tmp_path: Path) -> None:
    make(tmp_path, "rose/a.jpg", "daisy/ä.jpg")
    try:
        make(
            tmp_path,
            os.fsdecode(b"rose/\xff.jpg"),
            os.fsdecode(b"t\xfclip/b.jpg"),
            os.fsdecode(b"t\xfclip/c.jpg"),
        )
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    listing = list_folder(str(tmp_path))
    assert set(told(listing, tmp_path)) == {"rose/a.jpg", "daisy/ä.jpg"}
    assert (listing.left_out, listing.ignored) == (3, 0)
    assert listing.notices == [
        "left out 3 images whose names are not valid UTF-8 "
        r"(rose/\xff.jpg, t\xfclip/b.jpg, t\xfclip/c.jpg): rename them"
    ]
    found = find_images(str(tmp_path))
    assert (len(found.images), found.left_out, len(found.notices)) == (2, 3, 1)
    (tmp_path / "rose" / "a.jpg").unlink()
    (tmp_path / "daisy" / "ä.jpg").unlink()
    assert refusal(tmp_path).startswith(
        "found no images in F (0 other files, and 3 images whose names are not valid UTF-8): expected a "
    )


def test_control_characters_in_names_are_escaped_where_they_are_said(tmp_path: Path) -> None:
    make(tmp_path, "rose/a.jpg", "da\x1b[31misy/b.jpg", "emp\nty/c.txt")
    listing = list_folder(str(tmp_path))
    assert refs(listing)[0].labels == ("da\x1b[31misy",)
    assert listing.notices == [rf"no images in emp\nty (in {tmp_path})"]


def test_one_name_below_several_folders_is_enough_to_be_unclear(tmp_path: Path) -> None:
    make(tmp_path, "holdout/cat/1.jpg", "holdout/dog/1.jpg", "train/cat/1.jpg")
    assert refusal(tmp_path) == (
        "F has folders of folders, and the same names ('cat') in several of them ('holdout', 'train'): say "
        "which are the classes, with `classes=top` (holdout, train) or `classes=deepest` (cat, dog), "
        "or which are the splits, with `splits=holdout=test,train=train`"
    )


def test_a_split_without_images_is_not_told_of(tmp_path: Path) -> None:
    make(tmp_path, "train/rose/a.jpg", "train/daisy/a.jpg", "test/notes.txt")
    assert notices(tmp_path) == []
    assert {ref.split for ref in refs(list_folder(str(tmp_path)))} == {None}


def test_the_advice_for_many_folders_names_two(tmp_path: Path) -> None:
    make(tmp_path, *(f"{top}/{pet}/1.jpg" for top in ("a", "b", "c", "d") for pet in ("cat", "dog")))
    assert "('a', 'b', 'c' and 1 more)" in refusal(tmp_path)
    assert refusal(tmp_path).endswith("with `splits=a=train,b=test`")


def test_the_order_in_which_a_folder_is_read_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (f"{split}/{pet}/{n}.jpg" for split in ("train", "test") for pet in "bac" for n in "213")
    make(tmp_path, *names)
    listing, scandir = list_folder(str(tmp_path)), os.scandir
    with monkeypatch.context() as patches:
        patches.setattr(os, "scandir", lambda path: contextlib.nullcontext(list(scandir(path))[::-1]))
        assert list_folder(str(tmp_path)) == listing


NAMES = st.text(st.sampled_from("ab- 0éB."), max_size=4).map(lambda name: f"n{name}")


@settings(max_examples=20)
@given(names=st.sets(st.tuples(NAMES, NAMES), min_size=1, max_size=6))
def test_whatever_the_names_images_are_sorted_by_uri_and_called_after_their_folder(names: set) -> None:
    with tempfile.TemporaryDirectory() as folder:
        images = make(Path(folder), *(f"{label}/{name}.png" for label, name in names))
        assert told(list_folder(folder, classes="top"), images) == {
            f"{label}/{name}.png": ((label,), None) for label, name in names
        }


def test_images_are_sorted_where_a_folder_has_the_name_of_one_or_is_a_named_split(tmp_path: Path) -> None:
    make(tmp_path, "a/x.jpg/notes.txt", "a/x.jpg-1.png", "a-b/1.png")
    assert list(told(list_folder(str(tmp_path)), tmp_path).items()) == [
        ("a-b/1.png", (("a-b",), None)),
        ("a/x.jpg", (("a",), None)),
        ("a/x.jpg-1.png", (("a",), None)),
    ]
    split = told(list_folder(str(tmp_path), splits={"a": "train", "a-b": "test"}), tmp_path)
    assert list(split.items()) == [
        ("a-b/1.png", ((), "test")),
        ("a/x.jpg", ((), "train+validation")),
        ("a/x.jpg-1.png", ((), "train+validation")),
    ]


def test_a_single_image(tmp_path: Path) -> None:
    make(tmp_path, "a.JPG", "b.txt")
    os.utime(tmp_path / "a.JPG", ns=(0, 1_700_000_000_000_000_000))
    path = str(tmp_path / "a.JPG")
    listing = list_file(path)
    assert refs(listing) == [Ref(path, (), None, 3, 1_700_000_000_000_000)]
    assert (listing.source, listing.ignored, listing.notices, listing.left_out) == (path, 0, [], 0)
    assert IMAGE.list(f"file://{path}", Request()) == listing
    names = (path, f"file://{path}", f"{tmp_path}/b.txt", f"{tmp_path}/none.jpg", str(tmp_path))
    assert [IMAGE.accepts(name) for name in names] == [True, True, False, False, False]
    assert [FOLDER.accepts(name) for name in names] == [False] * 4 + [True]


def test_all_images_below_without_labels(tmp_path: Path) -> None:
    make(tmp_path, "train/rose/b.jpg", "a.jpg", "notes.txt")
    listing = find_images(str(tmp_path))
    assert told(listing, tmp_path) == {"a.jpg": ((), None), "train/rose/b.jpg": ((), None)}
    assert (listing.source, listing.ignored, listing.notices) == (str(tmp_path), 1, [])
