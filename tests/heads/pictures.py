"""Photos of three classes that a small network can tell apart: each is brighter in one of the colors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from features import Extractor
from features import store as feature_store
from features.store.parts import write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from features.store.vectors import matrix
from tests.conftest import photo
from tests.tables import add, make_rows
from tests.tiny import BACKBONE

COLORS = ("blue", "green", "red")
#: Of every ten photos of a class, where splits are given.
SPLITS = ("train",) * 6 + ("validation",) * 2 + ("test",) * 2


def colored(seed: int, color: str) -> Image.Image:
    """A photo with a cast of a color."""
    pixels = np.asarray(photo(seed, 40, 32)).astype(int)
    pixels[..., "rgb".index(color[0])] += 40
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def make_photos(folder: Path, count: int = 10) -> Path:
    """`count` photos of each class in `folder/<split>/<class>`."""
    for number, color in enumerate(COLORS * count):
        place = folder / SPLITS[number // 3 % 10] / color
        place.mkdir(parents=True, exist_ok=True)
        colored(number, color).save(place / f"{number}.png")
    return folder


def make_table(photos: Path, store: Path, layers: Sequence[str] = ("avg_pool",)) -> FeatureTable:
    """The table `tiny` of photos in `photos/<split>/<class>`, with the tiny backbone's random weights."""
    uris = sorted(map(str, photos.rglob("*.png")))
    extractor = Extractor("random", backbone="tiny", layers=layers, engine="openvino")
    extracted = pa.Table.from_batches(extractor.extract(uris), extractor.schema).combine_chunks()
    facts = TableFacts(str(photos), "random", tuple(layers), extractor.recipe)
    classes, splits = [Path(uri).parent.name for uri in uris], [Path(uri).parents[1].name for uri in uris]
    X = {layer: matrix(extracted.column(layer), BACKBONE.layers[layer]) for layer in layers}
    rows = make_rows(facts, X, classes, splits)
    for name, column in (("uri", pa.array(uris)), ("image_id", extracted.column("image_id").chunk(0))):
        rows = rows.set_column(rows.schema.names.index(name), rows.schema.field(name), column)
    table = feature_store.create(store, "tiny", facts)
    add(table, write_part(table.folder, [rows], facts.schema, run_id="run-1"))
    return feature_store.open(store, "tiny")
