"""The progress of a search: models trained in batches, rows a second, and the time left."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.utils.validation import _num_samples

from skbinary.callbacks.progress import FitProgress
from skbinary.estimators.observers import follow_models
from skbinary.model_selection.jobs import Job
from skbinary.model_selection.scoring import ScoringTask


class SearchProgress:
    """Prints a line every ten seconds while a search trains models in batches.

    The time left is that of all splits of the round, and of the last fit on all rows. Candidates
    that are fitted one by one are not counted.

    Parameters
    ----------
    scoring : ScoringTask
        What the search does.
    """

    def __init__(self, scoring: ScoringTask):
        self._fit = FitProgress(prints=True)
        search = scoring.search
        self._refits = bool(search.refit) and search.ensemble_size is None
        self._n_samples = _num_samples(scoring.X)
        self._max_iter = 0
        self._n_rows_before = 0

    def begin_round(self) -> None:
        """Begin another round, of which no split has been planned."""
        self._n_rows_before = self._fit.n_planned_rows

    def plan(self, jobs: Sequence[Job], n_planned_splits: int, n_splits: int) -> None:
        """Count the models of jobs that have been planned.

        Parameters
        ----------
        jobs : sequence of Job
            The models that choose the number of epochs are planned, and then those of the ensemble.
        n_planned_splits : int
            Number of splits of which jobs have been planned.
        n_splits : int
            Number of all splits.
        """
        for job in jobs:
            ensemble = getattr(job, "ensemble", None)
            models = job.epoch_models if ensemble is None else ensemble.models
            new = [each for each in models if each.result is None]
            follow_models(self._fit, new)
            self._max_iter = max([self._max_iter, *(each.criteria.max_iter for each in new)])
        planned = self._fit.n_planned_rows - self._n_rows_before
        unplanned = planned * (n_splits / n_planned_splits - 1)
        self._fit.expect(unplanned + self._refits * self._n_samples * self._max_iter)
