"""The one extractor of a process, shared by all that needs it there. Knows nothing of Beam."""

from __future__ import annotations

import functools
from typing import NamedTuple

from features.errors import BottleneckError
from features.inception import InceptionV3
from features.recipe import FeatureRecipe


class ExtractorSettings(NamedTuple):
    """How every worker makes its extractor, and what the features must come out as."""

    weights: str
    layers: tuple[str, ...]
    engine: str
    recipe: FeatureRecipe


@functools.lru_cache(maxsize=1)
def load_extractor(settings: ExtractorSettings) -> InceptionV3:
    """The process's one extractor: chunks that follow one another share it.

    Raises:
        BottleneckError: where this machine's weights are not those of the recipe.
    """
    extractor = InceptionV3(
        settings.weights,
        layers=settings.layers,
        precision=settings.recipe.precision,
        engine=settings.engine,
        exif_orientation=settings.recipe.exif_orientation,
    )
    differences = settings.recipe.differences(extractor.recipe)
    if differences:
        told = ", ".join(f"{name} {was} against {now}" for name, (was, now) in differences.items())
        raise BottleneckError(f"this worker's backbone is not the one of the table: {told}")
    return extractor
