"""Evidence as a whole, on a table of photos, as the command gathers it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from features import store as feature_store
from features.errors import BottleneckError
from heads import load_head, train_head
from heads.evidence import (
    Settings,
    gather_evidence,
    is_current,
    read_evaluation,
    sample_of,
    write_evaluation,
)
from heads.evidence.evaluation import EVALUATION_FILE
from heads.evidence.text import format_evidence
from heads.saved import to_json
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import classes_of, features_of, put_table, splits_of

pytest.importorskip("cleanlab")

SETTINGS = Settings(draws=5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, sixty_photos: list[str]) -> Path:
    """60 photos of three classes, whose features tell them apart; those of random weights hardly do."""
    store, labels = tmp_path_factory.mktemp("evidence") / "store", classes_of(60)
    put_table(store, features_of(labels, scale=0.7), labels, uris=sixty_photos)
    random = features_of(labels, scale=4)
    put_table(store, random, labels, uris=sixty_photos, name="photos-random", weights="random")
    train_head(store, "photos", layers=LAYERS, folds=0)
    train_head(store, "photos", folds=0)
    return store


@pytest.fixture(scope="module")
def evaluation(store: Path) -> dict[str, Any]:
    return gather_evidence(
        store, "photos", settings=SETTINGS, random_features=feature_store.open(store, "photos-random")
    )


def test_all_parts_are_there(store: Path, evaluation: dict[str, Any]) -> None:
    saved = load_head(store, "photos")
    assert evaluation["head"]["id"] == saved.id and evaluation["table"]["version"] == 1
    assert evaluation["head"]["chosen"] == {"C": saved.facts["training"]["C"]}
    assert evaluation["transfer"]["helps"]
    assert [source["id"] for source in evaluation["transfer"]["sources"]] == ["features", "random", "pixels"]
    assert [claim["id"] for claim in evaluation["transfer"]["claims"]] == ["start", "slope", "asymptote"]
    points = evaluation["transfer"]["sources"][0]["points"]
    assert [point["per_class"] for point in points] == [1, 2, 5, 10, None] and len(points[0]["draws"]) == 5
    assert len(evaluation["layers"]) == 3 and evaluation["views"] is None
    assert evaluation["trust"]["metrics"]["count"] == saved.facts["metrics"]["test"]["count"]
    assert len(evaluation["trust"]["leaderboard"]) == 2
    assert (
        evaluation["data"]["near_duplicates"]["pixels"]
        and evaluation["data"]["near_duplicates"]["count"] == 0
    )
    assert all(of["label"] != of["suggested"] for of in evaluation["data"]["label_errors"]["images"])
    what = [of["what"] for of in evaluation["missing"]]
    assert what == ["augmented views", "end to end (workflow 1)", "fine-tuning"]
    assert evaluation["verdict"][0] == {
        "tone": "good",
        "text": "Transfer helped: it gave a higher start, a higher slope and a higher asymptote.",
    }


def test_the_same_again_gives_the_same_figures(store: Path, evaluation: dict[str, Any]) -> None:
    again = gather_evidence(
        store, "photos", settings=SETTINGS, random_features=feature_store.open(store, "photos-random")
    )
    assert without_times(again) == without_times(evaluation)


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        timed = ("seconds", "created_at")
        return {name: without_times(of) for name, of in value.items() if not name.endswith(timed)}
    return [without_times(of) for of in value] if isinstance(value, list) else value


def test_it_is_kept_beside_the_head_and_is_current_until_something_changes(
    store: Path, evaluation: dict[str, Any]
) -> None:
    saved, table = load_head(store, "photos"), feature_store.open(store, "photos")
    assert read_evaluation(saved) is None
    path = write_evaluation(saved, evaluation)
    assert path == saved.directory / EVALUATION_FILE
    read = read_evaluation(saved)
    assert read == json.loads(to_json(evaluation)) and read is not None
    assert is_current(read, saved, table, SETTINGS)
    assert not is_current(read, saved, table, Settings(draws=6))
    assert not is_current({**read, "heads": read["heads"][:1]}, saved, table, SETTINGS)
    older = {**read, "table": {**read["table"], "version": 0}}
    assert not is_current(older, saved, table, SETTINGS)
    path.write_text(json.dumps({**read, "format": 0}))
    assert read_evaluation(saved) is None
    path.write_text("{")
    with pytest.raises(BottleneckError, match="is not JSON"):
        read_evaluation(saved)
    path.unlink()


def test_the_text_has_the_verdict_first_and_figures_of_each_part(evaluation: dict[str, Any]) -> None:
    text = format_evidence(evaluation)
    assert text.startswith(evaluation["verdict"][0]["text"] + "\n")
    for title in (
        "Did transfer help?",
        "Which layer?",
        "Which workflow?",
        "Which head?",
        "Near-duplicates",
    ):
        assert f"\n\n{title}" in text
    for claim in evaluation["transfer"]["claims"]:
        assert claim["sentence"] in text
    assert "not measured: augmented views: extract again with some: `views=4`" in text
    assert " (this one)" in text and "Split test: " in text


def test_without_images_features_alone_speak(tmp_path: Path) -> None:
    labels = classes_of(60)
    put_table(tmp_path / "store", features_of(labels), labels)
    train_head(tmp_path / "store", "photos", folds=0)
    evaluation = gather_evidence(tmp_path / "store", "photos", settings=SETTINGS)
    transfer = evaluation["transfer"]
    assert [source["id"] for source in transfer["sources"]] == ["features"]
    assert transfer["helps"] is None and transfer["claims"] == []
    assert "can't be said" in evaluation["verdict"][0]["text"]
    assert not evaluation["data"]["near_duplicates"]["pixels"]
    what = [of["what"] for of in evaluation["missing"]]
    assert "near-duplicates, thumbnails, and learning curves on raw pixels" in what
    assert "learning curves on features of random weights" in what
    assert format_evidence(evaluation)


def test_a_few_images_that_are_gone_are_left_out_of_the_curves(
    tmp_path: Path, sixty_photos: list[str]
) -> None:
    uris = [str(tmp_path / f"{number}.jpg") for number in range(60)]
    for uri, photo in zip(uris, sixty_photos, strict=True):
        Path(uri).write_bytes(Path(photo).read_bytes())
    labels = classes_of(60)
    put_table(tmp_path / "store", features_of(labels), labels, uris=uris)
    train_head(tmp_path / "store", "photos", folds=0)
    Path(uris[5]).unlink()
    evaluation = gather_evidence(tmp_path / "store", "photos", settings=SETTINGS)
    assert evaluation["transfer"]["images"] == 59
    assert [source["id"] for source in evaluation["transfer"]["sources"]] == ["features", "pixels"]
    (lost,) = [of for of in evaluation["missing"] if of["what"] == "raw pixels of 1 image"]
    assert lost["part"] == "transfer" and lost["how"].endswith(f"such as {uris[5]}")


def test_labels_at_random_get_the_verdict_that_nothing_helps(tmp_path: Path, sixty_photos: list[str]) -> None:
    labels = np.random.default_rng(0).permutation(classes_of(60)).tolist()
    features = features_of(classes_of(60))
    put_table(tmp_path / "store", features, labels, uris=sixty_photos)
    train_head(tmp_path / "store", "photos", folds=0)
    first = gather_evidence(tmp_path / "store", "photos", settings=SETTINGS)["verdict"][0]
    assert first["text"].startswith("Transfer was not seen to help"), "60 images can't rule everything out"


def test_several_labels_are_evaluated_too(tmp_path: Path, sixty_photos: list[str]) -> None:
    labels = [("daisy",), ("rose",), ("daisy", "rose"), ("tulip",), ("rose", "tulip")] * 12
    put_table(tmp_path / "store", features_of(labels, scale=0.5), labels, uris=sixty_photos)
    train_head(tmp_path / "store", "photos", folds=0)
    evaluation = gather_evidence(tmp_path / "store", "photos", settings=SETTINGS)
    assert evaluation["skill"] == "macro average precision" and evaluation["transfer"]["helps"]
    assert evaluation["data"]["confused_classes"] is None and evaluation["data"]["balance"] is None
    assert evaluation["trust"]["metrics"]["hamming_loss"] < 0.3
    assert format_evidence(evaluation)


def test_a_head_tested_by_folds_is_evaluated_on_all_images(tmp_path: Path, sixty_photos: list[str]) -> None:
    labels = classes_of(60)
    put_table(tmp_path / "store", features_of(labels), labels, uris=sixty_photos)
    train_head(tmp_path / "store", "photos")
    evaluation = gather_evidence(tmp_path / "store", "photos", settings=SETTINGS)
    assert evaluation["trust"]["metrics"]["count"] == 60 and "folds" in evaluation["trust"]["tested"]


def test_few_images_have_no_curves_and_that_is_said(tmp_path: Path) -> None:
    put_table(tmp_path / "store", features_of(classes_of(6)), classes_of(6), ["train"] * 5 + ["test"])
    train_head(tmp_path / "store", "photos", folds=0)
    evaluation = gather_evidence(tmp_path / "store", "photos", settings=SETTINGS)
    assert evaluation["transfer"] is None and evaluation["layers"] == []
    assert "learning curves and comparisons of layers" in [of["what"] for of in evaluation["missing"]]
    assert format_evidence(evaluation)


def test_settings_out_of_range_are_refused(store: Path) -> None:
    with pytest.raises(BottleneckError, match=r"`draws=4`: expected 5 or more"):
        gather_evidence(store, "photos", settings=Settings(draws=4))
    with pytest.raises(BottleneckError, match=r"`sample=5`: expected 20 or more"):
        sample_of(store, "photos", settings=Settings(sample=5))
    assert len(sample_of(store, "photos", settings=Settings(sample=30))) == 30


def test_features_of_random_weights_are_never_said_to_help(tmp_path: Path, sixty_photos: list[str]) -> None:
    """They may be better than pixels, and nothing was transferred all the same."""
    labels = classes_of(60)
    put_table(tmp_path / "store", features_of(labels), labels, uris=sixty_photos, weights="random")
    train_head(tmp_path / "store", "photos", folds=0)
    evaluation = gather_evidence(tmp_path / "store", "photos", settings=SETTINGS)
    assert evaluation["verdict"][0]["text"].startswith("Nothing was transferred")
    assert evaluation["transfer"]["claims"] == [] and evaluation["transfer"]["helps"] is None
    assert "learning curves on features of random weights" not in [of["what"] for of in evaluation["missing"]]


def test_copies_are_kept_together_and_counted_out(tmp_path: Path, sixty_photos: list[str]) -> None:
    """Every tenth photo is there twice: for training, and re-encoded for testing."""
    uris, labels, splits = list(sixty_photos), classes_of(60), splits_of(60)
    tests = [number for number, split in enumerate(splits) if split == "test"][:4]
    for place, number in enumerate(tests):
        uris[number] = str(tmp_path / f"{number}.jpg")
        labels[number] = labels[place]
        Image.open(sixty_photos[place]).resize((60, 48)).save(uris[number], quality=50)
    features = features_of(labels)
    for X in features.values():
        X[tests] = X[:4] + 0.01
    put_table(tmp_path / "store", features, labels, splits, uris=uris, given_splits=True)
    train_head(tmp_path / "store", "photos", folds=0)
    evaluation = gather_evidence(tmp_path / "store", "photos", settings=SETTINGS)
    assert evaluation["data"]["near_duplicates"]["across_splits"] == 4
    without = evaluation["trust"]["without_duplicates"]
    assert (without["images"], without["count"]) == (4, 8)
    assert any("4 pictures are in two splits" in of["text"] for of in evaluation["verdict"])


def test_of_given_splits_the_sample_has_its_share_of_each(tmp_path: Path) -> None:
    labels, splits = classes_of(300), ["train"] * 270 + ["test"] * 30
    put_table(tmp_path / "store", features_of(labels), labels, splits, given_splits=True)
    train_head(tmp_path / "store", "photos", folds=0)
    sampled = sample_of(tmp_path / "store", "photos", settings=Settings(sample=100))
    assert 9 <= (sampled.splits == "test").sum() <= 11


def test_images_of_one_group_are_no_end(tmp_path: Path) -> None:
    labels, splits = classes_of(60), splits_of(60)
    put_table(
        tmp_path / "store", features_of(labels), labels, splits, groups=["site"] * 60, given_splits=True
    )
    train_head(tmp_path / "store", "photos", folds=0)
    train_head(tmp_path / "store", "photos", layers=LAYERS[0], folds=0)
    evaluation = gather_evidence(tmp_path / "store", "photos", settings=SETTINGS)
    assert evaluation["data"]["label_errors"] == {"count": None, "images": []}
    assert {"label errors", "learning curves and comparisons of layers"} <= {
        of["what"] for of in evaluation["missing"]
    }
    assert evaluation["trust"]["intervals"] == {}, "of one group nothing can be told"
    assert [row["noise"] for row in evaluation["trust"]["leaderboard"]] == [None, None]
    assert format_evidence(evaluation)
