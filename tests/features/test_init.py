from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import features


def test_the_extractor_is_imported_when_it_is_first_asked_for():
    code = "import sys, features; assert 'features.extractor' not in sys.modules; features.FeatureTable"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
    assert features.Extractor.__name__ == "Extractor"
    assert features.InceptionV3.__name__ == "InceptionV3"
    assert all(hasattr(features, name) for name in features.__all__)


def test_a_name_that_is_not_there_is_told_as_python_does():
    with pytest.raises(AttributeError) as error:
        features.Extractors  # noqa: B018
    assert str(error.value) == "module 'features' has no attribute 'Extractors'"
