"""What is printed of a run and of a store, as plain text. Reads tables and `head.json` only."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features import files
from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.conflicting_images import conflict_lines, count_groups
from features.decodings import DECODING
from features.images.errors import REASONS, REMEDIES
from features.locations import features_path, heads_path, rejected_path
from features.splits import SPLITS
from features.store.commit import rejected_rows
from features.store.stale import count_stale_features
from features.store.table import FeatureTable
from features.text import counted, printable
from heads import current_head, list_heads
from pipelines.agreement import check_backbone
from pipelines.options import ExtractOptions, InfoOptions
from pipelines.runs import living_runs
from pipelines.summary import Summary
from pipelines.wording import make_command, table_name

#: Why features were taken over, for people.
_WHY = {
    "moved": "moved",
    "touched": "touched and the same",
    "same_bytes": "with the bytes of another",
    "relabelled": "with other labels, groups or splits",
}


def summary_text(summary: Summary, options: ExtractOptions) -> str:
    """What an extraction did, and what to run next."""
    table = summary.table
    unsettled = f" + {summary.unsettled:,} changed meanwhile" if summary.unsettled else ""
    unsettled += f" + {summary.left:,} left to another run" if summary.left else ""
    seen = counted(summary.seen, "image")
    lines = [f"{seen} seen = {summary.stored:,} stored + {summary.rejected:,} rejected{unsettled}"]
    if missing := summary.missing_files:
        images = counted(missing, "stored image can't be read now", "stored images can't be read now")
        lines.append(f"{images}, where the input says it is: the rows stay")
    if summary.left_out:
        lines.append(f"{counted(summary.left_out, 'more image')} left out: the name is not valid UTF-8")
    for reason, count in summary.reasons.items():
        lines.append(f"  {count:,} {reason}: {REASONS[reason]}")
    if summary.unsettled:
        lines.append("run it again for those that changed while it went on")
    if summary.removed:
        lines.append(f"removed {counted(summary.removed, 'image')} no longer in the input")
    if summary.missing_from_input:
        images = counted(summary.missing_from_input, "stored image is", "stored images are")
        lines.append(f"{images} no longer in the input: the rows stay (ARGS=--remove-gone takes them out)")
    if gone := summary.rejections_missing_from_input:
        images = counted(gone, "rejected image is", "rejected images are")
        lines.append(f"{images} no longer in the input (ARGS=--remove-gone takes them out, too)")
    lines += conflict_lines(summary.conflicts)
    tried = summary.new + summary.new_rejected
    if tried:
        rate = tried / summary.seconds
        rejected = f", {summary.new_rejected:,} rejected" if summary.new_rejected else ""
        views = f" ({summary.inferred_rows:,} rows, with views)" if table.views else ""
        seconds = f"{summary.seconds:.1f} s, {rate:.1f} images/s"
        lines.append(f"{summary.new:,} extracted by this run{views}{rejected} in {seconds}")
    elif not summary.taken_over and not summary.removed:
        lines.append("nothing new to extract")
    if summary.taken_over:
        why = ", ".join(f"{images:,} {_WHY[why]}" for why, images in summary.taken_over.items())
        lines.append(f"features taken over without inference: {why}")
    if summary.stale:
        images = counted(summary.stale, "stored image is", "stored images are")
        lines.append(
            f"{images} from before some images of their format were read as they are now "
            f"(ARGS=--redo-decoding makes them anew)"
        )
    lines.append(f"recipe:   {table.recipe}")
    if summary.precisions not in ([], [table.recipe.precision]):
        lines.append(
            f"          computed in {' and '.join(summary.precisions)} by this run: its engine or processor "
            f"has no {table.recipe.precision} arithmetic"
        )
    lines.append(f"features: {features_path(table.store, table.name)} (version {table.version})")
    if summary.rejected:
        lines.append(f"rejected: {rejected_path(table.store, table.name)}")
    if summary.stored:
        several = [f"LAYERS={','.join(table.layers)}"] if table.layers[1:] else []
        command = make_command("train-head", options.store, table.name, table.backbone.name, *several)
        lines.append(f"next:     {command}")
    if table.facts.untrained:
        lines.append(UNTRAINED)
    return "\n".join(lines)


def summary_facts(summary: Summary, options: ExtractOptions) -> dict[str, Any]:
    """The same as values that JSON has, for a scheduler."""
    table = summary.table
    did = summary.new or summary.new_rejected or summary.taken_over or summary.removed
    return {
        "command": "extract",
        "status": "extracted" if did else "nothing to do",
        "run_id": summary.run_id,
        "table": table.name,
        "table_version": table.version,
        "data": table.source,
        "seen": summary.seen,
        "stored": summary.stored,
        "rejected": summary.rejected,
        "left": summary.left,
        "unsettled": summary.unsettled,
        "inferred": summary.new,
        "inferred_rows": summary.inferred_rows,
        "taken_over": summary.taken_over,
        "newly_rejected": summary.new_rejected,
        "rejected_again": summary.rejected_again,
        "reasons": summary.reasons,
        "missing_from_input": summary.missing_from_input,
        "rejections_missing_from_input": summary.rejections_missing_from_input,
        "removed": summary.removed,
        "missing_files": summary.missing_files,
        "stale": summary.stale,
        "views": table.views,
        "untrained": table.facts.untrained,
        "fingerprints": {column.layer: column.fingerprint for column in table.columns(table.layers)},
        "seconds": round(summary.seconds, 2),
    }


def rejection_error(summary: Summary, options: ExtractOptions) -> str | None:
    """Why a run failed over its rejected images, with the first of them and what would mend it; or None."""
    if summary.seen and not summary.stored and summary.rejected:
        problem = f"nothing is stored: {summary.rejected:,} of {counted(summary.seen, 'image')} are rejected"
    elif summary.rejected_share() > options.max_rejected:
        stored = "; the others are stored" if summary.new else ""
        problem = (
            f"{summary.rejected_share():.0%} of the images tried were rejected, more than "
            f"`max_rejected={options.max_rejected:g}` allows{stored}"
        )
    else:
        return None
    if not summary.examples:
        return problem
    reason = summary.examples[0][1]
    first = "; ".join(f"{printable(uri)} ({printable(detail)})" for uri, _, detail in summary.examples)
    return f"{problem}. The first that are {reason}: {first}. {REMEDIES[reason]}"


def info_text(options: InfoOptions) -> str:
    """Every table of a store, or the one that is named, with its recipe, counts and heads.

    Heads may be kept under a name that no table has.

    Raises:
        BottleneckError: where there is none, or none of this name.
    """
    store, named = options.store, options.features or options.backbone
    stored = feature_store.table_names(store)
    alone = [
        name for name in files.names(heads_path(store)) if name not in stored and list_heads(store, name)
    ]
    texts = []
    for name in [named] if named else sorted([*stored, *alone]) or [table_name(options)]:
        if name in alone:
            lines: Iterable[str] = [f"{name}  (heads without a table)", *_head_lines(store, name)]
        else:
            table = feature_store.open(store, name)
            check_backbone(table, options)
            lines = _table_lines(table, str(store))
        texts.append("\n".join(lines))
    return "\n\n".join(texts)


def _table_lines(table: FeatureTable, store: str) -> Iterable[str]:
    recipe = table.recipe
    images = table.metadata(["labels", "split", *(["group"] if table.facts.groups else [])], views=0)
    views = len(table.metadata(["view"])) - len(images) if table.views else 0
    rejected = len(rejected_rows(table))
    counts = f"{counted(len(images) + views, 'row')}, {counted(rejected, 'rejected image')}"
    yield f"{table.name}  (version {table.version}, {counts})"
    yield f"  data      {printable(table.source)}"
    yield f"  recipe    {recipe}"
    if recipe.exif_orientation:
        yield "            photos turned as their EXIF data say"
    decodings = table.decodings()
    if decodings:
        numbers = (f"{number} ({counted(count, 'row')})" for number, count in decodings.items())
        yield f"  decoding  {', '.join(numbers)}"
    if stale := count_stale_features(table):
        older = counted(stale, "image is", "images are")
        again = "ARGS=--redo-decoding makes them anew"
        yield f"            {older} read otherwise since number {DECODING} ({again})"
    for column in table.columns(table.layers):
        yield f"  layer     {column.layer}, fingerprint {column.fingerprint}"
    if views:
        yield f"  views     {_views_text(table.views, images, views)}"
    if table.facts.groups:
        yield f"  groups    {_groups_text(images)}"
    if table.facts.untrained:
        yield f"  {UNTRAINED}"
    yield from _count_lines(images)
    for run in living_runs(table.store, table.name):
        work = counted(run.images(), "image") if run.header() else "its plan"
        yield f"  run       {run.run_id} is at work on {work}"
    heads = _head_lines(store, table.name, table.facts.weights)
    yield from heads
    unlabelled = pc.all(pc.equal(pc.list_value_length(images.column("labels")), 0)).as_py()
    if not heads and not (len(images) and unlabelled):
        yield f"  no head yet: run `{make_command('train-head', store, table.name, table.backbone.name)}`"


def _head_lines(store: str, name: str, weights: str | None = None) -> list[str]:
    """The heads that are kept under the name of a table, a line each, with weights other than the table's."""
    current, lines = current_head(store, name), []
    for head in list_heads(store, name):
        mark = " (current)" if head["id"] == current else ""
        version = head["table_version"]
        source = f"version {version}" if version is not None else printable(head["data"]["source"])
        layers = ", ".join(column["layer"] for column in head["columns"])
        own = head.get("weights", weights)
        source += f", weights {printable(own)}" if own != weights else ""
        lines.append(f"  head      {head['id']}{mark}: {_score_text(head)}, from {layers} of {source}")
    return lines


def _score_text(head: Mapping[str, Any]) -> str:
    """The figure that heads of a kind of data are known by, and where it is from."""
    metrics, tested = head["metrics"]["test"], head["splits"]["tested"]
    where = "test" if "test" in tested else f"{head['splits']['folds']}-fold"
    if "hamming_loss" in metrics:
        return f"{where} average precision {metrics['average_precision']['macro']:.3f}"
    return f"{where} accuracy {metrics['accuracy']:.3f}"


def _views_text(most: int, images: pa.Table, views: int) -> str:
    """How many augmented views the images of the train split have, and in how many rows.

    Args:
        most: views of an image.
        views: of all images.
    """
    missing = most * (pc.sum(pc.equal(images.column("split"), "train")).as_py() or 0) - views
    if missing <= 0:
        return f"{most:,} of each training image ({counted(views, 'row')})"
    return f"up to {most:,} of each training image ({counted(views, 'row')}, {missing:,} missing)"


def _groups_text(rows: pa.Table) -> str:
    """How many groups there are, and whether each is in one split."""
    groups, torn = count_groups(rows)
    return f"{groups:,} ({f'{torn:,} torn apart by given splits' if torn else 'each in one split'})"


def _count_lines(rows: pa.Table) -> Iterable[str]:
    """Images by class and split."""
    splits = rows.column("split").to_pylist()
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for labels, split in zip(rows.column("labels").to_pylist(), splits, strict=True):
        for label in labels or ["(no label)"]:
            counts[printable(label), split] += 1
    classes = sorted({label for label, _ in counts})
    width = max([len("class"), *map(len, classes)])
    yield f"  {'class':<{width}}" + "".join(f"{split:>12}" for split in SPLITS) + f"{'all':>12}"
    for label in classes:
        numbers = [counts[label, split] for split in SPLITS]
        yield f"  {label:<{width}}" + "".join(f"{number:>12,}" for number in [*numbers, sum(numbers)])
