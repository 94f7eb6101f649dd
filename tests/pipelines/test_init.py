"""What the package gives to those who import it."""

from __future__ import annotations

import pytest

import pipelines
from pipelines import driver


def test_what_the_package_names_is_the_drivers() -> None:
    assert pipelines.extract is driver.extract
    assert pipelines.Summary is driver.Summary
    assert [name for name in pipelines.__all__ if not hasattr(pipelines, name)] == []


def test_it_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="^module 'pipelines' has no attribute 'nothing'$"):
        _ = pipelines.nothing
