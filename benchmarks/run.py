"""Runs the cases: contenders interleaved, their order rotated from round to round."""

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
from benchmarks.crew import Crew, Member, SkippedError
from benchmarks.machine import describe
from benchmarks.results import Outcome, Result

Measure = Callable[[str], float]

# The default and the fastest of scikit-learn's stand for all where the solver hardly matters.
_PREDICTORS = {
    LogisticCase: ("skbinary", "lbfgs"),
    NetworkCase: ("skbinary", "MLPClassifier"),
}
_MEMORY_PEERS = {
    LogisticCase: ("skbinary", "lbfgs", "newton-cholesky"),
    NetworkCase: ("skbinary", "MLPClassifier", "plain PyTorch"),
    SearchCase: ("skbinary", "GridSearchCV, MLPClassifier"),
}
_GROWTH_PEERS = ("skbinary", "MLPClassifier", "plain PyTorch")
# Threads of the worker that was asked last may still spin for a while before they sleep.
_PAUSE = 0.1
# Nobody is waited for longer than this, whatever the case.
_PATIENCE = 1_800.0


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Parameters
    ----------
    threads : int
    device : str
    rounds : int
    time_limit : float
        Seconds of a logistic fit, above which a contender is given up.
    quick : bool
    contenders : tuple of str or None, default=None
        Who takes part, where it can. None for all.
    """

    threads: int
    device: str
    rounds: int
    time_limit: float
    quick: bool
    contenders: tuple[str, ...] | None = None

    def chosen(self, contenders: Iterable[str]) -> list[str]:
        """Leave out those that were not asked for."""
        return [name for name in contenders if self.contenders is None or name in self.contenders]

    @property
    def least_seconds(self) -> float:
        """A logistic fit that is over sooner is repeated within the round."""
        return 0.05 if self.quick else 0.2


def run(cases: list[Case], options: Options, keep: Callable[[Outcome], None]) -> Outcome:
    """Run cases.

    Parameters
    ----------
    cases : list of Case
    options : Options
    keep : callable
        Is given what is known after every case, so that a long run that is stopped is not lost.

    Returns
    -------
    Outcome
    """
    start = time.perf_counter()
    outcome = Outcome(describe(options.device), asdict(options), cases)
    crew = Crew(options.threads, options.device)
    try:
        with tempfile.TemporaryDirectory() as folder:
            stage = _Stage(crew, options, outcome, Path(folder))
            for case in cases:
                stage.run(case)
                outcome.seconds = time.perf_counter() - start
                keep(outcome)
    finally:
        crew.stop()
    return outcome


class _Stage:
    """Where a case is run."""

    def __init__(self, crew: Crew, options: Options, outcome: Outcome, folder: Path):
        self.crew = crew
        self.options = options
        self.outcome = outcome
        self.folder = folder
        self._made: dict[data.Source, Path] = {}

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
        ready = self._assemble(case, contenders, lambda m: m.ask("fit_network", case, 1))

        def measure(contender: str) -> float:
            answer = self.crew.member(contender).ask(
                "fit_network", case, case.epochs, limit=_PATIENCE
            )
            self._details(case, contender)["loss"] = answer["loss"]
            return float(answer["seconds"])

        self._interleave(case, ready, measure)

    def _run_logistic(self, case: LogisticCase) -> None:
        folder = self._prepare(case)
        reference = self.crew.member("reference")
        reference.use(folder)
        best = reference.ask("find_best_objective", case, limit=_PATIENCE)["objective"]
        contenders = suitable(case)
        if not self.options.device.startswith("cuda"):
            contenders.remove("cuML")
            self._result(case, "cuML").reason = "it needs --device cuda"
        ready = self._assemble(case, contenders, lambda m: self._tune(m, case, best))

        def measure(contender: str) -> float:
            details = self._details(case, contender)
            arguments = (case, details["tol"], details["max_iter"], self.options.least_seconds)
            answer = self.crew.member(contender).ask(
                "fit_logistic", *arguments, limit=5 * self.options.time_limit
            )
            return float(answer["seconds"])

        self._interleave(case, ready, measure)

    def _tune(self, member: Member, case: LogisticCase, best: float) -> None:
        search = tolerance.find(member, case, best, self.options.time_limit)
        details = self._details(case, member.contender)
        if search.answer is not None:
            details.update(search.answer, gap=search.gap)
        if not search.reached:
            raise SkippedError(search.gave_up or "does not reach it at any tolerance")

    def _run_prediction(self, case: PredictionCase) -> None:
        contenders = _PREDICTORS[type(case.fit)]
        ready = self._assemble(case, contenders, lambda m: _rehearse(m, case))
        self._interleave(
            case, ready, lambda name: self.crew.member(name).ask("predict", case)["seconds"]
        )

    def _run_search(self, case: SearchCase) -> None:
        ready = self._assemble(
            case, searches.suitable(case), lambda m: m.ask("rehearse_search", case)
        )

        def measure(contender: str) -> float:
            answer = self.crew.member(contender).ask("fit_search", case, limit=_PATIENCE)
            seconds = answer.pop("seconds")
            self._details(case, contender).update(answer)
            return float(seconds)

        self._interleave(case, ready, measure)

    def _run_memory(self, case: MemoryCase) -> None:
        folder = self._prepare(case)

        def measure(contender: str) -> float:
            with self.crew.newcomer(contender) as member:
                member.use(folder)
                answer = member.ask("measure_memory", case, limit=_PATIENCE)
            self._details(case, contender)["bytes"] = answer["bytes"]
            return float(answer["multiple"])

        peers = self.options.chosen(_MEMORY_PEERS[type(case.fit)])
        self._interleave(case, peers, measure)

    def _run_import(self, case: ImportCase) -> None:
        statements = dict(case.statements)
        for statement in statements.values():
            _seconds_of_import(statement)
        self._interleave(case, statements, lambda name: _seconds_of_import(statements[name]))

    def _assemble(
        self, case: Any, contenders: Iterable[str], rehearse: Callable[[Member], Any]
    ) -> list[str]:
        """Give everyone the data and a rehearsal, and name those that can go on."""
        folder = self._prepare(case)
        ready = []
        members = [self.crew.member(name) for name in self.options.chosen(contenders)]
        for member in members:
            member.start()  # all at once load their libraries
        for member in members:
            member.use(folder)
        for member in members:
            contender = member.contender
            try:
                rehearse(member)
            except SkippedError as error:
                self._result(case, contender).reason = str(error)
            else:
                self._result(case, contender)
                ready.append(contender)
        return ready

    def _interleave(self, case: Any, contenders: Iterable[str], measure: Measure) -> None:
        waiting = list(contenders)
        # Memory hardly varies, and every time wants a fresh process.
        once = self.options.quick and isinstance(case, MemoryCase)
        for _ in range(1 if once else self.options.rounds):
            for contender in list(waiting):
                result = self._result(case, contender)
                time.sleep(_PAUSE)
                try:
                    result.values.append(measure(contender))
                except SkippedError as error:
                    result.reason = str(error)
                    result.values.clear()
                    waiting.remove(contender)
            waiting = waiting[1:] + waiting[:1]

    def _prepare(self, case: Any) -> Path:
        """Make the data once, also for the cases that follow with the same."""
        source = case.source
        if source not in self._made:
            table = source.make()
            folder = self.folder / str(len(self._made))
            folder.mkdir()
            data.save(table, folder)
            self._made[source] = folder
        X, _ = data.load(self._made[source])
        rows = case.rows if isinstance(case, PredictionCase) else X.shape[0]
        self.outcome.shapes[case.name] = f"{rows:,} x {X.shape[1]:,}"
        return self._made[source]

    def _result(self, case: Any, contender: str) -> Result:
        result = self.outcome.find(case.name, contender)
        if result is None:
            result = Result(case.name, contender)
            self.outcome.results.append(result)
        return result

    def _details(self, case: Any, contender: str) -> dict[str, Any]:
        return self._result(case, contender).details


def _rehearse(member: Member, case: PredictionCase) -> None:
    member.ask("prepare_prediction", case)
    member.ask("predict", case)


def _seconds_of_import(statement: str) -> float:
    code = (
        f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return float(process.stdout)
