"""Evidence: did transfer help, and can a head and its data be trusted? From stored features, in minutes.

What a promotion needs of it (`answers`, `statistics`, `balance`) works without the packages of the extra
`report`: the functions that gather all of the evidence are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heads.evidence.evaluation import is_current, read_evaluation, write_evaluation
    from heads.evidence.gathering import gather_evidence, sample_of
    from heads.evidence.subject import Settings

__all__ = ["Settings", "gather_evidence", "is_current", "read_evaluation", "sample_of", "write_evaluation"]

#: The module of each.
_LATE = {
    "Settings": "subject",
    "gather_evidence": "gathering",
    "is_current": "evaluation",
    "read_evaluation": "evaluation",
    "sample_of": "gathering",
    "write_evaluation": "evaluation",
}


def __getattr__(name: str) -> Any:
    """A function of the evidence, imported when it is first asked for."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
