"""Results and warnings of the fits of a round of a search."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from skbinary.callbacks.sklearn import format_task_line
from skbinary.model_selection.search_round import SearchRound, Task
from skbinary.runtime.warnings import Collected, collecting, warn

T = TypeVar("T")


class FitResults:
    """Keeps the result of each fit, and shows each kind of warning once.

    Parameters
    ----------
    search_round : SearchRound
        What is fitted.
    ignored : type of Warning or None, default=None
        A category of warnings that is not shown.

    Attributes
    ----------
    by_task : dict of Task -> dict
        The results so far, in the form of scikit-learn's searches.
    """

    def __init__(self, search_round: SearchRound, ignored: type[Warning] | None = None):
        self.by_task: dict[Task, dict[str, Any]] = {}
        self._round = search_round
        self._ignored = ignored
        self._warnings: list[tuple[Task, Collected]] = []

    def keep(self, task: Task, result: dict[str, Any]) -> None:
        """Keep the result of a task, and print it if the search is verbose."""
        candidates, splits = self._round.candidates, self._round.splits
        result["n_test_samples"] = len(splits[task.split][1])
        self.by_task[task] = result
        line = format_task_line(
            self._round.scoring.search.verbose,
            candidates[task.candidate],
            result,
            split=f"{task.split + 1}/{len(splits)}",
            candidate=f"{task.candidate + 1}/{len(candidates)}",
        )
        sys.stdout.write(line)

    def keep_failure(self, tasks: Collection[Task], error: Exception, seconds: float = 0.0) -> None:
        """Keep the result of tasks that failed, or raise if the search says so."""
        for task in tasks:
            self.keep(task, self._round.scoring.failure(error, seconds))

    def attempt(
        self, tasks: Collection[Task], function: Callable[[], T], seconds: float = 0.0
    ) -> T | None:
        """Call a function, and return None if it fails, with which its tasks fail."""
        with collecting() as collected:
            try:
                returned = function()
            except Exception as error:
                self.keep_failure(tasks, error, seconds)
                return None
        self.add_warnings(tasks, collected)
        return returned

    def add_warnings(self, tasks: Collection[Task], collected: Sequence[Collected]) -> None:
        """Add warnings that concern all of the given tasks."""
        shown = [each for each in collected if each.category is not self._ignored]
        self._warnings += [(task, each) for task in tasks for each in shown]

    def show_warnings(self) -> None:
        """Warn once for each kind of warning, with the number of fits that raised it."""
        kinds: dict[Any, list[tuple[Task, Collected]]] = {}
        for task, each in sorted(self._warnings, key=lambda pair: pair[0]):
            kinds.setdefault(each.kind, []).append((task, each))
        for pairs in kinds.values():
            first_task, first = pairs[0]
            n_fits = len({task for task, _ in pairs})
            parameters = self._round.candidates[first_task.candidate].items()
            setting = ", ".join(f"{name}={value}" for name, value in parameters)
            warn(
                f"{n_fits} of {len(self._round.tasks)} fits of this search, the first of them "
                f"with {setting or 'no parameter set'}: {first.message}",
                first.category,
            )
