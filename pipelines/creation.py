"""Making a run's feature table: what is left to `auto` is decided here, once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc

from features import store as feature_store
from features.backbones import DEFAULT_BACKBONE, get_backbone
from features.backbones.weights import find_weights
from features.engines import choose_engine
from features.engines.graphs import find_graph
from features.inputs import Listing
from features.locations import weights_to_keep
from features.recipe import FeatureRecipe
from features.store.commit import decide_anew
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from pipelines.options import ExtractOptions
from pipelines.screen import show_download


def create_table(
    store: Path,
    options: ExtractOptions,
    listing: Listing,
    empty: FeatureTable | None,
    say: Callable[[str], None],
) -> FeatureTable:
    """Create the table, or decide anew what one without features is made with.

    Args:
        empty: the table, where there is one.
        say: shows a line.

    Returns:
        The table; with other facts, where another run was faster.
    """
    backbone = get_backbone(options.backbone or DEFAULT_BACKBONE)
    layers = backbone.parse_layers(options.layers)
    source = find_weights(options.weights, backbone, show_download)
    for notice in [*source.notices, *listing.notices]:
        say(notice)
    engine = choose_engine(options.engine)
    say(f"Preparing {backbone.title} for {engine} …")
    recipe = FeatureRecipe(
        weights=source.name,
        weights_sha256=find_graph(backbone, source, engine).weights_sha256,
        exif_orientation=bool(options.exif_orientation),
        backbone=backbone.name,
    )
    precision = options.precision
    if precision == "auto":
        from features.precision import choose_precision
        from pipelines.extractor import ExtractorSettings, load_extractor, make_extractor

        float32 = ExtractorSettings(source.spec, layers, engine, recipe)
        bfloat16 = float32._replace(recipe=dataclasses.replace(recipe, precision="bfloat16"))
        there = listing.images.filter(pc.is_valid(listing.images.column("size"))).column("uri")
        precision, why = choose_precision(
            lambda: make_extractor(float32), lambda: load_extractor(bfloat16), there
        )
        say(f"precision: {precision} ({why})")
    recipe = dataclasses.replace(recipe, precision=precision)
    splits, classes = tuple((options.splits or {}).items()), options.classes
    weights, groups = weights_to_keep(store, source.spec), listing.has_groups()
    facts = TableFacts(
        listing.source, weights, layers, recipe, splits, classes, groups, given_splits=listing.has_splits()
    )
    if empty is not None:
        return decide_anew(empty, facts)
    return feature_store.create(store, options.features, facts)
