from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.errors import BottleneckError
from features.inputs.folder import find_images, list_folder
from features.inputs.listing import Listing
from features.inputs.walk import EXTENSIONS
from tests.features.inputs.refs import refs


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
    assert refs(listing)[0].size == 3


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


def test_what_can_not_be_read_is_listed_all_the_same(tmp_path: Path) -> None:
    make(tmp_path, "rose/good.jpg", "rose/folder.jpg/notes.txt", "daisy/a.jpg")
    (tmp_path / "rose" / "dangling.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "rose" / "empty.jpg").touch()
    listing = list_folder(str(tmp_path))
    assert set(told(listing, tmp_path)) == {
        *("daisy/a.jpg", "rose/good.jpg", "rose/folder.jpg", "rose/dangling.jpg", "rose/empty.jpg"),
    }
    dangling = next(ref for ref in refs(listing) if ref.uri.endswith("dangling.jpg"))
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


def test_a_folder_with_the_name_of_an_image_is_looked_into(tmp_path: Path) -> None:
    make(tmp_path, "cat.png/a.jpg", "dog.v2.png/b.jpg", "dog.v2.png/more.jpg/c.jpg")
    assert told(list_folder(str(tmp_path)), tmp_path) == {
        "cat.png/a.jpg": (("cat.png",), None),
        "dog.v2.png/b.jpg": (("dog.v2.png",), None),
        "dog.v2.png/more.jpg/c.jpg": (("dog.v2.png",), None),
    }


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


def test_every_extension_counts_whatever_its_case(tmp_path: Path) -> None:
    names = [f"a.{extension}" for extension in EXTENSIONS] + ["b.JPEG", "c.Tiff"]
    make(tmp_path, *(f"rose/{name}" for name in names), "rose/jpg", "rose/png.txt", "rose/archive.zip")
    listing = list_folder(str(tmp_path))
    assert {os.path.basename(image.uri) for image in refs(listing)} == set(names)
    assert listing.ignored == 3
    assert {"jfif", "mpo", "gif", "heic", "avif", "webp"} <= EXTENSIONS


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("Training", "Test"), ("train", "test")),
        (("training_set", "test_set"), ("train", "test")),
        (("seg_train", "seg_test"), ("train", "test")),
        (("TRAIN", "Testing"), ("train", "test")),
        (("train-images", "test images"), ("train", "test")),
        (("trainset", "testset"), ("train", "test")),
        (("train", "dev", "test"), ("train", "validation", "test")),
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


@pytest.mark.parametrize(
    "name", ["trains", "latest", "contest", "validated", "seg", "set", "test_drive", "training wheels"]
)
def test_classes_whose_names_are_like_those_of_splits_stay_classes(tmp_path: Path, name: str) -> None:
    make(tmp_path, f"{name}/a.jpg", "other/b.jpg")
    assert told(list_folder(str(tmp_path)), tmp_path)[f"{name}/a.jpg"] == ((name,), None)


def test_a_split_that_holds_only_a_folder_of_its_name_is_gone_into(tmp_path: Path) -> None:
    make(
        tmp_path,
        *(f"seg_{s}/seg_{s}/{label}/x.jpg" for s in ("train", "test") for label in ("sea", "street")),
    )
    listing = list_folder(str(tmp_path))
    assert told(listing, tmp_path)["seg_test/seg_test/sea/x.jpg"] == (("sea",), "test")
    assert {label for image in refs(listing) for label in image.labels} == {"sea", "street"}
    make(tmp_path, "seg_pred/seg_pred/1.jpg")
    with pytest.raises(
        BottleneckError, match="'seg_pred' beside .* `splits=seg_test=test,seg_train=train` to leave"
    ):
        list_folder(str(tmp_path))
    left = list_folder(str(tmp_path), splits={"seg_train": "train", "seg_test": "test"})
    assert len(left.images) == 4
    assert "left out seg_pred, which `splits` does not name" in left.notices


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    return make(
        tmp_path, *(f"site_{site}/{pet}/{n}.jpg" for site in "ab" for pet in ("cat", "dog") for n in "12")
    )


def test_the_same_names_below_several_folders_are_refused_until_it_is_said_what_they_are(sites: Path) -> None:
    with pytest.raises(
        BottleneckError,
        match="the same names .'cat', 'dog'. in several of them .'site_a', 'site_b'.: .*`classes=top` .*"
        "`classes=deepest` .cat, dog.*`splits=site_a=train,site_b=test`",
    ):
        list_folder(str(sites))
    top = told(list_folder(str(sites), classes="top"), sites)
    assert top["site_a/cat/1.jpg"] == (("site_a",), None)
    deepest = told(list_folder(str(sites), classes="deepest"), sites)
    assert deepest["site_a/cat/1.jpg"] == (("cat",), None)
    split = told(list_folder(str(sites), splits={"site_a": "train", "site_b": "test"}), sites)
    assert split["site_a/cat/1.jpg"] == (("cat",), "train+validation")
    assert split["site_b/dog/2.jpg"] == (("dog",), "test")


def test_splits_below_the_classes_are_refused_and_said(tmp_path: Path) -> None:
    make(tmp_path, *(f"{pet}/{split}/1.jpg" for pet in ("cat", "dog") for split in ("train", "test")))
    with pytest.raises(
        BottleneckError, match="the splits .test, train. below the classes .cat, dog.: put them above, as"
    ):
        list_folder(str(tmp_path))


def test_a_stray_image_or_another_case_makes_them_no_clearer(sites: Path) -> None:
    make(sites, "site_a/preview.png")
    with pytest.raises(BottleneckError, match="`classes=deepest`"):
        list_folder(str(sites))
    (sites / "site_a" / "preview.png").unlink()
    (sites / "site_b" / "cat").rename(sites / "site_b" / "Cat")
    (sites / "site_b" / "dog").rename(sites / "site_b" / "DOG")
    with pytest.raises(BottleneckError, match="`classes=deepest`"):
        list_folder(str(sites))


def test_the_advice_names_the_split_that_a_folder_is_called_after(tmp_path: Path) -> None:
    make(tmp_path, *(f"{top}/{pet}/1.jpg" for top in ("holdout", "train") for pet in ("cat", "dog")))
    with pytest.raises(
        BottleneckError, match="'train' with folders of images in it .cat, dog., beside 'holdout'"
    ):
        list_folder(str(tmp_path))
    listing = list_folder(str(tmp_path), splits={"train": "train", "holdout": "test"})
    assert {image.labels for image in refs(listing)} == {("cat",), ("dog",)}
    assert {image.labels for image in refs(list_folder(str(tmp_path), classes="top"))} == {
        ("holdout",),
        ("train",),
    }


@pytest.mark.parametrize(
    ("train", "test"),
    [("train2017", "val2017"), ("train1", "test1"), ("trainval", "test"), ("train", "eval")],
)
def test_names_with_numbers_and_kaggles_are_splits(tmp_path: Path, train: str, test: str) -> None:
    make(tmp_path, *(f"{name}/{pet}/1.jpg" for name in (train, test) for pet in ("cat", "dog")))
    listing = list_folder(str(tmp_path))
    assert {image.labels for image in refs(listing)} == {("cat",), ("dog",)}
    assert {image.split for image in refs(listing)} == {"train+validation", "test"}


def test_files_beside_the_inner_folder_of_a_split_do_not_hide_it(tmp_path: Path) -> None:
    make(
        tmp_path, "train/train/cat/1.jpg", "train/train/dog/1.jpg", "train/readme.txt", "test/test/cat/2.jpg"
    )
    labels = {image.labels for image in refs(list_folder(str(tmp_path)))}
    assert labels == {("cat",), ("dog",)}


def test_parts_that_share_no_class_and_loose_images_are_said(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/cats/2.jpg", "test/dogs/2.jpg", "cover.jpg")
    notices = list_folder(str(tmp_path)).notices
    assert f"left out 1 image beside the folders of the splits in {tmp_path}" in notices
    assert "no class of test is a class of the training part" in notices


def test_it_is_unclear_within_a_split_too(tmp_path: Path) -> None:
    make(
        tmp_path,
        *(f"{s}/{site}/{pet}/1.jpg" for s in ("train", "test") for site in "ab" for pet in ("cat", "dog")),
    )
    with pytest.raises(BottleneckError, match="`classes=deepest`"):
        list_folder(str(tmp_path))
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
    with pytest.raises(BottleneckError, match="'red', 'white'"):
        list_folder(str(tmp_path))
    assert told(list_folder(str(tmp_path), classes="deepest"), tmp_path)["tulips/red/c.jpg"] == (
        ("red",),
        None,
    )


def test_wrong_splits_say_what_is_there(sites: Path) -> None:
    with pytest.raises(BottleneckError, match="`splits` names site_c, .* it has site_a, site_b"):
        list_folder(str(sites), splits={"site_c": "train"})
    with pytest.raises(
        BottleneckError, match="`splits=site_a=holdout`: expected one of train, validation, test"
    ):
        list_folder(str(sites), splits={"site_a": "holdout"})


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
    assert "val holds 1 image and the one folder 'images', which is no class of train" in listing.notices[0]


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
    with pytest.raises(
        BottleneckError, match="found no images .*, and 3 images whose names are not valid UTF-8"
    ):
        list_folder(str(tmp_path))


def test_control_characters_in_names_are_escaped_where_they_are_said(tmp_path: Path) -> None:
    make(tmp_path, "rose/a.jpg", "da\x1b[31misy/b.jpg", "emp\nty/c.txt")
    listing = list_folder(str(tmp_path))
    assert refs(listing)[0].labels == ("da\x1b[31misy",)
    assert listing.notices == [rf"no images in emp\nty (in {tmp_path})"]
