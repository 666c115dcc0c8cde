"""K models side by side against K models one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows, SparseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.solvers.loop import train, train_batch
from skbinary.solvers.minibatch import optimizers
from skbinary.solvers.minibatch.batched import BatchedMiniBatch
from skbinary.solvers.minibatch.dropout import Dropout
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import (
    Adaptive,
    Cosine,
    InverseScaling,
    OneCycle,
    Schedule,
)
from skbinary.solvers.minibatch.single import L2Penalty, MiniBatch, MiniBatchSetup
from skbinary.solvers.result import DivergedError, StopReason
from skbinary.solvers.stopping import StoppingCriteria
from tests.solvers.recorder import Recorder

N_FEATURES = 6


def table(n_rows, seed=0, *, sparse=False, weighted=False, validation=False):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n_rows, N_FEATURES, generator=generator)
    target = (X[:, 0] + torch.randn(n_rows, generator=generator) > 0).float()
    weight = torch.rand(n_rows, generator=generator) + 0.5 if weighted else None
    rows = DenseRows(X, torch.float32)
    if sparse:
        X = X * (X > 0)
        starts = torch.nn.functional.pad((X != 0).sum(1).cumsum(0), (1, 0))
        columns = torch.arange(N_FEATURES).repeat(n_rows)[X.flatten() != 0]
        rows = SparseRows(starts, columns, X.flatten()[X.flatten() != 0], N_FEATURES, torch.float32)
    held = table(20, seed + 100) if validation else None
    return Dataset(rows, target, weight, validation=held)


class Case:
    """A model to train, made anew whenever it is asked for."""

    def __init__(self, dataset, *, seed=0, criteria=None, **settings):
        self.dataset = dataset
        self.seed = seed
        self.criteria = criteria or StoppingCriteria(4, 1e-4, 10, monitored="objective")
        self.settings = settings

    def architecture(self):
        hidden = self.settings.get("hidden", (5, 4))
        rate = self.settings.get("dropout", 0.0)
        return Architecture(N_FEATURES, hidden, "relu", (rate,) * len(hidden))

    def start(self):
        size = self.architecture().n_parameters
        return torch.randn(size, generator=torch.Generator().manual_seed(self.seed)) / 2

    def setup(self, parameters):
        get = self.settings.get
        rate = get("dropout", 0.0)
        dropout = None
        if rate:
            rates = self.architecture().dropout
            dropout = Dropout(rates, torch.Generator().manual_seed(get("noise", self.seed)))
        return MiniBatchSetup(
            self.dataset,
            get("optimizer", Adam)(parameters, *get("rule", ())),
            get("schedule", lambda: Schedule(0.01))(),
            batch_size=get("batch_size", 10),
            l2_penalty=L2Penalty(get("alpha", 1e-3), per_batch=get("per_batch", True)),
            shuffler=np.random.RandomState(self.seed) if get("shuffle", True) else None,
            shuffle_key=self.seed if get("shared", True) else None,
            dropout=dropout,
        )

    def alone(self, record=None):
        parameters = self.start()[None].clone()
        model_batch = ModelBatch(self.architecture(), parameters)
        return train(MiniBatch(model_batch, self.setup(parameters), record=record), self.criteria)


def together(cases, record=None):
    starts = [case.start() for case in cases]
    setups = [case.setup(start[None]) for case, start in zip(cases, starts, strict=True)]
    step = BatchedMiniBatch(cases[0].architecture(), starts, setups, record=record)
    return train_batch(step, [case.criteria for case in cases])


def assert_equal(cases, rtol=2e-4, record=None):
    for case, found in zip(cases, together(cases, record), strict=True):
        # Noise is drawn in another order where steps are recorded.
        expected = case.alone(record and Recorder())
        assert found.stop_reason is expected.stop_reason
        assert found.n_iter == expected.n_iter
        assert found.best_epoch == expected.best_epoch
        assert found.state["n_seen"] == expected.state["n_seen"]
        torch.testing.assert_close(found.parameters, expected.parameters, rtol=rtol, atol=2e-6)
        for name in set(expected.history) - {"seconds"}:
            np.testing.assert_allclose(found.history[name], expected.history[name], rtol=1e-4)


COMMON = table(45)
RULES = {
    "rates": [Case(COMMON, schedule=lambda r=r: Schedule(r)) for r in (1e-3, 1e-2, 1e-1, 1e-2)],
    "alphas": [Case(COMMON, alpha=a) for a in (0.0, 1e-2, 1.0)],
    "alphas of the whole": [Case(COMMON, alpha=a, per_batch=False) for a in (0.0, 1e-2, 1.0)],
    "decays": [Case(COMMON, rule=((0.9, 0.999), 1e-8, d)) for d in (0.0, 0.1, 1.0)],
    "betas": [Case(COMMON, rule=((b, 0.99), 1e-8)) for b in (0.0, 0.5, 0.9)],
    "sgd": [Case(COMMON, optimizer=SGD, rule=(m, n)) for m in (0.0, 0.9) for n in (False, True)],
    "seeds": [Case(COMMON, seed=s) for s in (3, 1, 2)],
    "own shufflers": [Case(COMMON, seed=s, shared=False) for s in (1, 1, 2)],
    "in order": [Case(COMMON, seed=s, shuffle=False) for s in (1, 2)],
    "folds": [Case(table(45, seed=s)) for s in (1, 2, 3)],
    "weights": [Case(table(45, 1, weighted=w)) for w in (True, False)],
    "weights of the whole": [
        Case(table(45, s, weighted=True), per_batch=False, alpha=0.1) for s in (1, 2)
    ],
    "sparse": [Case(table(45, s, sparse=True), seed=s) for s in (1, 1, 2)],
    "linear": [Case(COMMON, hidden=(), alpha=a, per_batch=False) for a in (0.1, 1.0)],
    "one": [Case(COMMON)],
    "schedules": [
        Case(COMMON, schedule=make)
        for make in (
            lambda: Cosine(0.01, 4),
            lambda: OneCycle(0.1, 20),
            lambda: InverseScaling(0.1, 0.5),
            lambda: OneCycle(0.1, 20),
        )
    ],
    "dropout": [Case(COMMON, dropout=d, seed=s) for d in (0.2, 0.5) for s in (0, 1)],
    "dropout and folds": [Case(table(45, n), dropout=0.5, seed=n) for n in (1, 2, 3)],
    "dropout and folds of several sizes": [
        Case(table(n, n), dropout=0.5, seed=n) for n in (45, 43, 44)
    ],
    "one batch": [Case(table(8, s), seed=s) for s in (0, 1)],
}


@pytest.mark.parametrize("name", RULES)
def test_stack_trains_each_model_as_if_it_were_alone(name):
    assert_equal(RULES[name])


@pytest.mark.parametrize("name", RULES)
def test_stack_recorded_trains_each_model_as_if_it_were_alone(name):
    recorder = Recorder()
    assert_equal(RULES[name], record=recorder)
    # Sparse rows, and a table smaller than a batch, cannot be recorded.
    n_steps = 0 if name in ("sparse", "one batch") else 20
    assert (recorder.n_recorded, recorder.n_replayed) == (min(1, n_steps), n_steps)


def test_stack_recorded_is_recorded_anew_when_more_than_a_third_has_left():
    recorder = Recorder()
    criteria_per_model = [
        StoppingCriteria(n, 1e-4, 10, monitored="objective") for n in (1, 6, 3, 3, 6)
    ]
    cases = [
        Case(
            COMMON,
            criteria=criteria,
            dropout=0.3,
            seed=k % 2,
            schedule=lambda k=k: Schedule(0.01 * k),
        )
        for k, criteria in enumerate(criteria_per_model, start=1)
    ]
    assert_equal(cases, record=recorder)
    # One of five stays where it is, three of five leave.
    assert recorder.n_recorded == 2


@pytest.fixture
def asked(monkeypatch):
    """Note how many models are scored at once, as on a GPU."""
    counts = []

    def at_once(self, models):
        counts.append(len(models))
        return ModelBatch(
            self.architecture, self.model_batch.parameters[[self._live.index(k) for k in models]]
        )

    monkeypatch.setattr(BatchedMiniBatch, "select", at_once)
    return counts


def test_stack_validated_at_once_has_the_curves_of_each(asked):
    dataset = table(60, validation=True)
    criteria_per_model = [
        StoppingCriteria(8, 1e-4, n, monitored="validation_loss", threshold=t)
        for n, t in ((1, 0.3), (9, 0.5))
    ]
    criteria_per_model.append(
        StoppingCriteria(
            8, 1e-4, 9, monitored="validation_score", score=lambda logits: float(logits[0])
        )
    )
    assert_equal(
        [Case(dataset, seed=s, criteria=criteria) for s, criteria in enumerate(criteria_per_model)]
    )
    assert set(asked) == {2}


@pytest.mark.parametrize("weighted", [False, True])
def test_stack_members_validated_at_once_have_the_curves_of_each(asked, weighted):
    whole = table(80, weighted=weighted)
    if weighted:
        whole = replace(whole, score_weight=whole.weight.round())
    cases = []
    for k, n_held in enumerate((20, 21, 18)):
        held = torch.arange(80)[k::3][:n_held]
        train_rows = torch.tensor(sorted(set(range(80)) - set(held.tolist())))
        dataset = replace(whole.view(train_rows), validation=whole.view(held))
        criteria = StoppingCriteria(
            8, 1e-4, 9, monitored="validation_score", threshold=0.3 + k / 10
        )
        cases.append(Case(dataset, seed=k, criteria=criteria, batch_size=21))
    assert_equal(cases)
    assert asked == [3] * 8


def test_stack_sparse_rows_of_their_own_are_validated_one_by_one(asked):
    held = [table(n, n, sparse=True) for n in (20, 21)]
    dataset = table(60, sparse=True)
    assert_equal([Case(replace(dataset, validation=each), seed=1) for each in held])
    assert asked == []


def test_stack_early_stopping_each_model_keeps_its_best_epoch():
    dataset = table(60, validation=True)
    criteria_per_model = [
        StoppingCriteria(40, 1e-4, n, monitored="validation_score") for n in (1, 3, 1, 30)
    ]
    cases = [
        Case(dataset, seed=s, criteria=criteria, schedule=lambda: Schedule(0.05))
        for s, criteria in enumerate(criteria_per_model)
    ]
    assert_equal(cases, rtol=1e-2)
    results = together(cases)
    assert len({result.n_iter for result in results}) > 1
    assert any(result.best_epoch < result.n_iter for result in results)


def test_stack_models_that_are_done_leave_and_the_others_go_on():
    criteria_per_model = [
        StoppingCriteria(n, 1e-4, 10, monitored="objective") for n in (1, 6, 3, 2, 6)
    ]
    cases = [
        Case(
            COMMON,
            criteria=criteria,
            dropout=0.3,
            seed=k % 2,
            schedule=lambda k=k: Schedule(0.01 * k),
        )
        for k, criteria in enumerate(criteria_per_model, start=1)
    ]
    assert_equal(cases)
    assert [result.n_iter for result in together(cases)] == [1, 6, 3, 2, 6]


def test_stack_adaptive_rates_fall_for_each_model_by_itself():
    criteria = StoppingCriteria(30, 1e-1, 1, monitored="objective")
    cases = [
        Case(
            COMMON,
            optimizer=SGD,
            rule=(0.9, True),
            criteria=criteria,
            schedule=lambda r=r: Adaptive(r),
        )
        for r in (1e-6, 1e-2, 1e-2, 1e-1)
    ]
    assert_equal(cases)


def test_stack_one_model_diverges_the_others_go_on():
    cases = [
        Case(COMMON, optimizer=SGD, schedule=lambda r=r: Schedule(r)) for r in (0.01, 1e30, 0.1)
    ]
    found = together(cases)
    assert isinstance(found[1], DivergedError)
    assert "learning rate 1e+30" in str(found[1])
    for k in (0, 2):
        assert found[k].stop_reason is StopReason.MAX_ITER
        torch.testing.assert_close(found[k].parameters, cases[k].alone().parameters)


def test_stack_courses_are_not_changed():
    case = Case(COMMON, dropout=0.5, shared=False)
    setup = case.setup(case.start()[None])
    results = [
        train_batch(
            BatchedMiniBatch(case.architecture(), [case.start()] * 2, [setup] * 2),
            [case.criteria] * 2,
        )
        for _ in range(2)
    ]
    for first, second in zip(*results, strict=True):
        assert torch.equal(first.parameters, second.parameters)


def test_stack_asked_to_stop_raises_at_the_next_step():
    class StoppedError(Exception):
        pass

    steps = []

    def on_step():
        steps.append(1)
        if len(steps) == 7:
            raise StoppedError

    case = Case(COMMON)
    setup = case.setup(case.start()[None])
    step = BatchedMiniBatch(case.architecture(), [case.start()], [setup], on_step)
    with pytest.raises(StoppedError):
        train_batch(step, [case.criteria])
    assert len(steps) == 7


def test_stack_same_batches_are_read_once(monkeypatch):
    reads = []
    original = DenseRows.batch
    monkeypatch.setattr(
        DenseRows, "batch", lambda self, index: reads.append(1) or original(self, index)
    )
    together([Case(COMMON, schedule=lambda r=r: Schedule(r)) for r in (0.1, 0.2, 0.3)])
    assert len(reads) == 4  # once an epoch


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_stack_epoch_waits_for_the_device_once(monkeypatch, weighted, dropout):
    dataset = table(45, weighted=weighted)
    cases = [Case(dataset, dropout=dropout, alpha=a, seed=1) for a in (0.1, 0.2, 0.3)]
    setups = [case.setup(case.start()[None]) for case in cases]
    step = BatchedMiniBatch(cases[0].architecture(), [s.start() for s in cases], setups)
    step.run_epoch()
    waits = []
    for name in ("item", "tolist", "__float__", "__int__", "__bool__"):
        original = getattr(torch.Tensor, name)

        def counted(tensor, original=original):
            waits.append(1)
            return original(tensor)

        monkeypatch.setattr(torch.Tensor, name, counted)
    step.run_epoch()
    assert len(waits) == 1


@pytest.mark.parametrize("n_rates", [1, 3])
def test_stack_step_moves_models_of_one_rule_at_once(monkeypatch, n_rates):
    updates, original = [], optimizers.fused_adamw

    def counted(*args, **kwargs):
        updates.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(optimizers, "fused_adamw", counted)
    rates = [10.0 ** -(1 + k % n_rates) for k in range(6)]
    together([Case(COMMON, schedule=lambda r=r: Schedule(r)) for r in rates])
    assert len(updates) == n_rates * 5 * 4  # batches and epochs
