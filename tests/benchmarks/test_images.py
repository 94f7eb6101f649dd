"""The images of a benchmark: which are taken, and how they are laid out."""

from pathlib import Path

import pytest

from benchmarks.images import find_photos, lay_out
from features.errors import BottleneckError


def test_classes_take_turns_and_damaged_images_are_left_out(photos: Path, tmp_path: Path) -> None:
    for source in photos.rglob("*.*"):
        target = tmp_path / source.parent.name / source.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    (tmp_path / "daisy" / "00.jpg").write_bytes(b"no image")
    name, found = find_photos(str(tmp_path), 6)
    assert name == str(tmp_path)
    assert [photo.label for photo in found] == ["rose", "daisy", "rose", "daisy", "rose", "daisy"]
    assert len({photo.path for photo in found}) == 6
    assert not any(photo.path.endswith("00.jpg") for photo in found if photo.label == "daisy")


def test_the_extension_is_that_of_the_content(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "rose").mkdir()
    (png,) = list(photos.rglob("04.png"))
    (tmp_path / "rose" / "lying.jpg").write_bytes(png.read_bytes())
    _, (found,) = find_photos(str(tmp_path), 6)
    assert found.format == "png"


def test_no_usable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rose").mkdir()
    (tmp_path / "rose" / "a.jpg").write_bytes(b"no image")
    with pytest.raises(BottleneckError, match="no JPEG or PNG"):
        find_photos(str(tmp_path), 6)


def test_a_folder_has_exactly_the_images_asked_for(photos: Path, tmp_path: Path) -> None:
    _, found = find_photos(str(photos), 6)
    few, many = lay_out(found, tmp_path / "4", 4), lay_out(found, tmp_path / "15", 15)
    in_few = {str(path.relative_to(few)): path.read_bytes() for path in few.rglob("*.*")}
    in_many = {str(path.relative_to(many)): path.read_bytes() for path in many.rglob("*.*")}
    assert (len(in_few), len(in_many)) == (4, 15)
    assert in_few.items() <= in_many.items()
    assert len(set(in_many.values())) == 6
