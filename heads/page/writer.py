"""Writing the page of an evaluation: thumbnails and the map are made, sections put together in one file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features import files
from heads.evidence.packages import PAGE, check_packages
from heads.page.choices import choices_section
from heads.page.data import data_section
from heads.page.document import render
from heads.page.feature_map import FeatureMap, make_map
from heads.page.figures import items
from heads.page.map_section import map_section
from heads.page.missing import missing_section
from heads.page.overview import facts_section, verdict_section
from heads.page.parts import Section
from heads.page.pictures import Album, named_images
from heads.page.thumbnails import thumbnails
from heads.page.transfer import transfer_section
from heads.page.trust import trust_section

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: Called with a sentence as the page is made.
Progress = Callable[[str], None]

#: Images that the evaluation names: side in pixels, quality, bytes in all. Shown smaller, for dense screens.
_named = functools.partial(thumbnails, side=256, quality=70, most_bytes=2_500_000)
#: Those of the map.
_on_map = functools.partial(thumbnails, side=96, quality=55)
_MOST_ON_MAP = 5_000_000
#: Bytes of the whole file, with room to 15 MB.
_MOST = 14_500_000


def write_page(
    evaluation: Mapping[str, Any], table: FeatureTable, output: Path, *, progress: Progress | None = None
) -> Path:
    """Write the page, one self-contained HTML file of less than 15 MB.

    It needs no server and no network, and the same evaluation and table give the same bytes. What the
    evaluation could not measure is said to be missing; an image that can't be read is said to be so.

    Args:
        evaluation: what `evaluation.json` holds.
        table: of the features, for the map; its images are read for their thumbnails.
        output: the file.
        progress: called with a sentence before each step that takes time.

    Returns:
        The file.

    Raises:
        BottleneckError: where a package of the extra `report` is missing.
    """
    check_packages(PAGE)
    tell = progress or (lambda sentence: None)
    orientation = table.recipe.exif_orientation
    named = named_images(evaluation)
    tell(f"Thumbnails of {len(named)} images that the evaluation names")
    album = Album(_named(named, exif_orientation=orientation))
    tell("Map of the features")
    found, why = _map(evaluation, table, named)
    uris = found.uris if found else []
    tell(f"Thumbnails of {len(uris)} images on the map")
    without = len(render(evaluation, make_sections(evaluation, album, found, {}, why)).encode())
    room = max(0, min(_MOST_ON_MAP, _MOST - without))
    small = _on_map(uris, exif_orientation=orientation, most_bytes=room)
    files.write(output, render(evaluation, make_sections(evaluation, album, found, small, why)))
    return output


def make_sections(
    evaluation: Mapping[str, Any],
    album: Album,
    found: FeatureMap | None,
    small: Mapping[str, str | None],
    why: str = "",
) -> list[Section]:
    """The page's sections in their order.

    Args:
        album: pictures of the images that the evaluation names.
        found: the map, or None.
        small: thumbnails of its images by file.
        why: there is no map.
    """
    return [
        verdict_section(evaluation),
        transfer_section(evaluation),
        choices_section(evaluation),
        trust_section(evaluation, album),
        data_section(evaluation, album),
        map_section(evaluation, found, small, why),
        missing_section(evaluation),
        facts_section(evaluation),
    ]


def _map(
    evaluation: Mapping[str, Any], table: FeatureTable, named: list[str]
) -> tuple[FeatureMap | None, str]:
    """The map, or why there is none."""
    layers = items(evaluation, "head", "layers")
    layer = layers[-1] if layers else (table.layers[-1] if table.layers else None)
    if layer not in table.layers:
        return None, f"There is no map of the features: the table does not hold the layer {layer}."
    found = make_map(table, layer, named)
    return found, "" if found else "There is no map of the features: too few images have any."
