"""Heads: small models trained from stored features, their evaluation and their saved form.

TensorFlow, Keras and scikit-learn are imported by the work that needs them, not by this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from heads.metrics import evaluate, format_metrics
from heads.promotion import promote_head, read_promotion
from heads.registry import HEADS, parse_parameters
from heads.repeats import format_spread
from heads.saved import SavedHead, current_head, list_heads, load_head
from heads.training import train_head

if TYPE_CHECKING:
    from heads.base import Head
    from heads.dense import DenseHead
    from heads.logistic import LogisticHead
    from heads.pixels.end_to_end import train_end_to_end
    from heads.pixels.fine_tuning import fine_tune
    from heads.pixels.models import whole_model

__all__ = [
    "DenseHead",
    "Head",
    "LogisticHead",
    "SavedHead",
    "current_head",
    "evaluate",
    "fine_tune",
    "format_metrics",
    "format_spread",
    "list_heads",
    "load_head",
    "parse_parameters",
    "promote_head",
    "read_promotion",
    "train_end_to_end",
    "train_head",
    "whole_model",
]

#: What is imported when it is first asked for, besides the kinds of heads.
_LATE = (
    "heads.base:Head",
    "heads.pixels.end_to_end:train_end_to_end",
    "heads.pixels.fine_tuning:fine_tune",
    "heads.pixels.models:whole_model",
)


def __getattr__(name: str) -> Any:
    """The class of a kind of head, or what trains on pixels, imported when it is first asked for."""
    for place in (*_LATE, *HEADS.values()):
        module, kind = place.split(":")
        if name == kind:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
