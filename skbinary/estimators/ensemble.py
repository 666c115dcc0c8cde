"""The models that a classifier takes: members, and those whose scores a threshold is chosen on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skbinary.data.preparation import Candidates, Fold, Split, Table
from skbinary.data.validation import encode, of_ordinary_size
from skbinary.estimators.batching import Model, SharedRows, plan_model, train_models
from skbinary.estimators.fit_context import FitContext, draw_seed
from skbinary.runtime.warnings import warn
from skbinary.solvers.loop import convergence_warning
from skbinary.thresholds.curve import ThresholdData, choose
from skbinary.thresholds.objectives import Objective, parse_threshold

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
    training : FitContext
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
    unscored : list of int
        Positions of the rows that were held out by models that were not trained.
    """

    name: Any
    classifier: Any
    training: FitContext
    rows: SharedRows
    members: list[Model]
    folds: list[Fold] = field(default_factory=list)
    cross: list[Model] = field(default_factory=list)
    split: Split | None = None
    unscored: list[int] = field(default_factory=list)

    @property
    def models(self) -> list[Model]:
        """All that is to be trained."""
        return self.members + self.cross

    @property
    def needs_folds(self) -> bool:
        """Whether more models must be trained, to score rows that they are not trained on."""
        validated = self.split is not None and self.split.dataset.validation is not None
        return not (validated or self.folds or self.members)

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
        """Train all models that are to be trained.

        Raises
        ------
        KeyboardInterrupt
            When the training is interrupted. Models then keep the weights so far.
        """
        with closing(train_models(self.models, spreads=True)) as stacks:
            for model in chain.from_iterable(stacks):
                if model.error is not None:
                    raise model.error
        for model in self.models:
            if model.is_left:
                _, model.result = model.classifier._train_one(
                    model.training, goes_on=False, n_epochs=model.criteria.max_iter
                )
                if model.is_interrupted:
                    raise KeyboardInterrupt

    def keep_trained(self) -> None:
        """Keep the members that have weights after an interrupt.

        Raises
        ------
        KeyboardInterrupt
            If no member has weights.
        """
        kept = [i for i, member in enumerate(self.members) if member.result is not None]
        if not kept:
            raise KeyboardInterrupt
        warn(
            "Training was interrupted by the user. The weights so far of "
            f"{len(kept)} of {len(self.members)} ensemble members are kept."
        )
        if self.folds:
            missing = [fold for i, fold in enumerate(self.folds) if i not in kept]
            self.unscored = [where for fold in missing for where in fold.held_out.tolist()]
            self.folds = [self.folds[i] for i in kept]
        self.members = [self.members[i] for i in kept]

    def warn(self) -> None:
        """Warn of members that did not converge."""
        if len(self.members) == 1:
            self.members[0].warn()
            return
        ended = [(m.result, m.criteria) for m in self.members if m.result is not None]
        unfinished = [each for each in ended if convergence_warning(*each) is not None]
        if unfinished:
            whose = f" for {len(unfinished)} of {len(self.members)} ensemble members"
            warn(str(convergence_warning(*unfinished[0], whose)), ConvergenceWarning)

    def finish(self) -> None:
        """Make the classifier of its members."""
        if len(self.members) == 1 and self.members[0].classifier is self.classifier:
            return
        fitted = [model.classifier for model in self.members]
        if len(fitted) == 1 and self.members[0].result is not None:
            self.classifier._take_over(self.members[0].result, self.members[0].training)
        else:
            self._unite(fitted)
        if self.folds:
            self.classifier.__dict__.update(self._out_of_fold())

    def _unite(self, fitted: list[Any]) -> None:
        common: dict[str, Any] = {
            "classes_": self.training.data.classes,
            "device_": str(self.training.device),
            "n_members_": len(fitted),
            "history_": [each.history_ for each in fitted],
            "best_epoch_": [each.best_epoch_ for each in fitted],
            "stop_reason_": [each.stop_reason_ for each in fitted],
            "threshold_": self.training.threshold,
            "_threshold_for": self.classifier.threshold,
            "_pos_label_for": self.classifier.pos_label,
        }
        self.classifier._become(common | self.classifier._as_one(fitted))

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
        threshold_data = self.threshold_data
        if threshold_data is not None and threshold_data.has_both_classes:
            classifier._keep_choice(choose(objective, threshold_data))
            return
        fewest = candidates_of(self.classifier, self.rows).most_folds()
        what = "rows" if self.rows.data.groups is None else "groups with a row"
        got = f"{fewest} of the rarer class" if fewest < 2 else "one class where rows are held out"
        warn(
            f"Choosing a threshold must have two {what} of each class, one to train on and one to "
            f"choose on, got {got}, so the threshold is 0.5. Pass X_val and y_val, or set "
            "a number."
        )
        classifier._keep_threshold(0.5)

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
        logits[self.unscored] = np.nan
        target = encode(table.y, data.classes)
        known = ~np.isnan(logits)
        each = np.logaddexp(0, logits[known]) - (target * logits)[known]
        weight = _of(table.sample_weight, known)
        weight = None if weight is None else of_ordinary_size(weight)
        loss = float(np.average(each, weights=weight))
        return {"oof_decision_function_": logits, "oof_loss_": loss}

    def _scored(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.floating]]]:
        """Give positions of rows, and their logits by the model whose own they are."""
        models = self.cross or self.members
        for fold, model in zip(self.folds, models, strict=True):
            yield fold.held_out, model.classifier._logits(self.rows.data.train.X[fold.held_out])

    @cached_property
    def threshold_data(self) -> ThresholdData | None:
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
        return ThresholdData.of(
            logits, held.y, held.sample_weight, data.classes, self.training.positive
        )


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
    if classifier._n_networks == 1:
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
    if decides and model.split.dataset.validation is None:
        parts.cross = plan_cross(parts)
    return parts


def plan_members(
    name: Any,
    classifier: Any,
    rows: SharedRows,
    training: FitContext,
    n_members: int,
    *,
    goes_on: bool = False,
) -> Parts:
    """Plan members, each of which leaves out its own fold, or all of which share X_val."""
    state = training.random_state
    folds: list[Fold] = []
    if training.data.validation is None:
        folds = candidates_of(classifier, rows).folds(n_members, draw_seed(state))
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
    candidates = candidates_of(classifier, rows)
    n_folds = min(_THRESHOLD_FOLDS, candidates.most_folds())
    if n_folds < 2:
        return []
    parts.folds = candidates.folds(n_folds, draw_seed(state))
    bare = _bare(classifier, rows)
    models = []
    for fold in parts.folds:
        lone = _lone(classifier, draw_seed(state), early_stopping=False)
        model = plan_model(parts.name, lone, bare, fold=fold, may_be_alone=may_be_alone)
        models += [] if model is None else [model]
    return models


def candidates_of(classifier: Any, rows: SharedRows) -> Candidates:
    """Give the rows that a fold of the classifier can hold out."""
    return Candidates.of(rows.data, classifier.class_weight, rows.chosen)


def _of(weight: NDArray[np.float64] | None, where: NDArray[Any]) -> Any:
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
