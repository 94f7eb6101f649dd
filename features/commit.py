"""Commits to a feature table: the one way in which its rows change, whoever else writes.

A change was planned on a version of the table; others may have committed since. It is built on the newest
version, and Delta lets one of two through that start from the same one; the other looks again. What a commit
costs grows with what others did since the plan, never with the rows stored.

Two Delta tables cannot commit together, so rejections go first, and the commit of the features names
the version of the rejections that it goes with (`FeatureTable.rejected_version`). Readers follow that
name: a stop between the two leaves the old pair in force.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from features import store as feature_store
from features.conflicts import BROUGHT_SCHEMA, STORED_SCHEMA, Settled, rows_of_parts, settle, without
from features.errors import BottleneckError
from features.locations import features_path, rejected_path
from features.log import part_names, read_parts
from features.parts import Part, is_of_run, part_at, rewrite_part, write_part
from features.schema import REJECTED_SCHEMA, TableFacts
from features.table import FACTS_KEY, REJECTED_APPLICATION, TABLE_APPLICATION, FeatureTable

#: Seconds to wait at most after a refusal: the first time, and however often it happens.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class TableReplaced(BottleneckError):
    """The table is not the one that a change was planned for."""


class Basis(NamedTuple):
    """The table that a change was planned on.

    Attributes:
        table_id: Delta's; another one means that the table was removed and made anew.
        version: the version that the plan saw.
        facts: what it was made with (`TableFacts.to_json`), fingerprints included.
    """

    table_id: str
    version: int
    facts: str

    @classmethod
    def of(cls, table: FeatureTable) -> Basis:
        return cls(str(table.delta.metadata().id), table.version, table.facts.to_json())


class Change(NamedTuple):
    """What is committed, once.

    Attributes:
        id: an application id of its own, `<run_id>/<what>`: a change whose id is in the table is done.
        run_id: the run that makes it.
        basis: what it was planned on.
        outdated: rows that leave the features or the rejections, as the plan saw them (`STORED_SCHEMA`). No
            other change of the run takes rows out of the same parts of features.
    """

    id: str
    run_id: str
    basis: Basis
    outdated: pa.Table = STORED_SCHEMA.empty_table()


def rejected_rows(table: FeatureTable) -> pa.Table:
    """The images rejected as of this version of the features, in `REJECTED_SCHEMA`."""
    return read_parts(table.rejected_paths, REJECTED_SCHEMA)


def is_committed(table: FeatureTable, change_id: str) -> bool:
    """Whether the change of this id is in the table."""
    return table.delta.transaction_version(change_id) is not None


def check_basis(table: FeatureTable, basis: Basis) -> None:
    """Refuse a table that is not the one that `basis` was.

    Raises:
        TableReplaced: where it was removed and made anew, or is made another way.
    """
    if table.delta.metadata().id != basis.table_id:
        problem = "was removed and made anew"
    elif table.facts.to_json() != basis.facts or not table.has_schema_of(table.facts):
        problem = "was made another way"
    else:
        return
    raise TableReplaced(
        f"table {table.name!r} {problem} after this run had planned its work, which is not committed there: "
        f"run it again"
    )


def commit(
    store: str | Path,
    name: str,
    change: Change,
    facts: Mapping[str, Any],
    *,
    part: Part | None = None,
    rejected: pa.Table | None = None,
) -> int:
    """Commit a change. The step may be retried: it commits once.

    See `features.conflicts.settle` for images that others have added, rejected or removed since the plan.

    Args:
        facts: what the table's history shall say of this commit: JSON values by name.
        part: new rows, written into the table's folder.
        rejected: new rejections, in `REJECTED_SCHEMA`, of images that `part` does not hold.

    Returns:
        The version of the feature table that holds the change.

    Raises:
        TableReplaced: see `check_basis`.
    """
    writer = _Writer(change, facts, part, REJECTED_SCHEMA.empty_table() if rejected is None else rejected)
    for pause in _pauses():
        table = feature_store.open(store, name)
        if is_committed(table, change.id):
            _discard(table, part)
            return table.version
        check_basis(table, change.basis)
        before = _versions(table)
        try:
            return writer.commit(table)
        except CommitFailedError:
            if _versions(feature_store.open(store, name)) == before:
                raise  # nobody was faster: something else is wrong
        time.sleep(random.uniform(0, pause))
    raise AssertionError("pauses never end")


def decide_anew(table: FeatureTable, facts: TableFacts) -> FeatureTable:
    """Let a table that holds no features be made with other facts; its rejections stay.

    Returns:
        The newest version: with these facts, or with features that another run has committed meanwhile.
    """
    for pause in _pauses():
        if table.has_rows or (table.facts == facts and table.has_schema_of(facts)):
            break
        properties = CommitProperties(
            app_transactions=[Transaction(TABLE_APPLICATION, table.version + 1)], max_commit_retries=0
        )
        try:
            if not table.has_schema_of(facts):
                # First: a change that was planned with the facts of before is then refused.
                table.delta.create_write_transaction(
                    [], mode="overwrite", schema=facts.schema, commit_properties=properties
                )
            else:
                table.delta.alter.set_table_properties(
                    {FACTS_KEY: facts.to_json()}, raise_if_not_exists=False, commit_properties=properties
                )
        except CommitFailedError:
            time.sleep(random.uniform(0, pause))
        table = feature_store.open(table.store, table.name)
    return table


def _pauses() -> Iterator[float]:
    return (min(_FIRST_PAUSE * 2.0**number, _LONGEST_PAUSE) for number in itertools.count())


def _versions(table: FeatureTable) -> tuple[int, int]:
    return table.version, DeltaTable(rejected_path(table.store, table.name)).version()


def _discard(table: FeatureTable, part: Part | None) -> None:
    """Remove a part that a retry has written once more."""
    if part is not None and part.name not in table.names:
        (features_path(table.store, table.name) / part.name).unlink(missing_ok=True)


class _Writer:
    """The attempts to commit one change; parts that one has written serve the next."""

    def __init__(
        self, change: Change, facts: Mapping[str, Any], part: Part | None, rejected: pa.Table
    ) -> None:
        self._change = change
        self._facts = facts
        self._part = part
        self._rejected = rejected
        self._rewritten: dict[str, tuple[pa.Array, Part | None]] = {}

    def commit(self, table: FeatureTable) -> int:
        """One attempt, built on `table`; the version that it makes."""
        folder, schema = features_path(table.store, table.name), table.facts.schema
        planned_on, _ = _parts_at(table, self._change.basis)
        settled = self._settle(table)
        new, rejected = self._part, without(self._rejected, settled.left_out)
        if new is not None and len(settled.left_out):
            new = self._without(folder / new.name, settled.left_out, schema, self._change.run_id)
        moved_on = Transaction(TABLE_APPLICATION, table.version + 1)
        rejected_version = self._commit_rejected(table, settled.leaving, rejected, moved_on)
        leaving = {name: uris for name, uris in settled.leaving.items() if name in table.names}
        kept = [
            # What a part held when the plan was made concerns no other change of this run.
            self._without(folder / name, uris, schema, self._change.run_id if name in planned_on else None)
            for name, uris in leaving.items()
        ]
        counts = {
            "stored": new.rows if new else 0,
            "rejected": len(rejected),
            "left_out": len(settled.left_out),
        }
        table.delta.create_write_transaction(
            [*_added([new, *kept]), *_removed(leaving)],
            mode="append",
            schema=schema,
            commit_properties=self._properties(
                {**self._facts, **counts},
                Transaction(self._change.id, 1),
                Transaction(REJECTED_APPLICATION, rejected_version),
                moved_on,
            ),
        )
        return table.version + 1

    def _settle(self, table: FeatureTable) -> Settled:
        """What still holds of the change, given what others have written since the plan."""
        features, rejected = _parts_at(table, self._change.basis)
        run_id, outdated = self._change.run_id, self._change.outdated
        brought = pa.concat_tables([self._features_brought(table), _rejections_brought(self._rejected)])
        since = rows_of_parts(
            [Path(path) for path in table.paths if _is_of_others(path, features, run_id)],
            [Path(path) for path in table.rejected_paths if _is_of_others(path, rejected, run_id)],
            pa.chunked_array([*brought.column("uri").chunks, *outdated.column("uri").chunks], pa.string()),
        )
        return settle(brought, outdated, since, [*table.names, *table.rejected_names])

    def _features_brought(self, table: FeatureTable) -> pa.Table:
        paths = [features_path(table.store, table.name) / self._part.name] if self._part else []
        rows = read_parts(paths, pa.schema([BROUGHT_SCHEMA.field(name) for name in ("uri", "modified_at")]))
        return rows.append_column(BROUGHT_SCHEMA.field("features"), pa.repeat(True, len(rows)))

    def _commit_rejected(
        self, table: FeatureTable, leaving: Mapping[str, pa.Array], rejected: pa.Table, moved_on: Transaction
    ) -> int:
        """Commit the rejections that follow from this change; the version that holds them.

        They are built on the version that the features name. Where the table has gone further, a writer
        stopped between its two commits (perhaps this one, before a retry), and what it did is undone.
        """
        folder = rejected_path(table.store, table.name)
        leaving = {name: uris for name, uris in leaving.items() if name in table.rejected_names}
        if not leaving and not len(rejected):
            return table.rejected_version
        new = write_part(folder, rejected.to_batches(), REJECTED_SCHEMA, run_id=self._change.run_id)
        kept = [self._without(folder / name, uris, REJECTED_SCHEMA, None) for name, uris in leaving.items()]
        newest = DeltaTable(folder)
        wanted, there = set(table.rejected_names) - leaving.keys(), set(part_names(newest))
        again = [part_at(folder / name) for name in sorted(wanted - there)]
        version = newest.version() + 1
        newest.create_write_transaction(
            [*_added([new if len(rejected) else None, *kept, *again]), *_removed(sorted(there - wanted))],
            mode="append",
            schema=REJECTED_SCHEMA,
            commit_properties=self._properties({"rejected": len(rejected)}, moved_on),
        )
        return version

    def _without(self, path: Path, uris: pa.Array, schema: pa.Schema, run_id: str | None) -> Part | None:
        """A part with the rows of `path` but those of `uris`, or None for no rows."""
        of_uris, part = self._rewritten.get(path.name, (None, None))
        if of_uris is None or not of_uris.equals(uris):
            part = rewrite_part(path, uris, schema, run_id)
            self._rewritten[path.name] = uris, part
        return part

    def _properties(self, facts: Mapping[str, Any], *transactions: Transaction) -> CommitProperties:
        return CommitProperties(
            custom_metadata={**facts, "run_id": self._change.run_id, "change": self._change.id},
            app_transactions=list(transactions),
            max_commit_retries=0,  # it would go on upon another version than the one looked at
        )


def _rejections_brought(rejected: pa.Table) -> pa.Table:
    rows = rejected.select(["uri", "modified_at"])
    return rows.append_column(BROUGHT_SCHEMA.field("features"), pa.repeat(False, len(rows)))


def _parts_at(table: FeatureTable, basis: Basis) -> tuple[frozenset[str], frozenset[str]]:
    return _parts_of_version(table.store, table.name, basis.table_id, basis.version)


@functools.lru_cache(maxsize=4)
def _parts_of_version(
    store: Path, name: str, table_id: str, version: int
) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the parts of features, and of rejections, that a version had."""
    table = feature_store.open(store, name, version=version)
    return frozenset(table.names), frozenset(table.rejected_names)


def _is_of_others(path: str, planned_on: frozenset[str], run_id: str) -> bool:
    name = os.path.basename(path)
    return name not in planned_on and not is_of_run(name, run_id)


def _added(parts: Iterable[Part | None]) -> list[AddAction]:
    return [part.add_action() for part in parts if part is not None]


def _removed(names: Iterable[str]) -> list[RemoveAction]:
    now = int(time.time() * 1000)
    return [RemoveAction(name, True, now) for name in names]
