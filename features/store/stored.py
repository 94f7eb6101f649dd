"""Features that a table holds already, found by the bytes they are of, and taken over for other rows.

Use it where images may have been moved, copied or touched: what is the same need not be inferred again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import files
from features.store.log import read_part
from features.store.parts import read_decodings
from features.store.table import FeatureTable

#: Bytes of a sha256.
_ID_BYTES = 32


class Place(NamedTuple):
    """Where the features of an image are.

    Attributes:
        part: name of the part file.
        row: of the image itself, not of one of its views.
        views: how many of its augmented views are there.
    """

    part: str
    row: int
    views: int


class Wanted(NamedTuple):
    """Rows of a part that are wanted.

    Attributes:
        views: of the image, 0 for itself.
        uri: of the image; None where `row` says which it is.
        row: of the image itself.
    """

    views: Sequence[int]
    uri: str | None = None
    row: int = 0


class StoredImages:
    """The images of a table whose files have one of some sizes, by their ids.

    An image takes 56 bytes of memory here.

    Args:
        table: whose newest parts are searched, those only that may hold such sizes.
        sizes: of files, in bytes.
    """

    def __init__(self, table: FeatureTable, sizes: pa.Array) -> None:
        self._names = table.names
        wanted = pc.unique(sizes.drop_null()).sort()
        found = [
            _in_part(table.folder / name, number, wanted)
            for number, name in enumerate(self._names if len(wanted) else ())
        ]
        ids = np.concatenate([np.empty(0, f"S{_ID_BYTES}"), *(of_part[0] for of_part in found)])
        places = np.concatenate([np.empty((0, 3), np.int64), *(of_part[1] for of_part in found)])
        order = np.lexsort((places[:, 2], ids))
        self._ids, self._places = ids[order], places[order]

    def find(self, image_id: str) -> Place | None:
        """Where an image is; of several places the one with the most views."""
        key = np.array([bytes.fromhex(image_id)], self._ids.dtype)
        after = int(np.searchsorted(self._ids, key, side="right")[0])
        if not after or self._ids[after - 1] != key[0]:
            return None
        part, row, views = self._places[after - 1].tolist()
        return Place(self._names[part], row, views)


def copy_rows(
    path: Path, wanted: Sequence[Wanted], schema: pa.Schema
) -> tuple[pa.Table, np.ndarray, dict[str, int]]:
    """Rows of a part, for other rows to be made of.

    Args:
        path: of the part file.
        schema: of the table.

    Returns:
        The rows, in `schema`; for each which of `wanted` it is for, int ndarray; and by which decodings the
        part's rows were read (`features.store.parts.read_decodings`).
    """
    rows = read_part(path, schema)
    uris, views = rows.column("uri").to_pylist(), rows.column("view").to_pylist()
    of_uri: dict[str, dict[int, int]] = {}
    for number, (uri, view) in enumerate(zip(uris, views, strict=True)):
        of_uri.setdefault(uri, {})[view] = number
    taken, owners = [], []
    for owner, one in enumerate(wanted):
        of_image = of_uri[uris[one.row] if one.uri is None else one.uri]
        for view in one.views:
            taken.append(of_image[view])
            owners.append(owner)
    return rows.take(pa.array(taken, pa.int64())), np.array(owners, int), read_decodings(path)


def _in_part(path: Path, number: int, sizes: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Ids and places of the images of these sizes, ascending, in a part."""
    file = files.parquet_file(path)
    if not _may_hold(file.metadata, sizes.to_numpy()):
        return np.empty(0, f"S{_ID_BYTES}"), np.empty((0, 3), np.int64)
    rows = file.read(["size", "image_id", "view", "uri"], use_threads=False)
    wanted = pc.and_(pc.is_in(rows.column("size"), sizes), pc.equal(rows.column("view"), 0))
    places = np.flatnonzero(wanted.to_numpy())
    most = rows.group_by("uri").aggregate([("view", "max")])
    of_images = pc.index_in(rows.column("uri").take(places), most.column("uri").combine_chunks())
    views = most.column("view_max").take(of_images).to_numpy()
    text = "".join(rows.column("image_id").take(places).to_pylist())
    ids = np.frombuffer(bytes.fromhex(text), f"S{_ID_BYTES}")
    return ids, np.stack([np.full(len(places), number), places, views], axis=1).astype(np.int64)


def _may_hold(metadata: pq.FileMetaData, sizes: np.ndarray) -> bool:
    """Whether any of the sizes, ascending, is within the least and the greatest of a row group."""
    column = metadata.schema.names.index("size")
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(column).statistics
        if statistics is None or not statistics.has_min_max:
            return True
        first, after = np.searchsorted(sizes, [statistics.min, statistics.max + 1])
        if after > first:
            return True
    return False
