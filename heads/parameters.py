"""Temporary until heads are estimators."""

import dataclasses
import json
from typing import Any

from heads.registry import head_class


def parse_parameters(kind: str, pairs: list[str]) -> dict[str, Any]:
    dataclasses.fields(head_class(kind))  # type: ignore[arg-type]
    return {name: json.loads(value) for name, _, value in (pair.partition("=") for pair in pairs)}
