"""Near-duplicates: the same picture in several files, re-encoded, resized or mirrored.

They inflate a test score where one is trained on and the other tested. Features propose, since they find a
picture's neighbours in a large set; pixels decide, since the cosine of a copy can be less than that of two
pictures of one subject.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from features.text import counted
from heads.evidence.images import LabelledRows
from heads.evidence.neighbours import Neighbours
from heads.evidence.small_versions import SmallVersions
from heads.shares import joined

#: Correlation of small versions from which on two images are the same picture. Of 500 photos of flowers, no
#: two different ones have more than 0.90; copies at 30 % of the size, of quality 20, have 0.97 and more.
SAME = 0.95
#: Images from which on what they have in common is known.
_FEWEST = 10
#: Images whose pixels are read to decide, at most.
MOST_READ = 20_000


class Pair(NamedTuple):
    """Two images that are the same picture.

    Attributes:
        first, second: their numbers.
        cosine: of their features.
        correlation: of their small versions; None where they are the same bytes.
        mirrored: whether one is the other's mirror image.
    """

    first: int
    second: int
    cosine: float
    correlation: float | None
    mirrored: bool


def identical_pairs(images: LabelledRows) -> list[Pair]:
    """Files of the same bytes, each with the first of them."""
    first: dict[str, int] = {}
    pairs = []
    for number, image_id in enumerate(images.image_ids):
        if (other := first.setdefault(image_id, number)) != number:
            pairs.append(Pair(other, number, 1.0, None, False))
    return pairs


def proposals(neighbours: Neighbours, image_ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of neighbours, each once, those first that stand out most from the neighbours after them.

    Returns:
        int64 ndarray of shape (n_pairs, 2), the smaller number first, and their cosines, (n_pairs,).
    """
    if not neighbours.numbers.shape[1]:
        return np.empty((0, 2), np.int64), np.empty(0, np.float32)
    rows, places = np.nonzero(neighbours.numbers >= 0)
    others, cosines = neighbours.numbers[rows, places], neighbours.cosines[rows, places]
    ids = np.unique(image_ids, return_inverse=True)[1]
    # Copies are each other's neighbours, nearer than what comes at the end of both lists.
    usual = neighbours.cosines.min(axis=1)
    stand_out = cosines - np.maximum(usual[rows], usual[others])
    pairs = np.sort(np.stack([rows, others], axis=1), axis=1)
    different = ids[pairs[:, 0]] != ids[pairs[:, 1]]
    pairs, cosines, stand_out = pairs[different], cosines[different], stand_out[different]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -stand_out))
    _, once = np.unique(pairs[order], axis=0, return_index=True)
    kept = order[np.sort(once)]
    return pairs[kept], cosines[kept]


def to_read(pairs: np.ndarray, most: int = MOST_READ) -> np.ndarray:
    """Numbers of the images of the first pairs, ascending, at most so many."""
    flat = pairs.ravel()
    _, first = np.unique(flat, return_index=True)
    return np.sort(flat[np.sort(first)[: most // 2 * 2]])


def same_pictures(pairs: np.ndarray, cosines: np.ndarray, small: SmallVersions) -> list[Pair]:
    """Of proposed pairs those whose pixels say that they are the same picture.

    Args:
        pairs, cosines: as of `proposals`.
        small: small versions of images; pairs of others are passed over.
    """
    if not small.detailed.any():
        return []
    upright, mirrored = _standardized(small)
    places = small.places(pairs)
    known = ((places >= 0) & small.detailed[places]).all(axis=1)
    result = []
    for (first, second), (a, b), cosine in zip(pairs[known], places[known], cosines[known], strict=True):
        as_is, as_mirrored = float(upright[a] @ upright[b]), float(upright[a] @ mirrored[b])
        if max(as_is, as_mirrored) >= SAME:
            alike = max(as_is, as_mirrored)
            result.append(Pair(int(first), int(second), float(cosine), alike, as_mirrored > as_is))
    return result


def _standardized(small: SmallVersions) -> tuple[np.ndarray, np.ndarray]:
    """Gray small versions less what all images have in common, of length 1; and those of the mirror images.

    Digits on black, or X-rays, look alike to a correlation of their plain pixels.
    """
    gray = small.pixels.astype(np.float32).mean(axis=3)
    # Of very few images the mean is mostly the image itself.
    common = gray[small.readable].mean(axis=0) if small.readable.sum() >= _FEWEST else 0.0
    versions = []
    for pixels in (gray, gray[:, :, ::-1]):
        rows = (pixels - common).reshape(len(pixels), -1)
        rows = rows - rows.mean(axis=1, keepdims=True)
        versions.append(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))
    return versions[0], versions[1]


def with_copies(images: LabelledRows, pairs: list[Pair]) -> LabelledRows:
    """The same images, of which copies belong together like those of a group."""
    if not pairs:
        return images
    first = images.units[[pair.first for pair in pairs]]
    second = images.units[[pair.second for pair in pairs]]
    merged = joined(first, second, int(images.units.max()) + 1)
    return dataclasses.replace(images, units=np.unique(merged[images.units], return_inverse=True)[1])


def pictures_of(pairs: list[Pair], images: LabelledRows) -> list[np.ndarray]:
    """The numbers of the images that are one picture, for each picture that is there several times."""
    alone = dataclasses.replace(images, units=np.arange(len(images)))
    picture = with_copies(alone, pairs).units
    in_pairs = np.unique([number for pair in pairs for number in pair[:2]]).astype(int)
    order = in_pairs[np.argsort(picture[in_pairs], kind="stable")]
    begins = np.flatnonzero(np.diff(picture[order])) + 1
    return np.split(order, begins) if len(order) else []


def describe(pairs: list[Pair], images: LabelledRows, most: int) -> dict[str, Any]:
    """The pairs as in `evaluation.json`: those across splits or labels first, the most alike first."""
    labels, splits = [frozenset(of.split(" | ")) for of in images.labels], images.splits
    rows = [
        {
            "uris": [images.uris[pair.first], images.uris[pair.second]],
            "splits": [splits[pair.first], splits[pair.second]],
            "labels": [images.labels[pair.first], images.labels[pair.second]],
            "cosine": pair.cosine,
            "correlation": pair.correlation,
            "identical": pair.correlation is None,
            "mirrored": pair.mirrored,
            "across_splits": splits[pair.first] != splits[pair.second],
            "across_labels": labels[pair.first] != labels[pair.second],
        }
        for pair in pairs
    ]
    rows.sort(key=lambda of: (not (of["across_splits"] or of["across_labels"]), -(of["correlation"] or 1.0)))
    pictures = pictures_of(pairs, images)
    return {
        "count": len(rows),
        "pictures": len(pictures),
        "across_splits": sum(len(set(splits[picture])) > 1 for picture in pictures),
        "across_labels": sum(len({labels[number] for number in picture}) > 1 for picture in pictures),
        "pairs": rows[:most],
    }


def method_text(images: int, small: SmallVersions, *, exact: bool) -> str:
    """How they were looked for, for people."""
    how = "each image was compared with every other" if exact else "neighbours are from an index"
    read, readable = len(small.numbers), int(small.readable.sum())
    text = f"{counted(images, 'image')}, by features: {how}; by pixels: {counted(readable, 'image')} read"
    text += f", {read - readable:,} could not be" if read > readable else ""
    rough = readable - int(small.detailed.sum())
    return text + (f", {rough:,} have too few pixels to tell" if rough else "")


def leaked(pairs: list[Pair], images: LabelledRows) -> np.ndarray:
    """Which images for testing are there for training or validation, too, as copies: bool ndarray (n,)."""
    marks = np.zeros(len(images), bool)
    for picture in pictures_of(pairs, images):
        testing = images.splits[picture] == "test"
        if not testing.all():
            marks[picture[testing]] = True
    return marks
