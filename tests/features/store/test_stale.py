"""Which rows an older decoding has read, by the footers of parts and by the history."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from features import store as feature_store
from features.decodings import DECODING
from features.store.parts import write_part
from features.store.stale import count_stale_features, find_stale_features, find_stale_rejections
from features.store.table import FeatureTable
from tests.contents import Stored, part_of, rows_of, table_of
from tests.tables import Rejected, add

MENDED = ["gif", "jpeg", "png", "tiff"]
ROSE, TULIP = Stored("/rose", "rose"), Stored("/tulip", "tulip", run_id="run-2")


def bad(uri: str) -> Rejected:
    return Rejected(uri, "corrupt", "no image in it", 12, 1_700_000_000_000_000)


def stale(table: FeatureTable) -> list[tuple[str, str, str]]:
    """A uri of the part, the run, and the format."""
    rows = find_stale_features(table)
    assert rows.schema.names == ["part", "run_id", "format"]
    uris = [pa.parquet.read_table(path).column("uri")[0].as_py() for path in table.paths]
    return sorted((uris[row["part"]], row["run_id"], row["format"]) for row in rows.to_pylist())


def stale_runs(table: FeatureTable) -> list[str]:
    rows = find_stale_rejections(table)
    assert rows.schema == pa.schema([("run_id", pa.string())])
    return rows.column("run_id").to_pylist()


def test_a_table_without_rows_has_none(tmp_path: Path):
    table = table_of(tmp_path)
    assert stale(table) == [] and stale_runs(table) == []


def test_rows_of_a_part_that_does_not_say_are_of_the_first_decoding(tmp_path: Path):
    table = table_of(tmp_path, [ROSE, TULIP])
    assert stale(table) == sorted(("/rose", run, name) for run in ("run-1", "run-2") for name in MENDED)


def test_rows_of_the_current_decoding_are_not_among_them(tmp_path: Path):
    """Parts are told by their place, so that one is between two others."""
    table = table_of(tmp_path)
    new = {"run-1": DECODING, "run-2": DECODING}
    for number, (uri, of_part) in enumerate([("/a", new), ("/b", None), ("/c", new), ("/d", {"run-1": 0})]):
        images = [ROSE._replace(uri=uri), TULIP._replace(uri=f"{uri}-2")][: 1 if uri == "/d" else 2]
        add(table, part_of(table, images, of_part), run_id=f"run-{number}")
    found = stale(feature_store.open(tmp_path))
    assert found == [
        *(("/b", run, name) for run in ("run-1", "run-2") for name in MENDED),
        *(("/d", "run-1", name) for name in MENDED),
    ]


def test_of_parts_of_the_current_decoding_no_row_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run that has nothing to do looks at footers alone."""
    table = table_of(tmp_path)
    add(table, part_of(table, [ROSE], {"run-1": DECODING}))
    monkeypatch.delattr("features.store.stale.read_parts")
    assert stale(feature_store.open(tmp_path)) == []


def test_in_one_part_runs_are_told_apart(tmp_path: Path):
    table = table_of(tmp_path)
    add(table, part_of(table, [ROSE, TULIP], {"run-1": 0, "run-2": DECODING}))
    assert {run for _, run, _ in stale(feature_store.open(tmp_path))} == {"run-1"}


def test_only_formats_that_a_mend_since_concerns_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A later version mends WebP; and of a footer that a later version wrote, nothing is stale."""
    table = table_of(tmp_path)
    part = part_of(table, [ROSE, TULIP._replace(run_id="run-3")], {"run-1": 1, "run-3": 3})
    add(table, part)
    newest = feature_store.open(tmp_path)
    monkeypatch.setattr("features.store.stale.DECODING", 2)
    monkeypatch.setattr("features.decodings.MENDED", {1: frozenset({"png"}), 2: frozenset({"webp"})})
    assert stale(newest) == [("/rose", "run-1", "webp")]
    old = [rows_of(table.facts, [Stored("/old", "lily", run_id="run-0")])]
    add(newest, write_part(table.folder, old, table.facts.schema), run_id="run-0")
    assert stale(feature_store.open(tmp_path)) == [
        ("/old", "run-0", "png"),
        ("/old", "run-0", "webp"),
        ("/rose", "run-1", "webp"),
    ]


def test_rejections_are_of_the_decoding_of_their_runs_commits(tmp_path: Path):
    table = table_of(tmp_path, [ROSE], rejected=[bad("/old"), bad("/old-2")])
    add(table, None, [bad("/new")], run_id="new", facts={"decoding": DECODING})
    add(table, None, [bad("/zero")], run_id="zero", facts={"decoding": 0})
    assert stale_runs(feature_store.open(tmp_path)) == ["run-1", "zero"]


def test_a_runs_other_changes_say_nothing_of_its_decoding(tmp_path: Path):
    """Slices say it; what the run removes does not, before or after."""
    table = table_of(tmp_path, [ROSE])
    add(table, replacing=["/rose"], run_id="new", slice=0)
    add(table, None, [bad("/new")], run_id="new", slice=1, facts={"decoding": DECODING})
    add(table, replacing=["/nothing"], run_id="new", slice=2)
    assert stale_runs(feature_store.open(tmp_path)) == []


def test_runs_whose_rejections_left_are_not_named(tmp_path: Path):
    table = table_of(tmp_path, rejected=[bad("/old")])
    add(table, None, [bad("/old")], replacing=["/old"], facts={"decoding": DECODING})
    assert stale_runs(table) == ["run-1"]
    assert stale_runs(feature_store.open(tmp_path)) == []


def test_images_that_would_be_read_otherwise_are_counted_without_their_views(tmp_path: Path):
    bitmap = Stored("/bitmap", "bitmap", format="bmp")
    table = table_of(tmp_path)
    images = [ROSE._replace(views=3), TULIP._replace(views=1), bitmap]
    add(table, part_of(table, images, {"run-1": 0, "run-2": DECODING}), run_id="run-7")
    add(feature_store.open(tmp_path), part_of(table, [ROSE._replace(uri="/b", content="b")]), run_id="run-8")
    newest = feature_store.open(tmp_path)
    assert count_stale_features(newest) == 2
    known = find_stale_features(newest)
    second = known_part(newest, "/b")
    of_second = known.filter(pa.array([path.endswith(second) for path in paths(newest, known)]))
    assert count_stale_features(newest, of_second) == 1
    assert count_stale_features(newest, known.slice(0, 0)) == 0


def paths(table: FeatureTable, stale: pa.Table) -> list[str]:
    return [table.paths[part] for part in stale.column("part").to_pylist()]


def known_part(table: FeatureTable, uri: str) -> str:
    """The name of the part that an image is in."""
    (name,) = [
        name
        for name, path in zip(table.names, table.paths, strict=True)
        if uri in pa.parquet.read_table(path).column("uri").to_pylist()
    ]
    return name
