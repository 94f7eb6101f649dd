"""What only a run in this process does, on Beam's own runner: no worker elsewhere knows of it."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pipelines.options import ExtractOptions

if TYPE_CHECKING:
    from pipelines.extractor import ExtractorSettings

#: What `runner` calls it; any other name is Beam's.
LOCAL_RUNNER = ExtractOptions().runner


def import_pipeline(settings: ExtractorSettings, runner: str) -> Any:
    """The module `pipelines.extraction`, with the network loaded where the pipeline is to run here.

    Beam takes a second to import: meanwhile the network is loaded.
    """
    from pipelines.extractor import load_extractor

    with ThreadPoolExecutor(1) as aside:
        importing = aside.submit(importlib.import_module, "pipelines.extraction")
        if runner == LOCAL_RUNNER:
            load_extractor(settings)
        return importing.result()
