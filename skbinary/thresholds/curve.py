"""Tune the decision threshold: score every candidate threshold and choose the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from skbinary.data.weights import rescale_extreme_weights
from skbinary.thresholds.decision import apply_threshold, orient_to_positive
from skbinary.thresholds.objectives import (
    CallableMetric,
    ConfusionCounts,
    Constraint,
    Costs,
    Metric,
    Objective,
)

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

# With fewer positive rows a warning is issued: the recall on 20 rows has a standard error of up to
# 0.11.
MIN_POSITIVES = 20
# The most thresholds at which a function is called, that are resampled, and that a curve keeps: a
# plot is about as many pixels wide.
MAX_THRESHOLDS = 1000
N_RESAMPLES = 200  # about ten of them lie beyond either end of the interval
RESAMPLES_PER_CHUNK = 25  # so that the arrays of a chunk stay in the cache
# A function is called for every pair of a resample and a threshold, so there are few of both.
N_CALLABLE_RESAMPLES, MAX_CALLABLE_THRESHOLDS = 20, 25
TIE_TOLERANCE = 1e-14  # relative; scores that differ by less differ by rounding only


@dataclass(frozen=True, eq=False)
class ThresholdData:
    """The rows on which a threshold is tuned.

    Parameters
    ----------
    logit : ndarray of shape (n_samples,)
        Logits of the positive class. The model should not have been trained on these rows.
    target : ndarray of shape (n_samples,)
        1 for the positive class, 0 for the negative one.
    weight : ndarray of shape (n_samples,) or None
        Sample weights. Rows of weight zero do not count.
    classes : ndarray of shape (2,)
        The negative and the positive label.
    """

    logit: NDArray[np.floating]
    target: NDArray[np.floating]
    weight: NDArray[np.floating] | None
    classes: NDArray[np.generic]

    @classmethod
    def from_logits(
        cls,
        logit: NDArray[np.floating],
        y: NDArray[np.generic],
        weight: NDArray[np.floating] | None,
        classes: NDArray[np.generic],
        positive: int,
    ) -> Self:
        """Build the data from logits of ``classes[1]``, with ``classes[positive]`` as positive."""
        positive_logit, ordered = orient_to_positive(logit, classes, positive)
        weight = None if weight is None else rescale_extreme_weights(weight)
        return cls(positive_logit, (y == ordered[1]).astype(np.float64), weight, ordered)

    @property
    def has_both_classes(self) -> bool:
        """Whether both classes have rows with a positive weight."""
        counted = self.target if self.weight is None else self.target[self.weight > 0]
        return bool(0 < np.count_nonzero(counted) < len(counted))


@dataclass(frozen=True, eq=False)
class ThresholdChoice:
    """The best threshold, and the curve from which it was chosen.

    Parameters
    ----------
    threshold : float
        In [0, 1].
    curve : dict of str to ndarray of shape (n_thresholds,)
        ``"threshold"``, ascending; the confusion matrix ``"tn"``, ``"fp"``, ``"fn"`` and ``"tp"``
        in units of weight; and ``"score"``, where greater is better. There are at most 1,000
        thresholds, which include the first and the last one, `threshold` and both ends of
        `interval`.
    interval : tuple of two floats
        Contains the best threshold of 90% of bootstrap resamples of the rows, and `threshold`.
    warnings : tuple of str
        Warnings to issue to the user.
    """

    threshold: float
    curve: dict[str, Array]
    interval: tuple[float, float]
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _CandidateThresholds:
    """Thresholds that predict different sets of rows positive.

    Parameters
    ----------
    threshold : ndarray of shape (n_thresholds,)
        Ascending.
    start : ndarray of shape (n_thresholds,)
        Index of the first row predicted positive at each threshold.
    weight : ndarray of shape (2, n_samples)
        Weights of the negative and of the positive rows, in ascending order of the probability,
        and 0 for the rows of the other class.
    """

    threshold: Array
    start: Indices
    weight: Array

    def __getitem__(self, index: Indices) -> _CandidateThresholds:
        return replace(self, threshold=self.threshold[index], start=self.start[index])

    def counts(self) -> ConfusionCounts:
        """Return the confusion matrix at every threshold."""
        predicted_positive = np.zeros((2, self.weight.shape[1] + 1))
        np.cumsum(self.weight[:, ::-1], axis=1, out=predicted_positive[:, -2::-1])
        return _confusion_counts(*predicted_positive[:, self.start])


def choose_threshold(objective: Objective, threshold_data: ThresholdData) -> ThresholdChoice:
    """Choose the threshold that is best for an objective.

    The candidates lie halfway between neighbouring probabilities, between 0 and the smallest one
    and between the largest one and 1. Of equally good candidates, after the ties that a constraint
    itself breaks, the one nearest to 0.5 is chosen, and of two at the same distance the lower one.

    All candidates are compared, and the curve keeps up to 1,000 of them, closest together where it
    changes most. A function is called at up to 1,000 candidates, whose ranks are evenly spaced.

    The interval contains the middle 90% of the best thresholds of 200 Poisson bootstrap resamples.
    For these the rows between up to 1,000 candidates are grouped. A function is resampled 20 times
    at up to 25 candidates. The random generator has a fixed seed, so the interval depends on the
    rows alone.

    Parameters
    ----------
    objective : Metric, CallableMetric, Constraint or Costs
        What to optimize.
    threshold_data : ThresholdData
        The rows.

    Returns
    -------
    ThresholdChoice

    Raises
    ------
    ValueError
        If there are no rows of one of the classes with positive weight, or a function is NaN at
        all candidates.

    Examples
    --------
    >>> import numpy as np
    >>> from skbinary.thresholds.curve import ThresholdData, choose_threshold
    >>> from skbinary.thresholds.objectives import parse_threshold
    >>> logit = np.array([-2.0, -1.0, 0.0, 1.0])
    >>> data = ThresholdData(logit, np.array([0.0, 1, 0, 1]), None, np.array(["no", "yes"]))
    >>> choice = choose_threshold(parse_threshold({"recall": 1.0}), data)
    >>> round(choice.threshold, 3)
    0.194
    """
    threshold_data = _with_positive_weight(threshold_data)
    candidates = _find_candidates(threshold_data)
    counts = candidates.counts()
    if isinstance(objective, CallableMetric):
        kept = _evenly_spaced(len(candidates.threshold), MAX_THRESHOLDS)
        candidates, counts = candidates[kept], counts[kept]
        score = _call(objective, threshold_data, candidates.threshold)
        best = _best_of_called(objective, score, candidates.threshold)
        resampled = _resample_callable(objective, threshold_data, candidates, best)
    else:
        score = objective.score(counts)
        best = int(_best(objective.criteria(counts), candidates.threshold))
        resampled = _resample_counts(objective, candidates, best)
    threshold = float(candidates.threshold[best])
    interval = _interval(resampled, threshold)
    curve = {"threshold": candidates.threshold, **vars(counts), "score": score}
    return ThresholdChoice(
        threshold=threshold,
        curve=_thinned(curve, (threshold, *interval)),
        interval=interval,
        warnings=_warnings(objective, threshold_data, counts[best]),
    )


def _confusion_counts(fp: Array, tp: Array) -> ConfusionCounts:
    """Complete the confusion matrix; all rows are predicted positive at the first threshold."""
    return ConfusionCounts(tn=fp[..., :1] - fp, fp=fp, fn=tp[..., :1] - tp, tp=tp)


def _with_positive_weight(threshold_data: ThresholdData) -> ThresholdData:
    """Remove the rows of weight zero, and check that rows of both classes remain."""
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
    given = f"only the class {label!r} ({n_rows} rows)" if n_rows else "no rows of positive weight"
    raise ValueError(
        f"The rows for tuning the threshold must be of both classes, got {given}. Pass rows of "
        "both classes, or set threshold to a number."
    )


def _find_candidates(threshold_data: ThresholdData) -> _CandidateThresholds:
    probability = _probability(threshold_data)
    order = np.argsort(probability)
    probability = probability[order]
    first = np.flatnonzero(np.diff(probability, prepend=-1.0))  # of each distinct value
    low, high = np.append(0.0, probability[first]), np.append(probability[first], 1.0)
    middle = (low + high) / 2
    threshold = np.where(middle > low, middle, high)  # if no float lies between the two
    start = np.append(first, len(order))
    if probability[-1] == 1:  # no threshold in [0, 1] predicts this row negative
        threshold, start = threshold[:-1], start[:-1]
    of_class = np.stack([threshold_data.target == 0, threshold_data.target != 0])
    weight = of_class * (
        1.0 if threshold_data.weight is None else threshold_data.weight.astype(np.float64)
    )
    return _CandidateThresholds(threshold, start, weight[:, order])


def _probability(threshold_data: ThresholdData) -> Array:
    # Rounded to the precision of the logits first, as predict_proba does.
    return np.asarray(expit(threshold_data.logit)).astype(np.float64)


def _evenly_spaced(n: int, n_max: int) -> Indices:
    """Return up to `n_max` of the indices 0 to n - 1, evenly spaced, with both ends."""
    if n <= n_max:
        return np.arange(n)
    return np.linspace(0, n - 1, n_max).round().astype(np.intp)


def _thinned(curve: dict[str, Array], thresholds: tuple[float, ...]) -> dict[str, Array]:
    """Remove most points of a long curve, but neither its ends nor the given thresholds.

    The points that are kept are evenly spaced along the curve, so no step between them is long in
    the threshold, in the fraction of either class that is predicted positive, or in the score.
    """
    n_thresholds = len(curve["threshold"])
    if n_thresholds <= MAX_THRESHOLDS:
        return curve
    steps = sum(_relative_steps(curve[name]) for name in ("threshold", "fp", "tp", "score"))
    length = np.append(0.0, np.cumsum(steps))
    always = [0, n_thresholds - 1, *np.searchsorted(curve["threshold"], thresholds)]
    even = np.linspace(0, length[-1], MAX_THRESHOLDS - len(always))
    kept = np.union1d(np.searchsorted(length[:-1], even), always)
    return {name: column[kept] for name, column in curve.items()}


def _relative_steps(column: Array) -> Array:
    """Return the absolute steps of a curve, as fractions of its range."""
    value_range = np.ptp(column)
    return np.abs(np.diff(column)) / (value_range if value_range > 0 else 1.0)


def _best(criteria: Sequence[Array], threshold: Array) -> Indices:
    """Return the index of the best threshold.

    Parameters
    ----------
    criteria : sequence of ndarray of shape (..., n_thresholds)
        Values to maximize. The first one decides, each further one breaks the ties that remain.
    threshold : ndarray of shape (n_thresholds,)
        The one nearest to 0.5 breaks the last ties.

    Returns
    -------
    ndarray of shape (...,)
    """
    tied = np.ones(criteria[0].shape, dtype=bool)
    for values in (*criteria, -np.abs(threshold - 0.5)):
        remaining = np.where(tied, values, -np.inf)
        top = remaining.max(axis=-1, keepdims=True)
        tied &= remaining >= top - TIE_TOLERANCE * np.abs(top)
    return np.asarray(tied.argmax(axis=-1))


def _resample_counts(
    objective: Metric | Constraint | Costs, candidates: _CandidateThresholds, best: int
) -> Array:
    """Return the best thresholds of bootstrap resamples.

    The rows of a class between two candidates are drawn as a group: as that number of equal rows
    which has the same weight and the same sum of squared weights, each a Poisson number of times.
    """
    kept = np.union1d(_evenly_spaced(len(candidates.threshold), MAX_THRESHOLDS), [best])
    candidates = candidates[kept]
    # Divided by the largest weight, so that no square overflows. The row that is added belongs to
    # the threshold at which no row is predicted positive.
    rows = np.pad(candidates.weight / candidates.weight.max(), ((0, 0), (0, 1)))
    total = np.add.reduceat(rows, candidates.start, axis=1)
    squares = np.add.reduceat(rows**2, candidates.start, axis=1)
    n_equal = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    row_weight = np.divide(total, n_equal, out=np.zeros_like(total), where=n_equal > 0)
    generator = np.random.default_rng(0)
    found = []
    for _ in range(N_RESAMPLES // RESAMPLES_PER_CHUNK):
        size = (RESAMPLES_PER_CHUNK, *n_equal.shape)
        drawn = generator.poisson(n_equal, size=size) * row_weight
        positive = np.cumsum(drawn[..., ::-1], axis=-1)[..., ::-1]
        positive = positive[(positive[..., 0] > 0).all(axis=1)]  # resamples with both classes
        counts = _confusion_counts(positive[:, 0], positive[:, 1])
        found.append(candidates.threshold[_best(objective.criteria(counts), candidates.threshold)])
    return np.concatenate(found)


def _call(objective: CallableMetric, threshold_data: ThresholdData, thresholds: Array) -> Array:
    """Call the function at every threshold."""
    probability, classes = _probability(threshold_data), threshold_data.classes
    y_true = classes[threshold_data.target.astype(np.intp)]
    weight = None if threshold_data.weight is None else threshold_data.weight.astype(np.float64)
    predictions = (apply_threshold(probability, float(each), classes) for each in thresholds)
    return np.array([objective.evaluate(y_true, y_pred, weight) for y_pred in predictions])


def _best_of_called(objective: CallableMetric, score: Array, threshold: Array) -> int:
    is_nan = np.isnan(score)
    if is_nan.all():
        raise ValueError(
            "threshold must be a function that returns a number at some threshold, got NaN from "
            f"{objective.name} at all {len(score)}. Check the function with predicted labels."
        )
    return int(_best((-is_nan.astype(np.float64), np.nan_to_num(score, nan=0.0)), threshold))


def _resample_callable(
    objective: CallableMetric,
    threshold_data: ThresholdData,
    candidates: _CandidateThresholds,
    best: int,
) -> Array:
    """Return the best thresholds of resamples, with each row drawn a Poisson number of times."""
    n_candidates = len(candidates.threshold)
    kept = np.union1d(_evenly_spaced(n_candidates, MAX_CALLABLE_THRESHOLDS - 1), [best])
    threshold = candidates.threshold[kept]
    generator = np.random.default_rng(0)
    n_rows = len(threshold_data.target)
    found = []
    for _ in range(N_CALLABLE_RESAMPLES):
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
            found.append(threshold[_best_of_called(objective, score, threshold)])
    return np.array(found)


def _interval(resampled: Array, threshold: float) -> tuple[float, float]:
    """Return the 5% and 95% quantiles, widened to contain the threshold."""
    thresholds = resampled if len(resampled) else np.array([threshold])
    low, high = np.quantile(thresholds, [0.05, 0.95], method="inverted_cdf").tolist()
    return min(low, threshold), max(high, threshold)


def _warnings(
    objective: Objective, threshold_data: ThresholdData, chosen: ConfusionCounts
) -> tuple[str, ...]:
    messages = []
    if isinstance(objective, Constraint) and not objective.is_met(chosen):
        # Rounded away from the level, so that it does not read as if the level were reached.
        is_upper_bound = objective.is_upper_bound
        rounded = (np.ceil if is_upper_bound else np.floor)(objective.constrained(chosen) * 1e4)
        messages.append(
            f"The objective {objective.name} must be reachable on the rows for tuning the "
            f"threshold, got {float(rounded / 1e4):g} at best, which is used. "
            f"{'Raise' if is_upper_bound else 'Lower'} the level, or train a better model."
        )
    n_positives = np.count_nonzero(threshold_data.target)
    if n_positives < MIN_POSITIVES:
        label = threshold_data.classes.tolist()[1]
        messages.append(
            f"The rows for tuning the threshold must contain at least {MIN_POSITIVES} of the "
            f"positive class {label!r} for a reliable threshold, got {n_positives}. Use more rows, "
            "or set threshold to a number."
        )
    return tuple(messages)
