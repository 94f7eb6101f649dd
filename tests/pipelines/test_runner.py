from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from features.errors import BottleneckError
from pipelines.runner import make_pipeline


def test_local_is_the_in_process_runner_and_takes_beams_flags():
    pipeline = make_pipeline("local", ["--job_name=mine"])
    assert isinstance(pipeline.runner, FnApiRunner)
    assert pipeline.options.get_all_options()["job_name"] == "mine"
    assert_that(pipeline | beam.Create([1, 2]) | beam.Map(lambda x: 2 * x), equal_to([2, 4]))
    assert pipeline.run().wait_until_finish() == "DONE"


def test_another_runner_is_found_by_name():
    pipeline = make_pipeline("BundleBasedDirectRunner", [])
    assert type(pipeline.runner).__name__ == "BundleBasedDirectRunner"


def test_a_flag_that_beam_does_not_know_is_refused():
    with pytest.raises(BottleneckError, match="Beam doesn't know --no_such_flag=1"):
        make_pipeline("local", ["--no_such_flag=1"])
    with pytest.raises(BottleneckError, match="name the runner as `runner`"):
        make_pipeline("local", ["--runner=DataflowRunner"])
    with pytest.raises(BottleneckError, match="`beam_args`"):
        make_pipeline("local", ["--direct_num_workers=many"])


def test_an_unknown_runner_is_refused_in_a_sentence():
    with pytest.raises(BottleneckError, match="`runner=NoSuchRunner"):
        make_pipeline("NoSuchRunner", [])
