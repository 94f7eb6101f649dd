"""The runs of a store that have work: what each has planned, that it is alive, and what it has begun.

    STORE/runs/<run_id>/plan.parquet   its slices, a row group each
                        alive          renewed while it is alive
                        attempts/      a mark for each slice that is being worked on

A mark that is left was left by a process that ended in the middle. Imports neither Beam nor TensorFlow.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import functools
import json
import math
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from features import store as feature_store
from features.commit import Basis
from features.conflicts import STORED_SCHEMA
from features.errors import BottleneckError
from features.inputs import LISTING_SCHEMA
from features.locations import runs_path
from features.table import FeatureTable

#: Rows of a plan: an image, how often processes that were at work on it have ended, and the row that it
#: replaces, if any: `features.conflicts.STORED_SCHEMA`, an image_id of null for a rejection.
PLANNED_SCHEMA = pa.schema(
    [
        *LISTING_SCHEMA,
        pa.field("attempts", pa.int32(), nullable=False),
        *(pa.field(f"replaced_{field.name}", field.type) for field in STORED_SCHEMA if field.name != "uri"),
    ]
)

_HEADER_KEY = b"bottlenecks.plan"
_FORMAT = 1

#: Seconds between two renewals of the mark, and after which a run without one counts as dead.
RENEWED_EVERY = 20.0
DEAD_AFTER = 120.0
_LOOKED_EVERY = 0.5
#: Seconds that the plan of a dead run is kept: the attempts that it tells of count.
KEPT_FOR = 7 * 24 * 3600.0


class Header(NamedTuple):
    """What a plan was made for."""

    table: str
    basis: Basis


def outdated(planned: pa.Table) -> pa.Table:
    """The rows that images of a plan replace, in `STORED_SCHEMA`."""
    replacing = planned.filter(planned.column("replaced_part").is_valid())
    columns = [
        replacing.column(name if name == "uri" else f"replaced_{name}") for name in STORED_SCHEMA.names
    ]
    return pa.table(columns, schema=STORED_SCHEMA)


class Run:
    """A run's folder; the same from the driver, its workers, and other runs.

    Attributes:
        store: the store's folder.
        run_id: the run's name.
    """

    def __init__(self, store: Path, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self._folder = runs_path(store) / run_id
        self._alive = self._folder / "alive"
        self._attempts = self._folder / "attempts"

    @property
    def plan_path(self) -> Path:
        return self._folder / "plan.parquet"

    def write_plan(self, header: Header, slices: Iterable[pa.Table]) -> None:
        """Write the plan: one row group a slice, of rows in `PLANNED_SCHEMA`.

        In its place, not beside it: it counts from when it is whole, which is the time that its file shows.
        """
        facts = json.dumps({"format": _FORMAT, "table": header.table, **header.basis._asdict()})
        schema = PLANNED_SCHEMA.with_metadata({_HEADER_KEY: facts})
        with pq.ParquetWriter(self.plan_path, schema, compression="zstd") as writer:
            for rows in slices:
                writer.write_table(rows.replace_schema_metadata(schema.metadata), row_group_size=len(rows))

    def header(self) -> Header | None:
        """What the plan was made for; None where there is none, or none that is whole.

        Raises:
            BottleneckError: for a plan of a later version of this program.
        """
        try:
            facts = json.loads(_footer(self.plan_path).metadata[_HEADER_KEY])
        except (OSError, pa.ArrowInvalid):
            return None
        if facts.pop("format") != _FORMAT:
            raise BottleneckError(f"{self.plan_path} was written by a later version: update this one")
        return Header(facts.pop("table"), Basis(**facts))

    def slices(self) -> int:
        """How many slices the plan has."""
        return _footer(self.plan_path).num_row_groups

    def images(self) -> int:
        """How many images the plan has."""
        return _footer(self.plan_path).num_rows

    def slice(self, number: int) -> pa.Table:
        """The images of a slice, in `PLANNED_SCHEMA`."""
        with pq.ParquetFile(self.plan_path, metadata=_footer(self.plan_path)) as file:
            return file.read_row_group(number, use_threads=False).cast(PLANNED_SCHEMA)

    def uris(self) -> pa.ChunkedArray:
        """The images of all slices."""
        return pq.read_table(self.plan_path, columns=["uri"], partitioning=None).column("uri")

    def planned_before(self, others: Iterable[Run]) -> list[Run]:
        """Those whose plan was whole before this one's."""
        return [other for other in others if other._planned_at() < self._planned_at()]

    def _planned_at(self) -> tuple[float, str]:
        """Sorts plans by the time when they were whole."""
        try:
            return self.plan_path.stat().st_mtime_ns, self.run_id
        except FileNotFoundError:  # done or withdrawn since
            return math.inf, self.run_id

    @contextlib.contextmanager
    def kept_alive(self, *, local: bool) -> Iterator[None]:
        """Renew the mark that the run is alive, on a thread; the folder goes when it has ended well.

        Args:
            local: the run is this process: others on this machine see at once when it ends.
        """
        self._attempts.mkdir(parents=True, exist_ok=True)
        # Locked before others can see it.
        aside = self._alive.with_name(f".alive-{uuid.uuid4()}")
        with open(aside, "w") as mark:
            locked = local and _lock(mark, fcntl.LOCK_EX)
            mark.write(json.dumps({"host": socket.gethostname(), "locked": locked}))
            mark.flush()
            aside.rename(self._alive)
            try:
                with self.renewing():
                    yield
            except BaseException:
                if local:  # it ends in good order: no attempt is left in the middle
                    self._forget_attempts()
                self._alive.unlink(missing_ok=True)
                raise
            self.remove()

    @contextlib.contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew the mark of a run that was begun, as its workers do too."""
        ended = threading.Event()

        def renew() -> None:
            while True:
                with contextlib.suppress(FileNotFoundError):  # the run is done
                    os.utime(self._alive)
                if ended.wait(RENEWED_EVERY):
                    return

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()

    def is_alive(self) -> bool:
        """Whether the run goes on, as far as can be seen from here."""
        try:
            with open(self._alive) as file:
                mark = json.load(file)
                if time.time() - os.stat(self._alive).st_mtime > DEAD_AFTER:
                    return False
                here = mark["locked"] and mark["host"] == socket.gethostname()
                return not (here and _lock(file, fcntl.LOCK_SH))
        except (FileNotFoundError, ValueError):
            return False

    def begin(self, number: int) -> Path:
        """Leave a mark that a slice is being worked on; `end` takes it away."""
        mark = self._attempts / f"{number}.{uuid.uuid4()}"
        mark.touch()
        return mark

    def end(self, mark: Path) -> None:
        mark.unlink(missing_ok=True)

    def _forget_attempts(self) -> None:
        for mark in self._marks():
            self.end(mark)

    def attempts(self) -> collections.Counter[int]:
        """For each slice, how many attempts have not ended."""
        return collections.Counter(int(mark.name.partition(".")[0]) for mark in self._marks())

    def _marks(self) -> list[Path]:
        return list(self._attempts.iterdir()) if self._attempts.is_dir() else []

    def remove(self) -> None:
        """Forget the run."""
        shutil.rmtree(self._folder, ignore_errors=True)


def runs_of(table: FeatureTable) -> list[Run]:
    """The runs that have planned work for a table, the first planned first."""
    folder, id = runs_path(table.store), table.delta.metadata().id
    runs = [Run(table.store, name) for name in (os.listdir(folder) if folder.is_dir() else [])]
    headers = ((run, run.header()) for run in runs)
    mine = [
        run for run, header in headers if header and (header.table, header.basis.table_id) == (table.name, id)
    ]
    return sorted(mine, key=Run._planned_at)


def living_runs(store: Path, name: str) -> list[Run]:
    """The runs that are at work on a table, the first planned first."""
    if name not in feature_store.table_names(store):
        return []
    return [run for run in runs_of(feature_store.open(store, name)) if run.is_alive()]


def wait_for(runs: Iterable[Run], say: Callable[[str], None]) -> None:
    """Wait until none of the runs is alive."""
    for run in runs:
        while run.is_alive():
            say(
                f"run {run.run_id} is at work on this table: waiting until it ends "
                f"(--if-running skip does only what it has not planned)"
            )
            time.sleep(_LOOKED_EVERY)


def attempts_of_dead_runs(table: FeatureTable) -> pa.Table:
    """Columns `uri` and `attempts`: how often processes have ended that were at work on an image's slice."""
    counts = [pa.table({"uri": pa.array([], pa.string()), "attempts": pa.array([], pa.int32())})]
    for run in runs_of(table):
        for number, count in (run.attempts() if not run.is_alive() else {}).items():
            uris = run.slice(number).column("uri")
            counts.append(
                pa.table({"uri": uris, "attempts": pa.repeat(pa.scalar(count, pa.int32()), len(uris))})
            )
    return pa.concat_tables(counts)


def remove_dead_runs(table: FeatureTable) -> None:
    """Remove the folders of dead runs on a table, once another run has done what they had planned."""
    for run in runs_of(table):
        if not run.is_alive():
            run.remove()


def remove_old_runs(store: Path) -> None:
    """Remove the folders of runs that are dead and older than `KEPT_FOR`."""
    folder = runs_path(store)
    for name in os.listdir(folder) if folder.is_dir() else []:
        run = Run(store, name)
        with contextlib.suppress(FileNotFoundError):
            if time.time() - (folder / name).stat().st_mtime > KEPT_FOR and not run.is_alive():
                run.remove()


def _footer(path: Path) -> pq.FileMetaData:
    return _footer_at(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _footer_at(path: Path, changed_at: int) -> pq.FileMetaData:
    return pq.read_metadata(path)


def _lock(file: IO[str], kind: int) -> bool:
    """Lock a file until it is closed; False where another one holds it, or the file system has no locks."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
