"""Where the time of an extraction goes: seconds of all threads by stage, without Beam and the table."""

from __future__ import annotations

import time

from benchmarks.tasks.common import answer, read_job
from benchmarks.ways.common import list_files
from features.extractor import InceptionV3

if __name__ == "__main__":
    job = read_job()
    started = time.perf_counter()
    extractor = InceptionV3(job["weights"], precision=job["precision"])
    loaded = time.perf_counter()
    images = sum(map(len, extractor.extract(list_files(job["images"]))))
    ended = time.perf_counter()
    answer(
        job,
        images=images,
        load=loaded - started,
        extract=ended - loaded,
        stages=dict(extractor.seconds),
        streams=extractor.engine.streams,
        engine=extractor.engine.name,
        precision=extractor.engine.precision,
    )
