"""What a search trains at once: candidates on a split that differ in their threshold alone."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.cross_fitting import Ensemble
from skbinary.estimators.fitting import with_choice
from skbinary.model_selection.candidates import PipelineCandidate
from skbinary.model_selection.splits import PreparedSplit
from skbinary.thresholds.objectives import parse_threshold


class Task(NamedTuple):
    """A candidate on a split, each by its number."""

    candidate: int
    split: int


@dataclass(eq=False)
class Job:
    """SplittableRows on a split that differ in their threshold alone, and are trained once.

    Parameters
    ----------
    split : PreparedSplit
    candidate : PipelineCandidate
        One of them.
    tasks : list of Task
        All of them.

    Attributes
    ----------
    classifier : BinaryClassifier
        The classifier, fitted at the end.
    ensemble : Ensemble
        The models that it consists of.
    """

    split: PreparedSplit
    candidate: PipelineCandidate
    tasks: list[Task] = field(default_factory=list)
    classifier: BinaryClassifier = field(init=False)
    ensemble: Ensemble = field(init=False)

    def finish(self) -> None:
        """Warn of what did not converge, and fit the classifier."""
        self.ensemble.warn()
        self.classifier._state = self.ensemble.state

    def classifier_with(self, threshold: Any) -> BinaryClassifier:
        """Return the fitted classifier with another threshold, chosen if that is an objective."""
        own = copy.copy(self.classifier)
        own.threshold = threshold
        objective = parse_threshold(threshold)
        if not isinstance(objective, float):
            choice = self.ensemble.choose(objective)
            own._state = with_choice(self.ensemble.state, choice, threshold, own.pos_label)
        return own
