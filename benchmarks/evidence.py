"""What the evidence on a head finds of what is known to be there: transfer, wrong labels, copies.

    python -m benchmarks.evidence DATA WEIGHTS [DRAWS]

DATA is a folder of photos with a sub-folder for each class. With its labels, transfer is expected to help;
with labels at random, not to. In each draw ten labels are exchanged, and three photos are copied, at 60 % of
their size with quality 40, into another split: how many of them are named first?
"""

from __future__ import annotations

import csv
import dataclasses
import io
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from features import store as feature_store
from features.store.table import FeatureTable
from heads import train_head
from heads.evidence import gather_evidence
from heads.evidence.images import LabelledRows, labelled_rows
from heads.evidence.label_errors import find_label_errors
from heads.evidence.near_duplicates import describe, proposals, same_pictures, to_read
from heads.evidence.neighbours import find_neighbours
from heads.evidence.out_of_fold import out_of_fold
from heads.evidence.small_versions import read_small
from pipelines.driver import extract
from pipelines.options import ExtractOptions
from pipelines.process import turn_off_opencv_threads

LAYERS = "mixed8,avg_pool"
_EXCHANGED, _NAMED = 10, 20
_COPIED, _FIRST = 3, 10


def main() -> None:
    data, weights, draws = [*sys.argv[1:], "5"][:3]
    turn_off_opencv_threads()
    with tempfile.TemporaryDirectory(prefix="bottlenecks-evidence-") as folder:
        for line in compare(Path(data), weights, int(draws), Path(folder)):
            print(line, flush=True)


def compare(data: Path, weights: str, draws: int, folder: Path) -> Iterator[str]:
    """The findings, a line each."""
    table = make_table(folder / "true", str(data), weights)
    yield from of_transfer("as they are", folder / "true")
    for seed in range(draws):
        rows = shuffled(table, np.random.default_rng(seed))
        store = folder / f"shuffled-{seed}"
        make_table(store, str(write_csv(folder / f"{seed}.csv", ["uri", "label"], rows)), weights)
        yield from of_transfer(f"at random, seed {seed}", store)
    images = labelled_rows(table, sorted(set(table.matrix()[1])), multi_label=False)
    for layers in (table.layers, table.layers[-1:]):
        named = [wrong_labels_named(images, layers, seed) for seed in range(4 * draws)]
        by_draws = ", ".join(f"{np.mean(part):.1f}" for part in np.split(np.array(named), 4))
        yield (
            f"labels exchanged, {' and '.join(layers)}: of {_EXCHANGED} among the first {_NAMED} on average "
            f"{np.mean(named):.2f} over {len(named)} draws; {by_draws} over {draws} each"
        )
    yield copies_named(table, images, weights, 2 * draws, folder)


def make_table(store: Path, data: str, weights: str) -> FeatureTable:
    """A table of two layers, another of random weights, and a head; float32."""
    for name, of_table in (("inception_v3", weights), ("random", "random")):
        options = ExtractOptions(
            store=str(store), data=data, weights=of_table, features=name, layers=LAYERS, precision="float32"
        )
        extract(options)
    train_head(store, layers=LAYERS, folds=0)
    return feature_store.open(store)


def of_transfer(labels: str, store: Path) -> Iterator[str]:
    """What the evidence says of transfer, and what it took."""
    started = time.monotonic()
    evaluation = gather_evidence(store, random_features=feature_store.open(store, "random"))
    seconds = time.monotonic() - started
    yield f"labels {labels}: {evaluation['verdict'][0]['text']}"
    yield from (f"  {claim['sentence']}" for claim in evaluation["transfer"]["claims"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    yield f"  {seconds:.1f} s; {memory:.1f} GB is the most that this process has held so far"


def shuffled(table: FeatureTable, random: np.random.Generator) -> Iterable[tuple[str, str]]:
    """The images with the labels of others."""
    rows = table.metadata(["uri", "labels"])
    labels = [of_row[0] for of_row in rows.column("labels").to_pylist()]
    return zip(rows.column("uri").to_pylist(), random.permutation(labels).tolist(), strict=True)


def write_csv(path: Path, header: list[str], rows: Iterable[tuple[Any, ...]]) -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    path.write_text(text.getvalue())
    return path


def wrong_labels_named(images: LabelledRows, layers: tuple[str, ...], seed: int) -> int:
    """How many of ten exchanged labels are among the first that are named."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(images), _EXCHANGED, replace=False)
    y = images.y.copy()
    y[chosen] = (y[chosen] + random.integers(1, len(images.classes), _EXCHANGED)) % len(images.classes)
    exchanged = dataclasses.replace(images, y=y)
    found = find_label_errors(exchanged, out_of_fold(exchanged, layers), _NAMED)["images"]
    return len({of["uri"] for of in found} & {images.uris[number] for number in chosen})


def copies_named(table: FeatureTable, images: LabelledRows, weights: str, draws: int, folder: Path) -> str:
    """How many copies are among the first pairs, in a table that has those of all draws."""
    chosen = np.random.default_rng(0).choice(len(images), (draws, _COPIED), replace=False)
    copies = {number: copy_of(images.uris[number], folder / f"copy-{number}.jpg") for number in chosen.flat}
    others = {"train": "test", "validation": "train", "test": "train"}
    rows = list(zip(images.uris, images.labels, images.splits, strict=True))
    rows += [(copy, images.labels[number], others[images.splits[number]]) for number, copy in copies.items()]
    data = write_csv(folder / "copies.csv", ["uri", "label", "split"], rows)
    options = ExtractOptions(
        store=str(folder / "copies"), data=str(data), weights=weights, layers=LAYERS, precision="float32"
    )
    extract(options)
    both = labelled_rows(feature_store.open(folder / "copies"), images.classes, multi_label=False)
    found = 0
    for of_draw in chosen:
        wanted = {frozenset((images.uris[number], copies[number])) for number in of_draw}
        there = {*images.uris, *(copies[number] for number in of_draw)}
        some = both.among(np.array([uri in there for uri in both.uris]))
        neighbours = find_neighbours(some, table.layers[-1:])
        pairs, cosines = proposals(neighbours, some.image_ids)
        same = same_pictures(pairs, cosines, read_small(some, to_read(pairs)))
        first = describe(same, some, _FIRST)["pairs"]
        found += len(wanted & {frozenset(pair["uris"]) for pair in first})
    return f"copies: {found} of {chosen.size} pairs are among the first {_FIRST} of theirs ({draws} draws)"


def copy_of(uri: str, path: Path) -> str:
    """A photo at 60 % of its size with quality 40."""
    photo = Image.open(uri).convert("RGB")
    size = (round(0.6 * photo.width), round(0.6 * photo.height))
    photo.resize(size, Image.Resampling.LANCZOS).save(path, quality=40)
    return str(path)


if __name__ == "__main__":
    main()
