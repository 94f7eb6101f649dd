"""Heads: small models trained from stored features, their evaluation and their saved form.

TensorFlow, Keras and scikit-learn are imported by the work that needs them, not by this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from heads.metrics import evaluate, format_metrics
from heads.registry import HEADS, parse_parameters
from heads.repeats import format_spread
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
    "format_spread",
    "list_heads",
    "load_head",
    "parse_parameters",
    "train_head",
]


def __getattr__(name: str) -> Any:
    """The class of a kind of head, or what they share, imported when it is first asked for."""
    for place in ("heads.base:Head", *HEADS.values()):
        module, kind = place.split(":")
        if name == kind:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
