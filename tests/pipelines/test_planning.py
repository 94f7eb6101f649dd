from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.commit import Rejected
from features.inputs.reference import ImageRef
from features.splits import assign_split
from features.table import FeatureTable
from pipelines.planning import find_conflicts, make_plan
from tests.tables import NOON, make_table

AT_NOON = round(NOON.timestamp() * 1_000_000)
BAD = Rejected("/images/bad.png", "corrupt", "no image in it", None, None)


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    return make_table(tmp_path, np.zeros((3, 2048), np.float32), ["a", "b", "a"], rejected=[BAD])


def ref(number: int, label: str, **facts: object) -> ImageRef:
    image = ImageRef(f"/images/image-{number}.png", (label,), None, 100, AT_NOON)
    return image._replace(**facts)  # type: ignore[arg-type]


STORED = [ref(0, "a"), ref(1, "b"), ref(2, "a")]
REJECTED = ImageRef(BAD.uri, ("a",), None, None, None)


def test_nothing_is_to_do_when_nothing_changed(table: FeatureTable):
    plan = make_plan([*STORED, REJECTED], table)
    assert (plan.todo, plan.stored, plan.rejected, plan.gone) == ([], 3, 1, frozenset())
    assert plan.version == table.version


def test_new_images_are_to_do_and_replace_nothing(table: FeatureTable):
    plan = make_plan([*STORED, ref(3, "b")], table)
    assert plan.todo == [ref(3, "b")] and not plan.replaced


@pytest.mark.parametrize(
    "change",
    [{"size": 101}, {"modified_at": AT_NOON + 1}, {"labels": ("b",)}, {"labels": ("a", "b")}],
)
def test_a_changed_image_takes_the_place_of_its_rows(table: FeatureTable, change: dict[str, object]):
    changed = ref(0, "a", **change)
    plan = make_plan([changed, *STORED[1:]], table)
    assert plan.todo == [changed] and plan.replaced == {changed.uri} and plan.stored == 2


def test_another_given_split_is_a_change_and_the_same_one_is_not(table: FeatureTable):
    (image_id,) = (
        row["image_id"]
        for row in table.metadata(["uri", "image_id"]).to_pylist()
        if row["uri"] == STORED[0].uri
    )
    own = assign_split(image_id, None)
    other = next(split for split in ("train", "test") if split != own)
    assert make_plan([STORED[0]._replace(split=own)], table).todo == []
    assert make_plan([STORED[0]._replace(split=other)], table).replaced == {STORED[0].uri}


def test_rejected_images_are_tried_again_when_changed_or_asked_for(table: FeatureTable):
    mended = REJECTED._replace(size=50, modified_at=AT_NOON)
    assert make_plan([mended], table).replaced == {BAD.uri}
    assert make_plan([REJECTED], table, retry_rejected=True).todo == [REJECTED]


def test_images_that_have_gone_are_counted(table: FeatureTable):
    assert make_plan(STORED[:1], table).gone == {STORED[1].uri, STORED[2].uri, BAD.uri}


def test_the_same_bytes_under_two_labels_or_splits_are_found(tmp_path: Path):
    from features import store as feature_store
    from features.commit import Chunk, commit_chunk
    from features.locations import features_path
    from features.parts import write_part
    from tests.tables import make_rows

    table = make_table(tmp_path, np.zeros((4, 2048), np.float32), ["a", "b", "a", "a"], ["train"] * 4)
    assert find_conflicts(table) == ([], [])
    batch = make_rows(
        table.facts, np.zeros((2, 2048), np.float32), ["b", "b"], ["train", "test"], prefix="copy"
    )
    ids = table.metadata(["image_id"]).column("image_id").combine_chunks()[:2]
    batch = batch.set_column(0, table.facts.schema.field("image_id"), ids)
    part = write_part(features_path(tmp_path, table.name), [batch], table.facts.schema)
    commit_chunk(tmp_path, table.name, Chunk("run-2", 1, table.version), [part], [], {})
    found = find_conflicts(feature_store.open(tmp_path))
    assert found.labels == [["/images/copy-0.png", "/images/image-0.png"]]
    assert found.splits == [["/images/copy-1.png", "/images/image-1.png"]]
