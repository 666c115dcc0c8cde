"""From the fitted candidates of a search to the ensemble of the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import process_routing

from skbinary.data.labels import check_labels, encode, find_classes
from skbinary.data.weights import (
    check_weight,
    compute_class_weights,
    rescale_extreme_weights,
    weigh_rows,
)
from skbinary.estimators.calibration import fit_temperature
from skbinary.model_selection.candidates import as_pipeline_candidate
from skbinary.model_selection.ensemble_selection import Selection, mean_logit, select_candidates
from skbinary.model_selection.fold_models import CandidateModels
from skbinary.model_selection.scoring import ScoringTask
from skbinary.model_selection.search_ensemble import SearchEnsemble
from skbinary.runtime.warnings import warn
from skbinary.thresholds.objectives import parse_threshold


def check_averaging(search: Any, X: Any, y: Any) -> None:
    """Check before training that a search can average its candidates.

    Raises
    ------
    ValueError
        If it does not choose candidates, or if they are no binary classifiers.
    """
    if not search.refit:
        raise ValueError(
            f"refit must not be False with ensemble_size={search.ensemble_size}, got "
            f"refit={search.refit!r}. Set refit=True, or ensemble_size=None."
        )
    if not is_classifier(search.estimator):
        raise ValueError(
            "ensemble_size must be None unless the estimator is a classifier, got "
            f"{type(search.estimator).__name__}. Set ensemble_size=None."
        )
    find_classes(type(search.estimator).__name__, check_labels(search, X, y))


@dataclass(frozen=True)
class EnsembleFit:
    """The choice of candidates, their temperature and the threshold.

    Parameters
    ----------
    scoring : ScoringTask
    candidates : sequence of CandidateModels
        All candidates that can be averaged.
    """

    scoring: ScoringTask
    candidates: Sequence[CandidateModels]

    @cached_property
    def y(self) -> NDArray[np.generic]:
        """The labels."""
        return check_labels(self.scoring.search, self.scoring.X, self.scoring.y)

    @cached_property
    def classes(self) -> NDArray[np.generic]:
        """The labels of both classes, sorted."""
        return np.unique(self.y)

    @cached_property
    def is_scored(self) -> NDArray[np.bool_]:
        """Whether each row has a logit of every candidate."""
        return np.logical_and.reduce([~np.isnan(each.logits) for each in self.candidates])

    @cached_property
    def sample_weight(self) -> NDArray[np.float64] | None:
        """The weights that the classifier was fitted with."""
        params = _last_fit_params(self.scoring.search.estimator, self.scoring.fit_params)
        weight = check_weight(params.get("sample_weight"), self.y)
        return None if weight is None else rescale_extreme_weights(weight)

    @cached_property
    def weight(self) -> NDArray[np.float64]:
        """The weight of each row in the loss that the candidates minimize, 0 without a logit.

        Class weights count if all candidates have the same. Without them a loss would favour
        candidates that are worse at what they were trained for, and the temperature would make up
        for the shift that class weights bring about.
        """
        own = [getattr(_last_step(c.estimators[0]), "class_weight", None) for c in self.candidates]
        shared = own[0] if all(type(w) is type(own[0]) and w == own[0] for w in own) else None
        factors = compute_class_weights(shared, self.classes, self.y, self.sample_weight)
        weight, _ = weigh_rows(factors, self.target, self.sample_weight)
        return weight * self.is_scored

    @cached_property
    def target(self) -> NDArray[np.float64]:
        """1 for the second class, else 0."""
        return encode(self.y, self.classes)

    @cached_property
    def selection(self) -> Selection:
        """How often each candidate is in the ensemble, and the losses of the rounds.

        Raises
        ------
        ValueError
            If no candidate was fitted on all splits, or no row is scored.
        """
        size = self.scoring.search.ensemble_size
        if not self.candidates:
            raise ValueError(
                f"ensemble_size={size} requires a candidate that was fitted on all splits, got "
                "none. Correct the candidates, or set ensemble_size=None."
            )
        rows = self.is_scored & (self.weight > 0)
        if not rows.any():
            raise ValueError(
                f"ensemble_size={size} requires rows of positive weight that all candidates are "
                "validated on, got none. Use one splitter for all candidates."
            )
        logits = np.stack([each.logits[rows] for each in self.candidates])
        return select_candidates(logits, self.target[rows], self.weight[rows], size)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """The positions of the chosen candidates, those of the largest weight first."""
        counts = self.selection.counts
        order = np.argsort(-counts, kind="stable")
        return order[: np.count_nonzero(counts)]

    def table(self, params: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the candidates of the ensemble, as the columns of a table.

        Parameters
        ----------
        params : sequence of dict
            The parameters of all candidates of the search.
        """
        indices = [self.candidates[k].index for k in self.order]
        return {
            "candidate": np.array(indices),
            "weight": self._weights,
            "params": [params[index] for index in indices],
        }

    def run(self) -> SearchEnsemble:
        """Choose candidates, calibrate their mean, and choose the threshold."""
        chosen = [self.candidates[k] for k in self.order]
        own = as_pipeline_candidate(self.scoring.search.estimator)
        classifier: Any = None if own is None else own.classifier
        ensemble = SearchEnsemble()
        if classifier is not None:
            ensemble.set_params(threshold=classifier.threshold, pos_label=classifier.pos_label)
        ensemble.estimators_, ensemble.weights_ = [c.estimators for c in chosen], self._weights
        ensemble.classes_ = self.classes
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(chosen[0].estimators[0], name):
                setattr(ensemble, name, getattr(chosen[0].estimators[0], name))
        logits = mean_logit((w, c.logits) for w, c in zip(self._weights, chosen, strict=True))
        calibrates = getattr(classifier, "calibrate", True) is not False
        temperature = fit_temperature(logits, self.target, self.weight) if calibrates else 1.0
        ensemble.temperature_ = temperature
        ensemble.oof_decision_function_ = logits = logits / temperature
        ensemble.oof_loss_ = self._loss(logits)
        self._set_threshold(ensemble)
        return ensemble

    @property
    def _weights(self) -> NDArray[np.float64]:
        counts = self.selection.counts[self.order]
        weights: NDArray[np.float64] = counts / counts.sum()
        return weights

    def _loss(self, logits: NDArray[np.float64]) -> float:
        rows = ~np.isnan(logits)
        losses = np.logaddexp(0, np.where(self.target > 0, -logits, logits)[rows])
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return float(np.average(losses, weights=weight))

    def _set_threshold(self, ensemble: SearchEnsemble) -> None:
        """Set the threshold, chosen for the objective of the search's classifier if it has one."""
        ensemble._threshold_set_for = (ensemble.threshold, ensemble.pos_label)
        objective = parse_threshold(ensemble.threshold)
        if isinstance(objective, float):
            ensemble.threshold_ = objective
            return
        logits, weight = ensemble.oof_decision_function_, self.sample_weight
        rows = ~np.isnan(logits)
        counted = rows if weight is None else rows & (weight > 0)
        if len(np.unique(self.y[counted])) < 2:
            warn(
                "To choose a threshold, the validation folds must have rows of both classes, got "
                "one class. The threshold is 0.5. Use another splitter, or set threshold to a "
                "number."
            )
            ensemble.threshold_ = 0.5
            return
        weight = None if weight is None else weight[rows]
        ensemble._choose_threshold(objective, logits[rows], self.y[rows], weight)


def _last_fit_params(estimator: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``fit`` that reach the last step of a pipeline."""
    while isinstance(estimator, Pipeline) and estimator.steps and params:
        name, last = estimator.steps[-1]
        if get_config()["enable_metadata_routing"]:
            params = process_routing(estimator, "fit", **params)[name].fit
        else:
            own = f"{name}__"
            params = {k.removeprefix(own): v for k, v in params.items() if k.startswith(own)}
        estimator = last
    return params


def _last_step(estimator: Any) -> Any:
    while isinstance(estimator, Pipeline) and estimator.steps:
        estimator = estimator.steps[-1][1]
    return estimator
