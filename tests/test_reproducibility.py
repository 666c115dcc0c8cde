"""The same numbers again: random states, workers and threads."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch._dynamo  # torch's optimizers import it, and it registers filters and loggers
from sklearn.base import clone

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from tests.every_solver import (
    EVERY,
    MODELS,
    QUIET,
    WITH_DROPOUT,
    assert_same_fit,
    learned,
    network,
    table,
    weights_of,
)

pytestmark = QUIET


@EVERY
def test_random_state_repeats_the_fit_bit_for_bit(model, cancer):
    first, second = clone(model).fit(*cancer), clone(model).fit(*cancer)

    assert_same_fit(first, second)
    assert_same_fit(first, second.fit(*cancer))


@pytest.mark.parametrize("name", ["mlp-adam", "mlp-dropout", "mlp-stopped", "logistic-adam"])
def test_another_random_state_gives_another_fit(name, cancer):
    model = MODELS[name]
    other = clone(model).set_params(random_state=1)

    assert np.any(weights_of(clone(model).fit(*cancer)) != weights_of(other.fit(*cancer)))


@pytest.mark.parametrize("name", ["mlp-adam", "mlp-dropout", "mlp-stopped", "logistic-adam"])
def test_random_state_none_gives_another_fit_each_time(name, cancer):
    model = clone(MODELS[name]).set_params(random_state=None)
    np.random.seed(0)
    first = weights_of(clone(model).fit(*cancer))
    np.random.seed(0)

    assert np.any(first != weights_of(clone(model).fit(*cancer)))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_fits_in_two_workers_equal_fits_here_bit_for_bit(backend, cancer):
    with joblib.parallel_config(backend=backend, n_jobs=2):
        there = joblib.Parallel()(
            joblib.delayed(clone(model).fit)(*cancer) for model in MODELS.values()
        )

    for model, fitted in zip(MODELS.values(), there, strict=True):
        assert_same_fit(clone(model).fit(*cancer), fitted)


@pytest.mark.parametrize(
    "model",
    [
        TorchLogisticClassifier(solver="newton-cholesky", max_iter=2),
        TorchLogisticClassifier(solver="lbfgs", max_iter=3),
        TorchMLPClassifier((32,), solver="lbfgs", max_iter=2, random_state=0),
        TorchMLPClassifier((32,), batch_size=8000, max_iter=2, random_state=0),
    ],
    ids=["logistic-newton", "logistic-lbfgs", "mlp-lbfgs", "mlp-large-batches"],
)
def test_fit_is_the_same_bit_for_bit_with_one_thread_and_with_two(model, threads):
    # Workers have fewer threads than the main process.
    rng = np.random.RandomState(0)
    X = rng.randn(20_000, 40)
    y = (X[:, 0] + rng.randn(len(X)) > 0).astype(int)
    fits = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        fits.append(clone(model).fit(X, y))

    assert_same_fit(*fits)


def one_hot(X):
    bounds = np.linspace(-2, 2, 8)
    return np.eye(9)[np.digitize(X, bounds)].reshape(len(X), -1)


ROWS = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "one-hot": one_hot,
    "sparse": lambda X: sp.csr_array(X * (X > 1)),
}


def assert_same_with_any_number_of_threads(fit, X):
    found = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        found.append(learned(fit(), X))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize("model", WITH_DROPOUT.values(), ids=WITH_DROPOUT.keys())
def test_fit_with_dropout_is_the_same_bit_for_bit_with_any_number_of_threads(model, threads):
    X, y = table()
    assert_same_with_any_number_of_threads(lambda: clone(model).fit(X, y), X)


@pytest.mark.parametrize(
    ("name", "rows"),
    [*(("ensemble", rows) for rows in ROWS), ("one", "sparse"), ("search", "one-hot")],
)
def test_fit_on_rows_of_any_kind_is_the_same_bit_for_bit_with_any_number_of_threads(
    name, rows, threads
):
    X, y = table(1203)
    X = ROWS[rows](X)
    assert_same_with_any_number_of_threads(lambda: clone(WITH_DROPOUT[name]).fit(X, y), X)


def test_partial_fit_is_the_same_bit_for_bit_with_any_number_of_threads(threads):
    X, y = table()
    model = network((200, 100), batch_size=2500)
    assert_same_with_any_number_of_threads(
        lambda: clone(model).partial_fit(X, y).partial_fit(X, y), X
    )


def test_fit_is_the_same_bit_for_bit_with_any_number_of_threads_of_the_environment():
    script = (
        "import sys\nimport numpy as np\nfrom sklearn.base import clone\n"
        "from tests.every_solver import WITH_DROPOUT, learned, table\n"
        "X, y = table(1203)\n"
        "found = [learned(clone(WITH_DROPOUT[n]).fit(X, y), X) for n in ('ensemble', 'search')]\n"
        "sys.stdout.write(np.concatenate(found).tobytes().hex())"
    )
    found = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={**os.environ, "OMP_NUM_THREADS": n_threads},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for n_threads in ("1", "3")
    ]
    assert len(found[0]) > 1000
    assert found[0] == found[1]
