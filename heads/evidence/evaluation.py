"""`evaluation.json`: the evidence on a head, kept in its folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from features import files
from features.errors import BottleneckError
from heads.evidence.answers import made_here
from heads.evidence.subject import Settings
from heads.saved import SavedHead, list_heads, to_json

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: Number of its form; a file of another is made anew.
FORMAT = 1
#: Beside `head.json`.
EVALUATION_FILE = "evaluation.json"


def write_evaluation(saved: SavedHead, evaluation: Mapping[str, Any]) -> Path:
    """Keep the evidence on a head beside it, in the place of older evidence."""
    path = saved.directory / EVALUATION_FILE
    files.write(path, to_json(evaluation))
    return path


def read_evaluation(saved: SavedHead) -> dict[str, Any] | None:
    """The evidence that is kept of a head; None for none, or of another form.

    Raises:
        BottleneckError: for a file that is not JSON.
    """
    path = saved.directory / EVALUATION_FILE
    if not files.is_file(path):
        return None
    try:
        evaluation = json.loads(files.read(path))
    except ValueError as error:
        raise BottleneckError(f"{path} is not JSON ({error}): remove it, and evaluate again") from error
    known = isinstance(evaluation, dict) and evaluation.get("format") == FORMAT
    return evaluation if known and {"table", "heads", "settings", "transfer"} <= evaluation.keys() else None


def is_current(
    evaluation: Mapping[str, Any], saved: SavedHead, table: FeatureTable, settings: Settings
) -> bool:
    """Whether evidence would be the same if it were gathered again: the same table, heads and settings."""
    of_table, transfer = evaluation["table"], evaluation["transfer"] or {"sources": []}
    compared = any(source["id"] == "random" for source in transfer["sources"])
    return (
        (of_table["id"], of_table["version"]) == (str(table.delta.metadata().id), table.version)
        and evaluation["heads"] == head_ids(saved)
        and evaluation["settings"] == dataclasses.asdict(settings)
        and (compared or not transfer["sources"] or not settings.random_features or of_table["untrained"])
    )


def head_ids(saved: SavedHead) -> list[str]:
    """All heads that are kept under the name of its table, which are compared with it."""
    return [facts["id"] for facts in list_heads(saved.store, saved.directory.parent.name)]


def head_facts(saved: SavedHead) -> dict[str, Any]:
    """What `evaluation.json` says of the head."""
    facts, training = saved.facts, saved.facts["training"] or {}
    chosen = [name for name, value in facts["parameters"].items() if value is None and name in training]
    return {
        **{name: facts[name] for name in ("id", "kind", "created_at", "parameters", "seed")},
        "chosen": {name: training[name] for name in chosen},
        "layers": list(saved.layers),
        "workflow": facts.get("workflow"),
        "table_version": facts["table_version"],
        "weights": facts.get("weights"),
    }


def table_facts(table: FeatureTable, images: int) -> dict[str, Any]:
    """What it says of the table.

    Args:
        images: that have a label which the head knows.
    """
    times = table.metadata(["extracted_at"]).column("extracted_at")
    return {
        "name": table.name,
        "id": str(table.delta.metadata().id),
        "version": table.version,
        "source": table.source,
        "layers": list(table.layers),
        "recipe": str(table.recipe),
        "untrained": table.facts.untrained,
        "tuned": made_here(table),
        "images": images,
        "extracted_at": pc.max(times).as_py().isoformat(timespec="seconds"),
    }
