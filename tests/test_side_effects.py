"""Fits and predictions leave global state and their input unchanged."""

import itertools
import logging
import random
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
import torch._dynamo  # torch's optimizers import it, and it registers filters and loggers
from sklearn.base import clone
from skorch.callbacks import Callback

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from tests.every_solver import (
    BOTH,
    BOTH_KINDS,
    EVERY,
    MODELS,
    QUIET,
    SCORES,
    WITH_BATCHES,
    WITH_DROPOUT,
    assert_same_fit,
)

pytestmark = QUIET


def global_state():
    """Return everything that a fit could change but must not."""
    kind, keys, *position = np.random.get_state()
    loggers = [logging.getLogger()] + [
        logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict)
    ]
    return {
        "random": random.getstate(),
        "np.random": (kind, keys.tolist(), position),
        "torch random": torch.get_rng_state().tolist(),
        "torch dtype": torch.get_default_dtype(),
        "torch threads": torch.get_num_threads(),
        "torch gradients": torch.is_grad_enabled(),
        "torch deterministic": torch.are_deterministic_algorithms_enabled(),
        "warnings": list(warnings.filters),
        "logging": [(each.name, each.level, list(each.handlers)) for each in loggers],
        "logging disabled": logging.root.manager.disable,
        "np.errstate": np.geterr(),
    }


@EVERY
def test_fit_and_predict_leave_global_state_unchanged(model, cancer, threads):
    X, y = cancer
    # More than one thread, so that working on one would show.
    torch.set_num_threads(2)
    model = clone(model).set_params(random_state=None)
    before = global_state()
    model.fit(X, y)
    for score in SCORES:
        getattr(model, score)(X)
    assert model.module_ is not None
    assert model.net_ is not None

    assert global_state() == before


@WITH_BATCHES
def test_partial_fit_leaves_global_state_unchanged(model, cancer, threads):
    torch.set_num_threads(2)
    model = clone(model).set_params(random_state=None)
    before = global_state()
    model.partial_fit(*cancer).partial_fit(*cancer)

    assert global_state() == before


def with_nan(X):
    X = X.copy()
    X[3, 2] = np.nan
    return X


@BOTH
def test_fit_that_raises_at_once_leaves_global_state_unchanged(model, cancer, threads):
    X, y = cancer
    torch.set_num_threads(2)
    before = global_state()
    with pytest.raises(ValueError, match="Input X contains NaN"):
        clone(model).fit(with_nan(X), y)

    assert global_state() == before


@pytest.mark.parametrize("kind", [TorchLogisticClassifier, TorchMLPClassifier])
def test_fit_that_raises_midway_leaves_global_state_unchanged(kind, cancer, threads):
    X, y = cancer
    torch.set_num_threads(2)
    before = global_state()
    with pytest.raises(ValueError, match="must stay"):
        kind(solver="sgd", learning_rate_init=1e30, random_state=None).fit(1e6 * X, y)

    assert global_state() == before


@BOTH
def test_fits_in_threads_leave_the_thread_count_unchanged(model, cancer, threads):
    torch.set_num_threads(2)
    joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(clone(model).fit)(*cancer) for _ in range(8)
    )

    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("model", [*BOTH_KINDS, WITH_DROPOUT["search"]])
def test_fits_that_overlap_in_threads_leave_the_thread_count_of_all_threads(model, cancer, threads):
    torch.set_num_threads(3)

    def work(_):
        clone(model).fit(*cancer)
        return torch.get_num_threads()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(8))) == {3}
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 3
    assert torch.get_num_threads() == 3


def test_fit_leaves_the_thread_count_of_new_threads_unchanged(cancer, threads):
    torch.set_num_threads(3)
    found = []

    class ThreadCount(Callback):
        def on_epoch_end(self, net, **kwargs):
            with ThreadPoolExecutor(1) as pool:
                found.append(pool.submit(torch.get_num_threads).result())

    TorchMLPClassifier((4,), max_iter=2, callbacks=[ThreadCount()]).fit(*cancer)

    assert found == [3, 3]


WITH_SPARSE = pytest.mark.parametrize(
    "model",
    [MODELS["logistic-newton"], MODELS["logistic-lbfgs"], MODELS["mlp-adam"], MODELS["mlp-lbfgs"]],
    ids=["logistic-newton", "logistic-lbfgs", "mlp-adam", "mlp-lbfgs"],
)
FORMS = {
    "array": np.array,
    "float32": lambda X: X.astype(np.float32),
    "whole numbers": lambda X: (10 * X).astype(np.int64),
    "csr": sp.csr_array,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "frame": pd.DataFrame,
    "tensor": torch.tensor,
}


def content(X):
    """Return copies of the arrays of a table."""
    if sp.issparse(X):
        names = ("row", "col") if X.format == "coo" else ("indices", "indptr")
        return [getattr(X, name).copy() for name in ("data", *names)]
    if isinstance(X, torch.Tensor):
        return [X.numpy().copy()]
    return [np.array(X)]


@pytest.mark.parametrize(
    ("model", "form"),
    [
        *itertools.product(BOTH_KINDS, FORMS.values()),
        *zip(MODELS.values(), itertools.cycle(FORMS.values())),
    ],
)
def test_fit_and_predict_leave_their_input_unchanged(model, form, cancer):
    X, y = form(cancer[0]), cancer[1].copy()
    weight = np.random.RandomState(0).rand(len(y))
    weight[::10] = 0
    given = content(X), y.copy(), weight.copy()
    clone(model).fit(X, y, weight, X_val=X, y_val=y, sample_weight_val=weight).predict_proba(X)

    for now, before in zip(content(X), given[0], strict=True):
        np.testing.assert_array_equal(now, before)
    np.testing.assert_array_equal(y, given[1])
    np.testing.assert_array_equal(weight, given[2])


@WITH_SPARSE
def test_fit_on_unsorted_sparse_rows_does_not_sort_them(model, cancer):
    X, y = sp.csr_array(cancer[0]), cancer[1]
    X.indices = X.indices.reshape(X.shape)[:, ::-1].ravel().copy()
    X.data = X.data.reshape(X.shape)[:, ::-1].ravel().copy()
    X.has_sorted_indices = False
    before = content(X)
    fitted = clone(model).fit(X, y)

    for now, then in zip(content(X), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert fitted.score(X, y) > 0.3


@pytest.fixture
def torch_warns_always():
    """Make torch warn every time, not once in a process."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@EVERY
def test_read_only_input_gives_the_same_fit(model, cancer, torch_warns_always):
    X, y = (each.copy() for each in cancer)
    weight = np.ones(len(y))
    weight[:50] = 2
    writable = clone(model).fit(X, y, weight)
    for each in (X, y, weight):
        each.flags.writeable = False
    with warnings.catch_warnings():
        # torch warns when it wraps a read-only array.
        warnings.filterwarnings("error", message="The given NumPy array is not writable")
        read_only = clone(model).fit(X, y, weight)

    assert_same_fit(writable, read_only)
    np.testing.assert_array_equal(read_only.predict_proba(X), writable.predict_proba(X))


@WITH_SPARSE
def test_read_only_sparse_input_gives_the_same_fit(model, cancer):
    X, y = sp.csr_array(cancer[0]), cancer[1]
    writable = clone(model).fit(X, y)
    for each in (X.data, X.indices, X.indptr):
        each.flags.writeable = False

    assert_same_fit(writable, clone(model).fit(X, y))
