"""Learning curves: the skill of one head over growing training sets, from several kinds of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from heads.evidence.images import LabelledRows
from heads.evidence.skill import skill
from heads.evidence.statistics import PARTS, interval_of_draws
from heads.folds import fit_anew, probabilities_of
from heads.progress import Progress, silent
from heads.shares import class_counts, deal, strata

if TYPE_CHECKING:
    from heads.base import Head


#: Draws that an interval needs.
FEWEST_DRAWS = 5


class Draw(NamedTuple):
    """One way to share images out.

    Attributes:
        train: rows to train on, in the order in which they join the training set.
        test: rows to test on.
    """

    train: np.ndarray
    test: np.ndarray


class Curve(NamedTuple):
    """The skill of a head by the size of its training set.

    Attributes:
        sizes: images of each class, where it has as many; None for all.
        per_class: the mean of the images of a class that were trained on, ascending.
        values: skill, of shape (n_sizes, n_draws).
    """

    sizes: list[int | None]
    per_class: list[float]
    values: np.ndarray

    @property
    def intervals(self) -> list[tuple[float, float, float]]:
        """Mean, low and high of each size."""
        of_sizes = (np.clip(interval_of_draws(values), 0, 1).tolist() for values in self.values)
        return [(mean, low, high) for mean, low, high in of_sizes]


def draws_of(images: LabelledRows, draws: int, seed: int, *, given_splits: bool) -> list[Draw]:
    """Ways to share images out, each tested on images of its own: every fifth image, by turns.

    Args:
        given_splits: whether the data came split: tested is then a part of their test split, by turns, and
            trained on are four fifths of the rest. Draws that have nothing to test are left out.
    """
    made = []
    of_test = images.splits == "test"
    # Each part has its share of what is tested.
    dealt = strata(images.y) * 2 + of_test if given_splits else images.y
    for number in range(draws):
        dealing, part = divmod(number, PARTS)
        own = deal(dealt, PARTS, seed + dealing, images.units) == part
        test = own & of_test if given_splits else own
        # What belongs to a tested image is in the same part, whatever split it was given.
        train = ~own & ~of_test if given_splits else ~own
        order = np.random.default_rng([seed, number]).permutation(len(images))
        made.append(Draw(order[train[order]], np.flatnonzero(test)))
    with_tests = [draw for draw in made if can_learn(images.y, [draw])]
    return with_tests if len(with_tests) >= FEWEST_DRAWS else made


def sizes_of(draws: Sequence[Draw], y: np.ndarray, classes: int) -> list[int | None]:
    """Images a class: 1, 2, 5, 10, 20, 50, …, as long as a class has more; then None for all."""
    most = max(int(class_counts(y[draw.train], classes).max()) for draw in draws)
    steps = (base * 10**power for power in range(9) for base in (1, 2, 5))
    sizes: list[int | None] = []
    for size in steps:
        if size >= most:
            break
        sizes.append(size)
    return [*sizes, None]


def learn(
    head: Head,
    X: np.ndarray,
    y: np.ndarray,
    classes: Sequence[str],
    draws: Sequence[Draw],
    progress: Progress = silent,
) -> Curve:
    """The learning curve of a head.

    Parameters that are left to the head to choose are chosen once, on all training images of the first draw.

    Args:
        X: of shape (n, width).
        y: as `Head.fit_matrix` takes it.
        progress: called after each size of each draw.
    """
    sizes = sizes_of(draws, y, len(classes))
    values, trained = np.empty((2, len(sizes), len(draws)))
    with threadpool_limits(1, user_api="blas"):
        head = with_choices(head, X, y, classes, draws[0].train)
        for number, draw in enumerate(draws):
            for place, size in enumerate(sizes):
                rows = draw.train if size is None else first_of_each(y, draw.train, size)
                fitted = fit_anew(head, X[rows], y[rows], classes)
                values[place, number] = skill(y[draw.test], probabilities_of(fitted, X[draw.test], classes))
                trained[place, number] = class_counts(y[rows], len(classes)).mean()
                progress(number * len(sizes) + place + 1, len(sizes) * len(draws), {})
    return Curve(sizes, trained.mean(axis=1).tolist(), values)


def with_choices(
    head: Head,
    X: np.ndarray,
    y: np.ndarray,
    classes: Sequence[str],
    rows: np.ndarray,
    originals: np.ndarray | None = None,
) -> Head:
    """The head with what it chooses on some rows given: parameters that are None, such as `C`.

    Args:
        originals: of these rows, as `Head.fit_matrix` takes it.
    """
    from sklearn.base import clone

    open_parameters = [name for name, value in head.get_params().items() if value is None]
    fitted = fit_anew(head, X[rows], y[rows], classes, originals=originals)
    chosen: Mapping[str, Any] = fitted.training_.facts if fitted.training_ else {}
    given = {name: chosen[name] for name in open_parameters if chosen.get(name) is not None}
    return clone(head).set_params(**given)


def first_of_each(y: np.ndarray, order: np.ndarray, count: int) -> np.ndarray:
    """The first rows in an order that give each class so many; of several labels, each label at least.

    Args:
        y: as `heads.Head.fit_matrix` takes it.
        order: numbers of rows.
    """
    if y.ndim == 1:
        return np.concatenate(list(_first(y[order], order, count)))
    seen, chosen = np.zeros(y.shape[1], int), []
    for row in order:
        if (y[row].astype(bool) & (seen < count)).any():
            seen += y[row]
            chosen.append(row)
    return np.array(chosen, int)


def _first(classes: np.ndarray, order: np.ndarray, count: int) -> Iterator[np.ndarray]:
    for number in np.unique(classes):
        yield order[classes == number][:count]


def can_learn(y: np.ndarray, draws: Sequence[Draw]) -> bool:
    """Whether each draw has two classes to learn, and something to test."""
    return all(
        len(np.unique(strata(y)[draw.train])) > 1 and len(draw.test) and (y.ndim == 1 or y[draw.test].any())
        for draw in draws
    )
