"""One line of JSON on the standard output: what a command did, for a scheduler that goes on from it.

Nothing else is printed there; what is said for people goes to the standard error stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from heads.saved import finite


def json_line(facts: Mapping[str, Any]) -> str:
    """Facts as one line, in ASCII, so that no name in it can break the line; NaN and infinity are null."""
    return json.dumps(finite(facts), allow_nan=False)


def print_json(facts: Mapping[str, Any]) -> None:
    """Print facts as one line."""
    print(json_line(facts), flush=True)
