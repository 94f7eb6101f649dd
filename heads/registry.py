"""Where heads live: `STORE/heads/<table>/<id>/`, and `current.json` beside them names the current one.

A head appears whole or not at all: it is written under a hidden name and renamed. `list_heads` reads
`head.json` alone; `load_head` loads the model too.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features import files
from features.errors import BottleneckError
from features.locations import heads_path, store_path
from features.recipe import Column, FeatureRecipe, check_column
from heads.base import FACTS_FILE, Head, read_facts
from heads.dense import DenseHead
from heads.logistic import LogisticHead

if TYPE_CHECKING:
    from features.store.table import FeatureTable

HEADS: dict[str, type[Head]] = {head.kind: head for head in (LogisticHead, DenseHead)}


@dataclasses.dataclass(frozen=True)
class SavedHead:
    """A head in the store.

    Attributes:
        directory: its folder.
        facts: what `head.json` says.
    """

    directory: Path
    facts: dict[str, Any]

    @property
    def id(self) -> str:
        return self.facts["id"]

    @property
    def column(self) -> Column:
        """The feature column that it was trained on."""
        (column,) = self.facts["columns"]
        return Column(FeatureRecipe.from_dict(column["recipe"]), column["layer"])

    @cached_property
    def head(self) -> Head:
        """The model, loaded when first asked for."""
        return head_class(self.facts["kind"]).load(self.directory)

    def check(self, features: FeatureTable | Column) -> str | None:
        """Refuse features that were made another way than those this head was trained on.

        Args:
            features: a table, or one column of it.

        Returns:
            None, or a notice where they differ in precision alone.

        Raises:
            BottleneckError: where they differ in anything else, or the table has no such layer.
        """
        column = features if isinstance(features, Column) else features.column(self.column.layer)
        return check_column(self.column, column, user=f"head {self.id}")


def head_class(kind: str) -> type[Head]:
    """The class of a kind of head.

    Raises:
        BottleneckError: for an unknown kind; the message lists the known ones.
    """
    if kind not in HEADS:
        raise BottleneckError(f"there is no head of kind {kind!r}: choose from {', '.join(HEADS)}")
    return HEADS[kind]


def save_head(store: Path, features: str, head: Head, facts: dict[str, Any]) -> SavedHead:
    """Keep a trained head and make it the current one.

    Args:
        store: folder of the store.
        features: name of the table it was trained from.
        facts: for `head.json`; `id` and `created_at` are added.
    """
    folder = heads_path(store, features)
    now = datetime.datetime.now(datetime.UTC)
    head_id = f"{now:%Y%m%d-%H%M%S}-{head.kind}-{secrets.token_hex(2)}"
    with files.filling(folder / head_id) as directory:
        head.save(directory, {"id": head_id, "created_at": now.isoformat(), **facts})
    files.write(folder / "current.json", json.dumps({"id": head_id}) + "\n")
    return SavedHead(folder / head_id, read_facts(folder / head_id))


def load_head(
    store: str | Path = "store", features: str = "inception_v3", id: str | None = None
) -> SavedHead:
    """Find a head.

    Args:
        store: folder of the store.
        features: name of the table it was trained from.
        id: the head's id; by default the current one.

    Raises:
        BottleneckError: where there is no head, or none of this id.
    """
    folder = heads_path(store, features)
    head_id = id or current_head(store, features)
    if head_id is None:
        raise BottleneckError(
            f"there is no head for table {features!r} in {store_path(store)}: train a head first"
        )
    if not files.is_file(folder / head_id / FACTS_FILE):
        known = ", ".join(facts["id"] for facts in list_heads(store, features)) or "none"
        raise BottleneckError(f"there is no head {head_id!r} in {folder}, which has: {known}")
    return SavedHead(folder / head_id, read_facts(folder / head_id))


def list_heads(store: str | Path = "store", features: str = "inception_v3") -> list[dict[str, Any]]:
    """The facts of a table's heads, oldest first; no model is loaded."""
    folder = heads_path(store, features)
    ids = [name for name in files.names(folder) if files.is_file(folder / name / FACTS_FILE)]
    heads = [read_facts(folder / head_id) for head_id in ids]
    return sorted(heads, key=lambda facts: (facts["created_at"], facts["id"]))


def current_head(store: str | Path = "store", features: str = "inception_v3") -> str | None:
    """Id of a table's current head, or None where there is none yet."""
    path = heads_path(store, features) / "current.json"
    return json.loads(files.read(path))["id"] if files.is_file(path) else None
