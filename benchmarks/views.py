"""Do augmented views lift a head, and what do they cost?

    python -m benchmarks.views DATA WEIGHTS [DRAWS]

DATA is a folder of photos with a sub-folder for each class. All but two photos get views. In each draw twenty
photos of each class are for testing, and of the others few or many are trained on, with few or many of their
views: the same photos each time, so that differences are paired.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from features.store.labels import encode, read_labels
from features.store.table import FeatureTable
from heads import DenseHead, Head, LogisticHead
from pipelines.driver import extract
from pipelines.options import ExtractOptions
from pipelines.process import turn_off_opencv_threads

VIEWS = (0, 1, 4, 8)
TRAINED_ON = (5, 20, 80)
_TESTED = 20


class Rows(NamedTuple):
    """A table's rows in memory.

    Attributes:
        X: float32 of shape (n, width).
        y: numbers of the classes, int of shape (n,).
        image: numbers of the images, int of shape (n,).
        view: 0 for the image itself, int of shape (n,).
        classes: names of the classes.
    """

    X: np.ndarray
    y: np.ndarray
    image: np.ndarray
    view: np.ndarray
    classes: list[str]


class Measured(NamedTuple):
    """A head that was trained: its accuracy on the test images, and the seconds that it took."""

    accuracy: float
    seconds: float


def main() -> None:
    data, weights, draws = [*sys.argv[1:], "10"][:3]
    turn_off_opencv_threads()
    with tempfile.TemporaryDirectory(prefix="bottlenecks-views-") as folder:
        for line in compare(Path(data), weights, int(draws), Path(folder)):
            print(line, flush=True)


def compare(data: Path, weights: str, draws: int, folder: Path) -> Iterator[str]:
    """The findings, a line each."""
    images = list_as_training(data, folder / "images.csv")
    options = ExtractOptions(data=str(images), store=str(folder / "store"), weights=weights)
    for views in VIEWS:
        summary = extract(options.replace(views=views), quiet=True)
        rate = summary.inferred_rows / summary.seconds
        yield (
            f"VIEWS={views}: {summary.inferred_rows:,} rows inferred in {summary.seconds:.1f} s "
            f"({rate:.1f} rows/s, {summary.table.recipe.precision})"
        )
    rows = read_rows(summary.table)
    for name, new in (("logistic", LogisticHead), ("dense", DenseHead)):
        yield ""
        yield f"{name} head, accuracy in % of {draws} draws (difference to no views; seconds of a training)"
        yield f"| images a class | {' | '.join(f'VIEWS={views}' for views in VIEWS)} |"
        yield "|---" * (1 + len(VIEWS)) + "|"
        for images_a_class in TRAINED_ON:
            measured = [
                [measure(rows, new(), images_a_class, views, seed) for views in VIEWS]
                for seed in range(draws)
            ]
            yield f"| {images_a_class} | {' | '.join(cells(measured))} |"


def list_as_training(data: Path, path: Path) -> Path:
    """A list of the photos as training images: views are made of no others.

    One each is for validation and for testing, since splits would be cut by hash otherwise.
    """
    photos = sorted(photo for photo in data.glob("*/*") if photo.is_file())
    splits = {photos[0]: "validation", photos[-1]: "test"}
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["uri", "label", "split"],
                *([str(photo), photo.parent.name, splits.get(photo, "train")] for photo in photos),
            ]
        )
    return path


def read_rows(table: FeatureTable) -> Rows:
    X, _ = table.matrix()
    facts = table.metadata(["labels", "uri", "view"])
    labels = read_labels(facts.column("labels"), multi_label=False)
    classes = sorted(set(labels))
    _, image = np.unique(facts.column("uri").to_pylist(), return_inverse=True)
    y = encode(labels, classes, multi_label=False)
    return Rows(X, y, image, facts.column("view").to_numpy(), classes)


def measure(rows: Rows, head: Head, images_a_class: int, views: int, seed: int) -> Measured:
    """Train a head on some images of each class and their views, and test it on others."""
    random = np.random.default_rng(seed)
    trained, tested = [], []
    for number in range(len(rows.classes)):
        images = random.permutation(np.unique(rows.image[rows.y == number]))
        tested.append(images[:_TESTED])
        trained.append(images[_TESTED : _TESTED + images_a_class])
    of_train = np.flatnonzero(np.isin(rows.image, np.concatenate(trained)) & (rows.view <= views))
    of_test = np.isin(rows.image, np.concatenate(tested)) & (rows.view == 0)
    belonging: dict[str, Any] = {}
    if views:
        first = {
            image: place
            for place, image in enumerate(rows.image[of_train])
            if rows.view[of_train[place]] == 0
        }
        originals = np.array([first[image] for image in rows.image[of_train]])
        belonging = {"originals": originals, "units": np.unique(originals, return_inverse=True)[1]}
    started = time.perf_counter()
    head.fit_matrix(rows.X[of_train], rows.y[of_train], len(of_train), rows.classes, **belonging)
    seconds = time.perf_counter() - started
    right = head.predict_proba(rows.X[of_test]).argmax(axis=1) == rows.y[of_test]
    return Measured(float(right.mean()), seconds)


def cells(measured: list[list[Measured]]) -> Iterator[str]:
    """For each number of views: mean accuracy, the paired difference to none, and its standard error."""
    accuracies = 100 * np.array([[one.accuracy for one in draw] for draw in measured])
    seconds = np.median([[one.seconds for one in draw] for draw in measured], axis=0)
    for column, spent in enumerate(seconds):
        text = f"{accuracies[:, column].mean():.1f}"
        if column:
            differences = accuracies[:, column] - accuracies[:, 0]
            error = differences.std(ddof=1) / np.sqrt(len(differences))
            text += f" ({differences.mean():+.1f} ± {error:.1f}"
        else:
            text += " ("
        yield f"{text}; {spent:.1f} s)".replace("(; ", "(")


if __name__ == "__main__":
    main()
