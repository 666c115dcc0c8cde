"""Ctrl-C: fit keeps the weights so far, and other methods leave the estimator unchanged."""

import copy
import inspect
import sys
import warnings

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_classification

from skbinary import (
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    VectorizedRandomizedSearchCV,
)
from skbinary.runtime import interrupts, threads
from skbinary.runtime import warnings as runtime_warnings

X, Y = make_classification(400, 8, flip_y=0.1, random_state=0)
NETWORK = TorchMLPClassifier((8,), max_iter=20, n_iter_no_change=np.inf, random_state=0)
N_MOMENTS = 25


class InterruptAt:
    """Raise KeyboardInterrupt at one of the function calls of this thread, as Ctrl-C does.

    Parameters
    ----------
    n_calls : float
        Which call of a Python function, counted from 1.
    """

    def __init__(self, n_calls=np.inf):
        self.n_calls = n_calls
        self.n_seen = 0

    def __enter__(self):
        sys.setprofile(self._on_event)
        return self

    def __exit__(self, kind, error, trace):
        sys.setprofile(None)

    @property
    def came(self):
        return self.n_seen >= self.n_calls

    def _on_event(self, frame, event, arg):
        module = frame.f_globals.get("__name__", "")
        # An interrupt within an import can leave a lock of Python taken.
        excluded = ("warnings", "importlib", "_frozen_importlib")
        if event != "call" or module == __name__ or module.startswith(excluded):
            return
        if frame.f_code.co_flags & inspect.CO_GENERATOR:
            return  # Python ignores exceptions while it closes a generator
        self.n_seen += 1
        if self.came:
            sys.setprofile(None)
            raise KeyboardInterrupt


def settings_of_the_process():
    """Return a function that restores settings after an interrupt within a ``finally``."""
    config, n_threads = sklearn.get_config(), torch.get_num_threads()

    def restore():
        sklearn.set_config(**config)
        threads._STATE.n_threads = None
        interrupts._raises.set(False)
        runtime_warnings._collected.set(None)
        torch.set_num_threads(n_threads)

    return restore


def interruptions(start, act, n_moments=N_MOMENTS):
    """Interrupt an action at random calls of Python functions.

    Parameters
    ----------
    start : callable() -> object
        Makes the object.
    act : callable(object)

    Yields
    ------
    thing : object
        After the action.
    before : dict
        Its state before.
    raised : bool
        Whether KeyboardInterrupt came out.
    warned : list of str
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        act(start())  # fills caches
        thing = start()
        with InterruptAt() as counter:
            act(thing)
    restore = settings_of_the_process()
    for moment in np.random.RandomState(0).randint(1, counter.n_seen + 1, size=n_moments):
        thing = start()
        before = state(thing)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            raised = False
            try:
                with InterruptAt(moment) as interrupt:
                    act(thing)
            except KeyboardInterrupt:
                raised = True
        restore()
        # The number of calls varies a little, and so a late moment may not come.
        if interrupt.came:
            yield thing, before, raised, [str(each.message) for each in caught]


def state(estimator):
    return {name: repr(value) for name, value in vars(estimator).items()}


KINDS = {
    "network": clone(NETWORK).set_params(early_stopping=False),
    "logistic": TorchLogisticClassifier(),
    "network on all rows": TorchMLPClassifier((4,), solver="lbfgs", max_iter=8, random_state=0),
    "ensemble": clone(NETWORK).set_params(n_members=4),
    "ensemble on all rows": TorchMLPClassifier(
        (4,), solver="lbfgs", max_iter=8, n_members=2, random_state=0
    ),
    "average and embedding": clone(NETWORK).set_params(
        early_stopping=False, weight_average=0.9, numeric_embedding="periodic"
    ),
    "objective": clone(NETWORK).set_params(threshold="f1"),
    "objective of an ensemble": clone(NETWORK).set_params(n_members=3, threshold={"recall": 0.9}),
    "objective of a linear model": TorchLogisticClassifier(threshold="f1"),
}


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
def test_fit_keeps_the_weights_so_far_or_leaves_the_estimator_unchanged(model):
    n_kept = 0
    for own, before, raised, warned in interruptions(lambda: clone(model), lambda m: m.fit(X, Y)):
        if raised:
            assert state(own) == before
            continue
        n_kept += 1
        assert any("interrupted by the user" in text for text in warned)
        assert np.isfinite(own.predict_proba(X)).all()
        assert set(own.predict(X)) <= {0, 1}
        assert 0 <= own.threshold_ <= 1
    assert n_kept >= N_MOMENTS // 10


def test_interrupted_ensemble_keeps_the_members_so_far():
    model, numbers = KINDS["objective of an ensemble"], set()
    for own, _, raised, _ in interruptions(lambda: clone(model), lambda m: m.fit(X, Y)):
        if raised:
            continue
        numbers.add(own.n_members_)
        logits = own.oof_decision_function_
        known = ~np.isnan(logits)
        loss = np.logaddexp(0, logits[known]) - Y[known] * logits[known]
        assert own.oof_loss_ == pytest.approx(loss.mean())
    assert 3 in numbers


@pytest.mark.parametrize("is_first", [True, False])
def test_partial_fit_raises_and_leaves_the_estimator_unchanged(is_first):
    model = TorchMLPClassifier((8,), batch_size=20, random_state=0)

    def start():
        return clone(model) if is_first else clone(model).partial_fit(X, Y)

    n_moments = 0
    for own, before, raised, _ in interruptions(start, lambda m: m.partial_fit(X, Y)):
        n_moments += 1
        assert raised
        assert state(own) == before
    assert n_moments > 0.8 * N_MOMENTS


SEARCHES = {
    "network": VectorizedGridSearchCV(NETWORK, {"alpha": [0.1, 1.0]}, cv=2),
    "ensemble": VectorizedGridSearchCV(
        clone(NETWORK).set_params(n_members=2, max_iter=5), {"alpha": [0.1, 1.0]}, cv=2
    ),
    "linear": VectorizedRandomizedSearchCV(
        TorchLogisticClassifier(threshold="f1"), {"C": [0.1, 1.0, 10.0]}, n_iter=2, cv=2,
        random_state=0,
    ),
    "single": VectorizedGridSearchCV(
        TorchMLPClassifier((4,), solver="lbfgs", max_iter=5, random_state=0),
        {"alpha": [0.1, 1.0]},
        cv=2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_search_raises_and_is_unchanged(search):
    n_moments = 0
    for own, before, raised, _ in interruptions(lambda: clone(search), lambda s: s.fit(X, Y)):
        n_moments += 1
        assert raised
        assert state(own) == before
    assert n_moments > 0.8 * N_MOMENTS


def test_tune_threshold_raises_and_leaves_the_estimator_unchanged():
    model, n_moments = TorchLogisticClassifier().fit(X, Y), 0
    for own, before, raised, _ in interruptions(
        lambda: copy.copy(model), lambda m: m.tune_threshold(X, Y, "f1")
    ):
        n_moments += 1
        assert raised
        assert state(own) == before
    assert n_moments > 0.8 * N_MOMENTS


def test_interrupt_during_the_choice_of_a_threshold_keeps_the_trained_model(monkeypatch):
    from skbinary.estimators import cross_fitting

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cross_fitting.Ensemble, "train", interrupt)
    with pytest.warns(UserWarning, match=r"threshold was not chosen.*It is 0\.5.*tune_threshold"):
        model = TorchLogisticClassifier(threshold="f1").fit(X, Y)
    assert model.threshold_ == 0.5
    assert_array_equal(model.coef_, TorchLogisticClassifier().fit(X, Y).coef_)
    model.tune_threshold(X, Y, "f1")
    assert model.threshold_ != 0.5


def test_interrupted_ensemble_warns_of_the_interrupt_only():
    def interrupt(model, X, y):
        raise KeyboardInterrupt

    model = TorchMLPClassifier(
        (8,), max_iter=5, n_members=3, early_stopping=True, monitor=interrupt, random_state=0
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, Y)
    assert ["of 1 of 3 ensemble members are kept" in str(each.message) for each in caught] == [True]
    known = ~np.isnan(model.oof_decision_function_)
    assert 0 < np.count_nonzero(known) < len(Y)
    logit = model.oof_decision_function_[known]
    expected = np.mean(np.logaddexp(0, logit) - Y[known] * logit)
    assert model.oof_loss_ == pytest.approx(expected)
    # A single network is not calibrated.
    assert (model.n_members_, model.temperature_) == (1, 1)
    with torch.no_grad():
        found = model.module_.double()(torch.as_tensor(X)).numpy()
    np.testing.assert_allclose(found, model.decision_function(X), rtol=1e-9, atol=1e-9)
