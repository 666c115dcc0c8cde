"""Models of the candidates on all splits, and their logits on the validation folds."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metaestimators import _safe_split

from skbinary.data.validation import check_rows
from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.scoring import logits_of
from skbinary.model_selection.ensemble_selection import pool_folds
from skbinary.model_selection.fit_results import FitResults
from skbinary.model_selection.jobs import Job
from skbinary.model_selection.scoring import MODELS_PER_PRODUCT
from skbinary.model_selection.search_ensemble import (
    classifier_logits,
    ensemble_logits,
    has_logits,
)
from skbinary.model_selection.search_round import SearchRound, Task
from skbinary.model_selection.splits import PreparedSplit


@dataclass(frozen=True, eq=False)
class CandidateModels:
    """A candidate that was fitted on all splits.

    Parameters
    ----------
    index : int
        Index of the candidate in the search.
    estimators : list of estimator
        The fitted estimator of each split.
    logits : ndarray of shape (n_samples,)
        Logit of each row by the estimators that were not trained on it. NaN if there are none.
    """

    index: int
    estimators: list[Any]
    logits: NDArray[np.float64]


class FoldModels:
    """Keeps fitted models, so that the best of them can be averaged.

    Candidates that differ only in their threshold have the same probabilities. They are kept once.

    Parameters
    ----------
    search_round : SearchRound
        What is fitted.
    results : FitResults
        The results of all fits.
    """

    def __init__(self, search_round: SearchRound, results: FitResults):
        for each in search_round.estimators:
            if not hasattr(each, "predict_proba"):
                raise ValueError(
                    "ensemble_size must be None for candidates without predict_proba, got "
                    f"{each!r}. Leave the candidate out, or set ensemble_size=None."
                )
        self.scoring = search_round.scoring
        self.splits = search_round.splits
        self.results = results.by_task
        # Equal for candidates that differ only in their threshold.
        self._keys: list[Hashable] = [
            c if each is None else (each.preparation_key, each.training_key)
            for c, each in enumerate(search_round.pipelines)
        ]
        self._estimators: dict[Task, Any] = {}
        self._logits: dict[tuple[Hashable, int], NDArray[np.floating]] = {}

    def add_jobs(self, jobs: Sequence[Job]) -> None:
        """Score the validation folds by trained models."""
        sharing: dict[PreparedSplit, list[Job]] = {}
        for job in jobs:
            sharing.setdefault(job.split, []).append(job)
        for split, own in sharing.items():
            # An error is raised again when the candidates are scored, and is handled there.
            with suppress(Exception):
                classifiers = [job.classifier for job in own]
                for job, logits in zip(own, _test_logits(split, classifiers), strict=True):
                    task = next(iter(job.tasks))
                    self._logits[self._keys[task.candidate], task.split] = logits

    def add_estimator(self, task: Task, estimator: Any) -> None:
        """Keep a fitted estimator, and score its validation fold unless it has been scored."""
        self._estimators[task] = estimator
        key = (self._keys[task.candidate], task.split)
        if key not in self._logits:
            train, test = self.splits[task.split]
            X, _ = _safe_split(estimator, self.scoring.X, self.scoring.y, test, train)
            with suppress(Exception):  # as for those that were trained in a batch
                self._logits[key] = ensemble_logits([(1.0, estimator)], X)

    def fitted_candidates(self, first_index: int) -> list[CandidateModels]:
        """Return the candidates without a failed fit, once if they differ in their threshold only.

        Parameters
        ----------
        first_index : int
            Number of the candidates that were evaluated before.
        """
        found: dict[Hashable, CandidateModels] = {}
        for c, key in enumerate(self._keys):
            tasks = [Task(c, s) for s in range(len(self.splits))]
            is_fitted = all(
                self.results[task]["fit_error"] is None
                and task in self._estimators
                and not np.isnan(self._logits.get((key, task.split), np.nan)).any()
                for task in tasks
            )
            if key in found or not is_fitted:
                continue
            tests = [test for _, test in self.splits]
            logits = [self._logits[key, task.split] for task in tasks]
            pooled = pool_folds(len(self.scoring.y), zip(tests, logits, strict=True))
            estimators = [self._estimators[task] for task in tasks]
            found[key] = CandidateModels(first_index + c, estimators, pooled)
        return list(found.values())


def _test_logits(
    split: PreparedSplit, classifiers: Sequence[BinaryClassifier]
) -> Iterator[NDArray[np.floating]]:
    """Return the logits of the validation fold by each classifier, whose rows are checked once."""
    rows = split.transformed_test_rows
    if not all(has_logits(each) for each in classifiers):
        yield from (classifier_logits(each, rows) for each in classifiers)
        return
    checked = check_rows(classifiers[0], rows, reset=False)
    for i in range(0, len(classifiers), MODELS_PER_PRODUCT):
        chunk = classifiers[i : i + MODELS_PER_PRODUCT]
        yield from logits_of([each._fitted() for each in chunk], checked)
