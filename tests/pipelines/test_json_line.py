from __future__ import annotations

import json
import math

import pytest

from pipelines.json_line import json_line, print_json


def test_facts_are_one_line_that_nothing_can_break(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"why": "a\nb\u2028c\x1b[1mé", "p": math.nan, "of": {"low": -math.inf, "list": [1.5, math.nan]}}
    print_json(facts)
    out, err = capsys.readouterr()
    assert err == "" and out == json_line(facts) + "\n"
    assert out.isascii() and len(out.splitlines()) == 1 and "\x1b" not in out
    assert json.loads(out) == {"why": facts["why"], "p": None, "of": {"low": None, "list": [1.5, None]}}
