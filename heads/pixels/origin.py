"""What a saved head was trained on, found again to train it further, and refused where it has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features import store as feature_store
from features.downloads import DownloadProgress
from features.errors import BottleneckError
from features.inputs import list_images
from features.text import some
from heads.examples import count_images
from heads.pixels.images import LabelledImages, Reading, crashed_images, images_of_listing, images_of_table
from heads.pixels.streams import PixelReader
from heads.saved import SavedHead
from heads.shares import class_counts

if TYPE_CHECKING:
    from features.store.table import FeatureTable


def table_of(saved: SavedHead) -> tuple[FeatureTable | None, list[str]]:
    """The version of the table that a head was trained on, None for one that had an input instead; notices.

    Raises:
        BottleneckError: for another table of that name. Heads of older versions do not know which one theirs
            was: of them the rows are counted, and the features compared.
    """
    facts = saved.facts
    if facts["table_version"] is None:
        return None, []
    table = feature_store.open(saved.store, facts["table"], version=facts["table_version"])
    is_tuned = "from_head" in facts
    if "table_id" in facts:
        same = facts["table_id"] == str(table.delta.metadata().id)
    else:
        rows = table.metadata(["labels", "split"], views=0)
        same = count_images(rows, facts["labels"]).items() >= facts["splits"]["rows"].items()
    if not same:
        raise BottleneckError(
            f"table {table.name!r} is not the one that head {saved.id} was trained on, but was made anew: "
            f"images may be in other splits now. Train a head from it, and fine-tune that"
        )
    # The features of a head that was tuned are those of its own weights.
    notice = None if is_tuned else saved.check(table)
    return table, [notice] if notice else []


def images_of(
    saved: SavedHead,
    table: FeatureTable | None,
    reader: PixelReader,
    reading: Reading,
    download: DownloadProgress | None,
) -> LabelledImages:
    """The images that a head was trained on: those of its version of the table, or of its input.

    Raises:
        BottleneckError: where they, their labels or their splits are others by now.
    """
    if table is not None:
        return images_of_table(table, reader, reading)
    data = saved.facts["data"]
    listing = list_images(data["source"], splits=data["splits"], classes=data["classes"], progress=download)
    crashed = crashed_images(saved.store, saved.facts["table"])
    images = images_of_listing(listing, reader, crashed, reading)
    if "sha256" in data and images.digest() != data["sha256"]:
        raise BottleneckError(
            f"the images of {images.name}, their labels or their splits are not those that head {saved.id} "
            f"was trained on: train a head on them again, and fine-tune that"
        )
    return images


def check_classes(saved: SavedHead, y: np.ndarray, name: str) -> None:
    """Refuse to unlearn a class; a head that was tested by folds may know one of other splits alone."""
    labels = saved.facts["labels"]
    missing = np.array(labels)[class_counts(y, len(labels)) == 0]
    if len(missing):
        raise BottleneckError(
            f"the train split of {name} has no image of {some(missing)}, which head {saved.id} knows"
        )
