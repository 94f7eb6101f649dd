from __future__ import annotations

import subprocess
import sys

import pytest

import heads.evidence


def test_what_gathers_evidence_is_imported_when_it_is_first_asked_for() -> None:
    code = (
        "import sys, heads.evidence.answers, heads.evidence.statistics, heads.evidence.balance;"
        "late = {'sklearn', 'heads.evidence.gathering', 'features.extractor'};"
        "assert not late & set(sys.modules), late & set(sys.modules);"
        "from heads.evidence import gather_evidence; assert 'heads.evidence.gathering' in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_public_name_is_there_and_no_other() -> None:
    for name in heads.evidence.__all__:
        assert getattr(heads.evidence, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'heads.evidence' has no attribute 'gather'"):
        _ = heads.evidence.gather
