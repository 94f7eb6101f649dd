"""What only a run in this process does."""

from __future__ import annotations

import pytest

from features.extractor import Extractor
from pipelines import extractor
from pipelines.extractor import ExtractorSettings
from pipelines.local import LOCAL_RUNNER, import_pipeline


@pytest.mark.parametrize(("runner", "loaded"), [(LOCAL_RUNNER, 1), ("DataflowRunner", 0)])
def test_the_network_is_loaded_where_the_pipeline_runs_here(
    tiny: str, monkeypatch: pytest.MonkeyPatch, runner: str, loaded: int
):
    monkeypatch.setattr(extractor, "_loaded", {})
    recipe = Extractor("random", backbone=tiny, engine="openvino").recipe
    settings = ExtractorSettings("random", ("avg_pool",), "openvino", recipe)
    module = import_pipeline(settings, runner)
    assert (module.__name__, list(extractor._loaded)) == ("pipelines.extraction", [settings] * loaded)


def test_a_run_is_local_by_default():
    assert LOCAL_RUNNER == "local"
