"""Rows that an older decoding has read: which of them would be read otherwise now.

Features say it by their parts' footers; rejections by the commits of the runs that rejected them.
"""

from __future__ import annotations

import collections

import pyarrow as pa
import pyarrow.compute as pc

from features.decodings import DECODING, formats_mended_since
from features.store.log import read_parts
from features.store.parts import read_decodings
from features.store.table import FeatureTable

_FEATURES_SCHEMA = pa.schema([("part", pa.int64()), ("run_id", pa.string()), ("format", pa.string())])
_ROW_SCHEMA = pa.schema([("run_id", pa.string()), ("format", pa.string()), ("view", pa.int32())])
_RUN_SCHEMA = pa.schema([("run_id", pa.string())])


def find_stale_features(table: FeatureTable) -> pa.Table:
    """Of which runs the rows of which formats would be read otherwise now, by the number of their part.

    Returns:
        Columns `part`, the place in `table.paths`, `run_id` and `format`.
    """
    found = []
    for part, path in enumerate(table.paths):
        decodings = read_decodings(path)
        if decodings and min(decodings.values()) >= DECODING:
            continue
        runs = read_parts([path], _RUN_SCHEMA).column("run_id").unique().to_pylist()
        found += [
            {"part": part, "run_id": run, "format": format}
            for run in runs
            for format in sorted(formats_mended_since(decodings.get(run, 0)))
        ]
    return pa.Table.from_pylist(found, _FEATURES_SCHEMA)


def count_stale_features(table: FeatureTable, stale: pa.Table | None = None) -> int:
    """How many images, not counting their views, would be read otherwise now.

    Args:
        stale: what `find_stale_features` says, where that is known.
    """
    stale = find_stale_features(table) if stale is None else stale
    wanted = {tuple(row.values()) for row in stale.to_pylist()}
    images = 0
    for part in stale.column("part").unique().to_pylist():
        rows = read_parts([table.paths[part]], _ROW_SCHEMA)
        counts = rows.filter(pc.equal(rows.column("view"), 0)).group_by(["run_id", "format"])
        for of in counts.aggregate([([], "count_all")]).to_pylist():
            images += of["count_all"] if (part, of["run_id"], of["format"]) in wanted else 0
    return images


def find_stale_rejections(table: FeatureTable) -> pa.Table:
    """The runs that rejected images by an older decoding: a column `run_id`."""
    runs = set(read_parts(table.rejected_paths, _RUN_SCHEMA).column("run_id").unique().to_pylist())
    if not runs:
        return _RUN_SCHEMA.empty_table()
    decodings: collections.defaultdict[str, int] = collections.defaultdict(int)
    for commit in table.delta.history():
        if commit.get("run_id") in runs:
            run = commit["run_id"]
            decodings[run] = max(decodings[run], int(commit.get("decoding", 0)))
    stale = sorted(run for run in runs if decodings[run] < DECODING)
    return pa.table({"run_id": pa.array(stale, pa.string())}, _RUN_SCHEMA)
