"""Select the scores and parameters to draw from the results of a search."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from skbinary.plotting.parameter_axis import ParameterAxis, best_candidates

Array = NDArray[np.float64]

DEFAULT_SCORE = "mean_test_score"
_UNITS = {"neg_log_loss": "nats"}


def read_results(
    results: Mapping[str, Any],
    params: Any,
    score: str,
    best_index: int | None = None,
    *,
    metric: str | None = None,
    estimator: Any = None,
) -> dict[str, Any]:
    """Return the arguments of a ``SearchDisplay``.

    Parameters
    ----------
    results : mapping
        ``cv_results_`` of a search.
    params : str, list of str or None
        One or two parameters. None selects those over which the best score varies most.
    score : str
        A column of `results`, or the name of a metric.
    best_index : int or None
        Index of the best candidate. None uses the candidate with the highest score.
    metric : str or None
        Name of the metric. None uses the name of its column.
    estimator : estimator or None
        The estimator of the search, which has the values of parameters that a candidate of a list
        of grids does not set. If None, such candidates are left out.

    Returns
    -------
    dict of str to object
    """
    column = _find_score(results, score)
    candidates, last = _last_rounds(results)
    scores = np.asarray(results[column], dtype=np.float64)[last]
    _check_not_all_nan(scores)
    short = short_names(dict.fromkeys(name for each in candidates for name in each))
    if estimator is not None:
        candidates = [_with_defaults(each, list(short), estimator) for each in candidates]
    best = _find_best(results, last, scores) if best_index is None else last.index(best_index)
    if params is None:
        selected = _select_parameters(candidates, list(short), scores, best)
    else:
        selected = _find_parameters(params, short)
    kept = _candidates_with(selected, candidates)
    if not kept:
        _raise_never_together([short[name] for name in selected])
    _check_not_all_nan(scores[kept])
    stds = results.get(column.replace("mean_", "std_", 1))
    return {
        "params": {short[name]: [candidates[i][name] for i in kept] for name in selected},
        "scores": scores[kept],
        "stds": None if stds is None else np.asarray(stds, dtype=np.float64)[last][kept],
        "best_index": kept.index(best) if best in kept else None,
        "score_name": score_label(column, results, metric),
        "others": tuple(
            short[name]
            for name in short
            if name not in selected and _varies(name, [candidates[i] for i in kept])
        ),
        "n_candidates": len(candidates),
    }


def _last_rounds(results: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the parameters of each candidate, and the row of its last round.

    A search by halving has a row for each round. The parameter that is its resource, such as the
    number of epochs, is left out: it says how far a candidate got, and is no choice.
    """
    candidates = [dict(each) for each in results["params"]]
    rows = list(range(len(candidates)))
    if "iter" not in results:
        return candidates, rows
    resources = list(results["n_resources"])
    for name in list(candidates[0]):
        if [each.get(name) for each in candidates] == resources:
            for each in candidates:
                del each[name]
    last = {repr(sorted(each.items())): row for row, each in zip(rows, candidates, strict=True)}
    return [candidates[row] for row in last.values()], list(last.values())


def _find_best(results: Mapping[str, Any], last: list[int], scores: Array) -> int:
    """Return the candidate with the highest score among those of the last round."""
    rounds = np.asarray(results.get("iter", np.zeros(len(results["params"]))))[last]
    of_last_round = np.where(rounds == rounds.max(), scores, np.nan)
    _check_not_all_nan(of_last_round)
    return int(np.nanargmax(of_last_round))


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names without the steps of the pipeline, where they stay unique."""
    names = list(names)
    last = [name.rpartition("__")[2] for name in names]
    return {
        name: short if last.count(short) == 1 else name
        for name, short in zip(names, last, strict=True)
    }


def score_label(column: str, results: Mapping[str, Any], metric: str | None = None) -> str:
    """Return the name of a score with its unit and the number of folds.

    Parameters
    ----------
    column : str
        A column of `results` that starts with ``mean_test_`` or ``mean_train_``.
    results : mapping
        ``cv_results_`` of a search.
    metric : str or None
        Name of the metric. None uses the name of the column.
    """
    _, rows, suffix = column.split("_", 2)
    metric = metric or suffix
    end = f"_{rows}_{suffix}"
    n_splits = sum(name.startswith("split") and name.endswith(end) for name in results)
    notes = [_UNITS[metric]] if metric in _UNITS else []
    notes += [f"mean of {n_splits} folds"] if n_splits > 1 else []
    name = metric if rows == "test" else f"training {metric}"
    return f"{name} ({', '.join(notes)})" if notes else name


def _raise_never_together(names: list[str]) -> NoReturn:
    raise ValueError(
        "params must be parameters that at least one candidate sets together, got "
        f"{' and '.join(map(repr, names))}. Draw one of them."
    )


def _check_not_all_nan(scores: Array) -> None:
    if np.isnan(scores).all():
        raise ValueError(
            f"score must be a number for at least one candidate, got NaN for all {len(scores)}. "
            "See the warnings of the search."
        )


def _with_defaults(candidate: dict[str, Any], names: list[str], estimator: Any) -> dict[str, Any]:
    """Add the parameters that a candidate takes from the estimator."""
    missing = [name for name in names if name not in candidate]
    if not missing:
        return candidate
    try:
        defaults = clone(estimator).set_params(**clone(candidate, safe=False)).get_params()
    except Exception:  # such a candidate could not be fitted either
        return candidate
    return {**{name: defaults[name] for name in missing if name in defaults}, **candidate}


def _candidates_with(names: Iterable[str], candidates: list[dict[str, Any]]) -> list[int]:
    """Return the indices of the candidates that set all of the parameters."""
    return [i for i, each in enumerate(candidates) if all(name in each for name in names)]


def _varies(name: str, candidates: list[dict[str, Any]]) -> bool:
    """Return whether candidates differ in a parameter, or in whether they set it."""
    n_set = len(_candidates_with([name], candidates))
    return 0 < n_set < len(candidates) or len(_axis_of(name, candidates).labels) > 1


def _axis_of(name: str, candidates: list[dict[str, Any]]) -> ParameterAxis:
    """Return the axis of a parameter for the candidates that set it."""
    return ParameterAxis.from_values([each[name] for each in candidates if name in each])


def _select_parameters(
    candidates: list[dict[str, Any]], names: list[str], scores: Array, best: int
) -> list[str]:
    """Select one or two parameters over which the best score varies most.

    Parameters that all candidates set are preferred, then those that the best candidate sets.
    """
    varying = [name for name in names if len(_axis_of(name, candidates).labels) > 1]
    in_all = [name for name in varying if all(name in each for each in candidates)]
    pool = in_all or [name for name in varying if name in candidates[best]] or varying
    if not pool:
        raise ValueError(
            "The candidates of a search must differ in a parameter to be drawn, got equal "
            "candidates. Search over more values."
        )
    selected = [max(pool, key=lambda name: _score_range(name, candidates, scores))]
    kept = _candidates_with(selected, candidates)
    kept_candidates, kept_scores = [candidates[i] for i in kept], scores[kept]
    rest = [
        name
        for name in pool
        if name not in selected and len(_axis_of(name, kept_candidates).labels) > 1
    ]
    if rest:
        selected.append(
            max(rest, key=lambda name: _score_range(name, kept_candidates, kept_scores))
        )
    selected.sort(key=names.index)

    def y_axis_order(name: str) -> tuple[bool, int]:
        # Numbers, and the parameter with more values, go to the x axis.
        axis = _axis_of(name, candidates)
        return axis.spacing == "category", -len(axis.labels)

    return sorted(selected, key=y_axis_order)


def _score_range(name: str, candidates: list[dict[str, Any]], scores: Array) -> float:
    """Return the range of the best score over the values of a parameter."""
    own_scores = scores[_candidates_with([name], candidates)]
    best = own_scores[list(best_candidates([_axis_of(name, candidates)], own_scores).values())]
    finite = best[~np.isnan(best)]
    return float(np.ptp(finite)) if len(finite) else -1.0


def _find_parameters(params: Any, short: dict[str, str]) -> list[str]:
    """Return the full names of parameters that are given by their full or short names."""
    given = [params] if isinstance(params, str) else list(params)
    if len(given) not in (1, 2) or len(set(given)) < len(given):
        raise ValueError(
            f"params must be one or two names of parameters, got {given!r}. The best score over "
            "all other parameters is drawn."
        )
    full = {**{name: long for long, name in short.items()}, **{name: name for name in short}}
    for name in given:
        if name not in full:
            raise ValueError(
                f"params must be parameters of the search, got {name!r}. "
                f"{_suggest(name, sorted(short.values()))}"
            )
    return [full[name] for name in given]


def _find_score(results: Mapping[str, Any], score: str) -> str:
    """Return the column of a score that is given by its column or its metric."""
    columns = [name for name in results if name.startswith(("mean_test_", "mean_train_"))]
    for name in (score, f"mean_{score}", f"mean_test_{score}"):
        if name in columns:
            return name
    raise ValueError(
        f"score must be the name of a score in cv_results_, got {score!r}. "
        f"{_suggest(score, columns)}"
    )


def _suggest(given: str, names: list[str]) -> str:
    """Return a sentence with the most similar name, or with all names."""
    near = difflib.get_close_matches(str(given), names, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Use one of {', '.join(map(repr, names))}."
