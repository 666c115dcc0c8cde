"""Candidates of a search: pipelines that end with one of our classifiers, and their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Real
from typing import Any, Self

import joblib
import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from skbinary.estimators.base import BinaryClassifier

# Values of these types differ in their representation, so that they need no hash.
_PLAIN_TYPES = (str, int, float, bool, type(None), np.float64)


@dataclass(frozen=True)
class PipelineCandidate:
    """A classifier of this package, or a pipeline whose last step is one.

    Parameters
    ----------
    estimator : estimator
        The classifier, a pipeline, or nested pipelines.
    classifier : BinaryClassifier
        The classifier at its end.
    pipelines : list of (str, Pipeline)
        The pipelines around the classifier, the outermost first, each with the prefix of the names
        of its parameters.
    prefix : str
        Prefix of the names of the classifier's parameters, such as ``"clf__"``.
    """

    estimator: Any
    classifier: BinaryClassifier
    pipelines: Sequence[tuple[str, Pipeline]]
    prefix: str

    @cached_property
    def preparation_key(self) -> str:
        """A key that is equal for candidates with the same transformers."""
        steps = [(pipeline.steps[:-1], pipeline.memory) for _, pipeline in self.pipelines]
        return self._key((type(self.classifier).__name__, steps))

    @cached_property
    def training_key(self) -> str:
        """A key that is equal for classifiers that differ at most in their threshold."""
        parameters = self.classifier.get_params(deep=False)
        threshold = parameters.pop("threshold")
        if self.classifier.early_stopping and self.classifier.monitor != "loss":
            # The threshold matters to scorers of labels, which may decide when to stop.
            parameters["threshold"] = threshold if isinstance(threshold, Real) else None
        if all(type(value) in _PLAIN_TYPES for value in parameters.values()):
            return repr((type(self.classifier).__name__, parameters))
        return self._key((type(self.classifier).__name__, parameters))

    def _key(self, value: Any) -> str:
        try:
            return str(joblib.hash(value))
        except Exception:  # a value that cannot be pickled, such as a lambda
            return f"only {id(self)}"

    @cached_property
    def validated_classifier(self) -> Any:
        """The classifier. Raises an error if one of its parameters is invalid."""
        self.classifier._validate_params()
        return self.classifier

    def split_fit_params(
        self, fit_params: dict[str, Any]
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Divide fit parameters between the pipelines and the classifier.

        Returns
        -------
        for_pipelines : list of dict
            Arguments of each pipeline's ``fit_transform``.
        for_classifier : dict
            Arguments of the classifier's ``fit``.
        """
        for_classifier = _without_prefix(fit_params, self.prefix)
        rest = {k: value for k, value in fit_params.items() if not k.startswith(self.prefix)}
        for_pipelines = []
        prefixes = [prefix for prefix, _ in self.pipelines] + [self.prefix]
        for prefix, inner_prefix in pairwise(prefixes):
            outer = {k: value for k, value in rest.items() if not k.startswith(inner_prefix)}
            for_pipelines.append(_without_prefix(outer, prefix))
        return for_pipelines, for_classifier

    @property
    def has_objective(self) -> bool:
        """Whether the threshold is chosen for an objective."""
        return not isinstance(self.classifier.threshold, Real)

    @property
    def threshold_warning(self) -> str | None:
        """A warning if the threshold is chosen on resampled rows, or None."""
        steps = [step for _, pipeline in self.pipelines for _, step in pipeline.steps[:-1]]
        resamplers = [type(step).__name__ for step in steps if _resamples(step)]
        threshold = self.classifier.threshold
        if not resamplers or not self.has_objective:
            return None
        return (
            "threshold must be a number where the training rows are resampled, got "
            f"{threshold!r} after {resamplers[0]}: it is chosen for the class frequencies of the "
            "resampled rows. Set a number, and call tune_threshold with rows that are not "
            "resampled, or set class_weight instead of resampling."
        )

    def with_fitted_steps(self, transformers: Sequence[Sequence[Any]], classifier: Any) -> Any:
        """Return the whole estimator, with fitted transformers and a fitted classifier."""
        estimator = classifier
        for (_, pipeline), fitted in zip(
            reversed(self.pipelines), reversed(transformers), strict=True
        ):
            names = [name for name, _ in pipeline.steps]
            steps = [*zip(names[:-1], fitted, strict=True), (names[-1], estimator)]
            outer = type(pipeline)(steps)
            parameters = pipeline.get_params(deep=False)
            del parameters["steps"]
            estimator = outer.set_params(**parameters)
        return estimator


def _without_prefix(params: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the parameters whose names have a prefix, by their names without it."""
    return {k.removeprefix(prefix): value for k, value in params.items() if k.startswith(prefix)}


def as_pipeline_candidate(estimator: Any) -> PipelineCandidate | None:
    """Return a candidate and its parts, or None if its last step is no classifier of ours."""
    pipelines, prefix, inner = [], "", estimator
    while _is_pipeline(inner) and inner.steps:
        pipelines.append((prefix, inner))
        prefix += f"{inner.steps[-1][0]}__"
        inner = inner.steps[-1][1]
    if not isinstance(inner, BinaryClassifier):
        return None
    return PipelineCandidate(estimator, inner, pipelines, prefix)


def _is_pipeline(estimator: Any) -> bool:
    """Whether an estimator is a pipeline of scikit-learn or of imbalanced-learn."""
    kind = type(estimator)
    # Without an import: a pipeline of imbalanced-learn exists only where it has been imported.
    return kind is Pipeline or (
        issubclass(kind, Pipeline)
        and (kind.__module__, kind.__name__) == ("imblearn.pipeline", "Pipeline")
    )


def _resamples(step: Any) -> bool:
    return hasattr(step, "fit_resample") and not hasattr(step, "transform")


def can_be_batched(candidate: PipelineCandidate, fit_params: dict[str, Any]) -> bool:
    """Whether a candidate trains the same way in a batch of models as in a single fit."""
    classifier: Any = candidate.classifier
    if type(classifier).fit is not BinaryClassifier.fit:  # a subclass with a fit of its own
        return False
    if classifier.callbacks or classifier.verbose or getattr(classifier, "_skl_callbacks", None):
        return False
    if candidate.pipelines and fit_params and get_config()["enable_metadata_routing"]:
        return False
    if any(each.verbose or each.transform_input for _, each in candidate.pipelines):
        return False
    _, for_classifier = candidate.split_fit_params(fit_params)
    return set(for_classifier) <= {"sample_weight", "groups"}


class _LastStep(BaseEstimator):
    """Keeps the rows and labels that the steps before it return, some of which may resample."""

    def fit(self, X: Any, y: Any = None) -> Self:
        self.X, self.y = X, y
        return self


def fit_transformers(
    pipeline: Pipeline, X: Any, y: Any, fit_params: dict[str, Any]
) -> tuple[list[Any], Any, Any]:
    """Fit the steps of a pipeline before the last one.

    Returns
    -------
    transformers : list
        The fitted steps.
    Xt, yt : object
        The transformed and resampled data and labels.
    """
    steps = [(name, _cloned(step)) for name, step in pipeline.steps[:-1]]
    last = _LastStep()
    transforming = type(pipeline)([*steps, ("last", last)], memory=pipeline.memory)
    transforming.fit(X, y, **fit_params)
    return [step for _, step in transforming.steps[:-1]], last.X, last.y


def transform(transformers: Sequence[Sequence[Any]], X: Any) -> Any:
    """Return data transformed by the fitted steps of all pipelines, none of which resamples it."""
    for steps in transformers:
        for step in steps:
            if step is not None and step != "passthrough" and not _resamples(step):
                X = step.transform(X)
    return X


def _cloned(step: Any) -> Any:
    return step if step is None or isinstance(step, str) else clone(step)
