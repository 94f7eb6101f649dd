"""Tables of images that are words: features follow from word and view, so that each row tells whose it is."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from features import store as feature_store
from features.extractor import EXTRACTED_FIELDS
from features.splits import assign_split
from features.store.parts import Part, write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from pipelines.runs import READ
from pipelines.settling import SliceWork
from tests.tables import NOON, RECIPE, Rejected, add

LAYER, WIDTH = "mixed0", 256
FACTS = TableFacts("/data", "random", (LAYER,), RECIPE)


class Stored(NamedTuple):
    """A stored image; `views` of it are stored, besides itself. `split` is the one that it came with."""

    uri: str
    content: str
    views: int = 0
    size: int = 100
    modified_at: datetime.datetime = NOON
    labels: tuple[str, ...] = ("a",)
    split: str | None = "train"
    group: str | None = None
    run_id: str = "run-1"
    format: str = "png"


def id_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def features_of(image_id: str, view: int) -> np.ndarray:
    return np.random.default_rng([int(image_id[:8], 16), view]).standard_normal(WIDTH, np.float32)


def rows_of(facts: TableFacts, images: Sequence[Stored]) -> pa.RecordBatch:
    """Rows of the feature table: of each image itself and its views, image after image."""
    rows: list[dict[str, Any]] = []
    for image in images:
        image_id = id_of(image.content)
        row = image._asdict() | {
            "image_id": image_id,
            "split": assign_split(image_id, image.split, image.group),
            "width": 8,
            "height": 8,
            "extracted_at": NOON,
        }
        rows += [row | {"view": view, LAYER: features_of(image_id, view)} for view in range(1 + image.views)]
    return pa.RecordBatch.from_pylist(rows, facts.schema)


def part_of(
    table: FeatureTable, images: Sequence[Stored], decodings: Mapping[str, int] | None = None
) -> Part:
    """A part that is written and not committed."""
    run_id = images[0].run_id
    return write_part(
        table.folder, [rows_of(table.facts, images)], table.facts.schema, decodings, run_id=run_id
    )


def table_of(
    store: Path, *parts: Sequence[Stored], rejected: Sequence[Rejected] = (), facts: TableFacts = FACTS
) -> FeatureTable:
    """A table with a part file for each sequence of images; rejections are those of the last commit."""
    table = feature_store.create(store, "inception_v3", facts)
    for number, images in enumerate(parts):
        add(table, part_of(table, images), run_id="run-1", slice=number)
    if rejected:
        add(table, rejected=rejected, run_id="run-1", slice=len(parts))
    return feature_store.open(store)


def has_its_own_features(rows: pa.Table) -> bool:
    """Whether each row has the features of its image and view."""
    expected = [
        features_of(image_id, view)
        for image_id, view in zip(
            *(rows.column(name).to_pylist() for name in ("image_id", "view")), strict=True
        )
    ]
    return all(
        np.array_equal(np.array(stored, np.float32), own)
        for stored, own in zip(rows.column(LAYER).to_pylist(), expected, strict=True)
    )


class Wish(NamedTuple):
    """An image of a plan, and what is in its file; `replaces` is a uri whose row the plan says to replace."""

    uri: str
    content: str
    action: str = READ
    replaces: str | None = None
    labels: tuple[str, ...] = ("a",)
    split: str | None = "train"
    group: str | None = None
    size: int | None = 100
    modified_at: datetime.datetime | None = NOON
    same_size: bool = True


def extracted(
    work: SliceWork, wishes: Sequence[Wish], bad: Mapping[str, tuple[str, str]], order: Sequence[int] = ()
) -> pa.Table | None:
    """What an extractor says of the images of a slice.

    Args:
        bad: reason and detail of the contents that give no features; of uris whose files can't be read; and
            of `views of URI` that one image asks for.
        order: in which images are hashed, by their place; threads may be in any.
    """
    if not work.images:
        return None
    contents = {wish.uri: wish.content for wish in wishes}
    ids = {place: id_of(contents[uri]) for place, uri in enumerate(work.images) if uri not in bad}
    views = {place: tuple(work.views.choose(place, ids[place])) for place in order or ids if place in ids}
    rows: list[dict[str, Any]] = []
    for place, uri in enumerate(work.images):
        of_views = (bad.get(contents[uri]) or bad.get(f"views of {uri}")) if views.get(place) else None
        reason, detail = bad.get(uri) or of_views or (None, None)
        row = {"image": place, "reason": reason, "detail": detail, "image_id": ids.get(place)}
        facts = {"width": 8, "height": 8, "format": "png"}
        if reason:
            rows.append(row | {"view": 0, "image_id": None})
        elif not views[place]:
            rows.append(row | {"view": None, "width": 0, "height": 0, "format": ""})
        else:
            rows += [
                row | facts | {"view": view, LAYER: features_of(ids[place], view)} for view in views[place]
            ]
    schema = pa.schema([*EXTRACTED_FIELDS, pa.field(LAYER, pa.list_(pa.float32()))])
    return pa.Table.from_pylist(rows, schema)
