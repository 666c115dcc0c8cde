"""Candidates of a search that go on with their training, where ``max_iter`` is its resource."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from skbinary.estimators.cross_fitting import Ensemble
from skbinary.estimators.model_fit import ModelFit
from skbinary.estimators.recipe import Recipe
from skbinary.model_selection.jobs import Job
from skbinary.solvers.minibatch.batched import SolverView
from skbinary.solvers.minibatch.setup import MiniBatchSetup
from skbinary.solvers.recording import State, copied, copied_state
from skbinary.solvers.result import StopReason
from skbinary.solvers.run import Observer, Run

PARAMETER = "max_iter"


class FinalState(Observer):
    """An observer that keeps what a model needs to go on after ``max_iter`` epochs.

    Parameters
    ----------
    setup : MiniBatchSetup
        How the model is trained.

    Attributes
    ----------
    start : Tensor of shape (n_values,)
        The parameters, and the buffers of a module, after the last epoch, which need not be the
        best ones.
    setup : MiniBatchSetup
        The optimizer, the learning rates and the dropout as they are then.
    """

    start: Tensor
    setup: MiniBatchSetup

    def __init__(self, setup: MiniBatchSetup):
        self._first_setup = setup

    def snapshot(self) -> State:
        """Return what is kept, for a checkpoint."""
        if not hasattr(self, "setup"):
            return {}
        setup = self.setup
        return {
            "start": copied(self.start),
            "optimizer": copied_state(setup.optimizer.state()),
            "schedule": dict(vars(setup.schedule)),
            "dropout": None if setup.dropout is None else setup.dropout.snapshot(),
            "n_epochs": setup.n_epochs,
            "trained": None if setup.trained is None else copied(setup.trained),
        }

    def restore(self, state: State) -> None:
        """Keep what a ``snapshot()`` holds."""
        if not state:
            return
        first, start = self._first_setup, state["start"].to(self._first_setup.dataset.device)
        n_parameters = first.optimizer.parameters.shape[-1]
        schedule = copy.copy(first.schedule)
        vars(schedule).update(state["schedule"])
        dropout = None if first.dropout is None else first.dropout.copy()
        if dropout is not None:
            dropout.restore(state["dropout"])
        trained = state["trained"]
        self.start = start
        self.setup = replace(
            first,
            optimizer=first.optimizer.with_parameters(
                start[None, :n_parameters].clone(), state=state["optimizer"]
            ),
            schedule=schedule,
            dropout=dropout,
            n_epochs=state["n_epochs"],
            trained=None if trained is None else trained.to(start),
        )

    def epoch_end(self, run: Run) -> bool:
        """Keep the state of the model after its last epoch."""
        if run.n_iter >= run.criteria.max_iter and isinstance(run.solver, SolverView):
            self.start = run.model_batch.values[0].clone()
            self.setup = run.solver.continued()
        return False


class Continuation:
    """Keeps the jobs of one round of a search, so that candidates of the next one go on.

    A job goes on if it is trained in mini-batches, and if its learning rates do not depend on
    ``max_iter``. It then ends as if it had been trained for all epochs at once.

    Parameters
    ----------
    resource : str
        The name of the parameter that grows from round to round.
    """

    def __init__(self, resource: str):
        self.resource = resource
        self._candidates: Sequence[Mapping[str, Any]] = ()
        self._jobs: dict[tuple[Hashable, int], Job] = {}

    def earlier_jobs(self, candidates: Sequence[Mapping[str, Any]], split: int) -> dict[int, Job]:
        """Return the jobs of the last round on a split, by the candidates that go on from them.

        Parameters
        ----------
        candidates : sequence of mapping
            The parameters of all candidates of this round.
        split : int
            Index of the split.
        """
        jobs = {c: self._jobs.get((self._key(each), split)) for c, each in enumerate(candidates)}
        return {c: job for c, job in jobs.items() if job is not None}

    def watch(self, job: Job, models: Sequence[ModelFit]) -> None:
        """Keep the state of models of a job at the end of their training, if it can go on."""
        if job.candidate.prefix + PARAMETER != self.resource:
            return
        for model in models:
            how = model.how
            if isinstance(how, MiniBatchSetup) and not how.schedule.depends_on_length:
                model.observers.append(FinalState(how))

    def keep(self, jobs: Sequence[Job], candidates: Sequence[Mapping[str, Any]]) -> None:
        """Keep trained jobs for the next round, in place of those of the last one.

        Parameters
        ----------
        jobs : sequence of Job
        candidates : sequence of mapping
            The parameters of all candidates of the round.
        """
        self._candidates, self._jobs = candidates, {}
        for job in jobs:
            models = job.epoch_models or job.ensemble.models
            if not all(_can_continue(model) for model in models):
                continue
            job.earlier = None
            job.split.n_jobs, job.split.seconds = 0, 0.0
            for task in job.tasks:
                self._jobs[self._key(candidates[task.candidate]), task.split] = job

    def _key(self, parameters: Mapping[str, Any]) -> Hashable:
        """Return a key that stays equal when the resource grows: candidates keep their values."""
        values = {name: value for name, value in parameters.items() if name != self.resource}
        return frozenset((name, id(value)) for name, value in values.items())


def continue_epoch_models(earlier: Job, recipe: Recipe) -> list[ModelFit]:
    """Return the models of a job that choose the number of epochs, ready to go on."""
    return [_continued(each, recipe, recipe.validated_patience) for each in earlier.epoch_models]


def continue_ensemble(earlier: Job, recipe: Recipe, *, chooses_threshold: bool) -> Ensemble:
    """Return all models of a job, ready to go on.

    Parameters
    ----------
    earlier : Job
        A job that Continuation has kept.
    recipe : Recipe
        With more epochs.
    chooses_threshold : bool
        Whether a threshold will be chosen on held-out rows.
    """
    before = earlier.ensemble
    n_models = before.recipe.n_models
    patience = recipe.ensemble_patience if n_models > 1 else recipe.patience
    fold_models = before.fold_models if chooses_threshold else []
    return Ensemble(
        replace(recipe, n_models=n_models),
        before.data,
        before.chosen,
        members=[_continued(each, recipe, patience) for each in before.members],
        folds=before.folds if n_models > 1 or fold_models else [],
        fold_models=[_continued(each, recipe, recipe.auto_patience) for each in fold_models],
    )


def _can_continue(model: ModelFit) -> bool:
    """Whether a model was trained, and need not or can go on."""
    watched = any(isinstance(each, FinalState) for each in model.observers)
    return model.result is not None and (watched or not _ended_at_max_iter(model))


def _ended_at_max_iter(model: ModelFit) -> bool:
    return model.result is not None and model.result.stop_reason is StopReason.MAX_ITER


def _continued(model: ModelFit, recipe: Recipe, patience: float) -> ModelFit:
    """Return a trained model that is ready for the epochs that are left.

    It is trained already if it stopped before ``max_iter``, or if there are no more epochs.
    """
    result, max_iter = model.result, recipe.max_iter
    if result is None:
        raise AssertionError("only trained models go on")
    if not _ended_at_max_iter(model) or result.n_iter >= max_iter:
        return replace(model, seconds=0.0)
    final = next(each for each in model.observers if isinstance(each, FinalState))
    return replace(
        model,
        recipe=replace(model.recipe, max_iter=max_iter, patience=patience),
        criteria=replace(model.criteria, max_iter=max_iter, n_iter_no_change=patience),
        how=final.setup,
        start=final.start,
        observers=[],
        earlier=result,
        result=None,
        state=None,
        seconds=0.0,
    )
