from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

import heads.evidence.leaderboard
from features import store as feature_store
from heads import load_head, train_head
from heads.evidence.answers import answers_of, answers_of_other
from heads.evidence.images import LabelledRows, labelled_rows
from heads.evidence.leaderboard import leaderboard
from heads.evidence.statistics import holm, paired_p_value
from heads.metrics import interval
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import CLASSES, features_of, put_table


def test_the_leaderboard_says_which_differences_are_noise(store: Path, images: LabelledRows) -> None:
    saved = train_head(store, "photos", layers=LAYERS[0], folds=0)
    answers = answers_of(saved, images)
    board, left_out = leaderboard(saved, answers)
    assert [row["layers"] for row in board] == [[LAYERS[1]], *[[LAYERS[0]]] * 3] and not left_out
    best, *others = board
    true = answers.images.y
    assert best["noise"] is False and best["difference"][1] > 0 and not best["is_head"]
    assert best["skill"] > 0.9 and best["interval"] == interval(round(best["skill"] * 120), 120)
    (own,) = [row for row in board if row["is_head"]]
    assert own["head"] == saved.id and own["noise"] is own["p_value"] is own["difference"] is None
    assert own["log_loss"] == pytest.approx(log_loss(true, answers.probabilities), rel=1e-5)
    again = [row for row in others if row["noise"]]
    assert again and all(
        row["difference"] == [0, 0, 0] for row in again if row["log_loss"] == own["log_loss"]
    )
    skills = [row["skill"] for row in board]
    assert skills == sorted(skills, reverse=True)


def test_p_values_are_adjusted_for_the_number_of_heads(store: Path, images: LabelledRows) -> None:
    saved = train_head(store, "photos", layers=LAYERS[0], folds=0)
    answers = answers_of(saved, images)
    board, _ = leaderboard(saved, answers)
    right = answers.probabilities.argmax(axis=1) == answers.images.y
    ids = [row["head"] for row in board if not row["is_head"]]
    raw = []
    for head_id in ids:
        other = answers_of_other(load_head(store, "photos", head_id), answers)
        right_too = (other.argmax(axis=1) == answers.images.y).astype(float)
        raw.append(paired_p_value(right_too, right.astype(float), answers.images.units))
    assert [row["p_value"] for row in board if not row["is_head"]] == pytest.approx(holm(raw))


def test_heads_that_cannot_be_compared_are_named(
    store: Path, images: LabelledRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = train_head(store, "photos", folds=0)
    monkeypatch.setattr(heads.evidence.leaderboard, "MOST_HEADS", 1)
    board, left_out = leaderboard(saved, answers_of(saved, images))
    assert len(board) == 2 and left_out and all("older than the 1 newest" in line for line in left_out)


def test_a_head_that_cannot_be_loaded_is_left_out(tmp_path: Path, images: LabelledRows, store: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    broken = [train_head(copy, "photos", folds=0) for _ in range(3)]
    saved = train_head(copy, "photos", folds=0)
    (broken[0].directory / "head.skops").unlink()
    (broken[1].directory / "head.skops").write_text("junk")
    (broken[2].directory / "head.skops").write_bytes(b"")
    rows = labelled_rows(feature_store.open(copy, "photos"), CLASSES, multi_label=False)
    _, left_out = leaderboard(saved, answers_of(saved, rows))
    assert len(left_out) == 3 and all("can't be loaded" in line for line in left_out)


def test_images_of_a_group_do_not_make_a_difference_sure(tmp_path: Path) -> None:
    """Intervals and tests are of groups: of 20 patients, and not of their 120 images."""
    labels = [("daisy", "rose")[number // 6 % 2] for number in range(240)]
    splits = ["train"] * 108 + ["validation"] * 12 + ["test"] * 120
    groups = [f"patient {number // 6}" for number in range(240)]
    features = features_of(labels)
    widths = []
    for name, given in (("grouped", groups), ("alone", None)):
        put_table(tmp_path / "store", features, labels, splits, name=name, groups=given, given_splits=True)
        train_head(tmp_path / "store", name, layers=LAYERS[0], folds=0)
        saved = train_head(tmp_path / "store", name, layers=LAYERS[1], folds=0)
        rows = labelled_rows(feature_store.open(tmp_path / "store", name), CLASSES[:2], multi_label=False)
        answers = answers_of(saved, rows)
        first = np.repeat(np.random.default_rng(0).random(20) < 0.5, 6)[: len(answers.images)]
        torn = answers._replace(
            probabilities=np.where(first[:, None], answers.probabilities, answers.probabilities[:, ::-1])
        )
        board, _ = leaderboard(saved, torn)
        (other,) = [row for row in board if not row["is_head"]]
        widths.append(other["difference"][2] - other["difference"][1])
    assert widths[0] > 1.5 * widths[1]


def test_heads_of_several_labels_are_compared_by_the_labels_that_are_right(tmp_path: Path) -> None:
    labels = [("daisy",), ("rose",), ("daisy", "rose"), ("tulip",), ("rose", "tulip")] * 40
    splits = [("train", "train", "validation", "test", "test")[number // 5 % 5] for number in range(200)]
    put_table(tmp_path, features_of(labels), labels, splits)
    other = train_head(tmp_path, "photos", layers=LAYERS[0], folds=0)
    saved = train_head(tmp_path, "photos", layers=LAYERS[1], folds=0)
    rows = labelled_rows(feature_store.open(tmp_path, "photos"), CLASSES, multi_label=True)
    board, left_out = leaderboard(saved, answers_of(saved, rows))
    assert [row["head"] for row in board] == [saved.id, other.id] and not left_out
    for row, head in zip(board, (saved, other), strict=True):
        assert row["skill"] == pytest.approx(1 - head.facts["metrics"]["test"]["hamming_loss"])
        assert row["interval"][0] < row["skill"] < row["interval"][1] and row["workflow"] is None
    assert board[1]["noise"] is False and board[1]["difference"][2] < 0


def test_the_interval_of_a_head_is_of_groups_where_there_are_some(tmp_path: Path) -> None:
    labels = [("daisy", "rose")[number // 6 % 2] for number in range(240)]
    splits = ["train"] * 108 + ["validation"] * 12 + ["test"] * 120
    groups = [f"patient {number // 20}" for number in range(240)]
    put_table(tmp_path, features_of(labels), labels, splits, groups=groups, given_splits=True)
    saved = train_head(tmp_path, "photos", layers=LAYERS[0], folds=0)
    train_head(tmp_path, "photos", layers=LAYERS[1], folds=0)
    rows = labelled_rows(feature_store.open(tmp_path, "photos"), CLASSES[:2], multi_label=False)
    board, _ = leaderboard(saved, answers_of(saved, rows))
    (own,) = [row for row in board if row["is_head"]]
    assert own["interval"] != interval(round(own["skill"] * 120), 120)
    assert all(row["noise"] is not None for row in board if not row["is_head"]), "six groups are enough"
