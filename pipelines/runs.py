"""The runs of a store that have work: what each has planned and started, and that it is alive.

    STORE/runs/<run_id>/plan.parquet   its slices, a row group each
                        alive          renewed while it is alive
                        attempts/      a mark for each slice that is being worked on

A mark that is left was left by a process that ended in the middle. Imports neither Beam nor TensorFlow.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import math
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from features import files
from features.errors import BottleneckError
from features.inputs import LISTING_SCHEMA
from features.locations import runs_path
from features.schemas import to_schema
from features.store.commit import Basis
from features.store.conflicts import STORED_SCHEMA
from features.store.table import FeatureTable
from pipelines.liveness import AliveMark

#: What is to be done with an image: read it, and infer it unless the same bytes are stored; take its stored
#: features over without reading it, since only what is said of it has changed; or infer it in any case.
READ, COPY, REDO = "read", "copy", "redo"

#: Rows of a plan: an image, what is to be done, whether files of its size are stored, how often processes
#: have ended that were at work on it, and the row that it replaces, if any, as `features.store.conflicts` has
#: it: its image_id is null for a rejection. A row of another uri is of an image that seems to have been
#: moved: it is replaced where the bytes turn out to be the same.
PLANNED_SCHEMA = pa.schema(
    [
        *LISTING_SCHEMA,
        pa.field("action", pa.string(), nullable=False),
        pa.field("same_size", pa.bool_(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        *(pa.field(f"replaced_{field.name}", field.type) for field in STORED_SCHEMA),
    ]
)
#: Columns that runs of older versions did not plan.
_NEWER: dict[str, Any] = {"group": None, "action": READ, "same_size": False, "replaced_uri": None}

#: Images, and how often processes have ended that were at work on them.
ATTEMPTS_SCHEMA = pa.schema([("uri", pa.string()), ("attempts", pa.int32())])

_HEADER_KEY = b"bottlenecks.plan"
_FORMAT = 1

#: Seconds between two looks whether another run has ended.
_LOOKED_EVERY = 0.5
#: Seconds that the plan of a dead run is kept: the attempts that it tells of count.
KEPT_FOR = 7 * 24 * 3600.0


class Header(NamedTuple):
    """What a plan was made for.

    Attributes:
        table: its name.
        basis: the version that the plan saw.
        views: how many augmented views each training image is to have.
        augmentation: how they are made (`features.augmentation.Augmentation.to_dict`).
    """

    table: str
    basis: Basis
    views: int = 0
    augmentation: dict[str, Any] | None = None


def outdated(planned: pa.Table) -> pa.Table:
    """The rows that images of a plan replace, in `STORED_SCHEMA`."""
    replacing = planned.filter(planned.column("replaced_part").is_valid())
    columns = {field.name: replacing.column(f"replaced_{field.name}") for field in STORED_SCHEMA}
    return to_schema(replacing, STORED_SCHEMA, **columns)


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
        self._mark = AliveMark(self._folder / "alive")
        self._attempts = self._folder / "attempts"

    @property
    def plan_path(self) -> Path:
        return self._folder / "plan.parquet"

    def write_plan(self, header: Header, slices: Iterable[pa.Table]) -> None:
        """Write the plan: one row group a slice, of rows in `PLANNED_SCHEMA`.

        In its place, not beside it: it counts from when it is whole, which is the time that its file shows.
        """
        of_header = header._asdict()
        basis = of_header.pop("basis")._asdict()
        facts = json.dumps({"format": _FORMAT, **of_header, **basis})
        schema = PLANNED_SCHEMA.with_metadata({_HEADER_KEY: facts})
        with files.parquet_writer(self.plan_path, schema, compression="zstd") as writer:
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
        others = {name: facts.pop(name) for name in ("table", "views", "augmentation") if name in facts}
        return Header(**others, basis=Basis(**{name: facts[name] for name in Basis._fields}))

    def says_what_moved(self) -> bool:
        """Whether the plan tells new images from those that were stored: those of older versions do not."""
        return "replaced_uri" in _footer(self.plan_path).schema.names

    def slices(self) -> int:
        """How many slices the plan has."""
        return _footer(self.plan_path).num_row_groups

    def images(self) -> int:
        """How many images the plan has."""
        return _footer(self.plan_path).num_rows

    def slice(self, number: int) -> pa.Table:
        """The images of a slice, in `PLANNED_SCHEMA`."""
        with files.parquet_file(self.plan_path, metadata=_footer(self.plan_path)) as file:
            rows = file.read_row_group(number, use_threads=False)
        others = {name: value for name, value in _NEWER.items() if name not in rows.column_names}
        return to_schema(rows, PLANNED_SCHEMA, **others)

    def uris(self) -> pa.ChunkedArray:
        """The images of all slices; none where the run is done."""
        try:
            return files.parquet_file(self.plan_path).read(["uri"]).column("uri")
        except FileNotFoundError:
            return pa.chunked_array([], pa.string())

    def ahead(self, others: Iterable[Run]) -> list[Run]:
        """Those that go first: whose plan was whole before this one's, or that began first where none is."""
        return [other for other in others if other._turn() < self._turn()]

    def _turn(self) -> tuple[float, str]:
        try:
            return (files.info(self.plan_path).mtime_ns if self.header() else math.inf), self.run_id
        except FileNotFoundError:  # done since
            return math.inf, self.run_id

    @contextlib.contextmanager
    def kept_alive(self, table: str, *, local: bool) -> Iterator[None]:
        """Say that the run is alive, as long as it is; its folder goes when it has ended well.

        Args:
            table: name of the table that it is at work on.
            local: it is this process, and has no workers elsewhere.
        """
        try:
            with self._mark.kept(table, local=local):
                yield
        except BaseException:
            if local:  # it ends in good order: no attempt is left in the middle
                for name in files.names(self._attempts):
                    self.end(self._attempts / name)
            if not files.is_file(self.plan_path):
                self.remove()
            raise
        self.remove()

    def renewing(self) -> contextlib.AbstractContextManager[None]:
        """Renew the mark that the run is alive, from a worker."""
        return self._mark.renewing()

    def is_alive(self) -> bool:
        """Whether the run goes on, as far as can be seen from here."""
        return self._mark.living_on() is not None

    def is_at_work_on(self, table: str) -> bool:
        """Whether the run goes on, and on this table."""
        return self._mark.living_on() == table

    def begin(self, number: int) -> Path:
        """Leave a mark that a slice is being worked on; `end` takes it away."""
        mark = self._attempts / f"{number}.{uuid.uuid4()}"
        files.write(mark, "")
        return mark

    def end(self, mark: Path) -> None:
        files.remove(mark)

    def attempts(self) -> collections.Counter[int]:
        """For each slice, how many attempts have not ended."""
        return collections.Counter(int(name.partition(".")[0]) for name in files.names(self._attempts))

    def withdraw(self) -> None:
        """Take back a plan on which no work was started."""
        files.remove(self.plan_path)

    def remove(self) -> None:
        """Forget the run."""
        with contextlib.suppress(OSError):  # what can't be removed now is removed when it is old
            files.remove(self._folder)


def _all_runs(store: Path) -> list[Run]:
    folder = runs_path(store)
    return [Run(store, name) for name in files.names(folder) if files.is_folder(folder / name)]


def living_runs(store: Path, table: str) -> list[Run]:
    """The runs that are at work on a table, the one whose turn comes first at the front."""
    return sorted((run for run in _all_runs(store) if run.is_at_work_on(table)), key=Run._turn)


def dead_runs(table: FeatureTable) -> list[Run]:
    """The runs that had planned work for a table and are dead."""
    planned_for = table.name, table.delta.metadata().id
    headers = ((run, run.header()) for run in _all_runs(table.store) if not run.is_alive())
    return [run for run, header in headers if header and (header.table, header.basis.table_id) == planned_for]


def wait_for_turn(run: Run, table: str, say: Callable[[str], None]) -> None:
    """Wait until no other run is at work on the table that goes first."""
    while ahead := run.ahead(living_runs(run.store, table)):
        say(
            f"run {ahead[0].run_id} is at work on this table: waiting until it ends "
            f"(--if-running skip does only what it has not planned)"
        )
        time.sleep(_LOOKED_EVERY)


def attempts_of_dead_runs(table: FeatureTable) -> pa.Table:
    """How often processes have ended that were at work on an image's slice, in `ATTEMPTS_SCHEMA`."""
    counts = [ATTEMPTS_SCHEMA.empty_table()]
    for run in dead_runs(table):
        for number, count in run.attempts().items():
            counts.append(to_schema(run.slice(number), ATTEMPTS_SCHEMA, attempts=count))
    return pa.concat_tables(counts)


def remove_old_runs(store: Path) -> None:
    """Remove the folders of runs that are dead and older than `KEPT_FOR`."""
    for run in _all_runs(store):
        with contextlib.suppress(OSError):
            changed_at = files.info(run.plan_path.parent).mtime_ns / 1e9
            if time.time() - changed_at > KEPT_FOR and not run.is_alive():
                run.remove()


def _footer(path: Path) -> pq.FileMetaData:
    return _footer_at(path, files.info(path).mtime_ns)


@functools.lru_cache(maxsize=8)
def _footer_at(path: Path, changed_at: int) -> pq.FileMetaData:
    return files.footer(path)
