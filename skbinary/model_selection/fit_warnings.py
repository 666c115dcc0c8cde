"""Warnings of the fits of a search, each kind of which is shown once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skbinary.model_selection.jobs import Task
from skbinary.runtime.warnings import Collected, warn


class FitWarnings:
    """Collects the warnings of the fits of a search, and shows each kind once.

    Parameters
    ----------
    candidates : sequence of dict
        Parameters of the candidates.
    n_fits : int
        Number of fits of the search.
    ignored : type of Warning or None, default=None
        A category that is not shown.
    """

    def __init__(
        self,
        candidates: Sequence[Mapping[str, Any]],
        n_fits: int,
        ignored: type[Warning] | None = None,
    ):
        self.candidates = candidates
        self.n_fits = n_fits
        self.ignored = ignored
        self._collected: list[tuple[Task, Collected]] = []

    def add(self, tasks: Sequence[Task], collected: Sequence[Collected]) -> None:
        """Add warnings that concern all of the given tasks."""
        shown = [each for each in collected if each.category is not self.ignored]
        self._collected += [(task, each) for task in tasks for each in shown]

    def show(self) -> None:
        """Warn once for each kind of warning, with the number of fits that raised it."""
        kinds: dict[Any, list[tuple[Task, Collected]]] = {}
        for task, each in sorted(self._collected, key=lambda pair: pair[0]):
            kinds.setdefault(each.kind, []).append((task, each))
        for pairs in kinds.values():
            first_task, first = pairs[0]
            n_fits = len({task for task, _ in pairs})
            parameters = self.candidates[first_task.candidate].items()
            setting = ", ".join(f"{name}={value}" for name, value in parameters)
            warn(
                f"{n_fits} of {self.n_fits} fits of this search, the first of them with "
                f"{setting or 'no parameter set'}: {first.message}",
                first.category,
            )
