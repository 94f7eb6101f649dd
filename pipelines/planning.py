"""What a run has to do: the listing joined with the two tables, by DuckDB.

A million images are columns on both sides, and what comes out is written slice by slice. Imports neither Beam
nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import duckdb
import pyarrow as pa

from features import files
from features.splits import CUT, CUT_TRAINING, SPLITS
from features.store.commit import Basis
from features.store.schema import REJECTED_SCHEMA, feature_widths
from features.store.table import FeatureTable
from pipelines.queries import connect, parts_relation
from pipelines.runs import ATTEMPTS_SCHEMA, PLANNED_SCHEMA, outdated

#: Bytes of features that a slice has at most: they are in a worker's memory together.
_SLICE_BYTES = 2**26
#: There are this many slices at least, where they do not get smaller than the second number of images.
_MANY, _SMALL = 32, 512

#: Attempts that never ended after which an image is kept apart from others.
MOST_ATTEMPTS = 2

_ROWS_AT_ONCE = 65_536

#: Rows of both tables: those of features have an image_id. They are as small as can be, since the join holds
#: them all: labels and groups as 64 bits of hash each, parts by number.
_STORED = """
    SELECT uri, size, modified_at, hash(list_sort(labels)) AS labels, split, hash({group}) AS "group",
        unhex(image_id) AS image_id, extracted_at AS written_at, file_index::BIGINT AS part
    FROM {features} WHERE view = 0
    UNION ALL
    SELECT uri, size, modified_at, NULL, NULL, NULL, NULL, rejected_at, file_index::BIGINT FROM {rejected}
"""

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
    SELECT * REPLACE (
        CASE
            WHEN state IN ('new', 'changed') AND uri IN (SELECT uri FROM left_to_others) THEN 'left'
            ELSE state
        END AS state
    ) FROM (
        SELECT
            CASE
                WHEN stored.uri IS NULL THEN 'new'
                WHEN listing.uri IS NULL THEN 'missing from input'
                WHEN stored.image_id IS NULL THEN
                    CASE
                        WHEN $retry_rejected OR listing.size IS DISTINCT FROM stored.size
                            OR listing.modified_at IS DISTINCT FROM stored.modified_at
                        THEN 'changed' ELSE 'same'
                    END
                WHEN listing.size IS NULL THEN 'missing file'
                WHEN listing.size = stored.size AND listing.modified_at = stored.modified_at
                    AND hash(list_sort(listing.labels)) = stored.labels
                    AND hash(listing."group") = stored."group" AND stored.split = {_SPLIT}
                THEN 'same' ELSE 'changed'
            END AS state,
            coalesce(listing.uri, stored.uri) AS uri,
            listing.labels, listing.split, listing."group", listing.size, listing.modified_at,
            coalesce(ended.attempts, 0)::INTEGER AS attempts,
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

#: Images to extract, those of them with rows already, those left to others, and those without a file now;
#: rows of features that are missing from the input; and rejections of images that are not as they were.
_COUNTS = """
    SELECT
        count(*) FILTER (WHERE state IN ('new', 'changed')),
        count(*) FILTER (WHERE state = 'changed'),
        count(*) FILTER (WHERE state = 'left'),
        count(*) FILTER (WHERE state = 'missing file'),
        count(*) FILTER (WHERE state = 'missing from input' AND replaced_image_id IS NOT NULL),
        count(*) FILTER (WHERE replaced_image_id IS NULL AND replaced_part IS NOT NULL)
    FROM work
"""

#: The images to extract. Those that replace rows of one part of features (`whole`) stay together; those that
#: processes have ended on come last, with the others of their part.
_TODO = f"""
    CREATE TEMP VIEW todo AS
    WITH parts AS (
        SELECT *, CASE WHEN replaced_image_id IS NOT NULL THEN replaced_part END AS whole
        FROM work WHERE state IN ('new', 'changed')
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
        basis: the table as it was seen.
        listed: how many images the input holds.
        todo: how many images there are to extract.
        replaced: how many of these have rows already, of an image that has since changed.
        stored, rejected: how many listed images the tables hold, unchanged.
        missing_files: of the stored, those whose files are not there now: they keep their rows.
        left: images to extract that are left to other runs.
        missing_from_input: rows of either table, in `STORED_SCHEMA`, of images that are no longer listed.
        stored_missing_from_input: how many of these have features.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: FeatureTable, listed: int) -> None:
        self._connection = connection
        self._row_bytes = 4 * sum(feature_widths(table.facts.schema).values())
        self.basis = Basis.of(table)
        self.listed = listed
        counts: tuple[int, ...] = connection.sql(_COUNTS).fetchall()[0]
        self.todo, self.replaced, self.left, self.missing_files, self.stored_missing_from_input = counts[:5]
        self.rejected = sum(files.footer(path).num_rows for path in table.rejected_paths) - counts[5]
        missing = "SELECT COLUMNS('^(uri|replaced_.*)$') FROM work WHERE state = 'missing from input'"
        self.missing_from_input = outdated(connection.sql(missing).to_arrow_table())
        self.stored = listed - self.todo - self.left - self.rejected

    def close(self) -> None:
        """Free the memory; `slices` can't be asked for any more."""
        self._connection.close()

    def slices(self, chunk_size: int) -> Iterator[pa.Table]:
        """The images to extract, in slices of at most `chunk_size`: rows in `PLANNED_SCHEMA`."""
        most = max(1, min(chunk_size, _SLICE_BYTES // self._row_bytes, max(_SMALL, -(-self.todo // _MANY))))
        groups = self._connection.sql(
            "SELECT doubtful, whole, count(*) FROM todo GROUP BY ALL ORDER BY doubtful, whole NULLS FIRST"
        ).fetchall()
        columns = ", ".join(f'"{name}"' for name in PLANNED_SCHEMA.names)
        rows = self._connection.sql(f"SELECT {columns} FROM todo ORDER BY doubtful, whole NULLS FIRST, uri")
        return _cut(rows.to_arrow_reader(_ROWS_AT_ONCE), slice_lengths(groups, most))


def make_plan(
    images: pa.Table,
    table: FeatureTable,
    *,
    retry_rejected: bool = False,
    attempts: pa.Table | None = None,
    left_to_others: pa.ChunkedArray | None = None,
) -> Plan:
    """Compare a listing with what is stored, by size and time of change: no image is read.

    An image is extracted again when its file, its labels, its group or its given split changed. One whose
    file is not there now keeps its row: the disk may not be mounted.

    Args:
        images: in `features.inputs.LISTING_SCHEMA`.
        retry_rejected: try rejected images again though they did not change.
        attempts: in `pipelines.runs.ATTEMPTS_SCHEMA`.
        left_to_others: uris of images that other runs are to extract.
    """
    connection = connect()
    connection.register("listing", images)
    connection.register("attempts", ATTEMPTS_SCHEMA.empty_table() if attempts is None else attempts)
    connection.register("left_to_others", pa.table({"uri": left_to_others or pa.array([], pa.string())}))
    stored = _STORED.format(
        group='"group"' if table.facts.groups else "NULL::VARCHAR",
        features=parts_relation(connection, table.paths, table.facts.schema),
        rejected=parts_relation(connection, table.rejected_paths, REJECTED_SCHEMA),
    )
    connection.execute(
        _WORK.format(stored=stored),
        {
            "retry_rejected": retry_rejected,
            "splits": SPLITS,
            "cut": CUT,
            "cut_training": CUT_TRAINING,
            "features": table.names,
            "rejected": table.rejected_names,
        },
    )
    connection.execute(_TODO)
    connection.unregister("listing")
    return Plan(connection, table, len(images))


def slice_lengths(groups: Iterable[tuple[bool, str | None, int]], most: int) -> list[int]:
    """How many images each slice has, in the order of the plan.

    Args:
        groups: for those that are doubtful and those that are not, and for each part whose rows are replaced
            or none: how many images. A part is never cut, so one that is larger makes a larger slice.
        most: images in a slice.
    """
    lengths: list[int] = []
    last: bool | None = None
    for doubtful, part, count in groups:
        if part is None:
            lengths += [most] * (count // most) + ([count % most] if count % most else [])
        elif lengths and last == doubtful and lengths[-1] + count <= most:
            lengths[-1] += count
        else:
            lengths.append(count)
        last = doubtful
    return lengths


def _cut(batches: Iterable[pa.RecordBatch], lengths: Sequence[int]) -> Iterator[pa.Table]:
    ready = PLANNED_SCHEMA.empty_table()
    coming = iter(batches)
    for length in lengths:
        while len(ready) < length:
            ready = pa.concat_tables([ready, pa.table(next(coming)).cast(PLANNED_SCHEMA)])
        yield ready.slice(0, length)
        ready = ready.slice(length)
