"""A split of a search, with its rows as some candidates prepare them, once for all of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from skbinary.data.checked import CheckedData
from skbinary.data.conversion import move_to_device
from skbinary.data.validation import check_data, check_rows
from skbinary.estimators.base import BinaryClassifier
from skbinary.model_selection.candidates import PipelineCandidate, prepared, transformed
from skbinary.model_selection.scoring import ScoringTask
from skbinary.runtime.device import resolve_device


@dataclass(frozen=True)
class SharedRows:
    """Checked rows that several candidates are trained on.

    Parameters
    ----------
    data : CheckedData
        All rows.
    features : dict
        The attributes that checking them has set: their number, their names, their shape.
    chosen : ndarray of int or None
        Positions of the training set. None for all rows.
    """

    data: CheckedData
    features: dict[str, Any]
    chosen: NDArray[np.intp] | None = None


def share_rows(
    classifier: BinaryClassifier, X: Any, y: Any, fit_params: dict[str, Any]
) -> SharedRows:
    """Check rows once for all candidates that are trained on them."""
    prototype = clone(classifier)
    table, none = (X, y, fit_params.get("sample_weight")), (None, None, None)
    groups = fit_params.get("groups")
    data = check_data(prototype, table, none, reset=True, groups=groups)
    parameters = prototype.get_params(deep=False)
    features = {name: value for name, value in vars(prototype).items() if name not in parameters}
    return SharedRows(replace(data, cache={}), features)


class PreparedSplit:
    """A split, with the rows as the classifiers of some candidates see them.

    Parameters
    ----------
    scoring : ScoringTask
    candidate : PipelineCandidate
        One of those that prepare the rows alike.
    train, test : ndarray of int
        Positions of the rows.
    """

    def __init__(self, scoring: ScoringTask, candidate: PipelineCandidate, train: Any, test: Any):
        self.scoring = scoring
        self.candidate = candidate
        self.train, self.test = train, test
        self.n_jobs = 0
        self.seconds = 0.0
        self._checked: dict[str, Any] = {}

    @cached_property
    def transformers(self) -> list[list[Any]]:
        """The fitted steps of each pipeline around the classifier."""
        return self._prepared[0] if self.candidate.pipelines else []

    @cached_property
    def rows(self) -> SharedRows:
        """The training rows, prepared and checked."""
        _, X, y, own = self._prepared
        begin = time.perf_counter()
        rows = share_rows(self.candidate.classifier, X, y, own)
        self.seconds += time.perf_counter() - begin
        return rows

    @cached_property
    def _prepared(self) -> tuple[list[list[Any]], Any, Any, dict[str, Any]]:
        begin = time.perf_counter()
        scoring, candidate = self.scoring, self.candidate
        X, y = self.given()
        given = _check_method_params(scoring.X, params=scoring.fit_params, indices=self.train)
        of_steps, own = candidate.divide(given)
        transformers = []
        for (_, pipeline), params in zip(candidate.pipelines, of_steps, strict=True):
            steps, X = prepared(pipeline, X, y, params)
            transformers.append(steps)
        self.seconds += time.perf_counter() - begin
        return transformers, X, y, own

    def part(self, name: str) -> tuple[Any, Any, Any]:
        """Give rows, labels and positions of ``"train"`` or ``"test"``, as they are scored."""
        rows = self.train if name == "train" else self.test
        scoring = self.scoring
        if name not in self._parts:
            X, y = _safe_split(self.candidate.estimator, scoring.X, scoring.y, rows, self.train)
            if scoring.is_of_the_scores:
                X = move_to_device(transformed(self.transformers, X), self.device)
            self._parts[name] = (X, y, rows)
        return self._parts[name]

    def checked(self, name: str, classifier: Any) -> Any:
        """Give the rows of a part as classifiers compute with them, or None if they are amiss."""
        if name not in self._checked:
            try:
                self._checked[name] = check_rows(classifier, self.part(name)[0], reset=False)
            except Exception:  # comes again where a classifier is asked, and is told by who asks
                self._checked[name] = None
        return self._checked[name]

    def given(self) -> tuple[Any, Any]:
        """Give the training rows and their labels as the user gave them."""
        scoring = self.scoring
        X, y = _safe_split(self.candidate.estimator, scoring.X, scoring.y, self.train)
        return X, y

    @property
    def device(self) -> torch.device:
        """Where the rows are scored."""
        return resolve_device(self.candidate.classifier.device, self.scoring.X)

    @cached_property
    def _parts(self) -> dict[str, tuple[Any, Any, Any]]:
        return {}

    def whole(self, candidate: PipelineCandidate, classifier: Any) -> Any:
        """Give what is scored: the classifier where it sees prepared rows, else all of it."""
        if self.scoring.is_of_the_scores:
            return classifier
        return candidate.put_together(self.transformers, classifier)
