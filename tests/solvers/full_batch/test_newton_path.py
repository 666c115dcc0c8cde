"""Linear models along a path, against Newton's method for each of them alone."""

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

PLAN = StoppingCriteria(100, 1e-10, 10)


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


def solved_alone(dataset, weight, l2, fit_intercept=True):
    kept = torch.nonzero(weight > 0)[:, 0]
    part = Dataset(dataset.rows.take(kept), dataset.target[kept], weight[kept])
    architecture = Architecture(dataset.n_features, fit_intercept=fit_intercept)
    start = torch.zeros(1, architecture.n_parameters, dtype=torch.float64)
    objective = LinearObjective(ModelBatch(architecture, start), part, l2)
    return train(Newton(objective, 1e-12), PLAN)


def solved(dataset, weights, points, fit_intercept=True, n_threads=1, **settings):
    architecture = Architecture(dataset.n_features, fit_intercept=fit_intercept)
    with ThreadPool(n_threads) as pool:
        step = PathNewton(architecture, dataset, weights, points, pool, **settings)
        return train_batch(step, [PLAN] * len(points))


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("kind", ["dense", "float32", "sparse", "uneven scales", "far from zero"])
@pytest.mark.parametrize("n_rows", [600, 40_000])
def test_path_reaches_each_optimum(n_rows, kind, fit_intercept):
    dataset = table(n_rows, kind=kind)
    weights = folds(dataset) * torch.linspace(0.5, 2, n_rows, dtype=torch.float64)
    points = [PathModel(k, l2, 1e-9) for l2 in (1e-5, 1e-3, 1e-1) for k in range(3)]
    for point, found in zip(points, solved(dataset, weights, points, fit_intercept), strict=True):
        expected = solved_alone(dataset, weights[point.weighting], point.l2, fit_intercept)
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


def test_path_loss_is_the_mean_loss_of_the_weighted_rows():
    dataset = table()
    weights = folds(dataset)
    (found,) = solved(dataset, weights, [PathModel(1, 1e-2, 1e-9)])
    flat = found.parameters
    logits = dataset.rows.values @ flat[:-1] + flat[-1]
    each = torch.nn.functional.softplus(logits) - dataset.target * logits
    expected = float(weights[1] @ each / weights[1].sum())
    assert found.history["loss"][-1] == pytest.approx(expected, rel=1e-10)
    penalty = 1e-2 / 2 * float(flat[:-1].square().sum())
    assert found.history["objective"][-1] == pytest.approx(expected + penalty, rel=1e-10)


def test_path_rows_without_weight_do_not_count():
    dataset = table()
    weights = folds(dataset)
    spoilt = Dataset(DenseRows(dataset.rows.values.clone(), torch.float64), dataset.target.clone())
    left_out = weights[0] == 0
    spoilt.rows.values[left_out] = 7.0
    spoilt.target[left_out] = 1 - spoilt.target[left_out]
    points = [PathModel(0, 1e-2, 1e-9)]
    (found,), (expected,) = (solved(each, weights[:1], points) for each in (spoilt, dataset))
    torch.testing.assert_close(found.parameters, expected.parameters, rtol=1e-6, atol=1e-8)


def test_path_loose_and_tight_models_leave_when_they_are_done():
    dataset = table(40_000)
    points = [PathModel(0, 1e-3, 1e-2), PathModel(0, 1e-3, 1e-11), PathModel(1, 1e-1, 1e-5)]
    found = solved(dataset, folds(dataset), points)
    assert found[0].n_iter < found[1].n_iter
    assert all(result.stop_reason is StopReason.CONVERGED for result in found)


def test_path_separable_rows_with_a_weak_penalty_converge():
    dataset = table(separable=True)
    points = [PathModel(0, l2, 1e-8) for l2 in (1e-10, 1e-6, 1e-2)]
    for point, found in zip(points, solved(dataset, folds(dataset), points), strict=True):
        assert found.stop_reason is StopReason.CONVERGED
        expected = solved_alone(dataset, folds(dataset)[0], point.l2)
        assert found.history["objective"][-1] == pytest.approx(
            expected.history["objective"][-1], rel=1e-4, abs=1e-7
        )


@pytest.mark.parametrize(("most_in_single", "rounding"), [(0, 1e-14), (6, 1e-6)])
def test_path_objectives_never_rise(most_in_single, rounding, monkeypatch):
    monkeypatch.setattr(newton_path, "_MOST_IN_SINGLE", most_in_single)
    dataset = table(40_000)
    points = [PathModel(k, l2, 1e-10) for l2 in (1e-6, 1e-2) for k in range(3)]
    for found in solved(dataset, folds(dataset), points):
        assert np.all(np.diff(found.history["objective"]) <= rounding)


def test_path_goes_over_dense_rows_in_float32_until_the_last_digits_count():
    seen = []

    class MonitoredCurve(DenseRows):
        def batch(self, index):
            seen.append(self.dtype)
            return super().batch(index)

    dataset = table(40_000)
    watched = Dataset(MonitoredCurve(dataset.rows.values, torch.float64), dataset.target)
    points = [PathModel(k, l2, 1e-9) for l2 in (1e-6, 1e-2) for k in range(3)]
    found = solved(watched, folds(dataset), points)
    single = [dtype == torch.float32 for dtype in seen]
    first = single.index(True)
    assert not any(single[:first])  # the look at the columns, before the models
    n_single = sum(single)
    assert all(single[first : first + n_single])
    assert len(single) > first + n_single  # no model is done before it has seen all digits
    assert all(result.gradient_norm <= 1e-9 for result in found)


def test_path_keeps_a_hessian_while_the_optimum_hardly_moves(monkeypatch):
    made = []
    hessian = LinearObjective.hessian
    monkeypatch.setattr(LinearObjective, "hessian", lambda self: made.append(1) or hessian(self))
    dataset = table(40_000)
    strengths = np.logspace(-10, -6, 20)  # none of which matters much
    found = solved(dataset, folds(dataset), [PathModel(0, l2, 1e-9) for l2 in strengths])
    assert all(result.stop_reason is StopReason.CONVERGED for result in found)
    assert len(made) < 10


def test_path_part_without_one_class_takes_all_rows():
    dataset = table(40_000)
    target = torch.zeros(40_000, dtype=torch.float64)
    target[1:40:2] = 1.0  # none of them among every fourth row
    rare = Dataset(dataset.rows, target)
    (found,) = solved(rare, torch.ones(1, 40_000, dtype=torch.float64), [PathModel(0, 1e-4, 1e-9)])
    expected = solved_alone(rare, torch.ones(40_000, dtype=torch.float64), 1e-4)
    torch.testing.assert_close(found.parameters, expected.parameters, rtol=1e-5, atol=1e-7)


def test_path_part_that_hardly_knows_a_column_takes_all_rows():
    dataset = table(40_000)
    rows = dataset.rows.values.clone()
    rows[:, 3] = 0.0
    rows[1:200:3, 3] = 10.0  # a few, and hardly one of them among every fourth row
    rare = Dataset(DenseRows(rows, torch.float64), dataset.target)
    weights = torch.ones(1, 40_000, dtype=torch.float64)
    points = [PathModel(0, l2, 1e-9) for l2 in (1e-8, 1e-4, 1e-1)]
    for point, found in zip(points, solved(rare, weights, points), strict=True):
        expected = solved_alone(rare, weights[0], point.l2)
        torch.testing.assert_close(found.parameters, expected.parameters, rtol=1e-5, atol=1e-7)
        assert found.n_iter <= 10


def test_path_bits_do_not_depend_on_threads():
    dataset = table(40_000)
    points = [PathModel(k, l2, 1e-9) for l2 in (1e-5, 1e-2) for k in range(3)]
    one, two = (solved(dataset, folds(dataset), points, n_threads=n) for n in (1, 2))
    for first, second in zip(one, two, strict=True):
        assert torch.equal(first.parameters, second.parameters)


def test_path_iteration_reads_the_rows_once(monkeypatch):
    dataset = table(40_000)
    points = [PathModel(k, l2, 1e-9) for l2 in (1e-5, 1e-3, 1e-2) for k in range(3)]
    step = PathNewton(Architecture(8), dataset, folds(dataset), points, ThreadPool(1))
    step.start()
    reads, original = [], DenseRows.batch

    def batch(self, index):
        reads.append(len(range(*index.indices(40_000))))
        return original(self, index)

    monkeypatch.setattr(DenseRows, "batch", batch)
    step.run_epoch()
    assert sum(reads) == 40_000


def test_path_asked_to_stop_raises_before_the_next_iteration():
    class StoppedError(Exception):
        pass

    calls = []

    def on_step():
        calls.append(1)
        if len(calls) == 3:
            raise StoppedError

    dataset = table()
    with pytest.raises(StoppedError):
        solved(dataset, folds(dataset), [PathModel(0, 1e-3, 1e-12)], on_step=on_step)
    assert len(calls) == 3


@pytest.fixture
def approaches(monkeypatch):
    """Count the points of a path at which the rows of a part are gone over."""
    made, original = [], PathNewton._approach
    monkeypatch.setattr(
        PathNewton, "_approach", lambda self, *args: made.append(1) or original(self, *args)
    )
    return made


@pytest.mark.parametrize(
    ("strengths", "most"),
    [(np.geomspace(1e-3, 1.0, 60), 12), (np.geomspace(1e-3, 1.0, 5), 5), ([1e-9, 1e-8, 1e-7], 1)],
    ids=["many", "far apart", "all of no account"],
)
def test_path_goes_over_a_part_at_few_of_its_points(strengths, most, approaches):
    dataset = table()
    weights = folds(dataset)
    points = [PathModel(k, l2, 1e-10) for l2 in strengths for k in range(3)]
    results = solved(dataset, weights, points)
    assert len(approaches) <= most
    for point, result in list(zip(points, results, strict=True))[:: max(1, len(points) // 11)]:
        assert result.stop_reason is StopReason.CONVERGED
        expected = solved_alone(dataset, weights[point.weighting], point.l2)
        torch.testing.assert_close(result.parameters, expected.parameters, rtol=1e-5, atol=1e-6)


def test_path_starts_near_each_optimum_of_all_rows():
    # One of them was gone over on the part, the others are a step away from it.
    dataset = table()
    strengths = [1e-3, 9e-4, 8e-4]
    weights = torch.ones(1, 600, dtype=torch.float64)
    with ThreadPool(1) as pool:
        points = [PathModel(0, l2, 1e-10) for l2 in strengths]
        step = PathNewton(Architecture(8), dataset, weights, points, pool)
        step.start()
    for k, l2 in enumerate(strengths):
        found = step.parameters_of(k)[0]
        torch.testing.assert_close(
            found, solved_alone(dataset, weights[0], l2).parameters, rtol=1e-3, atol=1e-3
        )
