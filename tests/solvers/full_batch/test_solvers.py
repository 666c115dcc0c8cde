"""A table of problems times a table of solvers, against scikit-learn's optimum."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.lbfgs import LBFGS, LBFGSMemory
from skbinary.solvers.full_batch.line_search import find_step
from skbinary.solvers.full_batch.newton import Newton
from skbinary.solvers.full_batch.newton_dual import DualNewton
from skbinary.solvers.full_batch.objective import LinearObjective, LineFunction, NetworkObjective
from skbinary.solvers.full_batch.proximal_newton import ProximalNewton
from skbinary.solvers.full_batch.small_objective import SmallLinearObjective
from skbinary.solvers.full_batch.small_objective import (
    linear_objective as objective_of_suitable_size,
)
from skbinary.solvers.loop import train
from skbinary.solvers.result import StopReason, convergence_warning
from skbinary.solvers.stopping import StoppingCriteria

SOLVERS = {"newton": Newton, "lbfgs": LBFGS}


def dataset_of(X, y, weight=None, dtype=torch.float64):
    rows = DenseRows(torch.as_tensor(np.ascontiguousarray(X)), dtype)
    weight = None if weight is None else torch.as_tensor(weight, dtype=dtype)
    return Dataset(rows, torch.as_tensor(y, dtype=dtype), weight)


def linear_objective(dataset, l2, fit_intercept=True, kind=LinearObjective):
    architecture = Architecture(dataset.n_features, fit_intercept=fit_intercept)
    start = torch.zeros(1, architecture.n_parameters, dtype=dataset.target.dtype)
    objective = kind(ModelBatch(architecture, start), dataset, l2)
    objective.evaluate()
    return objective


def breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def wide():
    return make_classification(50, 120, n_informative=10, random_state=0)


def uneven_scales():
    X, y = make_classification(500, 8, n_informative=4, random_state=0)
    return X * 10.0 ** np.arange(-3, 5), y


PROBLEMS = {"breast cancer": breast_cancer, "wide": wide, "uneven scales": uneven_scales}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_solver_finds_the_optimum_of_scikit_learn(name, solver, fit_intercept, weighted):
    X, y = PROBLEMS[name]()
    weight = np.random.default_rng(0).uniform(0.1, 3, len(y)) if weighted else None
    dataset = dataset_of(X, y, weight)
    objective = linear_objective(dataset, 1 / dataset.total_weight, fit_intercept)
    result = train(SOLVERS[solver](objective, 1e-10), StoppingCriteria(5000, 1e-10, 10))
    peer = LogisticRegression(
        fit_intercept=fit_intercept, solver="newton-cholesky", tol=1e-12, max_iter=1000
    ).fit(X, y, weight)
    coef = result.parameters[: X.shape[1]].numpy()
    scale = np.abs(X).max(axis=0)
    np.testing.assert_allclose(coef * scale, peer.coef_[0] * scale, rtol=1e-5, atol=1e-6)
    assert result.stop_reason is StopReason.CONVERGED


def duplicate_rows():
    X, y = wide()
    return np.vstack([X, X[:10], np.zeros((2, X.shape[1]))]), np.concatenate([y, y[:10], [0, 1]])


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("table", [wide, duplicate_rows])
def test_dual_newton_finds_the_optimum(table, fit_intercept, weighted, warm):
    X, y = table()
    weight = np.random.default_rng(0).uniform(0.1, 3, len(y)) if weighted else None
    dataset = dataset_of(X, y, weight)
    l2 = 1 / dataset.total_weight
    objective = linear_objective(dataset, l2, fit_intercept)
    best = train(Newton(objective, 1e-12), StoppingCriteria(100, 1e-12, 10))
    architecture = Architecture(X.shape[1], fit_intercept=fit_intercept)
    size = (1, architecture.n_parameters)
    start = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model_batch = ModelBatch(architecture, start if warm else torch.zeros_like(start))
    result = train(
        DualNewton(model_batch, dataset, l2, 1e-10, ThreadPool(1)), StoppingCriteria(100, 1e-10, 10)
    )
    assert result.stop_reason is StopReason.CONVERGED
    torch.testing.assert_close(result.parameters, best.parameters, rtol=1e-6, atol=1e-8)
    assert result.history["objective"][-1] == pytest.approx(best.history["objective"][-1])
    objective = linear_objective(dataset, l2, fit_intercept)
    objective.parameters.copy_(result.parameters)
    objective.evaluate()
    assert float(objective.gradient.abs().max()) <= 1e-9


@pytest.mark.parametrize("kind", [LinearObjective, SmallLinearObjective])
@pytest.mark.parametrize("name", PROBLEMS)
def test_gradient_rounding_errors_bound_the_error_of_the_gradient(name, kind):
    X, y = PROBLEMS[name]()
    weight = np.linspace(0.5, 2, len(y))
    objective = linear_objective(dataset_of(X, y, weight), 1e-3, kind=kind)
    train(Newton(objective, 1e-12), StoppingCriteria(100, 1e-12, 10))
    flat = objective.parameters.numpy().astype(np.longdouble)
    table = np.column_stack([X, np.ones(len(X))]).astype(np.longdouble)
    residual = 1 / (1 + np.exp(-table @ flat)) - y
    exact = table.T @ (weight * residual) / weight.astype(np.longdouble).sum()
    exact[:-1] += 1e-3 * flat[:-1]
    error = np.abs(objective.gradient.numpy() - exact)
    bound = objective.gradient_rounding_errors().numpy()
    assert np.all(error <= 4 * bound)
    assert np.all(bound <= 1e-13 * np.abs(table).max(axis=0))


@pytest.mark.parametrize(("weighted", "fit_intercept"), [(False, True), (True, False)])
@pytest.mark.parametrize("solver", ["newton", "lbfgs", "proximal"])
@pytest.mark.parametrize("name", ["breast cancer", "wide"])
def test_solver_with_tol_zero_stops_at_the_rounding_error(name, solver, fit_intercept, weighted):
    X, y = PROBLEMS[name]()
    weight = np.random.default_rng(0).uniform(0.1, 3, len(y)) if weighted else None
    objective = linear_objective(dataset_of(X, y, weight), 1e-2, fit_intercept)
    l1 = 1e-3
    if solver == "proximal":
        full_batch_solver = ProximalNewton(objective, l1, 0.0)
    else:
        full_batch_solver = SOLVERS[solver](objective, 0.0)
    result = train(full_batch_solver, StoppingCriteria(1000, 0.0, 10))
    assert result.stop_reason in (StopReason.ROUNDING, StopReason.CONVERGED)
    assert result.gradient_norm < 1e-14
    assert convergence_warning(result, StoppingCriteria(1000, 0.0, 10)) is None


@pytest.mark.parametrize("table", [wide, duplicate_rows])
def test_dual_newton_with_tol_zero_stops_at_the_rounding_error(table):
    dataset = dataset_of(*table())
    model_batch = ModelBatch(Architecture(120), torch.zeros(1, 121, dtype=torch.float64))
    result = train(
        DualNewton(model_batch, dataset, 1e-2, 0.0, ThreadPool(1)), StoppingCriteria(200, 0.0, 10)
    )
    assert result.stop_reason is StopReason.ROUNDING
    assert result.gradient_norm < 1e-14


def test_lbfgs_network_with_tol_zero_stops_where_the_objective_is_flat():
    X, y = breast_cancer()
    architecture = Architecture(X.shape[1], (2,), "tanh")
    start = torch.full((1, architecture.n_parameters), 0.1, dtype=torch.float64)
    objective = NetworkObjective(ModelBatch(architecture, start), dataset_of(X, y), 1.0)
    result = train(LBFGS(objective, 0.0), StoppingCriteria(1000, 0.0, 10))
    assert result.n_iter < 1000
    assert result.stop_reason in (StopReason.ROUNDING, StopReason.CONVERGED)


@pytest.mark.parametrize("n_pairs", [1, 7, 10, 11, 25])
def test_lbfgs_memory_equals_the_two_loop_recursion(n_pairs):
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    matrix = matrix @ matrix.mT + torch.eye(30)
    memory, pairs = LBFGSMemory(), []
    for _ in range(n_pairs):
        change = torch.randn(30, generator=generator, dtype=torch.float64)
        memory.append(change, matrix @ change)
        pairs = [*pairs, (change, matrix @ change)][-10:]
    vector = torch.randn(30, generator=generator, dtype=torch.float64)
    expected, alphas = vector.clone(), []
    for s, y in reversed(pairs):
        alphas.append((s @ expected) / (s @ y))
        expected -= alphas[-1] * y
    expected = expected / 3
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        expected += (alpha - (y @ expected) / (s @ y)) * s
    found = memory.apply_inverse(vector, lambda each: each / 3)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def rare_columns(n_rows=30_000):
    """Standardized indicator columns that are rare in a subsample."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 12))
    rare = np.zeros((n_rows, 20))
    rare[rng.integers(0, n_rows, 200), np.arange(200) % 20] = 1.0
    y = (X[:, 0] + 3 * rare[:, 0] + rng.standard_normal(n_rows) > 0).astype(float)
    return StandardScaler().fit_transform(np.hstack([X, rare])), y


def test_newton_subsample_that_misses_rare_columns_is_discarded():
    dataset = dataset_of(*rare_columns())
    l2 = 1 / dataset.total_weight
    result = train(Newton(linear_objective(dataset, l2), 1e-9), StoppingCriteria(100, 1e-9, 10))
    assert result.stop_reason is StopReason.CONVERGED
    # From no weights at all, whole steps lead there.
    assert result.history["learning_rate"] == [1.0] * result.n_iter
    assert result.n_iter < 25


def test_newton_separable_rows_without_penalty_stop_with_finite_weights():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    objective = linear_objective(dataset_of(X, np.array([0, 0, 1, 1])), 0.0)
    result = train(Newton(objective, 1e-4), StoppingCriteria(100, 1e-4, 10))
    assert result.stop_reason is StopReason.CONVERGED
    assert bool(torch.isfinite(result.parameters).all())
    assert result.history["loss"][-1] < 1e-3


@pytest.mark.parametrize("solver", SOLVERS)
def test_solver_duplicate_columns_without_penalty_reach_the_optimal_value(solver):
    X, y = make_classification(300, 4, flip_y=0.3, random_state=0)
    objective = linear_objective(dataset_of(np.hstack([X, X, np.ones((300, 1))]), y), 0.0)
    result = train(SOLVERS[solver](objective, 1e-8), StoppingCriteria(1000, 1e-8, 10))
    single = linear_objective(dataset_of(X, y), 0.0)
    best = train(Newton(single, 1e-10), StoppingCriteria(1000, 1e-10, 10))
    assert result.stop_reason is StopReason.CONVERGED
    assert result.history["loss"][-1] == pytest.approx(best.history["loss"][-1], rel=1e-9)


def test_newton_float32_rows_are_summed_in_float64():
    X, y = breast_cancer()
    single = dataset_of(X.astype(np.float32), y, dtype=torch.float64)
    double = dataset_of(X.astype(np.float32).astype(np.float64), y)
    one = train(Newton(linear_objective(single, 1e-3), 1e-10), StoppingCriteria(100, 1e-10, 10))
    two = train(Newton(linear_objective(double, 1e-3), 1e-10), StoppingCriteria(100, 1e-10, 10))
    assert single.rows.values.dtype == torch.float32
    assert torch.equal(one.parameters, two.parameters)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("kind", [LinearObjective, SmallLinearObjective])
def test_set_l2_gives_the_objective_of_a_new_instance(kind, fit_intercept):
    dataset = dataset_of(*PROBLEMS["wide"]())
    objective = linear_objective(dataset, 1.0, fit_intercept, kind)
    objective.parameters.copy_(torch.linspace(-0.1, 0.1, len(objective.parameters)))
    objective.evaluate()
    objective.set_l2(0.25)
    other = linear_objective(dataset, 0.25, fit_intercept, kind)
    other.parameters.copy_(objective.parameters)
    other.evaluate()
    assert objective.value == pytest.approx(other.value, rel=1e-14)
    torch.testing.assert_close(objective.gradient, other.gradient, rtol=1e-12, atol=1e-14)
    direction = -objective.gradient
    assert objective.along(direction).evaluate(0.5) == pytest.approx(
        other.along(direction).evaluate(0.5)
    )
    torch.testing.assert_close(objective.hessian(), other.hessian(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [LinearObjective, SmallLinearObjective])
@pytest.mark.parametrize("weighted", [False, True])
def test_linear_objective_derivatives_equal_autograd(weighted, kind):
    X, y = wide()
    weight = np.linspace(0.5, 2, len(y)) if weighted else None
    dataset = dataset_of(X, y, weight)
    objective = linear_objective(dataset, 0.1, kind=kind)
    objective.parameters.copy_(torch.linspace(-1, 1, len(objective.parameters)))
    objective.evaluate()

    def value(flat):
        logits = dataset.rows.values @ flat[:-1] + flat[-1]
        each = torch.nn.functional.softplus(logits) - dataset.target * logits
        w = torch.ones_like(each) if weight is None else dataset.weight
        return (w @ each) / w.sum() + 0.05 * flat[:-1].square().sum()

    point = objective.parameters.clone()
    assert objective.value == pytest.approx(float(value(point)), rel=1e-12)
    gradient = torch.autograd.functional.jacobian(value, point)
    torch.testing.assert_close(objective.gradient, gradient, rtol=1e-10, atol=1e-12)
    hessian = torch.autograd.functional.hessian(value, point)
    torch.testing.assert_close(objective.hessian(), hessian, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        objective.hessian_diagonal(), hessian.diagonal().contiguous(), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("kind", [LinearObjective, SmallLinearObjective, NetworkObjective])
def test_line_function_equals_the_objective_at_the_step(kind):
    X, y = wide()
    dataset = dataset_of(X, y)
    hidden = (3,) if kind is NetworkObjective else ()
    architecture = Architecture(dataset.n_features, hidden, "tanh")
    generator = torch.Generator().manual_seed(0)
    size = (1, architecture.n_parameters)
    start = torch.randn(size, generator=generator, dtype=torch.float64)
    direction = torch.randn(size[1], generator=generator, dtype=torch.float64)
    objective = kind(ModelBatch(architecture, start.clone()), dataset, 0.1)
    objective.evaluate()
    value, slope = objective.along(direction).evaluate(0.3)
    there = kind(ModelBatch(architecture, start + 0.3 * direction), dataset, 0.1)
    there.evaluate()
    assert value == pytest.approx(there.value, rel=1e-12)
    assert slope == pytest.approx(float(there.gradient @ direction), rel=1e-9)
    objective.move(0.3, direction)
    torch.testing.assert_close(objective.gradient, there.gradient)


@pytest.mark.parametrize("subset", [None, [0, 3, 7, 120]])
def test_small_objective_hessian_equals_that_of_the_general_objective(subset):
    X, y = wide()
    dataset = dataset_of(X, y, np.linspace(0.5, 2, len(y)))
    subset = None if subset is None else torch.tensor(subset)
    small, general = (
        linear_objective(dataset, 0.1, kind=k).hessian(subset)
        for k in (SmallLinearObjective, LinearObjective)
    )
    torch.testing.assert_close(small, general, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("n_rows", "small"), [(1000, True), (2000, False)])
def test_linear_objective_of_a_small_table_is_the_small_one(n_rows, small):
    dataset = dataset_of(np.ones((n_rows, 50)), np.arange(n_rows) % 2)
    model_batch = ModelBatch(Architecture(50), torch.zeros(1, 51, dtype=torch.float64))
    objective = objective_of_suitable_size(model_batch, dataset, 0.1, ThreadPool(1))
    assert isinstance(objective, SmallLinearObjective) == small


def test_find_step_too_long_is_shortened():
    line = LineFunction(lambda t: ((t - 0.01) ** 2, 2 * (t - 0.01)), 1e-4, -0.02)
    step = find_step(line)
    assert step is not None
    assert line.evaluate(step)[0] < line.value


def test_find_step_too_short_is_lengthened():
    line = LineFunction(lambda t: ((t - 100.0) ** 2, 2 * (t - 100.0)), 1e4, -200.0)
    step = find_step(line)
    assert step is not None
    assert step > 1


def test_find_step_uphill_returns_none():
    assert find_step(LineFunction(lambda t: (t, 1.0), 0.0, 1.0)) is None


def test_lbfgs_network_decreases_the_objective_until_it_is_flat():
    X, y = breast_cancer()
    dataset = dataset_of(X, y)
    architecture = Architecture(X.shape[1], (8,), "tanh")
    generator = torch.Generator().manual_seed(0)
    start = torch.randn((1, architecture.n_parameters), generator=generator).double() / 5
    objective = NetworkObjective(ModelBatch(architecture, start), dataset, 1e-3)
    result = train(LBFGS(objective, 1e-5, min_decrease=2e-9), StoppingCriteria(500, 1e-5, 10))
    assert result.stop_reason in (StopReason.CONVERGED, StopReason.OBJECTIVE)
    assert np.all(np.diff(result.history["objective"]) <= 0)


def test_lbfgs_after_max_evaluations_stops():
    X, y = breast_cancer()
    objective = linear_objective(dataset_of(X, y), 1e-3)
    result = train(LBFGS(objective, 1e-12, max_evaluations=5), StoppingCriteria(500, 1e-12, 10))
    assert result.stop_reason is StopReason.MAX_FUN
    assert objective.n_evaluations <= 7
