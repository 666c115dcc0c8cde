"""The objective on rows that are read anew in each pass, against the same rows in memory."""

from functools import partial

import numpy as np
import pytest
import torch

from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows, StreamedRows, centered
from skbinary.data.streamed_dataset import StreamedDataset
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.newton import Newton
from skbinary.solvers.full_batch.objective import LinearObjective
from skbinary.solvers.full_batch.small_objective import linear_objective
from skbinary.solvers.full_batch.streamed_objective import StreamedObjective

N_ROWS, N_FEATURES = 400, 5


class Chunks:
    """Passes over a data set in memory, which are counted."""

    def __init__(self, dataset):
        self.dataset, self.n_passes = dataset, 0

    def chunks(self):
        self.n_passes += 1
        for index in torch.arange(N_ROWS).split(27):
            yield partial(self.dataset.take, index)

    def windows(self, batch_size, shuffler):
        raise AssertionError("a full-batch solver reads chunks")


def dataset_of(weighted, mean=0.0):
    rng = np.random.default_rng(0)
    X = torch.as_tensor(rng.normal(size=(N_ROWS, N_FEATURES)) + mean)
    y = torch.as_tensor(rng.integers(0, 2, N_ROWS), dtype=torch.float64)
    weight = torch.as_tensor(rng.uniform(0.1, 2, N_ROWS)) if weighted else None
    return Dataset(DenseRows(X, torch.float64), y, weight)


def streamed(dataset):
    return StreamedDataset(
        StreamedRows(dataset.rows.shape, dataset.rows),
        torch.empty(0, dtype=torch.float64),
        passes=Chunks(dataset),
        sample=dataset,
        sum_of_weights=dataset.total_weight,
    )


def model(scale=1.0):
    parameters = torch.as_tensor(np.random.default_rng(1).normal(size=(1, N_FEATURES + 1)))
    return ModelBatch(Architecture(N_FEATURES, fit_intercept=True), scale * parameters)


def both(weighted, scale=1.0):
    dataset = dataset_of(weighted)
    pair = (
        LinearObjective(model(scale), dataset, 0.3),
        StreamedObjective(model(scale), streamed(dataset), 0.3),
    )
    for each in pair:
        each.evaluate()
    return pair


@pytest.mark.parametrize("weighted", [False, True])
def test_streamed_objective_has_the_values_of_rows_in_memory(weighted):
    expected, found = both(weighted)
    assert found.loss == pytest.approx(expected.loss, rel=1e-13)
    assert found.value == pytest.approx(expected.value, rel=1e-13)
    subset = torch.tensor([0, 3, 5])
    for measure in (
        lambda each: each.gradient,
        lambda each: each.hessian(),
        lambda each: each.hessian(subset),
        lambda each: each.hessian(torch.tensor([1, 2])),
        lambda each: each.hessian_diagonal(),
        lambda each: each.gradient_rounding_errors(),
    ):
        torch.testing.assert_close(measure(found), measure(expected), rtol=1e-12, atol=0)


@pytest.mark.parametrize("taken", [1.0, 0.25, 3.0])
def test_streamed_objective_moves_as_rows_in_memory(taken):
    pair = both(weighted=True)
    direction = torch.linspace(-1, 1, N_FEATURES + 1, dtype=torch.float64)
    values = []
    for each in pair:
        line = each.along(direction)
        values.append([line.value, line.slope, *line.evaluate(1.0), *line.evaluate(taken)])
        each.move(taken, direction)
        values[-1] += [each.value, *each.gradient.tolist(), *each.parameters.tolist()]
    assert values[1] == pytest.approx(values[0], rel=1e-12)


def test_streamed_objective_after_a_step_that_is_too_long_reads_once_for_several():
    _, objective = both(weighted=False)
    direction = -objective.gradient
    line = objective.along(direction)
    before = objective.dataset.passes.n_passes
    for step in (1.0, 0.5, 0.25, 0.125):
        line.evaluate(step)
    assert objective.dataset.passes.n_passes == before + 2
    objective.move(0.125, direction)
    assert objective.dataset.passes.n_passes == before + 2


def test_streamed_objective_does_not_depend_on_the_number_of_threads():
    gradients = []
    for n_threads in (1, 3):
        with ThreadPool(n_threads) as pool:
            objective = StreamedObjective(model(), streamed(dataset_of(weighted=True)), 0.3, pool)
            objective.evaluate()
            gradients.append(objective.gradient)
    assert torch.equal(*gradients)


def test_streamed_rows_far_from_zero_are_centered_chunk_by_chunk():
    dataset = streamed(dataset_of(weighted=False, mean=1000.0))
    rows = centered(dataset.rows)
    assert rows.shape == (N_ROWS, N_FEATURES)
    shifted = [make().rows for make in _with_rows(dataset, rows).chunks()]
    values = torch.cat([each.batch(slice(None)).dense() for each in shifted])
    expected = dataset.sample.rows.values - rows.offset
    assert torch.equal(values, expected)
    assert _with_rows(dataset, rows).subsample(40).rows.batch(slice(None)).dense().abs().max() < 10


def _with_rows(dataset, rows):
    values = {name: getattr(dataset, name) for name in ("target", "passes", "sample")}
    return StreamedDataset(rows, sum_of_weights=dataset.sum_of_weights, **values)


def test_newton_reads_the_rows_once_an_iteration():
    dataset = streamed(dataset_of(weighted=False))
    objective = linear_objective(model(0.0), dataset, 0.3, ThreadPool(1))
    newton = Newton(objective, 1e-4)
    newton.start()
    n_iter = 1
    while newton.run_epoch().stop_reason is None:
        n_iter += 1
    # One for the start, one for each Hessian, and one for each step.
    assert dataset.passes.n_passes <= 1 + 2 * n_iter
    assert objective.n_passes == dataset.passes.n_passes
