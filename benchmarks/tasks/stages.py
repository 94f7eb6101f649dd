"""Where the time of an extraction goes: seconds of all threads by stage, without Beam and the table."""

from __future__ import annotations

from benchmarks.tasks.common import answer, read_job
from benchmarks.ways.common import list_files
from features.extractor import InceptionV3

if __name__ == "__main__":
    job = read_job()
    extractor = InceptionV3(job["weights"], precision=job["precision"])
    for _ in extractor.extract(list_files(job["images"])):
        pass
    answer(job, stages=dict(extractor.seconds))
