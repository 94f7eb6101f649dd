from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from heads.evidence.near_duplicates import (
    Pair,
    describe,
    identical_pairs,
    leaked,
    method_text,
    pictures_of,
    proposals,
    same_pictures,
    to_read,
    with_copies,
)
from heads.evidence.neighbours import Neighbours, find_neighbours
from heads.evidence.small_versions import SIDE, SmallVersions, read_small
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import MakeImages, classes_of, features_of, splits_of

#: Numbers of photos that are copied, and their copies.
COPIED = {3: 57, 4: 58, 5: 59}


@pytest.fixture
def copies(sixty_photos: list[str], tmp_path: Path) -> list[str]:
    """57 photos and three copies: smaller and of lower quality, mirrored, and the same bytes."""
    uris = list(sixty_photos)
    for number, copy in COPIED.items():
        uris[copy] = str(tmp_path / f"copy-{number}.jpg")
    photo = Image.open(uris[3])
    photo.resize((54, 42), Image.Resampling.LANCZOS).save(uris[57], quality=40)
    ImageOps.mirror(Image.open(uris[4])).save(uris[58], quality=90)
    Path(uris[59]).write_bytes(Path(uris[5]).read_bytes())
    return uris


def near(labels: list[str]) -> dict[str, np.ndarray]:
    """Features in which copies are near each other, and not nearer than others of a class."""
    features = features_of(labels)
    random = np.random.default_rng(1)
    for X in features.values():
        for number, copy in COPIED.items():
            X[copy] = X[number] + random.normal(scale=0.7, size=X.shape[1])
        X[59] = X[5]
    return features


def test_copies_are_found_and_others_are_not(make_images: MakeImages, copies: list[str]) -> None:
    labels = classes_of(60)
    images = make_images(labels, ["train"] * 57 + ["test"] * 3, near(labels), uris=copies)
    pairs, cosines = proposals(find_neighbours(images, LAYERS[1:]), images.image_ids)
    small = read_small(images, to_read(pairs))
    assert small.readable.all()
    found = same_pictures(pairs, cosines, small)
    assert [(images.uris[pair.first], images.uris[pair.second]) for pair in found] == [
        (copies[3], copies[57]),
        (copies[4], copies[58]),
    ]
    assert [pair.mirrored for pair in found] == [False, True]
    assert all(pair.correlation and pair.correlation > 0.95 and pair.cosine > 0 for pair in found)
    same = identical_pairs(images)
    assert [(images.uris[pair.first], images.uris[pair.second]) for pair in same] == [(copies[5], copies[59])]
    marks = leaked([*found, *same], images)
    assert [images.uris[number] for number in np.flatnonzero(marks)] == copies[57:]
    described = describe([*found, *same], images, 2)
    assert (described["count"], described["across_splits"]) == (3, 3) and len(described["pairs"]) == 2
    assert described["pairs"][0]["identical"] and described["pairs"][0]["splits"] == ["train", "test"]


def test_a_proposal_stands_out_from_the_other_neighbours() -> None:
    """A pair at 0.8 among neighbours at 0.5 comes before one at 0.95 among others at 0.94."""
    numbers = np.array([[1, 2], [0, 3], [3, 0], [2, 1]])
    cosines = np.array([[0.8, 0.5], [0.8, 0.5], [0.95, 0.94], [0.95, 0.94]], np.float32)
    pairs, values = proposals(Neighbours(numbers, cosines, exact=True), list("abcd"))
    assert pairs[0].tolist() == [0, 1] and values[0] == pytest.approx(0.8)
    assert pairs[1].tolist() == [2, 3] and len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    identical, _ = proposals(Neighbours(numbers, cosines, exact=True), list("aacd"))
    assert [0, 1] not in identical.tolist(), "files of the same bytes need no pixels"


def test_only_so_many_images_are_read_those_of_the_first_pairs() -> None:
    pairs = np.array([[7, 9], [1, 7], [0, 3]])
    assert to_read(pairs).tolist() == [0, 1, 3, 7, 9]
    assert to_read(pairs, 2).tolist() == [7, 9]
    assert to_read(np.empty((0, 2), int)).tolist() == []


def test_what_all_images_have_in_common_makes_no_two_the_same() -> None:
    """White strokes on black, all in the middle: their plain pixels correlate by more than 0.95."""
    random = np.random.default_rng(0)
    frame = np.zeros((SIDE, SIDE, 3))
    frame[8:24, 8:24] = 200
    pixels = np.clip(frame + random.normal(scale=25, size=(40, SIDE, SIDE, 3)) + 30, 0, 255).astype(np.uint8)
    plain = np.corrcoef(pixels.reshape(40, -1).astype(float))
    assert plain.min() > 0.85
    pairs = np.array([(a, b) for a in range(40) for b in range(a)])
    small = SmallVersions(np.arange(40), pixels, np.ones(40, bool), np.ones(40, bool))
    assert same_pictures(pairs, np.ones(len(pairs)), small) == []


def test_what_cannot_be_read_or_has_changed_is_passed_over(
    make_images: MakeImages, copies: list[str], tmp_path: Path
) -> None:
    labels = classes_of(60)
    images = make_images(labels, ["train"] * 60, near(labels), uris=copies)
    Path(copies[57]).unlink()
    Image.open(copies[4]).save(copies[58])  # other bytes than when features were extracted
    small = read_small(images, np.arange(60))
    assert np.flatnonzero(~small.readable).tolist() == [57, 58]
    assert small.places(np.array([56, 57, 99])).tolist() == [56, -1, -1]
    pairs = np.array([[3, 57], [4, 58], [5, 59]])
    assert [pair[:2] for pair in same_pictures(pairs, np.ones(3), small)] == [(5, 59)]
    assert method_text(60, small, exact=True).endswith("58 images read, 2 could not be")
    none = np.empty(0, bool)
    nothing = SmallVersions(np.empty(0, int), np.empty((0, SIDE, SIDE, 3), np.uint8), none, none)
    assert same_pictures(pairs, np.ones(3), nothing) == []


def test_pairs_across_labels_come_before_those_that_are_more_alike(make_images: MakeImages) -> None:
    images = make_images(["daisy", "daisy", "rose"] * 2, ["train"] * 6)
    pairs = [Pair(0, 1, 0.9, 0.99, False), Pair(1, 2, 0.8, 0.96, False)]
    described = describe(pairs, images, 10)
    assert [pair["across_labels"] for pair in described["pairs"]] == [True, False]
    assert (described["across_labels"], described["across_splits"]) == (1, 0)
    assert (described["count"], described["pictures"]) == (2, 1)
    assert described["pairs"][0]["labels"] == ["daisy", "rose"]
    assert describe(pairs[:1], images, 10)["across_labels"] == 0


def test_only_images_for_testing_leak(make_images: MakeImages) -> None:
    splits = splits_of(15)
    images = make_images(classes_of(15), splits)
    test, train, validation = (np.flatnonzero(images.splits == of) for of in ("test", "train", "validation"))
    pairs = [
        Pair(train[0], test[0], 1, 1, False),
        Pair(train[1], validation[0], 1, 1, False),
        Pair(test[1], test[2], 1, 1, False),
    ]
    assert np.flatnonzero(leaked(pairs, images)).tolist() == [test[0]]


def test_of_several_copies_each_for_testing_leaks(make_images: MakeImages) -> None:
    """The second is a copy of the first, which is for testing, too; the third is for training."""
    images = make_images(["daisy", "rose"] * 3, ["train"] * 3 + ["test"] * 3)
    pairs = [Pair(3, 4, 1, None, False), Pair(3, 0, 0.9, 0.98, False)]
    assert np.flatnonzero(leaked(pairs, images)).tolist() == [3, 4]
    assert [picture.tolist() for picture in pictures_of(pairs, images)] == [[0, 3, 4]]
    joined = with_copies(images, pairs)
    assert len({joined.units[number] for number in (0, 3, 4)}) == 1 and joined.units.max() == 3
    assert with_copies(images, []) is images


def test_images_of_few_pixels_are_not_judged(
    make_images: MakeImages, sixty_photos: list[str], tmp_path: Path
) -> None:
    """Two handwritten digits of 8 x 8 pixels look alike, and are not the same."""
    uris = [*sixty_photos[:58], str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    for uri in uris[58:]:
        Image.open(sixty_photos[0]).resize((SIDE - 1, 60)).save(uri)
    Image.open(uris[59]).point(lambda value: value + 1).save(uris[59])
    images = make_images(classes_of(60), ["train"] * 60, uris=uris)
    small = read_small(images, np.arange(60))
    assert small.readable.all() and np.flatnonzero(~small.detailed).tolist() == [58, 59]
    assert same_pictures(np.array([[58, 59], [0, 58]]), np.ones(2), small) == []
    assert method_text(60, small, exact=True).endswith("2 have too few pixels to tell")


def test_one_image_has_no_proposals() -> None:
    nobody = Neighbours(np.empty((1, 0), np.int64), np.empty((1, 0), np.float32), exact=True)
    pairs, cosines = proposals(nobody, ["a"])
    assert pairs.shape == (0, 2) and len(cosines) == 0


def test_of_two_images_a_copy_is_found(
    make_images: MakeImages, sixty_photos: list[str], tmp_path: Path
) -> None:
    """What two images have in common is all of both."""
    copy = str(tmp_path / "copy.jpg")
    Image.open(sixty_photos[0]).resize((60, 48)).save(copy, quality=60)
    images = make_images(["daisy", "rose"], ["train"] * 2, uris=[sixty_photos[0], copy])
    small = read_small(images, np.arange(2))
    assert len(same_pictures(np.array([[0, 1]]), np.ones(1), small)) == 1
