"""Drift: whether a table holds other images now than those that its current head was trained on.

Three figures, of the images and not of their views:

- how far the shares of the classes have moved: their total variation distance, then and now;
- whether the features tell images that are new since from those that were there: the AUC of a classifier that
  has seen neither (`heads.two_samples`);
- the same among as many new images as old ones of each class: shares of classes that have moved are enough
  for the one before to rise.

Each has a p-value, that chance alone gives as much, and the three are adjusted by Holm's method. Images of a
group, and files of the same bytes, are not independent: one of each takes part in the tests.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from features.errors import BottleneckError, DriftExceeded
from features.text import counted
from heads.changes import Changes
from heads.evidence.statistics import CONFIDENCE, holm
from heads.saved import SavedHead
from heads.two_samples import TwoSampleResult, two_sample_test

if TYPE_CHECKING:
    from features.store.table import FeatureTable


@dataclasses.dataclass(frozen=True)
class Drift:
    """What has changed in a table since a head was trained on it.

    Attributes:
        head: id of the head.
        since, version: versions of the table: that it was trained on, and the one that is compared.
        new, gone, relabelled: images that only the later version has, or only the earlier one, or both with
            other labels.
        classes: total variation distance of the shares of the classes, from 0 to 1.
        classes_p_value: Holm-adjusted; None for too few images.
        classes_replaced: the share of images, then or now, of classes that the other version does not have:
            they were renamed, or have come or gone.
        features, within_classes: how well new images are told from old ones, and so among as many of each
            class; their p-values are Holm-adjusted. None for too few images.
    """

    head: str
    since: int
    version: int
    new: int
    gone: int
    relabelled: int
    classes: float
    classes_p_value: float | None
    classes_replaced: float
    features: TwoSampleResult | None
    within_classes: TwoSampleResult | None

    def facts(self) -> dict[str, Any]:
        """The same, as JSON can hold it."""
        tests = {
            name: None if result is None else result._asdict()
            for name, result in (("features", self.features), ("within_classes", self.within_classes))
        }
        return {**dataclasses.asdict(self), **tests}

    def sentences(self) -> list[str]:
        """The same for people, a line each."""
        changes = (
            f"{counted(self.new, 'new image')}, {self.gone:,} gone, {self.relabelled:,} with other labels"
        )
        p_value = "too few to tell" if self.classes_p_value is None else f"p = {self.classes_p_value:.2g}"
        replaced = self.classes_replaced
        others = f"; {replaced:.1%} are of classes that are new, renamed or gone" if replaced else ""
        since = f"since version {self.since}, which head {self.head} was trained on"
        if not (self.new or self.gone or self.relabelled):
            return [f"{since}: the same images and labels"]
        return [
            f"{since}: {changes}",
            f"classes: their shares have moved by {self.classes:.1%} of the images ({p_value}){others}",
            f"features: new images told from old ones, {_result_text(self.features)}; "
            f"among as many of each class, {_result_text(self.within_classes)}",
        ]

    def check(self, max_class_drift: float | None = None, max_feature_drift: float | None = None) -> None:
        """Refuse more drift than is allowed, unless chance alone may give it, or images are too few to tell.

        That a class is new, renamed or gone is no chance: its images count without a test.

        Args:
            max_class_drift: the highest total variation distance of the shares of classes.
            max_feature_drift: the highest AUC by which new images are told from old ones, among as many of
                each class.

        Raises:
            DriftExceeded: for more than that.
        """
        since = f"since version {self.since}, which the current head {self.head} was trained on"
        if max_class_drift is not None and (
            _is_beyond(self.classes, self.classes_p_value, max_class_drift)
            or min(self.classes, self.classes_replaced) > max_class_drift
        ):
            self._refuse(
                f"the shares of the classes have moved by {self.classes:.3g} {since}, more than "
                f"`max_class_drift={max_class_drift:g}` allows"
            )
        result = self.within_classes
        if result is None or max_feature_drift is None:
            return
        if _is_beyond(result.auc, result.p_value, max_feature_drift):
            self._refuse(
                f"the features of new images differ {since}: an AUC of {result.auc:.3g} tells them from old "
                f"ones, more than `max_feature_drift={max_feature_drift:g}` allows"
            )

    def _refuse(self, what: str) -> NoReturn:
        remedy = "nothing was trained: look at what has changed, then train with a higher limit or none"
        raise DriftExceeded(f"{what}; {remedy}", facts={"drift": self.facts()})


def measure_drift(saved: SavedHead, table: FeatureTable, seed: int = 0) -> Drift:
    """Compare a table with the version of it that a head was trained on.

    Args:
        saved: the current head; features are compared on the layers that it uses.
        table: a later version.
        seed: of the images that are drawn, and of the tests.

    Raises:
        BottleneckError: where that version can't be read, or there is none, or the table lacks such layers.
    """
    keys = ["image_id", "labels", "view", *(["group"] if table.facts.groups else [])]
    then = saved.rows_then(table, keys)
    if then is None:
        raise BottleneckError(
            f"head {saved.id} was trained on images, and not on a version of table {table.name!r}: how far "
            f"that has drifted since can't be told"
        )
    layers = [column.layer for column in table.columns(saved.layers)]
    changes = Changes(then, table.metadata(keys))
    anywhere = np.zeros_like(changes.classes)
    results = [
        None if rows is None else _test(table, layers, changes, rows, strata, seed)
        for rows, strata in (
            (changes.draw(seed), anywhere),
            (changes.draw_within_classes(seed), changes.classes),
        )
    ]
    p_values = [changes.classes_p_value(), *(None if of is None else of.p_value for of in results)]
    adjusted = iter(holm([p_value for p_value in p_values if p_value is not None]))
    classes, *of_results = (None if p_value is None else next(adjusted) for p_value in p_values)
    features, within_classes = (
        None if of is None or p_value is None else of._replace(p_value=p_value)
        for of, p_value in zip(results, of_results, strict=True)
    )
    return Drift(
        head=saved.id,
        since=saved.facts["table_version"],
        version=table.version,
        new=int(changes.is_new.sum()),
        gone=changes.gone,
        relabelled=changes.relabelled,
        classes=changes.classes_distance(),
        classes_p_value=classes,
        classes_replaced=changes.classes_replaced(),
        features=features,
        within_classes=within_classes,
    )


def _test(
    table: FeatureTable,
    layers: list[str],
    changes: Changes,
    rows: np.ndarray,
    strata: np.ndarray,
    seed: int,
) -> TwoSampleResult:
    X = table.take(changes.numbers[rows], layers=layers)
    return two_sample_test(X, changes.is_new[rows], strata[rows], seed)


def _is_beyond(figure: float, p_value: float | None, limit: float) -> bool:
    """Whether a figure is above its limit, and that is more than chance."""
    return figure > limit and p_value is not None and p_value < 1 - CONFIDENCE


def _result_text(result: TwoSampleResult | None) -> str:
    if result is None:
        return "too few to tell"
    low, high = result.interval
    return f"AUC {result.auc:.2f} ({low:.2f} to {high:.2f}; p = {result.p_value:.2g})"
