"""What the processes of a group do in the tests."""

import contextlib
import io
import itertools
import os
import threading
import time
import warnings
from unittest.mock import patch

import numpy as np
import torch.distributed as dist
from sklearn.base import clone

from skbinary.distributed import fit
from skbinary.solvers.minibatch.distributed import DistributedMiniBatch


def fit_shard(X, y, options, *, estimator):
    """Fit a clone of an estimator, and return it."""
    return fit(clone(estimator), X, y, **options)


def fit_twice(X, y, options, *, estimator):
    """Fit a clone of an estimator, fit it again, and return it."""
    fitted = fit(clone(estimator), X, y, **options)
    return fit(fitted, X, y, **options)


def fit_given(estimator, X, y):
    """Fit an estimator of this process, and return the error."""
    try:
        fit(estimator, X, y)
    except ValueError as error:
        return error
    return None


def fit_fitted(X, y, options, *, estimator):
    """Fit an estimator that is fitted; return the error, and whether it is as before."""
    estimator = estimator.set_params(**options.pop("parameters", {}))
    before = dict(estimator.__dict__)
    try:
        fit(estimator, X, y, **options)
    except (ValueError, RuntimeError) as error:
        return error, before.keys() == estimator.__dict__.keys() and all(
            before[name] is value for name, value in estimator.__dict__.items()
        )
    return None


def leave_or_fit(leaves, X, y, *, estimator):
    """End this process, before or in training, or stay away, while the others fit."""
    if leaves == "before training":
        os._exit(1)
    if leaves == "in training":
        threading.Timer(0.5, lambda: os._exit(1)).start()
    if leaves == "never":
        time.sleep(9)
        return None
    begin = time.monotonic()
    outcome = fit_fitted(X, y, {}, estimator=estimator)
    return *outcome, time.monotonic() - begin


def fit_in_subgroup(X, y, *, estimator):
    """Fit in a group of all processes but the first, and return the estimator or None."""
    group = dist.new_group([1, 2])
    if dist.get_rank() == 0:
        return None
    return fit(clone(estimator), X, y, process_group=group)


def interrupt_or_fit(is_interrupted, X, y, *, estimator):
    """Fit, perhaps interrupted in the second epoch; return the error, and the warnings."""
    run_epoch, epochs = DistributedMiniBatch.run_epoch, itertools.count()

    def interrupt_later(self):
        if is_interrupted and next(epochs) == 1:
            raise KeyboardInterrupt
        return run_epoch(self)

    with (
        patch.object(DistributedMiniBatch, "run_epoch", interrupt_later),
        warnings.catch_warnings(record=True) as shown,
    ):
        warnings.simplefilter("always")
        try:
            fit(clone(estimator), X, y)
        except (KeyboardInterrupt, RuntimeError) as error:
            outcome = str(error) or type(error).__name__
    dist.destroy_process_group()  # as at the end of a process
    return outcome, [str(each.message) for each in shown]


def print_fit(X, y, options, *, estimator, fit=fit):
    """Fit while a second passes at each look at the clock, and return what was printed."""
    with (
        patch("skbinary.callbacks.progress.clock", itertools.count().__next__),
        contextlib.redirect_stdout(io.StringIO()) as printed,
    ):
        fit(clone(estimator), X, y, **options)
    return printed.getvalue()


def fit_for_a_function(X, y, *, estimator):
    """Fit with a threshold for a function that pickle cannot write, and return the threshold."""
    model = clone(estimator).set_params(
        threshold=lambda y, predicted: float((y == predicted).mean())
    )
    fit(model, X, y)
    return model.threshold_, model.get_params()["threshold"] is model._state.threshold_parameter


def random_score(y, predicted, sample_weight=None):
    """Return a random number, as a metric."""
    return np.random.default_rng().random()
