"""Commits to a feature table: the one way in which its rows change, whoever else writes.

A change was planned on a version of the table; others may have committed since. It is built on the newest
version, and Delta lets one of two through that start from the same one; the other looks again. What a commit
costs grows with what others did since the plan, never with the rows stored.

Two Delta tables cannot commit together, so rejections go first, and the commit of the features names
the version of the rejections that it goes with (`FeatureTable.rejected_version`). Readers follow that
name: a stop between the two leaves the old pair in force.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import json
import os
import random
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from features.augmentation import Augmentation
from features.errors import BottleneckError
from features.locations import features_path
from features.schemas import to_schema
from features.store import catalog
from features.store.conflicts import BROUGHT_SCHEMA, STORED_SCHEMA, Settled, rows_of_parts, settle
from features.store.log import open_delta, part_names, read_parts
from features.store.parts import Part, is_of_run, part_at, rewrite_part
from features.store.schema import REJECTED_SCHEMA, TableFacts
from features.store.table import (
    AUGMENTATION_KEY,
    FACTS_KEY,
    REJECTED_APPLICATION,
    TABLE_APPLICATION,
    FeatureTable,
)

#: Seconds to wait at most after a refusal: the first time, and however often it happens.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
#: Of refusals one version of the features is the reason for a few: others commit rejections first.
_MOST_REFUSALS = 30


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
        outdated: rows that leave the features or the rejections, as the plan saw them (`STORED_SCHEMA`).
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


def open_planned(store: str | Path, name: str) -> FeatureTable:
    """Open a table that was there when a change was planned.

    Raises:
        TableReplaced: where it no longer is.
    """
    if name not in catalog.table_names(store):
        raise TableReplaced(f"table {name!r} was removed after this run had planned its work: run it again")
    return catalog.open(store, name)


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
    rejected: Part | None = None,
) -> int:
    """Commit a change. The step may be retried: it commits once.

    For images that others have added, rejected or removed since the plan, see
    `features.store.conflicts.settle`.

    Args:
        facts: what the table's history shall say of this commit: JSON values by name.
        part: new rows, written into the table's folder.
        rejected: new rejections, written into the folder of rejections, of images that `part` does not hold.

    Returns:
        The version of the feature table that holds the change.

    Raises:
        TableReplaced: see `check_basis`.
    """
    writer = _Writer(change, facts, part, rejected)
    for table in newest_versions(store, name):
        if is_committed(table, change.id):
            break
        check_basis(table, change.basis)
        with contextlib.suppress(CommitFailedError):
            return writer.commit(table)
    return table.version


def decide_anew(table: FeatureTable, facts: TableFacts) -> FeatureTable:
    """Let a table that holds no features be made with other facts; its rejections stay.

    Returns:
        The newest version: with these facts, or with features that another run has committed meanwhile.
    """
    for newest in newest_versions(table.store, table.name):
        if newest.has_rows or (newest.facts == facts and newest.has_schema_of(facts)):
            break
        with contextlib.suppress(CommitFailedError):
            if not newest.has_schema_of(facts):
                # First: a change that was planned with the facts of before is then refused.
                newest.delta.create_write_transaction(
                    [], mode="overwrite", schema=facts.schema, commit_properties=properties_of(newest, {})
                )
            else:
                set_property(newest, FACTS_KEY, facts.to_json(), {})
    return newest


def set_augmentation(table: FeatureTable, augmentation: Augmentation) -> FeatureTable:
    """Say how the views of a table are made that has none yet.

    Returns:
        The newest version: with this augmentation, or with what another run has said or committed meanwhile.
    """
    seen = table.augmentation
    for newest in newest_versions(table.store, table.name):
        if newest.views or newest.augmentation != seen or seen == augmentation:
            break
        with contextlib.suppress(CommitFailedError):
            set_property(newest, AUGMENTATION_KEY, json.dumps(augmentation.to_dict()), {})
    return newest


def set_property(table: FeatureTable, key: str, value: str, facts: Mapping[str, Any]) -> None:
    """Commit another value of one of the table's properties.

    Raises:
        CommitFailedError: where another commit came before.
    """
    table.delta.alter.set_table_properties(
        {key: value}, raise_if_not_exists=False, commit_properties=properties_of(table, facts)
    )


def newest_versions(store: str | Path, name: str) -> Iterator[FeatureTable]:
    """The table as it is, for one attempt to commit after the other, with growing random pauses between them.

    Raises:
        BottleneckError: when attempts are refused though nobody else commits.
    """
    refused: collections.Counter[int] = collections.Counter()
    for number in itertools.count():
        table = open_planned(store, name)
        yield table
        refused[table.version] += 1
        if refused[table.version] == _MOST_REFUSALS:
            raise BottleneckError(
                f"table {name!r} refused {_MOST_REFUSALS} commits in a row on version {table.version}: "
                f"see whether {features_path(store, name)} can be written"
            )
        time.sleep(random.uniform(0, min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE)))


class _Writer:
    """The attempts to commit one change; parts that one has written serve the next."""

    def __init__(
        self, change: Change, facts: Mapping[str, Any], part: Part | None, rejected: Part | None
    ) -> None:
        self._change = change
        self._facts = facts
        self._part = part
        self._rejected = rejected
        self._rewritten: dict[str, tuple[pa.Array, Part | None]] = {}

    def commit(self, table: FeatureTable) -> int:
        """One attempt, built on `table`; the version that it makes."""
        schema, run_id = table.facts.schema, self._change.run_id
        planned_on, _ = _parts_at(table, self._change.basis)
        settled = self._settle(table)
        new = self._new(table.folder, self._part, settled, schema)
        rejected = self._new(table.rejected_folder, self._rejected, settled, REJECTED_SCHEMA)
        rejected_version = self._commit_rejected(table, settled, rejected)
        leaving = {name: uris for name, uris in settled.leaving.items() if name in table.names}
        kept = [
            # What a part held when the plan was made concerns no other change of this run.
            self._without(table.folder / name, uris, schema, run_id if name in planned_on else None)
            for name, uris in leaving.items()
        ]
        counts = {
            "stored": new.rows if new else 0,
            "rejected": rejected.rows if rejected else 0,
            "left_out": len(settled.left_out),
        }
        table.delta.create_write_transaction(
            [*added([new, *kept]), *removed(leaving)],
            mode="append",
            schema=schema,
            commit_properties=properties_of(
                table,
                {**self._facts, **counts, **self._identity()},
                Transaction(self._change.id, 1),
                Transaction(REJECTED_APPLICATION, rejected_version),
            ),
        )
        return table.version + 1

    def _settle(self, table: FeatureTable) -> Settled:
        """What still holds of the change, given what others have written since the plan."""
        features, rejected = _parts_at(table, self._change.basis)
        outdated, parts = self._change.outdated, {*table.names, *table.rejected_names}
        # What this run has written itself holds nothing of the change, unless it has moved what is outdated.
        moved = not parts.issuperset(outdated.column("part").unique().to_pylist())
        run_id = None if moved else self._change.run_id
        brought = pa.concat_tables(
            [
                _brought(table.folder, self._part, features=True),
                _brought(table.rejected_folder, self._rejected, features=False),
            ]
        )
        since = rows_of_parts(
            [path for path in table.paths if _is_since(path, features, run_id)],
            [path for path in table.rejected_paths if _is_since(path, rejected, run_id)],
            pa.chunked_array([*brought.column("uri").chunks, *outdated.column("uri").chunks], pa.string()),
        )
        return settle(brought, outdated, since, sorted(parts))

    def _new(self, folder: Path, part: Part | None, settled: Settled, schema: pa.Schema) -> Part | None:
        """What is brought, but what is left out of it."""
        if part is None or not len(settled.left_out):
            return part
        return self._without(folder / part.name, settled.left_out, schema, self._change.run_id)

    def _commit_rejected(self, table: FeatureTable, settled: Settled, new: Part | None) -> int:
        """Commit the rejections that follow from this change; the version that holds them.

        See `commit_rejected`; that writer may have been this one, before a retry.
        """
        folder = table.rejected_folder
        leaving = {name: uris for name, uris in settled.leaving.items() if name in table.rejected_names}
        if not leaving and new is None:
            return table.rejected_version
        kept = [self._without(folder / name, uris, REJECTED_SCHEMA, None) for name, uris in leaving.items()]
        wanted = {part.name for part in [new, *kept] if part} | set(table.rejected_names) - leaving.keys()
        return commit_rejected(table, wanted, {"rejected": new.rows if new else 0, **self._identity()})

    def _without(self, path: Path, uris: pa.Array, schema: pa.Schema, run_id: str | None) -> Part | None:
        """A part with the rows of `path` but those of `uris`, or None for no rows."""
        of_uris, part = self._rewritten.get(path.name, (None, None))
        if of_uris is None or not of_uris.equals(uris):
            part = rewrite_part(path, uris, schema, run_id)
            self._rewritten[path.name] = uris, part
        return part

    def _identity(self) -> dict[str, str]:
        return {"run_id": self._change.run_id, "change": self._change.id}


def commit_rejected(table: FeatureTable, wanted: Collection[str], facts: Mapping[str, Any]) -> int:
    """Let the rejections that go with the next version of `table` be those of some parts; their version.

    They are built on the version that the features name: where the rejected table has gone further, a writer
    stopped between its two commits, and what it did is undone.
    """
    newest = open_delta(table.rejected_folder)
    version, there = newest.version(), set(part_names(newest))
    if there == set(wanted):  # by an attempt whose features were refused
        return version
    new = set(wanted) - there
    newest.create_write_transaction(
        [*added(part_at(table.rejected_folder / name) for name in new), *removed(there - set(wanted))],
        mode="append",
        schema=REJECTED_SCHEMA,
        commit_properties=properties_of(table, facts),
    )
    return version + 1


def properties_of(table: FeatureTable, facts: Mapping[str, Any], *others: Transaction) -> CommitProperties:
    """Those of a commit that moves `table` on from the version that it is."""
    return CommitProperties(
        custom_metadata=dict(facts),
        app_transactions=[*others, Transaction(TABLE_APPLICATION, table.version + 1)],
        max_commit_retries=0,  # it would go on upon another version than the one looked at
    )


def _brought(folder: Path, part: Part | None, *, features: bool) -> pa.Table:
    """The rows of a part, in `BROUGHT_SCHEMA`."""
    columns = pa.schema([field for field in BROUGHT_SCHEMA if field.name != "features"])
    rows = read_parts([folder / part.name] if part else [], columns)
    return to_schema(rows, BROUGHT_SCHEMA, features=features)


def _parts_at(table: FeatureTable, basis: Basis) -> tuple[frozenset[str], frozenset[str]]:
    return _parts_of_version(table.store, table.name, basis.table_id, basis.version)


@functools.lru_cache(maxsize=4)
def _parts_of_version(
    store: Path, name: str, table_id: str, version: int
) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the parts of features, and of rejections, that a version had."""
    table = catalog.open(store, name, version=version)
    return frozenset(table.names), frozenset(table.rejected_names)


def _is_since(path: str, planned_on: frozenset[str], run_id: str | None) -> bool:
    """Whether a part was written since a version, and not by a run."""
    name = os.path.basename(path)
    return name not in planned_on and not (run_id and is_of_run(name, run_id))


def added(parts: Iterable[Part | None]) -> list[AddAction]:
    return [part.add_action() for part in parts if part is not None]


def removed(names: Iterable[str]) -> list[RemoveAction]:
    now = int(time.time() * 1000)
    return [RemoveAction(name, True, now) for name in names]
