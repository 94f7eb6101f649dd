"""Heads: small models trained from stored features, their evaluation and their saved form.

TensorFlow, Keras and scikit-learn are imported by the work that needs them, not by this package.
"""

from heads.base import Head
from heads.dense import DenseHead
from heads.logistic import LogisticHead
from heads.metrics import evaluate, format_metrics
from heads.parameters import parse_parameters
from heads.registry import SavedHead, current_head, list_heads, load_head
from heads.training import train_head

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
