"""What the processes of a group do in the tests."""

import os
import threading
import time

import torch.distributed as dist
from sklearn.base import clone

from skbinary.distributed import fit


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
