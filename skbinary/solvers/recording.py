"""States of a training that is recorded after every epoch, and goes on from the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from skbinary.solvers.result import DivergedError, FitResult, StopReason
from skbinary.solvers.run import Observer, Run

# A state is a tree of dicts with string keys, lists, tensors, arrays and what JSON can hold.
State: TypeAlias = dict[str, Any]
Outcome: TypeAlias = FitResult | DivergedError


class Recorder(Protocol):
    """Keeps the state of one training: of a model, or of a batch of models."""

    def load(self) -> State | None:
        """Return the state that was kept last, in this process or an earlier one, if any."""
        ...

    def save(self, state: State) -> None:
        """Keep a state. Its tensors do not change any more."""
        ...

    def interrupt(self) -> None:
        """Handle that the training ends before its time, with the state that was kept last."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A solver that can go on from the end of any epoch. All others start anew."""

    def snapshot(self) -> State:
        """Return a copy of the state after an epoch."""
        ...

    def restore(self, state: State) -> None:
        """Go on from such a state. The solver is as it was before its first epoch."""
        ...


@runtime_checkable
class StatefulObserver(Protocol):
    """An observer with a state that is needed after the training."""

    def snapshot(self) -> State:
        """Return its state at the end of the training."""
        ...

    def restore(self, state: State) -> None:
        """Take over such a state."""
        ...


class Recording:
    """Records the training of a batch of models, if there is a recorder.

    Parameters
    ----------
    recorder : Recorder or None
    solver : object
        The solver, which is recorded after every epoch if it is ``Resumable``.
    runs : mapping of int to Run
        The runs of all models.
    """

    def __init__(self, recorder: Recorder | None, solver: object, runs: Mapping[int, Run]):
        self._recorder = recorder
        self._solver = solver if isinstance(solver, Resumable) else None
        self._runs = runs
        self._ended: State = {}

    def restore(self) -> dict[int, Outcome]:
        """Restore the runs and the solver, and return the outcomes of models that have ended."""
        state = None if self._recorder is None else self._recorder.load()
        if state is None:
            return {}
        self._ended = dict(state["ended"])
        for number, each in state["runs"].items():
            self._runs[int(number)].restore(each)
        if self._solver is not None and state["solver"] is not None:
            self._solver.restore(state["solver"])
        return {
            int(k): _outcome(each, self._runs[int(k)].observers) for k, each in self._ended.items()
        }

    def end_model(self, k: int, outcome: Outcome) -> None:
        """Record the outcome of a model."""
        if self._recorder is not None:
            self._ended[str(k)] = _recorded(outcome, self._runs[k].observers)

    def end_epoch(self) -> None:
        """Record all models after an epoch."""
        if self._recorder is None:
            return
        active = {str(k): run for k, run in self._runs.items() if str(k) not in self._ended}
        if active and self._solver is None:
            return
        self._recorder.save(
            {
                "ended": dict(self._ended),
                "runs": {number: run.snapshot() for number, run in active.items()},
                "solver": self._solver.snapshot() if active and self._solver else None,
            }
        )

    def interrupt(self) -> None:
        """Handle that the training is interrupted."""
        if self._recorder is not None:
            self._recorder.interrupt()


def recorded_outcomes(
    recorder: Recorder | None, observers: Sequence[Sequence[Observer]]
) -> list[Outcome] | None:
    """Return the outcomes of a training that has ended, or None if it has not.

    Parameters
    ----------
    recorder : Recorder or None
    observers : sequence of sequence of Observer
        Those of each model.
    """
    state = None if recorder is None else recorder.load()
    if state is None or len(state["ended"]) < len(observers):
        return None
    ended = state["ended"]
    return [_outcome(ended[str(k)], own) for k, own in enumerate(observers)]


def copied(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor in the main memory, which later steps do not change."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def copied_state(state: Mapping[str, Any]) -> State:
    """Return a copy of a dict of tensors and numbers."""
    return {
        name: copied(each) if isinstance(each, Tensor) else each for name, each in state.items()
    }


def _recorded(outcome: Outcome, observers: Sequence[Observer]) -> State:
    """Return the state of a model that has ended."""
    state: State = {
        "observers": [each.snapshot() for each in observers if isinstance(each, StatefulObserver)]
    }
    if isinstance(outcome, DivergedError):
        return {**state, "error": str(outcome)}
    return {
        **state,
        "parameters": copied(outcome.parameters),
        "history": outcome.history,
        "best_epoch": outcome.best_epoch,
        "stop_reason": None if outcome.stop_reason is None else str(outcome.stop_reason),
        "gradient_norm": outcome.gradient_norm,
        "state": copied_state(outcome.state),
    }


def _outcome(state: State, observers: Sequence[Observer]) -> Outcome:
    stateful = [each for each in observers if isinstance(each, StatefulObserver)]
    for each, own in zip(stateful, state["observers"], strict=True):
        each.restore(own)
    if "error" in state:
        return DivergedError(state["error"])
    reason = state["stop_reason"]
    return FitResult(
        parameters=state["parameters"].clone(),
        history={name: list(curve) for name, curve in state["history"].items()},
        best_epoch=state["best_epoch"],
        stop_reason=None if reason is None else StopReason(reason),
        gradient_norm=state["gradient_norm"],
        state=dict(state["state"]),
    )
