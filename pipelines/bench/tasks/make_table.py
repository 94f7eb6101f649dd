"""A feature table of made-up features for files that exist, as an extraction would have left it.

The files are empty: a run that finds nothing to do looks at their size and time, and reads none.
"""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from features import store as feature_store
from features.commit import Chunk, commit_chunk
from features.inputs import ImageRef, list_images
from features.locations import features_path
from features.parts import write_part
from features.recipe import FeatureRecipe
from features.schema import TableFacts
from features.splits import assign_split
from pipelines.bench.tasks.common import answer, read_job

CLASSES = 5
WIDTH = 2048

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
    facts = TableFacts(listing.source, "random", ("avg_pool",), recipe)
    table = feature_store.create(store, "inception_v3", facts)
    random = np.random.default_rng(0)
    images = [listing.images[number] for number in random.permutation(len(listing.images))]
    for number, start in enumerate(range(0, len(images), _CHUNK)):
        part = write_part(
            features_path(table.store, table.name),
            [_rows(images[start : start + _CHUNK], facts, random)],
            facts.schema,
        )
        commit_chunk(
            table.store, table.name, Chunk("made-up", number + 1, table.version + number), [part], [], {}
        )
    return len(images)


def _rows(images: list[ImageRef], facts: TableFacts, random: np.random.Generator) -> pa.RecordBatch:
    image_ids = [hashlib.sha256(image.uri.encode()).hexdigest() for image in images]
    labels = np.array([int(image.labels[0].rpartition("-")[2]) for image in images])
    values = make_features(labels, random).ravel()
    offsets = np.arange(len(images) + 1, dtype=np.int32) * WIDTH
    columns = {
        "image_id": image_ids,
        "uri": [image.uri for image in images],
        "labels": [image.labels for image in images],
        "split": [assign_split(one, None) for one in image_ids],
        "view": [0] * len(images),
        "width": [320] * len(images),
        "height": [240] * len(images),
        "format": ["jpeg"] * len(images),
        "size": [image.size for image in images],
        "modified_at": [image.modified_at for image in images],
        "extracted_at": [datetime.datetime.now(datetime.UTC)] * len(images),
        "run_id": ["made-up"] * len(images),
    }
    schema = facts.schema
    arrays = [pa.array(values, schema.field(name).type) for name, values in columns.items()]
    features = pa.ListArray.from_arrays(offsets, values).cast(schema.field("avg_pool").type)
    return pa.RecordBatch.from_arrays([*arrays, features], schema=schema)


if __name__ == "__main__":
    job = read_job()
    make_files(Path(job["data"]), job["rows"])
    answer(job, rows=make_table(Path(job["store"]), Path(job["data"])))
