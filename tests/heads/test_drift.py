from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from features import store as feature_store
from features.errors import BottleneckError, DriftExceeded
from features.store.parts import write_part
from features.store.table import FeatureTable
from heads import SavedHead, train_head
from heads.changes import Changes
from heads.drift import measure_drift
from heads.saved import to_json
from heads.two_samples import two_sample_test
from tests.heads.conftest import LAYERS, narrow_table
from tests.heads.test_promotion import flowers, grow, splits_of
from tests.tables import add, make_rows


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    features, labels = flowers(200)
    return narrow_table(tmp_path / "store", features, labels, splits_of(200))


@pytest.fixture
def saved(table: FeatureTable) -> SavedHead:
    return train_head(table.store, C=0.1)


def test_more_of_the_same_images_are_no_drift(table: FeatureTable, saved: SavedHead) -> None:
    drift = measure_drift(saved, grow(table, 100, "train", seed=1))
    assert (drift.head, drift.since, drift.version) == (saved.id, 1, 2)
    assert (drift.new, drift.gone, drift.relabelled, drift.classes) == (100, 0, 0, 0)
    assert drift.features is not None and drift.within_classes is not None
    assert drift.features.rows == (200, 100) and drift.within_classes.rows == (100, 100)
    assert drift.classes_p_value == 1
    assert min(drift.features.p_value, drift.within_classes.p_value) > 0.05
    drift.check(max_class_drift=0.0, max_feature_drift=0.0)


def test_images_of_one_class_move_its_share_and_not_the_features_within_it(
    table: FeatureTable, saved: SavedHead
) -> None:
    """A classifier tells new images from old ones by their class alone: that is no drift of the features."""
    drift = measure_drift(saved, grow(table, 100, "train", seed=1, labels=["rose"]))
    assert drift.classes == pytest.approx(200 / 300 - 0.5) and drift.classes_p_value is not None
    assert drift.features is not None and drift.within_classes is not None
    assert drift.classes_p_value < 0.001 and drift.features.p_value < 0.01
    assert drift.features.interval[0] > 0.5 > drift.within_classes.interval[0]
    assert drift.within_classes.p_value > 0.05
    drift.check(max_feature_drift=0.5)
    with pytest.raises(DriftExceeded) as exceeded:
        drift.check(max_class_drift=0.16)
    assert str(exceeded.value) == (
        f"the shares of the classes have moved by 0.167 since version 1, which the current head {saved.id} "
        f"was trained on, more than `max_class_drift=0.16` allows; nothing was trained: look at what has "
        f"changed, then train with a higher limit or none"
    )
    drift.check(max_class_drift=0.17)


def test_images_that_look_otherwise_are_told_apart(table: FeatureTable, saved: SavedHead) -> None:
    shifted = measure_drift(saved, grow_shifted(table))
    assert shifted.within_classes is not None and shifted.within_classes.auc > 0.9
    message = "the features of new images differ since .*, more than `max_feature_drift=0.8` allows"
    with pytest.raises(DriftExceeded, match=message):
        shifted.check(max_feature_drift=0.8)
    assert DriftExceeded.exit_code == 6
    with pytest.raises(DriftExceeded) as exceeded:
        shifted.check(max_feature_drift=0.8)
    assert exceeded.value.facts == {"drift": shifted.facts()}
    shifted.check(max_class_drift=0.1, max_feature_drift=0.9999)


def grow_shifted(table: FeatureTable) -> FeatureTable:
    features, labels = flowers(100, seed=9)
    features[LAYERS[0]][:, 20:24] += 1.5
    return added(table, features, labels)


def added(table: FeatureTable, features: dict[str, np.ndarray], labels: Sequence[str]) -> FeatureTable:
    split = ["train"] * len(labels)
    rows = make_rows(table.facts, features, labels, split, prefix="shifted", run_id="run-shifted")
    newest = feature_store.open(table.store)
    add(newest, write_part(table.folder, [rows], table.facts.schema), run_id="run-shifted")
    return feature_store.open(table.store)


def test_p_values_are_adjusted_for_their_number(table: FeatureTable, saved: SavedHead) -> None:
    grown = grow_shifted(table)
    drift = measure_drift(saved, grown, seed=3)
    assert drift.features is not None and drift.within_classes is not None
    assert drift.features.p_value == pytest.approx(3 / 500)
    assert drift.within_classes.p_value == pytest.approx(3 / 500) and drift.classes_p_value == 1
    X, _ = grown.matrix()
    uris = grown.metadata(["uri"]).column("uri").to_pylist()
    alone = two_sample_test(X, np.array(["shifted" in uri for uri in uris]), np.zeros(300, int), 3)
    assert alone.auc == drift.features.auc and alone.interval == drift.features.interval
    columns = ["image_id", "labels", "view"]
    changes = Changes(table.metadata(columns), grown.metadata(columns))
    rows = changes.draw_within_classes(3)
    assert rows is not None
    within = two_sample_test(X[rows], changes.is_new[rows], changes.classes[rows], 3)
    assert within.interval == drift.within_classes.interval


def test_few_new_images_can_not_tell(table: FeatureTable, saved: SavedHead) -> None:
    drift = measure_drift(saved, grow(table, 19, "train", seed=1, labels=["rose"]))
    assert drift.features is drift.within_classes is drift.classes_p_value is None
    assert drift.sentences() == [
        f"since version 1, which head {saved.id} was trained on: 19 new images, 0 gone, 0 with other labels",
        "classes: their shares have moved by 4.3% of the images (too few to tell)",
        "features: new images told from old ones, too few to tell; "
        "among as many of each class, too few to tell",
    ]
    drift.check(max_class_drift=0.0, max_feature_drift=0.0)


def test_what_is_said_and_kept_of_drift(table: FeatureTable, saved: SavedHead) -> None:
    drift = measure_drift(saved, grow(table, 100, "train", seed=1))
    told = drift.features
    assert told is not None
    low, high = told.interval
    assert drift.sentences()[1:] == [
        "classes: their shares have moved by 0.0% of the images (p = 1)",
        f"features: new images told from old ones, AUC {told.auc:.2f} ({low:.2f} to {high:.2f}; "
        f"p = {told.p_value:.2g}); {drift.sentences()[2].partition('); ')[2]}",
    ]
    facts = json.loads(to_json(drift.facts()))
    assert facts["features"] == {
        "auc": told.auc, "interval": [low, high], "p_value": told.p_value, "rows": [200, 100],
    }  # fmt: skip
    assert facts["within_classes"]["rows"] == [100, 100]
    assert facts.items() >= {"head": saved.id, "since": 1, "version": 2, "new": 100, "classes": 0.0}.items()


def test_without_a_change_nothing_more_is_said(table: FeatureTable, saved: SavedHead) -> None:
    (sentence,) = measure_drift(saved, table).sentences()
    assert sentence == f"since version 1, which head {saved.id} was trained on: the same images and labels"


def test_a_version_that_can_not_be_read_is_named(table: FeatureTable, saved: SavedHead) -> None:
    grown = grow(table, 30, "train", seed=1)
    for path in table.paths:
        Path(path).unlink()
    with pytest.raises(
        BottleneckError, match=f"version 1 of table 'inception_v3', which head {saved.id} was "
    ):
        measure_drift(saved, grown)
    saved.facts["table_version"] = None
    with pytest.raises(
        BottleneckError, match="trained on images, and not on a version of table 'inception_v3'"
    ):
        measure_drift(saved, grown)


def test_it_is_measured_on_the_layers_of_the_head(tmp_path: Path) -> None:
    features, labels = flowers(120)
    features[LAYERS[1]] = np.random.default_rng(0).normal(size=(120, 64))
    table = narrow_table(tmp_path / "store", features, labels, splits_of(120))
    saved = train_head(table.store, layers=LAYERS[0], C=0.1)
    from features.store.parts import write_part
    from tests.tables import add, make_rows

    more = {LAYERS[0]: flowers(60, seed=4)[0][LAYERS[0]], LAYERS[1]: np.full((60, 64), 3.0)}
    rows = make_rows(table.facts, more, ["daisy", "rose"] * 30, ["train"] * 60, prefix="more", run_id="run-2")
    add(table, write_part(table.folder, [rows], table.facts.schema))
    grown = feature_store.open(table.store)
    of_head = measure_drift(saved, grown).features
    deep = train_head(table.store, layers=LAYERS[1], C=0.1, version=1)
    of_deep = measure_drift(deep, grown).features
    assert of_head is not None and of_deep is not None and of_head.auc < 0.7 < 0.99 < of_deep.auc


def test_it_imports_neither_tensorflow_nor_beam_nor_extras(table: FeatureTable, saved: SavedHead) -> None:
    grow(table, 40, "train", seed=1)
    code = (
        "import sys; from features import store; from heads import load_head;"
        "from heads.drift import measure_drift;"
        f"table = store.open({str(table.store)!r}); drift = measure_drift(load_head(table.store), table);"
        "assert drift.features;"
        "loaded = {'tensorflow', 'keras', 'apache_beam', 'cleanlab', 'faiss', 'sklearn'} & set(sys.modules);"
        "assert not loaded, loaded"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_class_that_has_come_as_a_whole_is_no_chance(table: FeatureTable, saved: SavedHead) -> None:
    """However few its images are."""
    features, _ = flowers(10, seed=1)
    drift = measure_drift(saved, added(table, features, ["orchid"] * 10))
    assert drift.classes_p_value is None
    assert [drift.classes_replaced, drift.classes] == pytest.approx([10 / 210] * 2)
    assert "too few to tell); 4.8% are of classes that are new, renamed or gone" in drift.sentences()[1]
    drift.check(max_class_drift=0.05)
    with pytest.raises(DriftExceeded, match="the shares of the classes have moved by 0.0476"):
        drift.check(max_class_drift=0.04)
