"""What heads are trained with, as `head.json` keeps it: whether a training would only be repeated.

The version of a table and the settings decide what a head learns. A scheduler that trains each night has
nothing to do where both are those of a head that is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from features import files
from features.locations import heads_path
from heads.saved import FACTS_FILE, SavedHead, read_facts, to_json

if TYPE_CHECKING:
    from features.store.table import FeatureTable


def training_settings(
    kind: str, parameters: Mapping[str, Any], layers: Sequence[str], **others: Any
) -> dict[str, Any]:
    """What `heads.train_head` was asked for, as JSON holds it.

    Args:
        kind: of the head.
        parameters: of the head, those that were given.
        layers: feature columns, in their order.
        **others: `min_images`, `folds` and so on, given or not.
    """
    settings = {"kind": kind, "parameters": dict(parameters), "layers": list(layers), **others}
    return json.loads(to_json(settings))


def find_trained(table: FeatureTable, settings: Mapping[str, Any]) -> SavedHead | None:
    """The newest head of these settings, where it was trained on this version of the table; else None.

    Heads of older versions of this project do not know their settings: none of them is found.

    Args:
        settings: from `training_settings`.
    """
    folder = heads_path(table.store, table.name)
    for name in reversed(files.names(folder)):  # which begin with the time
        if not files.is_file(folder / name / FACTS_FILE):
            continue
        facts = read_facts(folder / name)
        if facts.get("settings") == settings:
            saved = SavedHead(folder / name, facts)
            return saved if saved.is_of(table) and facts["table_version"] == table.version else None
    return None
