"""A worker that is lost ends the fit with an error, and leaves nothing behind."""

import gc
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

from skbinary.dask import DaskTorchLogisticClassifier, DaskTorchMLPClassifier
from skbinary.dask import worker as worker_module
from skbinary.dask.tasks import WorkerLostError, run_on_each
from tests.dask.conftest import start
from tests.dask.tables import noisy, place

pytest.importorskip("dask.array", reason="needs the extra dask")
distributed = pytest.importorskip("distributed", reason="needs the extra dask")


def resources():
    """Return the number of process groups and of stores that a worker has."""
    gc.collect()
    kind = sys.modules["torch.distributed"].ProcessGroup
    groups = [each for each in gc.get_objects() if type(each) is kind]
    return len(groups), len(sys.modules["skbinary.dask.worker"]._stores)


def table(client, n_samples=600):
    """Return rows and labels in the memory of all workers."""
    shards = np.array_split(range(n_samples), len(client.nthreads()))
    X, y, _ = noisy(n_samples)
    collections = [place(client, each, shards).persist() for each in (X, y)]
    distributed.wait(collections)
    return collections


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.filterwarnings("ignore:Training did not converge")
def test_worker_killed_in_a_fit_is_an_error_that_names_it():
    processes = start(2, processes=True)
    try:
        X, y = table(processes)
        model = DaskTorchMLPClassifier(max_iter=2, random_state=0, early_stopping=False).fit(X, y)
        state, workers = model._state, sorted(processes.nthreads())
        model.set_params(max_iter=10**9, n_iter_no_change=np.inf)
        # The first worker, which the others have found each other by.
        pid = processes.run(os.getpid, workers=workers[:1])[workers[0]]
        timer = threading.Timer(2, os.kill, [pid, signal.SIGKILL])
        timer.start()
        began = time.monotonic()
        with pytest.raises(WorkerLostError) as error:
            model.fit(X, y)
        timer.join()
        assert time.monotonic() - began < 30
        assert str(error.value) == (
            f"All workers must stay in the cluster until the fit ends, but {workers[0]} has left "
            "it. Call fit again, with data that does not depend on that worker's memory."
        )
        assert model._state is state
        wait_for(lambda: set(processes.run(resources, workers=workers[1:]).values()) == {(0, 0)})
        X, y, _ = noisy()
        X, y = (place(processes, each, [range(600)], workers[1:]) for each in (X, y))
        assert DaskTorchLogisticClassifier().fit(X, y).score(X, y) > 0.8
    finally:
        processes.close()
        processes.cluster.close()


def test_worker_lost_before_the_fit_is_an_error(client):
    X, y = table(client)
    with pytest.raises(WorkerLostError, match=r"but tcp://192\.0\.2\.1:1 has left it"):
        run_on_each(client, len, {"tcp://192.0.2.1:1": ([],)})
    assert DaskTorchLogisticClassifier().fit(X, y).score(X, y) > 0.8


def test_interrupted_fit_ends_on_the_workers(client, monkeypatch):
    X, y = table(client)
    model = DaskTorchMLPClassifier(max_iter=10**9, n_iter_no_change=np.inf, early_stopping=False)
    from skbinary.dask import tasks

    calls = iter(range(100))

    def interrupt(*args, **kwargs):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return wait(*args, **kwargs)

    wait = distributed.wait
    monkeypatch.setattr(tasks, "_POLL_SECONDS", 0.1)
    monkeypatch.setattr(distributed, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    monkeypatch.undo()
    assert not hasattr(model, "classes_")
    wait_for(lambda: not any(client.processing().values()) and not client.call_stack())
    assert worker_module._stores == {}
    assert DaskTorchLogisticClassifier().fit(X, y).score(X, y) > 0.8


def test_worker_that_is_busy_is_waited_for(client):
    X, y = table(client)
    worker = sorted(client.nthreads())[0]
    busy = client.submit(time.sleep, 1.0, workers=[worker], pure=False)
    queued = client.map(time.sleep, [0.01] * 20, workers=[worker], pure=False)
    model = DaskTorchLogisticClassifier().fit(X, y)
    assert busy.done()
    assert model.score(X, y) > 0.8
    distributed.wait(queued)


def test_fits_of_two_threads_wait_for_each_other(client):
    X, y = table(client)
    models = [DaskTorchLogisticClassifier(C=c) for c in (0.1, 1.0)]
    for model in models:
        model.client = client
    threads = [threading.Thread(target=model.fit, args=(X, y)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(model.score(X, y) > 0.8 for model in models)
