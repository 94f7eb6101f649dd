from __future__ import annotations

import numpy as np
from PIL import Image

from heads.evidence.small_versions import SIDE, pixel_side, read_small
from tests.heads.evidence.conftest import MakeImages, classes_of


def test_a_small_version_is_the_image_made_small(make_images: MakeImages, sixty_photos: list[str]) -> None:
    labels = classes_of(60)
    images = make_images(labels, ["train"] * 60, uris=sixty_photos)
    small = read_small(images, np.array([2, 40]))
    assert small.pixels.shape == (2, SIDE, SIDE, 3)
    for version, number in zip(small.pixels, (2, 40), strict=True):
        expected = np.asarray(Image.open(sixty_photos[number]).resize((SIDE, SIDE), Image.Resampling.BOX))
        assert np.abs(version.astype(int) - expected).mean() < 3


def test_pixels_are_about_as_many_as_features() -> None:
    assert [pixel_side(width) for width in (48, 2048, 10**6, 1)] == [4, 26, SIDE, 2]
