from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heads.evidence.answers
from features import Extractor
from features import store as feature_store
from features.recipe import FeatureRecipe
from features.schemas import to_schema
from features.store.parts import write_part
from features.store.schema import TableFacts
from heads import load_head, train_head
from heads.evidence.answers import NoAnswers, answers_of, answers_of_other, by_folds, rows_of
from heads.evidence.images import LabelledRows, labelled_rows
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import CLASSES, classes_of, features_of, put_table, splits_of
from tests.tables import add, make_rows


def images_of(store: Path, name: str = "photos") -> LabelledRows:
    return labelled_rows(feature_store.open(store, name), CLASSES, multi_label=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    put_table(tmp_path / "store", features_of(classes_of(90)), classes_of(90), splits_of(90))
    return tmp_path / "store"


def test_a_head_answers_for_the_test_split(store: Path) -> None:
    saved = train_head(store, "photos", folds=0)
    answers = answers_of(saved, images_of(store))
    assert set(answers.images.splits) == {"test"} and len(answers.images) == 18
    right = answers.probabilities.argmax(axis=1) == answers.images.y
    assert right.mean() == saved.facts["metrics"]["test"]["accuracy"]
    assert answers.tested == "the test split of table 'photos', version 1" and not by_folds(saved)
    other = train_head(store, "photos", layers=LAYERS, folds=0)
    of_other = answers_of_other(other, answers)
    assert (of_other.argmax(axis=1) == answers.images.y).mean() == other.facts["metrics"]["test"]["accuracy"]
    assert of_other != pytest.approx(answers.probabilities)


def test_a_head_that_was_tested_by_folds_answers_by_heads_fitted_anew(store: Path) -> None:
    """Its own answers would be of images that it was trained on."""
    random = np.random.default_rng(0)
    noise = {layer: random.normal(size=X.shape) for layer, X in features_of(classes_of(90)).items()}
    put_table(store, noise, classes_of(90), name="noise")
    saved = train_head(store, "noise", folds=5, C=10.0)
    images = images_of(store, "noise")
    answers = answers_of(saved, images)
    assert by_folds(saved) and len(answers.images) == 90 and "5 folds" in answers.tested
    assert (answers.probabilities.argmax(axis=1) == images.y).mean() < 0.6
    assert (saved.head.predict_proba(images.features(saved.layers)).argmax(axis=1) == images.y).mean() > 0.8
    other = train_head(store, "noise", folds=0)
    of_other = answers_of_other(other, answers)
    assert (of_other.argmax(axis=1) == images.y).mean() < 0.6


def test_what_would_say_nothing_is_left_out_with_a_reason(store: Path) -> None:
    saved = train_head(store, "photos", folds=0)
    answers = answers_of(saved, images_of(store))
    put_table(store, features_of(classes_of(90)), classes_of(90), name="cut-by-hash")
    by_hash = train_head(store, "cut-by-hash", folds=0)
    hashed = answers_of(by_hash, images_of(store, "cut-by-hash"))
    with pytest.raises(NoAnswers, match="trained on the test images, too"):
        answers_of_other(train_head(store, "cut-by-hash", folds=4), hashed)
    fewer = train_head(store, "photos", folds=0)
    fewer.facts["labels"] = ["daisy", "rose"]
    with pytest.raises(NoAnswers, match="it knows other labels"):
        answers_of_other(fewer, answers)
    put_table(store, features_of(classes_of(9)), classes_of(9), ["train"] * 9, name="untested")
    untested = images_of(store, "untested")
    with pytest.raises(
        NoAnswers, match="trained on another table of the name 'untested', which was made anew"
    ):
        answers_of(saved, untested)
    saved.facts["table_id"] = str(untested.table.delta.metadata().id)
    with pytest.raises(NoAnswers, match="table 'untested' has no test image"):
        answers_of(saved, untested)


def test_images_that_were_trained_on_and_are_for_testing_now_are_not_tested(tmp_path: Path) -> None:
    """Splits that were given can change; version 1 had these images in train."""
    labels, splits = classes_of(60), splits_of(60)
    table = put_table(tmp_path / "store", features_of(labels), labels, splits, given_splits=True)
    saved = train_head(tmp_path / "store", "photos", folds=0)
    rows = pa.concat_tables([pq.read_table(path) for path in table.paths])
    now = ["test" if split == "validation" else split for split in rows["split"].to_pylist()]
    rows = to_schema(rows, table.facts.schema, split=pa.array(now))
    part = write_part(table.folder, rows.to_batches(), table.facts.schema, run_id="run-2")
    add(table, part, replacing=rows["uri"].to_pylist())
    images = images_of(tmp_path / "store")
    assert (images.splits == "test").sum() == 24
    assert len(answers_of(saved, images).images) == 12
    new = train_head(tmp_path / "store", "photos", folds=0)
    tested = answers_of(new, images).images
    assert len(tested) == 24
    with pytest.raises(NoAnswers, match="it was trained on some of these test images"):
        answers_of_other(saved, answers_of(new, images))


def test_features_of_another_table_are_taken_where_a_head_was_trained_on_them(store: Path) -> None:
    """As of a fine-tuned head, whose features were extracted again with its weights."""
    saved = train_head(store, "photos", folds=0)
    images = images_of(store)
    answers = answers_of(saved, images)
    other = load_head(store, "photos")
    for column in other.facts["columns"]:
        column["recipe"]["weights_sha256"] = "1" * 64
    with pytest.raises(NoAnswers, match="its features are in no table"):
        answers_of_other(other, answers)


def test_rows_of_another_table_are_found_by_name_and_bytes(
    store: Path, sixty_photos: list[str], tmp_path: Path
) -> None:
    labels, copies = classes_of(6), [str(tmp_path / f"{number}.jpg") for number in range(6)]
    for copy, photo in zip(copies, sixty_photos, strict=False):
        Path(copy).write_bytes(Path(photo).read_bytes())
    put_table(store, features_of(labels), labels, ["train"] * 6, name="first", uris=copies)
    Path(copies[2]).write_bytes(Path(sixty_photos[50]).read_bytes())
    X = features_of(labels, seed=1)
    second = put_table(
        store,
        {layer: of_layer[::-1] for layer, of_layer in X.items()},
        labels[::-1],
        ["train"] * 6,
        name="second",
        uris=copies[::-1],
    )
    images = images_of(store, "first")
    rows = rows_of(second, images)
    places = {uri: row for row, uri in enumerate(second.metadata(["uri"]).column("uri").to_pylist())}
    expected = [-1 if uri == copies[2] else places[uri] for uri in images.uris]
    assert rows.tolist() == expected
    assert (second.take(rows[rows >= 0], layers=LAYERS[1:]) == X[LAYERS[1]][[0, 1, 3, 4, 5]]).all()


def test_a_backbone_of_its_own_is_run_over_few_files(
    tmp_path: Path, sixty_photos: list[str], tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = Extractor("random", backbone=tiny)
    (layer,) = extractor.layers
    X = extractor.features(sixty_photos)[layer]
    labels = [("daisy", "rose")[int(value > np.median(X[:, 0]))] for value in X[:, 0]]
    splits = ["test" if number % 5 == 0 else "train" for number in range(60)]

    def table_of(name: str, recipe: FeatureRecipe) -> None:
        facts = TableFacts("photos", "random", (layer,), recipe)
        ids = [hashlib.sha256(Path(uri).read_bytes()).hexdigest() for uri in sixty_photos]
        rows = pa.Table.from_batches([make_rows(facts, X, labels, splits)])
        rows = to_schema(rows, facts.schema, uri=pa.array(sixty_photos), image_id=pa.array(ids))
        table = feature_store.create(tmp_path / "store", name, facts)
        add(table, write_part(table.folder, rows.to_batches(), facts.schema, run_id="run-1"), run_id="run-1")

    table_of("own", extractor.recipe)
    saved = train_head(tmp_path / "store", "own", folds=0)
    table_of("photos", dataclasses.replace(extractor.recipe, weights_sha256="1" * 64))
    images = labelled_rows(
        feature_store.open(tmp_path / "store", "photos"), ["daisy", "rose"], multi_label=False
    )
    saved.facts["table_id"] = str(images.table.delta.metadata().id)
    expected = answers_of(saved, images)
    assert (expected.probabilities.argmax(axis=1) == expected.images.y).mean() > 0.8
    monkeypatch.setattr(heads.evidence.answers, "table_for", lambda saved, images: None)
    from_files = answers_of(saved, images)
    assert from_files.probabilities == pytest.approx(expected.probabilities, abs=1e-3)
    monkeypatch.setattr(heads.evidence.answers, "MOST_EXTRACTED", 5)
    with pytest.raises(NoAnswers, match="12 test images are too many"):
        answers_of(saved, images)


def test_folds_are_those_of_the_head_and_keep_groups_together(tmp_path: Path) -> None:
    """Patients look like themselves, and labels are by chance: only groups that are torn would tell."""
    patients = np.repeat(np.arange(20), 6)
    random = np.random.default_rng(0)
    X = random.normal(size=(20, 64))[patients] + random.normal(scale=0.1, size=(120, 64))
    labels = [("daisy", "rose")[patient % 2] for patient in patients] + ["weed"]
    X = np.concatenate([X, np.ones((1, 64))]).astype(np.float32)
    groups = [*(f"p{patient}" for patient in patients), None]
    table = put_table(tmp_path / "store", {LAYERS[1]: X}, labels, groups=groups)
    saved = train_head(tmp_path / "store", "photos", folds=4, C=10.0)
    images = labelled_rows(table, saved.facts["labels"], multi_label=False)
    answers = answers_of(saved, images)
    assert answers.tested.startswith("4 folds") and "weed" not in answers.images.labels
    assert len(answers.images) == saved.facts["metrics"]["test"]["count"] == 120
    assert (answers.probabilities.argmax(axis=1) == answers.images.y).mean() < 0.75
    accuracy = (answers.probabilities.argmax(axis=1) == answers.images.y).mean()
    assert accuracy == pytest.approx(saved.facts["metrics"]["test"]["accuracy"], abs=1e-6)


def test_a_fold_of_one_class_is_no_end(tmp_path: Path) -> None:
    labels = ["daisy"] * 20 + ["rose"]
    table = put_table(tmp_path / "store", features_of(labels), labels)
    saved = train_head(tmp_path / "store", "photos", folds=5)
    images = labelled_rows(table, ["daisy", "rose"], multi_label=False)
    assert len(answers_of(saved, images).images) == 20


def test_a_backbone_that_was_tuned_on_labels_is_not_tested_by_folds(store: Path) -> None:
    labels = classes_of(60)
    put_table(store, features_of(labels), labels, name="tuned", weights="weights/x-fine-tuned.weights.h5")
    saved = train_head(store, "tuned", folds=5)
    with pytest.raises(NoAnswers, match="tuned on some of the images that folds would test"):
        answers_of(saved, images_of(store, "tuned"))


def test_a_twin_of_a_head_answers_the_same_by_folds(tmp_path: Path) -> None:
    """Also where images are not tested, since nothing else has their class."""
    labels = [*["daisy", "tulip"] * 20, *["weed"] * 4, *["rose"] * 11]
    groups = [*([None] * 40), *["first"] * 4, "first", *["second"] * 10]
    table = put_table(tmp_path / "store", features_of(labels), labels, groups=groups)
    first, twin = (train_head(tmp_path / "store", "photos", folds=5) for _ in range(2))
    images = labelled_rows(table, first.facts["labels"], multi_label=False)
    answers = answers_of(first, images)
    assert len(answers.images) < len(images) and f"{len(answers.images)} of 55 images" in answers.tested
    assert (answers_of_other(twin, answers) == answers.probabilities).all()


def test_copies_alone_can_not_be_tested_by_folds(tmp_path: Path) -> None:
    labels = ["daisy"] * 4 + ["rose"] * 4
    table = put_table(tmp_path / "store", features_of(labels), labels)
    saved = train_head(tmp_path / "store", "photos", folds=4)
    images = labelled_rows(table, ["daisy", "rose"], multi_label=False)
    images = dataclasses.replace(images, units=images.y)  # as of copies
    with pytest.raises(NoAnswers, match="no class has two images, groups or pictures"):
        answers_of(saved, images)


@pytest.mark.parametrize("views", [None, 1])
def test_heads_fitted_anew_are_trained_on_as_many_views_as_the_head_was(
    tmp_path: Path, views: int | None
) -> None:
    """Views here look like images of another class: the answers are as bad as the head's own test said."""
    labels = classes_of(60)
    put_table(
        tmp_path / "store",
        features_of([*labels, *labels, *labels[1:], labels[0]], scale=0.5),
        labels * 3,
        ["train"] * 180,
        views=[0] * 60 + [1] * 60 + [2] * 60,
    )
    saved = train_head(tmp_path / "store", "photos", folds=4, C=0.01, views=views)
    images = images_of(tmp_path / "store")
    right = answers_of(saved, images).probabilities.argmax(axis=1) == images.y
    assert right.mean() == saved.facts["metrics"]["test"]["accuracy"]
    without = train_head(tmp_path / "store", "photos", folds=4, C=0.01, views=0)
    answers = answers_of(without, images)
    assert (answers_of_other(saved, answers) != answers.probabilities).any()
