"""Splits of a search, whose rows are transformed and checked once for several candidates."""

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
from skbinary.model_selection.candidates import PipelineCandidate, fit_transformers, transform
from skbinary.model_selection.scoring import ScoringTask
from skbinary.runtime.device import resolve_device


@dataclass(frozen=True)
class SharedRows:
    """Checked rows that several candidates are trained on.

    Parameters
    ----------
    data : CheckedData
        All rows.
    feature_attributes : dict
        The fitted attributes that describe the features, such as ``n_features_in_``.
    train : ndarray of int or None
        Indices of the training set. None for all rows.
    """

    data: CheckedData
    feature_attributes: dict[str, Any]
    train: NDArray[np.intp] | None = None


def share_rows(
    classifier: BinaryClassifier, X: Any, y: Any, fit_params: dict[str, Any]
) -> SharedRows:
    """Check data once for all candidates that are trained on it."""
    prototype = clone(classifier)
    table, none = (X, y, fit_params.get("sample_weight")), (None, None, None)
    groups = fit_params.get("groups")
    before = set(vars(prototype))
    data = check_data(prototype, table, none, reset=True, groups=groups)
    attributes = {name: value for name, value in vars(prototype).items() if name not in before}
    return SharedRows(replace(data, cache={}), attributes)


class PreparedSplit:
    """A split, with the data as the transformers of some candidates return it.

    Parameters
    ----------
    scoring : ScoringTask
    candidate : PipelineCandidate
        One of the candidates with the same transformers.
    train, test : ndarray of int
        Indices of the training and of the validation fold.

    Attributes
    ----------
    n_jobs : int
        Number of jobs on this split, which share the time that its preparation took.
    seconds : float
        The time that its preparation took.
    """

    def __init__(self, scoring: ScoringTask, candidate: PipelineCandidate, train: Any, test: Any):
        self.scoring = scoring
        self.candidate = candidate
        self.train, self.test = train, test
        self.n_jobs = 0
        self.seconds = 0.0
        self._scored_data: dict[str, tuple[Any, Any, Any]] = {}
        self._checked_rows: dict[str, Any] = {}

    @cached_property
    def transformers(self) -> list[list[Any]]:
        """The fitted steps of each pipeline around the classifier."""
        return self._training_data[0] if self.candidate.pipelines else []

    @cached_property
    def rows(self) -> SharedRows:
        """The training data, transformed and checked."""
        _, X, y, fit_params = self._training_data
        begin = time.perf_counter()
        rows = share_rows(self.candidate.classifier, X, y, fit_params)
        self.seconds += time.perf_counter() - begin
        return rows

    @cached_property
    def _training_data(self) -> tuple[list[list[Any]], Any, Any, dict[str, Any]]:
        """The fitted transformers, transformed and resampled data, labels, arguments of ``fit``."""
        begin = time.perf_counter()
        scoring, candidate = self.scoring, self.candidate
        X, y = self.untransformed_training_data()
        params = _check_method_params(scoring.X, params=scoring.fit_params, indices=self.train)
        for_pipelines, for_classifier = candidate.split_fit_params(params)
        transformers = []
        for (_, pipeline), own in zip(candidate.pipelines, for_pipelines, strict=True):
            steps, X, y = fit_transformers(pipeline, X, y, own)
            transformers.append(steps)
        self.seconds += time.perf_counter() - begin
        return transformers, X, y, for_classifier

    def untransformed_training_data(self) -> tuple[Any, Any]:
        """Return data and labels of the training fold as they were passed to the search."""
        scoring = self.scoring
        X, y = _safe_split(self.candidate.estimator, scoring.X, scoring.y, self.train)
        return X, y

    def scored_data(self, name: str) -> tuple[Any, Any, Any]:
        """Return data, labels and indices of ``"train"`` or ``"test"``, as they are scored.

        The data is transformed if the classifier is scored, and untransformed if the whole
        estimator is scored.
        """
        if name not in self._scored_data:
            indices = self.train if name == "train" else self.test
            scoring = self.scoring
            X, y = _safe_split(self.candidate.estimator, scoring.X, scoring.y, indices, self.train)
            if scoring.uses_predictions_only:
                X = move_to_device(transform(self.transformers, X), self.device)
            self._scored_data[name] = (X, y, indices)
        return self._scored_data[name]

    @cached_property
    def transformed_test_rows(self) -> Any:
        """The validation fold as the classifier sees it."""
        X = self.scored_data("test")[0]
        if self.scoring.uses_predictions_only:
            return X
        return move_to_device(transform(self.transformers, X), self.device)

    def checked_rows(self, name: str, classifier: Any) -> Any:
        """Return the scored data after the checks of ``predict``, or None if they fail."""
        if name not in self._checked_rows:
            try:
                rows = check_rows(classifier, self.scored_data(name)[0], reset=False)
            except Exception:  # raised again by the scorer, and handled there
                rows = None
            self._checked_rows[name] = rows
        return self._checked_rows[name]

    @property
    def device(self) -> torch.device:
        """Where the data is scored."""
        return resolve_device(self.candidate.classifier.device, self.scoring.X)

    def scored_estimator(self, candidate: PipelineCandidate, classifier: Any) -> Any:
        """Return the classifier if it is scored on transformed data, else the whole estimator."""
        if self.scoring.uses_predictions_only:
            return classifier
        return candidate.with_fitted_steps(self.transformers, classifier)
