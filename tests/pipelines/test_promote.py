"""Promoting as a command: which head, what is said, and what a scheduler reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads import current_head, read_promotion, train_head
from heads.current import make_current
from pipelines.cli import main
from pipelines.options import PromoteOptions
from pipelines.promote import promote
from tests.heads.conftest import narrow_table
from tests.heads.test_promotion import bad, flowers, good, splits_of


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    features, labels = flowers(200)
    return narrow_table(tmp_path / "store", features, labels, splits_of(200))


def options(table: FeatureTable, **values: Any) -> PromoteOptions:
    return PromoteOptions(store=str(table.store), **values)


def test_the_newest_head_is_promoted_if_it_is_no_worse(table: FeatureTable) -> None:
    first = good(table)
    second = good(table, promote="never")
    assert promote(options(table)) == (
        f"promoted: {second.facts['metrics']['test']['accuracy']:.1%} against "
        f"{first.facts['metrics']['test']['accuracy']:.1%} of the same 80 test images (difference +0.0 "
        f"points, +0.0 to +0.0; p = 1)\n"
        f"head: {second.directory} (now the current one)"
    )
    worse = bad(table, promote="never")
    why, head = promote(options(table)).splitlines()
    assert why.startswith("not promoted: 50.0% against ")
    assert head == f"head: {worse.directory} (the current one stays: {second.id})"
    assert current_head(table.store) == second.id


def test_any_head_can_be_made_the_current_one(table: FeatureTable) -> None:
    worse, better = bad(table), good(table)
    assert promote(options(table, head_id=worse.id, promote="always")).splitlines() == [
        "promoted without a comparison, as was asked for",
        f"head: {worse.directory} (now the current one)",
    ]
    assert promote(options(table, head_id=worse.id)).startswith("it is the current head already\n")
    assert promote(options(table, head_id=better.id)).startswith("promoted: ")
    assert current_head(table.store) == better.id


def test_where_no_head_is_current_it_is_said(table: FeatureTable) -> None:
    from pipelines.promote import head_line, why

    saved = good(table, promote="never")
    assert head_line(saved) == f"head: {saved.directory} (no head is the current one)"
    assert why(saved, options(table)) == "not promoted, as was asked for"
    make_current(table.store, "inception_v3", saved.id)
    assert why(saved, options(table)) == "it is the current head already"


def test_a_rollback_stays_until_there_is_something_new(table: FeatureTable) -> None:
    old, new = good(table), good(table)
    promote(options(table, head_id=old.id, promote="always"))
    assert promote(options(table)).splitlines() == [
        f"nothing to do: head {new.id} was decided on before; HEAD_ID={new.id} decides again: "
        f"{read_promotion(new)['why']}",  # type: ignore[index]
        f"head: {new.directory} (the current one stays: {old.id})",
    ]
    promote(options(table, head_id=new.id, if_undecided=True))
    assert current_head(table.store) == old.id
    newer = good(table, promote="never")
    assert promote(options(table, head_id=newer.id, if_undecided=True)).startswith("promoted: ")
    promote(options(table, head_id=old.id, promote="always"))
    promote(options(table, head_id=newer.id))
    assert current_head(table.store) == newer.id, "who names a head wants a decision"
    promote(options(table, head_id=old.id, promote="always"))
    promote(options(table, promote="always"))
    assert current_head(table.store) == newer.id, "always is never ignored"


def test_where_the_current_head_is_gone_the_newest_is_promoted(table: FeatureTable) -> None:
    first, worse = good(table), bad(table)
    (first.directory / "head.json").write_text("{")
    assert promote(options(table)).startswith("promoted without a comparison: ")
    assert current_head(table.store) == worse.id


def test_a_failure_is_a_line_too(table: FeatureTable, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", f"--store={table.store}", "--json", "--head-id=x", "--features=mine"]) == 1
    out, err = capfd.readouterr()
    facts = json.loads(out)
    assert err == f"bottlenecks promote: {facts.pop('error')}\n"
    assert facts == {"command": "promote", "status": "failed", "exit_code": 1}
    assert main(["evaluate", f"--store={table.store}", "--json", "--head-id=x"]) == 1
    assert capfd.readouterr().out == "", "figures, and no line for a scheduler"


def test_a_scheduler_reads_one_line(table: FeatureTable, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["promote", f"--store={table.store}", "--json"]
    first = good(table, promote="never")
    assert main(arguments) == 0
    out, err = capfd.readouterr()
    assert err == "" and len(out.splitlines()) == 1
    facts = json.loads(out)
    assert facts.pop("seconds") >= 0
    metrics = first.facts["metrics"]["test"]
    assert facts == {
        "command": "promote",
        "status": "promoted",
        "table": "inception_v3",
        "table_version": 1,
        "head": first.id,
        "current_head": first.id,
        "is_current": True,
        "promoted": True,
        "why": "promoted: table 'inception_v3' had no current head",
        "comparisons": [],
        "metrics": {name: metrics[name] for name in ("accuracy", "macro_f1", "log_loss")},
    }
    assert main(arguments) == 0
    facts = json.loads(capfd.readouterr().out)
    assert (facts["status"], facts["is_current"]) == ("nothing to do", True)
    assert facts["why"] == "promoted: table 'inception_v3' had no current head"
    bad(table, promote="never")
    assert main(arguments) == 0, "to keep the better head is no failure"
    facts = json.loads(capfd.readouterr().out)
    assert (facts["status"], facts["promoted"], facts["current_head"]) == ("not promoted", False, first.id)
    assert facts["why"].startswith("not promoted: 50.0% against ")


def test_what_can_not_be_promoted_is_refused(table: FeatureTable, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        BottleneckError, match="there is no head for table 'inception_v3' in .*: train a head first"
    ):
        promote(options(table))
    train_head(table.store, C=0.1)
    with pytest.raises(BottleneckError, match="there is no head 'x' in "):
        promote(options(table, head_id="x"))
    assert main(["promote", f"--store={table.store}", "--backbone=resnet50", "--features=inception_v3"]) == 1
    assert "was trained on efficientnet_v2_s, not on BACKBONE=resnet50" in capfd.readouterr().err
    assert main(["promote", f"--store={table.store}", "--promote=never"]) == 1
    assert capfd.readouterr().err == (
        "bottlenecks promote: --promote never leaves all as it is: expected evidence or always\n"
    )
