"""The driver of an extraction: listing, planning, one pipeline a chunk, and the summary.

Listing and planning import neither Beam nor TensorFlow, so a run that finds nothing to do ends at once.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import gc
import importlib
import itertools
import os
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features import store as feature_store
from features.commit import Chunk, StalePlan, commit_chunk, rejected_rows
from features.engines import choose_engine
from features.errors import BottleneckError
from features.graphs import find_graph
from features.inputs import Listing, list_images
from features.inputs.reference import ImageRef
from features.locations import store_path
from features.recipe import FeatureRecipe, parse_layers
from features.schema import TableFacts
from features.table import FeatureTable
from features.text import counted, printable, some
from features.weights import UNTRAINED, find_weights
from pipelines.agreement import check_same, with_reading_of
from pipelines.options import LOCAL_RUNNER, ExtractOptions
from pipelines.planning import Conflicts, Plan, find_conflicts, make_plan
from pipelines.screen import Screen, new_run_id

#: Images in one commit: what a stop can lose. On a cluster a chunk is a job, and starts machines first.
LOCAL_CHUNK = 4096
REMOTE_CHUNK = 250_000

#: Images to start on before Beam asks for them: they keep the cores busy while one pipeline ends and the next
#: is made.
_BEGUN = 256


#: Rejected images that an error shows.
_EXAMPLES = 3


class Summary(NamedTuple):
    """What a run found and did, counted from committed rows.

    Attributes:
        seen: images of the input: `stored + rejected + unsettled`.
        stored, rejected: of these, in the feature table and in the rejected table.
        unsettled: images that changed while the run went on.
        away: of the stored, images whose files are not there now.
        left_out: images whose names are not UTF-8, which are not among those seen.
        new, new_rejected: rows that this run wrote.
        precisions: what their features were really computed in, on whatever machines.
        reasons: of the rejected images of the input, reason to count, the most frequent first.
        examples: the first rejected images of the most frequent reason: (uri, reason, detail).
        gone: images with features that the input no longer has.
        removed: images, stored or rejected, that this run took out of the tables for that.
        seconds: from when the images were listed to the last commit, loading the network included.
    """

    table: FeatureTable
    run_id: str
    seen: int
    stored: int
    rejected: int
    unsettled: int
    away: int
    left_out: int
    new: int
    new_rejected: int
    precisions: list[str]
    reasons: dict[str, int]
    examples: list[tuple[str, str, str]]
    gone: int
    removed: int
    conflicts: Conflicts
    seconds: float

    def rejected_share(self) -> float:
        """Share of the images this run tried that gave no features."""
        tried = self.new + self.new_rejected
        return self.new_rejected / tried if tried else 0.0


def extract(options: ExtractOptions, *, debug: bool = False) -> Summary:
    """Extract the features of every listed image that is new or changed, and commit them chunk by chunk.

    Shows its progress on the terminal; what libraries say goes to `STORE/logs/`.

    Args:
        debug: show what libraries say instead.

    Raises:
        BottleneckError: for input that can't be used, or a table that was made otherwise.
    """
    run_id = new_run_id()
    with Screen.of_run(options.store, run_id, "extract", debug=debug) as screen:
        try:
            return _extract(options, screen, run_id)
        finally:
            _forget_begun()


def _extract(options: ExtractOptions, screen: Screen, run_id: str) -> Summary:
    store = store_path(options.store)
    if options.beam_args or options.runner != LOCAL_RUNNER:
        from pipelines.runner import make_pipeline

        make_pipeline(options.runner, list(options.beam_args))  # faults in them are told before any work
    table = _existing(store, options.features)
    options = with_reading_of(table, options)
    listing = list_images(
        table.source if table and options.data == "auto" else options.data,
        splits=options.splits,
        classes=options.classes,
    )
    _refuse_missing(listing, screen)
    started = time.monotonic()
    # A table that holds no features binds nobody: what it is made with is decided anew.
    if table is not None and table.has_rows:
        check_same(table, options, listing.source)
    if table is None or (
        not table.has_rows and (table.source != listing.source or _plan(options, listing, table).todo)
    ):
        table = _create(store, options, listing, screen)
    else:
        for notice in [*([UNTRAINED] if table.facts.untrained else []), *listing.notices]:
            screen.say(notice)
    plan = _plan(options, listing, table)
    ignored = f", {listing.ignored:,} other files ignored" if listing.ignored else ""
    changed = f", {len(plan.replaced):,} of them changed or tried again" if plan.replaced else ""
    labels = sorted({label for image in listing.images for label in image.labels})
    classes = f" of {counted(len(labels), 'class', 'classes')} ({some(labels)})" if labels else ""
    images = counted(len(listing.images), "image")
    screen.say(f"{images}{classes}{ignored}; {len(plan.todo):,} to extract{changed}")
    removed = len(plan.gone) if options.remove_gone or not table.has_rows else 0
    if removed:
        _remove(table, plan, run_id)
        table = feature_store.open(store, options.features)
        plan = _plan(options, listing, table)
    seconds = 0.0
    if plan.todo:
        _extract_chunks(plan, listing.images, table, options, screen, run_id)
        seconds = time.monotonic() - started
        table = feature_store.open(store, options.features)
        plan = make_plan(listing.images, table)
    return _summarize(listing, table, plan, run_id, seconds, removed if options.remove_gone else 0)


def _plan(options: ExtractOptions, listing: Listing, table: FeatureTable) -> Plan:
    return make_plan(listing.images, table, retry_rejected=options.retry_rejected)


def _refuse_missing(listing: Listing, screen: Screen) -> None:
    """Refuse an input that names images and has none of them: nothing stored may be lost over it."""
    if not listing.images or any(image.size is not None for image in listing.images):
        return
    for notice in listing.notices:
        screen.say(notice)
    first = some(image.uri for image in listing.images)
    mend = (
        f"relative paths count from the list's folder, {printable(os.path.dirname(listing.source))}"
        if os.path.isfile(listing.source)
        else "their links lead nowhere"
    )
    raise BottleneckError(
        f"none of the {counted(len(listing.images), 'image')} of DATA={printable(listing.source)} is there "
        f"({first}): {mend}; correct the paths, or bring the images there. Nothing was changed"
    )


def _remove(table: FeatureTable, plan: Plan, run_id: str) -> None:
    """Take the rows of images that are gone out of both tables, in one commit."""
    chunk = Chunk(f"{run_id}-remove-gone", 1, plan.version, plan.gone)
    try:
        commit_chunk(table.store, table.name, chunk, [], [], {"removed": len(plan.gone)})
    except StalePlan:
        raise BottleneckError(f"another run has just written to table {table.name!r}: run it again") from None


def _existing(store: Path, name: str) -> FeatureTable | None:
    return feature_store.open(store, name) if name in feature_store.table_names(store) else None


def _create(store: Path, options: ExtractOptions, listing: Listing, screen: Screen) -> FeatureTable:
    """Create the table; what was left to `auto` is decided here, once."""
    layers = parse_layers(options.layers)
    _begin_importing_beam()
    source = find_weights(options.weights)
    for notice in [*source.notices, *listing.notices]:
        screen.say(notice)
    engine = choose_engine(options.engine)
    screen.say(f"Preparing Inception V3 for {engine} …")
    recipe = FeatureRecipe(
        weights=source.name,
        weights_sha256=find_graph(source, engine).weights_sha256,
        exif_orientation=bool(options.exif_orientation),
    )
    precision = options.precision
    if precision == "auto":
        from features.precision import choose_precision
        from pipelines.extractor import ExtractorSettings, load_extractor, make_extractor

        def settings(tried: str) -> ExtractorSettings:
            tried_recipe = dataclasses.replace(recipe, precision=tried)
            return ExtractorSettings(source.spec, layers, engine, tried_recipe)

        precision, why = choose_precision(
            lambda: make_extractor(settings("float32")),
            lambda: load_extractor(settings("bfloat16")),
            # In the order of their extraction, as far as it begins with them all.
            [image.uri for image in listing.images if image.size is not None],
        )
        screen.say(f"precision: {precision} ({why})")
    recipe = dataclasses.replace(recipe, precision=precision)
    splits, classes = tuple((options.splits or {}).items()), options.classes
    facts = TableFacts(listing.source, source.spec, layers, recipe, splits, classes)
    return feature_store.create(store, options.features, facts)


def _chunk_size(options: ExtractOptions) -> int:
    return options.chunk_size or (LOCAL_CHUNK if options.runner == LOCAL_RUNNER else REMOTE_CHUNK)


def _first_uris(chunk: list[ImageRef]) -> list[str]:
    """Paths of the images that the extraction of a chunk begins with."""
    from pipelines.extractor import in_order

    return [image.uri for image in in_order(chunk)[:_BEGUN]]


def _forget_begun() -> None:
    """Let no later run in this process find images that this one has begun and not finished."""
    if "pipelines.extractor" in sys.modules:
        sys.modules["pipelines.extractor"].forget_begun()


def _begin_importing_beam() -> None:
    """Beam takes a second to import: on a thread, while the model is loaded and tried."""

    def import_quietly() -> None:
        with contextlib.suppress(Exception):  # it will be raised again where the module is needed
            importlib.import_module("pipelines.extraction")

    threading.Thread(target=import_quietly, daemon=True).start()


def _extract_chunks(
    plan: Plan,
    images: list[ImageRef],
    table: FeatureTable,
    options: ExtractOptions,
    screen: Screen,
    run_id: str,
) -> None:
    """Run one pipeline a chunk until nothing is left to do."""
    from pipelines.extractor import CALL_IMAGES, ExtractorSettings, load_extractor

    weights = table.facts.weights if options.weights == "auto" else find_weights(options.weights).spec
    settings = ExtractorSettings(weights, table.layers, choose_engine(options.engine), table.recipe)
    chunk_size = _chunk_size(options)
    extractor = None
    if options.runner == LOCAL_RUNNER:
        _begin_importing_beam()
        extractor = load_extractor(settings)
        if options.beam_args or chunk_size > CALL_IMAGES:
            extractor = None  # which images come first is then known to Beam alone
    if extractor is not None:
        extractor.begin(_first_uris(plan.todo[:chunk_size]))
    from pipelines.extraction import run_chunk

    with screen.progress(len(plan.todo)) as progress:
        for number in itertools.count(1):
            batch, left = plan.todo[:chunk_size], plan.todo[chunk_size:]
            replaced = plan.replaced.intersection(image.uri for image in batch)
            chunk = Chunk(run_id, number, plan.version, replaced)
            if extractor is not None:
                extractor.coming = _first_uris(left[:chunk_size])
            run_chunk(batch, table, settings, chunk, options.runner, list(options.beam_args))
            facts, table = table.facts, feature_store.open(table.store, table.name)
            if table.facts != facts:
                raise BottleneckError(f"table {table.name!r} was made anew, another way, by another run")
            committed = (table.delta.transaction_version(run_id) or 0) >= number
            if committed and table.version == plan.version + 1:
                plan = plan._replace(todo=left, version=table.version)
            else:
                if not committed and table.version == plan.version:
                    raise BottleneckError(f"chunk {number} could not be committed to table {table.name!r}")
                screen.say("Another run has written to the table meanwhile: planning again …")
                plan = make_plan(images, table, retry_rejected=options.retry_rejected)
                progress.expect(len(plan.todo))
            if not plan.todo:
                break
            _collect_garbage()


def _collect_garbage() -> None:
    """A pipeline leaves objects that refer to each other: they go with it, not when Python finds them many.

    On a thread, since a Ctrl-C that met a destructor on this one would be lost.
    """
    collecting = threading.Thread(target=gc.collect)
    collecting.start()
    collecting.join()


def _summarize(
    listing: Listing, table: FeatureTable, plan: Plan, run_id: str, seconds: float, removed: int
) -> Summary:
    """Count from the committed tables alone; `plan` is what they leave to do."""
    rejected = rejected_rows(table)
    uris = pa.array([image.uri for image in listing.images], pa.string())
    listed = rejected.filter(pc.is_in(rejected.column("uri"), uris))
    reasons = dict(collections.Counter(listed.column("reason").to_pylist()).most_common())
    new = _rows_of_run(table.metadata(["run_id"]), run_id)
    return Summary(
        table=table,
        run_id=run_id,
        seen=len(listing.images),
        stored=plan.stored,
        rejected=plan.rejected,
        unsettled=len(plan.todo),
        away=plan.away,
        left_out=listing.left_out,
        new=new,
        new_rejected=_rows_of_run(rejected, run_id),
        precisions=_precisions_of_run(table, run_id) if new else [],
        reasons=reasons,
        examples=_examples(listed, next(iter(reasons), "")),
        gone=plan.gone_stored,
        removed=removed,
        conflicts=find_conflicts(table),
        seconds=seconds,
    )


def _examples(rejected: pa.Table, reason: str) -> list[tuple[str, str, str]]:
    """The first images, by uri, that were rejected for a reason."""
    rows = rejected.filter(pc.equal(rejected.column("reason"), reason)).sort_by("uri").slice(0, _EXAMPLES)
    return [(row["uri"], row["reason"], row["detail"]) for row in rows.to_pylist()]


def _rows_of_run(rows: pa.Table, run_id: str) -> int:
    return pc.sum(pc.equal(rows.column("run_id"), run_id)).as_py() or 0


def _precisions_of_run(table: FeatureTable, run_id: str) -> list[str]:
    """From the commits' own facts: a chunk may have been computed on machines of several kinds."""
    commits = (entry for entry in table.delta.history() if entry.get("run_id") == run_id)
    return sorted({precision for commit in commits for precision in commit.get("precision_used", ())})
