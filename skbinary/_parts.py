"""The models that a classifier takes: members, and those whose scores a threshold is chosen on."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skbinary import _device, _inputs
from skbinary._cuts import Evidence, choose
from skbinary._objectives import Objective, parse_threshold
from skbinary._prepare import Data, Fold, Split, Table, cross_folds, unweighted_problem
from skbinary._problem import Problem
from skbinary._settled import Training, draw_seed
from skbinary._stacking import Model, SharedRows, plan_model, train_models
from skbinary._training.loop import complaint
from skbinary._twins import count_different

# Rows on which a threshold is chosen, where no others were held out.
_THRESHOLD_FOLDS = 5


@dataclass
class Parts:
    """A classifier and the models that it takes, in training or after it.

    Parameters
    ----------
    name : object
        What the caller knows it by.
    classifier : CrossFitted
        With more than one member a ``TorchMLPClassifier``, which knows how to be one of them.
    training : Training
        What its fit has settled.
    rows : SharedRows
        What it is fitted on.
    members : list of Model
        What becomes the classifier; one of them alone is it.
    folds : list of Fold
        What each member, or each model in `cross`, leaves out. Empty where none was cut off.
    cross : list of Model
        Models that score the rows that they leave out, and are then forgotten.
    split : Split or None
        Which rows a single model has validated on.
    """

    name: Any
    classifier: Any
    training: Training
    rows: SharedRows
    members: list[Model]
    folds: list[Fold] = field(default_factory=list)
    cross: list[Model] = field(default_factory=list)
    split: Split | None = None

    @property
    def models(self) -> list[Model]:
        """All that is to be trained."""
        return self.members + self.cross

    @property
    def error(self) -> Exception | None:
        """Why it could not be fitted."""
        return next((model.error for model in self.models if model.error is not None), None)

    @property
    def is_left(self) -> bool:
        """Whether a stack has left one of the models to be fitted alone."""
        return any(model.is_left for model in self.models)

    @property
    def seconds(self) -> float:
        """The share of its models in the time of their stacks."""
        return sum(model.seconds for model in self.models)

    def train(self) -> None:
        """Train what is to be trained, here and now."""
        for model in chain.from_iterable(train_models(self.models, warns=False, spreads=True)):
            if model.error is not None:
                raise model.error
        for model in self.models:
            if model.is_left:
                model.classifier._train_one(
                    model.training, goes_on=False, n_epochs=model.plan.max_iter
                )

    def finish(self) -> None:
        """Make the classifier of its members."""
        if len(self.members) == 1:
            return
        complaints = [complaint(m.result, m.plan) for m in self.members if m.result is not None]
        unfinished = [text for text in complaints if text is not None]
        if unfinished:
            warnings.warn(
                f"{len(unfinished)} of {len(self.members)} members: {unfinished[0]}",
                ConvergenceWarning,
                stacklevel=7,
            )
        fitted = [model.classifier for model in self.members]
        common: dict[str, Any] = {
            "classes_": self.training.data.classes,
            "device_": str(self.training.device),
            "n_members_": len(fitted),
            "history_": [each.history_ for each in fitted],
            "best_epoch_": [each.best_epoch_ for each in fitted],
            "stop_reason_": [each.stop_reason_ for each in fitted],
            "threshold_": self.training.threshold,
            "_threshold_for": self.classifier.threshold,
        }
        self.classifier._become(common | self.classifier._as_one(fitted))
        if self.folds:
            self.classifier.__dict__.update(self._out_of_fold())

    def deciding(self, threshold: Any) -> Any:
        """Give the fitted classifier with another threshold, chosen if that is what it says."""
        own = copy.copy(self.classifier)
        own.threshold = threshold
        objective = parse_threshold(threshold)
        if not isinstance(objective, float):
            self.decide(own, objective)
        return own

    def decide(self, classifier: Any, objective: Objective) -> None:
        """Choose the threshold of the classifier, or of a copy of it."""
        evidence = self.evidence
        if evidence is not None:
            classifier._keep_choice(choose(objective, evidence))
            return
        warnings.warn(
            "Choosing a threshold must have two different rows of each class, one to train on and "
            "one to choose on. Got one of the rarer class instead, so the threshold is 0.5. Pass "
            "X_val and y_val, or set a number.",
            UserWarning,
            stacklevel=6,
        )
        classifier.threshold_, classifier._threshold_for = 0.5, classifier.threshold

    def _out_of_fold(self) -> dict[str, Any]:
        """Give the logit of each row by the member that left it out, and their loss."""
        data = self.rows.data
        table = data.train
        logits = np.empty(len(table.y))
        seen_by_none = np.ones(len(table.y), dtype=bool)
        for where, logit in self._scored():
            logits[where], seen_by_none[where] = logit, False
        if seen_by_none.any():  # rows without weight
            logits[seen_by_none] = self.classifier._logits(table.X[seen_by_none])
        target = _inputs.encode(table.y, data.classes)
        each = np.logaddexp(0, logits) - target * logits
        loss = float(np.average(each, weights=table.sample_weight))
        return {"oof_decision_function_": logits, "oof_loss_": loss}

    def _scored(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.floating]]]:
        """Give positions of rows, and their logits by the model whose own they are."""
        models = self.cross or self.members
        for fold, model in zip(self.folds, models, strict=True):
            yield fold.held_out, model.classifier._logits(self.rows.data.train.X[fold.held_out])

    @cached_property
    def evidence(self) -> Evidence | None:
        """Rows that did not train the model that has scored them, if there are any."""
        data = self.rows.data
        if self.folds:
            where, logits = (np.concatenate(each) for each in zip(*self._scored(), strict=True))
            held = Table(None, data.train.y[where], _of(data.train.sample_weight, where))
        elif data.validation is not None:
            held = data.validation
            logits = self.classifier._logits(held.X)
        else:
            if self.split is None or self.split.held_out is None:
                return None
            where = self.split.held_out
            held = Table(None, data.train.y[where], _of(data.train.sample_weight, where))
            logits = self.classifier._logits(data.train.X[where])
        target = _inputs.encode(held.y, data.classes)
        return Evidence(logits, target, held.sample_weight, data.classes)


def plan_parts(name: Any, classifier: Any, rows: SharedRows, *, decides: bool) -> Parts | None:
    """Settle which models a classifier takes, or give None where they cannot be in stacks.

    Parameters
    ----------
    name : object
        What the caller knows it by.
    classifier : CrossFitted
        Its parameters are checked. Not fitted: it is the one that will be.
    rows : SharedRows
        What it is trained on.
    decides : bool
        Whether a threshold shall be chosen on rows that were left out.
    """
    model = None
    if classifier.n_members == 1:
        model = plan_model(None, classifier, rows)
    else:
        classifier.__dict__.update(rows.features)
        training = classifier._settle(rows.data)
        n_members = classifier._count_members(training, rows)
        if not training.in_batches:
            return None
        if n_members > 1:
            return plan_members(name, classifier, rows, training, n_members)
        model = plan_model(None, classifier, rows)
    if model is None:
        return None
    parts = Parts(name, classifier, model.training, rows, [model], split=model.split)
    if decides and model.split.problem.validation is None:
        parts.cross = plan_cross(parts)
    return parts


def plan_members(
    name: Any,
    classifier: Any,
    rows: SharedRows,
    training: Training,
    n_members: int,
    *,
    goes_on: bool = False,
) -> Parts:
    """Plan members, each of which leaves out its own fold, or all of which share X_val."""
    state = training.random_state
    folds: list[Fold] = []
    if training.data.validation is None:
        folds = _folds(classifier, rows, training, n_members, draw_seed(state))
    bare = _bare(classifier, rows)
    patience = classifier._patience(training, classifier.max_iter, is_member=True)
    members = []
    for k in range(n_members):
        member = _lone(classifier, draw_seed(state), early_stopping=classifier.early_stopping)
        member.n_iter_no_change = patience
        if goes_on:
            member.__dict__.update(classifier._member_of(k))
        model = plan_model(
            name, member, bare, fold=folds[k] if folds else None, goes_on=goes_on, may_be_alone=True
        )
        members += [] if model is None else [model]
    return Parts(name, classifier, training, rows, members, folds)


def plan_cross(parts: Parts, *, may_be_alone: bool = False) -> list[Model]:
    """Plan models that leave out a fifth of the rows each."""
    classifier, rows, training = parts.classifier, parts.rows, parts.training
    # The fit itself goes the way that it goes with a number as threshold, and where nothing about
    # it is random, its threshold is not, either.
    if training.before is None:
        given = 0 if classifier.random_state is None else classifier.random_state
        state = copy.deepcopy(check_random_state(given))
    else:
        state = np.random.RandomState()
        state.set_state(training.before)
    n_folds = min(_THRESHOLD_FOLDS, *count_different(own_problem(classifier, rows, training)[0]))
    if n_folds < 2:
        return []
    parts.folds = _folds(classifier, rows, training, n_folds, draw_seed(state))
    bare = _bare(classifier, rows)
    models = []
    for fold in parts.folds:
        lone = _lone(classifier, draw_seed(state), early_stopping=False)
        model = plan_model(parts.name, lone, bare, fold=fold, may_be_alone=may_be_alone)
        models += [] if model is None else [model]
    return models


def _folds(
    classifier: Any, rows: SharedRows, training: Training, n_folds: int, seed: int
) -> list[Fold]:
    return cross_folds(*own_problem(classifier, rows, training), n_folds, seed)


def own_problem(
    classifier: Any, rows: SharedRows, training: Training
) -> tuple[Problem, NDArray[np.intp]]:
    """Give the rows that have a weight, and where they are among all rows."""
    data, device = rows.data, training.device
    dtype = torch.float32 if training.in_batches else _device.full_precision(device)
    where = _weighty(classifier, data, rows.chosen)
    problem = unweighted_problem(data, device, dtype).view(torch.as_tensor(where, device=device))
    if data.train.sample_weight is not None:
        weight, _ = _inputs.scale_weights(data.train.sample_weight[where])
        weight = np.maximum(weight, torch.finfo(dtype).tiny)
        problem = replace(problem, weight=_inputs.as_tensor(weight).to(problem.target))
    return problem, where


def _weighty(
    classifier: Any, data: Data, chosen: NDArray[np.intp] | None = None
) -> NDArray[np.intp]:
    """Give the positions of the rows that have a weight: a row without is no row."""
    table = data.train
    where = np.arange(len(table.y)) if chosen is None else chosen
    given = _of(table.sample_weight, where)
    of_class = _inputs.weigh_classes(classifier.class_weight, data.classes, table.y[where], given)
    each = of_class[_encoded(data, where)]
    # The product of two tiny weights may be rounded to zero.
    return where[(each > 0) if given is None else (each > 0) & (given > 0)]


def _encoded(data: Data, where: NDArray[np.intp]) -> NDArray[np.intp]:
    encoded: NDArray[np.intp] = _inputs.encode(data.train.y[where], data.classes).astype(np.intp)
    return encoded


def _of(weight: NDArray[np.float64] | None, where: NDArray[np.intp]) -> Any:
    return None if weight is None else weight[where]


def _bare(classifier: Any, rows: SharedRows) -> SharedRows:
    """Give the rows for models that know the count of the features, and nothing else of them."""
    data = rows.data if rows.data.made is not None else replace(rows.data, made={})
    return replace(rows, data=data, features={"n_features_in_": classifier.n_features_in_})


def _lone(classifier: Any, seed: int, *, early_stopping: bool | str) -> Any:
    """Give a classifier of one model, and a number as its threshold."""
    plain: dict[str, Any] = {
        "n_members": 1,
        "random_state": seed,
        "early_stopping": early_stopping,
        "callbacks": None,
        "verbose": 0,
        "warm_start": False,
    }
    if not isinstance(classifier.threshold, float | int):
        plain["threshold"] = 0.5
    if not early_stopping:
        plain["monitor"] = "loss"
    known = classifier.get_params(deep=False)
    lone = clone(classifier)
    return lone.set_params(**{name: value for name, value in plain.items() if name in known})
