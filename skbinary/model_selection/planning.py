"""From the candidates of a search to jobs: data that they share, and models to be trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial

from sklearn.base import clone

from skbinary.estimators.cross_fitting import Ensemble, plan_batched
from skbinary.estimators.epoch_choice import (
    plan_epoch_models,
    train_epoch_models,
    with_chosen_epochs,
)
from skbinary.estimators.model_fit import ModelFit
from skbinary.estimators.path_fit import is_small
from skbinary.estimators.recipe import MINIBATCH_SOLVERS
from skbinary.model_selection.candidates import PipelineCandidate
from skbinary.model_selection.continuation import (
    Continuation,
    continue_ensemble,
    continue_epoch_models,
)
from skbinary.model_selection.fit_results import FitResults
from skbinary.model_selection.jobs import Job
from skbinary.model_selection.search_checkpoint import check_same_rows
from skbinary.model_selection.search_progress import SearchProgress
from skbinary.model_selection.search_round import SearchRound, Task
from skbinary.model_selection.splits import PreparedSplit, SharedRows, share_rows
from skbinary.runtime.threads import one_torch_thread


class Planner:
    """Plans the jobs of a round.

    The failure of a candidate is kept as its result. A candidate that has neither a job nor a
    result must be fitted singly.

    Parameters
    ----------
    search_round : SearchRound
        The candidates and the splits.
    results : FitResults
        Keeps the failures and the warnings.
    continuation : Continuation or None
        The jobs of an earlier round, from which candidates go on.
    progress : SearchProgress or None
        Prints the progress of the models.
    """

    def __init__(
        self,
        search_round: SearchRound,
        results: FitResults,
        continuation: Continuation | None,
        progress: SearchProgress | None,
    ):
        self._round = search_round
        self._batchable = search_round.batchable
        self._results = results
        self._continuation = continuation
        self._progress = progress

    def plan(self, split: int) -> list[Job]:
        """Prepare the data of a split, and the models that are trained on it in batches.

        Parameters
        ----------
        split : int
            Index of the split.
        """
        jobs = self._keep_planned(self._jobs(split), self._plan_epochs)
        check_same_rows(dict.fromkeys(job.split for job in jobs if job.candidate.pipelines))
        self._report(jobs, split)
        # A few models of each job choose the number of epochs, all of them in batches.
        train_epoch_models([model for job in jobs for model in job.epoch_models])
        jobs = self._keep_planned(jobs, self._plan_models)
        self._report(jobs, split)
        return jobs

    def _jobs(self, split: int) -> Iterable[Job]:
        """Return the jobs of a split, on prepared data and without models."""
        jobs: dict[tuple[str, str], Job] = {}
        earlier: dict[int, Job] = {}
        if self._continuation is not None:
            earlier = self._continuation.earlier_jobs(self._round.candidates, split)
        batchable = self._batchable.items()
        prepared: dict[str, PreparedSplit | Exception] = {
            each.preparation_key: earlier[c].split for c, each in batchable if c in earlier
        }
        for c, candidate in batchable:
            task, preparation = Task(c, split), candidate.preparation_key
            if preparation not in prepared:
                prepared[preparation] = self._prepare(candidate, split)
            own = prepared[preparation]
            if isinstance(own, Exception):
                self._results.keep_failure([task], own)
                continue
            key = (preparation, candidate.training_key)
            job = jobs.setdefault(key, Job(own, candidate, earlier=earlier.get(c)))
            job.tasks[task] = candidate
        return jobs.values()

    def _prepare(self, candidate: PipelineCandidate, split: int) -> PreparedSplit | Exception:
        """Fit the transformers of a candidate, or return the error."""
        prepared = PreparedSplit(self._round.scoring, candidate, *self._round.splits[split])
        try:
            _ = prepared.transformers
        except Exception as error:
            return error
        return prepared

    def _keep_planned(self, jobs: Iterable[Job], plan: Callable[[Job], bool]) -> list[Job]:
        """Prepare models of jobs, and return those that can be trained in batches."""
        with one_torch_thread():
            return [job for job in jobs if self._results.attempt(job.tasks, partial(plan, job))]

    def _report(self, jobs: Sequence[Job], split: int) -> None:
        if self._progress is not None:
            self._progress.plan(jobs, split + 1, len(self._round.splits))

    def _plan_epochs(self, job: Job) -> bool:
        """Prepare the models of a job that choose the number of epochs, if it needs them."""
        split, candidate = job.split, job.candidate
        classifier = job.classifier = clone(candidate.validated_classifier)
        is_linear = not candidate.pipelines and classifier.solver not in MINIBATCH_SOLVERS
        if is_linear and not is_small(self._round.scoring.X) and self._all_rows is not None:
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
        """Prepare the models of a job, or return False if it must be fitted singly."""
        chooses, rows = job.chooses_threshold, job.rows
        recipe = with_chosen_epochs(job.recipe, job.epoch_models)
        ensemble: Ensemble | None
        if job.earlier is not None and not job.epoch_models:
            ensemble = continue_ensemble(job.earlier, recipe, chooses_threshold=chooses)
        else:
            ensemble = plan_batched(recipe, rows.data, chosen=rows.train, chooses_threshold=chooses)
        if ensemble is None:
            return False
        job.ensemble = ensemble
        if not job.epoch_models:
            self._watch(job, ensemble.models)
        job.split.n_jobs += 1
        return True

    def _watch(self, job: Job, models: Sequence[ModelFit]) -> None:
        if self._continuation is not None:
            self._continuation.watch(job, models)

    @cached_property
    def _all_rows(self) -> SharedRows | None:
        """All rows, for linear models without transformers, or None if they are invalid."""
        scoring = self._round.scoring
        candidate = next(each for each in self._batchable.values() if not each.pipelines)
        _, fit_params = candidate.split_fit_params(scoring.fit_params)
        try:
            return share_rows(candidate.classifier, scoring.X, scoring.y, fit_params)
        except Exception:  # the rows of some splits may be valid
            return None
