"""The driver of an extraction: list, plan, run one pipeline over the slices of the plan, count.

Listing and planning import neither Beam nor TensorFlow, so a run that finds nothing to do ends at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from features import files
from features import store as feature_store
from features.backbones.weights import UNTRAINED, find_weights
from features.engines import choose_engine
from features.errors import InputShrunk
from features.inputs import Listing, list_images
from features.locations import local_path, store_path
from features.splits import parse_splits
from features.store.commit import Change, check_basis, commit, open_planned
from features.store.table import FeatureTable
from features.text import counted, printable, some
from pipelines.agreement import check_same, choose_views, with_reading_of
from pipelines.creation import create_table
from pipelines.local import LOCAL_RUNNER, import_pipeline
from pipelines.missing import check_lost, check_shrunk, check_there, nothing_lost
from pipelines.moving import move_data, remove_moved
from pipelines.options import ExtractOptions
from pipelines.planning import Plan, make_plan
from pipelines.runs import (
    Header,
    Run,
    attempts_of_dead_runs,
    dead_runs,
    living_runs,
    remove_old_runs,
    wait_for_turn,
)
from pipelines.screen import Screen, new_run_id, show_download
from pipelines.summary import Summary, summarize
from pipelines.wording import table_name


def extract(options: ExtractOptions, *, debug: bool = False, quiet: bool = False) -> Summary:
    """Extract the features of every listed image that is new or changed, and commit them slice by slice.

    Shows its progress on the terminal; what libraries say goes to `STORE/logs/`.

    Args:
        debug: show what libraries say instead.
        quiet: show no line but the progress of the images.

    Raises:
        BottleneckError: for input that can't be used, or a table that was made otherwise.
    """
    for name in (options.data, options.weights):
        local_path(name)  # refuses what is remote, before anything is made
    run_id = new_run_id()
    options = options.replace(features=table_name(options), splits=parse_splits(options.splits))
    with Screen.of_run(options, run_id, debug=debug) as screen:
        _check_runner(options)
        run = Run(store_path(options.store), run_id)
        remove_old_runs(run.store)
        with run.kept_alive(options.features, local=options.runner == LOCAL_RUNNER):
            return _settle_all(options, run, screen, _nobody if quiet else screen.say_once)


def _nobody(_: str) -> None:
    """Shows no line."""


def _settle_all(options: ExtractOptions, run: Run, screen: Screen, say: Callable[[str], None]) -> Summary:
    """Plan until it is this run's turn, then do what is planned."""
    while True:
        others: list[Run] = []
        if options.if_running == "wait":
            wait_for_turn(run, options.features, say)
        else:
            others = run.ahead(living_runs(run.store, options.features))
        left_to = {other.run_id: other.uris() for other in others if other.header()}
        listing, table = _list(run, options, others, say)
        table, views = choose_views(table, options, others)
        started = time.monotonic()
        plan = _make_plan(listing, table, options, views, left_to.values())
        check_shrunk(plan, options)
        say(_intention(listing, plan))
        left_out = listing.left_out
        del listing  # a million images take 0.1 GB
        if plan.todo:
            made = table.augmentation.to_dict() if views and table.augmentation else None
            header = Header(table.name, plan.basis, views, made)
            run.write_plan(header, plan.slices(options.chunk_size))
        plan.close()
        ahead = run.ahead(living_runs(run.store, options.features)) if plan.todo else []
        if left_to.keys() >= {other.run_id for other in ahead}:
            break
        run.withdraw()  # another run had planned while this one did: its images are left to it
    # As it was planned: what holds nothing binds nobody, and what another run is moving is not gone.
    removes = (options.remove_gone or not table.has_rows) and not plan.left
    if plan.todo:
        _run_pipeline(run, table, plan, options, screen)
        table = open_planned(run.store, options.features)
        check_basis(table, plan.basis)
    missing = remove_moved(plan, run, dead_runs(table))
    if len(missing) and removes:
        check_lost(missing, plan, options)
        change = Change(f"{run.run_id}/remove-gone", run.run_id, plan.basis, missing)
        commit(table.store, table.name, change, {"removed": len(missing)})
    table = feature_store.open(run.store, options.features)
    for dead in dead_runs(table):  # what they had planned is done
        dead.remove()
    seconds = time.monotonic() - started
    return summarize(
        table,
        plan,
        run,
        left_out=left_out,
        removed=len(missing) if removes and options.remove_gone else 0,
        missing=missing.slice(0, 0) if removes else missing,
        seconds=seconds,
    )


def _check_runner(options: ExtractOptions) -> None:
    """Tell faults in Beam's flags before any work."""
    if options.beam_args or options.runner != LOCAL_RUNNER:
        from pipelines.runner import make_pipeline

        make_pipeline(options.runner, list(options.beam_args))


def _list(
    run: Run, options: ExtractOptions, others: Sequence[Run], say: Callable[[str], None]
) -> tuple[Listing, FeatureTable]:
    """The input, and the table that is to hold it, made where there is none; `others` are at work on that."""
    store, name = run.store, options.features
    table = feature_store.open(store, name) if name in feature_store.table_names(store) else None
    options = with_reading_of(table, options)
    check_there(table, options)
    with nothing_lost(table):
        listing = list_images(
            table.source if table and options.data == "auto" else options.data,
            splits=options.splits,
            classes=options.classes,
            progress=show_download,
        )
    _refuse_missing(listing, say)
    if options.data_moved_from is not None:
        table = move_data(table, listing, options, run)
    # A table that holds no features binds nobody: what it is made with is decided anew, where there is work.
    binding = table is not None and bool(table.has_rows or others)
    if table is None or (
        not binding and (table.source != listing.source or _make_plan(listing, table, options, 0, ()).todo)
    ):
        table, binding = create_table(store, options, listing, table, say), True
    else:
        for notice in [*([UNTRAINED] if table.facts.untrained else []), *listing.notices]:
            say(notice)
    if binding:
        check_same(table, options, listing.source, groups=listing.has_groups())
    return listing, table


def _refuse_missing(listing: Listing, say: Callable[[str], None]) -> None:
    """Refuse an input that names images and has none of them: nothing stored may be lost over it."""
    images = listing.images
    if not len(images) or images.column("size").null_count < len(images):
        return
    for notice in listing.notices:
        say(notice)
    first = some(images.column("uri").to_pylist())
    mend = "their links lead nowhere"
    if files.is_file(listing.source):
        mend = f"relative paths count from the list's folder, {printable(os.path.dirname(listing.source))}"
    raise InputShrunk(
        f"none of the {counted(len(images), 'image')} of `data={printable(listing.source)}` is there "
        f"({first}): {mend}; correct the paths, or bring the images there. Nothing was changed"
    )


def _make_plan(
    listing: Listing,
    table: FeatureTable,
    options: ExtractOptions,
    views: int,
    left_to: Iterable[pa.ChunkedArray],
) -> Plan:
    uris = [chunk for uris in left_to for chunk in uris.chunks]
    return make_plan(
        listing.images,
        table,
        views=views,
        retry_rejected=options.retry_rejected,
        redo_decoding=options.redo_decoding,
        attempts=attempts_of_dead_runs(table),
        left_to_others=pa.chunked_array(uris, pa.string()),
    )


def _intention(listing: Listing, plan: Plan) -> str:
    """What the input holds, and what of it is not as it is stored, in a line."""
    labels = listing.labels()
    ignored = f", {counted(listing.ignored, 'other file')} ignored" if listing.ignored else ""
    classes = f" of {counted(len(labels), 'class', 'classes')} ({some(labels)})" if labels else ""
    images = counted(len(listing.images), "image")
    moved = min(plan.moved, plan.todo - plan.replaced)
    counts = {
        "new": plan.todo - plan.replaced - moved,
        "new or moved": moved,
        "changed, short of views, or tried again": plan.replaced,
        "left to another run": plan.left,
    }
    work = [f"{count:,} {what}" for what, count in counts.items() if count]
    return f"{images}{classes}{ignored}; {', '.join(work) or 'nothing is new or changed'}"


def _run_pipeline(run: Run, table: FeatureTable, plan: Plan, options: ExtractOptions, screen: Screen) -> None:
    from pipelines.extractor import ExtractorSettings

    weights = table.weights
    if options.weights != "auto":
        weights = find_weights(options.weights, table.backbone, show_download).spec
    settings = ExtractorSettings(weights, table.layers, choose_engine(options.engine), table.recipe)
    extraction = import_pipeline(settings, options.runner)
    with screen.progress(plan.todo):
        extraction.run_pipeline(run, table, settings, options.runner, list(options.beam_args))
