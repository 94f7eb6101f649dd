"""Feature tables whose images can be read, for pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from features import store as feature_store
from features.store.parts import write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from tests.conftest import photo
from tests.heads.conftest import LAYERS, RECIPE, WIDTH
from tests.tables import add, make_rows


def pictured_table(
    folder: Path,
    labels: Sequence[str | Sequence[str]],
    *,
    names: Sequence[str] = (),
    views: Sequence[int] = (),
    unreadable: int = 0,
) -> FeatureTable:
    """A table of photos in `folder/images`, of features around a center for each class.

    Args:
        names: of the first files; the others are numbered.
        views: of each row; all are the images themselves where not given.
        unreadable: images at the end whose files do not exist.
    """
    (folder / "images").mkdir()
    files = [*names, *(f"{number:04}.jpg" for number in range(len(names), len(labels)))]
    uris = [str(folder / "images" / file) for file in files]
    for number, uri in enumerate(uris[: len(uris) - unreadable]):
        photo(number).save(uri, format="JPEG")
    facts = TableFacts(source="photos", weights="random", layers=LAYERS[1:], recipe=RECIPE)
    rows = make_rows(facts, _features(labels), labels)
    columns = {"uri": pa.array(uris)} | ({"view": pa.array(views, pa.int32())} if views else {})
    for name, column in columns.items():
        rows = rows.set_column(rows.schema.names.index(name), rows.schema.field(name), column)
    table = feature_store.create(folder / "store", "photos", facts)
    add(table, write_part(table.folder, [rows], facts.schema, run_id="run-1"), run_id="run-1")
    return feature_store.open(folder / "store", "photos")


def _features(labels: Sequence[str | Sequence[str]]) -> np.ndarray:
    random = np.random.default_rng(0)
    names = sorted({str(label) for label in labels})
    centers = random.normal(size=(len(names), WIDTH))
    rows = [centers[names.index(str(label))] + random.normal(scale=0.5, size=WIDTH) for label in labels]
    return np.reshape(rows, (-1, WIDTH))


def uris_of(table: FeatureTable) -> list[str]:
    """The files of a table's rows."""
    return table.metadata(["uri"]).column("uri").to_pylist()
