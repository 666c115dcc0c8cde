"""Every candidate of a search on every split: prepared, trained in stacks, scored."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from skbinary.callbacks.sklearn import format_task_line, task_callbacks
from skbinary.estimators.batching import bytes_of_rows, memory_for, train_models
from skbinary.estimators.cross_fitting import Ensemble, plan_batched
from skbinary.estimators.model_fit import ModelFit
from skbinary.estimators.path_fit import is_small
from skbinary.estimators.recipe import MINIBATCH_SOLVERS
from skbinary.model_selection.candidates import PipelineCandidate, can_be_batched, unwrap
from skbinary.model_selection.jobs import Job, Task
from skbinary.model_selection.scoring import PrecomputedScore, ScoringTask, Table, precomputed_areas
from skbinary.model_selection.splits import PreparedSplit, SharedRows, share_rows
from skbinary.runtime.interrupts import raising_interrupts
from skbinary.runtime.memory import is_out_of_memory, parse_bytes
from skbinary.runtime.threads import ThreadPool, even_chunks, one_torch_thread
from skbinary.runtime.warnings import Collected, collecting, warn


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
            ``"batched"`` or ``"single"``, one for each candidate.
        """
        self._unwrapped = [self._unwrap(parameters) for parameters in self.candidates]
        self._alone = {task for task in self.tasks if self._unwrapped[task.candidate] is None}
        self._max_bytes = max_bytes = parse_bytes(self.scoring.search.max_memory)
        waiting: list[Job] = []
        for split in range(len(self.splits)):
            waiting += self._plan(split)
            models = [model for job in waiting for model in job.ensemble.models]
            # Splits share batches while their rows fit into the memory, and are then released.
            if split == len(self.splits) - 1 or bytes_of_rows(models) > memory_for(
                models, max_bytes
            ):
                self._train_and_score(waiting, models)
                waiting = []
        self._fit_alone(sorted(self._alone))
        self._summarize_warnings()
        alone = {task.candidate for task in self._alone}
        modes = ["single" if c in alone else "batched" for c in range(len(self.candidates))]
        return [self._results[task] for task in self.tasks], modes

    def _unwrap(self, parameters: dict[str, Any]) -> PipelineCandidate | None:
        estimator = clone(self.scoring.search.estimator)
        found = unwrap(estimator.set_params(**clone(parameters, safe=False)))
        fine = found is not None and can_be_batched(found, self.scoring.fit_params)
        return found if fine else None

    def _plan(self, split: int) -> list[Job]:
        """Prepare the rows of a split, and the models that are trained on them."""
        prepared: dict[str, PreparedSplit | Exception] = {}
        jobs: dict[Any, Job] = {}
        for c, candidate in enumerate(self._unwrapped):
            if candidate is None:
                continue
            task, preparation = Task(c, split), candidate.preparation_key
            if preparation not in prepared:
                prepared[preparation] = self._prepare(candidate, split)
            own = prepared[preparation]
            if isinstance(own, Exception):
                self._fail(task, own)
                continue
            key = (preparation, candidate.training_key)
            jobs.setdefault(key, Job(own, candidate)).tasks.append(task)
        return [job for job in jobs.values() if self._plan_job(job)]

    def _plan_job(self, job: Job) -> bool:
        """Get the models of a job ready for training, and return whether there are any."""
        with collecting() as warned:
            try:
                with one_torch_thread():
                    ensemble = self._ensemble(job)
            except Exception as error:
                for task in job.tasks:
                    self._fail(task, error)
                return False
        if ensemble is None:
            self._alone.update(job.tasks)
            return False
        job.ensemble = ensemble
        job.split.n_jobs += 1
        self._note_warnings(job.tasks, warned)
        return True

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

    def _prepare(self, candidate: PipelineCandidate, split: int) -> PreparedSplit | Exception:
        prepared = PreparedSplit(self.scoring, candidate, *self.splits[split])
        try:
            _ = prepared.transformers  # once, also where they fail
        except Exception as error:
            return error
        return prepared

    def _ensemble(self, job: Job) -> Ensemble | None:
        split, candidate = job.split, job.candidate
        classifier = job.classifier = clone(candidate.checked)
        linear = not candidate.pipelines and classifier.solver not in MINIBATCH_SOLVERS
        if linear and not is_small(self.scoring.X) and self._whole is not None:
            # All folds are weights of the same rows, which are held once.
            rows = replace(self._whole, chosen=split.train)
        else:
            rows = split.rows
        chooses = any(self._objective(task) is not None for task in job.tasks)
        classifier.__dict__.update(rows.features)
        recipe = classifier._recipe(rows.data, is_partial=False)
        return plan_batched(recipe, rows.data, chosen=rows.chosen, chooses_threshold=chooses)

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

    def _train_and_score(self, waiting: Sequence[Job], models: Sequence[ModelFit]) -> None:
        """Train models, and score each job as soon as its models are trained."""
        owners = {id(model): job for job in waiting for model in job.ensemble.models}
        unfinished = {id(job): len(job.ensemble.models) for job in waiting}
        with closing(train_models(models, self._max_bytes)) as batches:
            for batch in batches:
                ended = []
                for job in (owners[id(model)] for model in batch):
                    unfinished[id(job)] -= 1
                    if not unfinished[id(job)]:
                        ended.append(job)
                self._score(ended)

    def _score(self, trained: Sequence[Job]) -> None:
        """Score what was trained, on threads where the scorer is known to allow it."""
        search, scored = self.scoring.search, []
        for job in trained:
            ensemble, n_tasks = job.ensemble, len(job.tasks)
            if ensemble.error is None and ensemble.must_fit_alone:
                self._alone.update(job.tasks)
                continue
            failed = ensemble.error
            with collecting() as warned:
                try:
                    if failed is None:
                        job.finish()
                except Exception as error:
                    failed = error
            self._note_warnings(job.tasks, warned)
            shared = job.split.seconds / max(1, job.split.n_jobs)
            for task in job.tasks:
                seconds = ensemble.seconds / n_tasks + shared
                if failed is not None:
                    self._fail(task, failed, seconds)
                else:
                    scored.append((task, job, seconds))
        if self.scoring.is_of_the_scores:
            self._known = {}
            # A candidate that fails here fails again when it is scored, and is reported there.
            with suppress(Exception):
                # SplittableRows that differ in the threshold alone have the same scores.
                self._prepare_scores(list({id(job): job for _, job, _ in scored}.values()))
            Parallel(n_jobs=search.n_jobs, require="sharedmem")(
                delayed(self._score_tasks)(chunk)
                for chunk in even_chunks(scored, effective_n_jobs(search.n_jobs))
            )
        else:
            self._score_tasks(scored)

    def _prepare_scores(self, trained: Sequence[Job]) -> None:
        """Prepare what is scored, and work out the scores that need no scorer."""
        models: dict[PreparedSplit, list[Any]] = {}
        for job in trained:
            models.setdefault(job.split, []).append(job.classifier)
        tables = []
        for split, own in models.items():
            for name in self.scoring.parts:
                _, y, _ = split.part(name)
                if (
                    self.scoring.asks_for_areas
                    and (rows := split.checked(name, own[0])) is not None
                ):
                    tables.append(Table(name, rows, y, own))
        if tables:
            self._known = precomputed_areas(tables, trained[0].split.device, self._n_threads)

    def _score_tasks(self, scored: Sequence[tuple[Task, Job, float]]) -> None:
        with ThreadPool(1):  # so that none of them starts threads of its own
            for each in scored:
                self._score_task(*each)

    def _score_task(self, task: Task, job: Job, seconds: float) -> None:
        scoring, candidate = self.scoring, self._unwrapped[task.candidate]
        if candidate is None:
            raise AssertionError("what is scored here was taken apart before")
        context = self._contexts.get(task)
        with task_callbacks(context, scoring.search, job.split.given):
            begin = time.perf_counter()
            with collecting() as warned:
                try:
                    own = job.classifier_with(candidate.classifier.threshold)
                except Exception as error:
                    self._fail(task, error, seconds)
                    return
            self._note_warnings([task], warned)
            if self._objective(task) is not None:
                seconds += time.perf_counter() - begin
                begin = time.perf_counter()
            whole = job.split.whole(candidate, own)
            result = {"fit_error": None, "fit_time": seconds}
            for name in scoring.parts:
                known = self._known.get((name, id(job.classifier)))
                try:
                    rows = job.split.part(name)
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
            result["n_test_samples"] = _num_samples(job.split.part("test")[2])
        self._keep(task, result)

    def _keep(self, task: Task, result: dict[str, Any]) -> None:
        self._results[task] = result
        line = format_task_line(
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
