"""A multi-label data set from any folder of classes: collages of one to three photos, with all their labels.

    python examples/collages.py ~/flower_photos ~/collages
    make extract train-head DATA=~/collages/collages.csv STORE=~/collages/store

Each photo is in one collage only, so that no split has seen a photo of another.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

from PIL import Image

from features.errors import BottleneckError
from features.inputs import list_images

#: Side of one of the four places of a collage, in pixels, and the color of those that stay empty.
_SIDE, _EMPTY = 160, (124, 116, 104)


def make_collages(data: str, folder: Path, seed: int = 0) -> Path:
    """Write the collages and a CSV that lists them, `collages.csv` in `folder`; its path.

    Args:
        data: a folder with a sub-folder for each class, as of `make extract`.
        seed: of which photos come together, and where.
    """
    chance = random.Random(seed)
    photos = [(row["uri"], row["labels"]) for row in list_images(data).images.to_pylist()]
    chance.shuffle(photos)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str]] = []
    while photos:
        count = chance.randint(1, min(3, len(photos)))
        taken, photos = photos[:count], photos[count:]
        collage = Image.new("RGB", (2 * _SIDE, 2 * _SIDE), _EMPTY)
        for (uri, _), place in zip(taken, chance.sample(range(4), count), strict=True):
            with Image.open(uri) as photo:
                tile = photo.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
            collage.paste(tile, (place % 2 * _SIDE, place // 2 * _SIDE))
        name = f"{len(rows):05}.png"
        collage.save(folder / name)
        rows.append((name, "|".join(sorted({label for _, labels in taken for label in labels}))))
    path = folder / "collages.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("uri", "labels"), *rows])
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Make collages of the photos of a folder of classes.")
    parser.add_argument("data", help="a folder with a sub-folder for each class")
    parser.add_argument("folder", type=Path, help="where the collages and their list go")
    arguments = parser.parse_args()
    try:
        print(make_collages(arguments.data, arguments.folder))
    except BottleneckError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
