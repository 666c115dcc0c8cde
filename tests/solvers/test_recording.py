"""Trainings that go on from any epoch end with the same bits, also in captured steps."""

import copy

import pytest
import torch

from skbinary.models.batch_of_models import ModelBatch
from skbinary.solvers.loop import train, train_batch
from skbinary.solvers.minibatch.schedules import Adaptive
from skbinary.solvers.minibatch.single import MiniBatch
from skbinary.solvers.recording import recorded_outcomes
from skbinary.solvers.result import DivergedError
from skbinary.solvers.stopping import StoppingCriteria
from tests.solvers.fake_capture import FakeCapture
from tests.solvers.minibatch.test_batched import CASES, Case, make_dataset, make_solver, max_epochs

CAPTURES = pytest.mark.parametrize("captures", [False, True])


class KilledError(Exception):
    """Ends a training."""


class MemoryRecorder:
    """Keeps the last state, and ends the training after some of them."""

    def __init__(self, n_until_kill=None):
        self.n_until_kill = n_until_kill
        self.n_saves = 0
        self.state = None
        self.is_interrupted = False

    def load(self):
        return copy.deepcopy(self.state)

    def save(self, state):
        self.state = state
        self.n_saves += 1
        if self.n_saves == self.n_until_kill:
            raise KilledError

    def interrupt(self):
        self.is_interrupted = True


def assert_same(found, expected):
    if isinstance(expected, DivergedError):
        assert str(found) == str(expected)
        return
    assert torch.equal(found.parameters, expected.parameters)
    assert found.stop_reason is expected.stop_reason
    assert found.best_epoch == expected.best_epoch
    for name in set(expected.history) - {"seconds"}:
        assert found.history[name] == expected.history[name]


def kill_and_resume(run):
    """Kill a training after each of its epochs.

    Parameters
    ----------
    run : callable(recorder) -> list of FitResult
        Makes the solver anew.

    Yields
    ------
    list of FitResult
        The outcomes of the training that was resumed.
    """
    whole = MemoryRecorder()
    run(whole)
    for n in range(1, whole.n_saves):
        recorder = MemoryRecorder(n)
        with pytest.raises(KilledError):
            run(recorder)
        yield run(recorder)
        assert recorder.n_saves == whole.n_saves


@CAPTURES
@pytest.mark.parametrize("name", CASES)
def test_batch_killed_after_any_epoch_ends_with_the_same_bits(name, captures):
    cases = CASES[name]

    def run(recorder):
        solver = make_solver(cases, capture=FakeCapture() if captures else None)
        # They end one after the other.
        criteria = [max_epochs(2 + k) for k in range(len(cases))]
        return train_batch(solver, criteria, recorder=recorder)

    expected = run(None)
    for outcomes in kill_and_resume(run):
        for found, each in zip(outcomes, expected, strict=True):
            assert_same(found, each)


@CAPTURES
@pytest.mark.parametrize("name", CASES)
def test_model_killed_after_any_epoch_ends_with_the_same_bits(name, captures):
    case = CASES[name][-1]

    def run(recorder):
        parameters = case.start()[None].clone()
        model_batch = ModelBatch(case.architecture(), parameters)
        capture = FakeCapture() if captures else None
        solver = MiniBatch(model_batch, case.setup(parameters), capture=capture)
        return [train(solver, max_epochs(4), recorder=recorder)]

    [expected] = run(None)
    for [found] in kill_and_resume(run):
        assert_same(found, expected)


@pytest.mark.parametrize("monitored", ["objective", "validation_loss", "validation_score"])
def test_batch_with_patience_ends_at_the_same_epochs(monitored):
    dataset = make_dataset(60, validation=True)
    criteria = StoppingCriteria(9, 0.05, 1, monitored=monitored)
    cases = [Case(dataset, seed=s, schedule=lambda: Adaptive(0.05)) for s in range(3)]
    cases.append(Case(dataset, schedule=lambda: Adaptive(1e-5)))

    def run(recorder):
        return train_batch(make_solver(cases), [criteria] * 4, recorder=recorder)

    expected = run(None)
    for outcomes in kill_and_resume(run):
        for found, each in zip(outcomes, expected, strict=True):
            assert_same(found, each)


def test_model_of_a_batch_that_diverged_is_recorded():
    cases = [Case(make_dataset(45)), Case(make_dataset(45), optimizer_settings=((0.9, 0.9), 1e-8))]
    cases[1].settings["alpha"] = float("inf")

    def run(recorder):
        return train_batch(make_solver(cases), [max_epochs(3)] * 2, recorder=recorder)

    expected = run(None)
    assert isinstance(expected[1], DivergedError)
    for outcomes in kill_and_resume(run):
        for found, each in zip(outcomes, expected, strict=True):
            assert_same(found, each)


def test_training_that_has_ended_is_read_back():
    cases, recorder = CASES["rates"], MemoryRecorder()
    expected = train_batch(make_solver(cases), [max_epochs(2)] * 3, recorder=recorder)
    outcomes = recorded_outcomes(recorder, [()] * 3)
    for found, each in zip(outcomes, expected, strict=True):
        assert_same(found, each)
    assert recorded_outcomes(MemoryRecorder(), [()] * 3) is None
    assert recorded_outcomes(None, [()] * 3) is None


def test_states_do_not_change_while_the_training_goes_on():
    recorder, states = MemoryRecorder(), []

    def save(state):
        states.append((state, copy.deepcopy(state)))

    recorder.save = save
    cases = CASES["weight averages"]
    train_batch(make_solver(cases), [max_epochs(4)] * len(cases), recorder=recorder)
    for state, before in states[:-1]:
        assert torch.equal(state["solver"]["values"], before["solver"]["values"])
        assert state["runs"]["0"]["history"] == before["runs"]["0"]["history"]
        for name, each in before["solver"]["updates"]["optimizer"].items():
            if isinstance(each, torch.Tensor):
                assert torch.equal(state["solver"]["updates"]["optimizer"][name], each)
