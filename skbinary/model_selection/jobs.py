"""Jobs of a search: candidates on a split that differ only in their threshold."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.cross_fitting import Ensemble
from skbinary.estimators.fitting import with_choice
from skbinary.estimators.model_fit import ModelFit
from skbinary.estimators.recipe import Recipe
from skbinary.model_selection.candidates import PipelineCandidate
from skbinary.model_selection.search_round import Task
from skbinary.model_selection.splits import PreparedSplit, SharedRows
from skbinary.thresholds.objectives import parse_threshold


@dataclass(eq=False)
class Job:
    """Candidates on a split that differ only in their threshold, and are trained once.

    Parameters
    ----------
    split : PreparedSplit
    candidate : PipelineCandidate
        One of the candidates.
    tasks : dict of Task -> PipelineCandidate
        All candidates on the split.
    earlier : Job or None
        The job of an earlier round of the search, whose models go on.

    Attributes
    ----------
    classifier : BinaryClassifier
        The classifier, fitted after training.
    recipe : Recipe
        What its parameters mean to the solvers.
    rows : SharedRows
        The rows that it is trained on.
    epoch_models : list of ModelFit
        Models that choose the number of epochs.
    ensemble : Ensemble
        The models that are trained for it.
    """

    split: PreparedSplit
    candidate: PipelineCandidate
    tasks: dict[Task, PipelineCandidate] = field(default_factory=dict)
    earlier: Job | None = None
    classifier: BinaryClassifier = field(init=False)
    recipe: Recipe = field(init=False)
    rows: SharedRows = field(init=False)
    epoch_models: list[ModelFit] = field(default_factory=list)
    ensemble: Ensemble = field(init=False)

    @property
    def chooses_threshold(self) -> bool:
        """Whether the threshold of a candidate is chosen for an objective."""
        return any(each.has_objective for each in self.tasks.values())

    def finish(self) -> None:
        """Warn if models did not converge, and make the classifier a fitted one."""
        self.ensemble.warn()
        self.classifier._state = self.ensemble.state

    def classifier_with(self, threshold: Any) -> BinaryClassifier:
        """Return the fitted classifier with another threshold, chosen if it is an objective."""
        classifier = copy.copy(self.classifier)
        classifier.threshold = threshold
        objective = parse_threshold(threshold)
        if not isinstance(objective, float):
            choice = self.ensemble.choose(objective)
            classifier._state = with_choice(
                self.ensemble.state, choice, threshold, classifier.pos_label
            )
        return classifier
