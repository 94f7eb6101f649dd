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
from features.decodings import DECODING
from features.inputs import LISTING_SCHEMA
from features.splits import SPLITS, TRAIN_AND_VALIDATION, assign_split
from features.store.commit import Change, commit
from features.store.conflicts import STORED_SCHEMA, rows_of_parts
from features.store.parts import Part, write_part
from features.store.rows import to_features
from features.store.schema import REJECTED_SCHEMA
from features.store.table import FeatureTable
from pipelines.planning import MOST_ATTEMPTS, Plan, make_plan
from pipelines.runs import ATTEMPTS_SCHEMA, COPY, PLANNED_SCHEMA, READ, REDO, outdated
from tests.tables import NOON, Rejected, make_table, rejections

URIS = [f"/images/{number}.png" for number in range(10)]
LABELS = ((), ("a",), ("b",), ("a", "b"), ("b", "a"))
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
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
    """What a table holds of an image; labels, split, group and views of a rejected one are None."""

    size: int | None
    modified_at: datetime.datetime | None
    image_id: str | None = None
    labels: list[str] | None = None
    split: str | None = None
    group: str | None = None
    views: int | None = None
    decoding: int = DECODING


class Step(NamedTuple):
    """What happens to images, and the run that then begins: how many slices of its plan it gets done."""

    events: list[tuple[str, str, int]] = []
    retry_rejected: bool = False
    left: set[str] = set()
    attempts: list[tuple[str, int]] = []
    remove_gone: bool = False
    chunk_size: int = 4
    done: int = 99
    views: int = 0
    redo_decoding: bool = False
    decoding: int = DECODING


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
        st.tuples(uris, st.sampled_from([*sorted(EVENTS), "group", "move", "move"]), st.integers(0, 4)),
        min_size=3,
        max_size=9,
    ),
    retry_rejected=st.booleans(),
    left=st.sets(uris, max_size=2),
    attempts=st.lists(st.tuples(uris, st.integers(1, 2)), max_size=3),
    remove_gone=st.booleans(),
    chunk_size=st.integers(1, 5),
    done=st.sampled_from([99, 99, 1]),
    views=st.integers(0, 2),
    redo_decoding=st.booleans(),
    decoding=st.sampled_from([DECODING, DECODING, DECODING - 1]),
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
        stored = {row["uri"]: row for row in rows}
        assert Counter(row["uri"] for row in rows) == dict.fromkeys(stored, 1), "an image is in one table"
        assert Counter(self.table.metadata(["uri"]).column("uri").to_pylist()) == {
            uri: 1 + (self.rows[uri].views or 0) for uri, row in stored.items() if row["image_id"]
        }, "with its views beside it"
        return stored

    def remove(self, plan: Plan) -> None:
        """Take out what is missing from the input."""
        self._commit(f"run-{next(numbers)}/0", plan, plan.missing_from_input)
        for uri in plan.missing_from_input.column("uri").to_pylist():
            del self.rows[uri]
        self._check()

    def execute(self, plan: Plan, slices: list[pa.Table], images: dict[str, Image], step: Step) -> None:
        """Do the work of some slices of a plan."""
        run_id = f"run-{next(numbers)}"
        for number, planned in enumerate(slices):
            bad = pa.array([images[uri].bad for uri in planned.column("uri").to_pylist()])
            good = planned.filter(pc.invert(bad)).to_pylist()
            moved = [row["replaced_uri"] for row in good if is_moved(row)]
            part = self._write_features(good, run_id, step)
            rejected = self._write_rejections(planned.filter(bad), run_id, step)
            own = pc.equal(planned.column("replaced_uri"), planned.column("uri"))
            leaving = pc.or_kleene(
                own, pc.is_in(planned.column("replaced_uri"), pa.array(moved, pa.string()))
            )
            leaving = outdated(planned.filter(leaving))
            for uri in moved:
                del self.rows[uri]
            facts = {"decoding": step.decoding}
            self._commit(f"{run_id}/{number}", plan, leaving, facts, part=part, rejected=rejected)
        self._check()

    def _write_features(self, planned: list[dict[str, Any]], run_id: str, step: Step) -> Part | None:
        """Rows of images and their views, of bytes that follow from what is planned."""
        schema, rows = self.table.facts.schema, []
        for image in planned:
            same = image["action"] == COPY or is_moved(image)
            image_id = image["replaced_image_id"] if same else hashlib.sha256(str(image).encode()).hexdigest()
            split = assign_split(image_id, image["split"], image["group"])
            views = step.views if split == "train" else 0
            facts = {"image_id": image_id, "width": 8, "height": 8, "format": "png", "avg_pool": [0.0] * 2048}
            rows += [{**image, **facts, "view": view} for view in range(1 + views)]
            use = {"labels": image["labels"], "split": split, "group": image["group"], "views": views}
            when = image["size"] or 0, image["modified_at"] or EPOCH  # of a file that can be read since
            self.rows[image["uri"]] = Row(*when, image_id, **use, decoding=step.decoding)
        if not rows:
            return None
        extracted = pa.schema(
            [*PLANNED_SCHEMA, *(schema.field(name) for name in (*facts, "view") if name in schema.names)]
        )
        now = datetime.datetime.now(datetime.UTC)
        batches = to_features(pa.Table.from_pylist(rows, extracted), self.table.facts, run_id, now)
        decodings = {run_id: step.decoding}
        return write_part(self.table.folder, batches.to_batches(), schema, decodings, run_id=run_id)

    def _write_rejections(self, planned: pa.Table, run_id: str, step: Step) -> Part | None:
        images = []
        for row in planned.select(["uri", "size", "modified_at"]).to_pylist():
            self.rows[row["uri"]] = Row(row["size"], row["modified_at"], decoding=step.decoding)
            images.append(Rejected(**row, reason="corrupt", detail=""))
        folder, rows = self.table.rejected_folder, rejections(images, run_id).to_batches()
        return write_part(folder, rows, REJECTED_SCHEMA, run_id=run_id) if images else None

    def _commit(
        self,
        change_id: str,
        plan: Plan,
        leaving: pa.Table,
        facts: dict[str, Any] | None = None,
        **parts: Part | None,
    ) -> None:
        change = Change(change_id, change_id.partition("/")[0], plan.basis, leaving)
        commit(self.table.store, self.table.name, change, facts or {}, **parts)
        self.table = feature_store.open(self.table.store)

    def _check(self) -> None:
        stored = {
            uri: (row["size"], row["modified_at"], row["image_id"]) for uri, row in self.stored().items()
        }
        assert stored == {uri: row[:3] for uri, row in self.rows.items()}


def is_moved(planned: dict[str, Any]) -> bool:
    """Whether an image turns out to have the bytes of a row of another name: some do."""
    replaced = planned["replaced_uri"] not in (None, planned["uri"])
    return replaced and int(planned["replaced_image_id"][0], 16) % 2 == 0


def state(image: Image | None, row: Row | None, step: Step) -> str:
    """What should become of an image."""
    if image is None:
        return "missing from input"
    if row is None:
        return "new"
    if row.image_id is None:
        again = step.retry_rejected or row.decoding < DECODING
        return "changed" if again or not is_same_file(image, row) else "same"
    if image.away:
        return "missing file"
    same_labels = sorted(row.labels or ()) == sorted(image.labels)
    same_split = row.split == assign_split(row.image_id, image.split, image.group)
    same_use = same_labels and same_split and row.group == image.group
    redone = step.redo_decoding and row.decoding < DECODING
    same_views = row.views == wanted_views(image, row, step)
    return "same" if is_same_file(image, row) and same_use and same_views and not redone else "changed"


def is_same_file(image: Image, row: Row) -> bool:
    return (image.listed("")["size"], image.listed("")["modified_at"]) == row[:2]


def wanted_views(image: Image, row: Row, step: Step) -> int:
    assert row.image_id is not None
    return step.views if assign_split(row.image_id, image.split, image.group) == "train" else 0


def action(image: Image, row: Row | None, step: Step) -> str:
    """What is to be done with an image that is not the same."""
    if row is None or row.image_id is None:
        return READ
    if step.redo_decoding and row.decoding < DECODING:
        return REDO
    enough = (row.views or 0) >= wanted_views(image, row, step)
    return COPY if enough and is_same_file(image, row) else READ


def pairs(
    images: dict[str, Image], stored: dict[str, dict[str, Any]], states: dict[str, str]
) -> dict[str, str]:
    """From new images to rows of features of their size that are missing from the input, in order of time."""

    def by_size(found: list[tuple[int, Any, str]]) -> dict[tuple[int, int], str]:
        places: Counter[int] = Counter()
        keys = {}
        for size, _, uri in sorted(found):
            keys[size, places[size]] = uri
            places[size] += 1
        return keys

    new = by_size(
        [
            (images[uri].size, images[uri].time, uri)
            for uri, what in states.items()
            if what == "new" and not images[uri].away
        ]
    )
    missing = by_size(
        [
            (stored[uri]["size"], stored[uri]["modified_at"], uri)
            for uri, what in states.items()
            if what == "missing from input" and stored[uri]["image_id"] is not None
        ]
    )
    return {new[key]: missing[key] for key in new.keys() & missing.keys()}


def checked_plan(images: dict[str, Image], store: Store, step: Step) -> tuple[Plan, list[pa.Table]]:
    """The plan of a run, and its slices, which are what they should be."""
    plan = make_plan(
        pa.Table.from_pylist([image.listed(uri) for uri, image in images.items()], LISTING_SCHEMA),
        store.table,
        views=step.views,
        retry_rejected=step.retry_rejected,
        redo_decoding=step.redo_decoding,
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
    assert plan.stored_before == len(store.rows) - len(rejected)
    assert plan.stale == sum(row.decoding < DECODING for row in store.rows.values() if row.image_id)

    stored = store.stored()
    gone = {uri for uri, what in states.items() if what == "missing from input"}
    assert plan.missing_from_input.schema == STORED_SCHEMA
    assert plan.missing_from_input.sort_by("uri").to_pylist() == [stored[uri] for uri in sorted(gone)]
    assert plan.stored_missing_from_input == len(gone - rejected)
    moved = pairs(images, stored, states)
    assert plan.moved == len(moved)

    attempts: Counter[str] = Counter()
    for uri, count in step.attempts:
        attempts[uri] += count
    replaced = {uri: stored[moved.get(uri, uri)] for uri in todo if uri in stored or uri in moved}
    whole = {uri: row["part"] for uri, row in replaced.items() if row["image_id"] is not None}
    doubtful = {uri for uri in todo if attempts[uri] >= MOST_ATTEMPTS}
    parts = {whole.get(other) for other in doubtful} - {None}
    doubtful |= {uri for uri in todo if whole.get(uri) in parts}
    actions = {uri: action(images[uri], store.rows.get(uri), step) for uri in todo}
    sizes = {stored[uri]["size"] for uri in stored.keys() - rejected}
    sizes &= {images[uri].size for uri in todo if actions[uri] == READ and not images[uri].away}
    slices = list(plan.slices(step.chunk_size))
    planned = pa.concat_tables([PLANNED_SCHEMA.empty_table(), *slices])
    assert planned.schema == PLANNED_SCHEMA
    nothing = dict.fromkeys(STORED_SCHEMA.names)

    def place(uri: str) -> tuple[Any, ...]:
        away = images[uri].away
        return (
            uri in doubtful,
            whole.get(uri, ""),
            (0, False) if uri in whole else (0 if away else images[uri].size, away)[::-1],
            uri,
        )

    expected = [
        {
            **images[uri].listed(uri),
            "action": actions[uri],
            "same_size": not images[uri].away and images[uri].size in sizes,
            "attempts": attempts[uri],
            **{f"replaced_{name}": value for name, value in replaced.get(uri, nothing).items()},
        }
        for uri in sorted(todo, key=place)
    ]
    assert planned.to_pylist() == expected
    short = {
        whole[uri]
        for uri in todo
        if uri in store.rows and uri in whole and not images[uri].away
        and (store.rows[uri].views or 0) < wanted_views(images[uri], store.rows[uri], step)
    }  # fmt: skip
    of_groups: Counter[Any] = Counter()
    for rows in slices:
        members = rows.column("uri").to_pylist()
        groups = {whole.get(uri) or place(uri)[:3] for uri in members}
        assert len(members) <= step.chunk_size or groups <= set(whole.values()) - short
        assert len({uri in doubtful for uri in members}) == 1
        of_groups.update(groups)
    for group, count in of_groups.items():
        size = sum((whole.get(uri) or place(uri)[:3]) == group for uri in todo)
        assert count == (1 if group in set(whole.values()) - short else -(-size // step.chunk_size))
    return plan, slices


def happen(step: Step, images: dict[str, Image], **always: Any) -> None:
    """Let happen to images what a step says; of all of them, some facts are always the same."""
    for uri, event, value in step.events:
        before = images.pop(uri, Image())
        if event == "move":
            uri = next(other for other in URIS[value:] + URIS if other not in images)
        image = before if event == "move" else EVENTS[event](before, value)
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
    step = Step()
    plan, slices = checked_plan(images, store, step)
    assert [len(rows) for rows in slices] == [4, 4]
    store.execute(plan, slices, images, step)
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
        store.execute(plan, slices[: step.done], images, step)
        after, _ = checked_plan(images, store, step._replace(retry_rejected=False, redo_decoding=False))
        if len(slices) <= step.done:
            again = {
                uri for uri, row in store.rows.items() if row.image_id is None and row.decoding < DECODING
            }
            assert after.todo == len((again & images.keys()) - step.left)
            assert after.listed == after.stored + after.rejected + after.left + after.todo


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
        store.execute(plan, slices[: step.done], images, step)
        splits: dict[str, set[str]] = {}
        for row in store.table.metadata(["image_id", "group", "split"]).to_pylist():
            splits.setdefault(row["group"] or row["image_id"], set()).add(row["split"])
        assert all(len(found) == 1 for found in splits.values()), splits
