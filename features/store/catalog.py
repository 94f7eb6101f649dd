"""The tables of a store, by name: list, open and create them."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from features import files
from features.backbones import DEFAULT_BACKBONE
from features.errors import BottleneckError
from features.locations import features_path, rejected_path, store_path
from features.store.log import open_delta
from features.store.schema import REJECTED_SCHEMA, TableFacts
from features.store.table import FACTS_KEY, FeatureTable
from features.text import printable

#: Delta would forget versions, and with them the run log, after 30 days.
_KEEP_EVERYTHING = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
}


def table_names(store: str | Path) -> list[str]:
    """Names of the feature tables in a store, sorted."""
    folder = store_path(store) / "features"
    return [name for name in files.names(folder) if files.is_folder(folder / name / "_delta_log")]


def open(
    store: str | Path = "store", features: str = DEFAULT_BACKBONE, *, version: int | None = None
) -> FeatureTable:
    """Open a feature table for reading.

    Args:
        store: folder of the store.
        features: name of the table.
        version: an older version of it; the newest by default.

    Raises:
        BottleneckError: where there is no such table or version.
    """
    store = store_path(store)
    path = features_path(store, features)
    if features not in (names := table_names(store)):
        hint = f"it has {', '.join(names)} (`features=NAME`)" if names else "extract features first"
        raise BottleneckError(f"there are no features named {features!r} in {store}: {hint}")
    newest = open_delta(path)
    if version is None or version == newest.version():
        return FeatureTable(store, features, newest)
    if not 0 <= version <= newest.version():
        raise BottleneckError(
            f"table {features!r} has versions 0 to {newest.version()}, and {version} was asked for"
        )
    return FeatureTable(store, features, open_delta(path, version))


def check_table_name(features: str) -> None:
    """Refuse a name that no table can have, nor the heads that are kept under it.

    Raises:
        BottleneckError: for a name that is not a plain folder name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,127}", features):
        raise BottleneckError(
            f"{features!r} can't name a table: use up to 128 letters, digits, '_', '-' and '.', a letter or "
            "digit first"
        )


def create(store: str | Path, features: str, facts: TableFacts) -> FeatureTable:
    """Create an empty feature table and the table of rejected images beside it.

    Of two that create one at once, one does; the other gets what that has made, as for a table that exists:
    its facts may differ.

    Raises:
        BottleneckError: for a name that is not a plain folder name.
    """
    store = store_path(store)
    check_table_name(features)
    if re.search(r"%[0-9A-Fa-f]{2}|[\[\]\x00-\x1f]", str(store)):
        raise BottleneckError(
            f"`store={printable(store)}`: Delta Lake can't keep a table under a path with %, [, ] or control "
            "characters"
        )
    # Rejections first: whoever finds the features finds both.
    _create_if_absent(rejected_path(store, features), REJECTED_SCHEMA, _KEEP_EVERYTHING)
    configuration = {FACTS_KEY: facts.to_json(), **_KEEP_EVERYTHING}
    _create_if_absent(features_path(store, features), facts.schema, configuration)
    return FeatureTable(store, features, open_delta(features_path(store, features)))


def _create_if_absent(path: Path, schema: pa.Schema, configuration: dict[str, str]) -> None:
    try:
        DeltaTable.create(
            files.delta_uri(path),
            schema,
            mode="error",
            configuration=configuration,
            raise_if_key_not_exists=False,
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    except DeltaError:
        if not DeltaTable.is_deltatable(files.delta_uri(path)):
            raise
