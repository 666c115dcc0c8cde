"""Evaluation of the candidates of a search on all splits: prepared, trained in batches, scored."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.parallel import Parallel, delayed

from skbinary.callbacks.sklearn import format_task_line, task_callbacks
from skbinary.estimators.batching import bytes_of_rows, memory_for, train_models
from skbinary.estimators.cross_fitting import Ensemble, plan_batched
from skbinary.estimators.epoch_choice import (
    plan_epoch_models,
    train_epoch_models,
    with_chosen_epochs,
)
from skbinary.estimators.model_fit import ModelFit
from skbinary.estimators.path_fit import is_small
from skbinary.estimators.recipe import MINIBATCH_SOLVERS
from skbinary.model_selection.candidates import (
    PipelineCandidate,
    as_pipeline_candidate,
    can_be_batched,
)
from skbinary.model_selection.continuation import (
    Continuation,
    continue_ensemble,
    continue_epoch_models,
)
from skbinary.model_selection.fit_warnings import FitWarnings
from skbinary.model_selection.fold_models import CandidateModels, FoldModels
from skbinary.model_selection.jobs import Job, Task
from skbinary.model_selection.scoring import (
    PrecomputedScore,
    ScoredRows,
    ScoringTask,
    precompute_roc_aucs,
)
from skbinary.model_selection.search_checkpoint import check_same_rows
from skbinary.model_selection.search_progress import SearchProgress
from skbinary.model_selection.single_fits import fit_singly
from skbinary.model_selection.splits import PreparedSplit, SharedRows, share_rows
from skbinary.runtime.memory import is_out_of_memory, parse_bytes
from skbinary.runtime.threads import ThreadPool, even_chunks, one_torch_thread
from skbinary.runtime.warnings import collecting


class Evaluation:
    """Evaluates candidates on all splits.

    Parameters
    ----------
    scoring : ScoringTask
    candidates : sequence of dict
        Their parameters.
    splits : sequence of (train, test)
        Indices or masks of the samples.
    contexts : sequence or None
        The contexts of scikit-learn's callbacks, one for each candidate and split.
    continuation : Continuation or None, default=None
        The jobs of an earlier evaluation, from which candidates go on.
    progress : SearchProgress or None, default=None
        Prints the progress of the models that are trained in batches.

    Attributes
    ----------
    advice : str or None
        A warning about the candidates, which is not about their fits.
    """

    def __init__(
        self,
        scoring: ScoringTask,
        candidates: Sequence[dict[str, Any]],
        splits: Sequence[tuple[Any, Any]],
        contexts: Sequence[Any] | None = None,
        continuation: Continuation | None = None,
        progress: SearchProgress | None = None,
    ):
        self.scoring = scoring
        self.candidates = candidates
        self.splits = [(_indices(train), _indices(test)) for train, test in splits]
        self.tasks = [Task(c, s) for c in range(len(candidates)) for s in range(len(splits))]
        self._contexts = dict(zip(self.tasks, contexts or (), strict=False))
        self._results: dict[Task, dict[str, Any]] = {}
        self._single_tasks: set[Task] = set()
        self._unmapped: set[int] = set()  # candidates whose modules are computed one by one
        self._precomputed: dict[tuple[str, int], PrecomputedScore] = {}
        self._fold_models: FoldModels | None = None
        self._continuation = continuation
        self._progress = progress
        # With max_iter as its resource, the search itself ends the training of candidates.
        ignored = ConvergenceWarning if continuation is not None else None
        self._warnings = FitWarnings(candidates, len(self.tasks), ignored)
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
        self._plan_candidates()
        self._single_tasks = {t for t in self.tasks if self._batchable[t.candidate] is None}
        self._max_bytes = max_bytes = parse_bytes(self.scoring.search.max_memory)
        jobs: list[Job] = []
        all_fit = True
        for split in range(len(self.splits)):
            jobs += self._plan_jobs(split)
            models = [model for job in jobs for model in job.ensemble.models]
            is_too_large = bytes_of_rows(models) > memory_for(models, max_bytes)
            all_fit = all_fit and not is_too_large
            # Splits share batches while their rows fit into the memory, and are then released.
            if is_too_large or split == len(self.splits) - 1:
                self._train_and_score(jobs)
                if self._continuation is not None:
                    self._continuation.keep(jobs if all_fit else [], self.candidates)
                jobs = []
        self._fit_single_tasks()
        self._warnings.show()
        single_candidates = self._unmapped | {task.candidate for task in self._single_tasks}
        n_candidates = range(len(self.candidates))
        modes = ["single" if c in single_candidates else "batched" for c in n_candidates]
        return [self._results[task] for task in self.tasks], modes

    def _fit_single_tasks(self) -> None:
        """Fit and score the candidates that cannot be trained in a batch of models."""
        single = sorted(self._single_tasks)
        for task, result, collected in fit_singly(
            single, self.scoring, self.candidates, self.splits, self._contexts
        ):
            fitted = result.pop("estimator", None)
            if self._fold_models is not None and result["fit_error"] is None:
                self._fold_models.add_estimator(task, fitted)
            self._results[task] = result
            self._warnings.add([task], collected)

    def fitted_candidates(self, first_index: int) -> list[CandidateModels]:
        """Return the fitted models of the candidates, if the search averages them.

        Parameters
        ----------
        first_index : int
            Number of the candidates that were evaluated before.
        """
        if self._fold_models is None:
            return []
        return self._fold_models.fitted_candidates(self._results, first_index)

    def _plan_candidates(self) -> None:
        """Find the candidates that can be trained in a batch of models."""
        scoring, estimators = self.scoring, []
        for parameters in self.candidates:
            estimator = clone(scoring.search.estimator)
            estimators.append(estimator.set_params(**clone(parameters, safe=False)))
        pipelines = [as_pipeline_candidate(each) for each in estimators]
        self._batchable = [
            each if each is not None and can_be_batched(each, scoring.fit_params) else None
            for each in pipelines
        ]
        warnings = [each and each.threshold_warning for each in pipelines]
        self.advice = next((each for each in warnings if each), None)
        if scoring.search.ensemble_size is not None:
            self._fold_models = FoldModels(scoring, self.splits, estimators, pipelines)

    def _plan_jobs(self, split: int) -> list[Job]:
        """Prepare the data of a split, and the models that are trained on it."""
        jobs: dict[Any, Job] = {}
        earlier: dict[int, Job] = {}
        if self._continuation is not None:
            earlier = self._continuation.earlier_jobs(self.candidates, split)
        batchable = [(c, each) for c, each in enumerate(self._batchable) if each is not None]
        prepared: dict[str, PreparedSplit | Exception] = {
            each.preparation_key: earlier[c].split for c, each in batchable if c in earlier
        }
        for c, candidate in batchable:
            task, preparation = Task(c, split), candidate.preparation_key
            if preparation not in prepared:
                prepared[preparation] = self._prepare(candidate, split)
            own = prepared[preparation]
            if isinstance(own, Exception):
                self._keep_failure(task, own)
                continue
            key = (preparation, candidate.training_key)
            jobs.setdefault(key, Job(own, candidate, earlier=earlier.get(c))).tasks.append(task)
        planned = [job for job in jobs.values() if self._try(job, self._plan_epochs)]
        check_same_rows(dict.fromkeys(job.split for job in planned if job.candidate.pipelines))
        if self._progress is not None:
            self._progress.plan(planned, split + 1, len(self.splits))
        # A few models of each job choose the number of epochs, all of them in batches.
        train_epoch_models([model for job in planned for model in job.epoch_models])
        planned = [job for job in planned if self._try(job, self._plan_models)]
        if self._progress is not None:
            self._progress.plan(planned, split + 1, len(self.splits))
        return planned

    def _try(self, job: Job, plan: Callable[[Job], bool]) -> bool:
        """Prepare models of a job, and return whether it can be trained in batches."""
        with collecting() as collected:
            try:
                with one_torch_thread():
                    is_planned = plan(job)
            except Exception as error:
                for task in job.tasks:
                    self._keep_failure(task, error)
                return False
        self._warnings.add(job.tasks, collected)
        return is_planned

    def _prepare(self, candidate: PipelineCandidate, split: int) -> PreparedSplit | Exception:
        """Fit the transformers of a candidate, or return the error."""
        prepared = PreparedSplit(self.scoring, candidate, *self.splits[split])
        try:
            _ = prepared.transformers
        except Exception as error:
            return error
        return prepared

    def _plan_epochs(self, job: Job) -> bool:
        """Prepare the models of a job that choose the number of epochs, if it needs them."""
        split, candidate = job.split, job.candidate
        classifier = job.classifier = clone(candidate.validated_classifier)
        is_linear = not candidate.pipelines and classifier.solver not in MINIBATCH_SOLVERS
        if is_linear and not is_small(self.scoring.X) and self._all_rows is not None:
            # All folds are weights of the same rows, which are held once.
            rows = replace(self._all_rows, train=split.train)
        else:
            rows = split.rows
        classifier.__dict__.update(rows.feature_attributes)
        job.rows, job.recipe = rows, classifier._recipe(rows.data, is_partial=False)
        if job.earlier is not None:
            job.epoch_models = continue_epoch_models(job.earlier, job.recipe)
        else:
            job.epoch_models = plan_epoch_models(job.recipe, rows.data, rows.train)
        self._watch(job, job.epoch_models)
        return True

    def _plan_models(self, job: Job) -> bool:
        """Prepare the models of a job, or have it fitted singly."""
        chooses = any(self._has_objective(task) for task in job.tasks)
        recipe, rows = with_chosen_epochs(job.recipe, job.epoch_models), job.rows
        ensemble: Ensemble | None
        if job.earlier is not None and not job.epoch_models:
            ensemble = continue_ensemble(job.earlier, recipe, chooses_threshold=chooses)
        else:
            ensemble = plan_batched(recipe, rows.data, chosen=rows.train, chooses_threshold=chooses)
        if ensemble is None:
            self._single_tasks.update(job.tasks)
            return False
        job.ensemble = ensemble
        if not recipe.is_mapped:
            self._unmapped.update(task.candidate for task in job.tasks)
        if not job.epoch_models:
            self._watch(job, ensemble.models)
        job.split.n_jobs += 1
        return True

    def _watch(self, job: Job, models: Sequence[ModelFit]) -> None:
        if self._continuation is not None:
            self._continuation.watch(job, models)

    def _has_objective(self, task: Task) -> bool:
        """Whether the threshold of a candidate is chosen for an objective."""
        candidate = self._batchable[task.candidate]
        return candidate is not None and not isinstance(candidate.classifier.threshold, Real)

    @cached_property
    def _all_rows(self) -> SharedRows | None:
        """All rows, for linear models without transformers, or None if they are invalid."""
        scoring = self.scoring
        candidate = next(c for c in self._batchable if c is not None and not c.pipelines)
        _, fit_params = candidate.split_fit_params(scoring.fit_params)
        try:
            return share_rows(candidate.classifier, scoring.X, scoring.y, fit_params)
        except Exception:  # the rows of some splits may be valid
            return None

    def _train_and_score(self, jobs: Sequence[Job]) -> None:
        """Train models, and score each job as soon as its models are trained."""
        models_of = {
            job: [model for model in job.ensemble.models if model.result is None] for job in jobs
        }
        models = [model for own in models_of.values() for model in own]
        job_of = {id(model): job for job, own in models_of.items() for model in own}
        n_untrained = {id(job): len(own) for job, own in models_of.items()}
        finished = [job for job, own in models_of.items() if not own]
        if finished:
            self._score_jobs(finished)
        with closing(train_models(models, self._max_bytes)) as batches:
            for batch in batches:
                trained = []
                for job in (job_of[id(model)] for model in batch):
                    n_untrained[id(job)] -= 1
                    if not n_untrained[id(job)]:
                        trained.append(job)
                self._score_jobs(trained)

    def _score_jobs(self, trained: Sequence[Job]) -> None:
        """Score trained models, on threads if the scorer is known to allow it."""
        search = self.scoring.search
        scored = [each for job in trained for each in self._fitted_tasks(job)]
        jobs = list({id(job): job for _, job, _ in scored}.values())
        if self._fold_models is not None:
            self._fold_models.add_jobs(jobs)
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
        """Return the tasks of a trained job that can be scored, each with its fit time."""
        ensemble = job.ensemble
        if ensemble.error is None and ensemble.needs_single_fit:
            self._single_tasks.update(job.tasks)
            return []
        error = ensemble.error
        with collecting() as collected:
            try:
                if error is None:
                    job.finish()
            except Exception as raised:
                error = raised
        self._warnings.add(job.tasks, collected)
        seconds = ensemble.seconds + sum(model.seconds for model in job.epoch_models)
        seconds = seconds / len(job.tasks) + job.split.seconds / max(1, job.split.n_jobs)
        if error is None:
            return [(task, job, seconds) for task in job.tasks]
        for task in job.tasks:
            self._keep_failure(task, error, seconds)
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
        split, candidate = job.split, self._batchable[task.candidate]
        if candidate is None:
            raise AssertionError("only candidates that are trained in batches are scored here")
        context, training_data = self._contexts.get(task), split.untransformed_training_data
        with task_callbacks(context, self.scoring.search, training_data):
            begin = time.perf_counter()
            with collecting() as collected:
                try:
                    classifier = job.classifier_with(candidate.classifier.threshold)
                except Exception as error:
                    self._keep_failure(task, error, seconds)
                    return
            self._warnings.add([task], collected)
            if self._has_objective(task):
                seconds += time.perf_counter() - begin
            if self._fold_models is not None:
                whole = candidate.with_fitted_steps(split.transformers, classifier)
                self._fold_models.add_estimator(task, whole)
            scores = self._scores(job, split.scored_estimator(candidate, classifier))
        if isinstance(scores, Exception):
            self._keep_failure(task, scores, seconds)
        else:
            self._keep(task, {"fit_error": None, "fit_time": seconds, **scores})

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

    def _keep(self, task: Task, result: dict[str, Any]) -> None:
        """Keep the result of a task, and print it if the search is verbose."""
        result["n_test_samples"] = len(self.splits[task.split][1])
        self._results[task] = result
        line = format_task_line(
            self.scoring.search.verbose,
            self.candidates[task.candidate],
            result,
            split=f"{task.split + 1}/{len(self.splits)}",
            candidate=f"{task.candidate + 1}/{len(self.candidates)}",
        )
        sys.stdout.write(line)

    def _keep_failure(self, task: Task, error: Exception, seconds: float = 0.0) -> None:
        """Keep the result of a task that failed, or raise if the search says so."""
        self._keep(task, self.scoring.failure(error, seconds))


def _indices(indices_or_mask: Any) -> Any:
    """Return the indices of samples, also if they are given as a mask."""
    indices = np.asarray(indices_or_mask)
    return np.flatnonzero(indices) if indices.dtype == bool else indices
