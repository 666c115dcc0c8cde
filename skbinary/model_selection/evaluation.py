"""Evaluation of the candidates of a search: trained in batches or one by one, and scored."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Any

import torch
from joblib import effective_n_jobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.parallel import Parallel, delayed

from skbinary.callbacks.sklearn import task_callbacks
from skbinary.estimators.batching import bytes_of_rows, memory_for, train_models
from skbinary.model_selection.continuation import Continuation
from skbinary.model_selection.fit_results import FitResults
from skbinary.model_selection.fold_models import FoldModels
from skbinary.model_selection.jobs import Job
from skbinary.model_selection.planning import Planner
from skbinary.model_selection.scoring import PrecomputedScore, ScoredRows, precompute_roc_aucs
from skbinary.model_selection.search_progress import SearchProgress
from skbinary.model_selection.search_round import SearchRound, Task
from skbinary.model_selection.single_fits import fit_singly
from skbinary.model_selection.splits import PreparedSplit
from skbinary.runtime.memory import is_out_of_memory, parse_bytes
from skbinary.runtime.threads import ThreadPool, even_chunks
from skbinary.runtime.warnings import collecting


class Evaluation:
    """Evaluates candidates on all splits.

    Parameters
    ----------
    search_round : SearchRound
        The candidates and the splits.
    continuation : Continuation or None, default=None
        The jobs of an earlier round, from which candidates go on.
    progress : SearchProgress or None, default=None
        Prints the progress of the models that are trained in batches.

    Attributes
    ----------
    fold_models : FoldModels or None
        The fitted models of the candidates, if the search averages them.
    """

    def __init__(
        self,
        search_round: SearchRound,
        continuation: Continuation | None = None,
        progress: SearchProgress | None = None,
    ):
        self.scoring = search_round.scoring
        self._round = search_round
        self._continuation = continuation
        # With max_iter as its resource, the search itself ends the training of candidates.
        ignored = ConvergenceWarning if continuation is not None else None
        self._results = FitResults(search_round, ignored)
        self._planner = Planner(search_round, self._results, continuation, progress)
        self._precomputed: dict[tuple[str, int], PrecomputedScore] = {}
        averages = self.scoring.search.ensemble_size is not None
        self.fold_models = FoldModels(search_round, self._results) if averages else None
        self._max_bytes = parse_bytes(self.scoring.search.max_memory)
        # While batches are trained, torch itself is set to one thread.
        self._n_threads = torch.get_num_threads()

    def run(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Fit and score all candidates on all splits.

        Returns
        -------
        results : list of dict
            One for each candidate and split, in the form of scikit-learn's searches.
        fit_modes : list of str
            ``"batched"`` or ``"single"``, one for each candidate.
        """
        n_splits, candidates = len(self._round.splits), self._round.candidates
        computed_singly: set[int] = set()
        jobs: list[Job] = []
        all_fit = True
        for split in range(n_splits):
            jobs += self._planner.plan(split)
            computed_singly |= {c for job in jobs if not job.recipe.is_mapped for c, _ in job.tasks}
            models = [model for job in jobs for model in job.ensemble.models]
            is_too_large = bytes_of_rows(models) > memory_for(models, self._max_bytes)
            all_fit = all_fit and not is_too_large
            # Splits share batches while their rows fit into the memory, and are then released.
            if is_too_large or split == n_splits - 1:
                self._train_and_score(jobs)
                if self._continuation is not None:
                    self._continuation.keep(jobs if all_fit else [], candidates)
                jobs = []
        results, tasks = self._results.by_task, self._round.tasks
        left = [task for task in tasks if task not in results]
        self._fit_single_tasks(left)
        self._results.show_warnings()
        single = computed_singly | {task.candidate for task in left}
        modes = ["single" if c in single else "batched" for c in range(len(candidates))]
        return [results[task] for task in tasks], modes

    def _fit_single_tasks(self, tasks: Sequence[Task]) -> None:
        """Fit and score the candidates that cannot be trained in a batch of models."""
        for task, result, collected in fit_singly(self._round, tasks):
            fitted = result.pop("estimator", None)
            if self.fold_models is not None and result["fit_error"] is None:
                self.fold_models.add_estimator(task, fitted)
            self._results.by_task[task] = result
            self._results.add_warnings([task], collected)

    def _train_and_score(self, jobs: Sequence[Job]) -> None:
        """Train models, and score each job as soon as its models are trained."""
        job_of = {id(m): job for job in jobs for m in job.ensemble.models if m.result is None}
        models = [m for job in jobs for m in job.ensemble.models if id(m) in job_of]
        n_untrained = Counter(job_of.values())
        finished = [job for job in jobs if not n_untrained[job]]
        if finished:
            self._score_jobs(finished)
        with closing(train_models(models, self._max_bytes)) as batches:
            for batch in batches:
                trained = []
                for job in (job_of[id(model)] for model in batch):
                    n_untrained[job] -= 1
                    if not n_untrained[job]:
                        trained.append(job)
                self._score_jobs(trained)

    def _score_jobs(self, trained: Sequence[Job]) -> None:
        """Score trained models, on threads if the scorer is known to allow it."""
        search = self.scoring.search
        scored = [each for job in trained for each in self._fitted_tasks(job)]
        jobs = list(dict.fromkeys(job for _, job, _ in scored))
        if self.fold_models is not None:
            self.fold_models.add_jobs(jobs)
        if not self.scoring.uses_predictions_only:
            self._score_tasks(scored)
            return
        self._precomputed = {}
        # An error is raised again when the candidate is scored, and is handled there.
        with suppress(Exception):
            # Candidates that differ only in their threshold have the same ROC AUC.
            self._precompute_scores(jobs)
        Parallel(n_jobs=search.n_jobs, require="sharedmem")(
            delayed(self._score_tasks)(chunk)
            for chunk in even_chunks(scored, effective_n_jobs(search.n_jobs))
        )

    def _fitted_tasks(self, job: Job) -> list[tuple[Task, Job, float]]:
        """Return the tasks of a trained job that can be scored, each with its fit time.

        Others have failed, or are left to be fitted singly.
        """
        ensemble = job.ensemble
        if ensemble.error is None and ensemble.needs_single_fit:
            return []
        error = ensemble.error
        with collecting() as collected:
            try:
                if error is None:
                    job.finish()
            except Exception as raised:
                error = raised
        self._results.add_warnings(job.tasks, collected)
        seconds = ensemble.seconds + sum(model.seconds for model in job.epoch_models)
        seconds = seconds / len(job.tasks) + job.split.seconds / max(1, job.split.n_jobs)
        if error is None:
            return [(task, job, seconds) for task in job.tasks]
        self._results.keep_failure(job.tasks, error, seconds)
        return []

    def _precompute_scores(self, trained: Sequence[Job]) -> None:
        """Compute the scores that need no scorer.

        The data is transformed here, before threads score it.
        """
        classifiers: dict[PreparedSplit, list[Any]] = {}
        for job in trained:
            classifiers.setdefault(job.split, []).append(job.classifier)
        tables = []
        for split, own in classifiers.items():
            for name in self.scoring.scored_names:
                _, y, _ = split.scored_data(name)
                if self.scoring.is_roc_auc_only:
                    rows = split.checked_rows(name, own[0])
                    if rows is not None:
                        tables.append(ScoredRows(name, rows, y, own))
        if tables:
            device = trained[0].split.device
            self._precomputed = precompute_roc_aucs(tables, device, self._n_threads)

    def _score_tasks(self, scored: Sequence[tuple[Task, Job, float]]) -> None:
        with ThreadPool(1):  # so that torch starts no threads
            for each in scored:
                self._score_task(*each)

    def _score_task(self, task: Task, job: Job, seconds: float) -> None:
        """Score a fitted candidate on its split, and keep the result."""
        split, candidate = job.split, job.tasks[task]
        context, training_data = self._round.context(task), split.untransformed_training_data
        with task_callbacks(context, self.scoring.search, training_data):
            begin = time.perf_counter()
            choose = partial(job.classifier_with, candidate.classifier.threshold)
            classifier = self._results.attempt([task], choose, seconds)
            if classifier is None:
                return
            if candidate.has_objective:
                seconds += time.perf_counter() - begin
            if self.fold_models is not None:
                whole = candidate.with_fitted_steps(split.transformers, classifier)
                self.fold_models.add_estimator(task, whole)
            scores = self._scores(job, split.scored_estimator(candidate, classifier))
        if isinstance(scores, Exception):
            self._results.keep_failure([task], scores, seconds)
        else:
            self._results.keep(task, {"fit_error": None, "fit_time": seconds, **scores})

    def _scores(self, job: Job, estimator: Any) -> dict[str, Any] | Exception:
        """Return the scores of a fitted estimator, or the error with which its candidate fails.

        Other errors of scorers are raised, as in scikit-learn's searches.
        """
        scores: dict[str, Any] = {}
        for name in self.scoring.scored_names:
            begin = time.perf_counter()
            precomputed = self._precomputed.get((name, id(job.classifier)))
            try:
                data = job.split.scored_data(name)
            except Exception as error:  # a transformer may reject the data
                return error
            try:
                score = precomputed.score if precomputed else self.scoring.score(estimator, *data)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                return error
            scores[f"{name}_scores"] = score
            if name == "test":
                seconds = precomputed.seconds if precomputed else 0.0
                scores["score_time"] = seconds + time.perf_counter() - begin
        return scores
