"""Run the cases: contenders are interleaved, and their order is rotated in each round."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import data, tolerance
from benchmarks.cases import (
    Case,
    ImportCase,
    LogisticCase,
    MemoryCase,
    NetworkCase,
    PredictionCase,
    SearchCase,
)
from benchmarks.contenders import searches
from benchmarks.contenders.logistics import suitable
from benchmarks.contenders.networks import NETWORKS
from benchmarks.machine import describe
from benchmarks.processes import ContenderProcess, ContenderProcesses, SkippedError
from benchmarks.results import Outcome, Result

Measure = Callable[[str], float]

# The solver hardly matters for prediction, so one of scikit-learn's is enough.
_PREDICTORS = {
    LogisticCase: ("skbinary", "lbfgs"),
    NetworkCase: ("skbinary", "MLPClassifier"),
}
_MEMORY_PEERS = {
    LogisticCase: ("skbinary", "lbfgs", "newton-cholesky"),
    NetworkCase: ("skbinary", "MLPClassifier", "plain PyTorch"),
    SearchCase: ("skbinary", "GridSearchCV, MLPClassifier"),
}
_MODULE_PEERS = ("skbinary", "skorch", "plain PyTorch")
_GROWTH_PEERS = ("skbinary", "MLPClassifier", "plain PyTorch")
# The threads of the previous worker may spin for a while before they sleep.
_PAUSE = 0.1
# Seconds after which a measurement is given up, whatever the case.
_TIME_LIMIT = 1_800.0


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Parameters
    ----------
    threads : int
    device : str
    rounds : int
    time_limit : float
        Seconds after which a logistic fit is given up.
    quick : bool
    contenders : tuple of str or None, default=None
        Names of the contenders. None runs all.
    """

    threads: int
    device: str
    rounds: int
    time_limit: float
    quick: bool
    contenders: tuple[str, ...] | None = None

    def chosen(self, contenders: Iterable[str]) -> list[str]:
        """Return the contenders that were selected."""
        return [name for name in contenders if self.contenders is None or name in self.contenders]

    @property
    def least_seconds(self) -> float:
        """Seconds of a round; shorter logistic fits are repeated within it."""
        return 0.05 if self.quick else 0.2


def run(cases: list[Case], options: Options, keep: Callable[[Outcome], None]) -> Outcome:
    """Run cases.

    Parameters
    ----------
    cases : list of Case
    options : Options
    keep : callable
        Called with the results after each case, so that an interrupted run is not lost.

    Returns
    -------
    Outcome
    """
    start = time.perf_counter()
    outcome = Outcome(describe(options.device), asdict(options), cases)
    processes = ContenderProcesses(options.threads, options.device)
    try:
        with tempfile.TemporaryDirectory() as folder:
            runner = _Runner(processes, options, outcome, Path(folder))
            for case in cases:
                runner.run(case)
                outcome.seconds = time.perf_counter() - start
                keep(outcome)
    finally:
        processes.stop()
    return outcome


class _Runner:
    """Runs single cases and adds their results to the outcome."""

    def __init__(
        self, processes: ContenderProcesses, options: Options, outcome: Outcome, folder: Path
    ):
        self.processes = processes
        self.options = options
        self.outcome = outcome
        self.folder = folder
        self._folders: dict[data.Source, Path] = {}

    def run(self, case: Case) -> None:
        start = time.perf_counter()
        print(f"{case.name} ...", end=" ", flush=True)
        try:
            if isinstance(case, NetworkCase):
                self._run_network(case)
            elif isinstance(case, LogisticCase):
                self._run_logistic(case)
            elif isinstance(case, PredictionCase):
                self._run_prediction(case)
            elif isinstance(case, SearchCase):
                self._run_search(case)
            elif isinstance(case, MemoryCase):
                self._run_memory(case)
            else:
                self._run_import(case)
        except (data.MissingDataError, SkippedError) as error:
            self.outcome.skipped[case.name] = str(error)
            print(f"skipped: {error}")
            return
        print(f"{time.perf_counter() - start:.0f} s")

    def _run_network(self, case: NetworkCase) -> None:
        contenders = _GROWTH_PEERS if case.name.startswith("growth/") else tuple(NETWORKS)
        contenders = contenders if case.module is None else _MODULE_PEERS
        ready = self._prepare_contenders(
            case, contenders, lambda each: each.call("fit_network", case, 1)
        )

        def measure(contender: str) -> float:
            answer = self.processes.get(contender).call(
                "fit_network", case, case.epochs, limit=_TIME_LIMIT
            )
            self._details(case, contender)["loss"] = answer["loss"]
            return float(answer["seconds"])

        self._interleave(case, ready, measure)

    def _run_logistic(self, case: LogisticCase) -> None:
        folder = self._prepare(case)
        reference = self.processes.get("reference")
        reference.use(folder)
        best = reference.call("find_best_objective", case, limit=_TIME_LIMIT)["objective"]
        contenders = suitable(case)
        if not self.options.device.startswith("cuda"):
            contenders.remove("cuML")
            self._result(case, "cuML").reason = "it needs --device cuda"
        ready = self._prepare_contenders(
            case, contenders, lambda each: self._find_tolerance(each, case, best)
        )

        def measure(contender: str) -> float:
            details = self._details(case, contender)
            arguments = (case, details["tol"], details["max_iter"], self.options.least_seconds)
            answer = self.processes.get(contender).call(
                "fit_logistic", *arguments, limit=5 * self.options.time_limit
            )
            return float(answer["seconds"])

        self._interleave(case, ready, measure)

    def _find_tolerance(self, process: ContenderProcess, case: LogisticCase, best: float) -> None:
        search = tolerance.find(process, case, best, self.options.time_limit)
        details = self._details(case, process.contender)
        if search.answer is not None:
            details.update(search.answer, suboptimality=search.suboptimality)
        if not search.reached:
            raise SkippedError(search.reason or "does not reach the optimum at any tolerance")

    def _run_prediction(self, case: PredictionCase) -> None:
        contenders = _PREDICTORS[type(case.fit)]
        ready = self._prepare_contenders(
            case, contenders, lambda each: _warm_up_prediction(each, case)
        )
        self._interleave(
            case, ready, lambda name: self.processes.get(name).call("predict", case)["seconds"]
        )

    def _run_search(self, case: SearchCase) -> None:
        ready = self._prepare_contenders(
            case, searches.suitable(case), lambda each: each.call("warm_up_search", case)
        )

        def measure(contender: str) -> float:
            answer = self.processes.get(contender).call("fit_search", case, limit=_TIME_LIMIT)
            seconds = answer.pop("seconds")
            self._details(case, contender).update(answer)
            return float(seconds)

        self._interleave(case, ready, measure)

    def _run_memory(self, case: MemoryCase) -> None:
        folder = self._prepare(case)

        def measure(contender: str) -> float:
            with self.processes.fresh(contender) as process:
                process.use(folder)
                answer = process.call("measure_memory", case, limit=_TIME_LIMIT)
            self._details(case, contender)["bytes"] = answer["bytes"]
            return float(answer["multiple"])

        peers = self.options.chosen(_MEMORY_PEERS[type(case.fit)])
        self._interleave(case, peers, measure)

    def _run_import(self, case: ImportCase) -> None:
        statements = dict(case.statements)
        for statement in statements.values():
            _seconds_of_import(statement)
        self._interleave(case, statements, lambda name: _seconds_of_import(statements[name]))

    def _prepare_contenders(
        self, case: Any, contenders: Iterable[str], warm_up: Callable[[ContenderProcess], Any]
    ) -> list[str]:
        """Load the data, warm up, and return the contenders that support the case."""
        folder = self._prepare(case)
        ready = []
        processes = [self.processes.get(name) for name in self.options.chosen(contenders)]
        for process in processes:
            process.start()  # all import their libraries at the same time
        for process in processes:
            process.use(folder)
        for process in processes:
            contender = process.contender
            try:
                warm_up(process)
            except SkippedError as error:
                self._result(case, contender).reason = str(error)
            else:
                self._result(case, contender)
                ready.append(contender)
        return ready

    def _interleave(self, case: Any, contenders: Iterable[str], measure: Measure) -> None:
        remaining = list(contenders)
        # Memory hardly varies, and each measurement needs a new process.
        once = self.options.quick and isinstance(case, MemoryCase)
        for _ in range(1 if once else self.options.rounds):
            for contender in list(remaining):
                result = self._result(case, contender)
                time.sleep(_PAUSE)
                try:
                    result.values.append(measure(contender))
                except SkippedError as error:
                    result.reason = str(error)
                    result.values.clear()
                    remaining.remove(contender)
            remaining = remaining[1:] + remaining[:1]

    def _prepare(self, case: Any) -> Path:
        """Save the data once for all cases that use it, and return the folder."""
        source = case.source
        if source not in self._folders:
            table = source.make()
            folder = self.folder / str(len(self._folders))
            folder.mkdir()
            data.save(table, folder)
            self._folders[source] = folder
        X, _ = data.load(self._folders[source])
        rows = case.rows if isinstance(case, PredictionCase) else X.shape[0]
        self.outcome.shapes[case.name] = f"{rows:,} x {X.shape[1]:,}"
        return self._folders[source]

    def _result(self, case: Any, contender: str) -> Result:
        result = self.outcome.find(case.name, contender)
        if result is None:
            result = Result(case.name, contender)
            self.outcome.results.append(result)
        return result

    def _details(self, case: Any, contender: str) -> dict[str, Any]:
        return self._result(case, contender).details


def _warm_up_prediction(process: ContenderProcess, case: PredictionCase) -> None:
    process.call("prepare_prediction", case)
    process.call("predict", case)


def _seconds_of_import(statement: str) -> float:
    code = (
        f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return float(finished.stdout)
