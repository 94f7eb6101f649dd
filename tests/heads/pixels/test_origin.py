"""What a head was trained on, which may be something else by the time that it is fine-tuned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads import SavedHead, fine_tune, load_head, train_end_to_end, train_head
from heads.pixels.origin import check_classes, table_of
from tests.heads.pictures import colored, make_photos, make_table

END_TO_END: dict[str, Any] = {"backbone": "tiny", "weights": "random", "epochs": 1}


@pytest.fixture
def table(tiny: str, tmp_path: Path) -> FeatureTable:
    return make_table(make_photos(tmp_path / "photos"), tmp_path / "store")


def say(saved: SavedHead, **facts: Any) -> SavedHead:
    """The head with other facts; a table's id that is None it does not know."""
    facts = {**saved.facts, **facts}
    if facts.get("table_id", "") is None:
        del facts["table_id"]
    (saved.directory / "head.json").write_text(json.dumps(facts))
    return load_head(saved.store, "tiny", saved.id)


def make_anew(table: FeatureTable, photos: Path) -> FeatureTable:
    shutil.rmtree(table.folder)
    shutil.rmtree(table.rejected_folder)
    return make_table(photos, table.store)


def test_a_table_that_was_made_anew_is_refused_by_its_id(table: FeatureTable, tmp_path: Path) -> None:
    """Of the same images and weights, as far as can be told."""
    table_id = str(table.delta.metadata().id)
    saved = say(train_head(table.store, "tiny", C=1.0), table_id=table_id)
    found, notices = table_of(saved)
    assert found is not None and (found.name, found.version, notices) == ("tiny", 1, [])
    make_anew(table, tmp_path / "photos")
    with pytest.raises(BottleneckError) as error:
        fine_tune(table.store, "tiny", blocks=1)
    assert str(error.value) == (
        f"table 'tiny' is not the one that head {saved.id} was trained on, but was made anew: images may be "
        f"in other splits now. Train a head from it, and fine-tune that"
    )


def test_the_id_is_handed_on_to_a_fine_tuned_head(table: FeatureTable) -> None:
    say(train_head(table.store, "tiny", C=1.0), table_id=str(table.delta.metadata().id))
    saved = fine_tune(table.store, "tiny", learning_rate=3e-3, epochs=2, augment=["none"])
    assert saved.facts["table_id"] == str(table.delta.metadata().id) and saved.facts["from_head"]
    assert table_of(saved)[0]


@pytest.mark.parametrize("folds", [0, 3])
def test_of_a_head_that_does_not_know_its_table_the_rows_are_counted(
    table: FeatureTable, tmp_path: Path, folds: int
) -> None:
    saved = say(train_head(table.store, "tiny", C=1.0, folds=folds), table_id=None)
    assert table_of(saved)[0]
    assert table_of(say(saved, from_head="x"))[0]
    shutil.move(tmp_path / "photos" / "train" / "red" / "2.png", tmp_path / "photos" / "validation" / "red")
    make_anew(table, tmp_path / "photos")
    with pytest.raises(BottleneckError, match="is not the one that head .* was trained on"):
        table_of(saved)


def test_a_table_with_features_of_other_weights_is_refused(table: FeatureTable) -> None:
    saved = train_head(table.store, "tiny", C=1.0)
    for column in saved.facts["columns"]:
        column["recipe"]["weights_sha256"] = "f" * 64
    saved = say(saved)
    with pytest.raises(BottleneckError, match="was built on features made another way: weights_sha256"):
        fine_tune(table.store, "tiny", blocks=1)


def train_on_list(tmp_path: Path) -> tuple[Path, SavedHead]:
    """A list of photos, and a head that was trained end to end on it."""
    lines = ["uri,label,split"]
    for path in sorted(make_photos(tmp_path / "photos").rglob("*.png")):
        lines.append(f"{path},{path.parent.name},{path.parents[1].name}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return tmp_path / "list.csv", train_end_to_end(tmp_path, data=str(tmp_path / "list.csv"), **END_TO_END)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (",train\n", ",test\n"),
        ("red,train\n", "green,train\n"),
        ("red,train\n", "red|warm,train\n"),
        ("uri,label,split\n", "uri,label,then\n"),
    ],
    ids=["a split", "a label", "several labels", "all splits"],
)
def test_other_data_than_an_end_to_end_head_was_trained_on_are_refused(
    tiny: str, tmp_path: Path, old: str, new: str
) -> None:
    images, saved = train_on_list(tmp_path)
    text = images.read_text()
    assert old in text
    images.write_text(text.replace(old, new, 1))
    with pytest.raises(BottleneckError) as error:
        fine_tune(tmp_path, "tiny", blocks=1)
    assert str(error.value) == (
        f"the images of `data={images}`, their labels or their splits are not those that head {saved.id} was "
        f"trained on: train a head on them again, and fine-tune that"
    )


def test_a_changed_image_is_another_one_unless_the_head_does_not_know(tiny: str, tmp_path: Path) -> None:
    _, saved = train_on_list(tmp_path)
    colored(99, "red").save(tmp_path / "photos" / "train" / "red" / "2.png")
    with pytest.raises(BottleneckError, match="are not those that head"):
        fine_tune(tmp_path, "tiny", blocks=1)
    del saved.facts["data"]["sha256"]
    say(saved)
    assert fine_tune(tmp_path, "tiny", blocks=1, epochs=1)


def test_a_class_without_images_to_train_on_is_not_unlearned(table: FeatureTable) -> None:
    saved = train_head(table.store, "tiny", C=1.0)
    check_classes(saved, np.array([0, 1, 2]), "these")
    with pytest.raises(BottleneckError) as error:
        check_classes(saved, np.array([1, 1]), "these")
    assert (
        str(error.value) == f"the train split of these has no image of blue, red, which head {saved.id} knows"
    )
