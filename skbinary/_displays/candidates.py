"""What a search has found, put in order by one or two parameters."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        texts = [value_text(value) for value in values]
        labels = list(dict.fromkeys(texts))
        place = np.array([labels.index(text) for text in texts], dtype=np.intp)
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


def value_text(value: Any) -> str:
    """Give a value in few letters."""
    if _is_number(value):
        is_whole = abs(value) < _LARGE and value == int(value)
        return f"{value:.0f}" if is_whole else f"{value:.3g}"
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


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
    results: Mapping[str, Any], params: Any, score: str, best_index: int | None = None
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
    """
    key = _find_score(results, score)
    scores = np.asarray(results[key], dtype=np.float64)
    _check_some_numbers(scores)
    candidates = list(results["params"])
    short = short_names(dict.fromkeys(name for each in candidates for name in each))
    scales = _scales(candidates, short)
    varying = [name for name in short if len(scales[name].labels) > 1]
    chosen = _choose(varying, scales, scores) if params is None else _find(params, short)
    kept = [i for i, each in enumerate(candidates) if all(name in each for name in chosen)]
    _check_some_numbers(scores[kept])
    best = int(np.nanargmax(scores)) if best_index is None else best_index
    stds = results.get(key.replace("mean_", "std_", 1))
    return {
        "params": {short[name]: [candidates[i][name] for i in kept] for name in chosen},
        "scores": scores[kept],
        "stds": None if stds is None else np.asarray(stds, dtype=np.float64)[kept],
        "best_index": kept.index(best) if best in kept else None,
        "score_name": name_score(key, results),
        "others": tuple(short[name] for name in varying if name not in chosen),
    }


def _check_some_numbers(scores: Array) -> None:
    if np.isnan(scores).all():
        raise ValueError(
            f"score must be a number for some candidate. Got NaN for all {len(scores)} instead. "
            "Look at the warnings of the search."
        )


def _scales(candidates: list[dict[str, Any]], names: Iterable[str]) -> dict[str, Scale]:
    """Put the values of every parameter in order; what a candidate has not set is a value, too."""
    return {name: Scale.of([each.get(name, "not set") for each in candidates]) for name in names}


def _choose(varying: list[str], scales: dict[str, Scale], scores: Array) -> list[str]:
    """Choose the two parameters, or the one, over which the best score moves most."""
    if not varying:
        raise ValueError(
            "A search must vary a parameter to be drawn. Got candidates that are all the same "
            "instead. Give the parameter more values."
        )

    def movement(name: str) -> float:
        best = scores[list(best_of_each([scales[name].place], scores).values())]
        return float(np.nanmax(best) - np.nanmin(best))

    if len(varying) > 2:
        varying = sorted(sorted(varying, key=movement, reverse=True)[:2], key=varying.index)

    def is_second(name: str) -> tuple[bool, int]:
        # Numbers, and what has more values, along the x axis.
        return scales[name].kind == "words", -len(scales[name].labels)

    return sorted(varying, key=is_second)


def _find(params: Any, short: dict[str, str]) -> list[str]:
    """Find the parameters that are meant, by their whole or their short name."""
    given = [params] if isinstance(params, str) else list(params)
    if len(given) not in (1, 2) or len(set(given)) < len(given):
        raise ValueError(
            f"params must be one or two names of parameters. Got {given!r} instead. The best over "
            "all others is drawn."
        )
    full = {**{name: long for long, name in short.items()}, **{name: name for name in short}}
    for name in given:
        if name not in full:
            raise ValueError(
                f"params must be names that the search has varied. Got {name!r} instead. "
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
        "score must be the name of a score in cv_results_. "
        f"Got {score!r} instead. {_hint(score, known)}"
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
