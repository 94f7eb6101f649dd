"""The one extractor of a process, shared by all that needs it there. Knows nothing of Beam."""

from __future__ import annotations

from typing import NamedTuple

from features.errors import BottleneckError
from features.extractor import Extractor
from features.recipe import FeatureRecipe
from features.text import differences_text
from pipelines.process import turn_off_opencv_threads
from pipelines.screen import show_download


class ExtractorSettings(NamedTuple):
    """How every worker makes its extractor, and what the features must come out as."""

    weights: str
    layers: tuple[str, ...]
    engine: str
    recipe: FeatureRecipe


#: The extractor that was loaded last: one at most.
_loaded: dict[ExtractorSettings, Extractor] = {}


def make_extractor(settings: ExtractorSettings) -> Extractor:
    """An extractor of its own, with this machine's weights, whatever the recipe says of them."""
    turn_off_opencv_threads()
    return Extractor(
        settings.weights,
        backbone=settings.recipe.backbone,
        layers=settings.layers,
        precision=settings.recipe.precision,
        engine=settings.engine,
        exif_orientation=settings.recipe.exif_orientation,
        progress=show_download,
    )


def load_extractor(settings: ExtractorSettings) -> Extractor:
    """The process's one extractor.

    Raises:
        BottleneckError: where this machine's weights are not those of the recipe.
    """
    if settings not in _loaded:
        _loaded.clear()
        extractor = make_extractor(settings)
        if differences := settings.recipe.differences(extractor.recipe):
            raise BottleneckError(
                f"this worker's backbone is not the one of the table: {differences_text(differences)}"
            )
        _loaded[settings] = extractor
    return _loaded[settings]
