"""What a feature is, how one is computed, and where it is kept. Knows neither Beam nor heads.

`InceptionV3` is imported when it is first asked for: reading a table needs no decoder and no engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features import store
from features.errors import BottleneckError
from features.recipe import LAYER_WIDTHS, FeatureRecipe
from features.store.table import FeatureTable

if TYPE_CHECKING:
    from features.extractor import InceptionV3

__all__ = ["LAYER_WIDTHS", "BottleneckError", "FeatureRecipe", "FeatureTable", "InceptionV3", "store"]


def __getattr__(name: str) -> Any:
    if name == "InceptionV3":
        from features.extractor import InceptionV3

        return InceptionV3
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
