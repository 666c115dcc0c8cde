"""The fitted model as a torch module, against the estimator's own logits."""

import numpy as np
import pytest
import torch

from skbinary import TorchLogisticClassifier, TorchMLPClassifier

MODELS = {
    "network": TorchMLPClassifier((8, 4), max_iter=3, dropout=0.2, random_state=0),
    "no-intercept": TorchLogisticClassifier(fit_intercept=False),
    "logistic": TorchLogisticClassifier(),
    "sgd": TorchLogisticClassifier(solver="sgd", max_iter=3, random_state=0),
    "lbfgs": TorchMLPClassifier((8,), solver="lbfgs", max_iter=3, random_state=0),
    "ensemble": TorchMLPClassifier((8,), max_iter=3, n_members=3, random_state=0),
    "embedding": TorchMLPClassifier((8,), max_iter=3, numeric_embedding="periodic", random_state=0),
    "ensemble-embedding": TorchMLPClassifier(
        (8,), max_iter=3, n_members=2, numeric_embedding="periodic", random_state=0
    ),
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def fitted(request, cancer):
    X, y = cancer
    return request.param.fit(X, y), X


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_module_in_a_precision_returns_the_logits_of_rows_in_it(fitted, dtype, atol):
    model, X = fitted
    rows = torch.tensor(X, dtype=dtype)
    with torch.no_grad():
        logits = model.module_.to(dtype)(rows)
    assert (logits.dtype, logits.shape) == (dtype, (len(X),))
    expected = model.decision_function(rows.numpy())
    np.testing.assert_allclose(logits.numpy(), expected, rtol=atol, atol=atol)


def test_module_is_in_evaluation_mode_with_contiguous_parameters_that_can_be_trained(fitted):
    module = fitted[0].module_
    assert not any(each.training for each in module.modules())
    assert all(each.is_contiguous() and each.requires_grad for each in module.parameters())
    storages = [each.untyped_storage().data_ptr() for each in module.parameters()]
    assert len(set(storages)) == len(storages)


def test_module_has_the_precision_of_the_training(fitted):
    model, _ = fitted
    expected = torch.float32 if model.solver in ("adam", "sgd") else torch.float64
    assert {each.dtype for each in model.module_.parameters()} == {expected}


def test_module_in_another_precision_leaves_the_estimator_unchanged(fitted):
    model, X = fitted
    before = model.decision_function(X)
    module = model.module_.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(model.decision_function(X), before)


def test_module_gradient_of_the_logit_is_its_slope(fitted):
    model, X = fitted
    rows = torch.tensor(X[:5], requires_grad=True)
    model.module_.double()(rows).sum().backward()
    step = 1e-6 * np.eye(X.shape[1])[3]
    slope = model.decision_function(X[:5] + step) - model.decision_function(X[:5] - step)
    np.testing.assert_allclose(rows.grad[:, 3], slope / 2e-6, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_rows", [0, 1, 50])
def test_module_traced_returns_the_same_logits_for_any_number_of_rows(fitted, n_rows):
    model, X = fitted
    module, rows = model.module_.double(), torch.tensor(X)
    traced = torch.jit.trace(module, rows[:5])
    torch.testing.assert_close(traced(rows[:n_rows]), module(rows[:n_rows]))


def test_module_exported_returns_the_same_logits_for_any_number_of_rows(fitted):
    model, X = fitted
    module, rows = model.module_.double(), torch.tensor(X)
    # Without an upper bound, torch 2.6 refuses the dimension.
    shapes = ({0: torch.export.Dim("n_rows", max=1 << 30)},)
    exported = torch.export.export(module, (rows[:5],), dynamic_shapes=shapes).module()
    torch.testing.assert_close(exported(rows), module(rows))
