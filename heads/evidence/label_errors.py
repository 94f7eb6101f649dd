"""Likely label errors, the images that are like no other, and the classes that features can't tell apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.errors import BottleneckError
from heads.evidence.images import LabelledRows
from heads.evidence.neighbours import Neighbours
from heads.metrics import interval
from heads.shares import untestable

#: Classes compared in pairs, at most: the largest.
_MOST_CLASSES = 200


def find_label_errors(images: LabelledRows, probabilities: np.ndarray, most: int) -> dict[str, Any]:
    """The images whose labels are the least likely, by cleanlab: Northcutt et al. (2021), Confident Learning,
    https://arxiv.org/abs/1911.00068

    Images of a class that has nothing else are not judged: nobody could learn it without them.

    Args:
        probabilities: out of fold, (n, n_classes).
        most: images to name.

    Returns:
        `count`, how many errors cleanlab estimates, and `images`, the least likely first.

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
    rows = []
    for place in np.argsort(quality, kind="stable")[:most]:
        number = int(judged[place])
        given, suggested = _given_and_suggested(y[place], probabilities[place])
        rows.append(
            {
                "uri": images.uris[number],
                "label": images.labels[number],
                "suggested": " | ".join(images.classes[label] for label in suggested),
                "probability": float(probabilities[place][given].min()) if len(given) else None,
                "suggested_probability": float(probabilities[place][suggested].max())
                if len(suggested)
                else None,
                "split": images.splits[number],
            }
        )
    return {"count": count, "images": rows}


def _judge(y: np.ndarray, probabilities: np.ndarray) -> tuple[int, np.ndarray]:
    """How many labels are wrong, and how likely each image's is: (n,), the lower the worse."""
    try:
        from cleanlab.count import num_label_issues
        from cleanlab.multilabel_classification.filter import find_label_issues
        from cleanlab.multilabel_classification.rank import get_label_quality_scores as multi_label_scores
        from cleanlab.rank import get_label_quality_scores
    except ImportError as error:
        raise BottleneckError(
            "likely label errors are found by cleanlab, of the extra `report`: "
            "pip install 'bottleneck-features[report]'"
        ) from error
    if y.ndim == 2:
        labels = [np.flatnonzero(row).tolist() for row in y]
        return int(find_label_issues(labels, probabilities).sum()), multi_label_scores(labels, probabilities)
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


def find_confused_classes(images: LabelledRows, probabilities: np.ndarray, most: int) -> list[dict[str, Any]]:
    """The pairs of classes that are most often taken for each other, out of fold.

    Of each pair it is asked which of the two an image is: half wrong is as good as a coin. A pair is
    indistinguishable where the interval of what is wrong reaches the share of the smaller class.

    Returns:
        `classes`, `wrong`, `interval`, `images` and `indistinguishable` of each; none for several labels.
    """
    if images.multi_label:
        return []
    counts = np.bincount(images.y, minlength=len(images.classes))
    largest = np.sort(np.argsort(-counts, kind="stable")[:_MOST_CLASSES])
    # How many images of each class (row) another (column) is thought to be the more likely one.
    beaten = np.zeros((len(images.classes), len(images.classes)), int)
    for number in largest[counts[largest] > 0]:
        of_class = probabilities[images.y == number]
        beaten[number] = (of_class > of_class[:, [number]]).sum(axis=0)
    wrong = beaten + beaten.T
    pairs = []
    for place, first in enumerate(largest):
        for second in largest[place + 1 :]:
            if wrong[first, second] and counts[first] and counts[second]:
                pairs.append((int(first), int(second)))
    share = {pair: wrong[pair] / (counts[pair[0]] + counts[pair[1]]) for pair in pairs}
    pairs.sort(key=lambda pair: -share[pair])
    return [_pair_facts(images, pair, int(wrong[pair]), counts) for pair in pairs[:most]]


def _pair_facts(
    images: LabelledRows, pair: tuple[int, int], wrong: int, counts: np.ndarray
) -> dict[str, Any]:
    total = int(counts[list(pair)].sum())
    low, high = interval(wrong, total)
    return {
        "classes": [images.classes[number] for number in pair],
        "wrong": wrong / total,
        "interval": [low, high],
        "images": total,
        "indistinguishable": bool(high >= counts[list(pair)].min() / total),
    }
