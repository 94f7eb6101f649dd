"""The driver of an extraction: list, plan, run one pipeline over the slices of the plan, count.

Listing and planning import neither Beam nor TensorFlow, so a run that finds nothing to do ends at once.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from features import store as feature_store
from features.commit import Change, check_basis, commit
from features.engines import choose_engine
from features.errors import BottleneckError
from features.inputs import Listing, list_images
from features.locations import store_path
from features.table import FeatureTable
from features.text import counted, printable, some
from features.weights import UNTRAINED, find_weights
from pipelines.agreement import check_same, with_reading_of
from pipelines.creation import create_table
from pipelines.options import LOCAL_RUNNER, ExtractOptions
from pipelines.planning import Plan, make_plan
from pipelines.runs import (
    Header,
    Run,
    attempts_of_dead_runs,
    living_runs,
    remove_dead_runs,
    remove_old_runs,
    wait_for,
)
from pipelines.screen import Screen, new_run_id
from pipelines.summary import Summary, summarize


def extract(options: ExtractOptions, *, debug: bool = False) -> Summary:
    """Extract the features of every listed image that is new or changed, and commit them slice by slice.

    Shows its progress on the terminal; what libraries say goes to `STORE/logs/`.

    Args:
        debug: show what libraries say instead.

    Raises:
        BottleneckError: for input that can't be used, or a table that was made otherwise.
    """
    run_id = new_run_id()
    with Screen.of_run(options.store, run_id, "extract", debug=debug) as screen:
        return _extract(options, screen, run_id)


def _extract(options: ExtractOptions, screen: Screen, run_id: str) -> Summary:
    store = store_path(options.store)
    _check_runner(options)
    remove_old_runs(store)
    run, say = Run(store, run_id), screen.say_once
    left_to: Sequence[Run] = ()
    while True:
        if options.if_running == "wait":
            wait_for(living_runs(store, options.features), say)
        listing, table = _list(store, options, say)
        started = time.monotonic()
        table, plan, removed = _plan(listing, table, options, run, left_to)
        say(_intention(listing, plan))
        left_out = listing.left_out
        del listing  # a million images take 0.1 GB
        if not plan.todo:
            remove_dead_runs(table)
            return summarize(table, plan, run, left_out=left_out, removed=removed)
        with run.kept_alive(local=options.runner == LOCAL_RUNNER):
            run.write_plan(Header(table.name, plan.basis), plan.slices(options.chunk_size))
            plan.close()
            ahead = run.planned_before(living_runs(store, options.features))
            if {other.run_id for other in ahead} <= {other.run_id for other in left_to}:
                _run_pipeline(run, table, plan, options, screen)
                table = feature_store.open(store, options.features)
                check_basis(table, plan.basis)
                remove_dead_runs(table)
                seconds = time.monotonic() - started
                return summarize(table, plan, run, left_out=left_out, removed=removed, seconds=seconds)
        # Another run had planned while this one did: it goes first, or does what it has planned.
        left_to = ahead if options.if_running == "skip" else []


def _check_runner(options: ExtractOptions) -> None:
    """Tell faults in Beam's flags before any work."""
    if options.beam_args or options.runner != LOCAL_RUNNER:
        from pipelines.runner import make_pipeline

        make_pipeline(options.runner, list(options.beam_args))


def _list(store: Path, options: ExtractOptions, say: Callable[[str], None]) -> tuple[Listing, FeatureTable]:
    """The input, and the table that is to hold it, made where there is none."""
    name = options.features
    table = feature_store.open(store, name) if name in feature_store.table_names(store) else None
    options = with_reading_of(table, options)
    listing = list_images(
        table.source if table and options.data == "auto" else options.data,
        splits=options.splits,
        classes=options.classes,
    )
    _refuse_missing(listing, say)
    # A table that holds no features binds nobody: what it is made with is decided anew, where there is work.
    if table is None or (
        not table.has_rows and (table.source != listing.source or _make_plan(listing, table, options).todo)
    ):
        table = create_table(store, options, listing, table, say)
    else:
        for notice in [*([UNTRAINED] if table.facts.untrained else []), *listing.notices]:
            say(notice)
    if table.has_rows:
        check_same(table, options, listing.source)
    return listing, table


def _refuse_missing(listing: Listing, say: Callable[[str], None]) -> None:
    """Refuse an input that names images and has none of them: nothing stored may be lost over it."""
    images = listing.images
    if not len(images) or images.column("size").null_count < len(images):
        return
    for notice in listing.notices:
        say(notice)
    first = some(images.column("uri").to_pylist())
    mend = (
        f"relative paths count from the list's folder, {printable(os.path.dirname(listing.source))}"
        if os.path.isfile(listing.source)
        else "their links lead nowhere"
    )
    raise BottleneckError(
        f"none of the {counted(len(images), 'image')} of DATA={printable(listing.source)} is there "
        f"({first}): {mend}; correct the paths, or bring the images there. Nothing was changed"
    )


def _plan(
    listing: Listing, table: FeatureTable, options: ExtractOptions, run: Run, left_to: Sequence[Run]
) -> tuple[FeatureTable, Plan, int]:
    """What there is to do, once images that are gone are removed where that is asked for; how many were."""
    plan = _make_plan(listing, table, options, left_to)
    if not len(plan.gone) or not (options.remove_gone or not table.has_rows):
        return table, plan, 0
    change = Change(f"{run.run_id}/remove-gone-{table.version}", run.run_id, plan.basis, plan.gone)
    commit(table.store, table.name, change, {"removed": len(plan.gone)})
    removed = len(plan.gone) if options.remove_gone else 0
    table = feature_store.open(table.store, table.name)
    return table, _make_plan(listing, table, options, left_to), removed


def _make_plan(
    listing: Listing, table: FeatureTable, options: ExtractOptions, left_to: Sequence[Run] = ()
) -> Plan:
    uris = [chunk for run in left_to for chunk in run.uris().chunks]
    return make_plan(
        listing.images,
        table,
        retry_rejected=options.retry_rejected,
        attempts=attempts_of_dead_runs(table),
        left_to_others=pa.chunked_array(uris, pa.string()),
    )


def _intention(listing: Listing, plan: Plan) -> str:
    """What was found, and what is to be done, in a line."""
    labels = listing.labels()
    ignored = f", {listing.ignored:,} other files ignored" if listing.ignored else ""
    changed = f", {plan.replaced:,} of them changed or tried again" if plan.replaced else ""
    left = f", {plan.left:,} left to another run" if plan.left else ""
    classes = f" of {counted(len(labels), 'class', 'classes')} ({some(labels)})" if labels else ""
    images = counted(len(listing.images), "image")
    return f"{images}{classes}{ignored}; {plan.todo:,} to extract{changed}{left}"


def _run_pipeline(run: Run, table: FeatureTable, plan: Plan, options: ExtractOptions, screen: Screen) -> None:
    from pipelines.extractor import ExtractorSettings, load_extractor

    weights = table.facts.weights if options.weights == "auto" else find_weights(options.weights).spec
    settings = ExtractorSettings(weights, table.layers, choose_engine(options.engine), table.recipe)
    with ThreadPoolExecutor(1) as aside:  # Beam takes a second to import: meanwhile the network is loaded
        importing = aside.submit(importlib.import_module, "pipelines.extraction")
        if options.runner == LOCAL_RUNNER:
            load_extractor(settings)
        extraction = importing.result()
    with screen.progress(plan.todo):
        extraction.run_pipeline(run, table, settings, options.runner, list(options.beam_args))
