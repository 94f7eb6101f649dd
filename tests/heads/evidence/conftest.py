"""Tables of photos that can be read, and heads trained from them, for evidence."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features import store as feature_store
from features.splits import assign_split
from features.store.parts import write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from heads import train_head
from heads.evidence.images import LabelledRows, labelled_rows
from tests.conftest import photo
from tests.heads.conftest import LAYERS, RECIPE
from tests.tables import add, as_views, make_rows

#: Widths of `LAYERS`.
WIDTHS = (48, 64)
CLASSES = ("daisy", "rose", "tulip")


def features_of(
    labels: Sequence[str | Sequence[str]], scale: float = 1.0, seed: int = 0
) -> dict[str, np.ndarray]:
    """Features around a center for each label, of both layers; the deeper layer tells them apart better."""
    random = np.random.default_rng(seed)
    names = sorted({name for of in labels for name in ([of] if isinstance(of, str) else of)})
    features = {}
    for layer, width, noise in zip(LAYERS, WIDTHS, (3.0, 1.5), strict=True):
        centers = random.normal(size=(len(names), width))
        rows = [
            sum(centers[names.index(name)] for name in ([of] if isinstance(of, str) else of)) for of in labels
        ]
        features[layer] = (
            np.array(rows) + random.normal(scale=noise * scale, size=(len(labels), width))
        ).astype(np.float32)
    return features


def put_table(
    store: Path,
    features: dict[str, np.ndarray],
    labels: Sequence[str | Sequence[str]],
    splits: Sequence[str] | None = None,
    *,
    name: str = "photos",
    uris: Sequence[str] = (),
    groups: Sequence[str | None] | None = None,
    views: Sequence[int] = (),
    given_splits: bool = False,
    weights: str = "imagenet",
    run_id: str = "run-1",
) -> FeatureTable:
    """A table of both layers.

    Args:
        uris: of the images, which are there: their ids are those of their bytes.
        views: of each row; all images first, then the first view of the first ones, and so on.
    """
    recipe = dataclasses.replace(RECIPE, weights="random" if weights == "random" else "trained")
    grouped = groups is not None
    facts = TableFacts("photos", weights, tuple(features), recipe, groups=grouped, given_splits=given_splits)
    first, *others = features
    rows = make_rows(
        TableFacts("photos", weights, (first,), recipe, groups=grouped),
        features[first],
        labels,
        splits,
        groups,
        run_id=run_id,
    )
    columns = [pa.array(list(features[layer]), facts.schema.field(layer).type) for layer in others]
    changed: dict[str, Any] = {}
    if uris:
        ids = [hashlib.sha256(Path(uri).read_bytes()).hexdigest() for uri in uris]
        changed |= {"uri": pa.array(list(uris)), "image_id": pa.array(ids)}
        if splits is None:
            changed["split"] = pa.array([assign_split(image_id, None) for image_id in ids])
    for column, values in changed.items():
        rows = rows.set_column(rows.schema.names.index(column), column, values)
    if views:
        images = list(views).count(0)
        shown = [number % images if view else number for number, view in enumerate(views)]
        rows = as_views(rows, views, shown)
    rows = pa.RecordBatch.from_arrays([*rows.columns, *columns], schema=facts.schema)
    table = feature_store.create(store, name, facts)
    add(table, write_part(table.folder, [rows], facts.schema, run_id=run_id), run_id=run_id)
    return feature_store.open(store, name)


@pytest.fixture(scope="session")
def sixty_photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files of 60 different photos; treat them as read-only."""
    folder = tmp_path_factory.mktemp("sixty")
    uris = [str(folder / f"{number:02}.jpg") for number in range(60)]
    for number, uri in enumerate(uris):
        photo(number, 90, 70).save(uri, quality=92)
    return uris


MakeImages = Callable[..., LabelledRows]


@pytest.fixture
def make_images(tmp_path: Path) -> MakeImages:
    """Makes a table around class centers, and gives its labelled rows."""

    def make(
        labels: Sequence[str | Sequence[str]],
        splits: Sequence[str] | None = None,
        features: dict[str, np.ndarray] | None = None,
        **more: Any,
    ) -> LabelledRows:
        table = put_table(tmp_path / "store", features or features_of(labels), labels, splits, **more)
        several = any(not isinstance(of, str) for of in labels)
        names = sorted({name for of in labels for name in ([of] if isinstance(of, str) else of)})
        return labelled_rows(table, names, multi_label=several)

    return make


def classes_of(count: int) -> list[str]:
    """The labels of so many images, by turns."""
    return [CLASSES[number % 3] for number in range(count)]


def splits_of(count: int) -> list[str]:
    """3 of 5 for training, 1 for validation and 1 for testing, of each class."""
    parts = ["train"] * 3 + ["validation", "test"]
    return [parts[number // 3 % 5] for number in range(count)]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a table and three heads."""
    store = tmp_path_factory.mktemp("trust") / "store"
    put_table(store, features_of(classes_of(600)), classes_of(600), splits_of(600))
    for layer in LAYERS:
        train_head(store, "photos", layers=layer, folds=0)
    train_head(store, "photos", layers=LAYERS[0], folds=0, C=1e-4)
    return store


@pytest.fixture
def store(trained: Path, tmp_path: Path) -> Path:
    """A copy, which a test may train more heads in."""
    shutil.copytree(trained, tmp_path / "copied")
    return tmp_path / "copied"


@pytest.fixture
def images(store: Path) -> LabelledRows:
    return labelled_rows(feature_store.open(store, "photos"), CLASSES, multi_label=False)
