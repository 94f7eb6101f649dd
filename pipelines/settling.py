"""What becomes of the images of a slice: features taken over where the same bytes are stored, else inferred.

Knows nothing of Beam: `pipelines.handler` calls it on a worker.
"""

from __future__ import annotations

import collections
import datetime
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.augmentation import Augmentation
from features.decodings import DECODING
from features.extractor import EXTRACTED_FIELDS, Views
from features.images.errors import UNREAD
from features.splits import assign_split
from features.store.rows import taken_over, to_features, to_rejections
from features.store.stored import Place, StoredImages, Wanted, copy_rows
from features.store.table import FeatureTable
from pipelines.runs import COPY, READ, REDO, Header, outdated


class SettledSlice(NamedTuple):
    """What is to be committed of a slice.

    Attributes:
        features: rows of the feature table.
        rejected: rows of the rejected table.
        outdated: rows that leave either, as the plan saw them (`features.store.conflicts.STORED_SCHEMA`).
        decodings: by which the features were read (`features.store.parts.read_decodings`).
        counts: images by what was done: `inferred`, `rows` (that were inferred, views included), `moved`,
            `touched`, `same_bytes`, `relabelled`, and `unread`: stored ones that could not be read now.
    """

    features: pa.Table
    rejected: pa.Table
    outdated: pa.Table
    decodings: dict[str, int]
    counts: dict[str, int]


class SliceWork:
    """The images of a slice while they are worked on.

    Args:
        planned: in `pipelines.runs.PLANNED_SCHEMA`.
        table: as it is now.
        header: of the plan.

    Attributes:
        images: uris of those that are to be read.
        views: which of their views are to be inferred: what `features.Extractor.extract` takes.
    """

    def __init__(self, planned: pa.Table, table: FeatureTable, header: Header) -> None:
        self._planned = planned
        self._table = table
        self._most = header.views
        self._actions = planned.column("action").to_pylist()
        self._splits, self._groups = (planned.column(name).to_pylist() for name in ("split", "group"))
        read = planned.filter(pc.equal(planned.column("action"), READ))
        # The own row has another size where the file had changed after it was listed.
        sizes = [read.filter(read.column("same_size")).column("size"), read.column("replaced_size")]
        self._stored = StoredImages(table, pa.chunked_array([*sizes[0].chunks, *sizes[1].chunks], pa.int64()))
        self._read = [number for number, action in enumerate(self._actions) if action != COPY]
        self._uris, self._replaced_uris, self._replaced_ids = (
            planned.column(name).to_pylist() for name in ("uri", "replaced_uri", "replaced_image_id")
        )
        self.images = [self._uris[number] for number in self._read]
        augmentation = Augmentation.from_dict(header.augmentation) if header.augmentation else None
        self.views = Views(self._choose, 1 + header.views, augmentation)
        self._lock = threading.Lock()
        self._ids: dict[int, str] = {}
        self._places: dict[int, Place | None] = {}
        self._chosen: dict[int, tuple[int, ...]] = {}
        #: Which image of the slice is inferred for the views of an image.
        self._owners: dict[tuple[str, int], int] = {}

    def _choose(self, place: int, image_id: str) -> Sequence[int]:
        """The views of an image that nobody has, or that no other image of the slice is inferred for."""
        number = self._read[place]
        with self._lock:
            if self._ids.get(number) != image_id:
                self._ids[number] = image_id
                redo = self._actions[number] == REDO
                self._places[number] = None if redo else self._stored.find(image_id)
                self._chosen[number] = tuple(
                    view
                    for view in self._not_stored(number)
                    if self._owners.setdefault((image_id, view), number) == number
                )
            return self._chosen[number]

    def _wanted(self, number: int, image_id: str) -> range:
        """The views that an image is to have."""
        split = assign_split(image_id, self._splits[number], self._groups[number])
        return range(1 + (self._most if split == "train" else 0))

    def _not_stored(self, number: int) -> range:
        """Of the views that an image is to have, those that are not stored; of one that was read."""
        place = self._places[number]
        return self._wanted(number, self._ids[number])[0 if place is None else 1 + place.views :]

    def settle(self, extracted: pa.Table | None, run_id: str, now: datetime.datetime) -> SettledSlice:
        """What is to be committed.

        Args:
            extracted: what an extractor gave for `images`, in its schema; None where there are none.
            now: when.
        """
        if extracted is None:
            extracted = self._nothing_extracted()
        numbers = pa.array(np.array(self._read, int)).take(extracted.column("image"))
        failed = self._failures(extracted, numbers)
        unread = {number for number, (reason, _) in failed.items() if reason in UNREAD and self._own(number)}
        rejected = {number: why for number, why in failed.items() if number not in unread}
        tables, decodings = [self._table.facts.schema.empty_table()], {}
        inferred = self._inferred(extracted, numbers, failed, run_id, now)
        if len(inferred):
            tables, decodings = [inferred], {run_id: DECODING}
        for table, read_by in self._taken_over(inferred, failed):
            tables.append(table)
            decodings |= read_by
        reasons = self._planned.take(pa.array(list(rejected), pa.int64()))
        for position, name in enumerate(("reason", "detail")):
            column = pa.array([facts[position] for facts in rejected.values()], pa.string())
            reasons = reasons.append_column(name, column)
        leaving = self._leaving(failed, unread)
        features = pa.concat_tables(tables)
        runs = set(features.column("run_id").unique().to_pylist())
        return SettledSlice(
            features,
            to_rejections(reasons, run_id, now),
            outdated(self._planned.take(pa.array(sorted(leaving.values()), pa.int64()))),
            # Of every run: a footer that names only some of them would pass for one without older rows.
            {run: decodings.get(run, 0) for run in sorted(runs)},
            self._counts(failed, leaving, len(inferred)) | {"unread": len(unread)},
        )

    def _nothing_extracted(self) -> pa.Table:
        layers = [self._table.facts.schema.field(layer) for layer in self._table.layers]
        return pa.schema([*EXTRACTED_FIELDS, *layers]).empty_table()

    def _own(self, number: int) -> bool:
        """Whether an image has features that are stored under its uri."""
        return self._uris[number] == self._replaced_uris[number] and self._replaced_ids[number] is not None

    def _failures(self, extracted: pa.Table, numbers: pa.Array) -> dict[int, tuple[str, str]]:
        """Why images have no features: also those that one of the same bytes stood for."""
        bad = extracted.column("reason").is_valid()
        columns = (numbers.filter(bad), *extracted.filter(bad).select(["reason", "detail"]).columns)
        failed = {
            number: (reason, detail)
            for number, reason, detail in zip(*(column.to_pylist() for column in columns), strict=True)
        }
        for (image_id, _), owner in self._owners.items():
            if owner in failed:
                for number, of_number in self._ids.items():
                    if of_number == image_id and self._lacks(number, owner):
                        failed.setdefault(number, failed[owner])
        return dict(sorted(failed.items()))

    def _lacks(self, number: int, owner: int) -> bool:
        """Whether an image takes any view from what is inferred for `owner`."""
        image_id = self._ids[number]
        return any(self._owners[image_id, view] == owner for view in self._not_stored(number))

    def _inferred(
        self,
        extracted: pa.Table,
        numbers: pa.Array,
        failed: dict[int, tuple[str, str]],
        run_id: str,
        now: datetime.datetime,
    ) -> pa.Table:
        """Rows of the feature table of what was inferred, in its schema."""
        good = pc.and_(extracted.column("view").is_valid(), extracted.column("reason").is_null())
        good = pc.and_(good, pc.invert(pc.is_in(numbers, pa.array(list(failed), pa.int64()))))
        rows, of_plan = extracted.filter(good), self._planned.take(numbers.filter(good))
        names = [*of_plan.column_names, *rows.column_names]
        return to_features(
            pa.table([*of_plan.columns, *rows.columns], names=names), self._table.facts, run_id, now
        )

    def _taken_over(
        self, inferred: pa.Table, failed: dict[int, tuple[str, str]]
    ) -> list[tuple[pa.Table, dict[str, int]]]:
        """Rows of images whose features are stored, or inferred for another of the slice; their decodings."""
        of_parts: dict[str, list[tuple[int, Wanted]]] = collections.defaultdict(list)
        others: list[tuple[int, tuple[str, int]]] = []
        for number, image_id, place in self._with_features(failed):
            wanted = self._wanted(number, image_id)
            if self._actions[number] == COPY:
                part = self._planned.column("replaced_part")[number].as_py()
                of_parts[part].append((number, Wanted(wanted, self._replaced_uris[number])))
                continue
            if place is not None:
                stored = wanted[: 1 + place.views]
                of_parts[place.part].append((number, Wanted(stored, None, place.row)))
            keys = [(image_id, view) for view in self._not_stored(number)]
            others += [(number, key) for key in keys if self._owners[key] != number]
        found = []
        for part, of_part in of_parts.items():
            path = self._table.folder / part
            rows, owners, decodings = copy_rows(path, [want for _, want in of_part], self._table.facts.schema)
            of_rows = np.array([number for number, _ in of_part])[owners]
            found.append((self._made_of(rows, of_rows), decodings))
        if others:
            ids, views = (inferred.column(name).to_pylist() for name in ("image_id", "view"))
            uris = inferred.column("uri").to_pylist()
            by_key = {key: number for number, key in enumerate(zip(uris, ids, views, strict=True))}
            taken = [by_key[self._uris[self._owners[key]], *key] for _, key in others]
            rows = inferred.take(pa.array(taken, pa.int64()))
            found.append((self._made_of(rows, np.array([number for number, _ in others])), {}))
        return found

    def _made_of(self, stored: pa.Table, numbers: np.ndarray) -> pa.Table:
        return taken_over(stored, self._planned.take(pa.array(numbers)), self._table.facts)

    def _with_features(self, failed: dict[int, tuple[str, str]]) -> list[tuple[int, str, Place | None]]:
        """The images that have features: number, id, and where these are stored."""
        return [
            (number, self._replaced_ids[number], None)
            if action == COPY
            else (number, self._ids[number], self._places[number])
            for number, action in enumerate(self._actions)
            if number not in failed
        ]

    def _leaving(self, failed: dict[int, tuple[str, str]], unread: set[int]) -> dict[int, int]:
        """Which images replace a row, and of which of the slice the plan says what that row is.

        A row of the same uri is replaced whatever became of the image, unless that could not be read at all:
        a disk that is away for a minute costs no features. A row of another uri, which is missing from the
        input, is replaced by an image of the same bytes: one row by one image.
        """
        leaving: dict[int, int] = {}
        missing: dict[str, list[int]] = collections.defaultdict(list)
        for number, (uri, replaced) in enumerate(zip(self._uris, self._replaced_uris, strict=True)):
            if number in unread:
                continue
            if replaced == uri:
                leaving[number] = number
            elif replaced is not None:
                missing[self._replaced_ids[number]].append(number)
        for number, image_id, _ in self._with_features(failed):
            if number not in leaving and missing[image_id]:
                leaving[number] = missing[image_id].pop()
        return leaving

    def _counts(
        self, failed: dict[int, tuple[str, str]], leaving: dict[int, int], inferred_rows: int
    ) -> dict[str, int]:
        counts = dict.fromkeys(("inferred", "rows", "moved", "touched", "same_bytes", "relabelled"), 0)
        counts["rows"] = inferred_rows
        for number, image_id, _ in self._with_features(failed):
            if self._actions[number] == COPY:
                counts["relabelled"] += 1
            elif self._chosen[number]:
                counts["inferred"] += 1
            elif (
                self._own(number) and self._replaced_ids[number] == image_id and not self._not_stored(number)
            ):
                counts["touched"] += 1
            elif number in leaving and self._replaced_uris[leaving[number]] != self._uris[number]:
                counts["moved"] += 1
            else:
                counts["same_bytes"] += 1
        return counts
