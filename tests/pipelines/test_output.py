"""What is printed of a run and of a store: whole texts, from facts that are made up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.conflicting_images import Conflicts
from features.decodings import DECODING
from features.errors import BottleneckError
from features.locations import features_path, heads_path
from features.recipe import FeatureRecipe
from features.store.commit import Basis
from features.store.parts import write_part
from features.store.table import FeatureTable
from pipelines.options import ExtractOptions, InfoOptions
from pipelines.output import _score_text, info_text, rejection_error, summary_facts, summary_text
from pipelines.runs import PLANNED_SCHEMA, READ, Header, Run
from pipelines.summary import Summary
from tests.tables import NOON, RECIPE, Rejected, add, make_rows, make_table

TRAINED = FeatureRecipe(weights="imagenet", weights_sha256="0123456789abcdef" * 4, precision="bfloat16")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    """A table of trained features, without a row."""
    return make_table(tmp_path_factory.mktemp("report"), np.zeros((0, 2048)), [], name="mine", recipe=TRAINED)


def summary_of(table: FeatureTable, **facts: Any) -> Summary:
    """A run that saw a stored image and had nothing to do, but for some facts."""
    nothing = Summary(
        table=table, run_id="run-1", seen=1, stored=1, rejected=0, unsettled=0, left=0, missing_files=0,
        left_out=0, new=0, new_rejected=0, rejected_again=0, inferred_rows=0, taken_over={}, stale=0,
        precisions=[], reasons={},
        examples=[], missing_from_input=0, rejections_missing_from_input=0, removed=0,
        conflicts=Conflicts([], [], []), seconds=0.0,
    )  # fmt: skip
    return nothing._replace(**facts)


def test_a_run_that_has_nothing_to_do_says_where_everything_is_and_what_comes_next(table: FeatureTable):
    assert summary_text(summary_of(table), ExtractOptions(store=str(table.store))) == (
        "1 image seen = 1 stored + 0 rejected\n"
        "nothing new to extract\n"
        "recipe:   inception_v3, weights imagenet (sha256 0123456789ab…), bfloat16\n"
        f"features: {table.store}/features/mine (version 1)\n"
        f"next:     make train-head STORE={table.store} FEATURES=mine"
    )


def test_a_run_says_all_that_it_saw_and_did(table: FeatureTable):
    summary = summary_of(
        table, seen=12_010, stored=12_000, rejected=3, unsettled=2, left=5, missing_files=1, left_out=2,
        new=7_998, new_rejected=2, rejected_again=0, inferred_rows=7_998, stale=1_234,
        taken_over={"moved": 1_000, "touched": 3, "same_bytes": 2, "relabelled": 1},
        precisions=["bfloat16", "float32"], reasons={"corrupt": 2, "empty": 1},
        missing_from_input=1, removed=1_000,
        conflicts=Conflicts(
            [["/a", "/b\n", "/c"], ["/d", "/e"], ["/f", "/g"], ["/h", "/i"]],
            [["/a", "/b"]],
            [
                ("p\n", {"train": 1234, "test": 1}),
                *((f"p{n}", {"test": 2, "validation": 1}) for n in range(4)),
            ],
        ),
        seconds=16.0,
    )  # fmt: skip
    assert summary_text(summary, ExtractOptions(store=str(table.store))) == (
        "12,010 images seen = 12,000 stored + 3 rejected + 2 changed meanwhile + 5 left to another run\n"
        "1 stored image can't be read now, where the input says it is: the rows stay\n"
        "2 more images left out: the name is not valid UTF-8\n"
        "  2 corrupt: the image's data are damaged\n"
        "  1 empty: the file holds no bytes\n"
        "run it again for those that changed while it went on\n"
        "removed 1,000 images no longer in the input\n"
        "1 stored image is no longer in the input: the rows stay (ARGS=--remove-gone takes them out)\n"
        "4 images are there several times, the same bytes under different labels:\n"
        "  /a = /b\\n = /c\n"
        "  /d = /e\n"
        "  /f = /g\n"
        "  … and 1 more\n"
        "1 image is there several times, the same bytes under different splits:\n"
        "  /a = /b\n"
        "5 groups are torn apart by the splits that the data came with:\n"
        "  p\\n: 1,234 in train, 1 in test\n"
        "  p0: 2 in test, 1 in validation\n"
        "  p1: 2 in test, 1 in validation\n"
        "  … and 2 more\n"
        "7,998 extracted by this run, 2 rejected in 16.0 s, 500.0 images/s\n"
        "features taken over without inference: 1,000 moved, 3 touched and the same, 2 with the bytes of "
        "another, 1 with other labels, groups or splits\n"
        "1,234 stored images are from before some images of their format "
        "were read as they are now (ARGS=--redo-decoding makes "
        "them anew)\n"
        "recipe:   inception_v3, weights imagenet (sha256 0123456789ab…), bfloat16\n"
        "          computed in bfloat16 and float32 by this run: its engine or processor has no bfloat16 "
        "arithmetic\n"
        f"features: {table.store}/features/mine (version 1)\n"
        f"rejected: {table.store}/rejected/mine\n"
        f"next:     make train-head STORE={table.store} FEATURES=mine"
    )


def test_a_run_without_faults_has_lines_for_none_and_untrained_weights_are_told_last(tmp_path: Path):
    table = make_table(tmp_path, np.zeros((0, 2048)), [])
    summary = summary_of(
        table, seen=4, stored=0, missing_files=2, left_out=1, new=3, precisions=["float32"],
        missing_from_input=2, removed=1, seconds=2.0,
        conflicts=Conflicts([["/a", "/b"]] * 3, [], [("p", {"train": 1, "test": 1})]),
    )  # fmt: skip
    assert summary_text(summary, ExtractOptions(store=str(tmp_path))) == (
        "4 images seen = 0 stored + 0 rejected\n"
        "2 stored images can't be read now, where the input says it is: the rows stay\n"
        "1 more image left out: the name is not valid UTF-8\n"
        "removed 1 image no longer in the input\n"
        "2 stored images are no longer in the input: the rows stay (ARGS=--remove-gone takes them out)\n"
        "3 images are there several times, the same bytes under different labels:\n"
        "  /a = /b\n"
        "  /a = /b\n"
        "  /a = /b\n"
        "1 group is torn apart by the splits that the data came with:\n"
        "  p: 1 in train, 1 in test\n"
        "3 extracted by this run in 2.0 s, 1.5 images/s\n"
        "recipe:   inception_v3, weights random (sha256 000000000000…), float32\n"
        f"features: {tmp_path}/features/inception_v3 (version 1)\n"
        f"{UNTRAINED}"
    )


def test_features_that_are_taken_over_are_something_that_a_run_did(table: FeatureTable):
    text = summary_text(summary_of(table, taken_over={"relabelled": 2}, stale=1), ExtractOptions())
    assert text.splitlines()[1:3] == [
        "features taken over without inference: 2 with other labels, groups or splits",
        "1 stored image is from before some images of their format "
        "were read as they are now (ARGS=--redo-decoding makes them "
        "anew)",
    ]


def test_rows_of_views_are_told_beside_the_images_that_were_inferred(tmp_path: Path):
    table = make_table(tmp_path, np.zeros((3, 2048)), ["a"] * 3, ["train"] * 3, views=[0, 1, 2])
    text = summary_text(summary_of(table, new=1, inferred_rows=3, seconds=0.5), ExtractOptions())
    assert text.splitlines()[1] == "1 extracted by this run (3 rows, with views) in 0.5 s, 2.0 images/s"


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, "nothing to do"),
        ({"missing_from_input": 3, "stale": 2}, "nothing to do"),
        ({"new": 1}, "extracted"),
        ({"new_rejected": 1}, "extracted"),
        ({"taken_over": {"touched": 1}}, "extracted"),
        ({"removed": 1}, "extracted"),
    ],
)
def test_a_scheduler_is_told_what_a_run_did(table: FeatureTable, facts: dict[str, Any], status: str):
    told = summary_facts(summary_of(table, seconds=1.2345, **facts), ExtractOptions())
    assert json.loads(json.dumps(told)) == told
    expected = {
        "command": "extract",
        "status": status,
        "run_id": "run-1",
        "table": "mine",
        "table_version": 1,
        "data": "digits",
        "seen": 1,
        "stored": 1,
        "rejected": 0,
        "left": 0,
        "unsettled": 0,
        "inferred": 0,
        "inferred_rows": 0,
        "taken_over": {},
        "newly_rejected": 0,
        "rejected_again": 0,
        "reasons": {},
        "missing_from_input": 0,
        "rejections_missing_from_input": 0,
        "removed": 0,
        "missing_files": 0,
        "stale": 0,
        "views": 0,
        "untrained": False,
        "fingerprints": {"avg_pool": TRAINED.fingerprint("avg_pool")},
        "seconds": 1.23,
    }
    names = {"new": "inferred", "new_rejected": "newly_rejected"}
    assert told == expected | {names.get(name, name): value for name, value in facts.items()}


BAD = [
    ("/a\n.jpg", "empty", "0 bytes"),
    ("/b.jpg", "empty", "0\tbytes"),
]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, None),
        ({"seen": 0, "stored": 0}, None),
        ({"stored": 9, "rejected": 1, "new": 9, "new_rejected": 1, "examples": BAD}, None),
        ({"new_rejected": 3, "rejected_again": 3}, None),
        ({"new_rejected": 1, "taken_over": {"moved": 8, "touched": 1}}, None),
        (
            {"seen": 1, "stored": 0, "rejected": 1, "examples": BAD[1:]},
            "nothing is stored: 1 of 1 image are rejected. The first that are empty: /b.jpg (0\\tbytes). "
            "Copy or download them again",
        ),
        (
            {"seen": 2_000, "stored": 0, "rejected": 1_999, "unsettled": 1},
            "nothing is stored: 1,999 of 2,000 images are rejected",
        ),
        (
            {"new": 3, "new_rejected": 1, "examples": BAD},
            "25% of the images tried were rejected, more than `max_rejected=0.1` allows; the others are "
            "stored. The first that are empty: /a\\n.jpg (0 bytes); /b.jpg (0\\tbytes). Copy or download "
            "them again",
        ),
        (
            {"new_rejected": 1},
            "100% of the images tried were rejected, more than `max_rejected=0.1` allows",
        ),
    ],
)
def test_a_run_fails_over_too_many_rejected_images_and_says_why(
    table: FeatureTable, facts: dict[str, object], expected: str | None
):
    assert rejection_error(summary_of(table, **facts), ExtractOptions()) == expected


def test_how_many_rejected_images_are_too_many_is_an_option(table: FeatureTable):
    summary = summary_of(table, new=3, new_rejected=1)
    assert rejection_error(summary, ExtractOptions(max_rejected=0.25)) is None
    error = rejection_error(summary, ExtractOptions(max_rejected=0.2))
    assert error is not None and "more than `max_rejected=0.2` allows" in error


COLUMNS = [{"layer": "mixed8"}, {"layer": "avg_pool"}]


def write_heads(table: FeatureTable, *, current: str) -> None:
    """Two heads, as far as reports look at them."""
    folder = heads_path(table.store, table.name)
    for number, head_id in enumerate(("a-logistic", "b-dense")):
        (folder / head_id).mkdir(parents=True)
        test = {"accuracy": 0.8764 - 0.25 * number, "macro_f1": 0.1}
        facts: dict = {"id": head_id, "created_at": f"{2026 + number}", "table_version": number + 1}
        facts |= {"metrics": {"test": test}, "splits": {"tested": ["test"]}, "columns": COLUMNS}
        facts["weights"] = ("imagenet", "weights/b\n.weights.h5")[number]
        (folder / head_id / "head.json").write_text(json.dumps(facts))
    (folder / "current.json").write_text(json.dumps({"id": current}))


def test_a_table_is_shown_with_its_recipe_counts_runs_and_heads(tmp_path: Path):
    bad = Rejected("/bad.png", "empty", "0 bytes", 0, None)
    recipe = dataclasses.replace(TRAINED, exif_orientation=True)
    labels: list[list[str]] = [["rose"], ["rose", "a\nb"], ["rose"], ["rose"], []]
    splits = ["train", "validation", "test", "train", "test"]
    table = make_table(tmp_path, np.zeros((5, 2048)), labels, splits, recipe=recipe, rejected=[bad])
    rows = make_rows(table.facts, np.zeros((1, 2048)), ["a\nb"], ["train"], prefix="new", run_id="run-2")
    folder = features_path(tmp_path, table.name)
    add(table, write_part(folder, [rows], table.facts.schema, {"run-2": DECODING}))
    table = feature_store.open(tmp_path)
    write_heads(table, current="a-logistic")
    planning, working = Run(tmp_path, "run-3"), Run(tmp_path, "run-4")
    image = {"uri": "/new.png", "labels": ["rose"], "size": 1, "modified_at": NOON}
    image |= {"action": READ, "same_size": False, "attempts": 0}
    with planning.kept_alive(table.name, local=True), working.kept_alive(table.name, local=True):
        slices = [pa.Table.from_pylist([image, image], PLANNED_SCHEMA)]
        working.write_plan(Header(table.name, Basis.of(table)), slices)
        text = info_text(InfoOptions(store=str(tmp_path)))
    assert text == (
        "inception_v3  (version 2, 6 rows, 1 rejected image)\n"
        "  data      digits\n"
        "  recipe    inception_v3, weights imagenet (sha256 0123456789ab…), bfloat16\n"
        "            photos turned as their EXIF data say\n"
        f"  decoding  {DECODING} (1 row), 0 (5 rows)\n"
        f"            5 images are read otherwise since number {DECODING} "
        "(ARGS=--redo-decoding makes them anew)\n"
        f"  layer     avg_pool, fingerprint {recipe.fingerprint('avg_pool')}\n"
        "  class            train  validation        test         all\n"
        "  (no label)           0           0           1           1\n"
        "  a\\nb                 1           1           0           2\n"
        "  rose                 2           1           1           4\n"
        "  run       run-4 is at work on 2 images\n"
        "  run       run-3 is at work on its plan\n"
        "  head      a-logistic (current): test accuracy 0.876, from mixed8, avg_pool of version 1\n"
        "  head      b-dense: test accuracy 0.626, from mixed8, avg_pool of version 2, "
        "weights weights/b\\n.weights.h5"
    )


@pytest.mark.parametrize(
    ("tested", "figures", "expected"),
    [
        (["test"], {"accuracy": 0.5}, "test accuracy 0.500"),
        (["folds", "test"], {"accuracy": 0.5}, "test accuracy 0.500"),
        (["folds"], {"accuracy": 0.5}, "7-fold accuracy 0.500"),
        (
            ["test"],
            {"accuracy": 0.5, "hamming_loss": 0.1, "average_precision": {"macro": 0.25}},
            "test average precision 0.250",
        ),
    ],
)
def test_the_figure_of_a_head_and_where_it_is_from(tested: list[str], figures: dict, expected: str):
    head = {"metrics": {"test": figures}, "splits": {"tested": tested, "folds": 7}}
    assert _score_text(head) == expected


def test_heads_that_no_table_belongs_to_are_shown_too(tmp_path: Path):
    make_table(tmp_path, np.zeros((1, 2048)), ["x"], ["test"])
    for name, head_id in (("inception_v3", "a"), ("photos", "b"), ("without", None)):
        folder = heads_path(tmp_path, name)
        folder.mkdir(parents=True)
        if head_id:
            facts: dict = {
                "id": head_id,
                "created_at": "2026",
                "table_version": None,
                "data": {"source": "/a\nb"},
            }
            (folder / head_id).mkdir()
            facts |= {
                "metrics": {"test": {"accuracy": 0.5}},
                "splits": {"tested": ["test"]},
                "columns": COLUMNS,
            }
            (folder / head_id / "head.json").write_text(json.dumps(facts))
            (folder / "current.json").write_text(json.dumps({"id": "b"}))
    text = info_text(InfoOptions(store=str(tmp_path)))
    assert text.splitlines()[-4:] == [
        "  head      a: test accuracy 0.500, from mixed8, avg_pool of /a\\nb",
        "",
        "photos  (heads without a table)",
        "  head      b (current): test accuracy 0.500, from mixed8, avg_pool of /a\\nb",
    ]
    assert info_text(InfoOptions(store=str(tmp_path), features="photos")) == "\n".join(text.splitlines()[-2:])


def test_every_table_of_a_store_is_shown_or_the_one_that_is_named(tmp_path: Path):
    make_table(tmp_path, np.zeros((0, 2048)), [], name="empty", recipe=TRAINED)
    make_table(tmp_path, np.zeros((1, 2048)), ["x"], ["test"])
    empty = (
        "empty  (version 1, 0 rows, 0 rejected images)\n"
        "  data      digits\n"
        "  recipe    inception_v3, weights imagenet (sha256 0123456789ab…), bfloat16\n"
        f"  layer     avg_pool, fingerprint {TRAINED.fingerprint('avg_pool')}\n"
        "  class       train  validation        test         all\n"
        f"  no head yet: run `make train-head STORE={tmp_path} FEATURES=empty`"
    )
    other = (
        "inception_v3  (version 1, 1 row, 0 rejected images)\n"
        "  data      digits\n"
        "  recipe    inception_v3, weights random (sha256 000000000000…), float32\n"
        "  decoding  0 (1 row)\n"
        f"            1 image is read otherwise since number {DECODING} "
        "(ARGS=--redo-decoding makes them anew)\n"
        f"  layer     avg_pool, fingerprint {RECIPE.fingerprint('avg_pool')}\n"
        f"  {UNTRAINED}\n"
        "  class       train  validation        test         all\n"
        "  x               0           0           1           1\n"
        f"  no head yet: run `make train-head STORE={tmp_path}`"
    )
    assert info_text(InfoOptions(store=str(tmp_path))) == f"{empty}\n\n{other}"
    assert info_text(InfoOptions(store=str(tmp_path), features="empty")) == empty
    assert info_text(InfoOptions(store=str(tmp_path), backbone="inception_v3")) == other


@pytest.mark.parametrize(
    ("groups", "splits", "line"),
    [
        (["p", "q", "p", None, None], ["train", "test", "train", "train", "test"], "2 (each in one split)"),
        (
            ["p", "q", "p", "q", "r"],
            ["test", "test", "train", "train", "test"],
            "3 (2 torn apart by given splits)",
        ),
        ([], [], "0 (each in one split)"),
    ],
)
def test_the_groups_of_a_table_are_counted(
    tmp_path: Path, groups: list[str | None], splits: list[str], line: str
):
    rows = len(groups)
    make_table(tmp_path, np.zeros((rows, 2048)), ["x"] * rows, splits, groups)
    lines = info_text(InfoOptions(store=str(tmp_path))).splitlines()
    place = lines.index(f"  groups    {line}")
    assert lines[place - 1].startswith("  layer ") and lines[place + 1] == f"  {UNTRAINED}"


def test_a_table_without_labels_is_for_no_head(tmp_path: Path):
    make_table(tmp_path, np.zeros((2, 2048)), [[], []], ["train", "test"])
    assert "no head yet" not in info_text(InfoOptions(store=str(tmp_path)))


def test_what_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(BottleneckError, match="no features named 'inception_v3'.*: extract features first"):
        info_text(InfoOptions(store=str(tmp_path)))
    make_table(tmp_path, np.zeros((0, 2048)), [])
    with pytest.raises(BottleneckError, match="'resnet50'"):
        info_text(InfoOptions(store=str(tmp_path), backbone="resnet50"))
    with pytest.raises(BottleneckError, match="made with `backbone=inception_v3`, not resnet50"):
        info_text(InfoOptions(store=str(tmp_path), features="inception_v3", backbone="resnet50"))


@pytest.mark.parametrize(
    ("views", "line"),
    [
        ([0, 1, 2, 0, 1, 2, 0, 0], "2 of each training image (4 rows)"),
        ([0, 1, 2, 0, 1, 0, 0, 0], "up to 2 of each training image (3 rows, 5 missing)"),
    ],
)
def test_views_are_shown_apart_from_the_images(tmp_path: Path, views: list[int], line: str):
    splits = ["train"] * 6 + (["test"] * 2 if line.startswith("2") else ["train", "test"])
    labels = ["x"] * 3 + ["y"] * 5
    groups = ["p"] * 6 + ["q", "r"]
    make_table(tmp_path, np.zeros((8, 2048)), labels, splits, groups, views=views)
    lines = info_text(InfoOptions(store=str(tmp_path))).splitlines()
    assert lines[0] == "inception_v3  (version 1, 8 rows, 0 rejected images)"
    place = lines.index(f"  views     {line}")
    assert lines[place + 1] == "  groups    3 (each in one split)"
    images = {label: views.count(0) - 1 if label == "y" else 1 for label in "xy"}
    counts = {words[0]: words[1:] for words in map(str.split, lines) if words[0] in images}
    in_test = splits.count("test")
    assert counts == {
        "x": ["1", "0", "0", "1"],
        "y": [str(images["y"] - in_test), "0", str(in_test), str(images["y"])],
    }
