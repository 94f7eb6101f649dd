"""What the package gives to those who import it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import heads


def test_kinds_of_heads_are_imported_when_they_are_first_asked_for():
    code = (
        "import sys, heads; "
        "late = {'sklearn', 'cv2', 'heads.dense', 'heads.logistic', 'heads.pixels.images'}; "
        "assert not late & {*sys.modules}; "
        "heads.LogisticHead; assert 'heads.logistic' in sys.modules and 'heads.dense' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
    assert [getattr(heads, name).__name__ for name in ("Head", "DenseHead", "LogisticHead")] == [
        "Head",
        "DenseHead",
        "LogisticHead",
    ]
    assert [name for name in heads.__all__ if not hasattr(heads, name)] == []


def test_it_has_nothing_else():
    with pytest.raises(AttributeError, match="^module 'heads' has no attribute 'TreeHead'$"):
        _ = heads.TreeHead
