"""Candidates of a search that are fitted one by one, as scikit-learn's searches fit them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.parallel import Parallel, delayed

from skbinary.model_selection.jobs import Task
from skbinary.model_selection.scoring import ScoringTask
from skbinary.runtime.interrupts import raising_interrupts
from skbinary.runtime.warnings import Collected, collecting


def fit_singly(
    tasks: Sequence[Task],
    scoring: ScoringTask,
    candidates: Sequence[dict[str, Any]],
    splits: Sequence[tuple[Any, Any]],
    contexts: Mapping[Task, Any],
) -> Iterator[tuple[Task, dict[str, Any], list[Collected]]]:
    """Fit and score candidates one by one, in the processes that ``n_jobs`` asks for.

    Parameters
    ----------
    tasks : sequence of Task
        What to fit.
    scoring : ScoringTask
    candidates : sequence of dict
        Parameters of all candidates of the search.
    splits : sequence of (train, test)
        Indices of all splits.
    contexts : dict of Task -> object
        The contexts of scikit-learn's callbacks, if there are any.

    Yields
    ------
    task : Task
    result : dict
        In the form of scikit-learn's searches, and ``"estimator"`` if the search averages fitted
        candidates.
    collected : list of Collected
        The warnings of the fit.
    """
    search = scoring.search
    fits = (
        delayed(_fit_collecting_warnings)(
            clone(search.estimator),
            scoring.X,
            scoring.y,
            scorer=scoring.scorer,
            train=splits[task.split][0],
            test=splits[task.split][1],
            verbose=search.verbose,
            parameters=candidates[task.candidate],
            fit_params=scoring.fit_params,
            score_params=scoring.score_params,
            return_train_score=search.return_train_score,
            return_n_test_samples=True,
            return_times=True,
            return_parameters=False,
            return_estimator=search.ensemble_size is not None,
            split_progress=(task.split, len(splits)),
            candidate_progress=(task.candidate, len(candidates)),
            error_score=search.error_score,
            **_callback_arguments(search, contexts, task),
        )
        for task in tasks
    )
    parallel = Parallel(n_jobs=search.n_jobs, pre_dispatch=search.pre_dispatch)
    for task, (result, collected) in zip(tasks, parallel(fits), strict=True):
        yield task, result, collected


def _callback_arguments(search: Any, contexts: Mapping[Task, Any], task: Task) -> dict[str, Any]:
    # Arguments that scikit-learn has since version 1.9, which is where contexts come from.
    return {"caller": search, "callback_ctx": contexts[task]} if task in contexts else {}


def _fit_collecting_warnings(*args: Any, **kwargs: Any) -> tuple[dict[str, Any], list[Collected]]:
    with raising_interrupts(), collecting() as collected:
        return _fit_and_score(*args, **kwargs), collected
