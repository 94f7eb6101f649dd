"""What is said of a run."""

from __future__ import annotations

import pytest

from pipelines.driver import Summary, extract
from pipelines.options import ExtractOptions
from pipelines.report import summary_text
from tests.conftest import photo


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ExtractOptions:
    folder = tmp_path_factory.mktemp("report")
    for label in ("daisy", "rose"):
        (folder / "data" / label).mkdir(parents=True)
        photo(len(label)).save(folder / "data" / label / "photo.png")
    return ExtractOptions(
        data=str(folder / "data"),
        store=str(folder / "store"),
        weights="random",
        precision="float32",
        engine="openvino",
    )


@pytest.fixture(scope="module")
def summary(options: ExtractOptions) -> Summary:
    return extract(options)


def test_the_recipe_is_said_with_its_precision(summary: Summary, options: ExtractOptions):
    text = summary_text(summary, options)
    sha256 = summary.table.recipe.weights_sha256[:12]
    assert f"recipe:   inception_v3, weights random (sha256 {sha256}…), float32\n" in text
    assert summary.precisions == ["float32"] and "computed in" not in text


def test_features_computed_in_another_precision_are_told(summary: Summary, options: ExtractOptions):
    text = summary_text(summary._replace(precisions=["bfloat16", "float32"]), options)
    assert "computed in bfloat16 and float32 by this run" in text
