"""A feature table of made-up features for files that exist, as an extraction would have left it.

The files are empty: a run that finds nothing to do looks at their size and time, and reads none.
"""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.network import LAYER, NAME, WIDTH
from benchmarks.tasks.common import answer, read_job
from features import store as feature_store
from features.inputs import list_images
from features.locations import features_path
from features.recipe import FeatureRecipe
from features.store.commit import Basis, Change, commit
from features.store.parts import write_part
from features.store.rows import to_features
from features.store.schema import TableFacts
from features.store.vectors import list_array

CLASSES = 5

_CHUNK = 4096


def make_files(folder: Path, rows: int) -> None:
    """`rows` empty files in a folder a class."""
    for number in range(rows):
        target = folder / f"class-{number % CLASSES}"
        if number < CLASSES:
            target.mkdir(parents=True)
        (target / f"{number:07}.jpg").touch()


def make_features(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Features as skewed as those of ReLUs, a few of which tell the classes apart, with exceptions.

    Args:
        labels: numbers of the classes, of shape (n,).
    """
    X = random.standard_exponential((len(labels), WIDTH), np.float32)
    X *= 0.4
    X[:, : 20 * CLASSES] += np.repeat(np.eye(CLASSES, dtype=np.float32)[labels], 20, axis=1) * 0.3
    return X


def make_table(store: Path, data: Path) -> int:
    """Fill `store` with rows for the files of `data`, a commit for every few thousand; how many."""
    listing = list_images(str(data))
    recipe = FeatureRecipe(weights="random", weights_sha256=hashlib.sha256(b"made up").hexdigest())
    facts = TableFacts(listing.source, "random", (LAYER,), recipe)
    table = feature_store.create(store, NAME, facts)
    random = np.random.default_rng(0)
    images = listing.images.take(random.permutation(len(listing.images)))
    for number, start in enumerate(range(0, len(images), _CHUNK)):
        rows = _rows(images.slice(start, _CHUNK), facts, random)
        part = write_part(
            features_path(table.store, table.name), rows.to_batches(), facts.schema, run_id="made-up"
        )
        change = Change(f"made-up/{number}", "made-up", Basis.of(table))
        commit(table.store, table.name, change, {}, part=part)
    return len(images)


def _rows(images: pa.Table, facts: TableFacts, random: np.random.Generator) -> pa.Table:
    """Rows of the feature table for listed images."""
    image_ids = [hashlib.sha256(uri.encode()).hexdigest() for uri in images.column("uri").to_pylist()]
    labels = np.array([int(names[0].rpartition("-")[2]) for names in images.column("labels").to_pylist()])
    extracted = {
        "view": pa.repeat(0, len(images)),
        "image_id": pa.array(image_ids),
        "width": pa.repeat(320, len(images)),
        "height": pa.repeat(240, len(images)),
        "format": pa.repeat("jpeg", len(images)),
        LAYER: list_array(make_features(labels, random)),
    }
    rows = pa.table([*images.columns, *extracted.values()], names=[*images.column_names, *extracted])
    return to_features(rows, facts, "made-up", datetime.datetime.now(datetime.UTC))


if __name__ == "__main__":
    job = read_job()
    make_files(Path(job["data"]), job["rows"])
    answer(job, rows=make_table(Path(job["store"]), Path(job["data"])))
