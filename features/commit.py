"""Committing one chunk of a run: its features, and the images it rejected.

Two Delta tables cannot commit together, so rejections go first, and the commit of the features names
the version of the rejections that it goes with (`FeatureTable.rejected_version`). Readers follow that
name: a stop between the two leaves the old pair in force.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import RemoveAction

from features import store as feature_store
from features.locations import rejected_path
from features.log import part_paths, read_parts
from features.parts import Part, read_decodings, write_part
from features.schema import REJECTED_SCHEMA
from features.table import REJECTED_APPLICATION, TABLE_APPLICATION, FeatureTable


class StalePlan(Exception):
    """Another run committed since this chunk was planned: plan again and continue."""


class Rejected(NamedTuple):
    """An image that gives no features.

    Attributes:
        reason: a key of `features.images.REASONS`.
        size, modified_at: of the file, in bytes and microseconds since the epoch; None where unknown.
    """

    uri: str
    reason: str
    detail: str
    size: int | None
    modified_at: int | None


class Chunk(NamedTuple):
    """Which chunk of which run is committed, and what it takes the place of.

    Attributes:
        number: 1, 2, … within the run.
        planned_on: version of the feature table that the chunk was planned on.
        replaced: uris of the chunk that have rows already, in either table, which are no longer true;
            these rows go in the same commit.
    """

    run_id: str
    number: int
    planned_on: int
    replaced: frozenset[str] = frozenset()


def rejected_rows(table: FeatureTable) -> pa.Table:
    """The images rejected as of this version of the features, in `REJECTED_SCHEMA`."""
    path = rejected_path(table.store, table.name)
    return read_parts(part_paths(DeltaTable(path, version=table.rejected_version), path), REJECTED_SCHEMA)


def commit_chunk(
    store: str | Path,
    name: str,
    chunk: Chunk,
    parts: Sequence[Part],
    rejected: Sequence[Rejected],
    facts: Mapping[str, Any],
) -> int:
    """Commit a chunk's part files and rejections. The step may be retried: it commits once.

    Args:
        parts: part files, written into the table's folder.
        facts: what the table's history shall say of this commit: JSON values by name.

    Returns:
        The version of the feature table that holds the chunk.

    Raises:
        StalePlan: another run committed since the chunk was planned; the features stay as they were.
    """
    table = feature_store.open(store, name)
    if (table.delta.transaction_version(chunk.run_id) or 0) >= chunk.number:
        return table.version
    if table.version != chunk.planned_on:
        raise StalePlan
    # Shared by all writers: of two that moved on from one version, Delta lets one through.
    moved_on = Transaction(TABLE_APPLICATION, table.version + 1)
    try:
        rejected_version = _commit_rejected(table, chunk, rejected, moved_on)
        removed, kept = _without(table, chunk.replaced)
        table.delta.create_write_transaction(
            [*(part.add_action() for part in [*parts, *kept]), *removed],
            mode="append",
            schema=table.facts.schema,
            commit_properties=CommitProperties(
                custom_metadata={**facts, "run_id": chunk.run_id, "chunk": chunk.number},
                app_transactions=[
                    Transaction(chunk.run_id, chunk.number),
                    Transaction(REJECTED_APPLICATION, rejected_version),
                    moved_on,
                ],
            ),
        )
    except CommitFailedError as error:
        raise StalePlan from error
    return table.version + 1


def _commit_rejected(
    table: FeatureTable, chunk: Chunk, rejected: Sequence[Rejected], moved_on: Transaction
) -> int:
    """Commit the rejections that follow from this chunk; the version that holds them.

    They are built on the version that the features name. Where the table has gone further, a writer
    stopped between its two commits (perhaps this one, before a retry), and is written over.
    """
    before = rejected_rows(table)
    rows = _without_uris(before, chunk.replaced)
    if not rejected and len(rows) == len(before):
        return table.rejected_version
    now = datetime.datetime.now(datetime.UTC)
    new = pa.Table.from_pylist(
        [{**image._asdict(), "run_id": chunk.run_id, "rejected_at": now} for image in rejected],
        schema=REJECTED_SCHEMA,
    )
    delta = DeltaTable(rejected_path(table.store, table.name))
    only_new = delta.version() == table.rejected_version and len(rows) == len(before)
    write_deltalake(
        delta,
        new if only_new else pa.concat_tables([rows, new]),
        mode="append" if only_new else "overwrite",
        commit_properties=CommitProperties(
            custom_metadata={"run_id": chunk.run_id, "chunk": chunk.number, "rejected": len(rejected)},
            app_transactions=[moved_on],
        ),
    )
    return delta.version()


def _without(table: FeatureTable, uris: frozenset[str]) -> tuple[list[RemoveAction], list[Part]]:
    """What takes `uris` out of the table: the files to remove, and new ones with their other rows."""
    removed, kept = [], []
    for path in table.paths if uris else ():
        rows = pq.read_table(path, columns=["uri"], partitioning=None)
        others = _without_uris(rows, uris)
        if len(others) == len(rows):
            continue
        removed.append(RemoveAction(os.path.basename(path), True, int(time.time() * 1000)))
        if len(others):
            whole = _without_uris(pq.read_table(path, partitioning=None), uris).cast(table.facts.schema)
            runs = set(whole.column("run_id").to_pylist())
            decodings = {run: number for run, number in read_decodings(path).items() if run in runs}
            kept.append(write_part(Path(path).parent, whole.to_batches(), table.facts.schema, decodings))
    return removed, kept


def _without_uris(rows: pa.Table, uris: frozenset[str]) -> pa.Table:
    if not uris:
        return rows
    return rows.filter(pc.invert(pc.is_in(rows.column("uri"), pa.array(uris, pa.string()))))
