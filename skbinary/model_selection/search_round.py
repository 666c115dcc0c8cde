"""A round of a search: candidates that are evaluated on the same splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from sklearn.base import clone

from skbinary.model_selection.candidates import (
    PipelineCandidate,
    as_pipeline_candidate,
    can_be_batched,
)
from skbinary.model_selection.scoring import ScoringTask


class Task(NamedTuple):
    """Index of a candidate, and index of a split."""

    candidate: int
    split: int


@dataclass(frozen=True, eq=False)
class SearchRound:
    """Candidates that are evaluated on the same splits.

    Parameters
    ----------
    scoring : ScoringTask
    candidates : sequence of dict
        Their parameters.
    splits : sequence of (train, test)
        Indices of the samples.
    contexts : sequence or None
        The contexts of scikit-learn's callbacks, one for each task.
    """

    scoring: ScoringTask
    candidates: Sequence[dict[str, Any]]
    splits: Sequence[tuple[Any, Any]]
    contexts: Sequence[Any] | None

    @cached_property
    def tasks(self) -> list[Task]:
        """Each candidate on each split."""
        return [Task(c, s) for c in range(len(self.candidates)) for s in range(len(self.splits))]

    @cached_property
    def estimators(self) -> list[Any]:
        """The candidates, unfitted."""
        own = self.scoring.search.estimator
        return [clone(own).set_params(**clone(each, safe=False)) for each in self.candidates]

    @cached_property
    def pipelines(self) -> list[PipelineCandidate | None]:
        """The parts of each candidate that ends with a classifier of this package."""
        return [as_pipeline_candidate(each) for each in self.estimators]

    @cached_property
    def batchable(self) -> dict[int, PipelineCandidate]:
        """The candidates that can be trained in a batch of models, by their indices."""
        fit_params = self.scoring.fit_params
        parts = [(c, each) for c, each in enumerate(self.pipelines) if each is not None]
        return {c: each for c, each in parts if can_be_batched(each, fit_params)}

    @property
    def advice(self) -> str | None:
        """A warning about the candidates, which is not about their fits."""
        warnings = (each and each.threshold_warning for each in self.pipelines)
        return next((each for each in warnings if each), None)

    def context(self, task: Task) -> Any:
        """Return the context of scikit-learn's callbacks for a task, or None."""
        if self.contexts is None:
            return None
        return self.contexts[task.candidate * len(self.splits) + task.split]
