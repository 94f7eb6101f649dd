"""Heads: small models trained from stored features, their evaluation and their saved form.

TensorFlow, Keras and scikit-learn are imported by the work that needs them, not by this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heads.metrics import evaluate, format_metrics
from heads.registry import HEADS, head_class, parse_parameters
from heads.saved import SavedHead, current_head, list_heads, load_head
from heads.training import train_head

if TYPE_CHECKING:
    from heads.base import Head
    from heads.dense import DenseHead
    from heads.logistic import LogisticHead

__all__ = [
    "DenseHead",
    "Head",
    "LogisticHead",
    "SavedHead",
    "current_head",
    "evaluate",
    "format_metrics",
    "list_heads",
    "load_head",
    "parse_parameters",
    "train_head",
]


def __getattr__(name: str) -> Any:
    """The class of a kind of head, or what they share, imported when it is first asked for."""
    for kind, place in HEADS.items():
        if place.endswith(f":{name}"):
            return head_class(kind)
    if name == "Head":
        from heads.base import Head

        return Head
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
