"""The one extractor of a process."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from features.errors import BottleneckError
from features.extractor import Extractor
from pipelines import extractor
from pipelines.extractor import ExtractorSettings, load_extractor, make_extractor
from tests.tiny import BACKBONE, weights_file


@pytest.fixture
def settings(tiny: str, monkeypatch: pytest.MonkeyPatch) -> ExtractorSettings:
    monkeypatch.setattr(extractor, "_loaded", {})
    recipe = Extractor("random", backbone=tiny, engine="openvino").recipe
    return ExtractorSettings("random", ("early", "avg_pool"), "openvino", recipe)


def test_an_extractor_is_made_as_the_settings_say(settings: ExtractorSettings, tmp_path: Path):
    weights = weights_file(tmp_path / "mine.h5", BACKBONE, settings.recipe.weights_sha256)
    recipe = dataclasses.replace(settings.recipe, precision="bfloat16", exif_orientation=True)
    made = make_extractor(settings._replace(weights=str(weights), recipe=recipe))
    assert (made.recipe, made.layers) == (dataclasses.replace(recipe, weights="mine"), ("early", "avg_pool"))
    with pytest.raises(BottleneckError, match="there is no engine 'none'"):
        make_extractor(settings._replace(engine="none"))


def test_a_process_has_one_extractor(settings: ExtractorSettings):
    first = load_extractor(settings)
    assert load_extractor(settings) is first
    second = load_extractor(settings._replace(layers=("early",)))
    assert (first.layers, second.layers) == (("early", "avg_pool"), ("early",))
    assert list(extractor._loaded.values()) == [second]


def test_a_machine_with_other_weights_is_refused(settings: ExtractorSettings):
    recipe = dataclasses.replace(settings.recipe, weights_sha256="0" * 64)
    sha256 = settings.recipe.weights_sha256
    with pytest.raises(BottleneckError) as error:
        load_extractor(settings._replace(recipe=recipe))
    assert str(error.value) == (
        f"this worker's backbone is not the one of the table: "
        f"weights_sha256 was 000000000000… and is now {sha256[:12]}…"
    )
    assert extractor._loaded == {}
