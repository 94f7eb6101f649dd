"""Images that were moved: within the input, or the input as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from features import files
from features.errors import BottleneckError, MadeAnotherWay
from features.inputs import Listing
from features.locations import local_path
from features.store.commit import Change, commit, open_planned
from features.store.conflicts import STORED_SCHEMA
from features.store.renaming import rename_source
from features.store.schema import REJECTED_SCHEMA
from features.store.table import FeatureTable
from features.text import printable
from pipelines.options import ExtractOptions
from pipelines.planning import Plan
from pipelines.queries import connect, parts_relation
from pipelines.runs import PLANNED_SCHEMA, Run, living_runs

#: Rows that are missing from the input and still there, and whether an image of the same bytes has come:
#: under a new uri, or one that had other bytes. Of those that came, some have replaced such a row in their
#: slice.
_STILL_THERE = """
    WITH there AS (
        SELECT missing.* FROM missing JOIN {features} AS features USING (uri)
        WHERE view = 0 AND missing.image_id = features.image_id
        UNION ALL
        SELECT missing.* FROM missing JOIN {rejected} AS rejected USING (uri) WHERE missing.image_id IS NULL
    ), new AS (
        SELECT image_id, count(DISTINCT uri) AS images
        FROM {features} AS features JOIN {planned} AS planned USING (uri)
        WHERE view = 0 AND (replaced_uri IS DISTINCT FROM uri OR replaced_image_id IS DISTINCT FROM image_id)
        GROUP BY image_id
    ), replaced AS (
        SELECT image_id, count(*) AS images FROM missing ANTI JOIN there USING (uri) GROUP BY image_id
    )
    SELECT there.*, coalesce(
        row_number() OVER (PARTITION BY image_id ORDER BY uri)
            <= coalesce(new.images, 0) - coalesce(replaced.images, 0), false
    ) AS moved
    FROM there LEFT JOIN new USING (image_id) LEFT JOIN replaced USING (image_id)
"""


def remove_moved(plan: Plan, run: Run, dead: Iterable[Run] = ()) -> pa.Table:
    """Take out the rows of images that are under another uri since this run, and were left by its slices.

    A slice replaces the row of an image that was moved where both are in it: nearly always.

    Args:
        dead: runs that had work for the table and were stopped: before this, perhaps.

    Returns:
        The other rows that are missing from the input, in `features.store.conflicts.STORED_SCHEMA`.
    """
    missing = plan.missing_from_input
    plans = [str(one.plan_path) for one in [*([run] if plan.todo else []), *dead] if one.says_what_moved()]
    if not len(missing) or not plans:
        return missing
    table = open_planned(run.store, plan.table)
    connection = connect()
    connection.register("missing", missing)
    planned = parts_relation(connection, plans, PLANNED_SCHEMA)
    rows = connection.sql(
        _STILL_THERE.format(
            features=parts_relation(connection, table.paths, table.facts.schema),
            rejected=parts_relation(connection, table.rejected_paths, REJECTED_SCHEMA),
            planned=planned,
        )
    ).to_arrow_table()
    connection.close()
    moved = rows.column("moved")
    rows = rows.select(STORED_SCHEMA.names).cast(STORED_SCHEMA)
    gone = rows.filter(moved)
    if len(gone):
        commit(run.store, plan.table, Change(f"{run.run_id}/moved", run.run_id, plan.basis, gone), {})
    return rows.filter(pc.invert(moved))


def move_data(
    table: FeatureTable | None, listing: Listing, options: ExtractOptions, run: Run
) -> FeatureTable:
    """Let a table be of the input that has been moved as a whole: new uris, and nothing is read.

    Raises:
        BottleneckError: where there is no table, or another run is at work on it.
        MadeAnotherWay: where the table is of another input than the one that was moved.
    """
    given = printable(options.data_moved_from)
    if table is None:
        raise BottleneckError(f"`data_moved_from={given}`: there is no table {options.features!r} to move")
    if table.source == listing.source:
        return table
    old = local_path(options.data_moved_from)
    if table.source != old:
        raise MadeAnotherWay(
            f"`data_moved_from={given}`: table {table.name!r} was made from {printable(table.source)}"
        )
    if run.ahead(living_runs(run.store, table.name)):
        raise BottleneckError(f"another run is at work on table {table.name!r}: move it when that has ended")
    return rename_source(
        table, listing.source, _folder_of(old, listing.source), _folder_of(listing.source), run.run_id
    )


def _folder_of(source: str, now: str | None = None) -> str:
    """What the uris of an input begin with: its folder, or that of a list; with a slash at its end."""
    is_list = files.is_file(now or source)
    return os.path.join(os.path.dirname(source) if is_list else source, "")
