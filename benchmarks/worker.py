"""The process of a contender: it receives calls through a pipe and answers with timings."""

from __future__ import annotations

import gc
import os
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks import data, process_tree_memory
from benchmarks.cases import LogisticCase, MemoryCase, NetworkCase, PredictionCase, SearchCase
from benchmarks.contenders.logistics import LOGISTICS, UnsuitableError
from benchmarks.contenders.networks import NETWORKS
from benchmarks.contenders.searches import Search
from benchmarks.objective import objective
from benchmarks.peak_memory import peak_above
from benchmarks.threads import one_thread_in_new_processes

USES_TORCH = (
    *("skbinary", "skbinary, own module", "skorch", "skorch, callbacks off", "plain PyTorch"),
    *("GridSearchCV, skbinary", "GridSearchCV, skorch"),
    *("skbinary, full grid", "HalvingGridSearchCV, skbinary"),
)

# Number of rows on which the final loss of each contender is computed.
_LOSS_ROWS = 10_000
# Tolerance and maximum number of iterations of fits that are not timed.
_UNTIMED_SETTINGS = (1e-4, 1_000)

Answer = dict[str, Any]


def serve(connection: Connection, contender: str, threads: int, device: str) -> None:
    """Answer calls until the pipe is closed.

    A call is the name of a method of `Worker` and its arguments. An answer is ``("done",
    dict)``, ``("skipped", reason)`` or ``("failed", traceback)``.

    Parameters
    ----------
    connection : Connection
    contender : str
        A key of `NETWORKS`, `LOGISTICS` or `SEARCHES`.
    threads : int
        For PyTorch and searches; the other libraries read environment variables.
    device : str
    """
    if hasattr(os, "setsid"):
        os.setsid()  # so that it can be killed together with the workers that it starts
    if contender in USES_TORCH:
        import torch

        torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", message="Sparse")  # CSR tensors are in beta
    worker = Worker(contender, threads, device)
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            worker.close()
            return
        try:
            answer = ("done", getattr(worker, method)(*arguments))
        except UnsuitableError as error:
            answer = ("skipped", str(error))
        except ImportError as error:
            answer = ("skipped", f"{error.name} is not installed")
        except Exception:
            answer = ("failed", traceback.format_exc())
        connection.send(answer)


class Worker:
    """A contender and its data.

    Parameters
    ----------
    contender : str
    threads : int
    device : str
    """

    def __init__(self, contender: str, threads: int, device: str):
        self.contender = contender
        self.threads = threads
        self.device = device
        self.X: Any = None
        self.y: Any = None
        self.score: Callable[[], Any] | None = None
        self.has_searched = False

    def load(self, folder: Path) -> Answer:
        """Load the data of a case."""
        self.X = self.y = self.score = None
        gc.collect()
        self.X, self.y = data.load(folder)
        return {}

    def close(self) -> None:
        """Shut down the workers of searches, for which multiprocessing would wait at exit."""
        if self.has_searched:
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown(wait=True)

    def fit_network(self, case: NetworkCase, epochs: int) -> Answer:
        """Train a network; return ``seconds`` per epoch and the final ``loss``."""
        network = NETWORKS[self.contender](case, self.device)
        X, y = self.X, self.y
        seconds = _time(lambda: network.fit(X, y, epochs))
        return {"seconds": seconds / epochs, "loss": self._loss(network)}

    def fit_logistic(
        self, case: LogisticCase, tol: float, max_iter: int, least_seconds: float
    ) -> Answer:
        """Fit a logistic regression; return ``seconds`` and the ``objective`` among others.

        The fit is repeated until `least_seconds` have passed, and the median is returned.
        """
        model = LOGISTICS[self.contender](case, self.device, tol, max_iter)
        times: list[float] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            while not times or sum(times) < least_seconds:
                times.append(_time(lambda: model.fit(self.X, self.y)))
        reached = objective(
            self.X,
            self.y,
            np.ravel(model.coef_),
            float(np.ravel(model.intercept_)[0]) if case.fit_intercept else 0.0,
            C=case.C,
            l1_ratio=case.l1_ratio,
        )
        return {
            "seconds": median(times),
            "objective": reached,
            "iterations": int(np.ravel(getattr(model, "n_iter_", [0]))[0]),
            "solver": getattr(model, "solver_", None),
            "warned": any(_is_about_convergence(warning) for warning in caught),
        }

    def warm_up_search(self, case: SearchCase) -> Answer:
        """Start the workers of a search and let them import their libraries."""
        self.has_searched = True
        with one_thread_in_new_processes():
            self._search(case).warm_up(self.X, self.y)
        return {}

    def fit_search(self, case: SearchCase) -> Answer:
        """Search once; return ``seconds``, the best ``score`` and all ``split_scores``."""
        self.warm_up_search(case)  # idle workers may have shut down
        search = self._search(case)
        with one_thread_in_new_processes():
            seconds = _time(lambda: search.fit(self.X, self.y))
        return {
            "seconds": seconds,
            "score": search.best_score,
            "split_scores": search.split_scores,
        }

    def find_best_objective(self, case: LogisticCase) -> Answer:
        """Return the best known ``objective``."""
        from benchmarks.reference import best_objective

        return {"objective": best_objective(self.X, self.y, case)}

    def prepare_prediction(self, case: PredictionCase) -> Answer:
        """Fit the model, and generate the rows that `predict` scores."""
        if isinstance(case.fit, NetworkCase):
            network = NETWORKS[self.contender](case.fit, self.device)
            network.fit(self.X, self.y, case.fit.epochs)
            score = network.probabilities
        else:
            model = LOGISTICS[self.contender](case.fit, self.device, *_UNTIMED_SETTINGS)
            score = model.fit(self.X, self.y).predict_proba
        rows = np.random.default_rng(1).standard_normal((case.rows, self.X.shape[1]))
        rows = rows.astype(self.X.dtype)
        self.score = lambda: score(rows)
        return {}

    def predict(self, case: PredictionCase) -> Answer:
        """Predict probabilities; return ``seconds`` per call."""
        score = self.score
        assert score is not None

        def call() -> None:
            for _ in range(case.calls):
                score()

        return {"seconds": _time(call) / case.calls}

    def measure_memory(self, case: MemoryCase) -> Answer:
        """Fit once in a new process; return the ``bytes`` that it needed and the ``multiple``."""
        if isinstance(case.fit, SearchCase):
            peak = self._peak_of_search(case.fit)
        else:
            self._fit(case, rows=slice(0, 2_000))  # triggers lazy imports
            peak = peak_above(lambda: self._fit(case))
        return {"bytes": peak, "multiple": peak / (self.X.size * np.dtype(case.dtype).itemsize)}

    def _peak_of_search(self, case: SearchCase) -> int:
        if not process_tree_memory.can_measure():
            raise UnsuitableError("the memory of worker processes can be read on Linux only")
        self.warm_up_search(case)
        search = self._search(case)
        with one_thread_in_new_processes():
            return process_tree_memory.peak_above(lambda: search.fit(self.X, self.y))

    def _search(self, case: SearchCase) -> Search:
        return Search(self.contender, case, self.device, self.threads)

    def _fit(self, case: MemoryCase, rows: slice | None = None) -> None:
        # All rows are X itself, not a slice of it: estimators may treat views differently.
        X, y = (self.X, self.y) if rows is None else (self.X[rows], self.y[rows])
        if isinstance(case.fit, NetworkCase):
            NETWORKS[self.contender](case.fit, self.device).fit(X, y, case.fit.epochs)
        else:
            LOGISTICS[self.contender](case.fit, self.device, *_UNTIMED_SETTINGS).fit(X, y)

    def _loss(self, network: Any) -> float:
        rows = self.X[:_LOSS_ROWS]
        dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
        probabilities = np.clip(network.probabilities(dense).astype(np.float64), 1e-12, 1 - 1e-12)
        y = self.y[:_LOSS_ROWS]
        return float(-np.mean(np.where(y == 1, np.log(probabilities), np.log1p(-probabilities))))


def _time(work: Callable[[], Any]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _is_about_convergence(warning: warnings.WarningMessage) -> bool:
    return issubclass(warning.category, ConvergenceWarning | RuntimeWarning)
