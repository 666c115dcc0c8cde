"""``net_`` and ``module_``: a fitted estimator as a skorch net and as a torch module."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import log_loss
from skorch import NeuralNet
from skorch.dataset import Dataset
from skorch.utils import to_numpy
from torch.utils.data import TensorDataset

from skbinary import TorchLogisticClassifier
from tests.callbacks.models import (
    FULL_BATCH,
    LABELS,
    X_TRAIN,
    X_VAL,
    Y_TRAIN,
    Y_VAL,
    Y,
    small_mlp,
    weights_in,
    weights_of,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]


MODELS = {
    "mlp": small_mlp(),
    "deep mlp": small_mlp(hidden_layer_sizes=(5, 4), activation="gelu", dropout=0.5),
    "mlp lbfgs": FULL_BATCH[2],
    "logistic": TorchLogisticClassifier(),
    "no intercept": TorchLogisticClassifier(fit_intercept=False),
    "threshold": TorchLogisticClassifier(threshold=0.9),
}
STRINGS = LABELS["strings"]


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    model = clone(MODELS[request.param])
    return model.fit(X_TRAIN, STRINGS[Y_TRAIN], X_val=X_VAL, y_val=STRINGS[Y_VAL])


def test_net_predict_proba_equals_the_estimators(model):
    assert isinstance(model.net_, NeuralNet)
    probabilities = model.net_.predict_proba(X_VAL)
    assert_allclose(probabilities, model.predict_proba(X_VAL), atol=1e-6)


def test_net_predict_equals_the_estimators(model):
    assert_array_equal(model.net_.predict(X_VAL), model.predict(X_VAL))


def test_net_score_equals_the_estimators(model):
    score = model.score(X_VAL, STRINGS[Y_VAL])
    assert model.net_.score(X_VAL, STRINGS[Y_VAL]) == pytest.approx(score)


def test_net_history_contains_the_estimators_curves(model):
    history = model.net_.history
    assert history[:, "train_loss"] == model.history_["loss"]
    assert history[:, "valid_loss"] == model.history_["validation_loss"]
    assert history[:, "epoch"] == list(range(1, len(model.loss_curve_) + 1))


def test_net_partial_fit_leaves_the_estimator_unchanged(model):
    before = weights_of(model).copy()
    net = model.net_
    net.partial_fit(X_TRAIN, STRINGS[Y_TRAIN])
    assert_array_equal(weights_of(model), before)
    assert np.any(weights_in(net.module_.state_dict())[: len(before) - 1] != before[:-1])


def test_net_partial_fit_continues_training():
    model = small_mlp(max_iter=1, batch_size=300).fit(X_TRAIN, Y_TRAIN)
    before = log_loss(Y_TRAIN, model.predict_proba(X_TRAIN))
    net = model.net_
    for _ in range(20):
        net.partial_fit(X_TRAIN, Y_TRAIN)
    assert log_loss(Y_TRAIN, net.predict_proba(X_TRAIN)) < before - 0.02


def test_net_of_images_predicts_images():
    images = np.random.RandomState(0).rand(60, 3, 8, 8)
    model = small_mlp().fit(images, Y[:60])
    assert_allclose(model.net_.predict_proba(images), model.predict_proba(images), atol=1e-6)


def test_net_access_keeps_the_estimators_attributes():
    model = small_mlp().fit(X_TRAIN, Y_TRAIN)
    before = set(vars(model))
    assert model.net_ is not model.net_
    assert set(vars(model)) == before


@pytest.mark.parametrize("kind", [Dataset, TensorDataset])
def test_net_predict_proba_accepts_datasets(model, kind):
    rows, net = kind(torch.tensor(X_VAL), torch.tensor(Y_VAL)), model.net_
    assert_allclose(net.predict_proba(rows), model.predict_proba(X_VAL), atol=1e-6)
    logits = to_numpy(net.forward(rows))
    assert_allclose(logits, model.decision_function(X_VAL), rtol=1e-4, atol=1e-5)


def test_net_after_partial_fit_predicts_without_dropout():
    model = small_mlp(dropout=0.5).fit(X_TRAIN, Y_TRAIN)
    net = model.net_.partial_fit(X_TRAIN, Y_TRAIN)
    assert net.module_.training
    assert_array_equal(net.predict_proba(X_VAL), net.predict_proba(X_VAL))
    assert not any(each.training for each in net.module_.modules())


def test_module_forward_equals_the_estimators_logits(model):
    module = model.module_
    rows = torch.tensor(X_VAL).to(next(module.parameters()).dtype)
    with torch.no_grad():
        logits = module(rows).numpy()
    assert isinstance(module, torch.nn.Module)
    assert_allclose(logits, model.decision_function(X_VAL), rtol=1e-4, atol=1e-5)


def test_module_parameters_are_contiguous_and_share_no_memory(model):
    module = model.module_
    for each in module.state_dict().values():
        assert each.is_contiguous()
        assert each.untyped_storage().nbytes() == each.nbytes


def test_module_of_images_accepts_images():
    images = np.random.RandomState(0).rand(60, 3, 8, 8).astype(np.float32)
    model = small_mlp().fit(images, Y[:60])
    with torch.no_grad():
        logits = model.module_(torch.tensor(images)).numpy()
    assert_allclose(logits, model.decision_function(images), rtol=1e-4, atol=1e-5)


def test_module_changed_by_the_user_leaves_the_estimator_unchanged():
    model = small_mlp().fit(X_TRAIN, Y_TRAIN)
    before = weights_of(model).copy()
    with torch.no_grad():
        for parameter in model.module_.parameters():
            parameter.zero_()
    assert_array_equal(weights_of(model), before)
