from __future__ import annotations

import dataclasses
import re
import sys
from typing import Literal

import pytest

import heads
from features.errors import BottleneckError
from heads.registry import HEADS, head_class, new_head, parse_parameters


@pytest.mark.parametrize("kind", HEADS)
def test_each_line_names_a_class_of_that_kind(kind: str) -> None:
    cls = head_class(kind)
    assert cls.kind == kind
    assert getattr(heads, cls.__name__) is cls
    assert "seed" in cls().get_params()


def test_a_kind_is_a_module_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nearest(heads.LogisticHead):
        kind = "nearest"
        neighbours: int = 5
        weighted: bool = True
        sparse: bool | None = None
        metric: Literal["cosine", "euclidean"] = "cosine"

    monkeypatch.setattr(sys.modules[__name__], "Nearest", dataclasses.dataclass(Nearest), raising=False)
    monkeypatch.setitem(HEADS, "nearest", f"{__name__}:Nearest")
    settings = ["neighbours=3", "weighted=false", "metric=euclidean"]
    parameters = new_head("nearest", parse_parameters("nearest", settings)).get_params()
    assert (parameters["neighbours"], parameters["weighted"], parameters["metric"]) == (3, False, "euclidean")
    with pytest.raises(BottleneckError, match="expects one of cosine, euclidean for metric, not 'l2'"):
        parse_parameters("nearest", ["metric=l2"])
    words = (["sparse=True"], ["sparse=none"], ["weighted=FALSE", "metric=Cosine"])
    assert [parse_parameters("nearest", settings) for settings in words] == [
        {"sparse": True},
        {"sparse": None},
        {"weighted": False, "metric": "cosine"},
    ]
    with pytest.raises(BottleneckError, match="expects true or false or none for sparse, not 'maybe'"):
        parse_parameters("nearest", ["sparse=maybe"])
    with pytest.raises(BottleneckError, match="expects true or false for weighted, not '3'"):
        parse_parameters("nearest", ["weighted=3"])


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(BottleneckError, match="'forest': choose from logistic, dense"):
        head_class("forest")


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'ForestHead'"):
        heads.ForestHead  # noqa: B018
    assert heads.Head.__subclasses__()


def test_parameters_are_read_by_the_types_of_the_fields() -> None:
    settings = ["hidden=64", " dropout = 0.3", "batch_size=none", "learning_rate=1e-4"]
    parameters = parse_parameters("dense", settings)
    assert parameters == {"hidden": 64, "dropout": 0.3, "batch_size": None, "learning_rate": 1e-4}
    assert type(parameters["hidden"]) is int
    assert parse_parameters("dense", ["batch_size=32"]) == {"batch_size": 32}
    assert parse_parameters("logistic", ["C=1"]) == {"C": 1.0}
    assert parse_parameters("logistic", []) == {}
    with pytest.raises(BottleneckError, match="'hidden' is set twice, to 3 and to 4"):
        parse_parameters("dense", ["hidden=3", "hidden=4"])
    with pytest.raises(BottleneckError, match="'hidden' sets no parameter: expected NAME=VALUE"):
        parse_parameters("dense", ["hidden"])


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (
            "logistic",
            "hidden=3",
            "a logistic head has no parameter 'hidden': it takes C, calibration, class_weight, seed",
        ),
        ("dense", "hidden", "'hidden' sets no parameter: expected NAME=VALUE"),
        ("dense", "hidden=3=4", "a dense head expects a whole number for hidden, not '3=4'"),
        ("dense", "=3", "'=3' sets no parameter: expected NAME=VALUE"),
        ("dense", "hidden=6.5", "a dense head expects a whole number for hidden, not '6.5'"),
        (
            "dense",
            "batch_size=many",
            "a dense head expects a whole number or none for batch_size, not 'many'",
        ),
        ("logistic", "C=", "a logistic head expects a number or none for C, not ''"),
        ("dense", "dropout=none", "a dense head expects a number for dropout, not 'none'"),
        ("forest", "C=1", "there is no head of kind 'forest'"),
    ],
)
def test_a_setting_that_is_wrong_is_refused(kind: str, setting: str, message: str) -> None:
    with pytest.raises(BottleneckError, match=re.escape(message)):
        parse_parameters(kind, [setting])


def test_the_same_setting_twice_is_no_contradiction() -> None:
    assert parse_parameters("dense", ["hidden=3", "hidden= 3"]) == {"hidden": 3}


def test_all_unknown_parameters_are_named() -> None:
    with pytest.raises(BottleneckError) as caught:
        new_head("logistic", {"units": 3, "depth": 2, "C": 1.0})
    assert (
        str(caught.value)
        == "a logistic head has no parameter 'depth', 'units': it takes C, calibration, class_weight, seed"
    )
