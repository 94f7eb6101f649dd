"""Plans against what a few lines of Python say, over random histories of an input and its table."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from features import store as feature_store
from features.inputs import LISTING_SCHEMA
from features.splits import SPLITS, TRAIN_AND_VALIDATION, assign_split
from features.store.commit import Change, commit
from features.store.conflicts import STORED_SCHEMA, rows_of_parts
from features.store.parts import Part, write_part
from features.store.rows import to_features
from features.store.schema import REJECTED_SCHEMA
from features.store.table import FeatureTable
from pipelines.planning import MOST_ATTEMPTS, Plan, make_plan
from pipelines.runs import ATTEMPTS_SCHEMA, PLANNED_SCHEMA, outdated
from tests.tables import NOON, Rejected, make_table, rejections

URIS = [f"/images/{number}.png" for number in range(10)]
LABELS = ((), ("a",), ("b",), ("a", "b"), ("b", "a"))
numbers = itertools.count(2)  # of runs: the first one made the table
GIVEN = (None, *SPLITS, TRAIN_AND_VALIDATION)
#: Which are cut into all splits.
GROUPS = (None, "Ä0", "Ä5", "Ä10", "Ä7")


class Image(NamedTuple):
    """An image of the input; `away` while its file can't be looked up, `bad` where it gives no features."""

    labels: tuple[str, ...] = ("a",)
    split: str | None = None
    size: int = 100
    changed: int = 0
    away: bool = False
    bad: bool = False
    group: str | None = None

    def listed(self, uri: str) -> dict[str, Any]:
        facts = {"size": None if self.away else self.size, "modified_at": None if self.away else self.time}
        use = {"labels": list(self.labels), "split": self.split, "group": self.group}
        return {"uri": uri, **use, **facts}

    @property
    def time(self) -> datetime.datetime:
        return NOON + datetime.timedelta(microseconds=self.changed)


class Row(NamedTuple):
    """What a table holds of an image; labels, split and group of a rejected one are None."""

    size: int | None
    modified_at: datetime.datetime | None
    image_id: str | None = None
    labels: list[str] | None = None
    split: str | None = None
    group: str | None = None


class Step(NamedTuple):
    """What happens to images, and the run that then begins: how many slices of its plan it gets done."""

    events: list[tuple[str, str, int]]
    retry_rejected: bool
    left: set[str]
    attempts: list[tuple[str, int]]
    remove_gone: bool
    chunk_size: int
    done: int


#: What may happen to an image (None for one that the input does not have), given a number.
EVENTS: dict[str, Callable[[Image, int], Image | None]] = {
    "put": lambda image, value: Image(
        LABELS[value], GIVEN[value], changed=image.changed + 1, bad=value == 4, group=GROUPS[value]
    ),
    "remove": lambda image, value: None,
    "grow": lambda image, value: image._replace(size=image.size + value - 2),
    "touch": lambda image, value: image._replace(changed=image.changed + value - 2),
    "label": lambda image, value: image._replace(labels=LABELS[value]),
    "split": lambda image, value: image._replace(split=GIVEN[value]),
    "group": lambda image, value: image._replace(group=GROUPS[value]),
    "away": lambda image, value: image._replace(away=not image.away),
    "break": lambda image, value: image._replace(bad=not image.bad, changed=image.changed + 1),
}
uris = st.sampled_from(URIS)
steps = st.builds(
    Step,
    events=st.lists(
        st.tuples(uris, st.sampled_from([*sorted(EVENTS), "group"]), st.integers(0, 4)),
        min_size=3,
        max_size=9,
    ),
    retry_rejected=st.booleans(),
    left=st.sets(uris, max_size=2),
    attempts=st.lists(st.tuples(uris, st.integers(1, 2)), max_size=3),
    remove_gone=st.booleans(),
    chunk_size=st.integers(1, 5),
    done=st.sampled_from([99, 99, 1]),
)


class Store:
    """A table, and beside it what it should hold."""

    def __init__(self, table: FeatureTable) -> None:
        self.table = table
        self.rows: dict[str, Row] = {}

    def copy(self, folder: Path) -> Store:
        shutil.copytree(self.table.store, folder)
        copy = Store(feature_store.open(folder))
        copy.rows = dict(self.rows)
        return copy

    def stored(self) -> dict[str, dict[str, Any]]:
        """By uri, what the files of the table really hold, in `STORED_SCHEMA`."""
        rows = rows_of_parts(self.table.paths, self.table.rejected_paths, pa.array(URIS)).to_pylist()
        assert len(rows) == len({row["uri"] for row in rows})
        return {row["uri"]: row for row in rows}

    def remove(self, plan: Plan) -> None:
        """Take out what is missing from the input."""
        self._commit(f"run-{next(numbers)}/0", plan, plan.missing_from_input)
        for uri in plan.missing_from_input.column("uri").to_pylist():
            del self.rows[uri]
        self._check()

    def execute(self, plan: Plan, slices: list[pa.Table], images: dict[str, Image]) -> None:
        """Do the work of some slices of a plan."""
        run_id = f"run-{next(numbers)}"
        for number, planned in enumerate(slices):
            bad = pa.array([images[uri].bad for uri in planned.column("uri").to_pylist()])
            part = self._write_features(planned.filter(pc.invert(bad)), run_id)
            rejected = self._write_rejections(planned.filter(bad), run_id)
            self._commit(f"{run_id}/{number}", plan, outdated(planned), part=part, rejected=rejected)
        self._check()

    def _write_features(self, planned: pa.Table, run_id: str) -> Part | None:
        n, schema = len(planned), self.table.facts.schema
        extracted = {
            "image_id": [hashlib.sha256(str(row).encode()).hexdigest() for row in planned.to_pylist()],
            **{"width": [8] * n, "height": [8] * n, "format": ["png"] * n},
            "avg_pool": list(np.zeros((n, 2048), np.float32)),
        }
        for name, values in extracted.items():
            planned = planned.append_column(name, pa.array(values, schema.field(name).type))
        rows = to_features(planned, self.table.facts, run_id, datetime.datetime.now(datetime.UTC))
        for row in rows.to_pylist():
            self.rows[row["uri"]] = Row(*(row.get(name) for name in Row._fields))
        return write_part(self.table.folder, rows.to_batches(), schema, run_id=run_id) if n else None

    def _write_rejections(self, planned: pa.Table, run_id: str) -> Part | None:
        images = []
        for row in planned.select(["uri", "size", "modified_at"]).to_pylist():
            self.rows[row["uri"]] = Row(row["size"], row["modified_at"])
            images.append(Rejected(**row, reason="corrupt", detail=""))
        folder, rows = self.table.rejected_folder, rejections(images, run_id).to_batches()
        return write_part(folder, rows, REJECTED_SCHEMA, run_id=run_id) if images else None

    def _commit(self, change_id: str, plan: Plan, leaving: pa.Table, **parts: Part | None) -> None:
        change = Change(change_id, change_id.partition("/")[0], plan.basis, leaving)
        commit(self.table.store, self.table.name, change, {}, **parts)
        self.table = feature_store.open(self.table.store)

    def _check(self) -> None:
        stored = {
            uri: (row["size"], row["modified_at"], row["image_id"]) for uri, row in self.stored().items()
        }
        assert stored == {uri: row[:3] for uri, row in self.rows.items()}


def state(image: Image | None, row: Row | None, step: Step) -> str:
    """What should become of an image."""
    if image is None:
        return "missing from input"
    if row is None:
        return "new"
    same_file = (image.listed("")["size"], image.listed("")["modified_at"]) == row[:2]
    if row.image_id is None:
        return "changed" if step.retry_rejected or not same_file else "same"
    if image.away:
        return "missing file"
    same_labels = sorted(row.labels or ()) == sorted(image.labels)
    same_split = row.split == assign_split(row.image_id, image.split, image.group)
    same_use = same_labels and same_split and row.group == image.group
    return "same" if same_file and same_use else "changed"


def checked_plan(images: dict[str, Image], store: Store, step: Step) -> tuple[Plan, list[pa.Table]]:
    """The plan of a run, and its slices, which are what they should be."""
    plan = make_plan(
        pa.Table.from_pylist([image.listed(uri) for uri, image in images.items()], LISTING_SCHEMA),
        store.table,
        retry_rejected=step.retry_rejected,
        attempts=pa.Table.from_pylist([{"uri": u, "attempts": n} for u, n in step.attempts], ATTEMPTS_SCHEMA),
        left_to_others=pa.chunked_array([sorted(step.left)], pa.string()),
    )
    states = {uri: state(images.get(uri), store.rows.get(uri), step) for uri in images.keys() | store.rows}
    todo = {uri for uri, what in states.items() if what in ("new", "changed")} - step.left
    left = {uri for uri, what in states.items() if what in ("new", "changed")} & step.left
    rejected = {uri for uri, row in store.rows.items() if row.image_id is None}
    counts = Counter(states.values())
    assert (plan.basis.version, plan.listed, plan.todo, plan.left) == (
        *(store.table.version, len(images)),
        *(len(todo), len(left)),
    )
    assert plan.replaced == sum(states[uri] == "changed" for uri in todo)
    assert plan.rejected == sum(states[uri] == "same" for uri in rejected)
    assert plan.stored == counts["same"] - plan.rejected + counts["missing file"]
    assert plan.missing_files == counts["missing file"]

    stored = store.stored()
    gone = {uri for uri, what in states.items() if what == "missing from input"}
    assert plan.missing_from_input.schema == STORED_SCHEMA
    assert plan.missing_from_input.sort_by("uri").to_pylist() == [stored[uri] for uri in sorted(gone)]
    assert plan.stored_missing_from_input == len(gone - rejected)

    attempts: Counter[str] = Counter()
    for uri, count in step.attempts:
        attempts[uri] += count
    whole = {uri: stored[uri]["part"] if uri in stored and uri not in rejected else "" for uri in todo}
    doubtful = {uri for uri in todo if attempts[uri] >= MOST_ATTEMPTS}
    doubtful |= {uri for uri in todo if whole[uri] and whole[uri] in {whole[other] for other in doubtful}}
    slices = list(plan.slices(step.chunk_size))
    planned = pa.concat_tables([PLANNED_SCHEMA.empty_table(), *slices])
    assert planned.schema == PLANNED_SCHEMA
    nothing = dict.fromkeys(STORED_SCHEMA.names)
    expected = [
        {
            **images[uri].listed(uri),
            "attempts": attempts[uri],
            **{
                f"replaced_{name}": value for name, value in stored.get(uri, nothing).items() if name != "uri"
            },
        }
        for uri in sorted(todo, key=lambda uri: (uri in doubtful, whole[uri], uri))
    ]
    assert planned.to_pylist() == expected
    slices_of_parts: Counter[str] = Counter()
    for rows in slices:
        members = rows.column("uri").to_pylist()
        parts = {whole[uri] for uri in members}
        assert len(members) <= step.chunk_size or (len(parts) == 1 and "" not in parts)
        assert len({uri in doubtful for uri in members}) == 1
        slices_of_parts.update(parts - {""})
    assert set(slices_of_parts.values()) <= {1}
    return plan, slices


def happen(step: Step, images: dict[str, Image], **always: Any) -> None:
    """Let happen to images what a step says; of all of them, some facts are always the same."""
    for uri, event, value in step.events:
        image = EVENTS[event](images.pop(uri, Image()), value)
        if image is not None:
            images[uri] = image._replace(**always)


@pytest.fixture(scope="module", params=[False, True], ids=["without groups", "with groups"])
def begun(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, Image]]:
    """A table, with or without groups, that holds some images in several parts of both kinds."""
    groups: list[str] | None = [] if request.param else None
    store = Store(make_table(tmp_path_factory.mktemp("begun"), np.empty((0, 2048)), [], groups=groups))
    images = {
        uri: Image(
            LABELS[n % 5], GIVEN[n % 4], bad=n % 3 == 2, group=GROUPS[n % 5] if request.param else None
        )
        for n, uri in enumerate(URIS[:8])
    }
    plan, slices = checked_plan(images, store, Step([], False, set(), [], False, 4, 99))
    assert [len(rows) for rows in slices] == [4, 4]
    store.execute(plan, slices, images)
    return store, images


@given(st.lists(steps, min_size=3, max_size=4))
@settings(max_examples=5, phases=[Phase.generate])  # to shrink takes minutes
def test_a_plan_is_what_a_simple_model_says(
    begun: tuple[Store, dict[str, Image]], tmp_path_factory: pytest.TempPathFactory, history: list[Step]
):
    store = begun[0].copy(tmp_path_factory.getbasetemp() / f"history-{next(numbers)}")
    images = dict(begun[1])
    without = {} if store.table.facts.groups else {"group": None}
    for step in history:
        happen(step, images, **without)
        plan, slices = checked_plan(images, store, step)
        if step.remove_gone and len(plan.missing_from_input):
            store.remove(plan)
            plan, slices = checked_plan(images, store, step)
        store.execute(plan, slices[: step.done], images)
        after, _ = checked_plan(images, store, step._replace(retry_rejected=False))
        if len(slices) <= step.done:
            assert after.todo == 0 and after.listed == after.stored + after.rejected + after.left


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A table with groups that holds no image yet."""
    return Store(make_table(tmp_path_factory.mktemp("empty"), np.empty((0, 2048)), [], groups=[]))


@given(st.lists(steps, min_size=3, max_size=5), st.sampled_from([None, TRAIN_AND_VALIDATION]))
@settings(max_examples=8, phases=[Phase.generate])
def test_no_group_is_ever_torn_apart_where_nobody_gives_splits(
    empty: Store, tmp_path_factory: pytest.TempPathFactory, history: list[Step], cut: str | None
):
    """Images come, go, change and move between groups, and runs are stopped: what is stored agrees."""
    store = empty.copy(tmp_path_factory.getbasetemp() / f"history-{next(numbers)}")
    images: dict[str, Image] = {}
    for step in history:
        happen(step, images, split=cut)
        plan, slices = checked_plan(images, store, step)
        store.execute(plan, slices[: step.done], images)
        splits: dict[str, set[str]] = {}
        for row in store.table.metadata(["image_id", "group", "split"]).to_pylist():
            splits.setdefault(row["group"] or row["image_id"], set()).add(row["split"])
        assert all(len(found) == 1 for found in splits.values()), splits
