"""A batch of models against single models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows, SparseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.periodic_embedding import PeriodicEmbedding
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
from skbinary.solvers.minibatch.setup import L2Penalty, MiniBatchSetup
from skbinary.solvers.minibatch.single import MiniBatch
from skbinary.solvers.result import DivergedError, StopReason
from skbinary.solvers.stopping import StoppingCriteria
from tests.solvers.fake_capture import FakeCapture

N_FEATURES = 6
EMBEDDING = PeriodicEmbedding((0, 2), n_frequencies=3, n_outputs=2)


def make_dataset(n_rows, seed=0, *, sparse=False, weighted=False, validation=False):
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
    validation_set = make_dataset(20, seed + 100) if validation else None
    return Dataset(rows, target, weight, validation=validation_set)


class Case:
    """A model to train. Every call makes its parameters and its setup anew."""

    def __init__(self, dataset, *, seed=0, criteria=None, **settings):
        self.dataset = dataset
        self.seed = seed
        self.criteria = criteria or max_epochs(2)
        self.settings = settings

    def architecture(self):
        hidden = self.settings.get("hidden", (5, 4))
        rate = self.settings.get("dropout", 0.0)
        embedding = self.settings.get("embedding")
        return Architecture(N_FEATURES, hidden, "relu", (rate,) * len(hidden), embedding=embedding)

    def start(self):
        size = self.architecture().n_parameters
        return torch.randn(size, generator=torch.Generator().manual_seed(self.seed)) / 2

    def setup(self, parameters):
        get = self.settings.get
        dropout = None
        if get("dropout", 0.0):
            generator = torch.Generator().manual_seed(self.seed)
            dropout = Dropout(self.architecture().dropout, generator)
        return MiniBatchSetup(
            self.dataset,
            get("optimizer", Adam)(parameters, *get("optimizer_settings", ())),
            get("schedule", lambda: Schedule(0.01))(),
            batch_size=get("batch_size", 10),
            l2_penalty=L2Penalty(get("alpha", 1e-3), per_batch=get("per_batch", True)),
            shuffler=np.random.RandomState(self.seed) if get("shuffle", True) else None,
            shuffle_key=self.seed if get("has_shuffle_key", True) else None,
            dropout=dropout,
            weight_average=get("weight_average", 0.0),
        )

    def train_single(self, capture=None):
        parameters = self.start()[None].clone()
        model_batch = ModelBatch(self.architecture(), parameters)
        solver = MiniBatch(model_batch, self.setup(parameters), capture=capture)
        return train(solver, self.criteria)


def max_epochs(n):
    return StoppingCriteria(n, 1e-4, 10, monitored="objective")


def make_solver(cases, **kwargs):
    starts = [case.start() for case in cases]
    setups = [case.setup(start[None]) for case, start in zip(cases, starts, strict=True)]
    return BatchedMiniBatch(cases[0].architecture(), starts, setups, **kwargs)


def train_batched(cases, capture=None):
    return train_batch(make_solver(cases, capture=capture), [case.criteria for case in cases])


def assert_equals_single(cases, rtol=2e-4, capture=None):
    results = train_batched(cases, capture)
    for case, result in zip(cases, results, strict=True):
        # Captured steps draw other dropout masks.
        expected = case.train_single(capture and FakeCapture())
        assert result.stop_reason is expected.stop_reason
        assert result.n_iter == expected.n_iter
        assert result.best_epoch == expected.best_epoch
        assert result.state["n_seen"] == expected.state["n_seen"]
        torch.testing.assert_close(result.parameters, expected.parameters, rtol=rtol, atol=2e-6)
        for name in set(expected.history) - {"seconds"}:
            np.testing.assert_allclose(result.history[name], expected.history[name], rtol=1e-4)
    return results


SAME_ROWS = make_dataset(45)
CASES = {
    "rates": [Case(SAME_ROWS, schedule=lambda r=r: Schedule(r)) for r in (1e-3, 1e-1, 1e-3)],
    "penalties per batch": [Case(SAME_ROWS, alpha=a) for a in (0.0, 1.0)],
    "penalties per epoch": [Case(SAME_ROWS, alpha=a, per_batch=False) for a in (0.0, 1.0)],
    "settings of adam": [
        Case(SAME_ROWS, optimizer_settings=((beta, 0.99), 1e-8, decay))
        for beta, decay in ((0.9, 0.0), (0.0, 1.0))
    ],
    "settings of sgd": [
        Case(SAME_ROWS, optimizer=SGD, optimizer_settings=settings)
        for settings in ((0.0, False), (0.9, False), (0.9, True))
    ],
    "seeds": [Case(SAME_ROWS, seed=s) for s in (3, 1, 3)],
    "seeds without shuffle_key": [
        Case(SAME_ROWS, seed=s, has_shuffle_key=False) for s in (1, 1, 2)
    ],
    "no shuffling": [Case(SAME_ROWS, seed=s, shuffle=False) for s in (1, 2)],
    "folds": [Case(make_dataset(45, seed=s)) for s in (1, 2)],
    "weights of one model": [Case(make_dataset(45, 1, weighted=w)) for w in (True, False)],
    "weights and penalties per epoch": [
        Case(make_dataset(45, s, weighted=True), per_batch=False, alpha=0.1) for s in (1, 2)
    ],
    "sparse": [Case(make_dataset(45, s, sparse=True), seed=s) for s in (1, 1, 2)],
    "linear": [Case(SAME_ROWS, hidden=(), alpha=a, per_batch=False) for a in (0.1, 1.0)],
    "one model": [Case(SAME_ROWS)],
    "schedules": [
        Case(SAME_ROWS, schedule=make_schedule)
        for make_schedule in (
            lambda: Cosine(0.01, 4),
            lambda: OneCycle(0.1, 20),
            lambda: InverseScaling(0.1, 0.5),
        )
    ],
    "dropout": [Case(SAME_ROWS, dropout=d, seed=s) for d, s in ((0.2, 0), (0.5, 0), (0.5, 1))],
    "dropout and folds of different sizes": [
        Case(make_dataset(n, n), dropout=0.5, seed=n) for n in (45, 43, 44)
    ],
    "weight averages": [Case(SAME_ROWS, seed=s, weight_average=a) for s, a in ((0, 0.5), (1, 0.9))],
    "embedding": [Case(SAME_ROWS, seed=s, embedding=EMBEDDING) for s in (1, 2)],
    "embedding and folds": [Case(make_dataset(45, s), embedding=EMBEDDING) for s in (1, 2)],
    "embedding and shared folds": [
        Case(table, seed=s, embedding=EMBEDDING)
        for table, seeds in ((SAME_ROWS, (1, 1)), (make_dataset(45, 1), (2,)))
        for s in seeds
    ],
    "embedding of a linear model": [
        Case(SAME_ROWS, hidden=(), alpha=a, embedding=EMBEDDING) for a in (0.1, 1.0)
    ],
    "one batch": [Case(make_dataset(8, s), seed=s) for s in (0, 1)],
}


@pytest.mark.parametrize("name", CASES)
def test_batched_models_equal_single_models(name):
    assert_equals_single(CASES[name])


@pytest.mark.parametrize(
    ("name", "n_steps"),
    [
        ("rates", 10),
        ("weights of one model", 10),
        ("dropout", 10),
        ("dropout and folds of different sizes", 10),
        ("weight averages", 10),
        ("embedding", 10),
        ("embedding and shared folds", 10),
        # Sparse rows, and a table smaller than a batch, cannot be captured.
        ("sparse", 0),
        ("one batch", 0),
    ],
)
def test_batched_captured_steps_equal_single_models(name, n_steps):
    capture = FakeCapture()
    assert_equals_single(CASES[name], capture=capture)
    assert (capture.n_captured, capture.n_replayed) == (min(1, n_steps), n_steps)


@pytest.mark.parametrize("capture", [None, FakeCapture()])
def test_batched_finished_models_are_removed_and_the_others_continue(capture):
    cases = [
        Case(
            SAME_ROWS,
            criteria=max_epochs(n),
            dropout=0.3,
            seed=k % 2,
            schedule=lambda k=k: Schedule(0.01 * k),
        )
        for k, n in enumerate((1, 4, 2, 2, 4), start=1)
    ]
    results = assert_equals_single(cases, capture=capture)
    assert [result.n_iter for result in results] == [1, 4, 2, 2, 4]
    # Captured again when three of five are finished, not when one is.
    assert capture is None or capture.n_captured == 2


@pytest.fixture
def n_selected(monkeypatch):
    """Select models as on a GPU; return a list with the number of models of each call."""
    counts = []

    def select(self, models):
        counts.append(len(models))
        positions = [self._active.index(k) for k in models]
        return ModelBatch(self.architecture, self.model_batch.parameters[positions])

    monkeypatch.setattr(BatchedMiniBatch, "select", select)
    return counts


def test_batched_validation_on_the_same_rows_equals_single_models(n_selected):
    dataset = make_dataset(60, validation=True)
    criteria = [
        StoppingCriteria(6, 1e-4, n, monitored="validation_loss", threshold=t)
        for n, t in ((1, 0.3), (9, 0.5))
    ]
    custom = {"monitored": "validation_score", "score": lambda logits: float(logits[0])}
    criteria.append(StoppingCriteria(6, 1e-4, 9, **custom))
    assert_equals_single([Case(dataset, seed=s, criteria=each) for s, each in enumerate(criteria)])
    assert set(n_selected) == {2}  # the model with a custom score is scored by itself


@pytest.mark.parametrize("weighted", [False, True])
def test_batched_validation_on_different_folds_equals_single_models(n_selected, weighted):
    table = make_dataset(80, weighted=weighted)
    if weighted:
        table = replace(table, score_weight=table.weight.round())
    cases = []
    for k, n_held_out in enumerate((20, 21, 18)):
        held_out = torch.arange(80)[k::3][:n_held_out]
        training = torch.tensor(sorted(set(range(80)) - set(held_out.tolist())))
        dataset = replace(table.view(training), validation=table.view(held_out))
        criteria = StoppingCriteria(
            4, 1e-4, 9, monitored="validation_score", threshold=0.3 + k / 10
        )
        cases.append(Case(dataset, seed=k, criteria=criteria, batch_size=21))
    assert_equals_single(cases)
    assert n_selected == [3] * 4


def test_batched_validation_on_different_sparse_rows_is_model_by_model(n_selected):
    validation_sets = [make_dataset(n, n, sparse=True) for n in (20, 21)]
    dataset = make_dataset(60, sparse=True)
    assert_equals_single([Case(replace(dataset, validation=v), seed=1) for v in validation_sets])
    assert n_selected == []


def test_batched_early_stopping_keeps_the_best_epoch_of_each_model():
    dataset = make_dataset(60, validation=True)
    cases = [
        Case(
            dataset,
            seed=s,
            criteria=StoppingCriteria(15, 1e-4, patience, monitored="validation_score"),
            schedule=lambda: Schedule(0.05),
        )
        for s, patience in enumerate((1, 3, 1, 14))
    ]
    results = assert_equals_single(cases, rtol=1e-2)
    assert len({result.n_iter for result in results}) > 1
    assert any(result.best_epoch < result.n_iter for result in results)


def test_batched_adaptive_schedules_react_to_the_loss_of_their_model():
    criteria = StoppingCriteria(12, 1e-1, 1, monitored="objective")
    sgd = {"optimizer": SGD, "optimizer_settings": (0.9, True)}
    cases = [
        Case(SAME_ROWS, criteria=criteria, schedule=lambda r=r: Adaptive(r), **sgd)
        for r in (1e-6, 1e-2, 1e-1)
    ]
    results = assert_equals_single(cases)
    assert len({result.history["learning_rate"][-1] for result in results}) == 3


def test_batched_one_model_diverges_and_the_others_continue():
    cases = [
        Case(SAME_ROWS, optimizer=SGD, schedule=lambda r=r: Schedule(r)) for r in (0.01, 1e30, 0.1)
    ]
    results = train_batched(cases)
    assert isinstance(results[1], DivergedError)
    assert "learning rate 1e+30" in str(results[1])
    for k in (0, 2):
        assert results[k].stop_reason is StopReason.MAX_ITER
        torch.testing.assert_close(results[k].parameters, cases[k].train_single().parameters)


def test_batched_setups_are_not_changed():
    case = Case(SAME_ROWS, dropout=0.5, has_shuffle_key=False)
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


def test_batched_on_step_raises_ends_the_training():
    class StoppedError(Exception):
        pass

    steps = []

    def on_step():
        steps.append(1)
        if len(steps) == 7:
            raise StoppedError

    case = Case(SAME_ROWS)
    with pytest.raises(StoppedError):
        train_batch(make_solver([case], on_step=on_step), [case.criteria])
    assert len(steps) == 7


def test_batched_models_with_the_same_batches_fetch_them_once(monkeypatch):
    fetches = []
    original = DenseRows.batch
    monkeypatch.setattr(
        DenseRows, "batch", lambda self, index: fetches.append(1) or original(self, index)
    )
    train_batched([Case(SAME_ROWS, schedule=lambda r=r: Schedule(r)) for r in (0.1, 0.2, 0.3)])
    assert len(fetches) == 2  # one per epoch


@pytest.mark.parametrize(
    ("weighted", "settings"),
    [
        (False, {}),
        (True, {"dropout": 0.5}),
        (False, {"weight_average": 0.9, "embedding": EMBEDDING}),
    ],
)
def test_batched_epoch_synchronizes_with_the_device_once(monkeypatch, weighted, settings):
    dataset = make_dataset(45, weighted=weighted)
    solver = make_solver([Case(dataset, alpha=a, seed=1, **settings) for a in (0.1, 0.2, 0.3)])
    solver.run_epoch()
    reads = []
    for name in ("item", "tolist", "__float__", "__int__", "__bool__"):
        original = getattr(torch.Tensor, name)

        def counted(tensor, original=original):
            reads.append(1)
            return original(tensor)

        monkeypatch.setattr(torch.Tensor, name, counted)
    solver.run_epoch()
    assert len(reads) == 1


@pytest.mark.parametrize("n_rates", [1, 3])
def test_batched_step_updates_models_with_the_same_rate_at_once(monkeypatch, n_rates):
    updates, original = [], optimizers.fused_adamw

    def counted(*args, **kwargs):
        updates.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(optimizers, "fused_adamw", counted)
    rates = [10.0 ** -(1 + k % n_rates) for k in range(6)]
    train_batched([Case(SAME_ROWS, schedule=lambda r=r: Schedule(r)) for r in rates])
    assert len(updates) == n_rates * 5 * 2  # rates, batches and epochs


class KeepSetup:
    """Keeps the weights and the setup of a model at the end of the last epoch."""

    def train_begin(self, run):
        pass

    def epoch_begin(self, run):
        pass

    def epoch_end(self, run):
        if run.n_iter == run.criteria.max_iter:
            self.start = run.model_batch.parameters[0].clone()
            self.setup = run.solver.continued()
        return False

    def train_end(self, run):
        pass


def train_in_parts(cases, epochs, kept, capture=None):
    """Train all models for the first part of the epochs, and only some of them for the rest."""
    architecture, first, last = cases[0].architecture(), epochs[0], epochs[-1]
    keepers = [KeepSetup() for _ in cases]
    criteria = [replace(case.criteria, max_iter=first) for case in cases]
    solver = make_solver(cases, capture=capture)
    results = train_batch(solver, criteria, [[each] for each in keepers])
    for n_epochs in epochs[1:]:
        keepers, results, cases = (
            [each[k] for k in (kept if n_epochs == epochs[1] else range(len(kept)))]
            for each in (keepers, results, cases)
        )
        starts, setups = [each.start for each in keepers], [each.setup for each in keepers]
        solver = BatchedMiniBatch(architecture, starts, setups, capture=capture)
        criteria = [replace(case.criteria, max_iter=n_epochs) for case in cases]
        keepers = [KeepSetup() for _ in cases]
        results = train_batch(solver, criteria, [[each] for each in keepers], results)
        assert all(each.n_iter == last for each in results) or n_epochs < last
    return cases, results


@pytest.mark.parametrize("capture", [None, FakeCapture()])
@pytest.mark.parametrize("name", CASES)
def test_batched_training_in_parts_equals_one_training(name, capture):
    cases = [Case(each.dataset, seed=each.seed, **each.settings) for each in CASES[name]]
    for case in cases:
        case.criteria = max_epochs(7)
    kept, in_parts = train_in_parts(cases, [2, 3, 7], range(len(cases))[-2:], capture)
    for case, found in zip(kept, in_parts, strict=True):
        [expected] = train_batch(make_solver([case], capture=capture), [case.criteria])
        torch.testing.assert_close(found.parameters, expected.parameters, rtol=1e-3, atol=1e-5)
        assert found.state == expected.state
        for curve in set(expected.history) - {"seconds"}:
            np.testing.assert_allclose(found.history[curve], expected.history[curve], rtol=1e-3)


@pytest.mark.parametrize("schedule", [lambda: Schedule(0.05), lambda: Adaptive(0.05)])
@pytest.mark.parametrize("monitored", ["objective", "validation_loss", "validation_score"])
def test_batched_training_in_parts_stops_as_one_training(monitored, schedule):
    dataset = make_dataset(60, validation=True)
    criteria = StoppingCriteria(40, 1e-3, 3, monitored=monitored)
    settings = {"optimizer": SGD, "optimizer_settings": (0.9, True)}
    cases = [
        Case(dataset, seed=s, criteria=criteria, schedule=schedule, **settings) for s in range(8)
    ]
    n_stopped = 0
    for case in cases:
        [expected] = train_batched([case])
        keeper = KeepSetup()
        first = replace(criteria, max_iter=6)
        [early] = train_batch(make_solver([case]), [first], [[keeper]])
        if early.stop_reason is not StopReason.MAX_ITER:
            assert (early.n_iter, early.best_epoch) == (expected.n_iter, expected.best_epoch)
            continue
        solver = BatchedMiniBatch(case.architecture(), [keeper.start], [keeper.setup])
        [found] = train_batch(solver, [criteria], earlier=[early])
        n_stopped += found.stop_reason is not StopReason.MAX_ITER
        assert found.stop_reason is expected.stop_reason
        assert (found.n_iter, found.best_epoch) == (expected.n_iter, expected.best_epoch)
        torch.testing.assert_close(found.parameters, expected.parameters, rtol=1e-3, atol=1e-5)
    assert n_stopped or isinstance(schedule(), Adaptive)
