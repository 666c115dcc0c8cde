"""Fits and predictions in forked processes."""

import multiprocessing
import os
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
import torch
import torch._dynamo  # torch's optimizers import it, and it registers filters and loggers
from sklearn.base import clone
from skorch.callbacks import Callback

from tests.every_solver import FORKED, QUIET, SCORES, learned, network, table

pytestmark = QUIET


needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="processes are not forked here"
)


def in_a_fork(function):
    """Call a function in a forked process, and return its result within a minute."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: there.send(function()))
    with warnings.catch_warnings():
        # Newer releases of Python warn of every fork beside other threads.
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        process.start()
    there.close()
    try:
        assert here.poll(60), "the forked process hangs"
        return here.recv()
    finally:
        process.kill()
        process.join()


@needs_fork
@pytest.mark.parametrize("model", FORKED.values(), ids=FORKED.keys())
def test_fit_in_a_process_forked_after_a_fit_is_the_same_bit_for_bit(model, threads):
    torch.set_num_threads(2)
    X, y = table()
    expected = learned(clone(model).fit(X, y), X)

    there = in_a_fork(lambda: learned(clone(model).fit(X, y), X))

    np.testing.assert_array_equal(there, expected)


@needs_fork
def test_predictions_in_a_process_forked_after_a_fit_are_the_same(threads):
    torch.set_num_threads(2)
    X, y = table()
    model = network((200,)).fit(X, y)
    expected = [getattr(model, score)(X) for score in SCORES]
    found = in_a_fork(lambda: [getattr(model, score)(X) for score in SCORES])

    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@needs_fork
def test_fit_in_a_process_forked_after_torch_used_threads_ends(threads):
    torch.set_num_threads(2)
    torch.ones(1000, 1000) @ torch.ones(1000, 1000)
    X, y = table()

    there = in_a_fork(lambda: learned(network().fit(X, y), X))

    np.testing.assert_array_equal(there, learned(network().fit(X, y), X))


@needs_fork
def test_fit_in_a_process_forked_in_the_middle_of_a_fit_is_the_same(threads):
    torch.set_num_threads(2)
    X, y = table()
    found = []

    class Forks(Callback):
        def on_epoch_end(self, net, **kwargs):
            if not found:
                found.append(in_a_fork(lambda: learned(network(n_members=4).fit(X, y), X)))

    network(callbacks=[Forks()]).fit(X, y)

    np.testing.assert_array_equal(found[0], learned(network(n_members=4).fit(X, y), X))


@needs_fork
def test_fits_in_workers_that_joblib_forks_equal_a_fit_here_bit_for_bit(threads):
    torch.set_num_threads(2)
    X, y = table()
    expected = learned(network().fit(X, y), X)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        there = joblib.Parallel(n_jobs=2, backend="multiprocessing", timeout=60)(
            joblib.delayed(network().fit)(X, y) for _ in range(3)
        )

    for model in there:
        np.testing.assert_array_equal(learned(model, X), expected)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted on Linux")
def test_fits_and_predictions_leave_no_thread_running():
    # Threads of OpenMP would run until the process ends.
    script = (
        "import os\nimport torch\nfrom sklearn.base import clone\n"
        "from tests.every_solver import FORKED, MODELS, SCORES, table\n"
        "torch.set_num_threads(3)\n"
        "X, y = table()\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = count()\n"
        "for model in [*FORKED.values(), *MODELS.values()]:\n"
        "    fitted = clone(model).fit(X, y)\n"
        "    best = getattr(fitted, 'best_estimator_', fitted)\n"
        "    for score in SCORES:\n"
        "        getattr(best, score)(X)\n"
        "    best.module_, best.net_, best.tune_threshold(X, y, 'f1')\n"
        "assert count() == before, (count(), before)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
