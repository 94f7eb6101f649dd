"""What every head can do: learn from a feature table, predict from features, be saved and loaded.

A kind of head is a dataclass of its parameters with four methods of its own; all that the kinds have
in common is here.
"""

from __future__ import annotations

import abc
import dataclasses
import importlib.metadata
import json
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from features.errors import BottleneckError
from heads.examples import Examples, find_examples
from heads.metrics import evaluate

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: Called as training goes on: number of the step (from 1), steps at most, figures of this step.
Progress = Callable[[int, int, dict[str, float]], None]

#: The file beside the model that says what it is.
FACTS_FILE = "head.json"

_ROWS_AT_ONCE = 4096


class Trained(NamedTuple):
    """What training a head came to.

    Attributes:
        facts: the hyper-parameters it chose and how, for `head.json`.
        fitted: the splits that the model was fitted on.
        selected: the splits that hyper-parameters, or the moment to stop, were chosen on.
        validation: metrics on the validation split, from a model that was not fitted on it.
    """

    facts: dict[str, Any]
    fitted: list[str]
    selected: list[str]
    validation: dict[str, Any] | None


class Head(abc.ABC):
    """A classifier on one feature column, in the manner of scikit-learn's estimators.

    Attributes:
        classes_: after `fit`, str ndarray of shape (n_classes,), sorted.
        n_features_in_: after `fit`, the width of the features.
        majority_class_: after `fit`, the most frequent label of `train`.
        training_: after `fit`, what training came to; None for a head that was loaded.
        left_out_: after `fit`, the labels that were left out, with their rows by split.
    """

    kind: ClassVar[str]
    model_file: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]

    classes_: np.ndarray
    n_features_in_: int
    majority_class_: str
    training_: Trained | None
    left_out_: dict[str, dict[str, int]]

    def fit(
        self,
        table: FeatureTable,
        *,
        layer: str | None = None,
        min_images: int = 1,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from the train split of a table, with hyper-parameters chosen on its validation split.

        Args:
            table: a feature table.
            layer: the feature column; by default the one deepest in the network.
            min_images: classes with fewer training images are left out.
            progress: called at each step.

        Raises:
            BottleneckError: for a parameter out of range, or where `find_examples` finds nothing to learn.
        """
        self._check_parameters()
        examples = find_examples(table, min_images)
        column = table.column(layer)
        self.classes_ = np.array(examples.classes)
        self.n_features_in_ = column.width
        self.majority_class_ = examples.majority_class
        self.left_out_ = examples.left_out
        self.training_ = self._fit(table, column.layer, examples, progress or _silent)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of the classes.

        Args:
            X: float32 ndarray of shape (n, n_features_in_).

        Returns:
            float32 ndarray of shape (n, n_classes), columns in the order of `classes_`.

        Raises:
            BottleneckError: before `fit`, or for features of another width.
        """
        if not hasattr(self, "classes_"):
            raise BottleneckError("this head is not trained: call fit, or load one with heads.load_head")
        X = np.asarray(X, np.float32)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise BottleneckError(
                f"this {self.kind} head expects features of shape (n, {self.n_features_in_}), not {X.shape}"
            )
        probabilities = np.empty((len(X), len(self.classes_)), np.float32)
        for start in range(0, len(X), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            probabilities[rows] = self._probabilities(X[rows])
        return probabilities

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The most probable label of each row of X, str ndarray of shape (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def evaluate(
        self, table: FeatureTable, split: str = "test", *, layer: str | None = None
    ) -> dict[str, Any]:
        """Measure this head on a split, read as a stream; see `heads.metrics.evaluate`.

        Images of the classes that were left out in training are left out here, too; `left_out` says how many.

        Raises:
            BottleneckError: for a split without rows, or a label that this head never saw.
        """
        true, probabilities, left_out = [], [], 0
        for X, labels in table.batches(split, layer=layer, labelled=True):
            if self.left_out_:
                known = np.array([label not in self.left_out_ for label in labels])
                left_out += len(known) - int(known.sum())
                X, labels = X[known], labels[known]
            if len(X):
                probabilities.append(self.predict_proba(X))
                true.append(self._class_numbers(labels))
        if not true:
            raise BottleneckError(
                f"the {split} split of table {table.name!r} has no rows to test this head on"
            )
        metrics = self._metrics(np.concatenate(true), np.concatenate(probabilities))
        return metrics | ({"left_out": left_out} if left_out else {})

    def save(self, directory: Path, facts: dict[str, Any] | None = None) -> None:
        """Write the model and `head.json` into an empty directory.

        Args:
            facts: what else is known of this head, put first in `head.json`.
        """
        self._save_model(directory / self.model_file)
        (directory / FACTS_FILE).write_text(_to_json((facts or {}) | self.facts()), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a head of this kind back from its directory."""
        facts = read_facts(directory)
        head = cls(**facts["parameters"])
        head.classes_ = np.array(facts["labels"])
        head.n_features_in_ = facts["width"]
        head.majority_class_ = facts["majority_class"]
        head.training_ = None
        head.left_out_ = facts.get("left_out", {})
        head._load_model(directory / cls.model_file)
        return head

    def facts(self) -> dict[str, Any]:
        """What `head.json` says of the head itself; `load` needs no more."""
        training = self.training_
        return {
            "kind": self.kind,
            "labels": self.classes_.tolist(),
            "left_out": self.left_out_,
            "majority_class": self.majority_class_,
            "width": self.n_features_in_,
            "parameters": self.parameters(),
            "training": training.facts if training else None,
            "seed": self.parameters()["seed"],
            "packages": {
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in self.packages},
            },
        }

    def parameters(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def _class_numbers(self, labels: np.ndarray) -> np.ndarray:
        """Numbers of the labels in `classes_`: int ndarray of shape (n,)."""
        numbers = {label: number for number, label in enumerate(self.classes_.tolist())}
        unknown = sorted(set(labels) - numbers.keys())
        if unknown:
            raise BottleneckError(
                f"this head was not taught the labels {', '.join(map(repr, unknown[:5]))}: train it again"
            )
        return np.fromiter((numbers[label] for label in labels), np.int64, len(labels))

    def _metrics(self, true: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
        return evaluate(true, probabilities, self.classes_.tolist(), majority_class=self.majority_class_)

    @abc.abstractmethod
    def _check_parameters(self) -> None: ...

    @abc.abstractmethod
    def _fit(self, table: FeatureTable, layer: str, examples: Examples, progress: Progress) -> Trained: ...

    @abc.abstractmethod
    def _probabilities(self, X: np.ndarray) -> np.ndarray: ...

    @abc.abstractmethod
    def _save_model(self, path: Path) -> None: ...

    @abc.abstractmethod
    def _load_model(self, path: Path) -> None: ...


def read_facts(directory: Path) -> dict[str, Any]:
    """The contents of a head's `head.json`."""
    return json.loads((directory / FACTS_FILE).read_text(encoding="utf-8"))


def _to_json(facts: dict[str, Any]) -> str:
    """Indented, but for rows of numbers, which stay on one line each."""
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    return re.sub(r"\[\n[-\d.e+,\s]+\]", lambda row: re.sub(r"\s+", " ", row[0]), text) + "\n"


def _silent(step: int, steps: int, figures: dict[str, float]) -> None:
    """No progress to tell."""
