"""Where heads live: `STORE/heads/<table>/<id>/`; `heads.current` says which one is the current one.

A head appears whole or not at all: it is written under a hidden name and renamed. `list_heads` reads
`head.json` alone; the model of a `SavedHead` is loaded when it is first asked for.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
import importlib.metadata
import io
import itertools
import json
import math
import platform
import re
import secrets
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from deltalake.exceptions import DeltaError

from features import files
from features import store as feature_store
from features.backbones import DEFAULT_BACKBONE
from features.errors import BottleneckError
from features.locations import heads_path, kept_weights, store_path
from features.recipe import Column, FeatureRecipe, check_column
from features.text import some
from heads.current import current_head, make_current
from heads.metrics import evaluate_split
from heads.registry import new_head

if TYPE_CHECKING:
    from features.store.table import FeatureTable
    from heads.base import Head

#: Heads named in a message.
_SHOWN = 5
#: Letters of an id that are the time, up to the second.
_TIME = len("20261126-224402")
#: The file beside the model that says what it is.
FACTS_FILE = "head.json"
#: The file beside it with the figures of each step of training.
LOG_FILE = "log.csv"


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
    def columns(self) -> tuple[Column, ...]:
        """The feature columns that it was trained on, side by side."""
        return tuple(
            Column(FeatureRecipe.from_dict(column["recipe"]), column["layer"])
            for column in self.facts["columns"]
        )

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(column.layer for column in self.columns)

    @property
    def store(self) -> Path:
        """Folder of the store that it is in."""
        return self.directory.parents[2]

    @property
    def weights(self) -> str:
        """Where the weights of its backbone are to be found now: `imagenet`, `random` or an absolute path.

        Heads of older versions do not say: theirs are those of the table that they are kept under.
        """
        if "weights" in self.facts:
            return kept_weights(self.store, self.facts["weights"])
        table = self.directory.parent.name
        if table in feature_store.table_names(self.store):
            return feature_store.open(self.store, table).weights
        return self.columns[0].recipe.weights

    @cached_property
    def head(self) -> Head:
        """The model, loaded when first asked for."""
        head = new_head(self.facts["kind"], self.facts["parameters"])
        head.classes_ = np.array(self.facts["labels"])
        head.n_features_in_ = self.facts["width"]
        head.multi_label_ = self.facts.get("multi_label", False)
        if head.multi_label_:
            head.thresholds_ = np.array(self.facts["thresholds"])
        head.training_ = None
        path = self.directory / head.model_file
        try:
            head.load_model(path)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise BottleneckError(f"{path} can't be loaded, the model of head {self.id}: {error}") from error
        return head

    def check(self, features: FeatureTable | Sequence[Column]) -> str | None:
        """Refuse features that were made another way than those this head was trained on.

        Args:
            features: a table, or columns in the order of this head's.

        Returns:
            None, or a notice where they differ in precision alone.

        Raises:
            BottleneckError: where they differ in anything else, or the table has no such layers.
        """
        given = features if isinstance(features, Sequence) else features.columns(self.layers)
        pairs = zip(self.columns, given, strict=True)
        notices = [check_column(expected, column, user=f"head {self.id}") for expected, column in pairs]
        return next(filter(None, notices), None)

    def is_of(self, table: FeatureTable) -> bool:
        """Whether a table is the one of its name that this head was trained on, and was not made anew since.

        Heads of older versions, and those that were trained on images, do not know: they may be.
        """
        table_id = str(table.delta.metadata().id)
        return self.facts.get("table_id", table_id) == table_id

    def rows_then(self, table: FeatureTable, columns: Sequence[str]) -> pa.Table | None:
        """The rows of a table as they were when this head was trained.

        Args:
            table: any version of the table that the head is kept under.
            columns: as of `FeatureTable.metadata`.

        Returns:
            None for a head that was trained on images, and on no version of the table.

        Raises:
            BottleneckError: where the table was made anew since, or the version can't be read any more.
        """
        version = self.facts["table_version"]
        if not self.is_of(table):
            raise BottleneckError(
                f"head {self.id} was trained on another table of the name {table.name!r}, which was made "
                f"anew: images may be in other splits now"
            )
        if version is None:
            return None
        try:
            return feature_store.open(table.store, table.name, version=version).metadata(columns)
        except (OSError, DeltaError, pa.ArrowException) as error:
            raise BottleneckError(
                f"version {version} of table {table.name!r}, which head {self.id} was trained on, can't be "
                f"read: {error}"
            ) from error

    def evaluate(self, table: FeatureTable, split: str = "test") -> dict[str, Any]:
        """Measure this head on a split; see `heads.metrics.evaluate_split`.

        Raises:
            BottleneckError: for features that were made another way than those it was trained on, too.
        """
        self.check(table)
        return evaluate_split(self.head, self.facts, table, split)


def read_facts(directory: Path) -> dict[str, Any]:
    """The contents of a head's `head.json`."""
    path = directory / FACTS_FILE
    try:
        facts = json.loads(files.read(path))
    except ValueError as error:
        raise BottleneckError(f"{path} is not JSON ({error}): remove the folder of this head") from error
    if not isinstance(facts, dict) or not {"id", "created_at"} <= facts.keys():
        raise BottleneckError(f"{path} does not say what head it is of: remove the folder of this head")
    return facts


def new_id(what: str) -> str:
    """An id for a head, which says when it was made and what it is."""
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}-{what}-{secrets.token_hex(2)}"


def save_head(
    store: Path,
    features: str,
    head: Head,
    facts: dict[str, Any],
    log: Sequence[Mapping[str, float]] = (),
    id: str | None = None,
    *,
    current: bool = True,
) -> SavedHead:
    """Keep a trained head and make it the current one, unless that is decided later.

    Args:
        store: folder of the store.
        features: name of the table it was trained from.
        facts: for `head.json`; `id` and `created_at` are added.
        log: the figures of each step of training, by name, for `log.csv`; without any there is none.
        id: from `new_id`; a new one by default.
        current: whether it becomes the current one at once; `heads.promotion` decides it otherwise.
    """
    folder = heads_path(store, features)
    head_id, now = id or new_id(head.kind), datetime.datetime.now(datetime.UTC)
    facts = {"id": head_id, "created_at": now.isoformat(), **facts, **_facts(head)}
    with files.filling(folder / head_id) as directory:
        head.save_model(directory / head.model_file)
        files.write(directory / FACTS_FILE, to_json(facts))
        if log:
            files.write(directory / LOG_FILE, _to_csv(log))
    if current:
        make_current(store, features, head_id)
    return SavedHead(folder / head_id, read_facts(folder / head_id))


def load_head(
    store: str | Path = "store", features: str = DEFAULT_BACKBONE, id: str | None = None
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
        others = [name for name in files.names(folder.parent) if current_head(store, name)]
        hint = f"it has heads for {', '.join(others)} (`features=NAME`)" if others else "train a head first"
        raise BottleneckError(f"there is no head for table {features!r} in {store_path(store)}: {hint}")
    if not files.is_file(folder / head_id / FACTS_FILE):
        newest_first = [facts["id"] for facts in reversed(list_heads(store, features))]
        known = some(newest_first, shown=_SHOWN) or "none"
        raise BottleneckError(f"there is no head {head_id!r} in {folder}, which has: {known}")
    return SavedHead(folder / head_id, read_facts(folder / head_id))


def list_heads(store: str | Path = "store", features: str = DEFAULT_BACKBONE) -> list[dict[str, Any]]:
    """The facts of a table's heads, oldest first; no model is loaded."""
    folder = heads_path(store, features)
    ids = [name for name in files.names(folder) if files.is_file(folder / name / FACTS_FILE)]
    heads = [read_facts(folder / head_id) for head_id in ids]
    return sorted(heads, key=_by_age)


def newest_heads(store: str | Path, features: str) -> Iterator[SavedHead]:
    """A table's heads, newest first, read as they are asked for; damaged ones are passed over."""
    folder = heads_path(store, features)
    newest_first = reversed(files.names(folder))
    for _, ids in itertools.groupby(newest_first, key=lambda name: name[:_TIME]):
        heads = []
        for head_id in ids:
            if files.is_file(folder / head_id / FACTS_FILE):
                with contextlib.suppress(BottleneckError):
                    heads.append(SavedHead(folder / head_id, read_facts(folder / head_id)))
        yield from sorted(heads, key=lambda saved: _by_age(saved.facts), reverse=True)


def _by_age(facts: Mapping[str, Any]) -> tuple[str, str]:
    return facts["created_at"], facts["id"]


def _facts(head: Head) -> dict[str, Any]:
    """What `head.json` says of the head itself."""
    parameters = head.get_params()
    return {
        "kind": head.kind,
        "multi_label": head.multi_label_,
        "labels": head.classes_.tolist(),
        **({"thresholds": head.thresholds_.tolist()} if head.multi_label_ else {}),
        "width": head.n_features_in_,
        "parameters": parameters,
        "training": head.training_.facts if head.training_ else None,
        "seed": parameters.get("seed"),
        "packages": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in head.packages},
        },
    }


def to_json(facts: Mapping[str, Any]) -> str:
    """Indented, but for rows of numbers, which stay on one line each; NaN and infinity are null."""
    text = json.dumps(finite(facts), indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[\n[-\d.e+,\s]+\]", lambda row: re.sub(r"\s+", " ", row[0]), text) + "\n"


def finite(value: Any) -> Any:
    """What JSON can hold: NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _to_csv(rows: Sequence[Mapping[str, float]]) -> str:
    """A line for each row below the names of all of them; a figure that a row does not have is empty."""
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
