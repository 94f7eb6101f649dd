from __future__ import annotations

import pytest

from features.errors import BottleneckError, check_known


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    check_known("kind of head", "dense", ["logistic", "dense"])
    with pytest.raises(BottleneckError) as refusal:
        check_known("kind of head", "tree", iter(["logistic", "dense"]))
    assert str(refusal.value) == "there is no kind of head 'tree': choose from logistic, dense"
