"""What a feature is, how one is computed, and where it is kept. Knows neither Beam nor heads.

The extractor is imported when it is first asked for: reading a table needs no decoder and no engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features import store
from features.errors import BottleneckError
from features.recipe import FeatureRecipe
from features.store.table import FeatureTable

if TYPE_CHECKING:
    from features.extractor import Extractor, InceptionV3

__all__ = ["BottleneckError", "Extractor", "FeatureRecipe", "FeatureTable", "InceptionV3", "store"]


def __getattr__(name: str) -> Any:
    if name in ("Extractor", "InceptionV3"):
        from features import extractor

        return getattr(extractor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
