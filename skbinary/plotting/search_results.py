"""What a search has found, put in order by one or two parameters."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

USUAL_SCORE = "mean_test_score"
_UNITS = {"neg_log_loss": "nats"}
_LONGEST = 24  # letters of a value
_LARGE = 1e6  # from which on numbers are written in powers of ten
_CROWDED = 0.25  # the lowest part of an axis that holds half of the values if they are log-spaced
_WIDE = 10.0  # times the smallest value


@dataclass(frozen=True, eq=False)
class Scale:
    """Where the values of a parameter stand on an axis.

    Parameters
    ----------
    positions : ndarray of shape (n_values,)
        Of each distinct value, ascending.
    labels : list of str
        Their names.
    place : ndarray of shape (n_candidates,)
        Which of them each candidate has.
    kind : {"linear", "log", "even", "words"}
        How positions are spaced. Numbers that suit neither kind of axis stand at even distances,
        and so does what is no number.
    """

    positions: Array
    labels: list[str]
    place: Indices
    kind: str

    @classmethod
    def of(cls, values: Sequence[Any]) -> Scale:
        """Put values in order."""
        if all(map(_is_number, values)):
            distinct, place = np.unique(np.array(values, dtype=np.float64), return_inverse=True)
            labels = [value_text(value) for value in distinct]
            if len(set(labels)) < len(labels):
                labels = [f"{value:g}" for value in distinct]
            kind = _kind_of_axis(distinct)
            scale = cls(distinct, labels, place, kind)
            return scale.evenly() if kind == "even" else scale
        keys = [_key(value) for value in values]
        ordered = _numbers_first(dict(zip(keys, values, strict=True)))
        index = {key: i for i, key in enumerate(ordered)}
        place = np.array([index[key] for key in keys], dtype=np.intp)
        labels = _labels(list(ordered.values()))
        return cls(np.arange(len(labels), dtype=np.float64), labels, place, "words")

    def evenly(self) -> Scale:
        """Put the same values at even distances."""
        return replace(self, positions=np.arange(len(self.labels), dtype=np.float64), kind="even")

    def are_apart(self, least: float) -> bool:
        """Tell whether the values have room for a label each, as a share of the axis."""
        if self.kind in ("even", "words") or len(self.positions) == 1:
            return True
        where = np.log(self.positions) if self.kind == "log" else self.positions
        return bool(np.diff(where).min() >= least * (where[-1] - where[0]))


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, Real) and value is not True and value is not False
    return is_real and not math.isnan(value)


def _kind_of_axis(distinct: Array) -> str:
    """Tell how numbers, ascending, are spaced."""
    if not np.isfinite(distinct).all():
        return "even"
    above = distinct[distinct > 0]
    if len(above) < 2 or distinct[0] < 0 or above[-1] < _WIDE * above[0]:
        return "linear"
    middle = float(np.median(above))
    if len(above) > 2 and middle - above[0] >= _CROWDED * (above[-1] - above[0]):
        return "linear"
    if distinct[0] == 0:  # which has no place on a logarithmic axis
        return "even" if len(above) > 2 else "linear"
    return "log"


def _key(value: Any) -> tuple[str, Any]:
    """Return a hashable key for a value, which may not be hashable itself, such as a dict."""
    if _is_number(value):
        return "number", float(value)
    return "text" if isinstance(value, str) else "object", _one_line(value)


def _numbers_first(values: dict[Any, Any]) -> dict[Any, Any]:
    """Sort numbers and put them first; the order of all other values stays."""
    numbers = sorted((value, key) for key, value in values.items() if _is_number(value))
    rest = {key: value for key, value in values.items() if not _is_number(value)}
    return {**{key: value for value, key in numbers}, **rest}


def value_text(value: Any) -> str:
    """Give a value in few letters."""
    if _is_number(value):
        is_whole = abs(value) < _LARGE and value == int(value)
        return f"{value:.0f}" if is_whole else f"{value:.3g}"
    return _shortened(_one_line(value))


def _one_line(value: Any) -> str:
    name = getattr(value, "__name__", None)  # of a function
    return " ".join((name if isinstance(name, str) else str(value)).split())


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _labels(values: Sequence[Any]) -> list[str]:
    """Return short, unique labels of different values."""
    labels = [value_text(value) for value in values]
    for label in [label for label, count in Counter(labels).items() if count > 1]:
        alike = [i for i, each in enumerate(labels) if each == label]
        texts = [_one_line(values[i]) for i in alike]
        # Leave out their common beginning, up to its last whole word.
        begin = max(_common_beginning(texts).rfind(mark) + 1 for mark in "( ,")
        for i, text in zip(alike, texts, strict=True):
            labels[i] = _shortened(f"...{text[begin:]}") if begin else label
    counts: Counter[str] = Counter()
    for i, label in enumerate(labels):
        counts[label] += 1
        if counts[label] > 1:
            labels[i] = f"{label} ({counts[label]})"
    return labels


def _common_beginning(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    n_equal = 0
    while first[n_equal : n_equal + 1] == last[n_equal : n_equal + 1] != "":
        n_equal += 1
    return first[:n_equal]


def best_of_each(places: Sequence[Indices], scores: Array) -> dict[tuple[int, ...], int]:
    """Give the candidate of the highest score for each value, or each pair of values."""
    found: dict[tuple[int, ...], int] = {}
    for candidate, key in enumerate(zip(*(place.tolist() for place in places), strict=True)):
        score = scores[candidate]
        if key not in found or score > scores[found[key]] or math.isnan(scores[found[key]]):
            found[key] = candidate
    return found


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Give each parameter's name without the steps before it, where that names one alone."""
    names = list(names)
    last = [name.rpartition("__")[2] for name in names]
    return {
        name: short if last.count(short) == 1 else name
        for name, short in zip(names, last, strict=True)
    }


def read_results(
    results: Mapping[str, Any],
    params: Any,
    score: str,
    best_index: int | None = None,
    *,
    metric: str | None = None,
    estimator: Any = None,
) -> dict[str, Any]:
    """Give what a ``SearchDisplay`` is made of.

    Parameters
    ----------
    results : mapping
        ``cv_results_`` of a search.
    params : str, list of str or None
        One or two parameters. None chooses.
    score : str
    best_index : int or None
        None takes the candidate of the highest score.
    metric : str or None
        Name of the score. None takes the name of its column.
    estimator : estimator or None
        Has the values of parameters that a candidate does not set, as in a list of grids. If it is
        None, such candidates are left out where the parameter is drawn.
    """
    key = _find_score(results, score)
    scores = np.asarray(results[key], dtype=np.float64)
    _check_some_numbers(scores)
    candidates = list(results["params"])
    short = short_names(dict.fromkeys(name for each in candidates for name in each))
    if estimator is not None:
        candidates = [_completed(each, list(short), estimator) for each in candidates]
    best = int(np.nanargmax(scores)) if best_index is None else best_index
    if params is None:
        chosen = _choose(candidates, list(short), scores, best)
    else:
        chosen = _find(params, short)
    kept = _that_set(chosen, candidates)
    if not kept:
        raise ValueError(
            "params must be two that some candidate has, got "
            f"{' and '.join(repr(short[name]) for name in chosen)}, of which each "
            "candidate has one at most. Draw one of them."
        )
    _check_some_numbers(scores[kept])
    stds = results.get(key.replace("mean_", "std_", 1))
    score_name = name_score(key, results, metric)
    if len(kept) < len(candidates):
        score_name += f"\n{len(kept)} of {len(candidates)} candidates"
    return {
        "params": {short[name]: [candidates[i][name] for i in kept] for name in chosen},
        "scores": scores[kept],
        "stds": None if stds is None else np.asarray(stds, dtype=np.float64)[kept],
        "best_index": kept.index(best) if best in kept else None,
        "score_name": score_name,
        "others": tuple(
            short[name]
            for name in short
            if name not in chosen and _differs(name, [candidates[i] for i in kept])
        ),
    }


def _check_some_numbers(scores: Array) -> None:
    if np.isnan(scores).all():
        raise ValueError(
            f"score must be a number for some candidate, got NaN for all {len(scores)}. "
            "Look at the warnings of the search."
        )


def _completed(candidate: dict[str, Any], names: list[str], estimator: Any) -> dict[str, Any]:
    """Add the parameters that a candidate takes from the estimator."""
    missing = [name for name in names if name not in candidate]
    if not missing:
        return candidate
    try:
        fitted_as = clone(estimator).set_params(**clone(candidate, safe=False))
        known = fitted_as.get_params()
    except Exception:  # such a candidate could not be fitted either
        return candidate
    return {**{name: known[name] for name in missing if name in known}, **candidate}


def _that_set(names: Iterable[str], candidates: list[dict[str, Any]]) -> list[int]:
    return [i for i, each in enumerate(candidates) if all(name in each for name in names)]


def _differs(name: str, candidates: list[dict[str, Any]]) -> bool:
    """Tell whether candidates differ in a parameter, or in whether they have it."""
    n_set = len(_that_set([name], candidates))
    return 0 < n_set < len(candidates) or len(_values(name, candidates).labels) > 1


def _values(name: str, candidates: list[dict[str, Any]]) -> Scale:
    """Order the values of a parameter among the candidates that have it."""
    return Scale.of([each[name] for each in candidates if name in each])


def _choose(
    candidates: list[dict[str, Any]], names: list[str], scores: Array, best: int
) -> list[str]:
    """Choose the two parameters, or the one, over which the best score moves most.

    Parameters that all candidates have come first, then those that the best candidate has.
    """
    varying = [name for name in names if len(_values(name, candidates).labels) > 1]
    everywhere = [name for name in varying if all(name in each for each in candidates)]
    pool = everywhere or [name for name in varying if name in candidates[best]] or varying
    if not pool:
        raise ValueError(
            "A search must vary a parameter to be drawn, got candidates that are all the same"
            ". Give the parameter more values."
        )
    chosen = [max(pool, key=lambda name: _movement(name, candidates, scores))]
    kept = _that_set(chosen, candidates)
    left, left_scores = [candidates[i] for i in kept], scores[kept]
    rest = [name for name in pool if name not in chosen and len(_values(name, left).labels) > 1]
    if rest:
        chosen.append(max(rest, key=lambda name: _movement(name, left, left_scores)))
    chosen.sort(key=names.index)

    def is_second(name: str) -> tuple[bool, int]:
        # Numbers, and what has more values, along the x axis.
        scale = _values(name, candidates)
        return scale.kind == "words", -len(scale.labels)

    return sorted(chosen, key=is_second)


def _movement(name: str, candidates: list[dict[str, Any]], scores: Array) -> float:
    """Return how far the best score moves over the values of a parameter."""
    its_scores = scores[_that_set([name], candidates)]
    best = its_scores[list(best_of_each([_values(name, candidates).place], its_scores).values())]
    known = best[~np.isnan(best)]
    return float(np.ptp(known)) if len(known) else -1.0


def _find(params: Any, short: dict[str, str]) -> list[str]:
    """Find the parameters that are meant, by their whole or their short name."""
    given = [params] if isinstance(params, str) else list(params)
    if len(given) not in (1, 2) or len(set(given)) < len(given):
        raise ValueError(
            f"params must be one or two names of parameters, got {given!r}. The best over "
            "all others is drawn."
        )
    full = {**{name: long for long, name in short.items()}, **{name: name for name in short}}
    for name in given:
        if name not in full:
            raise ValueError(
                f"params must be names that the search has varied, got {name!r}. "
                f"{_hint(name, sorted(short.values()))}"
            )
    return [full[name] for name in given]


def _find_score(results: Mapping[str, Any], score: str) -> str:
    """Find the column that is meant, by its whole name or that of the metric."""
    known = [name for name in results if name.startswith(("mean_test_", "mean_train_"))]
    for name in (score, f"mean_{score}", f"mean_test_{score}"):
        if name in known:
            return name
    raise ValueError(
        f"score must be the name of a score in cv_results_, got {score!r}. {_hint(score, known)}"
    )


def _hint(given: str, names: list[str]) -> str:
    near = difflib.get_close_matches(str(given), names, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Use one of {', '.join(map(repr, names))}."


def name_score(key: str, results: Mapping[str, Any], metric: str | None = None) -> str:
    """Give a score in a few words: the metric, its unit, and what has been averaged."""
    _, rows, column = key.split("_", 2)
    metric = metric or column
    end = f"_{rows}_{column}"
    n_splits = sum(name.startswith("split") and name.endswith(end) for name in results)
    notes = [_UNITS[metric]] if metric in _UNITS else []
    notes += [f"mean of {n_splits} folds"] if n_splits > 1 else []
    name = metric if rows == "test" else f"training {metric}"
    return f"{name} ({', '.join(notes)})" if notes else name
