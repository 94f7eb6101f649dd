from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from features.errors import BottleneckError
from pipelines.runner import make_pipeline


def test_local_is_the_in_process_runner_and_takes_beams_flags():
    pipeline = make_pipeline("local", ["--job_name=mine", "--project", "ours"])
    assert isinstance(pipeline.runner, FnApiRunner)
    options = pipeline.options.get_all_options()
    assert (options["job_name"], options["project"]) == ("mine", "ours")
    assert_that(pipeline | beam.Create([1, 2]) | beam.Map(lambda x: 2 * x), equal_to([2, 4]))
    assert pipeline.run().wait_until_finish() == "DONE"


def test_another_runner_is_found_by_name_and_takes_them_too():
    pipeline = make_pipeline("BundleBasedDirectRunner", ["--job_name=mine"])
    assert type(pipeline.runner).__name__ == "BundleBasedDirectRunner"
    assert pipeline.options.get_all_options()["job_name"] == "mine"


@pytest.mark.parametrize(
    ("beam_args", "sentence"),
    [
        (["--no_such=1", "--job_name=x", "-y"], "Beam doesn't know --no_such=1 -y (in `beam_args`)"),
        (["--help"], "Beam doesn't know --help (in `beam_args`)"),
        (["--job_nam=x"], "Beam doesn't know --job_nam=x (in `beam_args`)"),
        (["--runner=DataflowRunner"], "name the runner as `runner`, not in `beam_args`"),
        (["--runner", "DataflowRunner"], "name the runner as `runner`, not in `beam_args`"),
        (
            ["--direct_num_workers=many"],
            "in `beam_args`: argument --direct_num_workers: invalid int value: 'many'",
        ),
    ],
)
def test_flags_that_beam_can_not_take_are_refused(beam_args: list[str], sentence: str):
    with pytest.raises(BottleneckError) as error:
        make_pipeline("local", beam_args)
    assert str(error.value) == sentence


def test_an_unknown_runner_is_refused_in_one_line():
    with pytest.raises(BottleneckError) as error:
        make_pipeline("NoSuchRunner", [])
    assert str(error.value).startswith("`runner=NoSuchRunner`: Unexpected pipeline runner: NoSuchRunner. ")
    assert "\n" not in str(error.value) and "  " not in str(error.value)
