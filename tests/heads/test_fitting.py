from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import heads.fitting
from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads import DenseHead, LogisticHead
from heads.examples import find_examples
from heads.fitting import Data, Watch, check_memory, column_facts, fit_and_test
from heads.folds import find_shared_out
from tests.heads.conftest import LAYERS, RECIPE, approximate, narrow_table
from tests.tables import make_table


def nobody(*step: Any) -> None:
    """Watches nothing."""


NOBODY = Watch(nobody, nobody)


def data_of(table: FeatureTable, folds: int = 0) -> Data:
    shared_out = find_shared_out(table, 1, folds)
    examples = shared_out.examples if shared_out else find_examples(table)
    return Data(table, table.columns(), examples, shared_out)


def test_what_just_fits_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = LogisticHead.bytes_needed(1000, 2048, 10)
    for available in (needed, None):
        monkeypatch.setattr(heads.fitting, "available_memory", lambda available=available: available)
        check_memory(LogisticHead(), 1, 1000, 2048, 10)
    monkeypatch.setattr(heads.fitting, "available_memory", lambda: needed - 1)
    with pytest.raises(BottleneckError, match="on 1,000 rows needs about 0.4 GB"):
        check_memory(LogisticHead(), 1, 1000, 2048, 10)


def test_what_a_head_keeps_of_its_columns(three_classes: FeatureTable) -> None:
    (column,) = three_classes.columns()
    assert column_facts([column]) == [
        {"layer": LAYERS[1], "fingerprint": column.fingerprint, "recipe": RECIPE.to_dict()}
    ]


def test_steps_of_the_head_and_folds_are_told_apart(three_classes: FeatureTable) -> None:
    steps: list[Any] = []
    folds: list[Any] = []
    watch = Watch(lambda *step: steps.append(step), lambda *fold: folds.append(fold))
    head = LogisticHead(C=0.1, calibration="temperature")
    fit_and_test(head, data_of(three_classes), watch)
    assert [step[:2] for step in steps] == [(1, 1)] and not folds
    fit_and_test(head, data_of(three_classes, folds=3), watch)
    assert [step[:2] for step in steps] == [(1, 1)] * 2
    assert [fold[:2] for fold in folds] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("folds", [0, 2])
def test_callbacks_are_for_the_head_that_is_kept(three_classes: FeatureTable, folds: int) -> None:
    from keras.callbacks import LambdaCallback

    trained: list[int] = []
    callback = LambdaCallback(on_epoch_end=lambda epoch, logs: trained.append(epoch))
    fit_and_test(DenseHead(epochs=2), data_of(three_classes, folds), Watch(nobody, nobody, [callback]))
    assert trained == [0, 1]


def test_folds_need_twice_the_memory(three_classes: FeatureTable, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 2 * LogisticHead.bytes_needed(60, 64, 3)
    monkeypatch.setattr(heads.fitting, "available_memory", lambda: needed - 1)
    watch = Watch(nobody, nobody)
    fit_and_test(LogisticHead(C=0.1), data_of(three_classes), watch)
    with pytest.raises(BottleneckError, match="a logistic head on 60 rows needs about .*: keep to `folds=0`"):
        fit_and_test(LogisticHead(C=0.1), data_of(three_classes, folds=2), watch)
    monkeypatch.setattr(heads.fitting, "available_memory", lambda: needed)
    fit_and_test(LogisticHead(C=0.1), data_of(three_classes, folds=2), watch)


def test_folds_measure_what_a_head_of_the_other_folds_says(three_classes: FeatureTable) -> None:
    """As somebody would do it by hand, with the same folds."""
    from heads.folds import share_out, units_of
    from heads.metrics import evaluate

    data = data_of(three_classes, folds=4)
    facts = fit_and_test(LogisticHead(C=0.1, seed=3), data, Watch(nobody, nobody))
    assert data.shared_out is not None
    X, labels = three_classes.matrix()
    splits = three_classes.metadata(["split"]).column("split").to_numpy()
    X, names = X[splits != "test"], labels[splits != "test"].astype(str)
    classes, y = np.unique(names, return_inverse=True)
    fold = share_out(y, units_of(data.shared_out.rows), 4, seed=3)
    probabilities = np.empty((48, 3))
    for number in range(4):
        train, test = fold != number, fold == number
        scale = X[train].mean(axis=0), X[train].std(axis=0)
        model = LogisticRegression(C=0.1, max_iter=1000).fit((X[train] - scale[0]) / scale[1], y[train])
        probabilities[test] = model.predict_proba((X[test] - scale[0]) / scale[1])
    expected = evaluate(y, probabilities, classes.tolist(), majority_class="daisy")
    assert facts["metrics"]["folds"] == approximate(expected, rel=2e-3, abs=1e-3)


def grouped(store: Path, splits: list[str] | None = None) -> FeatureTable:
    """48 images of eight patients, in an order that is none of theirs, and one without a label."""
    random = np.random.default_rng(0)
    patients = random.permutation(np.repeat(np.arange(8), 6))
    labels: list[Any] = [["ab"[patient % 2]] for patient in patients]
    labels[5] = []
    X = random.normal(size=(8, 2048))[patients] + random.normal(scale=0.1, size=(48, 2048))
    groups = [f"patient {patient}" for patient in patients]
    return make_table(store, {"avg_pool": X.astype(np.float32)}, labels, splits, groups=groups)


@pytest.mark.parametrize("folds", [0, 4])
def test_what_is_chosen_within_training_knows_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: int
) -> None:
    """With what belongs together in the order of the rows that are trained on."""
    splits = ["train"] * 40 + ["test"] * 8
    table = grouped(tmp_path, splits)
    seen: list[tuple[np.ndarray, Any]] = []
    fit_matrix = LogisticHead.fit_matrix

    def note(self, X, y, train, classes, progress=nobody, units=None, originals=None):
        seen.append((X[:train].copy(), units))
        return fit_matrix(self, X, y, train, classes, progress, units)

    monkeypatch.setattr(LogisticHead, "fit_matrix", note)
    fit_and_test(LogisticHead(C=0.1), data_of(table, folds), Watch(nobody, nobody))
    assert len(seen) == (5 if folds else 1)
    for X, units in seen:
        # Images of one patient are near to each other.
        near = ((X[:, None, :50] - X[None, :, :50]) ** 2).mean(axis=2) < 0.5
        assert (near == (units[:, None] == units[None])).all() and units.max() < 8


def test_folds_are_of_the_layers_and_labels_that_are_learned(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    layers = {layer: random.normal(size=(24, width)) for layer, width in zip(LAYERS, (48, 64), strict=True)}
    labels: list[Any] = [["a", "rare"], ["b"], ["a", "b"]] + [["a"], ["b"], ["a", "b"]] * 7
    table = narrow_table(tmp_path, layers, labels, ["train"] * 24)
    shared = find_shared_out(table, 2, 3)
    assert shared is not None
    head = LogisticHead(C=0.1, seed=1)
    facts = fit_and_test(
        head, Data(table, table.columns(LAYERS), shared.examples, shared), Watch(nobody, nobody)
    )
    assert head.n_features_in_ == 48 + 64 and head.classes_.tolist() == ["a", "b"]
    assert facts["metrics"]["test"]["count"] == 24
    assert facts["table_id"] == str(table.delta.metadata().id)


def test_groups_that_given_splits_tear_apart_are_told_with_the_figures(tmp_path: Path) -> None:
    torn = fit_and_test(
        LogisticHead(C=0.1), data_of(grouped(tmp_path / "torn", ["train"] * 40 + ["test"] * 8)), NOBODY
    )
    ((notice),) = [notice for notice in torn["notices"] if "torn" in notice]
    assert notice.endswith(" torn apart by the given splits, so that figures may be too good")
    whole = grouped(tmp_path / "whole")
    assert heads.fitting._torn_groups(whole) == []


@pytest.mark.parametrize("folds", [0, 4])
def test_heads_are_told_which_image_each_view_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: int
) -> None:
    """Of rows in any order, and also where the head is fitted anew on all of them."""
    image = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 3))
    of_image = [np.flatnonzero(image == number) for number in range(20)]
    view = np.array([of_image[number].tolist().index(row) for row, number in enumerate(image)])
    X = np.random.default_rng(1).normal(size=(60, 48))
    X[:, 0], X[:, 1] = image, view
    kept = (image < 14) | (view == 0)
    splits = ["train" if number < 14 else "validation" if number < 17 else "test" for number in image]
    labels, shown = ["ab"[number % 2] for number in image], np.array([of_image[n][0] for n in image])
    place = np.cumsum(kept) - 1
    table = narrow_table(
        tmp_path,
        {LAYERS[0]: X[kept]},
        [label for label, there in zip(labels, kept, strict=True) if there],
        [split for split, there in zip(splits, kept, strict=True) if there],
        view[kept].tolist(),
        place[shown[kept]].tolist(),
    )
    seen: list[tuple[np.ndarray, np.ndarray | None]] = []
    fit_matrix = LogisticHead.fit_matrix

    def note(self, X, y, train, classes, progress=nobody, units=None, originals=None):
        seen.append((X[:train].copy(), originals))
        return fit_matrix(self, X, y, train, classes, progress, units, originals)

    monkeypatch.setattr(LogisticHead, "fit_matrix", note)
    fit_and_test(LogisticHead(C=0.1), data_of(table, folds), NOBODY)
    assert len(seen) == (5 if folds else 1)
    for of_rows, originals in seen:
        assert originals is not None
        np.testing.assert_array_equal(of_rows[originals, 0], of_rows[:, 0])
        assert (of_rows[originals, 1] == 0).all() and of_rows[:, 1].max() == 2
    assert len(seen[-1][0]) == 14 * 3 + (3 if folds else 0)
