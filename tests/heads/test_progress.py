from __future__ import annotations

import subprocess
import sys

from heads.progress import silent


def test_nobody_is_told_anything_and_nothing_heavy_is_imported() -> None:
    assert silent(1, 2, {"loss": 0.5}) is None  # type: ignore[func-returns-value]
    code = "import sys, heads.progress; assert not {'sklearn', 'keras'} & {*sys.modules}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
