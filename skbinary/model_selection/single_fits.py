"""Candidates of a search that are fitted one by one, as scikit-learn's searches fit them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.parallel import Parallel, delayed

from skbinary.checkpoints.session import current_session
from skbinary.model_selection.jobs import Task
from skbinary.model_selection.scoring import ScoringTask
from skbinary.model_selection.task_results import Result, TaskResults, task_scope
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
    search, results = scoring.search, TaskResults()
    recorded = {task: results.load(task) for task in tasks}
    unfitted = [task for task, result in recorded.items() if result is None]
    fits = (
        delayed(_fit_collecting_warnings)(
            results.name_of(task),
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
        for task in unfitted
    )
    # With a checkpoint, each result is recorded as soon as it is there.
    settings = {} if current_session() is None else {"return_as": "generator"}
    parallel = Parallel(n_jobs=search.n_jobs, pre_dispatch=search.pre_dispatch, **settings)
    for task, (result, collected) in zip(unfitted, parallel(fits), strict=True):
        results.save(task, result, collected)
        recorded[task] = result, collected
    for task, each in recorded.items():
        if each is not None:
            yield task, *each


def _callback_arguments(search: Any, contexts: Mapping[Task, Any], task: Task) -> dict[str, Any]:
    # Arguments that scikit-learn has since version 1.9, which is where contexts come from.
    return {"caller": search, "callback_ctx": contexts[task]} if task in contexts else {}


def _fit_collecting_warnings(name: str, *args: Any, **kwargs: Any) -> Result:
    with raising_interrupts(), task_scope(name), collecting() as collected:
        return _fit_and_score(*args, **kwargs), collected
