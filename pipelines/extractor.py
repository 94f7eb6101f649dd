"""The one extractor of a process, shared by all that needs it there. Knows nothing of Beam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from features.errors import BottleneckError
from features.inception import InceptionV3
from features.inputs.reference import ImageRef
from features.recipe import FeatureRecipe

#: Images in one call of the extractor: many, since within a call they are read ahead of inference.
CALL_IMAGES = 4096


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
        told = ", ".join(f"{name} {was} against {now}" for name, (was, now) in differences.items())
        raise BottleneckError(f"this worker's backbone is not the one of the table: {told}")
    return extractor


def load_extractor(settings: ExtractorSettings) -> InceptionV3:
    """The process's one extractor: chunks that follow one another share it. See `make_extractor`."""
    if settings not in _loaded:
        _loaded.clear()
        _loaded[settings] = make_extractor(settings)
    return _loaded[settings]


def in_order(images: Iterable[ImageRef]) -> list[ImageRef]:
    """The images of a call as they are extracted, in whatever order Beam hands them over."""
    return sorted(images, key=lambda image: image.uri)


def forget_begun() -> None:
    """Drop what the extractor has begun and nobody asked for: the next run may find the files changed."""
    for extractor in _loaded.values():
        extractor.coming = ()
        extractor.begin(())
