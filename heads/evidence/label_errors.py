"""Likely label errors, the images that are like no other, and the classes that features can't tell apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from heads.evidence.images import LabelledRows
from heads.evidence.neighbours import Neighbours
from heads.evidence.packages import check_packages
from heads.metrics import interval
from heads.shares import untestable

#: Classes compared in pairs, at most: the largest.
_MOST_CLASSES = 200
#: Images of each of two classes below which nobody can say that they are the same.
_ENOUGH = 10


def find_label_errors(images: LabelledRows, probabilities: np.ndarray, most: int) -> dict[str, Any]:
    """The images whose labels are the least likely, by cleanlab: Northcutt et al. (2021), Confident Learning,
    https://arxiv.org/abs/1911.00068

    Images of a class that has nothing else are not judged: nobody could learn it without them.

    Args:
        probabilities: out of fold, (n, n_classes).
        most: images to name.

    Returns:
        `count`, how many errors cleanlab estimates (None of several labels), and `images`, the least likely
        first: those for which other labels are more likely.

    Raises:
        BottleneckError: where cleanlab is missing.
    """
    alone = untestable(images.y, images.units)
    judged = np.flatnonzero(
        ~(np.isin(images.y, alone) if images.y.ndim == 1 else images.y[:, alone].any(axis=1))
    )
    y, probabilities = images.y[judged], np.clip(probabilities[judged], 1e-6, 1 - 1e-6)
    if not len(judged):
        return {"count": 0, "images": []}
    count, quality = _judge(y, probabilities)
    rows: list[dict[str, Any]] = []
    for place in np.argsort(quality, kind="stable"):
        if len(rows) == most:
            break
        number = int(judged[place])
        given, suggested = _given_and_suggested(y[place], probabilities[place])
        if set(given) == set(suggested):
            continue
        rows.append(
            {
                "uri": images.uris[number],
                "label": images.labels[number],
                "suggested": " | ".join(images.classes[label] for label in suggested),
                "probability": float(probabilities[place][given].min()) if len(given) else None,
                "suggested_probability": _most_likely(probabilities[place], suggested),
                "split": images.splits[number],
            }
        )
    return {"count": count, "images": rows}


def _most_likely(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    return float(probabilities[labels].max()) if len(labels) else None


def _judge(y: np.ndarray, probabilities: np.ndarray) -> tuple[int | None, np.ndarray]:
    """How many labels are wrong, and how likely each image's is: (n,), the lower the worse."""
    check_packages(("cleanlab",))
    from cleanlab.count import num_label_issues
    from cleanlab.multilabel_classification.rank import get_label_quality_scores as multi_label_scores
    from cleanlab.rank import get_label_quality_scores

    if y.ndim == 2:
        labels = [np.flatnonzero(row).tolist() for row in y]
        return None, multi_label_scores(labels, probabilities)
    # cleanlab wants each class to be there.
    present, numbers = np.unique(y, return_inverse=True)
    of_present = probabilities[:, present] / probabilities[:, present].sum(axis=1, keepdims=True)
    count = int(num_label_issues(numbers, of_present)) if len(present) > 1 else 0
    return count, get_label_quality_scores(numbers, of_present, method="self_confidence")


def _given_and_suggested(y: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the labels that an image has, and of those that are likely."""
    if y.ndim == 0:
        return np.array([y]), np.array([probabilities.argmax()])
    return np.flatnonzero(y), np.flatnonzero(probabilities >= 0.5)


def find_outliers(images: LabelledRows, neighbours: Neighbours, most: int) -> list[dict[str, Any]]:
    """The images that are farthest from their nearest neighbours, by the mean of the cosine distance."""
    if not neighbours.numbers.shape[1]:
        return []
    there = neighbours.numbers >= 0
    distances = 1 - np.where(there, neighbours.cosines, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return [
        {
            "uri": images.uris[number],
            "label": images.labels[number],
            "split": images.splits[number],
            "distance": float(distances[number]),
        }
        for number in np.argsort(-distances, kind="stable")[:most].tolist()
    ]


def find_confused_classes(
    images: LabelledRows, probabilities: np.ndarray, most: int
) -> list[dict[str, Any]] | None:
    """The pairs of classes that are most often taken for each other, out of fold.

    Of each pair it is asked which of the two an image is, and both classes count as much: half wrong is as
    good as a coin. A pair of classes with some images is indistinguishable where the interval reaches that.

    Returns:
        `classes`, `wrong`, `interval`, `images` and `indistinguishable` of each; None for several labels.
    """
    if images.multi_label:
        return None
    counts = np.bincount(images.y, minlength=len(images.classes))
    largest = np.sort(np.argsort(-counts, kind="stable")[:_MOST_CLASSES])
    # A class that has nothing else could not be learned out of fold.
    largest = largest[(counts[largest] > 0) & ~np.isin(largest, untestable(images.y, images.units))]
    # How many images of each class (row) another (column) is thought to be the more likely one.
    beaten = np.zeros((len(images.classes), len(images.classes)), int)
    for number in largest:
        of_class = probabilities[images.y == number]
        beaten[number] = (of_class > of_class[:, [number]]).sum(axis=0)
    pairs = [
        (int(first), int(second))
        for place, first in enumerate(largest)
        for second in largest[place + 1 :]
        if beaten[first, second] or beaten[second, first]
    ]
    shares = beaten / np.maximum(counts, 1)[:, None]
    pairs.sort(key=lambda pair: -(shares[pair] + shares[pair[::-1]]))
    return [_pair_facts(images, pair, beaten, counts) for pair in pairs[:most]]


def _pair_facts(
    images: LabelledRows, pair: tuple[int, int], beaten: np.ndarray, counts: np.ndarray
) -> dict[str, Any]:
    """The mean of the shares of both classes that are wrong; its interval is by MOVER."""
    numbers = list(pair)
    wrong = np.array([beaten[pair], beaten[pair[::-1]]])
    shares = wrong / counts[numbers]
    bounds = np.array([interval(int(w), int(n)) for w, n in zip(wrong, counts[numbers], strict=True)])
    low, high = np.sqrt(((bounds - shares[:, None]) ** 2).sum(axis=0)) / 2
    mean = float(shares.mean())
    return {
        "classes": [images.classes[number] for number in numbers],
        "wrong": mean,
        "interval": [max(0.0, mean - float(low)), min(1.0, mean + float(high))],
        "images": int(counts[numbers].sum()),
        "indistinguishable": bool(counts[numbers].min() >= _ENOUGH and mean + high >= 0.5),
    }
