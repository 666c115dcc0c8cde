"""PathNewton against Newton's method for each single model."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification

from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows, SparseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch import newton_path
from skbinary.solvers.full_batch.newton import Newton
from skbinary.solvers.full_batch.newton_path import PathModel, PathNewton
from skbinary.solvers.full_batch.objective import LinearObjective
from skbinary.solvers.loop import train, train_batch
from skbinary.solvers.result import StopReason
from skbinary.solvers.stopping import StoppingCriteria

CRITERIA = StoppingCriteria(100, 1e-10, 10)


def table(n_rows=600, *, kind="dense", separable=False):
    X, y = make_classification(n_rows, 8, n_informative=4, flip_y=0.0 if separable else 0.2,
                               class_sep=5.0 if separable else 1.0, random_state=0)  # fmt: skip
    if kind == "uneven scales":
        X = X * 10.0 ** np.arange(-3, 5)
    if kind == "far from zero":
        X = X + 2000.0
    X = torch.as_tensor(X)
    target = torch.as_tensor(y, dtype=torch.float64)
    if kind != "sparse":
        dtype = torch.float32 if kind == "float32" else torch.float64
        return Dataset(DenseRows(X.to(dtype), torch.float64), target)
    X = X * (X > 0)
    starts = torch.nn.functional.pad((X != 0).sum(1).cumsum(0), (1, 0))
    columns = torch.arange(8).repeat(n_rows)[X.flatten() != 0]
    return Dataset(SparseRows(starts, columns, X[X != 0], 8, torch.float64), target)


def folds(dataset, n=3):
    number = torch.arange(dataset.n_samples) % n
    return torch.stack([(number != k).double() for k in range(n)])


def train_single(dataset, weight, l2, fit_intercept=True):
    kept = torch.nonzero(weight > 0)[:, 0]
    part = Dataset(dataset.rows.take(kept), dataset.target[kept], weight[kept])
    architecture = Architecture(dataset.n_features, fit_intercept=fit_intercept)
    start = torch.zeros(1, architecture.n_parameters, dtype=torch.float64)
    objective = LinearObjective(ModelBatch(architecture, start), part, l2)
    return train(Newton(objective, 1e-12), CRITERIA)


def train_path(dataset, weights, models, fit_intercept=True, n_threads=1, **settings):
    architecture = Architecture(dataset.n_features, fit_intercept=fit_intercept)
    with ThreadPool(n_threads) as pool:
        step = PathNewton(architecture, dataset, weights, models, pool, **settings)
        return train_batch(step, [CRITERIA] * len(models))


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("kind", ["dense", "float32", "sparse", "uneven scales", "far from zero"])
@pytest.mark.parametrize("n_rows", [600, 40_000])
def test_path_newton_finds_the_optimum_of_each_model(n_rows, kind, fit_intercept):
    dataset = table(n_rows, kind=kind)
    weights = folds(dataset) * torch.linspace(0.5, 2, n_rows, dtype=torch.float64)
    models = [PathModel(k, l2, 1e-9) for l2 in (1e-5, 1e-3, 1e-1) for k in range(3)]
    for model, found in zip(
        models, train_path(dataset, weights, models, fit_intercept), strict=True
    ):
        expected = train_single(dataset, weights[model.weighting], model.l2, fit_intercept)
        assert found.stop_reason is StopReason.CONVERGED
        assert found.gradient_norm <= 1e-9
        assert found.history["objective"][-1] == pytest.approx(
            expected.history["objective"][-1], rel=1e-10
        )
        scale = dataset.rows.batch(slice(None)).dense().abs().amax(0)
        n = dataset.n_features
        torch.testing.assert_close(
            found.parameters[:n] * scale, expected.parameters[:n] * scale, rtol=1e-5, atol=1e-6
        )


def test_path_newton_loss_is_the_weighted_mean():
    dataset = table()
    weights = folds(dataset)
    (found,) = train_path(dataset, weights, [PathModel(1, 1e-2, 1e-9)])
    flat = found.parameters
    logits = dataset.rows.values @ flat[:-1] + flat[-1]
    each = torch.nn.functional.softplus(logits) - dataset.target * logits
    expected = float(weights[1] @ each / weights[1].sum())
    assert found.history["loss"][-1] == pytest.approx(expected, rel=1e-10)
    penalty = 1e-2 / 2 * float(flat[:-1].square().sum())
    assert found.history["objective"][-1] == pytest.approx(expected + penalty, rel=1e-10)


def test_path_newton_rows_of_weight_zero_do_not_count():
    dataset = table()
    weights = folds(dataset)
    spoilt = Dataset(DenseRows(dataset.rows.values.clone(), torch.float64), dataset.target.clone())
    left_out = weights[0] == 0
    spoilt.rows.values[left_out] = 7.0
    spoilt.target[left_out] = 1 - spoilt.target[left_out]
    models = [PathModel(0, 1e-2, 1e-9)]
    (found,), (expected,) = (train_path(each, weights[:1], models) for each in (spoilt, dataset))
    torch.testing.assert_close(found.parameters, expected.parameters, rtol=1e-6, atol=1e-8)


def test_path_newton_models_of_different_tol_stop_when_each_converges():
    dataset = table(40_000)
    models = [PathModel(0, 1e-3, 1e-2), PathModel(0, 1e-3, 1e-11), PathModel(1, 1e-1, 1e-5)]
    found = train_path(dataset, folds(dataset), models)
    assert found[0].n_iter < found[1].n_iter
    assert all(result.stop_reason is StopReason.CONVERGED for result in found)


def test_path_newton_separable_rows_with_a_weak_penalty_converge():
    dataset = table(separable=True)
    models = [PathModel(0, l2, 1e-8) for l2 in (1e-10, 1e-6, 1e-2)]
    for model, found in zip(models, train_path(dataset, folds(dataset), models), strict=True):
        assert found.stop_reason is StopReason.CONVERGED
        expected = train_single(dataset, folds(dataset)[0], model.l2)
        assert found.history["objective"][-1] == pytest.approx(
            expected.history["objective"][-1], rel=1e-4, abs=1e-7
        )


@pytest.mark.parametrize(("max_iterations", "rounding"), [(0, 1e-14), (6, 1e-6)])
def test_path_newton_objectives_never_increase(max_iterations, rounding, monkeypatch):
    monkeypatch.setattr(newton_path, "_MAX_FLOAT32_ITERATIONS", max_iterations)
    dataset = table(40_000)
    models = [PathModel(k, l2, 1e-10) for l2 in (1e-6, 1e-2) for k in range(3)]
    for found in train_path(dataset, folds(dataset), models):
        assert np.all(np.diff(found.history["objective"]) <= rounding)


def test_path_newton_far_from_the_optimum_evaluates_dense_rows_in_float32():
    seen = []

    class MonitoredCurve(DenseRows):
        def batch(self, index):
            seen.append(self.dtype)
            return super().batch(index)

    dataset = table(40_000)
    watched = Dataset(MonitoredCurve(dataset.rows.values, torch.float64), dataset.target)
    models = [PathModel(k, l2, 1e-9) for l2 in (1e-6, 1e-2) for k in range(3)]
    found = train_path(watched, folds(dataset), models)
    single = [dtype == torch.float32 for dtype in seen]
    first = single.index(True)
    assert not any(single[:first])  # the look at the columns, before the models
    n_single = sum(single)
    assert all(single[first : first + n_single])
    assert len(single) > first + n_single  # no model is done before it has seen all digits
    assert all(result.gradient_norm <= 1e-9 for result in found)


def test_path_newton_similar_penalties_share_a_hessian(monkeypatch):
    made = []
    hessian = LinearObjective.hessian
    monkeypatch.setattr(LinearObjective, "hessian", lambda self: made.append(1) or hessian(self))
    dataset = table(40_000)
    strengths = np.logspace(-10, -6, 20)  # none of which matters much
    found = train_path(dataset, folds(dataset), [PathModel(0, l2, 1e-9) for l2 in strengths])
    assert all(result.stop_reason is StopReason.CONVERGED for result in found)
    assert len(made) < 10


def test_path_newton_subsample_without_a_class_uses_all_rows():
    dataset = table(40_000)
    target = torch.zeros(40_000, dtype=torch.float64)
    target[1:40:2] = 1.0  # none of them among every fourth row
    rare = Dataset(dataset.rows, target)
    (found,) = train_path(
        rare, torch.ones(1, 40_000, dtype=torch.float64), [PathModel(0, 1e-4, 1e-9)]
    )
    expected = train_single(rare, torch.ones(40_000, dtype=torch.float64), 1e-4)
    torch.testing.assert_close(found.parameters, expected.parameters, rtol=1e-5, atol=1e-7)


def test_path_newton_subsample_that_misses_a_rare_column_uses_all_rows():
    dataset = table(40_000)
    rows = dataset.rows.values.clone()
    rows[:, 3] = 0.0
    rows[1:200:3, 3] = 10.0  # a few, and hardly one of them among every fourth row
    rare = Dataset(DenseRows(rows, torch.float64), dataset.target)
    weights = torch.ones(1, 40_000, dtype=torch.float64)
    models = [PathModel(0, l2, 1e-9) for l2 in (1e-8, 1e-4, 1e-1)]
    for model, found in zip(models, train_path(rare, weights, models), strict=True):
        expected = train_single(rare, weights[0], model.l2)
        torch.testing.assert_close(found.parameters, expected.parameters, rtol=1e-5, atol=1e-7)
        assert found.n_iter <= 10


def test_path_newton_on_more_threads_gives_the_same_bits():
    dataset = table(40_000)
    models = [PathModel(k, l2, 1e-9) for l2 in (1e-5, 1e-2) for k in range(3)]
    one, two = (train_path(dataset, folds(dataset), models, n_threads=n) for n in (1, 2))
    for first, second in zip(one, two, strict=True):
        assert torch.equal(first.parameters, second.parameters)


def test_path_newton_iteration_reads_the_rows_once(monkeypatch):
    dataset = table(40_000)
    models = [PathModel(k, l2, 1e-9) for l2 in (1e-5, 1e-3, 1e-2) for k in range(3)]
    step = PathNewton(Architecture(8), dataset, folds(dataset), models, ThreadPool(1))
    step.start()
    reads, original = [], DenseRows.batch

    def batch(self, index):
        reads.append(len(range(*index.indices(40_000))))
        return original(self, index)

    monkeypatch.setattr(DenseRows, "batch", batch)
    step.run_epoch()
    assert sum(reads) == 40_000


def test_path_newton_error_in_on_step_ends_the_training():
    class StoppedError(Exception):
        pass

    calls = []

    def on_step():
        calls.append(1)
        if len(calls) == 3:
            raise StoppedError

    dataset = table()
    with pytest.raises(StoppedError):
        train_path(dataset, folds(dataset), [PathModel(0, 1e-3, 1e-12)], on_step=on_step)
    assert len(calls) == 3


@pytest.fixture
def minimizations(monkeypatch):
    """Count the models of a path for which the rows of the subsample are read."""
    made, original = [], PathNewton._minimize
    monkeypatch.setattr(
        PathNewton, "_minimize", lambda self, *args: made.append(1) or original(self, *args)
    )
    return made


@pytest.mark.parametrize(
    ("strengths", "most"),
    [(np.geomspace(1e-3, 1.0, 60), 12), (np.geomspace(1e-3, 1.0, 5), 5), ([1e-9, 1e-8, 1e-7], 1)],
    ids=["many", "far apart", "all negligible"],
)
def test_path_newton_subsample_is_read_at_few_points_of_the_path(strengths, most, minimizations):
    dataset = table()
    weights = folds(dataset)
    models = [PathModel(k, l2, 1e-10) for l2 in strengths for k in range(3)]
    results = train_path(dataset, weights, models)
    assert len(minimizations) <= most
    for model, result in list(zip(models, results, strict=True))[:: max(1, len(models) // 11)]:
        assert result.stop_reason is StopReason.CONVERGED
        expected = train_single(dataset, weights[model.weighting], model.l2)
        torch.testing.assert_close(result.parameters, expected.parameters, rtol=1e-5, atol=1e-6)


def test_path_newton_starts_near_each_optimum():
    # The subsample is read for one of them; the others are a Newton step away.
    dataset = table()
    strengths = [1e-3, 9e-4, 8e-4]
    weights = torch.ones(1, 600, dtype=torch.float64)
    with ThreadPool(1) as pool:
        models = [PathModel(0, l2, 1e-10) for l2 in strengths]
        step = PathNewton(Architecture(8), dataset, weights, models, pool)
        step.start()
    for k, l2 in enumerate(strengths):
        found = step.parameters_of(k)[0]
        torch.testing.assert_close(
            found, train_single(dataset, weights[0], l2).parameters, rtol=1e-3, atol=1e-3
        )
