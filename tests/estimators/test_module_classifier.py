"""TorchModuleClassifier: torch modules of the user, alone, in ensembles and in searches."""

import copy
import itertools
import pickle
import re
import subprocess
import sys
import warnings
from functools import partial

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skbinary import (
    TorchMLPClassifier,
    TorchModuleClassifier,
    VectorizedGridSearchCV,
    VectorizedHalvingGridSearchCV,
)
from skbinary.estimators import mlp
from skbinary.estimators.recipe import draw_seed
from skbinary.models.module_batch import ModuleBatch
from skbinary.solvers.minibatch import batched, single
from tests.estimators import modules
from tests.estimators.modules import MODULES
from tests.solvers.fake_capture import FakeCapture

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore:The models of:UserWarning",
    "ignore:.*weight_norm.*:FutureWarning",
)


@pytest.fixture(scope="module")
def data():
    """A table whose first column holds the categories 0, 1 and 2."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 6)).astype(np.float32)
    X[:, 0] = rng.integers(0, 3, 400)
    return X, (X[:, 1] + X[:, 0] > 0.8).astype(int)


def quick(module=modules.ReLUNetwork, **parameters):
    return TorchModuleClassifier(
        module, **{"max_iter": 5, "learning_rate_init": 0.01, "random_state": 0, **parameters}
    )


# -- the oracle: the network of closed form --------------------------------------------------------


def initial_weights(seed=0):
    """Return weights and biases of the network (6, 16, 8, 1), as TorchMLPClassifier draws them."""
    rng, sizes = np.random.RandomState(seed), [6, 16, 8, 1]
    pairs = list(itertools.pairwise(sizes))
    weights = [rng.normal(size=pair, scale=0.4) for pair in pairs]
    return weights, [rng.normal(size=pair[1], scale=0.1) for pair in pairs]


class FixedStart(modules.ClosedForm):
    """Starts from the weights of the network of closed form."""

    def __init__(self, n_features):
        super().__init__(n_features)
        layers = [each for each in self if isinstance(each, nn.Linear)]
        for layer, weight, bias in zip(layers, *initial_weights(), strict=True):
            layer.weight.data = torch.tensor(weight.T, dtype=torch.float32)
            layer.bias.data = torch.tensor(bias, dtype=torch.float32)


@pytest.fixture
def closed_form(monkeypatch):
    """Return a function that makes the network of closed form with the same start."""

    def draw(architecture, random_state):
        draw_seed(random_state)  # as a module does, so that both shuffle alike
        return architecture.pack(*(map(torch.tensor, each) for each in initial_weights()))

    monkeypatch.setattr(mlp, "draw_initial_parameters", draw)
    return lambda **parameters: TorchMLPClassifier((16, 8), **parameters)


def largest_difference(network, module):
    """Return the largest difference of the weights of two fitted networks."""
    arrays = module.parameters_
    pairs = [
        pair
        for i, (weight, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True))
        for pair in (
            (np.swapaxes(weight, -1, -2), arrays[f"{2 * i}.weight"]),
            (bias, arrays[f"{2 * i}.bias"]),
        )
    ]
    return max(np.abs(a - b).max() for a, b in pairs)


SETTINGS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05, "learning_rate": "onecycle"},
    "penalties": {"alpha": 1.0, "weight_decay": 0.1},
    "weights": {"class_weight": {0: 1, 1: 3}, "batch_size": 64},
    "averaged": {"weight_average": 0.9, "label_smoothing": 0.1},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_module_of_the_closed_form_is_trained_to_the_same_weights(data, closed_form, name):
    parameters = {"early_stopping": False, "max_iter": 5, "random_state": 3, **SETTINGS[name]}
    network = closed_form(**parameters).fit(*data)
    module = TorchModuleClassifier(FixedStart, **parameters).fit(*data)
    assert largest_difference(network, module) < 1e-5
    assert np.allclose(network.loss_curve_, module.loss_curve_, rtol=1e-5)
    assert np.allclose(network.predict_proba(data[0]), module.predict_proba(data[0]), atol=1e-5)


@pytest.mark.parametrize("n_members", [3, 6])  # one by one, and mapped
def test_ensemble_of_modules_has_the_weights_of_the_closed_form(data, closed_form, n_members):
    parameters = {"n_members": n_members, "max_iter": 5, "random_state": 3}
    network = closed_form(**parameters).fit(*data)
    module = TorchModuleClassifier(FixedStart, **parameters).fit(*data)
    assert largest_difference(network, module) < 1e-5
    assert network.oof_loss_ == pytest.approx(module.oof_loss_, rel=1e-5)
    assert network.temperature_ == pytest.approx(module.temperature_, rel=1e-4)


def test_search_over_modules_has_the_results_of_the_closed_form(data, closed_form):
    parameters = {"early_stopping": False, "max_iter": 5, "random_state": 3}
    grid = {"learning_rate_init": [0.001, 0.01], "alpha": [0.001, 1.0]}
    options = {"cv": 3, "scoring": "neg_log_loss", "refit": True}
    network = VectorizedGridSearchCV(closed_form(**parameters), grid, **options).fit(*data)
    estimator = TorchModuleClassifier(FixedStart, **parameters)
    module = VectorizedGridSearchCV(estimator, grid, **options).fit(*data)
    assert largest_difference(network.best_estimator_, module.best_estimator_) < 1e-5
    scores = [each.cv_results_["mean_test_score"] for each in (network, module)]
    assert np.allclose(*scores, rtol=1e-5)
    assert list(module.cv_results_["fit_mode"]) == ["batched"] * 4


# -- modules that people write ---------------------------------------------------------------------


def name_of(module):
    return module.__name__


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_module_is_trained_alone_and_scored(data, module):
    X, y = data
    model = quick(module, early_stopping=False, max_iter=10).fit(X, y)
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (400, 2)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    with torch.no_grad():
        logits = model.module_(torch.tensor(X)).numpy()
    assert np.allclose(logits, model.decision_function(X), atol=1e-5)
    # A row's score does not depend on the rows beside it.
    assert np.allclose(model.decision_function(X[:1]), logits[:1], atol=1e-5)


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_ensemble_is_batched_or_warns_why_it_is_not(data, module):
    reason = MODULES[module]
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        model = quick(module, n_members=5).fit(*data)
    found = [str(each.message) for each in shown if "The models of" in str(each.message)]
    assert len(found) == (reason is not None)
    if reason is not None:
        start = f"The models of {module.__name__} are trained one by one, not in a batch of models:"
        assert found[0].startswith(start)
        assert reason in found[0]
    assert model.n_members_ == 5
    assert model.oof_decision_function_.shape == (400,)


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_fit_is_reproducible_and_leaves_the_global_random_state(data, module):
    before = torch.get_rng_state()
    first, second = (quick(module, n_members=5).fit(*data) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, array in first.parameters_.items():
        assert np.array_equal(array, second.parameters_[name])


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_pickled_module_scores_as_before(data, module):
    model = quick(module, n_members=2).fit(*data)
    loaded = pickle.loads(pickle.dumps(model))
    assert np.array_equal(loaded.predict_proba(data[0]), model.predict_proba(data[0]))
    assert clone(loaded).get_params() == clone(model).get_params()


def test_members_start_from_weights_of_their_own(data):
    arrays = quick(modules.RandomFeatures, n_members=5).fit(*data).parameters_["waves"]
    assert len(np.unique(arrays[:, 0, 0])) == 5


@pytest.mark.parametrize("module", [modules.BatchNorm, modules.DoubleBuffers], ids=name_of)
def test_buffers_that_change_are_kept_with_the_best_weights(data, module):
    model = quick(module, early_stopping=True, max_iter=8).fit(*data)
    counts = {"BatchNorm": "1.num_batches_tracked", "DoubleBuffers": "n_steps"}
    n_steps = model.best_epoch_ * 2  # 360 rows in batches of 200
    assert model.parameters_[counts[module.__name__]] == n_steps


def test_constant_buffers_keep_their_type_and_their_digits(data):
    arrays = quick(modules.DoubleBuffers).fit(*data).parameters_
    assert arrays["mean"].dtype == np.float64
    assert np.array_equal(arrays["mean"], np.full(6, 1 / 3))
    assert arrays["is_on"].dtype == bool


def test_frozen_layers_and_tied_weights_stay_so(data):
    frozen = quick(modules.Frozen, module__n_features=6).fit(*data)
    start = quick(modules.Frozen, learning_rate_init=1e-12).fit(*data)
    assert np.array_equal(frozen.parameters_["fixed.weight"], start.parameters_["fixed.weight"])
    assert not frozen.module_.network.fixed.weight.requires_grad
    tied = quick(modules.TiedWeights).fit(*data).module_.network
    assert tied.third.weight is tied.second.weight


def test_last_batch_of_one_row_is_normalized_by_running_statistics(data):
    X, y = data
    model = quick(modules.BatchNorm, early_stopping=False, batch_size=133).fit(X, y)  # 133 * 3 + 1
    assert np.isfinite(model.predict_proba(X)).all()


def test_function_that_returns_a_module_is_called(data):
    model = quick(modules.make_sequential, module__width=5).fit(*data)
    assert model.parameters_["0.weight"].shape == (5, 6)


def test_instance_is_copied_and_training_starts_from_its_weights(data):
    network = modules.ReLUNetwork(6)
    before = copy.deepcopy(network.state_dict())
    model = quick(network, learning_rate_init=1e-12, early_stopping=False).fit(*data)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert np.allclose(model.parameters_[name], tensor.numpy(), atol=1e-6)
    assert pickle.loads(pickle.dumps(model)).score(*data) == model.score(*data)


# -- data ------------------------------------------------------------------------------------------


def test_images_keep_their_shape():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5, 4)).astype(np.float32)
    y = X[:, 2, 2] > 0
    model = quick(modules.Convolution, n_members=5, module__channels=3).fit(X, y)
    assert model.sample_shape_ == (5, 4)
    assert model.score(X, y) > 0.7
    assert model.module_(torch.tensor(X)).shape == (300,)
    message = r"The samples in X must have the shape \(5, 4\), as in fit, got \(20,\)"
    with pytest.raises(ValueError, match=message):
        model.predict(X.reshape(300, 20))


@pytest.mark.parametrize("n_members", [1, 5])
def test_sparse_rows_give_the_model_of_dense_ones(data, n_members):
    X, y = data
    X = np.where(np.abs(X) < 0.5, 0, X)
    dense = quick(n_members=n_members).fit(X, y)
    sparse = quick(n_members=n_members).fit(sp.csr_array(X), y)
    assert np.allclose(sparse.predict_proba(sp.csr_array(X)), dense.predict_proba(X), atol=1e-5)


def test_scores_are_computed_and_returned_in_float32(data):
    X, y = data
    model = quick().fit(X, y)
    single, double = model.predict_proba(X), model.predict_proba(X.astype(float))
    assert (single.dtype, double.dtype) == (np.float32, np.float32)
    assert np.allclose(single, double, atol=1e-6)


def test_validation_set_weights_and_threshold_work_as_elsewhere(data):
    X, y = data
    model = quick(threshold={"recall": 0.9}, monitor="roc_auc")
    model.fit(X[:300], y[:300], np.arange(300) % 3, X_val=X[300:], y_val=y[300:])
    assert len(model.validation_scores_) == model.n_iter_
    assert model.predict(X[300:])[y[300:] == 1].mean() >= 0.9


def test_row_of_weight_two_counts_like_two_rows(data):
    X, y = data
    parameters = {"early_stopping": False, "batch_size": 800, "shuffle": False}
    weighted = quick(**parameters).fit(X, y, np.full(400, 2.0))
    twice = quick(**parameters).fit(np.repeat(X, 2, axis=0), np.repeat(y, 2))
    assert np.allclose(weighted.decision_function(X), twice.decision_function(X), atol=1e-4)


def test_partial_fit_continues_from_weights_and_optimizer(data):
    X, y = data
    model = quick(modules.BatchNorm, early_stopping=False, shuffle=False)
    for _ in range(5):
        model.partial_fit(X, y)
    whole = quick(modules.BatchNorm, early_stopping=False, shuffle=False).fit(X, y)
    assert np.allclose(model.decision_function(X), whole.decision_function(X), atol=1e-4)


def test_warm_start_continues_from_weights(data):
    model = quick(early_stopping=False, warm_start=True).fit(*data)
    first = model.loss_
    assert model.fit(*data).loss_ < first
    assert len(model.loss_curve_) == 10
    message = "Tensors of ReLUNetwork must have the shapes"
    with pytest.raises(ValueError, match=message):
        model.set_params(module__width=3).fit(*data)


# -- searches --------------------------------------------------------------------------------------


def test_search_trains_modules_of_different_shapes_in_batches(data):
    X, y = data
    grid = {"net__module__width": [4, 8], "net__learning_rate_init": [0.001, 0.01, 0.1]}
    pipeline = make_pipeline(StandardScaler())
    pipeline.steps.append(("net", quick(early_stopping=False)))
    ours = VectorizedGridSearchCV(pipeline, grid, cv=3, scoring="roc_auc").fit(X, y)
    theirs = GridSearchCV(pipeline, grid, cv=3, scoring="roc_auc").fit(X, y)
    scores = [each.cv_results_["mean_test_score"] for each in (ours, theirs)]
    assert np.allclose(*scores, atol=1e-3)
    assert set(ours.cv_results_["fit_mode"]) == {"batched"}
    width = ours.best_params_["net__module__width"]
    assert ours.best_estimator_[-1].parameters_["hidden.weight"].shape == (width, 6)


def test_search_says_why_modules_are_trained_one_by_one(data):
    grid = {"learning_rate_init": [0.001, 0.01]}
    search = VectorizedGridSearchCV(quick(modules.BatchNorm, early_stopping=False), grid, cv=3)
    message = "6 of 6 fits of this search.*The models of BatchNorm are trained one by one"
    with pytest.warns(UserWarning, match=message):
        search.fit(*data)
    assert list(search.cv_results_["fit_mode"]) == ["single", "single"]
    one = GridSearchCV(search.estimator, grid, cv=3).fit(*data)
    assert np.allclose(
        search.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"], atol=1e-3
    )


def test_wide_modules_are_not_mapped_on_a_cpu(data):
    grid = {"learning_rate_init": [0.001, 0.01], "module__width": [16, 4096]}
    estimator = quick(early_stopping=False, max_iter=1, device="cpu")
    search = VectorizedGridSearchCV(estimator, grid, cv=3).fit(*data)
    widths = search.cv_results_["param_module__width"]
    modes = dict(zip(widths, search.cv_results_["fit_mode"], strict=True))
    assert modes == {16: "batched", 4096: "single"}


# -- parameters ------------------------------------------------------------------------------------


def test_parameters_of_the_module_are_attributes():
    model = TorchModuleClassifier(modules.ReLUNetwork, module__width=8)
    assert model.module__width == 8
    model.module__width = 16
    assert model.get_params()["module__width"] == 16
    with pytest.raises(ValueError, match=r"^module__with must be an argument of ReLUNet"):
        model.module__with = 3
    with pytest.raises(AttributeError, match="has no attribute 'module__depth'"):
        _ = model.module__depth
    assert copy.deepcopy(model).module__width == 16


def test_parameters_of_the_module_are_parameters_of_the_estimator():
    model = quick(module__width=3)
    assert model.get_params()["module__width"] == 3
    assert clone(model).get_params() == model.get_params()
    model.set_params(module__width=4, max_iter=7)
    assert (model.get_params()["module__width"], model.max_iter) == (4, 7)
    assert "module__width=4" in repr(model)


def test_unknown_names_are_reported_with_the_names_of_the_signature():
    message = (
        "module__widht must be an argument of ReLUNetwork, which takes (n_features, width), got "
        "'widht'. Did you mean module__width?"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        quick(module__widht=3)
    model = quick()
    with pytest.raises(ValueError, match=re.escape(message)):
        model.set_params(module__widht=3, max_iter=100)
    assert model.max_iter == 5
    with pytest.raises(TypeError, match="unexpected keyword argument 'alhpa'"):
        quick(alhpa=3)


def test_another_module_drops_the_arguments_that_it_does_not_take():
    model = TorchModuleClassifier(modules.ReLUNetwork, module__width=4)
    model.set_params(module=modules.Dropout)
    assert "module__width" not in model.get_params()
    model.set_params(module__p=0.5).set_params(module=partial(modules.Dropout, p=0.1))
    assert model.get_params()["module__p"] == 0.5
    with pytest.raises(ValueError, match=r"^module__p must be an argument of ReLUNetwork, which"):
        model.set_params(module=modules.ReLUNetwork, module__p=0.1)
    assert model.get_params()["module__p"] == 0.5


def test_search_over_modules_with_different_arguments(data):
    model = quick(module__width=4, max_iter=2)
    grid = [
        {"module": [modules.ReLUNetwork], "module__width": [3, 5]},
        {"module": [modules.Dropout], "module__p": [0.1]},
    ]
    search = VectorizedGridSearchCV(model, grid, cv=2, refit=False).fit(*data)
    assert len(search.cv_results_["params"]) == 3
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_no_images_at_all_get_the_sentence_of_scikit_learn():
    images = np.random.default_rng(0).normal(size=(20, 2, 3)).astype(np.float32)
    model = quick(nn.Sequential(nn.Flatten(), nn.Linear(6, 1)), max_iter=1)
    model.fit(images, np.arange(20) % 2)
    with pytest.raises(ValueError, match=r"^Found array with 0 sample\(s\)"):
        model.predict(images[:0])


def test_pickle_is_loaded_in_a_fresh_process(data, tmp_path):
    X, _ = data
    model = quick(modules.Lazy).fit(*data)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    np.save(tmp_path / "X.npy", X[:5])
    code = (
        "import pickle, sys, numpy as np; from pathlib import Path; folder = Path(sys.argv[1]);"
        "model = pickle.loads((folder / 'model.pkl').read_bytes());"
        "print(model.decision_function(np.load(folder / 'X.npy')).tolist())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert np.allclose(eval(out), model.decision_function(X[:5]))


def test_step_of_a_batch_of_modules_is_one_backward_pass(data, monkeypatch):
    calls = []
    backward = ModuleBatch.forward_backward

    def counted(self, *args, **kwargs):
        calls.append(self.n_models)
        return backward(self, *args, **kwargs)

    monkeypatch.setattr(ModuleBatch, "forward_backward", counted)
    quick(n_members=5, n_iter_no_change=100, max_iter=2).fit(*data)
    trained = [n for n in calls if n == 5]
    assert len(trained) == 2 * 2  # epochs, each with two batches


class WritesToInput(modules.ReLUNetwork):
    def forward(self, X):
        X += 1
        return super().forward(X)


class WritesInTraining(modules.ReLUNetwork):
    def forward(self, X):
        if self.training:
            X.mul_(2)
        return super().forward(X)


class NoBackward(modules.ReLUNetwork):
    def forward(self, X):
        hidden = torch.sigmoid(self.hidden(X))
        logits = self.output(hidden)
        hidden.mul_(2)
        return logits


class NaNLogits(modules.ReLUNetwork):
    def forward(self, X):
        return super().forward(X) * float("nan")


class ThreeLogits(nn.Linear):
    def __init__(self, n_features):
        super().__init__(n_features, 3)


class NoParameters(nn.Module):
    def forward(self, X):
        return X[:, 0]


class Detached(modules.ReLUNetwork):
    def forward(self, X):
        return super().forward(X).detach()


class TwoInputs(modules.ReLUNetwork):
    def forward(self, X, lengths):
        return super().forward(X)


class IntegerInput(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.embedding = nn.Embedding(3, 1)

    def forward(self, X):
        return self.embedding(X)[:, 0]


class ReturnsTuple(modules.ReLUNetwork):
    def forward(self, X):
        return super().forward(X), X


class WrongWidth(modules.ReLUNetwork):
    def __init__(self):
        super().__init__(3)


class Probabilities(modules.ReLUNetwork):
    def forward(self, X):
        return super().forward(X) > 0


class OnMeta(nn.Linear):
    def __init__(self, n_features):
        super().__init__(n_features, 1, device="meta")


class Raises(nn.Module):
    def __init__(self, n_features):
        raise KeyError("width")


class Complex(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_features, dtype=torch.complex64))

    def forward(self, X):
        return (X @ self.weight).real


class UnusedLazy(modules.ReLUNetwork):
    def __init__(self, n_features):
        super().__init__(n_features)
        self.unused = nn.LazyLinear(1)


class NotAModule:
    pass


MISTAKES = {
    NotAModule: "module must be a class of torch modules, a function that returns one, or a "
    "module, got the class NotAModule. Make it a subclass of torch.nn.Module.",
    3: "module must be a class of torch modules, a function that returns one, or a module, got 3. "
    "Pass the class itself, such as module=MyNetwork.",
    "ReLUNetwork": "module must be a class of torch modules, a function that returns one, or a "
    "module, got 'ReLUNetwork'. Pass the class itself, such as module=MyNetwork.",
    list: "module must be a class of torch modules, a function that returns one, or a module, got "
    "the class list. Make it a subclass of torch.nn.Module.",
    dict.fromkeys: "module must be possible to build, got TypeError from fromkeys(",
    WritesToInput: "module must not change its input, got WritesToInput, which writes to it. Copy "
    "the rows in its forward first, or use operations that are not in place.",
    WritesInTraining: "module must not change its input, got WritesInTraining, which writes to it. "
    "Copy the rows in its forward first, or use operations that are not in place.",
    NoBackward: "module must allow a backward pass, got RuntimeError from NoBackward: one of the "
    "variables needed for gradient computation has been modified by an inplace operation",
    NaNLogits: "module must return finite logits before training, got 8 that are not for 8 rows "
    "from NaNLogits. Check its initial weights, and its forward.",
    ThreeLogits: "module must return one logit for each row, of shape (8,) or (8, 1), or the two "
    "of a softmax, got a tensor of shape (8, 3) from ThreeLogits for 8 rows. Change its last "
    "layer.",
    NoParameters: "module must have parameters to train, got none with requires_grad in "
    "NoParameters. Register them as torch.nn.Parameter or as layers.",
    Detached: "The logits of module must depend on its parameters, got logits of Detached without "
    "a gradient. Remove torch.no_grad and detach from its forward.",
    TwoInputs: "module must take rows of shape (n_rows, 6) in float32, got TypeError from "
    "TwoInputs: TwoInputs.forward() missing 1 required positional argument: 'lengths'. Check its "
    "forward.",
    IntegerInput: "module must take rows of shape (n_rows, 6) in float32, got RuntimeError from "
    "IntegerInput: Expected tensor for argument",
    ReturnsTuple: "module must return one logit for each row, of shape (8,) or (8, 1), or the two "
    "of a softmax, got an object of type tuple from ReturnsTuple for 8 rows. Change its last "
    "layer.",
    WrongWidth: "module must take rows of shape (n_rows, 6) in float32, got RuntimeError from "
    "WrongWidth: mat1 and mat2 shapes cannot be multiplied (8x6 and 3x16). Check its forward.",
    Probabilities: "module must return one logit for each row, of shape (8,) or (8, 1), or the two "
    "of a softmax, got a tensor of torch.bool of shape (8, 1) from Probabilities for 8 rows. "
    "Change its last layer.",
    OnMeta: "module must be built on the CPU, got a parameter on meta from OnMeta. Set the "
    "parameter device of the estimator instead: it moves the parameters.",
    Raises: "module must be possible to build, got KeyError from Raises(n_features=6): 'width'. "
    "Check the parameters module__*.",
    Complex: "Parameters of module must be real numbers, got weight of torch.complex64. Set its "
    "requires_grad to False, or split it into real and imaginary parts.",
    UnusedLazy: "Lazy layers of module must be used in its forward, got one of UnusedLazy that is "
    "not. Remove it.",
    nn.Linear: "module must be possible to build, got TypeError from Linear():",
}


@pytest.mark.parametrize("module", MISTAKES, ids=lambda each: getattr(each, "__name__", str(each)))
def test_mistake_gets_a_sentence_before_training_and_changes_nothing(data, module):
    model = quick(module)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=re.escape(MISTAKES[module])):
        model.fit(*data)
    assert vars(model) == before


def test_class_of_a_function_can_be_copied_but_not_pickled(data):
    class Local(modules.ReLUNetwork):
        pass

    model = quick(Local).fit(*data)
    assert copy.deepcopy(model).score(*data) == copy.copy(model).score(*data) == model.score(*data)
    message = (
        "module must be a class or function that can be imported to be pickled, got "
        "test_class_of_a_function_can_be_copied_but_not_pickled.<locals>.Local, which "
        f"{__name__} does not have under that name. Define it at the top level of a Python file."
    )
    for save in (pickle.dumps, joblib.hash):
        with pytest.raises(pickle.PicklingError, match=re.escape(message)):
            save(model)
    search = GridSearchCV(quick(Local), {"alpha": [0.1, 1.0]}, cv=2, n_jobs=2).fit(*data)
    assert np.isfinite(search.best_score_)


@pytest.mark.parametrize("module", [modules.ReLUNetwork, modules.BatchNorm], ids=name_of)
def test_default_dtype_of_the_process_does_not_matter(data, module):
    wanted = quick(module, n_members=5).fit(*data)
    torch.set_default_dtype(torch.float64)
    try:
        model = quick(module, n_members=5).fit(*data)
    finally:
        torch.set_default_dtype(torch.float32)
    assert model.score(*data) > 0.6
    for name, array in model.parameters_.items():
        assert array.dtype == wanted.parameters_[name].dtype


def test_halving_continues_buffers_and_weights(data):
    grid = {"alpha": [0.1, 1.0, 10.0]}
    # Adam would amplify the rounding of gradients that are zero.
    estimator = quick(modules.BatchNorm, early_stopping=False, solver="sgd")
    options = {"cv": StratifiedKFold(3), "scoring": "neg_log_loss"}
    halving = VectorizedHalvingGridSearchCV(
        estimator, grid, resource="max_iter", min_resources=2, max_resources=6, **options
    ).fit(*data)
    estimator.set_params(max_iter=6)
    whole = VectorizedGridSearchCV(estimator, grid, **options).fit(*data)
    scores = dict(zip(grid["alpha"], whole.cv_results_["mean_test_score"], strict=True))
    results = halving.cv_results_
    [(last, score)] = [
        (parameters["alpha"], score)
        for parameters, score, n in zip(
            results["params"], results["mean_test_score"], results["n_resources"], strict=True
        )
        if n == 6
    ]
    assert score == pytest.approx(scores[last], abs=1e-5)


def test_average_of_a_search_can_be_pickled(data):
    search = VectorizedGridSearchCV(
        quick(), {"alpha": [0.1, 1.0], "module__width": [4, 8]}, cv=3, ensemble_size=3
    ).fit(*data)
    loaded = pickle.loads(pickle.dumps(search))
    assert np.array_equal(loaded.predict_proba(data[0]), search.predict_proba(data[0]))


def test_callbacks_of_skorch_see_and_change_the_training(data):
    pytest.importorskip("skorch", reason="skorch comes with the extra skorch")
    from skorch.callbacks import Callback, GradientNormClipping

    class Recorder(Callback):
        def on_epoch_end(self, net, **kwargs):
            self.count_ = int(net.module_.network[1].num_batches_tracked)

    recorder = Recorder()
    model = quick(modules.BatchNorm, early_stopping=False, callbacks=[recorder]).fit(*data)
    assert recorder.count_ == model.parameters_["1.num_batches_tracked"] == 10
    clipped = quick(modules.Frozen, solver="sgd", early_stopping=False)
    clipped.set_params(callbacks=[("clip", GradientNormClipping(1e-6))]).fit(*data)
    free = quick(modules.Frozen, solver="sgd", early_stopping=False).fit(*data)
    moved = [each.loss_curve_[0] - each.loss_curve_[-1] for each in (clipped, free)]
    assert abs(moved[0]) < 0.1 * moved[1]


def test_compile_gives_the_same_network(data, monkeypatch):
    compiled = []

    def compile_module(module):
        compiled.append(module)
        return module

    monkeypatch.setattr(torch, "compile", compile_module)
    model = quick(compile=True, early_stopping=False).fit(*data)
    assert len(compiled) == 1
    plain = quick(early_stopping=False).fit(*data)
    assert np.array_equal(model.predict_proba(data[0]), plain.predict_proba(data[0]))


def test_compile_without_a_compiler_gets_a_sentence(data, monkeypatch):
    def compile_module(module):
        def forward(X):
            raise torch._dynamo.exc.TorchDynamoException("No working C++ compiler found")

        return forward

    monkeypatch.setattr(torch, "compile", compile_module)
    message = (
        "compile must be False where torch.compile cannot compile the module, got "
        "TorchDynamoException for ReLUNetwork: No working C++ compiler found. Install a C++ "
        "compiler, or set compile=False."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        quick(compile=True, early_stopping=False).fit(*data)


@pytest.mark.parametrize("n_members", [1, 3, 6])
def test_captured_steps_give_the_same_networks(data, monkeypatch, n_members):
    parameters = {"n_members": n_members, "batch_size": 150, "solver": "sgd"}
    plain = quick(**parameters).fit(*data)
    capture, choose = FakeCapture(), single.choose_capture
    for solver in (single, batched):
        monkeypatch.setattr(solver, "choose_capture", lambda setup, _: choose(setup, capture))
    captured = quick(**parameters).fit(*data)
    assert capture.n_replayed > 0
    for name, array in plain.parameters_.items():
        assert np.allclose(array, captured.parameters_[name], atol=1e-6)


@pytest.mark.parametrize("module", [modules.ReLUNetwork, modules.LayerNorm])
def test_fit_rows_of_weight_two_equal_the_rows_twice(data, module):
    X, y = data
    weight = np.where(np.arange(len(y)) % 3, 1.0, 2.0)
    twice = np.repeat(np.arange(len(y)), weight.astype(int))
    # One batch of all rows: the batches of the two tables differ otherwise.
    settings = {"early_stopping": False, "shuffle": False, "max_iter": 20, "alpha": 0.0}
    weighted = quick(module, batch_size=len(y), **settings).fit(X, y, sample_weight=weight)
    repeated = quick(module, batch_size=len(twice), **settings).fit(X[twice], y[twice])
    plain = quick(module, batch_size=len(y), **settings).fit(X, y)
    scores = weighted.decision_function(X)
    np.testing.assert_allclose(scores, repeated.decision_function(X), atol=1e-3)
    assert np.abs(scores - plain.decision_function(X)).max() > 0.01
