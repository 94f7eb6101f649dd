"""Many processes that commit overlapping slices, are killed at any moment and start again."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features import store as feature_store
from features.augmentation import Augmentation
from features.extractor import EXTRACTED_FIELDS, Views
from features.inputs import LISTING_SCHEMA
from features.store.commit import rejected_rows
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from pipelines.extraction import commit_slice, write_slice
from pipelines.extractor import ExtractorSettings
from pipelines.handler import SliceHandler
from pipelines.planning import make_plan
from pipelines.runs import Header, Run
from tests.tables import RECIPE

FACTS = TableFacts("/images", "random", ("mixed0",), RECIPE)
WIDTH = 256
NOW = 1_700_000_000_000_000
VIEWS = 1


class MadeUpNetwork:
    """Features that follow from an image's name, instead of a network and files; a fifth can't be read.

    Args:
        old: whether files have the content that half of those that change had before.
    """

    engine = SimpleNamespace(precision="float32")
    schema = pa.schema([*EXTRACTED_FIELDS, ("mixed0", pa.list_(pa.float32()))])

    def __init__(self, *, old: bool) -> None:
        self._old = old
        self.seconds: Counter[str] = Counter()

    def load(self) -> MadeUpNetwork:
        return self

    def extract(self, uris: Sequence[str], *, isolated: bool, views: Views) -> Iterator[pa.RecordBatch]:
        for place, uri in enumerate(uris):
            time.sleep(0.001)
            content = f"old {uri}" if self._old and int(Path(uri).stem) % 2 else uri
            digest = hashlib.sha256(content.encode()).hexdigest()
            chosen = views.choose(place, digest)
            facts: dict[str, Any] = {"image": place, "image_id": digest}
            if not chosen:
                rows = [facts]
            elif int(digest[:8], 16) % 5 == 0:
                rows = [{"image": place, "view": 0, "reason": "corrupt", "detail": digest}]
            else:
                facts |= {"width": 8, "height": 8, "format": "png"}
                value = int(digest[:4], 16)
                rows = [
                    {**facts, "view": view, "mixed0": np.full(WIDTH, value + view / 8, np.float32)}
                    for view in chosen
                ]
            yield pa.RecordBatch.from_pylist(rows, self.schema)


def listing(images: int, replaced: int) -> pa.Table:
    """Images of which the first ones have changed since they were stored."""
    times = [NOW + (number < replaced) for number in range(images)]
    columns = {
        "uri": [f"/images/{number:05}.png" for number in range(images)],
        "labels": [["a"]] * images,
        "split": [None] * images,
        "group": [None] * images,
        "size": [100] * images,
        "modified_at": times,
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in LISTING_SCHEMA], LISTING_SCHEMA)


def extract(run: Run, numbers: Sequence[int]) -> None:
    """Work on slices, one after the other, as a worker does."""
    handler = SliceHandler(run, ExtractorSettings("random", FACTS.layers, "openvino", RECIPE))
    for number in numbers:
        network: Any = MadeUpNetwork(old=run.run_id == "first")
        for extracted in handler.run_inference([number], network):
            commit_slice(write_slice(extracted), {})


def plan_of(run: Run, images: pa.Table, table: FeatureTable, chunk_size: int) -> int:
    """Write the plan of a run; how many slices it has."""
    plan = make_plan(images, table, views=VIEWS)
    header = Header(table.name, plan.basis, VIEWS, Augmentation().to_dict())
    run.write_plan(header, plan.slices(chunk_size))
    plan.close()
    return run.slices()


def store_with_old_rows(store: Path, images: int, replaced: int, chunk_size: int) -> FeatureTable:
    """A table that holds the images which will have changed."""
    table = feature_store.create(store, "inception_v3", FACTS)
    first = Run(store, "first")
    with first.kept_alive("inception_v3", local=True):
        old = listing(images, 0).slice(0, replaced)
        extract(first, range(plan_of(first, old, table, chunk_size)))
    return feature_store.open(store)


def rows_of(table: FeatureTable) -> tuple[list[dict], list[dict]]:
    """All that is stored, but when and by which run."""
    kept = [name for name in table.metadata().column_names if name not in ("extracted_at", "run_id")]
    metadata = table.metadata(kept)
    X = np.concatenate([X for X, _ in table.batches()] or [np.empty((0, WIDTH))])
    stored = metadata.append_column("first", pa.array(X[:, 0])).append_column("sum", pa.array(X.sum(axis=1)))
    rejected = rejected_rows(table).drop_columns(["rejected_at", "run_id"])
    in_order = [("uri", "ascending"), ("view", "ascending")]
    return stored.sort_by(in_order).to_pylist(), rejected.sort_by("uri").to_pylist()


def read_again_and_again(store: Path, stop, faults) -> None:
    """Whatever version is read, an image is there once."""
    while not stop.is_set():
        table = feature_store.open(store)
        uris = table.metadata(["uri"], views=0).column("uri").to_pylist()
        uris += rejected_rows(table).column("uri").to_pylist()
        if len(uris) != len(set(uris)):
            faults.put((table.version, [uri for uri, count in Counter(uris).items() if count > 1][:3]))


def race(folder: Path, *, processes: int, slices: int, images: int, kills: int) -> tuple[Any, Any]:
    """What a race of processes leaves behind, and what one run alone does."""
    random.seed(0)
    chunk_size, replaced = -(-images // (processes * slices // 2)), images // 10
    changed = listing(images, replaced)
    alone = store_with_old_rows(folder / "alone", images, replaced, chunk_size)
    with (run := Run(folder / "alone", "alone")).kept_alive("inception_v3", local=True):
        extract(run, range(plan_of(run, changed, alone, chunk_size)))

    spawn = multiprocessing.get_context("spawn")
    store = folder / "raced"
    table = store_with_old_rows(store, images, replaced, chunk_size)
    one, two = Run(store, "one"), Run(store, "two")
    with one.kept_alive("inception_v3", local=True), two.kept_alive("inception_v3", local=True):
        count = plan_of(one, changed, table, chunk_size)
        numbers = random.choices(range(count), k=processes * slices - count) + list(range(count))
        random.shuffle(numbers)
        work: list[tuple[Run, Sequence[int]]] = [
            (one, numbers[start::processes]) for start in range(processes)
        ]
        work.append((two, range(plan_of(two, changed, table, chunk_size + 3))))
        stop, faults = spawn.Event(), spawn.Queue()
        reader = spawn.Process(target=read_again_and_again, args=(store, stop, faults))
        reader.start()
        workers = [spawn.Process(target=extract, args=job) for job in work]
        for worker in workers:
            worker.start()
        for _ in range(kills):
            time.sleep(random.uniform(0.2, 1.0))
            number = random.randrange(len(workers))
            workers[number].kill()
            workers[number].join()
            workers[number] = spawn.Process(target=extract, args=work[number])
            workers[number].start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        stop.set()
        reader.join()
        assert reader.exitcode == 0 and faults.empty()
    return rows_of(feature_store.open(store)), rows_of(feature_store.open(folder / "alone"))


@pytest.mark.parametrize(
    "sizes",
    [
        {"processes": 2, "slices": 4, "images": 120, "kills": 1},
        pytest.param({"processes": 8, "slices": 25, "images": 4000, "kills": 40}, marks=pytest.mark.slow),
    ],
    ids=["few", "many"],
)
def test_what_many_processes_leave_is_what_one_run_alone_does(tmp_path: Path, sizes: dict[str, int]):
    raced, alone = race(tmp_path, **sizes)
    assert raced == alone
    stored, rejected = alone
    images = [row for row in stored if row["view"] == 0]
    assert len(images) + len(rejected) == sizes["images"]
    assert len(stored) - len(images) == sum(row["split"] == "train" for row in images)
    assert len(rejected) == pytest.approx(sizes["images"] / 5, rel=0.5)


def test_an_old_run_commits_nothing_to_a_table_that_was_made_anew(tmp_path: Path):
    import shutil

    table = store_with_old_rows(tmp_path, 40, 4, 10)
    with (run := Run(tmp_path, "old")).kept_alive("inception_v3", local=True):
        count = plan_of(run, listing(40, 4), table, 10)
        shutil.rmtree(tmp_path / "features")
        shutil.rmtree(tmp_path / "rejected")
        other = dataclasses.replace(FACTS, recipe=dataclasses.replace(RECIPE, precision="bfloat16"))
        feature_store.create(tmp_path, "inception_v3", other)
        extract(run, range(count))
    newest = feature_store.open(tmp_path)
    assert newest.version == 0 and not newest.has_rows
