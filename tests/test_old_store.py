"""A store that an older version wrote is read, predicted from and continued: see `fixtures/README.md`."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features import store as feature_store
from features.decodings import DECODING
from features.store.commit import rejected_rows
from features.store.table import FeatureTable
from heads import load_head, train_head
from pipelines.cli import main
from tests.conftest import photo

FIXTURE = Path(__file__).parent / "fixtures" / "old_store"
EXPECTED = json.loads((FIXTURE / "expected.json").read_text())
#: Where it was made, and the time of its pictures.
ROOT = Path("/tmp/bottlenecks-old-store")
MODIFIED_AT = 1767268800

STORE, PHOTOS = ROOT / "store", ROOT / "photos"


@pytest.fixture
def old() -> Iterator[FeatureTable]:
    """The table of the store, in its place; one test at a time on this machine."""
    with open(f"{ROOT}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(ROOT, ignore_errors=True)
        shutil.copytree(FIXTURE, ROOT)
        for path in PHOTOS.rglob("*.jpg"):
            os.utime(path, (MODIFIED_AT, MODIFIED_AT))
        yield feature_store.open(STORE)
        shutil.rmtree(ROOT)


def features_by_name(table: FeatureTable, layer: str) -> dict[str, np.ndarray]:
    """Features by the image's path below the photos."""
    uris = table.metadata(["uri"]).column("uri").to_pylist()
    return {
        os.path.relpath(uri, PHOTOS): row
        for uri, row in zip(uris, table.matrix(layers=layer)[0], strict=True)
    }


def by_name(table: FeatureTable, *columns: str) -> dict[str, tuple[Any, ...]]:
    rows = table.metadata(["uri", *columns]).to_pylist()
    return {os.path.relpath(row["uri"], PHOTOS): tuple(row[name] for name in columns) for row in rows}


def test_it_is_read(old: FeatureTable) -> None:
    assert old.version == EXPECTED["version"]
    assert old.layers == ("mixed0", "avg_pool")
    assert {layer: old.columns(layer)[0].fingerprint for layer in old.layers} == EXPECTED["fingerprints"]
    rows = by_name(old, "split", "image_id")
    assert [[name, split, image_id[:12]] for name, (split, image_id) in sorted(rows.items())] == EXPECTED[
        "rows"
    ]
    for layer in old.layers:
        sums = [row.sum() for _, row in sorted(features_by_name(old, layer).items())]
        np.testing.assert_allclose(sums, EXPECTED["sums"][layer], rtol=1e-4)
    rejected = {os.path.relpath(row["uri"], PHOTOS): row["reason"] for row in rejected_rows(old).to_pylist()}
    assert rejected == {"daisy/broken.jpg": "not_an_image", "rose/short.jpg": "truncated"}
    assert old.decodings() == {0: 24}
    assert (old.facts.splits, old.facts.classes) == ((), None)


@pytest.mark.parametrize("kind", ["logistic", "dense"])
def test_its_heads_predict_as_they_did(
    old: FeatureTable, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = EXPECTED["heads"][kind]
    saved = load_head(STORE, id=expected["id"])
    features = sorted(features_by_name(old, expected["layer"]).items())
    found = saved.head.predict_proba(np.array([row for _, row in features]))[:, 0]
    np.testing.assert_allclose(found, expected["daisy"], atol=1e-5)

    assert main(["predict", "--store", str(STORE), "--images", str(PHOTOS), "--head-id", expected["id"]]) == 0
    rows = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert [row["rejected"] for row in rows if row["rejected"]] == ["not_an_image", "truncated"]
    predicted = {
        os.path.relpath(row["uri"], PHOTOS): float(row["probability_daisy"]) for row in rows if row["label"]
    }
    np.testing.assert_allclose([predicted[name] for name, _ in features], expected["daisy"], atol=1e-3)


def test_what_it_rejected_is_tried_once_more_and_nothing_else_is_to_do(
    old: FeatureTable, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = by_name(old, "run_id", "extracted_at", "image_id")
    assert main(["extract", "--store", str(STORE)]) == 0
    out = capfd.readouterr().out
    assert "26 images seen = 24 stored + 2 rejected" in out and "0 extracted by this run, 2 rejected" in out
    assert "24 stored images are from before some images of their format were read as they are now" in out
    tried = feature_store.open(STORE)
    assert by_name(tried, "run_id", "extracted_at", "image_id") == kept and tried.names == old.names
    assert main(["extract", "--store", str(STORE)]) == 0
    out = capfd.readouterr().out
    assert "26 images seen = 24 stored + 2 rejected" in out and "nothing new to extract" in out
    assert feature_store.open(STORE).version == tried.version


def test_its_rows_are_made_anew_where_that_is_asked_for(old: FeatureTable) -> None:
    assert main(["extract", "--store", str(STORE), "--redo-decoding"]) == 0
    table = feature_store.open(STORE)
    assert table.decodings() == {DECODING: 24}
    assert by_name(table, "image_id", "split") == by_name(old, "image_id", "split")
    now = features_by_name(table, "avg_pool")
    for name, row in features_by_name(old, "avg_pool").items():
        np.testing.assert_allclose(now[name], row, rtol=1e-2, atol=1e-3)  # pictures that were not mended


def test_it_is_continued(old: FeatureTable, capfd: pytest.CaptureFixture[str]) -> None:
    kept = by_name(old, "run_id", "extracted_at", "image_id")
    features = features_by_name(old, "avg_pool")
    photo(900, 44, 30).save(PHOTOS / "rose" / "new.jpg")
    photo(901, 44, 30).save(PHOTOS / "rose" / "02.jpg")  # changed
    photo(902, 44, 30).save(PHOTOS / "daisy" / "broken.jpg")  # mended
    (PHOTOS / "daisy" / "01.jpg").unlink()
    arguments = ["--store", str(STORE), "--precision", "float32", "--remove-gone", "--retry-rejected"]
    assert main(["extract", *arguments]) == 0
    assert "26 images seen = 25 stored + 1 rejected" in capfd.readouterr().out

    table = feature_store.open(STORE)
    assert {layer: table.columns(layer)[0].fingerprint for layer in table.layers} == EXPECTED["fingerprints"]
    assert table.decodings() == {DECODING: 3, 0: 22}
    assert rejected_rows(table).column("reason").to_pylist() == ["truncated"]
    now, new = (
        by_name(table, "run_id", "extracted_at", "image_id"),
        {"rose/new.jpg", "rose/02.jpg", "daisy/broken.jpg"},
    )
    assert now.keys() == kept.keys() - {"daisy/01.jpg"} | new
    continued = features_by_name(table, "avg_pool")
    for name in now.keys() - new:
        assert now[name] == kept[name]
        np.testing.assert_array_equal(continued[name], features[name])
    assert feature_store.open(STORE, version=old.version).decodings() == {0: 24}, "older versions stay"

    head = train_head(STORE)
    assert head.facts["columns"][0]["fingerprint"] == EXPECTED["fingerprints"]["avg_pool"]
    old_head = load_head(STORE, id=EXPECTED["heads"]["dense"]["id"])
    assert old_head.check(table.columns("avg_pool")) is None
    assert old_head.evaluate(table)["count"] >= 1
