"""Objectives of the decision threshold: metrics, constraints, costs and functions."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.metrics._scorer import _BaseScorer

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConfusionCounts:
    """The confusion matrix at every candidate threshold, in units of weight.

    Parameters
    ----------
    tn, fp, fn, tp : ndarray of shape (..., n_thresholds)
        Weight of the true negatives, false positives, false negatives and true positives.
    """

    tn: Array
    fp: Array
    fn: Array
    tp: Array

    def __getitem__(self, index: int | NDArray[np.intp]) -> ConfusionCounts:
        return ConfusionCounts(
            tn=self.tn[index], fp=self.fp[index], fn=self.fn[index], tp=self.tp[index]
        )

    def with_classes_swapped(self) -> ConfusionCounts:
        """Return the counts with the negative class as the positive one."""
        return ConfusionCounts(tn=self.tp, fp=self.fn, fn=self.fp, tp=self.tn)

    def pooled_over_classes(self) -> ConfusionCounts:
        """Return the sum of the counts with either class as the positive one."""
        correct, wrong = self.tp + self.tn, self.fp + self.fn
        return ConfusionCounts(tn=correct, fp=wrong, fn=wrong, tp=correct)

    def total(self) -> Array:
        """Return the weight of all rows."""
        return (self.tn + self.fp) + (self.fn + self.tp)


def _ratio(part: Array, whole: Array) -> Array:
    """Divide, with 0 / 0 = 0 as in scikit-learn's metrics."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)


def _precision(counts: ConfusionCounts) -> Array:
    return _ratio(counts.tp, counts.tp + counts.fp)


def _recall(counts: ConfusionCounts) -> Array:
    return _ratio(counts.tp, counts.tp + counts.fn)


def _specificity(counts: ConfusionCounts) -> Array:
    return _ratio(counts.tn, counts.tn + counts.fp)


def _alert_rate(counts: ConfusionCounts) -> Array:
    return _ratio(counts.tp + counts.fp, counts.total())


def _f1(counts: ConfusionCounts) -> Array:
    return _ratio(2 * counts.tp, 2 * counts.tp + (counts.fp + counts.fn))


def _jaccard(counts: ConfusionCounts) -> Array:
    return _ratio(counts.tp, counts.tp + (counts.fp + counts.fn))


def _matthews(counts: ConfusionCounts) -> Array:
    # Two square roots, since the product of all four sums may overflow.
    predicted = np.sqrt((counts.tp + counts.fp) * (counts.tn + counts.fn))
    actual = np.sqrt((counts.tp + counts.fn) * (counts.tn + counts.fp))
    return _ratio(counts.tp * counts.tn - counts.fp * counts.fn, predicted * actual)


LabelMetric: TypeAlias = Callable[[ConfusionCounts], Array]


def _micro(metric: LabelMetric) -> LabelMetric:
    return lambda counts: metric(counts.pooled_over_classes())


def _macro(metric: LabelMetric) -> LabelMetric:
    return lambda counts: (metric(counts) + metric(counts.with_classes_swapped())) / 2


def _weighted(metric: LabelMetric) -> LabelMetric:
    def mean(counts: ConfusionCounts) -> Array:
        positive = (counts.tp + counts.fn) * metric(counts)
        negative = (counts.tn + counts.fp) * metric(counts.with_classes_swapped())
        return _ratio(positive + negative, counts.total())

    return mean


# All scorers of scikit-learn that compare labels of two classes, under scikit-learn's names.
LABEL_METRICS: dict[str, LabelMetric] = {
    "accuracy": _micro(_recall),
    "balanced_accuracy": _macro(_recall),
    "matthews_corrcoef": _matthews,
}
for _name, _metric in {
    "f1": _f1,
    "precision": _precision,
    "recall": _recall,
    "jaccard": _jaccard,
}.items():
    LABEL_METRICS[_name] = _metric
    LABEL_METRICS[f"{_name}_micro"] = _micro(_metric)
    LABEL_METRICS[f"{_name}_macro"] = _macro(_metric)
    LABEL_METRICS[f"{_name}_weighted"] = _weighted(_metric)


@dataclass(frozen=True)
class Metric:
    """Maximize a metric of the predicted labels.

    Parameters
    ----------
    name : str
        Name of a scikit-learn scorer that compares labels, for example ``"f1"``.
    """

    name: str

    def score(self, counts: ConfusionCounts) -> Array:
        """Return the value to maximize at every threshold."""
        return LABEL_METRICS[self.name](counts)

    def criteria(self, counts: ConfusionCounts) -> tuple[Array, ...]:
        """Return the values to maximize at every threshold; later ones break ties."""
        return (self.score(counts),)


@dataclass(frozen=True)
class CallableMetric:
    """Maximize a function of the true and the predicted labels.

    Parameters
    ----------
    function : callable(y_true, y_pred, *, sample_weight) -> float
        Receives the user's labels. ``sample_weight`` is passed only if there are weights.
    """

    function: Callable[..., Any]

    @property
    def name(self) -> str:
        """The name of the function, for messages."""
        return getattr(self.function, "__name__", None) or repr(self.function)

    def evaluate(
        self,
        y_true: NDArray[np.generic],
        y_pred: NDArray[np.generic],
        sample_weight: Array | None,
    ) -> float:
        """Call the function.

        Raises
        ------
        ValueError
            If it does not return a number.
        """
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        value = self.function(y_true, y_pred, **weights)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"threshold must be a function that returns a number, got {value!r} from "
                f"{self.name}. Return one score of all rows; greater is better."
            ) from None


# What is constrained, what is maximized under the constraint, and what the level means.
_CONSTRAINTS: dict[str, tuple[LabelMetric, LabelMetric, str]] = {
    "recall": (
        _recall,
        _precision,
        "the fraction of positive rows that must be predicted positive",
    ),
    "precision": (
        _precision,
        _recall,
        "the fraction of rows predicted positive that must be positive",
    ),
    "specificity": (
        _specificity,
        _recall,
        "the fraction of negative rows that must be predicted negative",
    ),
    "alert_rate": (_alert_rate, _recall, "the fraction of all rows that may be predicted positive"),
}


@dataclass(frozen=True)
class Constraint:
    """Maximize the precision or the recall under a constraint.

    Parameters
    ----------
    kind : {"recall", "precision", "specificity", "alert_rate"}
        What is constrained. Under a constraint on the recall the precision is maximized, otherwise
        the recall.
    level : float
        The minimum, in [0, 1]. For the alert rate the maximum.
    """

    kind: str
    level: float

    @property
    def is_upper_bound(self) -> bool:
        """Whether the level is a maximum."""
        return self.kind == "alert_rate"

    @property
    def name(self) -> str:
        """The constraint as text, for messages."""
        return f"{self.kind} {'<=' if self.is_upper_bound else '>='} {self.level}"

    def constrained(self, counts: ConfusionCounts) -> Array:
        """Return the constrained quantity at every threshold."""
        return _CONSTRAINTS[self.kind][0](counts)

    def is_met(self, counts: ConfusionCounts) -> NDArray[np.bool_]:
        """Return whether the constraint is met, for every threshold."""
        values = self.constrained(counts)
        return values <= self.level if self.is_upper_bound else values >= self.level

    def score(self, counts: ConfusionCounts) -> Array:
        """Return the value to maximize at every threshold, whether the constraint is met or not."""
        return _CONSTRAINTS[self.kind][1](counts)

    def criteria(self, counts: ConfusionCounts) -> tuple[Array, ...]:
        """Return the values to maximize at every threshold; later ones break ties.

        The first one is 0 where the constraint is met, and minus the violation where it is not.
        """
        sign = -1.0 if self.is_upper_bound else 1.0
        values = sign * self.constrained(counts)
        return np.minimum(values - sign * self.level, 0.0), self.score(counts), values


@dataclass(frozen=True)
class Costs:
    """Minimize the mean cost per row.

    Parameters
    ----------
    fp, fn, tp, tn : float
        Cost of a false positive, false negative, true positive and true negative. A gain is a
        negative cost.
    """

    fp: float
    fn: float
    tp: float = 0.0
    tn: float = 0.0

    @property
    def name(self) -> str:
        """The objective as text, for messages."""
        return "mean cost"

    def score(self, counts: ConfusionCounts) -> Array:
        """Return minus the mean cost at every threshold."""
        errors = self.fp * counts.fp + self.fn * counts.fn
        correct = self.tp * counts.tp + self.tn * counts.tn
        return -(errors + correct) / counts.total()

    def criteria(self, counts: ConfusionCounts) -> tuple[Array, ...]:
        """Return the values to maximize at every threshold; later ones break ties."""
        return (self.score(counts),)


Objective: TypeAlias = Metric | CallableMetric | Constraint | Costs

_COSTS = ("cost_fp", "cost_fn", "cost_tp", "cost_tn")
_EXAMPLES = "{'recall': 0.9} or {'cost_fp': 1, 'cost_fn': 5}"
_MEANING = (
    "Rows whose probability is at least the threshold are predicted positive; the default is 0.5."
)


def parse_objective(objective: object) -> Objective:
    """Parse an objective to tune a threshold for, as ``parse_threshold`` does.

    Raises
    ------
    ValueError
        If it is a number, or no objective.
    """
    parsed = parse_threshold(objective)
    if isinstance(parsed, float):
        raise ValueError(
            "objective must be the name of a metric, a callable, a constraint or costs, got "
            f"{objective!r}. Set the parameter threshold to use a number."
        )
    return parsed


def parse_threshold(threshold: object) -> float | Objective:
    """Parse the parameter ``threshold``: a number, or an objective to tune the threshold for.

    Parameters
    ----------
    threshold : float, str, callable or dict
        - A number in [0, 1] is the threshold itself.
        - The name of a scikit-learn scorer that compares labels is maximized.
        - A callable ``metric(y_true, y_pred, *, sample_weight=None)`` is maximized.
        - ``{"recall": level}`` maximizes the precision with at least this recall.
          ``{"precision": level}`` and ``{"specificity": level}`` maximize the recall with at least
          this precision or specificity. ``{"alert_rate": level}`` maximizes the recall with at
          most this fraction of the rows predicted positive.
        - ``{"cost_fp": cost, "cost_fn": cost}``, with ``"cost_tp"`` and ``"cost_tn"`` if they are
          not 0, minimizes the mean cost per row.

    Returns
    -------
    float, Metric, CallableMetric, Constraint or Costs

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> from skbinary.thresholds.objectives import parse_threshold
    >>> parse_threshold({"recall": 0.9})
    Constraint(kind='recall', level=0.9)
    """
    if isinstance(threshold, str):
        return _parse_name(threshold)
    if isinstance(threshold, Mapping):
        return _parse_dict(threshold)
    if isinstance(threshold, _BaseScorer):
        raise ValueError(
            "threshold must be a function of the true and the predicted labels, got the scorer "
            f"{threshold!r}. Pass the metric function instead of the scorer."
        )
    if callable(threshold):
        return CallableMetric(threshold)
    if not _is_number(threshold):
        raise ValueError(
            "threshold must be a number in [0, 1], the name of a metric of labels such as 'f1', a "
            f"function of the true and the predicted labels, or a dict such as {_EXAMPLES}, "
            f"got {threshold!r}. {_MEANING}"
        )
    if not _is_fraction(threshold):
        raise ValueError(f"threshold must be a number in [0, 1], got {threshold!r}. {_MEANING}")
    return _as_float(threshold)


def _parse_name(name: str) -> Metric:
    if name in LABEL_METRICS:
        return Metric(name)
    if name not in get_scorer_names():
        raise ValueError(
            "threshold must be a number in [0, 1] or the name of a metric of labels, "
            f"got {name!r}. {_suggest(name, LABEL_METRICS)}"
        )
    # The attribute is private. A scorer without it gets the general message below.
    if getattr(get_scorer(name), "_response_method", "predict") != "predict":
        raise ValueError(
            f"threshold must be the name of a metric of labels, got {name!r}, a metric of "
            "probabilities, which is the same for every threshold. Use 'f1', 'balanced_accuracy' "
            "or another metric of labels."
        )
    raise ValueError(
        f"threshold must be the name of a metric of the labels of two classes, got {name!r}. Use "
        "'f1', 'balanced_accuracy' or another one, or pass a function of the true and the "
        "predicted labels."
    )


def _parse_dict(given: Mapping[Any, object]) -> Constraint | Costs:
    if not given:
        raise ValueError(
            f"threshold must contain one constraint or costs, got {{}}. Use a dict such as "
            f"{_EXAMPLES}."
        )
    for key in given:
        if key not in _CONSTRAINTS and key not in _COSTS:
            raise ValueError(
                f"threshold must contain one constraint or costs, got the key {key!r}. "
                f"{_suggest(key, (*_CONSTRAINTS, *_COSTS))}"
            )
    constraints = [key for key in given if key in _CONSTRAINTS]
    if not constraints:
        return _parse_costs(given)
    if len(constraints) < len(given):
        raise ValueError(
            f"threshold must contain either a constraint or costs, got {given!r}. Remove one of "
            "them."
        )
    if len(constraints) > 1:
        raise ValueError(
            f"threshold must contain one constraint, got {given!r}. Keep one of them; the recall "
            "is maximized under it, or the precision if the recall is constrained."
        )
    kind, level = constraints[0], given[constraints[0]]
    if not _is_fraction(level):
        raise ValueError(
            f"threshold[{kind!r}] must be a number in [0, 1], got {level!r}. It is "
            f"{_CONSTRAINTS[kind][2]}."
        )
    return Constraint(kind, _as_float(level))


def _parse_costs(given: Mapping[str, object]) -> Costs:
    for key in ("cost_fp", "cost_fn"):
        if key not in given:
            kind = "false positive" if key == "cost_fp" else "false negative"
            raise ValueError(
                f"threshold must contain both 'cost_fp' and 'cost_fn', got {given!r}. Add "
                f"{key!r}, the cost of a {kind}."
            )
    for key, cost in given.items():
        if not _is_number(cost) or not math.isfinite(_as_float(cost)):
            raise ValueError(
                f"threshold[{key!r}] must be a finite number, got {cost!r}. It is the cost of one "
                "such row; a gain is a negative cost."
            )
    costs = Costs(**{key.removeprefix("cost_"): _as_float(cost) for key, cost in given.items()})
    if costs.fp == costs.tn and costs.fn == costs.tp:
        raise ValueError(
            f"threshold must contain costs that depend on the prediction, got {given!r}, with "
            "which every threshold costs the same. Make errors cost more than correct predictions."
        )
    return costs


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_fraction(value: object) -> bool:
    return _is_number(value) and 0 <= _as_float(value) <= 1


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # a large integer
        return math.inf


def _suggest(given: object, names: Iterable[str]) -> str:
    """Return a sentence with the most similar name, or with all names."""
    names = list(names)
    # The similarity of 'f2' and 'f1' is 0.5.
    near = difflib.get_close_matches(str(given).lower(), names, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Use one of {', '.join(map(repr, names))}."
