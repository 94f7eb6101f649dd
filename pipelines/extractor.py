"""The one extractor of a process, shared by all that needs it there. Knows nothing of Beam."""

from __future__ import annotations

from typing import NamedTuple

from features.errors import BottleneckError
from features.extractor import InceptionV3
from features.recipe import FeatureRecipe
from features.text import differences_text


class ExtractorSettings(NamedTuple):
    """How every worker makes its extractor, and what the features must come out as."""

    weights: str
    layers: tuple[str, ...]
    engine: str
    recipe: FeatureRecipe


#: The extractor that was loaded last: one at most.
_loaded: dict[ExtractorSettings, InceptionV3] = {}


def make_extractor(settings: ExtractorSettings) -> InceptionV3:
    """An extractor of its own.

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
        raise BottleneckError(
            f"this worker's backbone is not the one of the table: {differences_text(differences)}"
        )
    return extractor


def load_extractor(settings: ExtractorSettings) -> InceptionV3:
    """The process's one extractor. See `make_extractor`."""
    if settings not in _loaded:
        _loaded.clear()
        _loaded[settings] = make_extractor(settings)
    return _loaded[settings]
