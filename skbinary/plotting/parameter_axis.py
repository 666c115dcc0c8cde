"""Where the values of a parameter are on an axis, and how they are labelled."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_MAX_LABEL_LENGTH = 24
_LARGE = 1e6  # larger numbers are written with an exponent
# Numbers are log-spaced if they span at least this factor, and the lowest part of their range (as a
# fraction) contains half of them.
_MIN_LOG_SPAN, _LOWEST_PART = 10.0, 0.25


@dataclass(frozen=True, eq=False)
class ParameterAxis:
    """The distinct values of a parameter among the candidates of a search, placed on an axis.

    Parameters
    ----------
    positions : ndarray of shape (n_values,)
        Position of each distinct value, ascending.
    labels : list of str
        A unique label for each distinct value.
    index : ndarray of shape (n_candidates,)
        Index of each candidate's value among the distinct values.
    spacing : {"linear", "log", "even", "category"}
        How the positions are spaced. ``"even"`` is for numbers that neither a linear nor a
        logarithmic axis suits, ``"category"`` for values that are not all numbers.
    """

    positions: Array
    labels: list[str]
    index: Indices
    spacing: str

    @classmethod
    def from_values(cls, values: Sequence[Any]) -> ParameterAxis:
        """Order the values of all candidates: numbers ascending, then others as they appear."""
        if all(map(_is_number, values)):
            distinct, index = np.unique(np.array(values, dtype=np.float64), return_inverse=True)
            labels = [format_value(value) for value in distinct]
            if len(set(labels)) < len(labels):
                labels = [f"{value:g}" for value in distinct]
            spacing = _find_spacing(distinct)
            axis = cls(distinct, labels, index, spacing)
            return axis.evenly_spaced() if spacing == "even" else axis
        keys = [_hashable_key(value) for value in values]
        ordered = _numbers_first(dict(zip(keys, values, strict=True)))
        position = {key: i for i, key in enumerate(ordered)}
        index = np.array([position[key] for key in keys], dtype=np.intp)
        labels = _unique_labels(list(ordered.values()))
        return cls(np.arange(len(labels), dtype=np.float64), labels, index, "category")

    def evenly_spaced(self) -> ParameterAxis:
        """Return the same values at equal distances."""
        return replace(
            self, positions=np.arange(len(self.labels), dtype=np.float64), spacing="even"
        )

    def has_gaps_of(self, fraction: float) -> bool:
        """Return whether neighbouring values are at least this fraction of the axis apart."""
        if self.spacing in ("even", "category") or len(self.positions) == 1:
            return True
        positions = np.log(self.positions) if self.spacing == "log" else self.positions
        return bool(np.diff(positions).min() >= fraction * (positions[-1] - positions[0]))


def best_candidates(axes: Sequence[ParameterAxis], scores: Array) -> dict[tuple[int, ...], int]:
    """Return the candidate with the highest score for each value, or each pair of values.

    Parameters
    ----------
    axes : sequence of ParameterAxis
        One or two parameters.
    scores : ndarray of shape (n_candidates,)
        NaN is lower than any number.

    Returns
    -------
    dict of tuple of int to int
        From the indices of the values to the index of the candidate.
    """
    best: dict[tuple[int, ...], int] = {}
    for candidate, key in enumerate(zip(*(axis.index.tolist() for axis in axes), strict=True)):
        score = scores[candidate]
        if key not in best or score > scores[best[key]] or math.isnan(scores[best[key]]):
            best[key] = candidate
    return best


def format_value(value: Any) -> str:
    """Return a short text for a value: numbers with three digits, long texts shortened."""
    if _is_number(value):
        is_integer = abs(value) < _LARGE and value == int(value)
        return f"{value:.0f}" if is_integer else f"{value:.3g}"
    return _shortened(_one_line(value))


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, Real) and value is not True and value is not False
    return is_real and not math.isnan(value)


def _find_spacing(distinct: Array) -> str:
    """Return how ascending numbers are spaced: "linear", "log" or "even"."""
    if not np.isfinite(distinct).all():
        return "even"
    positive = distinct[distinct > 0]
    if len(positive) < 2 or distinct[0] < 0 or positive[-1] < _MIN_LOG_SPAN * positive[0]:
        return "linear"
    middle = float(np.median(positive))
    if len(positive) > 2 and middle - positive[0] >= _LOWEST_PART * (positive[-1] - positive[0]):
        return "linear"
    if distinct[0] == 0:  # a logarithmic axis has no zero
        return "even" if len(positive) > 2 else "linear"
    return "log"


def _hashable_key(value: Any) -> tuple[str, Any]:
    """Return a hashable key for a value that may not be hashable itself, such as a dict."""
    if _is_number(value):
        return "number", float(value)
    return "text" if isinstance(value, str) else "object", _one_line(value)


def _numbers_first(values: dict[Any, Any]) -> dict[Any, Any]:
    """Put numbers first, in ascending order, and keep the order of all other values."""
    numbers = sorted((value, key) for key, value in values.items() if _is_number(value))
    others = {key: value for key, value in values.items() if not _is_number(value)}
    return {**{key: value for value, key in numbers}, **others}


def _one_line(value: Any) -> str:
    name = getattr(value, "__name__", None)  # of a function
    return " ".join((name if isinstance(name, str) else str(value)).split())


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_LABEL_LENGTH else f"{text[: _MAX_LABEL_LENGTH - 3]}..."


def _unique_labels(values: Sequence[Any]) -> list[str]:
    """Return short, unique labels of distinct values."""
    labels = [format_value(value) for value in values]
    for label in [label for label, count in Counter(labels).items() if count > 1]:
        equal = [i for i, each in enumerate(labels) if each == label]
        texts = [_one_line(values[i]) for i in equal]
        # Remove what their texts begin with in common, up to its last whole word.
        start = max(_common_prefix(texts).rfind(mark) + 1 for mark in "( ,")
        for i, text in zip(equal, texts, strict=True):
            labels[i] = _shortened(f"...{text[start:]}") if start else label
    counts: Counter[str] = Counter()
    for i, label in enumerate(labels):
        counts[label] += 1
        if counts[label] > 1:
            labels[i] = f"{label} ({counts[label]})"
    return labels


def _common_prefix(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    n_equal = 0
    while first[n_equal : n_equal + 1] == last[n_equal : n_equal + 1] != "":
        n_equal += 1
    return first[:n_equal]
