"""Start a program, wait for its end, and say how long it took and what memory it needed at its peak.

Run as a script, by `benchmarks.processes`, with nothing but the standard library: on Linux a process
is born with the peak memory of its parent, which therefore has to be a small one.

    python -I -S launch.py '{"command": ["python", "-c", "pass"], "log": "run.log", "environment": {}}'
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main() -> None:
    """Run the command of the first argument; print what was measured, as JSON."""
    job = json.loads(sys.argv[1])
    with open(job["log"], "ab") as log:
        started = time.time()
        process = subprocess.Popen(
            job["command"], stdout=log, stderr=log, env=os.environ | job["environment"]
        )
        _, status, usage = os.wait4(process.pid, 0)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    measured = {
        "started": started,
        "seconds": time.time() - started,
        "code": os.waitstatus_to_exitcode(status),
        "peak_memory": usage.ru_maxrss * unit,
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
