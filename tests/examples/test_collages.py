from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.collages import make_collages
from features.inputs import list_images


@pytest.fixture
def colored(tmp_path: Path) -> Path:
    """Nine photos of one color each: three reds, three greens, three blues."""
    for number in range(9):
        color = [0, 0, 0]
        color[number % 3] = 150 + 10 * number
        folder = tmp_path / "photos" / ("red", "green", "blue")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30), tuple(color)).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_each_photo_is_in_one_collage_which_has_the_labels_of_its_photos(
    colored: Path, tmp_path: Path
) -> None:
    listing = list_images(str(make_collages(str(colored), tmp_path / "out")))
    rows = listing.images.to_pylist()
    seen: list[tuple[int, ...]] = []
    for row in rows:
        pixels = np.asarray(Image.open(row["uri"]))
        assert pixels.shape == (320, 320, 3)
        tiles = {tuple(pixels[y, x].tolist()) for y in (80, 240) for x in (80, 240)} - {(124, 116, 104)}
        seen += tiles
        colors = {("red", "green", "blue")[int(np.argmax(tile))] for tile in tiles}
        assert 1 <= len(tiles) <= 3 and set(row["labels"]) == colors
    assert len(seen) == len(set(seen)) == 9 and len(rows) > 1
    assert any(len(row["labels"]) > 1 for row in rows)


def test_another_seed_makes_other_collages(colored: Path, tmp_path: Path) -> None:
    paths = [
        make_collages(str(colored), tmp_path / str(number), seed) for number, seed in enumerate((0, 0, 1))
    ]
    first, again, other = (
        [row["labels"] for row in list_images(str(path)).images.to_pylist()] for path in paths
    )
    assert first == again != other
