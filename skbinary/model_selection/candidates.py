"""A candidate taken apart: the steps before the classifier, and the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Real
from typing import Any

import joblib
import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skbinary.estimators.base import BinaryClassifier

# What is written out whole is told apart by that, without a hash.
_PLAIN = (str, int, float, bool, type(None), np.float64)


@dataclass(frozen=True)
class PipelineCandidate:
    """An estimator in which one of our classifiers has the last word.

    Parameters
    ----------
    estimator : estimator
        The whole: the classifier, or a pipeline, or a pipeline in a pipeline.
    classifier : BinaryClassifier
        What is trained.
    pipelines : list of (str, Pipeline)
        The pipelines around it from the outermost in, each with what precedes the names of its
        parameters.
    prefix : str
        What precedes the names of the classifier's own parameters: ``"clf__"``.
    """

    estimator: Any
    classifier: BinaryClassifier
    pipelines: Sequence[tuple[str, Pipeline]]
    prefix: str

    @cached_property
    def preparation_key(self) -> str:
        """Equal for candidates whose rows are prepared alike."""
        steps = [(pipeline.steps[:-1], pipeline.memory) for _, pipeline in self.pipelines]
        return self._key((type(self.classifier).__name__, steps))

    @cached_property
    def training_key(self) -> str:
        """Equal for classifiers that are trained alike: they differ in their thresholds at most."""
        parameters = self.classifier.get_params(deep=False)
        threshold = parameters.pop("threshold")
        if self.classifier.early_stopping and self.classifier.monitor != "loss":
            # The labels of the validation rows may decide when to stop.
            parameters["threshold"] = threshold if isinstance(threshold, Real) else None
        if all(type(value) in _PLAIN for value in parameters.values()):
            return repr((type(self.classifier).__name__, parameters))
        return self._key((type(self.classifier).__name__, parameters))

    def _key(self, thing: Any) -> str:
        try:
            return str(joblib.hash(thing))
        except Exception:  # what cannot be pickled (a lambda) is like nothing else
            return f"of {id(self)} alone"

    @cached_property
    def checked(self) -> Any:
        """The classifier, after a look at its parameters that raises if one is amiss."""
        self.classifier._validate_params()
        return self.classifier

    def divide(self, fit_params: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Give what of the fit parameters belongs to each pipeline's steps, and to the classifier.

        Returns
        -------
        of_steps : list of dict
            One for each pipeline, named as that pipeline's ``fit_transform`` wants it.
        of_classifier : dict
            Named as the classifier's ``fit`` wants it.
        """
        own = {name.removeprefix(self.prefix): value for name, value in fit_params.items()
               if name.startswith(self.prefix)}  # fmt: skip
        rest = {
            name: value for name, value in fit_params.items() if not name.startswith(self.prefix)
        }
        of_steps = []
        befores = [before for before, _ in self.pipelines] + [self.prefix]
        for before, inner in pairwise(befores):
            here = [name for name in rest if name.startswith(before)]
            outer = [name for name in here if not name.startswith(inner)]
            of_steps.append({name.removeprefix(before): rest[name] for name in outer})
        return of_steps, own

    def put_together(self, transformers: Sequence[Sequence[Any]], classifier: Any) -> Any:
        """Give the whole with fitted parts in their places."""
        whole = classifier
        for (_, pipeline), fitted in zip(
            reversed(self.pipelines), reversed(transformers), strict=True
        ):
            names = [name for name, _ in pipeline.steps]
            copied = Pipeline([*zip(names[:-1], fitted, strict=True), (names[-1], whole)])
            whole = copied.set_params(**{
                name: value
                for name, value in pipeline.get_params(deep=False).items()
                if name != "steps"
            })  # fmt: skip
        return whole


def unwrap(estimator: Any) -> PipelineCandidate | None:
    """Take an estimator apart, or give None where its last step is no classifier of ours."""
    pipelines, prefix, inner = [], "", estimator
    while type(inner) is Pipeline and inner.steps:
        pipelines.append((prefix, inner))
        prefix += f"{inner.steps[-1][0]}__"
        inner = inner.steps[-1][1]
    if not isinstance(inner, BinaryClassifier):
        return None
    return PipelineCandidate(estimator, inner, pipelines, prefix)


def can_be_batched(unwrapped: PipelineCandidate, fit_params: dict[str, Any]) -> bool:
    """Whether a candidate trains the same way in a batch of models as alone."""
    classifier: Any = unwrapped.classifier
    if type(classifier).fit is not BinaryClassifier.fit:  # a subclass with a fit of its own
        return False
    if classifier.callbacks or classifier.verbose or getattr(classifier, "_skl_callbacks", None):
        return False
    if unwrapped.pipelines and fit_params and get_config()["enable_metadata_routing"]:
        return False
    if any(each.verbose or each.transform_input for _, each in unwrapped.pipelines):
        return False
    _, own = unwrapped.divide(fit_params)
    return set(own) <= {"sample_weight", "groups"}


def prepared(
    pipeline: Pipeline, X: Any, y: Any, fit_params: dict[str, Any]
) -> tuple[list[Any], Any]:
    """Fit the steps before the last one.

    Returns
    -------
    transformers : list
        Fitted.
    Xt : object
        The rows as the last step sees them.
    """
    before = Pipeline(
        [*((name, _fresh(step)) for name, step in pipeline.steps[:-1]), ("last", "passthrough")],
        memory=pipeline.memory,
    )
    Xt = before.fit_transform(X, y, **fit_params)
    return [step for _, step in before.steps[:-1]], Xt


def transformed(transformers: Sequence[Sequence[Any]], X: Any) -> Any:
    """Give rows as the classifier sees them."""
    for steps in transformers:
        for step in steps:
            if step is not None and step != "passthrough":
                X = step.transform(X)
    return X


def _fresh(step: Any) -> Any:
    return step if step is None or isinstance(step, str) else clone(step)
