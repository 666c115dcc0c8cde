"""Candidates of a search that are fitted one by one, as scikit-learn's searches fit them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.parallel import Parallel, delayed

from skbinary.checkpoints.session import current_session
from skbinary.model_selection.search_round import SearchRound, Task
from skbinary.model_selection.task_results import Result, TaskResults, task_scope
from skbinary.runtime.interrupts import raising_interrupts
from skbinary.runtime.warnings import Collected, collecting


def fit_singly(
    search_round: SearchRound, tasks: Sequence[Task]
) -> Iterator[tuple[Task, dict[str, Any], list[Collected]]]:
    """Fit and score candidates one by one, in the processes that ``n_jobs`` asks for.

    Parameters
    ----------
    search_round : SearchRound
    tasks : sequence of Task
        Those of the round that are fitted one by one.

    Yields
    ------
    task : Task
    result : dict
        In the form of scikit-learn's searches, and ``"estimator"`` if the search averages fitted
        candidates.
    collected : list of Collected
        The warnings of the fit.
    """
    search, results = search_round.scoring.search, TaskResults()
    recorded = {task: results.load(task) for task in tasks}
    unfitted = [task for task, result in recorded.items() if result is None]
    fits = (
        delayed(_fit_collecting_warnings)(results.name_of(task), **_arguments(search_round, task))
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


def _arguments(search_round: SearchRound, task: Task) -> dict[str, Any]:
    """Return the arguments of scikit-learn's ``_fit_and_score`` for a task."""
    scoring, search = search_round.scoring, search_round.scoring.search
    train, test = search_round.splits[task.split]
    context = search_round.context(task)
    # Arguments that scikit-learn has since version 1.9, which is where contexts come from.
    callbacks = {} if context is None else {"caller": search, "callback_ctx": context}
    return {
        "estimator": clone(search.estimator),
        "X": scoring.X,
        "y": scoring.y,
        "scorer": scoring.scorer,
        "train": train,
        "test": test,
        "verbose": search.verbose,
        "parameters": search_round.candidates[task.candidate],
        "fit_params": scoring.fit_params,
        "score_params": scoring.score_params,
        "return_train_score": search.return_train_score,
        "return_n_test_samples": True,
        "return_times": True,
        "return_parameters": False,
        "return_estimator": search.ensemble_size is not None,
        "split_progress": (task.split, len(search_round.splits)),
        "candidate_progress": (task.candidate, len(search_round.candidates)),
        "error_score": search.error_score,
        **callbacks,
    }


def _fit_collecting_warnings(name: str, **arguments: Any) -> Result:
    with raising_interrupts(), task_scope(name), collecting() as collected:
        return _fit_and_score(**arguments), collected
