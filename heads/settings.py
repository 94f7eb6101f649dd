"""What heads are trained with, as `head.json` keeps it: whether a training would only be repeated.

The version of a table and the settings decide what a head learns. A scheduler that trains each night has
nothing to do where both are those of a head that is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heads.saved import SavedHead, newest_heads, to_json

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: Of the code that trains: raise it with any change after which the same settings give another head.
TRAINING_REVISION = 1
#: What `head.json` says of the settings of a head that was trained on pixels.
_OF_PIXELS = ("workflow", "kind", "parameters", "augmentation", "blocks", "min_images")


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
    settings = {"revision": TRAINING_REVISION, "kind": kind, "parameters": dict(parameters)}
    return json.loads(to_json({**settings, "layers": list(layers), **others}))


def settings_to_keep(
    settings: Mapping[str, Any], defaults: Mapping[str, Any], views_of_table: int
) -> dict[str, Any]:
    """Settings for `head.json`: what was given and is the default is left out, or None.

    Args:
        settings: from `training_settings`.
        defaults: of the parameters of the head.
        views_of_table: augmented views that each image of the table has: to take so many is the default.
    """
    defaults = json.loads(to_json(defaults))
    given = {name: value for name, value in settings["parameters"].items() if value != defaults[name]}
    return {**settings, "parameters": given, "views": _views(settings, views_of_table)}


def find_trained(table: FeatureTable, settings: Mapping[str, Any]) -> SavedHead | None:
    """The newest head of these settings, where it was trained on this version of the table; else None.

    Heads of older versions of this project do not know their settings: none of them is found.

    Args:
        settings: from `training_settings`.
    """
    wanted = {**settings, "views": _views(settings, table.views)}
    for saved in newest_heads(table.store, table.name):
        if _has_settings(saved, wanted):
            same = saved.is_of(table) and saved.facts["table_version"] == table.version
            return saved if same else None
    return None


def same_settings(saved: SavedHead, other: SavedHead) -> bool:
    """Whether two heads were trained with the same settings, on whatever images, by whatever code."""
    first, second = (_comparable(head) for head in (saved, other))
    return first is not None and first == second


def _views(settings: Mapping[str, Any], views_of_table: int) -> int | None:
    return None if settings["views"] == views_of_table else settings["views"]


def _has_settings(saved: SavedHead, wanted: Mapping[str, Any]) -> bool:
    """Whether a head has these settings: parameters that were not given count as their defaults."""
    kept = saved.facts.get("settings")
    if kept is None or {**kept, "parameters": None} != {**wanted, "parameters": None}:
        return False
    given, used = wanted["parameters"], saved.facts["parameters"]
    return kept["parameters"].keys() <= given.keys() and all(
        name in used and used[name] == value for name, value in given.items()
    )


def _comparable(saved: SavedHead) -> dict[str, Any] | None:
    """The settings of a head; None where it does not say."""
    facts = saved.facts
    if "settings" in facts:
        return {name: value for name, value in facts["settings"].items() if name != "revision"}
    if facts.get("workflow") is None:
        return None
    return {"layers": saved.layers, **{name: facts.get(name) for name in _OF_PIXELS}}
