"""What a threshold shall achieve."""

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
class Counts:
    """The weight of the rows of each kind, for every cut.

    Parameters
    ----------
    tn, fp, fn, tp : ndarray of shape (..., n_cuts)
        True and false negatives and positives.
    """

    tn: Array
    fp: Array
    fn: Array
    tp: Array

    def __getitem__(self, cuts: int | NDArray[np.intp]) -> Counts:
        return Counts(tn=self.tn[cuts], fp=self.fp[cuts], fn=self.fn[cuts], tp=self.tp[cuts])

    def swapped(self) -> Counts:
        """Let the negative class be the positive one."""
        return Counts(tn=self.tp, fp=self.fn, fn=self.fp, tp=self.tn)

    def pooled(self) -> Counts:
        """Add up what holds for either class as the positive one."""
        right, wrong = self.tp + self.tn, self.fp + self.fn
        return Counts(tn=right, fp=wrong, fn=wrong, tp=right)

    def total(self) -> Array:
        """Give the weight of all rows."""
        return (self.tn + self.fp) + (self.fn + self.tp)


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)


def _precision(counts: Counts) -> Array:
    return _share(counts.tp, counts.tp + counts.fp)


def _recall(counts: Counts) -> Array:
    return _share(counts.tp, counts.tp + counts.fn)


def _specificity(counts: Counts) -> Array:
    return _share(counts.tn, counts.tn + counts.fp)


def _alert_rate(counts: Counts) -> Array:
    return _share(counts.tp + counts.fp, counts.total())


def _f1(counts: Counts) -> Array:
    return _share(2 * counts.tp, 2 * counts.tp + (counts.fp + counts.fn))


def _jaccard(counts: Counts) -> Array:
    return _share(counts.tp, counts.tp + (counts.fp + counts.fn))


def _matthews(counts: Counts) -> Array:
    # Two square roots, as the product of all four sums may overflow.
    flags = np.sqrt((counts.tp + counts.fp) * (counts.tn + counts.fn))
    truth = np.sqrt((counts.tp + counts.fn) * (counts.tn + counts.fp))
    return _share(counts.tp * counts.tn - counts.fp * counts.fn, flags * truth)


Score: TypeAlias = Callable[[Counts], Array]


def _micro(score: Score) -> Score:
    return lambda counts: score(counts.pooled())


def _macro(score: Score) -> Score:
    return lambda counts: (score(counts) + score(counts.swapped())) / 2


def _weighted(score: Score) -> Score:
    def mean(counts: Counts) -> Array:
        positive = (counts.tp + counts.fn) * score(counts)
        negative = (counts.tn + counts.fp) * score(counts.swapped())
        return _share(positive + negative, counts.total())

    return mean


# All of scikit-learn's scorers of the labels of two classes. As there, 0 / 0 is 0.
SCORES: dict[str, Score] = {
    "accuracy": _micro(_recall),
    "balanced_accuracy": _macro(_recall),
    "matthews_corrcoef": _matthews,
}
for _name, _score in {
    "f1": _f1,
    "precision": _precision,
    "recall": _recall,
    "jaccard": _jaccard,
}.items():
    SCORES[_name] = _score
    SCORES[f"{_name}_micro"] = _micro(_score)
    SCORES[f"{_name}_macro"] = _macro(_score)
    SCORES[f"{_name}_weighted"] = _weighted(_score)


@dataclass(frozen=True)
class Metric:
    """The highest score of labels.

    Parameters
    ----------
    name : str
        As scikit-learn's scorers are called.
    """

    name: str

    def score(self, counts: Counts) -> Array:
        """Give what shall be high, for every cut."""
        return SCORES[self.name](counts)

    def ranks(self, counts: Counts) -> tuple[Array, ...]:
        """Give what shall be high, for every cut, and after it what decides between equals."""
        return (self.score(counts),)


@dataclass(frozen=True)
class CallableMetric:
    """The highest result of a function.

    Parameters
    ----------
    function : callable(y_true, y_pred, *, sample_weight)
        Is given the user's labels, and the weights if there are any.
    """

    function: Callable[..., Any]

    @property
    def name(self) -> str:
        """Say it in a message."""
        return getattr(self.function, "__name__", None) or repr(self.function)

    def judge(
        self,
        y_true: NDArray[np.generic],
        y_pred: NDArray[np.generic],
        sample_weight: Array | None,
    ) -> float:
        """Call the function.

        Raises
        ------
        ValueError
            If it gives no number.
        """
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        value = self.function(y_true, y_pred, **weights)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"threshold must be a function that gives a number. {self.name} gave {value!r}"
                ". Let it return one score of all rows, of which more is better."
            ) from None


# What a constraint bounds, what is maximised under it, and what its level is.
_BOUNDS: dict[str, tuple[Score, Score, str]] = {
    "recall": (_recall, _precision, "the share of the positive rows that must be flagged"),
    "precision": (_precision, _recall, "the share of the flagged rows that must be positive"),
    "specificity": (_specificity, _recall, "the share of the negative rows to be left unflagged"),
    "alert_rate": (_alert_rate, _recall, "the share of all rows that may be flagged"),
}


@dataclass(frozen=True)
class Constraint:
    """The highest precision or recall under a constraint.

    Parameters
    ----------
    kind : {"recall", "precision", "specificity", "alert_rate"}
        What is constrained. For recall the precision is maximised, else the recall.
    level : float
        The least that is allowed, for the alert rate the most.
    """

    kind: str
    level: float

    @property
    def is_ceiling(self) -> bool:
        """Whether the level is the most that is allowed."""
        return self.kind == "alert_rate"

    @property
    def name(self) -> str:
        """Say it in a message."""
        return f"{self.kind} {'<=' if self.is_ceiling else '>='} {self.level}"

    def reached(self, counts: Counts) -> Array:
        """Give what is constrained, for every cut."""
        return _BOUNDS[self.kind][0](counts)

    def is_met(self, counts: Counts) -> NDArray[np.bool_]:
        """Tell which cuts are allowed."""
        reached = self.reached(counts)
        return reached <= self.level if self.is_ceiling else reached >= self.level

    def score(self, counts: Counts) -> Array:
        """Give what shall be high, for every cut, allowed or not."""
        return _BOUNDS[self.kind][1](counts)

    def ranks(self, counts: Counts) -> tuple[Array, ...]:
        """Give what shall be high, for every cut, and after it what decides between equals.

        The first is 0 where the constraint is met, else how far it is away, as a negative number.
        """
        sign = -1.0 if self.is_ceiling else 1.0
        reached = sign * self.reached(counts)
        return np.minimum(reached - sign * self.level, 0.0), self.score(counts), reached


@dataclass(frozen=True)
class Costs:
    """The least mean cost of a row.

    Parameters
    ----------
    fp, fn, tp, tn : float
        What a row of each kind costs. A gain is a negative cost.
    """

    fp: float
    fn: float
    tp: float = 0.0
    tn: float = 0.0

    @property
    def name(self) -> str:
        """Say it in a message."""
        return "mean cost"

    def score(self, counts: Counts) -> Array:
        """Give minus the mean cost, for every cut."""
        errors = self.fp * counts.fp + self.fn * counts.fn
        hits = self.tp * counts.tp + self.tn * counts.tn
        return -(errors + hits) / counts.total()

    def ranks(self, counts: Counts) -> tuple[Array, ...]:
        """Give what shall be high, for every cut, and after it what decides between equals."""
        return (self.score(counts),)


Objective: TypeAlias = Metric | CallableMetric | Constraint | Costs

_COSTS = ("cost_fp", "cost_fn", "cost_tp", "cost_tn")
_EXAMPLES = "{'recall': 0.9} or {'cost_fp': 1, 'cost_fn': 5}"


def parse_threshold(threshold: object) -> float | Objective:
    """Give a threshold as a float, or what it shall achieve.

    Parameters
    ----------
    threshold : float, str, callable or dict
        - A number in [0, 1] is the threshold itself.
        - The name of one of scikit-learn's scorers of labels is to be maximised.
        - So is a callable ``metric(y_true, y_pred, *, sample_weight=None)``.
        - ``{"recall": level}`` maximises the precision at this recall or more.
          ``{"precision": level}``, ``{"specificity": level}`` and ``{"alert_rate": level}`` (the
          share of the rows that is flagged, at most) maximise the recall.
        - ``{"cost_fp": cost, "cost_fn": cost}``, and ``"cost_tp"`` and ``"cost_tn"`` if they are
          not 0, minimises the mean cost.

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
            f"threshold must be a function of the true and the predicted labels, got {threshold!r}"
            ". It asks an estimator for labels of its own; give the function in it."
        )
    if callable(threshold):
        return CallableMetric(threshold)
    if not _is_number(threshold):
        raise ValueError(
            "threshold must be a number in [0, 1], the name of a score of labels such as 'f1', a "
            f"function of the true and the predicted labels, or a dict such as {_EXAMPLES}, "
            f"got {threshold!r}. As a number it is the probability from which a row counts "
            "as positive; 0.5 is the usual one."
        )
    if not _is_share(threshold):
        raise ValueError(
            f"threshold must be a number in [0, 1], got {threshold!r}. It is the "
            "probability from which a row counts as positive; 0.5 is the usual one."
        )
    return _as_float(threshold)


def _parse_name(name: str) -> Metric:
    if name in SCORES:
        return Metric(name)
    if name not in get_scorer_names():
        raise ValueError(
            "threshold must be a number in [0, 1] or the name of a score of labels, "
            f"got {name!r}. {_hint(name, SCORES)}"
        )
    # The attribute is private, so a scorer without it is only told what holds for all others.
    if getattr(get_scorer(name), "_response_method", "predict") != "predict":
        raise ValueError(
            f"threshold must name a score of labels, got {name!r}. It judges the "
            "probabilities, so it is the same for every threshold; use 'f1', 'balanced_accuracy' "
            "or another score that judges labels."
        )
    raise ValueError(
        f"threshold must name a score of the labels of two classes, got {name!r}. Use "
        "'f1', 'balanced_accuracy' or another, or give a function of the true and the predicted "
        "labels."
    )


def _parse_dict(given: Mapping[Any, object]) -> Constraint | Costs:
    if not given:
        raise ValueError(
            "threshold must hold one constraint or the costs, got {}. Use a dict such as "
            f"{_EXAMPLES}."
        )
    for key in given:
        if key not in _BOUNDS and key not in _COSTS:
            raise ValueError(
                f"threshold must hold one constraint or the costs, got the key {key!r}. "
                f"{_hint(key, (*_BOUNDS, *_COSTS))}"
            )
    constraints = [key for key in given if key in _BOUNDS]
    if not constraints:
        return _parse_costs(given)
    if len(constraints) < len(given):
        raise ValueError(
            f"threshold must hold a constraint or costs, not both, got {given!r}. Leave "
            "one of them out."
        )
    if len(constraints) > 1:
        raise ValueError(
            f"threshold must hold one constraint, got {given!r}. Keep one of them; under "
            "it the recall is maximised, or the precision under one of the recall."
        )
    kind, level = constraints[0], given[constraints[0]]
    if not _is_share(level):
        raise ValueError(
            f"threshold must hold a number in [0, 1] for {kind!r}, got {level!r}. It is "
            f"{_BOUNDS[kind][2]}."
        )
    return Constraint(kind, _as_float(level))


def _parse_costs(given: Mapping[str, object]) -> Costs:
    for key in ("cost_fp", "cost_fn"):
        if key not in given:
            row = "negative row that is flagged" if key == "cost_fp" else "positive row that is not"
            raise ValueError(
                f"threshold must hold both 'cost_fp' and 'cost_fn', got {given!r}. Add "
                f"{key!r}, the cost of a {row}."
            )
    for key, cost in given.items():
        if not _is_number(cost) or not math.isfinite(_as_float(cost)):
            raise ValueError(
                f"threshold must hold a finite number for {key!r}, got {cost!r}. It is "
                "what one such row costs; a gain is a negative cost."
            )
    costs = Costs(**{key.removeprefix("cost_"): _as_float(cost) for key, cost in given.items()})
    if costs.fp == costs.tn and costs.fn == costs.tp:
        raise ValueError(
            f"threshold must hold costs that depend on the decision, got {given!r}. "
            "Flagged or not, a row costs the same; an error should cost more than what is right."
        )
    return costs


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_share(value: object) -> bool:
    return _is_number(value) and 0 <= _as_float(value) <= 1


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # of an integer
        return math.inf


def _hint(given: object, names: Iterable[str]) -> str:
    """Guess the name that was meant, or list all."""
    names = list(names)
    # 'f2' and 'f1' are alike by half.
    near = difflib.get_close_matches(str(given).lower(), names, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Use one of {', '.join(map(repr, names))}."
