"""Where a pipeline runs: in this process by default, or on any Beam runner by name."""

from __future__ import annotations

import argparse

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from features.errors import BottleneckError
from pipelines.local import LOCAL_RUNNER


def make_pipeline(runner: str, beam_args: list[str]) -> beam.Pipeline:
    """A pipeline on the named runner.

    `local` is Beam's in-process runner, by name: `DirectRunner` would first try to fetch or build the Prism
    runner, and so behave differently from machine to machine.

    Args:
        runner: `local`, or what Beam knows: `DataflowRunner`, `FlinkRunner`, …
        beam_args: Beam's own flags, `--name=value`.

    Raises:
        BottleneckError: for a flag that Beam doesn't know, or a runner that can't be made.
    """
    unknown = _unknown_flags(beam_args)
    if unknown:
        raise BottleneckError(f"Beam doesn't know {' '.join(unknown)} (in `beam_args`)")
    if any(flag.split("=")[0] == "--runner" for flag in beam_args):
        raise BottleneckError("name the runner as `runner`, not in `beam_args`")
    if runner == LOCAL_RUNNER:
        return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(beam_args))
    try:
        return beam.Pipeline(runner=runner, options=PipelineOptions(beam_args))
    except ValueError as error:
        raise BottleneckError(f"`runner={runner}`: {' '.join(str(error).split())}") from error


def _unknown_flags(beam_args: list[str]) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for options in _all_options(PipelineOptions):
        options._add_argparse_args(parser)  # type: ignore[arg-type]
    try:
        return parser.parse_known_args(beam_args)[1]
    except argparse.ArgumentError as error:
        raise BottleneckError(f"in `beam_args`: {error}") from error


def _all_options(options: type[PipelineOptions]) -> list[type[PipelineOptions]]:
    below = [kind for child in options.__subclasses__() for kind in _all_options(child)]
    own = [options] if "_add_argparse_args" in vars(options) and options is not PipelineOptions else []
    return [*own, *below]
