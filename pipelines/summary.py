"""What a run saw and did, counted from committed rows by DuckDB. Imports neither Beam nor TensorFlow."""

from __future__ import annotations

import collections
from typing import NamedTuple

import pyarrow as pa

from features.conflicting_images import Conflicts
from features.splits import SPLITS
from features.store.conflicts import STORED_SCHEMA
from features.store.schema import REJECTED_SCHEMA
from features.store.stale import count_stale_features
from features.store.table import FeatureTable
from pipelines.missing import images_with_features
from pipelines.planning import Plan
from pipelines.queries import connect, parts_relation
from pipelines.runs import PLANNED_SCHEMA, Run

#: Rejected images that an error shows.
_EXAMPLES = 3

#: Numbers instead of hashes: a million take a tenth of the memory.
_KEY = "('0x' || left(image_id, 16))::UBIGINT"
_REPEATED = f"""
    CREATE TEMP TABLE repeated AS
    SELECT {_KEY} AS key FROM {{features}} WHERE view = 0 GROUP BY key HAVING count(*) > 1
"""
_DUPLICATES = f"""
    SELECT list(uri ORDER BY uri), count(DISTINCT list_sort(labels)) > 1, count(DISTINCT split) > 1
    FROM {{features}} WHERE view = 0 AND {_KEY} IN (SELECT key FROM repeated)
    GROUP BY image_id ORDER BY min(uri)
"""
_TORN = f"""
    SELECT "group", {", ".join(f"count(*) FILTER (split = '{split}')" for split in SPLITS)}
    FROM {{features}} WHERE view = 0 AND "group" IS NOT NULL
    GROUP BY "group" HAVING min(split) <> max(split) ORDER BY "group"
"""

#: No rows of images that are missing.
_NONE = STORED_SCHEMA.empty_table()


class Summary(NamedTuple):
    """What a run saw and did, counted from committed rows.

    Attributes:
        seen: images of the input: `stored + rejected + unsettled + left`.
        stored, rejected: of these, in the feature table and in the rejected table.
        unsettled: images that are in neither, since others removed them while the run went on.
        left: images that another run is to extract.
        missing_files: of the stored, images whose files are not there now, or can't be read.
        left_out: images whose names are not UTF-8, which are not among those seen.
        new: images that this run inferred.
        new_rejected: images that it rejected.
        rejected_again: of these, images that had been rejected before.
        inferred_rows: rows that it inferred: images and their augmented views.
        taken_over: images whose stored features this run gave new rows, without inference, by why: `moved`,
            `touched`, `same_bytes` or `relabelled`.
        stale: stored images that would be read otherwise now.
        precisions: what their features were really computed in, on whatever machines.
        reasons: of the rejected images of the input, reason to count, the most frequent first.
        examples: the first rejected images of the most frequent reason: (uri, reason, detail).
        missing_from_input: images with features that the input no longer has.
        rejections_missing_from_input: rejected images that it no longer has.
        removed: images, stored or rejected, that this run took out of the tables for that.
        seconds: from when the images were listed to the last commit, loading the network included.
    """

    table: FeatureTable
    run_id: str
    seen: int
    stored: int
    rejected: int
    unsettled: int
    left: int
    missing_files: int
    left_out: int
    new: int
    new_rejected: int
    rejected_again: int
    inferred_rows: int
    taken_over: dict[str, int]
    stale: int
    precisions: list[str]
    reasons: dict[str, int]
    examples: list[tuple[str, str, str]]
    missing_from_input: int
    rejections_missing_from_input: int
    removed: int
    conflicts: Conflicts
    seconds: float

    def rejected_share(self) -> float:
        """Share of the images that this run read that gave no features, but those that never did."""
        rejected = self.new_rejected - self.rejected_again
        taken_over = sum(count for why, count in self.taken_over.items() if why != "relabelled")
        tried = self.new + taken_over + rejected
        return rejected / tried if tried else 0.0


def summarize(
    table: FeatureTable,
    plan: Plan,
    run: Run,
    *,
    left_out: int,
    removed: int,
    missing: pa.Table = _NONE,
    seconds: float = 0.0,
) -> Summary:
    """Count what the tables hold after a run, whose folder is still there if it had work.

    Args:
        table: as it is now.
        plan: what there was to do.
        missing: rows of images that the input no longer has, and that stay, as in
            `features.store.conflicts.STORED_SCHEMA`.
        left_out, removed, seconds: as in `Summary`.
    """
    connection = connect()
    features = parts_relation(connection, table.paths, table.facts.schema)
    rejected = parts_relation(connection, table.rejected_paths, REJECTED_SCHEMA)

    def count(sql: str, *values: object) -> int:
        (number,) = connection.execute(f"SELECT count(*) FROM {sql}", values).fetchall()[0]
        return number

    stored_now = rejected_now = new_rejected = rejected_again = 0
    if plan.todo:
        planned = parts_relation(connection, [str(run.plan_path)], PLANNED_SCHEMA)
        stored_now = count(f"{planned} SEMI JOIN (SELECT uri FROM {features} WHERE view = 0) USING (uri)")
        rejected_now = count(f"{planned} SEMI JOIN {rejected} USING (uri)")
        of_run = f"(SELECT uri FROM {rejected} WHERE run_id = ?)"
        again = f"(SELECT uri FROM {planned} WHERE replaced_image_id IS NULL AND replaced_uri = uri)"
        new_rejected = count(of_run, run.run_id)
        rejected_again = count(f"{of_run} SEMI JOIN {again} USING (uri)", run.run_id)
    connection.register("missing", plan.missing_from_input)
    listed = f"FROM {rejected} ANTI JOIN missing USING (uri)"
    reasons = dict(
        connection.execute(
            f"SELECT reason, count(*) AS number {listed} GROUP BY reason ORDER BY number DESC, reason"
        ).fetchall()
    )
    examples = connection.execute(
        f"SELECT uri, reason, detail {listed} WHERE reason = ? ORDER BY uri LIMIT ?",
        [next(iter(reasons), ""), _EXAMPLES],
    ).fetchall()
    connection.execute(_REPEATED.format(features=features))
    duplicates = connection.execute(_DUPLICATES.format(features=features)).fetchall()
    torn = connection.execute(_TORN.format(features=features)).fetchall() if table.facts.groups else []
    connection.close()
    did, precisions = _done_by(table, plan, run.run_id)
    return Summary(
        table=table,
        run_id=run.run_id,
        seen=plan.listed,
        stored=plan.stored + stored_now,
        rejected=plan.rejected + rejected_now,
        unsettled=plan.todo - stored_now - rejected_now,
        left=plan.left,
        missing_files=plan.missing_files + did.pop("unread", 0),
        left_out=left_out,
        new=did.pop("inferred", 0),
        new_rejected=new_rejected,
        rejected_again=rejected_again,
        inferred_rows=did.pop("rows", 0),
        taken_over={why: images for why, images in did.items() if images},
        stale=count_stale_features(table) if plan.stale and plan.todo else plan.stale,
        precisions=precisions,
        reasons=reasons,
        examples=examples,
        missing_from_input=images_with_features(missing),
        rejections_missing_from_input=len(missing) - images_with_features(missing),
        removed=removed,
        conflicts=Conflicts(
            [uris for uris, labels, _ in duplicates if labels],
            [uris for uris, _, splits in duplicates if splits],
            [(group, _without_zeros(counts)) for group, *counts in torn],
        ),
        seconds=seconds,
    )


def _without_zeros(counts: list[int]) -> dict[str, int]:
    """From split to count, of the splits that have any."""
    return {split: count for split, count in zip(SPLITS, counts, strict=True) if count}


def _done_by(table: FeatureTable, plan: Plan, run_id: str) -> tuple[collections.Counter[str], list[str]]:
    """What a run did, and the precisions that it computed in, by the facts of its commits.

    Slices may have been computed on machines of several kinds.
    """
    did: collections.Counter[str] = collections.Counter()
    precisions = set()
    commits = table.delta.history(table.version - plan.basis.version) if plan.todo else []
    for commit in commits:
        if commit.get("run_id") == run_id:
            did.update(commit.get("images", {}))
            precisions |= {commit["precision_used"]} if "precision_used" in commit else set()
    return did, sorted(precisions)
