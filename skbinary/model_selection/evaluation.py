"""Every candidate of a search on every split: prepared, trained in stacks, scored."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from skbinary.callbacks.sklearn import task_line, task_told
from skbinary.estimators.batching import (
    Model,
    SharedRows,
    bytes_of_rows,
    is_small,
    room_for,
    share_rows,
    train_models,
)
from skbinary.estimators.ensemble import Parts, plan_parts
from skbinary.model_selection.candidates import PipelineCandidate, can_be_batched, unwrap
from skbinary.model_selection.scoring import PrecomputedScore, ScoringTask, Table, precomputed_areas
from skbinary.model_selection.splits import PreparedSplit
from skbinary.runtime.interrupts import raising_interrupts
from skbinary.runtime.memory import is_out_of_memory
from skbinary.runtime.threads import ThreadPool, even_chunks, one_torch_thread
from skbinary.runtime.warnings import Collected, collecting, warn


class Task(NamedTuple):
    """A candidate on a split, each by its number."""

    candidate: int
    split: int


@dataclass
class _Order:
    """What is trained at once: candidates on a split that differ in their threshold alone."""

    fold: PreparedSplit
    candidate: PipelineCandidate
    tasks: list[Task] = field(default_factory=list)


class Evaluation:
    """The candidates of a search, on all splits.

    Parameters
    ----------
    scoring : ScoringTask
    candidates : sequence of dict
        Their parameters.
    splits : sequence of (train, test)
        Positions of rows.
    contexts : sequence or None
        scikit-learn's callbacks, one for each candidate and split.
    """

    def __init__(
        self,
        scoring: ScoringTask,
        candidates: Sequence[dict[str, Any]],
        splits: Sequence[tuple[Any, Any]],
        contexts: Sequence[Any] | None = None,
    ):
        self.scoring = scoring
        self.candidates = candidates
        self.splits = [(_positions(train), _positions(test)) for train, test in splits]
        self.tasks = [Task(c, s) for c in range(len(candidates)) for s in range(len(splits))]
        self._contexts = dict(zip(self.tasks, contexts or (), strict=False))
        self._results: dict[Task, dict[str, Any]] = {}
        self._alone: set[Task] = set()
        self._known: dict[tuple[str, int], PrecomputedScore] = {}
        self._warnings: list[tuple[Task, Collected]] = []
        # While stacks are trained, torch itself has one.
        self._n_threads = torch.get_num_threads()

    def run(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Fit and score everything.

        Returns
        -------
        results : list of dict
            One for each candidate and split, in the form of scikit-learn's searches.
        fit_modes : list of str
            ``"stacked"`` or ``"single"``, one for each candidate.
        """
        self._unwrapped = [self._unwrap(parameters) for parameters in self.candidates]
        self._alone = {task for task in self.tasks if self._unwrapped[task.candidate] is None}
        most_bytes = self.scoring.search.max_stack_memory
        waiting: list[Parts] = []
        for split in range(len(self.splits)):
            waiting += self._plan(split)
            models = [model for parts in waiting for model in parts.models]
            # Splits share stacks while their rows fit in, and are let go of with them.
            if split == len(self.splits) - 1 or bytes_of_rows(models) > room_for(
                models, most_bytes
            ):
                self._train_and_score(waiting, models)
                waiting = []
        self._fit_alone(sorted(self._alone))
        self._summarize_warnings()
        alone = {task.candidate for task in self._alone}
        modes = ["single" if c in alone else "stacked" for c in range(len(self.candidates))]
        return [self._results[task] for task in self.tasks], modes

    def _unwrap(self, parameters: dict[str, Any]) -> PipelineCandidate | None:
        estimator = clone(self.scoring.search.estimator)
        found = unwrap(estimator.set_params(**clone(parameters, safe=False)))
        fine = found is not None and can_be_batched(found, self.scoring.fit_params)
        return found if fine else None

    def _plan(self, split: int) -> list[Parts]:
        """Prepare the rows of a split, and settle how each candidate is trained on them."""
        folds: dict[str, PreparedSplit | Exception] = {}
        orders: dict[Any, _Order] = {}
        for c, candidate in enumerate(self._unwrapped):
            if candidate is None:
                continue
            task, preparation = Task(c, split), candidate.preparation_key
            if preparation not in folds:
                folds[preparation] = self._fold(candidate, split)
            fold = folds[preparation]
            if isinstance(fold, Exception):
                self._fail(task, fold)
                continue
            key = (preparation, candidate.training_key)
            orders.setdefault(key, _Order(fold, candidate)).tasks.append(task)
        planned = [self._plan_order(order) for order in orders.values()]
        return [parts for parts in planned if parts is not None]

    def _plan_order(self, order: _Order) -> Parts | None:
        with collecting() as warned:
            try:
                with one_torch_thread():
                    parts = self._parts(order)
            except Exception as error:
                for task in order.tasks:
                    self._fail(task, error)
                return None
        if parts is None:
            self._alone.update(order.tasks)
        else:
            order.fold.n_parts += 1
            self._note_warnings(order.tasks, warned)
        return parts

    def _note_warnings(self, tasks: Sequence[Task], warned: Sequence[Collected]) -> None:
        self._warnings += [(task, each) for task in tasks for each in warned]

    def _summarize_warnings(self) -> None:
        """Show each kind of warning once, with the number of fits that gave it."""
        kinds: dict[Any, list[tuple[Task, Collected]]] = {}
        for task, each in sorted(self._warnings, key=lambda noted: noted[0]):
            kinds.setdefault(each.kind, []).append((task, each))
        for noted in kinds.values():
            first, warned = noted[0]
            n_fits = len({task for task, _ in noted})
            parameters = self.candidates[first.candidate].items()
            setting = ", ".join(f"{name}={value}" for name, value in parameters)
            warn(
                f"{n_fits} of {len(self.tasks)} fits of this search, the first of them with "
                f"{setting or 'no parameter set'}: {warned.message}",
                warned.category,
            )

    def _fold(self, candidate: PipelineCandidate, split: int) -> PreparedSplit | Exception:
        fold = PreparedSplit(self.scoring, candidate, *self.splits[split])
        try:
            _ = fold.transformers  # once, also where they fail
        except Exception as error:
            return error
        return fold

    def _parts(self, order: _Order) -> Parts | None:
        fold, candidate = order.fold, order.candidate
        classifier = clone(candidate.checked)
        linear = not candidate.pipelines and classifier._sees_all_rows()
        if linear and not is_small(self.scoring.X) and self._whole is not None:
            # All folds are weights of the same rows, which are held once.
            rows = replace(self._whole, chosen=fold.train)
        else:
            rows = fold.rows
        decides = any(self._objective(task) is not None for task in order.tasks)
        return plan_parts(order, classifier, rows, decides=decides)

    def _objective(self, task: Task) -> Any:
        """Give what the threshold of a candidate shall achieve, or None if it is a number."""
        candidate = self._unwrapped[task.candidate]
        threshold = None if candidate is None else candidate.classifier.threshold
        return None if threshold is None or isinstance(threshold, Real) else threshold

    @cached_property
    def _whole(self) -> SharedRows | None:
        """All rows, for linear models on them as they are."""
        scoring = self.scoring
        bare = next(u for u in self._unwrapped if u is not None and not u.pipelines)
        _, own = bare.divide(scoring.fit_params)
        try:
            return share_rows(bare.classifier, scoring.X, scoring.y, own)
        except Exception:  # a fold without the row that is amiss may still do
            return None

    def _train_and_score(self, waiting: Sequence[Parts], models: Sequence[Model]) -> None:
        """Train models, and score what they belong to stack by stack, so that callbacks see it."""
        owners = {id(model): parts for parts in waiting for model in parts.models}
        unfinished = {id(parts): len(parts.models) for parts in waiting}
        with closing(train_models(models, self.scoring.search.max_stack_memory)) as batches:
            for batch in batches:
                ended = []
                for parts in (owners[id(model)] for model in batch):
                    unfinished[id(parts)] -= 1
                    if not unfinished[id(parts)]:
                        ended.append(parts)
                self._score(ended)

    def _score(self, trained: Sequence[Parts]) -> None:
        """Score what was trained, on threads where the scorer is known to bear it."""
        search, jobs = self.scoring.search, []
        for parts in trained:
            order, n_tasks = parts.name, len(parts.name.tasks)
            if parts.error is None and parts.is_left:
                self._alone.update(order.tasks)
                continue
            failed = parts.error
            with collecting() as warned:
                try:
                    if failed is None:
                        parts.warn()
                        parts.finish()
                except Exception as error:
                    failed = error
            self._note_warnings(order.tasks, warned)
            shared = order.fold.seconds / max(1, order.fold.n_parts)
            for task in order.tasks:
                seconds = parts.seconds / n_tasks + shared
                if failed is not None:
                    self._fail(task, failed, seconds)
                else:
                    jobs.append((task, order.fold, parts, seconds))
        if self.scoring.is_of_the_scores:
            self._known = {}
            # A candidate that fails here fails again when it is scored, and is reported there.
            with suppress(Exception):
                # Candidates that differ in the threshold alone have the same scores.
                self._prepare_scores(list({id(job[2]): job[1:3] for job in jobs}.values()))
            Parallel(n_jobs=search.n_jobs, require="sharedmem")(
                delayed(self._score_tasks)(chunk)
                for chunk in even_chunks(jobs, effective_n_jobs(search.n_jobs))
            )
        else:
            self._score_tasks(jobs)

    def _prepare_scores(self, trained: Sequence[tuple[PreparedSplit, Parts]]) -> None:
        """Prepare what is scored, and work out the scores that need no scorer."""
        models: dict[PreparedSplit, list[Any]] = {}
        for fold, parts in trained:
            models.setdefault(fold, []).append(parts.classifier)
        tables = []
        for fold, own in models.items():
            for name in self.scoring.parts:
                _, y, _ = fold.part(name)
                if self.scoring.asks_for_areas and (rows := fold.checked(name, own[0])) is not None:
                    tables.append(Table(name, rows, y, own))
        if tables:
            self._known = precomputed_areas(tables, trained[0][0].device, self._n_threads)

    def _score_tasks(self, jobs: Sequence[tuple[Task, PreparedSplit, Parts, float]]) -> None:
        with ThreadPool(1):  # so that none of them calls on threads of its own
            for job in jobs:
                self._score_task(*job)

    def _score_task(self, task: Task, fold: PreparedSplit, parts: Parts, seconds: float) -> None:
        scoring, candidate = self.scoring, self._unwrapped[task.candidate]
        if candidate is None:
            raise AssertionError("what is scored here was taken apart before")
        context = self._contexts.get(task)
        with task_told(context, scoring.search, fold.given):
            begin = time.perf_counter()
            with collecting() as warned:
                try:
                    own = parts.deciding(candidate.classifier.threshold)
                except Exception as error:
                    self._fail(task, error, seconds)
                    return
            self._note_warnings([task], warned)
            if self._objective(task) is not None:
                seconds += time.perf_counter() - begin
                begin = time.perf_counter()
            whole = fold.whole(candidate, own)
            result = {"fit_error": None, "fit_time": seconds}
            for name in scoring.parts:
                known = self._known.get((name, id(parts.classifier)))
                try:
                    rows = fold.part(name)
                except Exception as error:  # a transformer may reject the rows
                    self._fail(task, error, seconds)
                    return
                try:
                    score = scoring.scores(whole, *rows) if known is None else known.score
                except (MemoryError, RuntimeError) as error:
                    if not is_out_of_memory(error):
                        raise
                    self._fail(task, error, seconds)
                    return
                result[f"{name}_scores"] = score
                if name == "test":
                    before = 0.0 if known is None else known.seconds
                    result["score_time"] = before + time.perf_counter() - begin
            result["n_test_samples"] = _num_samples(fold.part("test")[2])
        self._keep(task, result)

    def _keep(self, task: Task, result: dict[str, Any]) -> None:
        self._results[task] = result
        line = task_line(
            self.scoring.search.verbose,
            self.candidates[task.candidate],
            result,
            split=f"{task.split + 1}/{len(self.splits)}",
            candidate=f"{task.candidate + 1}/{len(self.candidates)}",
        )
        sys.stdout.write(line)

    def _fail(self, task: Task, error: Exception, seconds: float = 0.0) -> None:
        result = self.scoring.failed(error, seconds)
        result["n_test_samples"] = len(self.splits[task.split][1])
        self._keep(task, result)

    def _fit_alone(self, tasks: Sequence[Task]) -> None:
        """Fit and score the ordinary way."""
        scoring, search = self.scoring, self.scoring.search
        told: dict[Task, dict[str, Any]] = {
            task: {"caller": search, "callback_ctx": context}
            for task, context in self._contexts.items()
        }
        parallel = Parallel(n_jobs=search.n_jobs, pre_dispatch=search.pre_dispatch)
        results = parallel(
            delayed(_fit_collecting_warnings)(
                clone(search.estimator),
                scoring.X,
                scoring.y,
                scorer=scoring.scorer,
                train=self.splits[task.split][0],
                test=self.splits[task.split][1],
                verbose=search.verbose,
                parameters=self.candidates[task.candidate],
                fit_params=scoring.fit_params,
                score_params=scoring.score_params,
                return_train_score=search.return_train_score,
                return_n_test_samples=True,
                return_times=True,
                return_parameters=False,
                split_progress=(task.split, len(self.splits)),
                candidate_progress=(task.candidate, len(self.candidates)),
                error_score=search.error_score,
                **told.get(task, {}),
            )
            for task in tasks
        )
        for task, (result, warned) in zip(tasks, results, strict=True):
            self._results[task] = result
            self._note_warnings([task], warned)


def _fit_collecting_warnings(*args: Any, **kwargs: Any) -> tuple[dict[str, Any], list[Collected]]:
    with raising_interrupts(), collecting() as warned:
        return _fit_and_score(*args, **kwargs), warned


def _positions(rows: Any) -> Any:
    """Give the positions of rows, also where they were given as a mask."""
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows
