"""Rows of a data set that was moved as a whole: the same features under new uris, in one commit.

Rows are rewritten part by part, since a Parquet file can't be changed in its place; no image is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import Transaction
from deltalake.exceptions import CommitFailedError

from features.store.commit import (
    added,
    commit_rejected,
    newest_versions,
    properties_of,
    removed,
    set_property,
)
from features.store.log import read_part
from features.store.parts import Part, is_of_run, read_decodings, write_part
from features.store.schema import REJECTED_SCHEMA
from features.store.table import FACTS_KEY, REJECTED_APPLICATION, FeatureTable

#: From a part to the one that takes its place, None where it stays.
_Rewrite = Callable[[Path, pa.Schema], Part | None]


def rename_source(table: FeatureTable, source: str, old: str, new: str, run_id: str) -> FeatureTable:
    """Let a table be of another source: what its uris begin with is replaced.

    May be called again where it was stopped: what is done already stays.

    Args:
        source: the new one, as `features.store.schema.TableFacts` has it.
        old, new: what uris begin with, and what they are to begin with: both end in a slash.
        run_id: the run that does it.

    Returns:
        The newest version.
    """
    # Parts that are done carry this name: where one folder is in the other, uris do not say it.
    mark = f"moved-{hashlib.sha256(f'{old} {new}'.encode()).hexdigest()[:16]}"
    rewritten: dict[Path, Part | None] = {}

    def rewrite(path: Path, schema: pa.Schema) -> Part | None:
        if old == new or is_of_run(path.name, mark):
            return None
        if path not in rewritten:
            rewritten[path] = _renamed(path, schema, old, new, mark)
        return rewritten[path]

    for newest in newest_versions(table.store, table.name):
        if newest.source == source:
            break
        with contextlib.suppress(CommitFailedError):
            if _commit(newest, rewrite, run_id):
                continue  # facts last: while they are the old ones, this can be done again
            facts = dataclasses.replace(newest.facts, source=source)
            set_property(newest, FACTS_KEY, facts.to_json(), {"run_id": run_id})
    return newest


def _commit(table: FeatureTable, rewrite: _Rewrite, run_id: str) -> bool:
    """Commit what has other uris, rejections first; whether there was anything."""
    facts = {"run_id": run_id, "change": f"{run_id}/rename-source"}
    rejected = _changes(table.rejected_folder, table.rejected_names, rewrite, REJECTED_SCHEMA)
    features = _changes(table.folder, table.names, rewrite, table.facts.schema)
    if not features and not rejected:
        return False
    version = table.rejected_version
    if rejected:
        stay = set(table.rejected_names) - rejected.keys()
        version = commit_rejected(table, stay | {part.name for part in rejected.values()}, facts)
    table.delta.create_write_transaction(
        [*added(features.values()), *removed(features)],
        mode="append",
        schema=table.facts.schema,
        commit_properties=properties_of(table, facts, Transaction(REJECTED_APPLICATION, version)),
    )
    return True


def _changes(folder: Path, names: Iterable[str], rewrite: _Rewrite, schema: pa.Schema) -> dict[str, Part]:
    """From each part that changes to the one that takes its place."""
    parts = {name: rewrite(folder / name, schema) for name in names}
    return {name: part for name, part in parts.items() if part is not None}


def _renamed(path: Path, schema: pa.Schema, old: str, new: str, mark: str) -> Part | None:
    uris = read_part(path, pa.schema([schema.field("uri")])).column("uri")
    moved = pc.starts_with(uris, old)
    if not pc.any(moved).as_py():
        return None
    rows = read_part(path, schema)
    ends = pc.utf8_slice_codeunits(uris, len(old))
    names = pc.if_else(moved, pc.binary_join_element_wise(new, ends, ""), uris)
    rows = rows.set_column(schema.get_field_index("uri"), schema.field("uri"), names)
    return write_part(path.parent, rows.to_batches(), schema, read_decodings(path), run_id=mark)
