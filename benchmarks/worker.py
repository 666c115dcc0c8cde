"""What a contender's process does: it takes orders from a pipe and answers with timings."""

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

from benchmarks import data, tree_memory
from benchmarks.cases import LogisticCase, MemoryCase, NetworkCase, PredictionCase, SearchCase
from benchmarks.contenders.logistics import LOGISTICS, UnsuitableError
from benchmarks.contenders.networks import NETWORKS
from benchmarks.contenders.searches import Search
from benchmarks.objective import objective
from benchmarks.peak_memory import peak_above
from benchmarks.threads import one_in_new_processes

USES_TORCH = (
    *("skbinary", "skorch", "skorch, callbacks off", "plain PyTorch"),
    *("GridSearchCV, skbinary", "GridSearchCV, skorch"),
)

# The first rows, on which the final losses of all contenders are computed alike.
_LOSS_ROWS = 10_000
# Tolerance and most iterations of fits whose time does not matter.
_USUAL = (1e-4, 1_000)

Answer = dict[str, Any]


def serve(connection: Connection, contender: str, threads: int, device: str) -> None:
    """Carry out orders until the pipe is closed.

    An order is the name of a method of `Worker` and its arguments. An answer is ``("done",
    dict)``, ``("skipped", reason)`` or ``("failed", traceback)``.

    Parameters
    ----------
    connection : Connection
    contender : str
        A key of `NETWORKS`, `LOGISTICS` or `SEARCHES`.
    threads : int
        What PyTorch and searches are told; the other libraries read the environment.
    device : str
    """
    if hasattr(os, "setsid"):
        os.setsid()  # so that it can be ended together with the workers that it starts
    if contender in USES_TORCH:
        import torch

        torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", message="Sparse")  # that CSR tensors are new
    worker = Worker(contender, threads, device)
    while True:
        try:
            order, arguments = connection.recv()
        except EOFError:
            worker.leave()
            return
        try:
            answer = ("done", getattr(worker, order)(*arguments))
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
        """Read the data of a case."""
        self.X = self.y = self.score = None
        gc.collect()
        self.X, self.y = data.load(folder)
        return {}

    def leave(self) -> None:
        """Send the workers of searches away: before joblib does, multiprocessing awaits them."""
        if self.has_searched:
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown(wait=True)

    def fit_network(self, case: NetworkCase, epochs: int) -> Answer:
        """Train a network; ``seconds`` an epoch."""
        network = NETWORKS[self.contender](case, self.device)
        X, y = self.X, self.y
        seconds = _time(lambda: network.fit(X, y, epochs))
        return {"seconds": seconds / epochs, "loss": self._loss(network)}

    def fit_logistic(
        self, case: LogisticCase, tol: float, max_iter: int, least_seconds: float
    ) -> Answer:
        """Fit a logistic regression; ``seconds``, and the ``objective`` it reaches.

        It is fitted again until `least_seconds` are over, and the median counts.
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

    def rehearse_search(self, case: SearchCase) -> Answer:
        """Start the workers of a search, and have them load their libraries."""
        self.has_searched = True
        with one_in_new_processes():
            self._search(case).rehearse(self.X, self.y)
        return {}

    def fit_search(self, case: SearchCase) -> Answer:
        """Search once; ``seconds``, the best ``score``, and all ``split_scores``."""
        self.rehearse_search(case)  # workers that had nothing to do for long have left
        search = self._search(case)
        with one_in_new_processes():
            seconds = _time(lambda: search.fit(self.X, self.y))
        return {
            "seconds": seconds,
            "score": search.best_score,
            "split_scores": search.split_scores,
        }

    def find_best_objective(self, case: LogisticCase) -> Answer:
        """Compute the optimum that contenders are held to."""
        from benchmarks.reference import best_objective

        return {"objective": best_objective(self.X, self.y, case)}

    def prepare_prediction(self, case: PredictionCase) -> Answer:
        """Fit what will be asked for probabilities, and make the rows."""
        if isinstance(case.fit, NetworkCase):
            network = NETWORKS[self.contender](case.fit, self.device)
            network.fit(self.X, self.y, case.fit.epochs)
            score = network.probabilities
        else:
            model = LOGISTICS[self.contender](case.fit, self.device, *_USUAL)
            score = model.fit(self.X, self.y).predict_proba
        rows = np.random.default_rng(1).standard_normal((case.rows, self.X.shape[1]))
        rows = rows.astype(self.X.dtype)
        self.score = lambda: score(rows)
        return {}

    def predict(self, case: PredictionCase) -> Answer:
        """Ask for probabilities; ``seconds`` a call."""
        score = self.score
        assert score is not None

        def call() -> None:
            for _ in range(case.calls):
                score()

        return {"seconds": _time(call) / case.calls}

    def measure_memory(self, case: MemoryCase) -> Answer:
        """Fit once in a fresh process; ``bytes`` above what was held before."""
        if isinstance(case.fit, SearchCase):
            peak = self._peak_of_search(case.fit)
        else:
            self._fit(case, rows=slice(0, 2_000))  # loads what is loaded late
            peak = peak_above(lambda: self._fit(case))
        return {"bytes": peak, "multiple": peak / (self.X.size * np.dtype(case.dtype).itemsize)}

    def _peak_of_search(self, case: SearchCase) -> int:
        if not tree_memory.can_measure():
            raise UnsuitableError("the memory of worker processes can be read on Linux only")
        self.rehearse_search(case)
        search = self._search(case)
        with one_in_new_processes():
            return tree_memory.peak_above(lambda: search.fit(self.X, self.y))

    def _search(self, case: SearchCase) -> Search:
        return Search(self.contender, case, self.device, self.threads)

    def _fit(self, case: MemoryCase, rows: slice | None = None) -> None:
        # X itself and no slice of it for the whole: a view could be treated differently.
        X, y = (self.X, self.y) if rows is None else (self.X[rows], self.y[rows])
        if isinstance(case.fit, NetworkCase):
            NETWORKS[self.contender](case.fit, self.device).fit(X, y, case.fit.epochs)
        else:
            LOGISTICS[self.contender](case.fit, self.device, *_USUAL).fit(X, y)

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
