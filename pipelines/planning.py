"""What a run has to do: the listing joined with the two tables, by DuckDB.

A million images are columns on both sides, and what comes out is written slice by slice. Imports neither Beam
nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from features import files
from features.splits import CUT, CUT_TRAINING, SPLITS
from features.store.commit import Basis
from features.store.schema import REJECTED_SCHEMA, feature_widths
from features.store.stale import count_stale_features, find_stale_features, find_stale_rejections
from features.store.table import FeatureTable
from pipelines.queries import connect, parts_relation
from pipelines.runs import ATTEMPTS_SCHEMA, COPY, PLANNED_SCHEMA, READ, REDO, outdated

#: Bytes of features that a slice has at most: they are in a worker's memory together.
_SLICE_BYTES = 2**26
#: There are this many slices at least, where they do not get smaller than the second number of images.
_MANY, _SMALL = 32, 512

#: Attempts that never ended after which an image is kept apart from others.
MOST_ATTEMPTS = 2

_ROWS_AT_ONCE = 65_536

#: Rows of both tables: those of features have an image_id. They are as small as can be, since the join holds
#: them all: labels and groups as 64 bits of hash each, parts by number. What is `stale` was read by an older
#: decoding.
_STORED = """
    SELECT uri, size, modified_at, hash(list_sort(labels)) AS labels, split, hash({group}) AS "group",
        unhex(image_id) AS image_id, extracted_at AS written_at, file_index::BIGINT AS part, {views} AS views,
        {stale} AS stale
    FROM {features} WHERE view = 0
    UNION ALL
    SELECT uri, size, modified_at, NULL, NULL, NULL, NULL, rejected_at, file_index::BIGINT, 0,
        run_id IN (SELECT run_id FROM stale_rejections)
    FROM {rejected}
"""
#: How many views an image has: all its rows are in one part.
_VIEWS = """
    (SELECT most FROM (SELECT uri AS own, max(view) AS most FROM {features} GROUP BY ALL) WHERE own = uri)
"""
_STALE = "(file_index::BIGINT, run_id, format) IN (SELECT (part, run_id, format) FROM stale_features)"

#: See `features.splits.assign_split`.
_SPLIT = """
    CASE WHEN list_contains($splits, listing.split) THEN listing.split ELSE
        (CASE WHEN listing.split IS NULL THEN $cut ELSE $cut_training END)[
            1 + (('0x' || left(sha256(
                'split:' || coalesce(listing."group", lower(hex(stored.image_id)))
            ), 16))::UBIGINT % 10)::BIGINT
        ]
    END
"""

#: What there is to do, or to say, of an image; nothing of one that is unchanged.
_WORK = f"""
    CREATE TEMP TABLE work AS
    SELECT * EXCLUDE (file_is_same) REPLACE (
        CASE
            WHEN state IN ('new', 'changed') AND uri IN (SELECT uri FROM left_to_others) THEN 'left'
            ELSE state
        END AS state
    ) FROM (
        SELECT
            listing.size = stored.size AND listing.modified_at = stored.modified_at AS file_is_same,
            {{wanted}} AS wanted,
            CASE
                WHEN stored.uri IS NULL THEN 'new'
                WHEN listing.uri IS NULL THEN 'missing from input'
                WHEN stored.image_id IS NULL THEN
                    CASE
                        WHEN $retry_rejected OR stored.stale OR listing.size IS DISTINCT FROM stored.size
                            OR listing.modified_at IS DISTINCT FROM stored.modified_at
                        THEN 'changed' ELSE 'same'
                    END
                WHEN listing.size IS NULL THEN 'missing file'
                WHEN file_is_same AND hash(list_sort(listing.labels)) = stored.labels
                    AND hash(listing."group") = stored."group" AND stored.split = {_SPLIT}
                    AND stored.views = wanted AND NOT ($redo_decoding AND stored.stale)
                THEN 'same' ELSE 'changed'
            END AS state,
            CASE
                WHEN stored.image_id IS NULL OR listing.uri IS NULL THEN '{READ}'
                WHEN $redo_decoding AND stored.stale THEN '{REDO}'
                WHEN file_is_same AND stored.views >= wanted THEN '{COPY}'
                ELSE '{READ}'
            END AS action,
            coalesce(listing.uri, stored.uri) AS uri,
            listing.labels, listing.split, listing."group", listing.size, listing.modified_at,
            coalesce(stored.views < wanted, false) AS lacks_views,
            coalesce(ended.attempts, 0)::INTEGER AS attempts,
            stored.uri AS replaced_uri,
            CASE WHEN stored.image_id IS NULL THEN $rejected ELSE $features END[1 + stored.part]
                AS replaced_part,
            stored.size AS replaced_size, stored.modified_at AS replaced_modified_at,
            lower(hex(stored.image_id)) AS replaced_image_id, stored.written_at AS replaced_written_at
        FROM listing
        FULL JOIN ({{stored}}) AS stored ON listing.uri = stored.uri
        LEFT JOIN (SELECT uri, sum(attempts) AS attempts FROM attempts GROUP BY uri) AS ended
            ON listing.uri = ended.uri
    ) WHERE state <> 'same'
"""

#: Images that seem to have been moved: new ones, each with a row of its size that is missing from the input.
#: They are taken together in the order of their times of change, which moving keeps.
_MOVED = """
    CREATE TEMP TABLE moved AS
    SELECT new.uri AS new_uri, old.* FROM (
        SELECT uri, size, row_number() OVER (PARTITION BY size ORDER BY modified_at, uri) AS place
        FROM work WHERE state IN ('new', 'left') AND replaced_uri IS NULL AND size IS NOT NULL
    ) AS new JOIN (
        SELECT COLUMNS('^replaced_'),
            row_number() OVER (PARTITION BY replaced_size ORDER BY replaced_modified_at, uri) AS place
        FROM work WHERE state = 'missing from input' AND replaced_image_id IS NOT NULL
    ) AS old ON new.size = old.replaced_size AND new.place = old.place
"""

#: Images to settle, those of them with rows already, those left to others, and those without a file now; rows
#: of features that are missing from the input; rejections of images that are not as they were; those to
#: settle or left that have features; and rows that seem to be of images that were moved.
_COUNTS = """
    SELECT
        count(*) FILTER (WHERE state IN ('new', 'changed')),
        count(*) FILTER (WHERE state = 'changed'),
        count(*) FILTER (WHERE state = 'left'),
        count(*) FILTER (WHERE state = 'missing file'),
        count(*) FILTER (WHERE state = 'missing from input' AND replaced_image_id IS NOT NULL),
        count(*) FILTER (WHERE replaced_image_id IS NULL AND replaced_part IS NOT NULL),
        count(*) FILTER (WHERE state IN ('changed', 'left') AND replaced_image_id IS NOT NULL),
        (SELECT count(*) FROM moved)
    FROM work
"""

#: Sizes that files to be read share with files that are stored.
_SAME_SIZES = f"""
    CREATE TEMP TABLE same_sizes AS
    SELECT DISTINCT size FROM {{features}} WHERE view = 0 AND size IN (
        SELECT size FROM work WHERE state IN ('new', 'changed') AND action = '{READ}'
    )
"""

#: The images to settle. Those that replace rows of one part of features (`whole`) stay together; those that
#: processes have ended on come last, with the others of their part. Files of one size are neighbours, since
#: they may be the same.
_TODO = f"""
    CREATE TEMP VIEW todo AS
    WITH parts AS (
        SELECT work.* REPLACE (
                coalesce(work.replaced_uri, moved.replaced_uri) AS replaced_uri,
                coalesce(work.replaced_part, moved.replaced_part) AS replaced_part,
                coalesce(work.replaced_size, moved.replaced_size) AS replaced_size,
                coalesce(work.replaced_modified_at, moved.replaced_modified_at) AS replaced_modified_at,
                coalesce(work.replaced_image_id, moved.replaced_image_id) AS replaced_image_id,
                coalesce(work.replaced_written_at, moved.replaced_written_at) AS replaced_written_at
            ),
            CASE
                WHEN work.replaced_image_id IS NOT NULL THEN work.replaced_part ELSE moved.replaced_part
            END AS whole,
            coalesce(size IN (SELECT size FROM same_sizes), false) AS same_size
        FROM work LEFT JOIN moved ON uri = new_uri WHERE state IN ('new', 'changed')
    )
    SELECT *, coalesce(
        attempts >= {MOST_ATTEMPTS}
            OR whole IN (SELECT whole FROM parts WHERE attempts >= {MOST_ATTEMPTS}),
        false
    ) AS doubtful
    FROM parts
"""


class Plan:
    """What there is to do for one version of the table. It holds that in memory until it is closed.

    Attributes:
        table: name of the table.
        basis: that as it was seen.
        listed: how many images the input holds.
        todo: how many images there are to settle: by inference, or with features that are stored.
        replaced: how many of these have rows already, of which something has since changed.
        stored, rejected: how many listed images the tables hold, unchanged.
        missing_files: of the stored, those whose files are not there now: they keep their rows.
        left: images to settle that are left to other runs.
        missing_from_input: rows of either table, in `STORED_SCHEMA`, of images that are no longer listed.
        stored_missing_from_input: how many of these have features.
        stored_before: how many images the table holds, listed or not.
        moved: how many of the missing ones seem to be among the new images, by the size of their files.
        stale: how many stored images would be read otherwise now (`features.decodings.DECODING`).
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, table: FeatureTable, listed: int, views: int, stale: int
    ) -> None:
        self._connection = connection
        self._image_bytes = 4 * sum(feature_widths(table.facts.schema).values()) * (1 + views)
        self.table = table.name
        self.basis = Basis.of(table)
        self.listed = listed
        self.stale = stale
        counts: tuple[int, ...] = connection.sql(_COUNTS).fetchall()[0]
        self.todo, self.replaced, self.left, self.missing_files, self.stored_missing_from_input = counts[:5]
        self.rejected = sum(files.footer(path).num_rows for path in table.rejected_paths) - counts[5]
        changed, self.moved = counts[6:]
        missing = "SELECT COLUMNS('^(uri|replaced_.*)$') FROM work WHERE state = 'missing from input'"
        self.missing_from_input = outdated(connection.sql(missing).to_arrow_table())
        self.stored = listed - self.todo - self.left - self.rejected
        self.stored_before = self.stored + changed + self.stored_missing_from_input

    def close(self) -> None:
        """Free the memory; `slices` can't be asked for any more."""
        self._connection.close()

    def slices(self, chunk_size: int) -> Iterator[pa.Table]:
        """The images to settle, in slices of at most `chunk_size`: rows in `PLANNED_SCHEMA`.

        A part whose images get more views is rewritten by each of its slices: what they infer is worth more.
        """
        most = max(1, min(chunk_size, _SLICE_BYTES // self._image_bytes, max(_SMALL, -(-self.todo // _MANY))))
        groups = self._connection.sql(
            """
            SELECT doubtful, CASE WHEN NOT bool_or(lacks_views) THEN part END AS whole, count(*) AS images
            FROM (
                SELECT doubtful, whole AS part, CASE WHEN whole IS NULL THEN size END AS of_size, lacks_views
                FROM todo
            )
            GROUP BY doubtful, part, of_size ORDER BY doubtful, part NULLS FIRST, of_size
            """
        ).to_arrow_table()
        columns = ", ".join(f'"{name}"' for name in PLANNED_SCHEMA.names)
        rows = self._connection.sql(
            f"SELECT {columns} FROM todo ORDER BY doubtful, whole NULLS FIRST, "
            f"CASE WHEN whole IS NULL THEN size END, uri"
        )
        return _cut(rows.to_arrow_reader(_ROWS_AT_ONCE), slice_lengths(groups, most))


def make_plan(
    images: pa.Table,
    table: FeatureTable,
    *,
    views: int = 0,
    retry_rejected: bool = False,
    redo_decoding: bool = False,
    attempts: pa.Table | None = None,
    left_to_others: pa.ChunkedArray | None = None,
) -> Plan:
    """Compare a listing with what is stored, by size and time of change: no image is read.

    An image is settled again when its file, its labels, its group or its given split changed, or when it has
    too few or too many views. One whose file is not there now keeps its row: the disk may not be mounted.
    Rejected images are tried again when their file changed, or the decoding since.

    Args:
        images: in `features.inputs.LISTING_SCHEMA`.
        views: how many augmented views each training image is to have.
        retry_rejected: try rejected images again though they did not change.
        redo_decoding: infer images again that would be read otherwise now.
        attempts: in `pipelines.runs.ATTEMPTS_SCHEMA`.
        left_to_others: uris of images that other runs are to settle.
    """
    connection = connect()
    connection.register("listing", images)
    connection.register("attempts", ATTEMPTS_SCHEMA.empty_table() if attempts is None else attempts)
    connection.register("left_to_others", pa.table({"uri": left_to_others or pa.array([], pa.string())}))
    stale_features = find_stale_features(table)
    connection.register("stale_features", stale_features)
    connection.register("stale_rejections", find_stale_rejections(table))
    features = parts_relation(connection, table.paths, table.facts.schema)
    stored = _STORED.format(
        group='"group"' if table.facts.groups else "NULL::VARCHAR",
        views=_VIEWS.format(features=features) if table.views else "0",
        stale=_STALE if len(stale_features) else "false",
        features=features,
        rejected=parts_relation(connection, table.rejected_paths, REJECTED_SCHEMA),
    )
    wanted = f"CASE WHEN {_SPLIT} = 'train' THEN {views:d} ELSE 0 END" if views else "0"
    connection.execute(
        _WORK.format(stored=stored, wanted=wanted),
        {
            "retry_rejected": retry_rejected,
            "redo_decoding": redo_decoding,
            "splits": SPLITS,
            "cut": CUT,
            "cut_training": CUT_TRAINING,
            "features": table.names,
            "rejected": table.rejected_names,
        },
    )
    connection.execute(_MOVED)
    connection.execute(_SAME_SIZES.format(features=features))
    connection.execute(_TODO)
    connection.unregister("listing")
    stale = count_stale_features(table, stale_features)
    return Plan(connection, table, len(images), views, stale)


def slice_lengths(groups: pa.Table, most: int) -> list[int]:
    """How many images each slice has, in the order of the plan.

    Args:
        groups: what stays together, in that order: `doubtful`, `whole` (the part whose rows are replaced,
            null for none), and how many `images`. Those that replace rows of a part are never cut, so that
            such a slice may be larger, and the part is rewritten once; those of none only where there are
            more of them than `most`.
        most: images in a slice.
    """
    if not len(groups):
        return []
    whole = groups.column("whole").is_valid().to_numpy()
    doubtful = groups.column("doubtful").to_numpy()
    ends = np.cumsum(groups.column("images").to_numpy())
    limits = [*(np.flatnonzero(np.diff(doubtful)) + 1).tolist(), len(groups)]
    lengths: list[int] = []
    start = first = 0  # the image that a slice begins with, and its group
    for limit in limits:
        while first < limit:
            after = min(int(np.searchsorted(ends, start + most, side="right")), limit)
            if after > first or whole[first]:
                first = max(after, first + 1)
                end = int(ends[first - 1])
            else:
                end = start + most
            lengths.append(end - start)
            start = end
    return lengths


def _cut(batches: Iterable[pa.RecordBatch], lengths: Sequence[int]) -> Iterator[pa.Table]:
    ready = PLANNED_SCHEMA.empty_table()
    coming = iter(batches)
    for length in lengths:
        while len(ready) < length:
            ready = pa.concat_tables([ready, pa.table(next(coming)).cast(PLANNED_SCHEMA)])
        yield ready.slice(0, length)
        ready = ready.slice(length)
