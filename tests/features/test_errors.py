from __future__ import annotations

import pytest

from features.errors import (
    BottleneckError,
    DriftExceeded,
    InputShrunk,
    MadeAnotherWay,
    TooManyRejected,
    check_known,
)


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    check_known("kind of head", "dense", ["logistic", "dense"])
    with pytest.raises(BottleneckError) as refusal:
        check_known("kind of head", "tree", iter(["logistic", "dense"]))
    assert str(refusal.value) == "there is no kind of head 'tree': choose from logistic, dense"


def test_each_kind_of_failure_has_an_exit_code_of_its_own() -> None:
    kinds = [BottleneckError, TooManyRejected, InputShrunk, MadeAnotherWay, DriftExceeded]
    # 2 is what argparse ends with.
    assert [kind("why").exit_code for kind in kinds] == [1, 3, 4, 5, 6]
    assert all(issubclass(kind, BottleneckError) for kind in kinds)
