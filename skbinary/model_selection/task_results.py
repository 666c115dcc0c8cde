"""Results of candidates that are fitted one by one, in the checkpoint of a search."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Real
from typing import Any

import numpy as np
from sklearn import exceptions

from skbinary.checkpoints.session import current_session
from skbinary.model_selection.search_round import Task
from skbinary.runtime.warnings import Collected

Result = tuple[dict[str, Any], list[Collected]]


def task_scope(name: str) -> AbstractContextManager[None]:
    """Return a context in which a candidate is fitted, whose trainings are recorded on their own.

    Parameters
    ----------
    name : str
        What ``TaskResults.name_of`` returns.
    """
    session = current_session()
    return nullcontext() if session is None else session.scope(name)


class TaskResults:
    """The results of the candidates of one round that are fitted one by one.

    Without a checkpoint there are none.
    """

    def __init__(self) -> None:
        self._session = current_session()
        self._key = "" if self._session is None else self._session.next_key()

    def name_of(self, task: Task) -> str:
        """Return a name for a candidate on a split, which no other one of the search has."""
        return f"{self._key}:{task.candidate},{task.split}"

    def load(self, task: Task) -> Result | None:
        """Return the result of a candidate, and the warnings of its fit, if they were recorded."""
        state = None if self._session is None else self._session.load(self.name_of(task))
        if state is None:
            return None
        collected = [Collected(text, _category(name)) for text, name in state["warnings"]]
        return dict(state["result"]), collected

    def save(self, task: Task, result: Mapping[str, Any], collected: Sequence[Collected]) -> None:
        """Record the result of a candidate if it consists of numbers, as most do."""
        if self._session is None or not _is_plain(result):
            return
        warnings = [[each.message, each.category.__name__] for each in collected]
        name = self.name_of(task)
        self._session.forget(f"{name}/")  # its trainings
        self._session.save(name, {"result": dict(result), "warnings": warnings})


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(each) for name, each in value.items())
    return value is None or isinstance(value, str | Real | np.bool_)


def _category(name: str) -> type[Warning]:
    """Return a category of warnings by its name, of Python or of scikit-learn."""
    found = getattr(builtins, name, getattr(exceptions, name, UserWarning))
    return found if isinstance(found, type) and issubclass(found, Warning) else UserWarning
