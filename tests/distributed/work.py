"""What the processes of a group do in the tests."""

import os
import time

import torch.distributed as dist
from sklearn.base import clone

from skbinary.distributed import fit


def fit_shard(X, y, options, *, estimator):
    """Fit a clone of an estimator, and return it."""
    return fit(clone(estimator), X, y, **options)


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


def leave_or_fit(is_leaving, seconds, X, y, *, estimator):
    """End this process, or stay away for some time, while the others fit."""
    if is_leaving and seconds is None:
        os._exit(1)
    if is_leaving:
        time.sleep(seconds)
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
