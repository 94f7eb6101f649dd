from __future__ import annotations

from pathlib import Path

import keras
import pytest

from features.backbones.network import build_network, feature_model
from tests.tiny import BACKBONE as TINY


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return feature_model(TINY, build_network(TINY, None))


@pytest.fixture(scope="module")
def graph(
    request: pytest.FixtureRequest, model: keras.Model, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What the engine of the test's module converts it to."""
    folder = tmp_path_factory.mktemp("graph")
    request.module.convert(TINY, model, folder)
    return folder
