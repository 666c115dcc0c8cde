"""The results of a search: all rounds of candidates so far, in the form of ``cv_results_``."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)

from skbinary.callbacks.sklearn import SearchCallbacks
from skbinary.model_selection.continuation import Continuation
from skbinary.model_selection.evaluation import Evaluation
from skbinary.model_selection.fold_models import CandidateModels
from skbinary.model_selection.scoring import ScoringTask
from skbinary.model_selection.search_checkpoint import check_same_splits
from skbinary.model_selection.search_progress import SearchProgress
from skbinary.model_selection.search_round import SearchRound
from skbinary.runtime.warnings import warn


class SearchResults:
    """The results of a search so far. Subclasses of scikit-learn's searches may add to them."""

    def __init__(
        self,
        scoring: ScoringTask,
        cv: Any,
        split_params: dict[str, Any],
        continuation: Continuation | None,
    ):
        self.scoring = scoring
        self.continuation = continuation
        self.cv = cv
        self.split_params = split_params
        self.n_splits = cv.get_n_splits(scoring.X, scoring.y, **split_params)
        self.candidates: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] = []
        self.fitted_candidates: list[CandidateModels] = []
        self.progress = SearchProgress(scoring) if scoring.search.verbose else None
        self.cv_results: dict[str, Any] = {}
        self._has_warned = False
        self._more_results: dict[str, list[Any]] = defaultdict(list)

    def evaluate(
        self,
        candidate_params: Iterable[dict[str, Any]],
        cv: Any = None,
        more_results: Mapping[str, list[Any]] | None = None,
        callback_ctx: Any = None,
    ) -> dict[str, Any]:
        """Evaluate candidates, and return all results so far as ``cv_results_``."""
        scoring, search = self.scoring, self.scoring.search
        candidates, splits = list(candidate_params), self._split(cv or self.cv)
        n_fits = len(candidates) * len(splits)
        if search.verbose > 0:
            sys.stdout.write(
                f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, totalling "
                f"{n_fits} fits\n"
            )
        if n_fits == 0:
            raise ValueError(
                "No fits were performed. Was the CV iterator empty? Were there no candidates?"
            )
        contexts = SearchCallbacks.task_contexts(callback_ctx, n_fits)
        if self.progress is not None:
            self.progress.begin_round()
        search_round = SearchRound(scoring, candidates, splits, contexts)
        evaluation = Evaluation(search_round, self.continuation, self.progress)
        outcomes, modes = evaluation.run()
        self._warn_once(search_round.advice)
        _warn_or_raise_about_fit_failures(outcomes, search.error_score)
        if callable(search.scoring):
            _insert_error_scores(outcomes, search.error_score)
        if (models := evaluation.fold_models) is not None:
            self.fitted_candidates += models.fitted_candidates(len(self.candidates))
        self.candidates += candidates
        self.outcomes += outcomes
        for name, values in {**(more_results or {}), "fit_mode": modes}.items():
            self._more_results[name].extend(values)
        self.cv_results = search._format_results(
            self.candidates, self.n_splits, self.outcomes, self._more_results
        )
        return self.cv_results

    def _split(self, cv: Any) -> list[tuple[Any, Any]]:
        """Return the indices of the training and the validation fold of each split."""
        splits = list(cv.split(self.scoring.X, self.scoring.y, **self.split_params))
        check_same_splits(splits)
        if len(splits) != self.n_splits:
            raise ValueError(
                "cv.split and cv.get_n_splits return inconsistent results. Expected "
                f"{self.n_splits} splits, got {len(splits)}. Correct the splitter."
            )
        return [(_indices(train), _indices(test)) for train, test in splits]

    def _warn_once(self, message: str | None) -> None:
        # The threshold of an ensemble of candidates is chosen on rows that are not resampled.
        if message and not self._has_warned and self.scoring.search.ensemble_size is None:
            warn(message)
            self._has_warned = True


def _indices(indices_or_mask: Any) -> Any:
    """Return the indices of samples, also if they are given as a mask."""
    indices = np.asarray(indices_or_mask)
    return np.flatnonzero(indices) if indices.dtype == bool else indices
