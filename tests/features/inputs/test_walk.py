from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.errors import BottleneckError
from features.inputs.listing import LISTING_SCHEMA, file_facts
from features.inputs.walk import EXTENSIONS, Walk, WalkedImages, is_folder, is_image_name, is_text


def make(folder: Path, *names: str) -> None:
    for size, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * size)


def below(images: WalkedImages, folder: Path) -> dict[str, tuple[str, ...]]:
    """From the relative path of each image to the names of the folders that it lies in."""
    return {
        os.path.relpath(row["uri"], folder): images.folders[row["folder"]] for row in images.files.to_pylist()
    }


def test_extensions_that_count() -> None:
    assert ",".join(sorted(EXTENSIONS)) == (
        "apng,avif,bmp,dib,gif,heic,heif,j2k,jfif,jp2,jpe,jpeg,jpg,mpo,pbm,pgm,png,pnm,ppm,tga,tif,tiff,webp"
    )
    assert all(is_image_name(f"a.b.{extension}") for extension in EXTENSIONS)


@pytest.mark.parametrize(
    ("name", "is_image"),
    [
        *((name, True) for name in ("a.JPG", "a.Tiff", "/b.c/a.gif", " .png")),
        *(
            (name, False)
            for name in ("jpg", "", "a.", "a.jpg.txt", "a.zip", "ajpg", "a.jp", "a.jpgs", "a.jpg ")
        ),
    ],
)
def test_what_counts_as_an_image(name: str, is_image: bool) -> None:
    assert is_image_name(name) == is_image


def test_paths_that_are_utf8() -> None:
    assert [is_text(path) for path in ("a/b", "ä/🌸", os.fsdecode(b"\xff"))] == [True, True, False]


def test_images_anywhere_below(tmp_path: Path) -> None:
    names = ("b.jpg", "notes.txt", "rose/a.jpg", "rose/c.txt", "rose/rose/d.png", "a.jpg", "e/f.txt")
    make(tmp_path, *names)
    walk = Walk()
    images = walk.images(str(tmp_path))
    assert below(images, tmp_path) == {
        "a.jpg": (),
        "b.jpg": (),
        "rose/a.jpg": ("rose",),
        "rose/rose/d.png": ("rose", "rose"),
    }
    assert (len(images), walk.ignored, walk.left_out, walk.notices) == (4, 3, [], [])
    assert dict(zip(images.folders, images.counts().tolist(), strict=True)) == {
        (): 2,
        ("rose",): 1,
        ("rose", "rose"): 1,
    }
    for row in images.files.drop_columns("folder").to_pylist():
        facts = file_facts(row["uri"])
        assert row["size"] == facts.size == names.index(os.path.relpath(row["uri"], tmp_path))
        assert row["modified_at"].timestamp() == pytest.approx((facts.modified_at or 0) / 1e6)


def test_labels_by_folder_and_some_folders_alone(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg", "daisy/a.jpg", "rose/b.jpg", "rose/c.jpg")
    images = Walk().images(str(tmp_path))
    labels = [names[0] if names else None for names in images.folders]
    labelled = images.labelled(labels)
    assert labelled.schema == LISTING_SCHEMA
    assert {row["uri"][len(str(tmp_path)) :]: row["labels"] for row in labelled.to_pylist()} == {
        "/1.jpg": [],
        "/daisy/a.jpg": ["daisy"],
        "/rose/b.jpg": ["rose"],
        "/rose/c.jpg": ["rose"],
    }
    assert labelled.column("split").null_count == 4
    within = images.within([label == "rose" for label in labels])
    assert below(within, tmp_path) == {"rose/b.jpg": ("rose",), "rose/c.jpg": ("rose",)}
    assert within.counts().tolist() == [0, 0, 2]
    assert images.within([True, False, False]).counts().tolist() == [1, 0, 0]
    assert within.labelled(labels).to_pylist() == labelled.to_pylist()[-2:]


def test_an_empty_folder(tmp_path: Path) -> None:
    images = Walk().images(str(tmp_path))
    assert (len(images), images.folders, images.counts().tolist()) == (0, [], [])
    assert images.labelled([]).schema == LISTING_SCHEMA


def test_hidden_files_and_leftovers_are_passed_over(tmp_path: Path) -> None:
    passed_over = (".a.jpg", ".thumbs/b.jpg", "__MACOSX/c.jpg", "__pycache__/d.jpg", "@eaDir/e.jpg")
    make(tmp_path, *passed_over, "$RECYCLE.BIN/f.jpg", "lost+found/g.jpg", "System Volume Information/h.jpg")
    make(tmp_path, "c.txt", "b/x.jpg", "a.jpg", "b-.jpg")
    walk = Walk()
    assert [entry.name for entry in walk.entries(str(tmp_path))] == ["a.jpg", "b", "b-.jpg", "c.txt"]
    assert len(walk.images(str(tmp_path))) == 3
    assert walk.ignored == 1


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    make(tmp_path, "data/rose/red/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "data" / "daisy").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "rose" / "red" / "up").symlink_to(tmp_path / "data" / "rose")
    (tmp_path / "elsewhere" / "here").symlink_to(".")
    (tmp_path / "data" / "itself").symlink_to("itself")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "data" / "rose")
    walk = Walk()
    assert below(walk.images(str(tmp_path / "data")), tmp_path / "data") == {
        "daisy/b.jpg": ("daisy",),
        "rose/red/a.jpg": ("rose", "red"),
        "link/red/a.jpg": ("link", "red"),
    }
    assert walk.ignored == 1  # the link that leads to itself
    assert [is_folder(entry) for entry in walk.entries(str(tmp_path / "data"))] == [True, False, True, True]


def test_a_walk_from_a_link_does_not_come_back_to_where_it_leads(tmp_path: Path) -> None:
    make(tmp_path, "data/rose/a.jpg")
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "data" / "rose" / "up").symlink_to(tmp_path / "data")
    assert below(Walk().images(str(tmp_path / "link")), tmp_path / "link") == {"rose/a.jpg": ("rose",)}


def test_what_has_the_name_of_an_image_is_one_or_is_looked_into(tmp_path: Path) -> None:
    make(tmp_path, "empty.jpg", "good.png/a.jpg", "notes.gif/a.txt", "nested.jpg/deep.png/b.txt")
    (tmp_path / "dangling.jpg").symlink_to("nowhere.jpg")
    walk = Walk()
    images = walk.images(str(tmp_path))
    assert below(images, tmp_path) == {
        **dict.fromkeys(("empty.jpg", "notes.gif", "dangling.jpg"), ()),
        "good.png/a.jpg": ("good.png",),
        "nested.jpg/deep.png": ("nested.jpg",),
    }
    assert walk.ignored == 2
    sizes = {os.path.basename(row["uri"]): row["size"] for row in images.files.to_pylist()}
    assert (sizes["empty.jpg"], sizes["dangling.jpg"]) == (0, None)


def test_images_whose_names_are_not_utf8_are_left_out(tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"rose/\xff.jpg", b"t\xfclip/b.jpg", b"t\xfclip/c.txt")]
    try:
        make(tmp_path, "rose/a.jpg", *names)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    walk = Walk()
    assert below(walk.images(str(tmp_path)), tmp_path) == {"rose/a.jpg": ("rose",)}
    assert (walk.left_out, walk.ignored) == ([str(tmp_path / name) for name in names[:2]], 1)


def test_a_folder_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "a\n.jpg").touch()
    with pytest.raises(BottleneckError) as caught:
        Walk().images(str(tmp_path / "a\n.jpg"))
    assert str(caught.value) == rf"the folder {tmp_path}/a\n.jpg can't be read: Not a directory"
