from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import heads.training
from features.errors import BottleneckError
from features.store.parts import write_part
from features.store.table import FeatureTable
from heads import LogisticHead, SavedHead, load_head, train_head
from heads.logistic import CANDIDATES
from tests.heads.conftest import MakeSmallTable
from tests.tables import RECIPE, add, make_rows, make_table


def test_head_json_says_all_that_is_needed_to_build_it_again(
    logistic: SavedHead, digits: FeatureTable
) -> None:
    facts = load_head(digits.store, id=logistic.id).facts
    assert facts["kind"] == "logistic"
    assert facts["labels"] == list("0123456789")
    assert (facts["table"], facts["table_version"]) == ("inception_v3", digits.version)
    assert facts["columns"] == [
        {
            "layer": "avg_pool",
            "fingerprint": RECIPE.fingerprint("avg_pool"),
            "recipe": RECIPE.to_dict(),
        }
    ]
    rows = {split: len(digits.matrix(split)[0]) for split in ("train", "validation", "test")}
    assert facts["splits"] == {
        "fitted": ["train", "validation"],
        "selected": ["validation"],
        "tested": ["test"],
        "rows": rows,
    }
    assert facts["metrics"]["test"]["accuracy"] > 0.9
    assert facts["metrics"]["test"]["count"] == rows["test"]
    assert facts["metrics"]["validation"]["count"] == rows["validation"]
    assert (facts["seed"], facts["parameters"]) == (0, {"C": None, "seed": 0})
    assert facts["packages"].keys() == {"python", "numpy", "scikit-learn", "skops"}
    assert facts["created_at"].endswith("+00:00")


def test_the_dense_head_is_fitted_on_train_alone(dense: SavedHead) -> None:
    assert dense.facts["splits"]["fitted"] == ["train"]
    assert dense.facts["splits"]["selected"] == ["validation"]
    assert dense.facts["metrics"]["validation"]["accuracy"] > 0.9
    assert dense.facts["packages"].keys() == {"python", "numpy", "keras", "tensorflow"}


def test_the_test_score_is_that_of_the_saved_head(logistic: SavedHead, digits: FeatureTable) -> None:
    X, labels = digits.matrix("test")
    accuracy = (load_head(digits.store, id=logistic.id).head.predict(X) == labels).mean()
    assert logistic.facts["metrics"]["test"]["accuracy"] == pytest.approx(accuracy)


def test_the_same_version_and_seed_give_the_same_head(three_classes: FeatureTable) -> None:
    first = train_head(three_classes.store, seed=3)
    _add_images(three_classes)
    grown = train_head(three_classes.store, seed=3)
    again = train_head(three_classes.store, seed=3, version=first.facts["table_version"])
    assert grown.facts["table_version"] > first.facts["table_version"] == again.facts["table_version"]
    np.testing.assert_array_equal(_coefficients(first), _coefficients(again))
    assert (_coefficients(first) != _coefficients(grown)).any()
    assert again.facts["metrics"] == first.facts["metrics"]


def _coefficients(saved: SavedHead) -> np.ndarray:
    assert isinstance(saved.head, LogisticHead)
    return saved.head.pipeline_[-1].coef_


def _add_images(table: FeatureTable) -> None:
    X, labels = table.matrix("train")
    rows = make_rows(table.facts, X + 1, labels.tolist(), ["train"] * len(X), prefix="more", run_id="run-2")
    part = write_part(table.folder, [rows], table.facts.schema)
    add(table, part)


def test_without_features(tmp_path: Path) -> None:
    with pytest.raises(BottleneckError, match="extract features first"):
        train_head(tmp_path)


def test_an_empty_test_split_is_refused(small_table: MakeSmallTable) -> None:
    table = small_table(["daisy", "rose"] * 4, ["train"] * 6 + ["validation"] * 2)
    with pytest.raises(BottleneckError, match="the test split of table 'inception_v3' has no labelled image"):
        train_head(table.store)
    assert not (table.store / "heads").exists()


def test_multi_label_data_is_refused_in_plain_words(small_table: MakeSmallTable) -> None:
    labels: list = ["daisy", "rose", ["daisy", "rose"]] * 2
    table = small_table(labels, ["train"] * 3 + ["test"] * 3)
    with pytest.raises(BottleneckError, match="multi-label data is not there yet: 2 of 6 images"):
        train_head(table.store)


def test_what_is_left_out_is_said(small_table: MakeSmallTable) -> None:
    labels: list = ["daisy", "rose", []] * 10
    splits = ["train"] * 24 + ["test", "train", "test"] + ["validation"] * 3
    saved = train_head(small_table(labels, splits).store, C=0.01)
    assert saved.facts["notices"] == [
        "left out 10 images without a label",
        "1 of 2 classes have no test image: rose",
    ]
    assert saved.facts["splits"]["rows"] == {"train": 17, "validation": 2, "test": 1}


def test_an_unknown_parameter_lists_the_known_ones(three_classes: FeatureTable) -> None:
    message = "a logistic head has no parameter 'hidden': it takes C, seed"
    with pytest.raises(BottleneckError, match=re.escape(message)):
        train_head(three_classes.store, hidden=3)


def test_a_parameter_out_of_range_is_refused_before_the_table_is_opened(tmp_path: Path) -> None:
    with pytest.raises(BottleneckError, match="C is -1"):
        train_head(tmp_path, C=-1.0)


def test_progress_is_said_for_each_candidate(three_classes: FeatureTable) -> None:
    steps: list[tuple[int, int, dict[str, float]]] = []
    saved = train_head(three_classes.store, progress=lambda *step: steps.append(step))
    assert [step for step, _, _ in steps] == list(range(1, len(steps) + 1))
    assert {at_most for _, at_most, _ in steps} == {len(CANDIDATES)}
    assert [figures for _, _, figures in steps] == saved.facts["training"]["log_loss"]


def test_images_without_a_label_teach_nothing(small_table: MakeSmallTable) -> None:
    labels: list = ["daisy", "rose", []] * 10
    table = small_table(labels, ["train"] * 20 + ["validation"] * 5 + ["test"] * 5)
    assert train_head(table.store, C=0.01).head.classes_.tolist() == ["daisy", "rose"]


def test_a_table_that_does_not_fit_is_refused_before_it_is_read(
    three_classes: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads.training, "available_memory", lambda: 10**8)
    monkeypatch.setattr(FeatureTable, "matrix", None)
    message = "48 rows needs about 0.4 GB of memory, and 0.1 GB are available: train with `kind=dense`"
    with pytest.raises(BottleneckError, match=re.escape(message)):
        train_head(three_classes.store)


def test_without_validation_the_dense_head_trains_for_all_epochs(small_table: MakeSmallTable) -> None:
    table = small_table(["daisy", "rose", []] * 10, ["train"] * 24 + ["test"] * 6)
    saved = train_head(table.store, kind="dense", epochs=3, patience=1)
    assert saved.facts["training"]["epochs"] == saved.facts["training"]["epochs_run"] == 3
    assert saved.facts["splits"]["selected"] == []
    assert "validation" not in saved.facts["metrics"]


def test_an_unknown_layer_is_refused(three_classes: FeatureTable) -> None:
    with pytest.raises(BottleneckError, match="has no layer 'mixed3'"):
        train_head(three_classes.store, layer="mixed3")


def test_training_a_logistic_head_imports_no_tensorflow(three_classes: FeatureTable) -> None:
    program = (
        "import sys; from heads import train_head; "
        "heavy = {'sklearn', 'tensorflow', 'keras'} & sys.modules.keys(); "
        "assert not heavy, heavy; "
        f"train_head({str(three_classes.store)!r}); "
        "heavy = {'tensorflow', 'keras', 'apache_beam', 'openvino'} & sys.modules.keys(); "
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.fixture
def long_tail(small_table: MakeSmallTable) -> FeatureTable:
    """Three classes of 20 images, one of two training images, and two without any."""
    labels, splits = [], []
    for label in ("daisy", "rose", "tulip"):
        labels += [label] * 20
        splits += ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    labels += ["orchid"] * 3 + ["lotus"] * 2 + ["poppy"]
    splits += ["train", "train", "test", "test", "validation", "test"]
    return small_table(labels, splits)


@pytest.mark.parametrize("kind", ["logistic", "dense"])
def test_a_long_tail_is_left_out_and_said(long_tail: FeatureTable, kind: str) -> None:
    saved = train_head(long_tail.store, kind=kind)
    assert saved.facts["labels"] == ["daisy", "orchid", "rose", "tulip"]
    assert saved.facts["notices"] == [
        "left out 3 images of 2 of 6 classes, those with no training image: lotus (0), poppy (0)"
    ]
    assert saved.facts["left_out"] == {
        "lotus": {"train": 0, "validation": 1, "test": 1},
        "poppy": {"train": 0, "validation": 0, "test": 1},
    }
    test = saved.facts["metrics"]["test"]
    assert (test["count"], test["left_out"], test["accuracy"]) == (13, 2, 1.0)

    fewer = train_head(long_tail.store, kind=kind, min_images=3)
    assert fewer.facts["labels"] == ["daisy", "rose", "tulip"]
    assert fewer.facts["min_images"] == 3
    assert fewer.facts["notices"] == [
        "left out 6 images of 3 of 6 classes, those with fewer than 3 training images: "
        "lotus (0), orchid (2), poppy (0)"
    ]
    assert fewer.facts["splits"]["rows"] == {"train": 36, "validation": 12, "test": 12}
    again = load_head(long_tail.store, id=fewer.facts["id"])
    assert again.evaluate(long_tail) == fewer.facts["metrics"]["test"]


def test_rows_of_classes_that_are_left_out_teach_nothing(long_tail: FeatureTable, tmp_path: Path) -> None:
    """The same head as from a table without them."""
    X, labels = long_tail.matrix()
    splits = long_tail.metadata(["split"]).column("split").to_pylist()
    kept = [number for number, label in enumerate(labels) if label in ("daisy", "rose", "tulip")]
    alone = make_table(tmp_path / "alone", X[kept], [labels[n] for n in kept], [splits[n] for n in kept])
    full = train_head(long_tail.store, min_images=3).head.predict_proba(X[:5])
    np.testing.assert_allclose(train_head(alone.store).head.predict_proba(X[:5]), full, atol=1e-6)


def test_a_label_that_the_head_never_saw_is_still_an_error(long_tail: FeatureTable, tmp_path: Path) -> None:
    head = train_head(long_tail.store, min_images=3)
    other = make_table(
        tmp_path / "other", np.zeros((2, 2048), np.float32), ["daisy", "cactus"], ["test", "test"]
    )
    with pytest.raises(BottleneckError, match="this head was not taught the labels 'cactus'"):
        head.evaluate(other)
