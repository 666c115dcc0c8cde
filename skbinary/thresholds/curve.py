"""Every cut of scored rows, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from skbinary.data.weights import rescale_extreme_weights
from skbinary.thresholds.decision import decide, towards
from skbinary.thresholds.objectives import (
    CallableMetric,
    Constraint,
    Costs,
    Counts,
    Metric,
    Objective,
)

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

FEW_POSITIVES = 20  # the recall on 20 rows has a standard error of up to 0.11
# Limits the cuts at which a function is called, that are resampled, and that a curve has: a plot is
# about as many pixels wide.
MOST_CUTS = 1000
RESAMPLES = 200  # of which about ten are beyond either end of the interval
CHUNK = 25  # resamples at a time, whose arrays then stay in the cache
# A function is called for each pair of these two.
CALLED_RESAMPLES, CALLED_CUTS = 20, 25
ROUNDING = 1e-14  # scores which differ by this share of themselves are equal


@dataclass(frozen=True, eq=False)
class ThresholdData:
    """Rows on which a threshold is chosen.

    Parameters
    ----------
    logit : ndarray of shape (n_samples,)
        Logit of the positive label, of rows that the model should not have been trained on.
    target : ndarray of shape (n_samples,)
        1 for the positive label, 0 for the other.
    weight : ndarray of shape (n_samples,) or None
        Rows of weight zero do not count.
    classes : ndarray of shape (2,)
        The labels, the positive one last.
    """

    logit: NDArray[np.floating]
    target: NDArray[np.floating]
    weight: NDArray[np.floating] | None
    classes: NDArray[np.generic]

    @classmethod
    def of(
        cls,
        logit: NDArray[np.floating],
        y: NDArray[np.generic],
        weight: NDArray[np.floating] | None,
        classes: NDArray[np.generic],
        positive: int,
    ) -> Self:
        """Make it from logits of ``classes[1]``, with ``classes[positive]`` as positive label."""
        own, ordered = towards(logit, classes, positive)
        weight = None if weight is None else rescale_extreme_weights(weight)
        return cls(own, (y == ordered[1]).astype(np.float64), weight, ordered)

    @property
    def has_both_classes(self) -> bool:
        """Whether there are rows of both classes with a weight."""
        counted = self.target if self.weight is None else self.target[self.weight > 0]
        return bool(0 < np.count_nonzero(counted) < len(counted))


@dataclass(frozen=True, eq=False)
class ThresholdChoice:
    """The best threshold, and what it was chosen from.

    Parameters
    ----------
    threshold : float
        In [0, 1].
    curve : dict of str to ndarray of shape (n_cuts,)
        ``"threshold"``, ascending, the weights ``"tn"``, ``"fp"``, ``"fn"`` and ``"tp"`` of the
        rows of each kind, and ``"score"``, of which more is better. It has at most 1,000 cuts,
        always with the first and the last one, `threshold` and both ends of `interval`.
    interval : tuple of two floats
        In 90 % of resamples of the rows the best threshold is within it, as is `threshold`.
    complaints : tuple of str
        What the user should be warned of.
    """

    threshold: float
    curve: dict[str, Array]
    interval: tuple[float, float]
    complaints: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Cuts:
    """Cuts between rows in the order of their probability.

    Parameters
    ----------
    threshold : ndarray of shape (n_cuts,)
        Ascending.
    start : ndarray of shape (n_cuts,)
        The first row that each flags.
    weight : ndarray of shape (2, n_samples)
        Of the rows of the negative and of the positive class, in the order of their probability.
        In the row of the other class it is 0.
    """

    threshold: Array
    start: Indices
    weight: Array

    def __getitem__(self, cuts: Indices) -> _Cuts:
        return replace(self, threshold=self.threshold[cuts], start=self.start[cuts])

    def counts(self) -> Counts:
        """Give the weight of the rows of each kind, for every cut."""
        flagged = np.zeros((2, self.weight.shape[1] + 1))
        np.cumsum(self.weight[:, ::-1], axis=1, out=flagged[:, -2::-1])
        return _count(*flagged[:, self.start])


def choose(objective: Objective, threshold_data: ThresholdData) -> ThresholdChoice:
    """Find the threshold that does best on scored rows.

    The cuts lie halfway between neighbouring probabilities, and between the outermost ones and 0
    and 1. Of cuts that do equally well, after the ties that a constraint itself decides, the one
    nearest to 0.5 is taken, and of two such the lower one.

    All cuts are compared, of which the curve keeps up to 1,000, closest where it changes most. A
    function is called at every cut if there are no more than 1,000, and otherwise at 1,000 whose
    ranks are evenly spread.

    The interval holds the middle 90 % of the best thresholds of 200 resamples (Poisson bootstrap),
    for which the rows between up to 1,000 cuts are taken together. A function is resampled 20
    times at up to 25 cuts. The interval is the same whenever the rows are.

    Parameters
    ----------
    objective : Metric, CallableMetric, Constraint or Costs
        What shall be achieved.
    threshold_data : ThresholdData

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If not both classes have rows with weight, or a function is NaN at every cut.

    Examples
    --------
    >>> import numpy as np
    >>> from skbinary.thresholds.curve import ThresholdData, choose
    >>> from skbinary.thresholds.objectives import parse_threshold
    >>> logit = np.array([-2.0, -1.0, 0.0, 1.0])
    >>> evidence = Evidence(logit, np.array([0.0, 1, 0, 1]), None, np.array(["no", "yes"]))
    >>> choice = choose(parse_threshold({"recall": 1.0}), evidence)
    >>> round(choice.threshold, 3)
    0.194
    """
    threshold_data = _with_weight(threshold_data)
    cuts = _find_cuts(threshold_data)
    counts = cuts.counts()
    if isinstance(objective, CallableMetric):
        kept = _spread(len(cuts.threshold), MOST_CUTS)
        cuts, counts = cuts[kept], counts[kept]
        score = _call(objective, threshold_data, cuts.threshold)
        best = _best_called(objective, score, cuts.threshold)
        resampled = _resample_called(objective, threshold_data, cuts, best)
    else:
        score = objective.score(counts)
        best = int(_best(objective.ranks(counts), cuts.threshold))
        resampled = _resample_counts(objective, cuts, best)
    threshold = float(cuts.threshold[best])
    interval = _interval(resampled, threshold)
    curve = {"threshold": cuts.threshold, **vars(counts), "score": score}
    return ThresholdChoice(
        threshold=threshold,
        curve=_thinned(curve, (threshold, *interval)),
        interval=interval,
        complaints=_complaints(objective, threshold_data, counts[best]),
    )


def _count(fp: Array, tp: Array) -> Counts:
    """Complete the counts of cuts, of which the first flags all rows."""
    return Counts(tn=fp[..., :1] - fp, fp=fp, fn=tp[..., :1] - tp, tp=tp)


def _with_weight(threshold_data: ThresholdData) -> ThresholdData:
    """Leave the rows of weight zero out, and check that both classes are left."""
    if threshold_data.weight is not None and not threshold_data.weight.all():
        kept = threshold_data.weight > 0
        threshold_data = replace(
            threshold_data,
            logit=threshold_data.logit[kept],
            target=threshold_data.target[kept],
            weight=threshold_data.weight[kept],
        )
    n_rows, n_positives = len(threshold_data.target), np.count_nonzero(threshold_data.target)
    if 0 < n_positives < n_rows:
        return threshold_data
    label = threshold_data.classes.tolist()[int(n_positives > 0)]
    got = f"{n_rows} of the class {label!r} alone" if n_rows else "none with a weight above zero"
    raise ValueError(
        f"Choosing a threshold must have rows of both classes, got {got}. Give rows of "
        "both, or a number as the threshold."
    )


def _find_cuts(threshold_data: ThresholdData) -> _Cuts:
    probability = _probability(threshold_data)
    order = np.argsort(probability)
    probability = probability[order]
    first = np.flatnonzero(np.diff(probability, prepend=-1.0))  # of its value
    low, high = np.append(0.0, probability[first]), np.append(probability[first], 1.0)
    middle = (low + high) / 2
    threshold = np.where(middle > low, middle, high)  # between two with no number in between
    start = np.append(first, len(order))
    if probability[-1] == 1:  # at a threshold of 1 it is flagged, too
        threshold, start = threshold[:-1], start[:-1]
    of_class = np.stack([threshold_data.target == 0, threshold_data.target != 0])
    weight = of_class * (
        1.0 if threshold_data.weight is None else threshold_data.weight.astype(np.float64)
    )
    return _Cuts(threshold, start, weight[:, order])


def _probability(threshold_data: ThresholdData) -> Array:
    # In the precision of the rows, as predict_proba gives it.
    return np.asarray(expit(threshold_data.logit)).astype(np.float64)


def _spread(n: int, most: int) -> Indices:
    """Give the indices of n things, or of `most` among them, evenly and with both ends."""
    if n <= most:
        return np.arange(n)
    return np.linspace(0, n - 1, most).round().astype(np.intp)


def _thinned(curve: dict[str, Array], thresholds: tuple[float, ...]) -> dict[str, Array]:
    """Leave out most cuts of a long curve, but neither its ends nor the given thresholds.

    The cuts that are kept are evenly spaced along the curve, so no step between them is long in the
    threshold, in the share of either class that is labelled positive, or in the score.
    """
    n_cuts = len(curve["threshold"])
    if n_cuts <= MOST_CUTS:
        return curve
    steps = sum(_steps(curve[name]) for name in ("threshold", "fp", "tp", "score"))
    length = np.append(0.0, np.cumsum(steps))
    always = [0, n_cuts - 1, *np.searchsorted(curve["threshold"], thresholds)]
    even = np.linspace(0, length[-1], MOST_CUTS - len(always))
    kept = np.union1d(np.searchsorted(length[:-1], even), always)
    return {name: column[kept] for name, column in curve.items()}


def _steps(column: Array) -> Array:
    """Give the lengths of the steps of a curve, as shares of its range."""
    span = np.ptp(column)
    return np.abs(np.diff(column)) / (span if span > 0 else 1.0)


def _best(ranks: Sequence[Array], threshold: Array) -> Indices:
    """Find the best cut.

    Parameters
    ----------
    ranks : sequence of ndarray of shape (..., n_cuts)
        The first decides, each further one between those that are equal so far.
    threshold : ndarray of shape (n_cuts,)
        The nearest to 0.5 is taken in the end.

    Returns
    -------
    ndarray of shape (...,)
    """
    left = np.ones(ranks[0].shape, dtype=bool)
    for rank in (*ranks, -np.abs(threshold - 0.5)):
        rest = np.where(left, rank, -np.inf)
        top = rest.max(axis=-1, keepdims=True)
        left &= rest >= top - ROUNDING * np.abs(top)
    return np.asarray(left.argmax(axis=-1))


def _resample_counts(objective: Metric | Constraint | Costs, cuts: _Cuts, best: int) -> Array:
    """Give the best thresholds of resamples of the rows.

    The rows of a class between two cuts are drawn together: as many equal rows as have the same
    weight and the same sum of squared weights, each a Poisson number of times.
    """
    cuts = cuts[np.union1d(_spread(len(cuts.threshold), MOST_CUTS), [best])]
    # The largest weight is one, so that no square overflows. The row that is added is for the
    # cut that flags none.
    rows = np.pad(cuts.weight / cuts.weight.max(), ((0, 0), (0, 1)))
    total = np.add.reduceat(rows, cuts.start, axis=1)
    squares = np.add.reduceat(rows**2, cuts.start, axis=1)
    n_equal = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    each = np.divide(total, n_equal, out=np.zeros_like(total), where=n_equal > 0)
    generator = np.random.default_rng(0)
    chosen = []
    for _ in range(RESAMPLES // CHUNK):
        drawn = generator.poisson(n_equal, size=(CHUNK, *n_equal.shape)) * each
        flagged = np.cumsum(drawn[..., ::-1], axis=-1)[..., ::-1]
        flagged = flagged[(flagged[..., 0] > 0).all(axis=1)]  # without a class there is no best
        counts = _count(flagged[:, 0], flagged[:, 1])
        chosen.append(cuts.threshold[_best(objective.ranks(counts), cuts.threshold)])
    return np.concatenate(chosen)


def _call(objective: CallableMetric, threshold_data: ThresholdData, thresholds: Array) -> Array:
    """Call the function at every threshold."""
    probability, classes = _probability(threshold_data), threshold_data.classes
    truth = classes[threshold_data.target.astype(np.intp)]
    weight = None if threshold_data.weight is None else threshold_data.weight.astype(np.float64)
    labels = (decide(probability, float(each), classes) for each in thresholds)
    return np.array([objective.judge(truth, each, weight) for each in labels])


def _best_called(objective: CallableMetric, score: Array, threshold: Array) -> int:
    unknown = np.isnan(score)
    if unknown.all():
        raise ValueError(
            f"threshold must be a function that gives a number for some cut. {objective.name} "
            f"gave NaN at all {len(score)}. Look at what it does with the labels of a cut."
        )
    return int(_best((-unknown.astype(np.float64), np.nan_to_num(score, nan=0.0)), threshold))


def _resample_called(
    objective: CallableMetric, threshold_data: ThresholdData, cuts: _Cuts, best: int
) -> Array:
    """Give the best thresholds of resamples of the rows, each drawn a Poisson number of times."""
    chosen = np.union1d(_spread(len(cuts.threshold), CALLED_CUTS - 1), [best])
    threshold = cuts.threshold[chosen]
    generator = np.random.default_rng(0)
    n_rows = len(threshold_data.target)
    found = []
    for _ in range(CALLED_RESAMPLES):
        rows = np.repeat(np.arange(n_rows), generator.poisson(1.0, size=n_rows))
        target = threshold_data.target[rows]
        if not 0 < np.count_nonzero(target) < len(target):
            continue
        weight = None if threshold_data.weight is None else threshold_data.weight[rows]
        drawn = replace(
            threshold_data, logit=threshold_data.logit[rows], target=target, weight=weight
        )
        score = _call(objective, drawn, threshold)
        if not np.isnan(score).all():
            found.append(threshold[_best_called(objective, score, threshold)])
    return np.array(found)


def _interval(resampled: Array, threshold: float) -> tuple[float, float]:
    thresholds = resampled if len(resampled) else np.array([threshold])
    low, high = np.quantile(thresholds, [0.05, 0.95], method="inverted_cdf").tolist()
    return min(low, threshold), max(high, threshold)


def _complaints(
    objective: Objective, threshold_data: ThresholdData, chosen: Counts
) -> tuple[str, ...]:
    complaints = []
    if isinstance(objective, Constraint) and not objective.is_met(chosen):
        # Rounded away from the level, lest it seem to be met.
        inwards, advice = (
            (np.ceil, "allow more") if objective.is_ceiling else (np.floor, "ask for less")
        )
        reached = float(inwards(objective.reached(chosen) * 1e4) / 1e4)
        complaints.append(
            f"threshold: no cut has {objective.name} on these rows. The nearest has {reached:g} "
            f"and is used; {advice}, or train a better model."
        )
    n_positives = np.count_nonzero(threshold_data.target)
    if n_positives < FEW_POSITIVES:
        label = threshold_data.classes.tolist()[1]
        complaints.append(
            f"threshold: only {n_positives} of the rows it is chosen on are of the positive class "
            f"{label!r}, and it may be far from the best one for new rows. Have at least "
            f"{FEW_POSITIVES}, or give a number."
        )
    return tuple(complaints)
