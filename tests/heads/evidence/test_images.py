from __future__ import annotations

import numpy as np
import pytest

from features.errors import BottleneckError
from heads.evidence.images import labelled_rows, sample
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import MakeImages, classes_of, features_of, splits_of


def test_rows_are_images_with_labels_that_are_known_in_the_order_of_the_table(
    make_images: MakeImages,
) -> None:
    labels = ["rose", "daisy", "weed", "rose", "daisy", "rose"]
    features = features_of(labels)
    images = make_images(labels, ["train"] * 4 + ["validation", "test"], features, views=[0, 0, 0, 1, 0, 0])
    images = labelled_rows(images.table, ["daisy", "rose"], multi_label=False)
    assert images.numbers.tolist() == [0, 1, 4, 5]
    assert images.y.tolist() == [1, 0, 0, 1] and images.labels == ["rose", "daisy", "daisy", "rose"]
    assert images.splits.tolist() == ["train", "train", "validation", "test"]
    assert images.counts()["rose"] == {"train": 1, "validation": 0, "test": 1}
    assert (images.features(LAYERS[1:]) == features[LAYERS[1]][[0, 1, 4, 5]]).all()
    assert (images.features(LAYERS[:1], np.array([3, 1])) == features[LAYERS[0]][[5, 1]]).all()
    (place, X), *others = images.batches(LAYERS)
    assert place == slice(0, 4) and not others
    assert (np.concatenate([features[layer][[0, 1, 4, 5]] for layer in LAYERS], axis=1) == X).all()


def test_images_of_a_group_stay_together_among_some_of_them(make_images: MakeImages) -> None:
    images = make_images(classes_of(6), ["train"] * 6, groups=["a", None, "b", "a", None, "b"])
    some = images.among(np.array([False, True, True, False, False, True]))
    assert some.units[1] == some.units[2] != some.units[0] and some.units.max() == 1
    assert some.numbers.tolist() == [1, 2, 5] and some.uris == [images.uris[n] for n in (1, 2, 5)]
    assert some.among(np.array([2])).numbers.tolist() == [5]


def test_labels_that_no_image_has_are_refused(make_images: MakeImages) -> None:
    images = make_images(classes_of(6))
    with pytest.raises(BottleneckError, match="has no image of a label that the head knows"):
        labelled_rows(images.table, ["oak", "elm"], multi_label=False)


def test_a_sample_has_its_share_of_each_class_and_stays_as_the_table_grows(make_images: MakeImages) -> None:
    labels = ["daisy"] * 60 + ["rose"] * 30
    images = make_images(labels, ["train"] * 90)
    some = sample(images, 30, given_splits=False)
    assert np.bincount(some.y).tolist() == [20, 10]
    assert (np.diff(some.numbers) > 0).all()
    of_daisy = sorted(images.image_ids[:60])[:20]
    assert sorted(some.image_ids[:20]) == of_daisy
    assert sample(images, 90, given_splits=False) is images


def test_of_given_splits_each_has_its_share_in_a_sample(make_images: MakeImages) -> None:
    images = make_images(classes_of(90), splits_of(90))
    some = sample(images, 45, given_splits=True)
    assert (some.splits == "test").sum() == 9


def test_views_of_images_are_found_by_their_names(make_images: MakeImages) -> None:
    labels = ["rose", "daisy", "weed", "rose"]
    images = make_images(
        labels * 3, ["train"] * 12, features_of(labels * 3), views=[0] * 4 + [1] * 4 + [2] * 4
    )
    known = labelled_rows(images.table, ["daisy", "rose"], multi_label=False)
    numbers, of_image = known.views()
    assert numbers.tolist() == [4, 5, 7, 8, 9, 11] and of_image.tolist() == [0, 1, 2, 0, 1, 2]
    assert [of.tolist() for of in known.among(np.array([2])).views(1)] == [[7], [0]]
    assert [len(of) for of in known.views(0)] == [0, 0]
