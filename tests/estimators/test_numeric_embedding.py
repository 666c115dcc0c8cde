"""Networks with periodic embeddings of numerical features."""

import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, GradientNormClipping

from skbinary import TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.estimators.batching import _split_group
from skbinary.models.batch_of_models import ModelBatch
from tests.solvers.fake_capture import FakeCapture

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def make_table(n_rows=400, seed=0):
    """Return rows with four numbers and two flags, and labels that repeat along a feature."""
    random = np.random.RandomState(seed)
    X = np.c_[random.normal(size=(n_rows, 4)), random.randint(0, 2, (n_rows, 2))]
    X = X[:, [0, 4, 1, 2, 5, 3]]
    probability = expit(3 * np.sin(5 * X[:, 0]) + X[:, 1])
    return X, (random.uniform(size=n_rows) < probability).astype(int)


X, Y = make_table()
NUMBERS, FLAGS = [0, 2, 3, 5], [1, 4]


def network(**params):
    params = {"max_iter": 10, "batch_size": 50, "random_state": 0, **params}
    return TorchMLPClassifier((6,), **{"numeric_embedding": "periodic", **params})


def logits_by_hand(model, rows):
    """Return the logits of a fitted network from its public attributes."""
    embedding, coefs, intercepts = model.embedding_, model.coefs_, model.intercepts_
    parts = [rows]
    for i, column in enumerate(embedding["columns"]):
        angles = 2 * np.pi * rows[:, [column]] * embedding["frequencies"][i].astype(float)
        parts.append(np.cos(angles + embedding["phases"][i]) @ embedding["maps"][i].astype(float))
    hidden = np.maximum(np.hstack(parts) @ coefs[0].astype(float) + intercepts[0], 0)
    return (hidden @ coefs[1].astype(float) + intercepts[1])[:, 0]


# -- what is fitted -------------------------------------------------------------------------------


def test_embedding_holds_the_numerical_features():
    model = network().fit(X, Y)
    assert model.embedding_["columns"].tolist() == NUMBERS
    shapes = {name: each.shape for name, each in model.embedding_.items() if name != "columns"}
    assert shapes == {"frequencies": (4, 16), "phases": (4, 16), "maps": (4, 16, 8)}
    assert [each.shape for each in model.coefs_] == [(6 + 32, 6), (6, 1)]
    assert model.n_features_in_ == 6


def test_decision_function_equals_the_formula_with_public_attributes():
    model = network(max_iter=50).fit(X, Y)
    assert_allclose(model.decision_function(X), logits_by_hand(model, X), rtol=1e-9, atol=1e-9)


def test_embedding_improves_a_target_that_is_not_smooth():
    training, test = make_table(2000, seed=1), make_table(2000, seed=2)
    losses = {}
    for embedding in ("periodic", None):
        model = network(numeric_embedding=embedding, max_iter=100, learning_rate_init=0.01)
        probability = model.fit(*training).predict_proba(test[0])
        losses[embedding] = log_loss(test[1], probability)
    assert losses["periodic"] < losses[None] - 0.02


def test_none_is_the_network_without_an_embedding():
    model = network(numeric_embedding=None).fit(X, Y)
    plain = TorchMLPClassifier((6,), max_iter=10, batch_size=50, random_state=0).fit(X, Y)
    assert_array_equal(model.coefs_[0], plain.coefs_[0])
    assert model.embedding_ is None


def test_table_without_numerical_features_trains_without_an_embedding():
    flags = X[:, FLAGS]
    model = network().fit(flags, Y)
    assert model.embedding_ is None
    expected = network(numeric_embedding=None).fit(flags, Y)
    assert_array_equal(model.predict_proba(flags), expected.predict_proba(flags))


def test_rows_without_weight_do_not_count():
    # Only they have values other than 0 and 1 in the columns of flags.
    rows = np.r_[X, np.tile([0.5, 0.5, 0, 0, 0.5, 0], (900, 1))]
    weight = np.r_[np.ones(400), np.zeros(900)]
    params = {"early_stopping": False, "batch_size": 400}
    model = network(**params).fit(rows, np.r_[Y, np.ones(900, int)], weight)
    assert model.embedding_["columns"].tolist() == NUMBERS
    assert_allclose(model.coefs_[0], network(**params).fit(X, Y).coefs_[0], atol=1e-6)


def test_alpha_is_a_penalty_on_the_weights_and_not_on_the_embedding():
    params = {"solver": "sgd", "momentum": 0.0, "batch_size": 400, "max_iter": 1}
    without, penalized = (network(alpha=alpha, **params).fit(X, Y) for alpha in (0.0, 100.0))
    for name, expected in without.embedding_.items():
        assert_array_equal(penalized.embedding_[name], expected)
    assert np.abs(penalized.coefs_[0] - without.coefs_[0]).max() > 1e-5


# -- kinds of data --------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [sp.csr_array, sp.csc_matrix], ids=["csr", "csc"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_sparse_rows_raise_before_training(convert, method, monkeypatch):
    monkeypatch.setattr(ModelBatch, "__init__", lambda *args: pytest.fail("training has begun"))
    message = (
        "X must be dense with numeric_embedding='periodic', got a sparse matrix. Pass "
        "X.toarray(), or set numeric_embedding=None."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        getattr(network(), method)(convert(X), Y)


def test_sparse_rows_are_scored_and_validated():
    rest = {"X_val": X[300:], "y_val": Y[300:]}
    model = network().fit(X[:300], Y[:300], **rest)
    assert_allclose(model.predict_proba(sp.csr_array(X)), model.predict_proba(X), atol=1e-9)
    again = network().fit(X[:300], Y[:300], **{**rest, "X_val": sp.csr_array(X[300:])})
    assert_allclose(again.validation_loss_curve_, model.validation_loss_curve_, rtol=1e-5)


@pytest.mark.parametrize(
    "convert",
    [
        lambda rows: rows.astype(np.float32),
        lambda rows: torch.tensor(rows),
        lambda rows: torch.tensor(rows, dtype=torch.float32),
        lambda rows: rows.tolist(),
        lambda rows: pd.DataFrame(rows, columns=list("abcdef")),
        lambda rows: rows.reshape(len(rows), 2, 3),
        np.asfortranarray,
        lambda rows: rows[::-1][::-1],
    ],
    ids=["float32", "tensor", "float32 tensor", "list", "frame", "images", "columns", "reversed"],
)
def test_kinds_of_rows_give_the_same_model(convert):
    expected = network().fit(X, Y)
    rows = convert(X.copy())
    model = network().fit(rows, Y)
    assert model.embedding_["columns"].tolist() == NUMBERS
    assert_allclose(model.predict_proba(rows), expected.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2"])
def test_memory_mapped_rows_give_the_same_model(dtype, tmp_path):
    rows = (100 * X).astype(dtype) if dtype == "<i2" else X.astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    expected = network().fit(np.array(rows, dtype="f8"), Y)
    model = network().fit(mapped, Y)
    assert model.embedding_["columns"].tolist() == NUMBERS
    assert_allclose(model.coefs_[0], expected.coefs_[0], atol=1e-4)


@pytest.mark.parametrize("n_members", [1, 3])
def test_float32_rows_are_scored_in_float32(n_members):
    model = network(n_members=n_members).fit(X, Y)
    found = model.decision_function(X.astype(np.float32))
    assert found.dtype == np.float32
    assert_allclose(found, model.decision_function(X), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_members", [1, 3])
def test_score_of_a_row_does_not_depend_on_the_other_rows(n_members):
    model = network(n_members=n_members).fit(X, Y)
    together = model.decision_function(X)
    for i in (0, 17, 399):
        assert model.decision_function(X[[i]])[0] == pytest.approx(together[i], rel=1e-12)


def test_scores_of_many_chunks_are_those_of_one(monkeypatch):
    model = network(n_members=2).fit(X, Y)
    expected = model.decision_function(X)
    monkeypatch.setattr("skbinary.runtime.chunks._CHUNK_VALUES", 3000)
    assert_allclose(model.decision_function(X), expected, rtol=1e-12)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("hidden", [(), (6,)])
def test_rows_that_are_not_finite_raise(value, hidden):
    model = network().set_params(hidden_layer_sizes=hidden).fit(X, Y)
    rows = X[:3].copy()
    rows[1, 2] = value
    with pytest.raises(ValueError, match="Input X contains"):
        model.predict_proba(rows)


# -- ways to train --------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), (5, 4)])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_every_solver_and_depth_lowers_the_loss(solver, hidden):
    model = network(solver=solver, learning_rate_init=0.01, max_iter=60)
    model.set_params(hidden_layer_sizes=hidden).fit(X, Y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert log_loss(Y, model.predict_proba(X)) == pytest.approx(model.loss_curve_[-1], abs=0.05)


@pytest.mark.filterwarnings("ignore:lbfgs failed")
def test_lbfgs_ends_where_the_gradient_is_small():
    params = {"solver": "lbfgs", "alpha": 1.0, "tol": 1e-7, "max_iter": 3000, "max_fun": 10000}
    model = network(**params).set_params(hidden_layer_sizes=(2,)).fit(X[:60], Y[:60])
    module = model.module_.double()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        module(torch.tensor(X[:60])), torch.tensor(Y[:60], dtype=torch.float64)
    )
    penalized = [module[1].weight, module[3].weight]
    loss = loss + sum(each.square().sum() for each in penalized) / 2 / 60
    loss.backward()
    # It stops when the objective falls by less than a fraction of 2e-9.
    assert max(float(each.grad.abs().max()) for each in module.parameters()) < 2e-3


def test_partial_fit_uses_the_features_of_the_first_batch():
    model = network().partial_fit(X[:100], Y[:100])
    assert model.embedding_["columns"].tolist() == NUMBERS
    constant = np.tile(X[0], (100, 1))
    model.partial_fit(constant, Y[:100]).partial_fit(X, Y)
    assert model.embedding_["columns"].tolist() == NUMBERS
    assert len(model.loss_curve_) == 3


def test_partial_fit_after_a_first_batch_of_constant_columns_has_no_embedding():
    model = network().partial_fit(np.tile(X[0], (100, 1)), Y[:100])
    assert model.embedding_ is None
    model.partial_fit(X, Y)
    assert model.embedding_ is None
    assert model.predict_proba(X).shape == (400, 2)


def test_partial_fit_continues_as_if_it_had_not_ended():
    params = {"shuffle": False, "early_stopping": False, "weight_average": 0.9}
    whole = network(max_iter=3, n_iter_no_change=3, **params).fit(X, Y)
    model = network(**params)
    for _ in range(3):
        model = pickle.loads(pickle.dumps(model.partial_fit(X, Y)))
    for name, expected in whole.embedding_.items():
        assert_array_equal(model.embedding_[name], expected)


def test_warm_start_continues_with_the_embedding():
    model = network(warm_start=True, early_stopping=False, max_iter=3, n_iter_no_change=3)
    first = model.fit(X, Y).embedding_["frequencies"].copy()
    losses = list(model.loss_curve_)
    rows = X.copy()
    rows[:, 0] = X[:, 1]  # no longer a numerical feature
    model.fit(rows, Y).fit(X, Y)
    assert model.embedding_["columns"].tolist() == NUMBERS
    assert model.loss_curve_[-1] < losses[-1]
    assert 0 < np.abs(model.embedding_["frequencies"] - first).max() < 0.5


@pytest.mark.parametrize(("before", "after"), [(None, "periodic"), ("periodic", None)])
def test_warm_start_with_another_embedding_raises(before, after):
    model = network(warm_start=True, numeric_embedding=before).fit(X, Y)
    n_before, n_after = (0 if each is None else 4 for each in (before, after))
    message = (
        f"numeric_embedding must embed {n_before} features, as in the last fit, to continue from "
        f"it, got {n_after}. Set warm_start=False to start anew."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.set_params(numeric_embedding=after).fit(X, Y)


def test_fit_without_warm_start_finds_the_features_again():
    model = network().fit(X, Y)
    model.fit(X[:, FLAGS], Y)
    assert model.embedding_ is None
    assert model.fit(X[:, ::-1], Y).embedding_["columns"].tolist() == [0, 2, 3, 5]


def test_ensemble_has_an_embedding_for_each_member():
    model = network(n_members=3, calibrate=False).fit(X, Y)
    assert model.embedding_["columns"].tolist() == NUMBERS
    assert model.embedding_["maps"].shape == (3, 4, 16, 8)
    assert len({each.tobytes() for each in model.embedding_["frequencies"]}) == 3
    with torch.no_grad():
        found = model.module_.double()(torch.tensor(X)).numpy()
    assert_allclose(model.decision_function(X), found, rtol=1e-9, atol=1e-9)


def test_threshold_folds_have_the_same_features():
    model = network(threshold="f1", early_stopping=False).fit(X, Y)
    assert 0 < model.threshold_ < 1
    assert model.embedding_["columns"].tolist() == NUMBERS


@pytest.mark.parametrize("hidden", [(), (6,)])
def test_search_over_embeddings_and_averages_scores_as_single_fits(hidden):
    grid = {"numeric_embedding": [None, "periodic"], "weight_average": [0.0, 0.5, 0.9]}
    model = network(learning_rate_init=0.01).set_params(hidden_layer_sizes=hidden)
    params = {"cv": 3, "scoring": ["neg_log_loss", "roc_auc"], "refit": "neg_log_loss"}
    ours = VectorizedGridSearchCV(model, grid, **params).fit(X, Y)
    theirs = GridSearchCV(model, grid, **params).fit(X, Y)
    assert ours.cv_results_["fit_mode"].tolist() == ["batched"] * 6
    for name in ("mean_test_neg_log_loss", "mean_test_roc_auc"):
        assert_allclose(ours.cv_results_[name], theirs.cv_results_[name], atol=1e-4)
    assert len(np.unique(ours.cv_results_["mean_test_neg_log_loss"])) == 6
    assert ours.best_params_ == theirs.best_params_


def test_search_with_roc_auc_of_linear_models_scores_as_single_fits():
    grid = {"numeric_embedding": [None, "periodic"], "alpha": [1e-4, 1.0]}
    model = network().set_params(hidden_layer_sizes=())
    ours = VectorizedGridSearchCV(model, grid, cv=3, scoring="roc_auc").fit(X, Y)
    theirs = GridSearchCV(model, grid, cv=3, scoring="roc_auc").fit(X, Y)
    name = "mean_test_score"
    assert_allclose(ours.cv_results_[name], theirs.cv_results_[name], atol=1e-4)


@pytest.mark.parametrize("n_members", [1, 3])
def test_captured_steps_train_like_the_steps_themselves(n_members, monkeypatch):
    model = network(n_members=n_members, weight_average=0.9, early_stopping=False)
    expected = clone(model).fit(X, Y)
    capture = FakeCapture()
    for module in ("single", "batched"):
        monkeypatch.setattr(
            f"skbinary.solvers.minibatch.{module}.choose_capture", lambda *args: capture
        )
    model.fit(X, Y)
    assert capture.n_captured == 1
    assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-4)


def test_memory_of_a_step_counts_the_embedding_and_the_average(monkeypatch):
    models, original = [], _split_group
    monkeypatch.setattr(
        "skbinary.estimators.batching._split_group",
        lambda group, *args, **rest: models.append(group[0]) or original(group, *args, **rest),
    )
    for params in ({"numeric_embedding": None}, {}, {"weight_average": 0.5}):
        network(n_members=2, max_iter=1, **params).fit(X, Y)
    plain, embedded, averaged = (model.n_bytes_per_step for model in models)
    assert embedded - plain > 4 * 50 * 4 * 16 * 3  # three values for each cosine of a batch
    n_parameters = models[1].recipe.architecture.n_parameters
    assert averaged - embedded == 4 * 2 * n_parameters


# -- life -----------------------------------------------------------------------------------------


def test_fit_is_reproducible_and_leaves_its_inputs_and_global_states():
    rows, before = X.copy(), (np.random.get_state()[1].copy(), torch.get_rng_state())
    first, second = (network().fit(rows, Y) for _ in range(2))
    assert_array_equal(first.embedding_["maps"], second.embedding_["maps"])
    assert_array_equal(rows, X)
    assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_fit_under_other_default_settings_is_the_same():
    expected = network().fit(X, Y)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        model = network().fit(X, Y)
        found = model.predict_proba(X)
        assert model.module_[0].columns.device.type == "cpu"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert_array_equal(found, expected.predict_proba(X))


@pytest.mark.parametrize("n_members", [1, 3])
def test_pickle_gives_the_same_model(n_members):
    model = network(n_members=n_members).fit(X, Y)
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.get_params() == model.get_params()
    assert clone(loaded).get_params() == model.get_params()


def test_html_shows_the_number_of_embedded_features():
    text = network().fit(X, Y)._repr_html_()
    assert "numeric_embedding" in text
    assert "4 of 6 features" in text


def test_module_and_net_give_the_logits():
    model = network().fit(X, Y)
    with torch.no_grad():
        found = model.module_.double()(torch.tensor(X)).numpy()
    assert_allclose(found, model.decision_function(X), rtol=1e-9, atol=1e-9)
    net = model.net_
    assert_allclose(net.predict_proba(X), model.predict_proba(X), atol=1e-5)
    before = net.predict_proba(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.partial_fit(X, Y)
    assert np.abs(net.predict_proba(X) - before).max() > 0


def test_net_saves_and_loads_its_parameters(tmp_path):
    model = network().fit(X, Y)
    other = network(random_state=1).fit(X, Y).net_
    model.net_.save_params(f_params=tmp_path / "weights.pt")
    other.load_params(f_params=tmp_path / "weights.pt")
    assert_allclose(other.predict_proba(X), model.predict_proba(X), atol=1e-5)


def test_batch_level_callbacks_see_the_gradient_of_every_parameter():
    class Gradients(Callback):
        def initialize(self):
            self.names_ = []
            return self

        def on_grad_computed(self, net, named_parameters, **kwargs):
            self.names_ = [name for name, each in named_parameters if bool(each.grad.any())]

    callback = Gradients()
    network(callbacks=[callback], max_iter=1).fit(X, Y)
    names = ["0.frequencies", "0.phases", "0.maps", "1.weight", "1.bias", "3.weight", "3.bias"]
    assert callback.names_ == names


def test_gradient_clipping_changes_the_embedding():
    clipped = network(callbacks=[GradientNormClipping(1e-9)], solver="sgd", momentum=0.0).fit(X, Y)
    free = network(callbacks=[GradientNormClipping(1e9)], solver="sgd", momentum=0.0).fit(X, Y)
    expected = network(solver="sgd", momentum=0.0).fit(X, Y)
    assert_allclose(free.embedding_["frequencies"], expected.embedding_["frequencies"], atol=1e-6)
    start = network(solver="sgd", learning_rate_init=1e-12).fit(X, Y).embedding_["frequencies"]
    assert_allclose(clipped.embedding_["frequencies"], start, atol=1e-7)


@pytest.mark.parametrize("value", ["fourier", True, 3])
def test_numeric_embedding_of_another_value_raises(value):
    with pytest.raises(ValueError, match="The 'numeric_embedding' parameter of TorchMLPClassifier"):
        network(numeric_embedding=value).fit(X, Y)
