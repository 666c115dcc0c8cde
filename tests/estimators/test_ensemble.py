"""An ensemble of K networks, each trained without its own fold."""

import pickle
import warnings
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale
from skorch.callbacks import EpochTimer

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.data.folds import SplittableRows
from skbinary.estimators import batching
from skbinary.solvers.minibatch import cuda_graph
from skbinary.solvers.minibatch.batched import BatchedMiniBatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(400, 8, n_informative=5, flip_y=0.2, random_state=0)


def ensemble(n_members=3, **params):
    """Make a small ensemble."""
    params = {"max_iter": 12, "batch_size": 50, "random_state": 0, **params}
    return TorchMLPClassifier((6,), n_members=n_members, **params)


@pytest.fixture
def folds(monkeypatch):
    """Return the folds of every fit."""
    made, original = [], SplittableRows.folds

    def noted(*args):
        made.append(original(*args))
        return made[-1]

    monkeypatch.setattr(SplittableRows, "folds", noted)
    return made


@pytest.fixture
def batch_sizes(monkeypatch):
    """Count the models of every batch."""
    sizes, original = [], BatchedMiniBatch.__init__

    def noted(self, architecture, starts, *args, **kwargs):
        sizes.append(len(starts))
        original(self, architecture, starts, *args, **kwargs)

    monkeypatch.setattr(BatchedMiniBatch, "__init__", noted)
    return sizes


def logits_of(member, rows):
    hidden = np.maximum(rows @ member["coefs_0"].astype(float) + member["intercepts_0"], 0)
    return (hidden @ member["coefs_1"].astype(float) + member["intercepts_1"])[:, 0]


def test_logit_is_that_of_the_mean_probability_divided_by_the_temperature():
    model = ensemble().fit(X, Y)
    each = [logits_of(member, X) for member in model.members_]
    expected = logit(expit(each).mean(axis=0)) / model.temperature_
    assert_allclose(model.decision_function(X), expected, atol=1e-10)
    assert_allclose(model.predict_proba(X)[:, 1], expit(expected), atol=1e-10)
    assert np.ptp(each, axis=0).max() > 0.1
    assert model.temperature_ != 1


def test_fitted_attributes_have_a_leading_member_axis():
    model = ensemble().fit(X, Y)
    assert [each.shape for each in model.coefs_] == [(3, 8, 6), (3, 6, 1)]
    assert [each.shape for each in model.intercepts_] == [(3, 6), (3, 1)]
    assert model.n_members_ == len(model.members_) == len(model.loss_curve_) == 3
    assert model.n_iter_ == max(len(curve) for curve in model.loss_curve_)
    for epoch, curve in zip(model.best_epoch_, model.validation_loss_curve_, strict=True):
        assert epoch == 1 + int(np.argmin(curve))


def test_n_members_1_is_a_single_network():
    model = ensemble(1).fit(X, Y)
    assert model.coefs_[0].shape == (8, 6)
    assert isinstance(model.loss_curve_[0], float)
    assert not hasattr(model, "oof_decision_function_")
    assert_array_equal(model.members_[0]["coefs_0"], model.coefs_[0])


@pytest.mark.parametrize(
    ("n_rows", "weighs", "solver", "dropout"),
    [
        (400, False, "adam", 0.3),
        (400, True, "sgd", 0.0),
        (389, True, "adam", 0.0),  # folds of two sizes
        (389, False, "sgd", 0.3),
    ],
)
def test_ensemble_member_equals_a_fit_without_its_fold(n_rows, weighs, solver, dropout, folds):
    rows, labels = X[:n_rows], Y[:n_rows]
    weight = np.random.default_rng(0).uniform(0.5, 2, n_rows) if weighs else None
    settings = {"solver": solver, "learning_rate": "invscaling" if solver == "sgd" else "constant"}
    settings["dropout"] = dropout
    model = ensemble(4, **settings).fit(rows, labels, weight)
    state = np.random.RandomState(0)
    state.randint(2**31 - 1)  # the seed of the folds
    for k, fold in enumerate(folds[0]):
        alone = ensemble(1, random_state=int(state.randint(2**31 - 1)), **settings)
        held = {"X_val": rows[fold.held_out], "y_val": labels[fold.held_out]}
        own = None
        if weighs:
            own, held["sample_weight_val"] = weight[fold.train], weight[fold.held_out]
        alone.fit(rows[fold.train], labels[fold.train], own, **held)
        assert_allclose(model.coefs_[0][k], alone.coefs_[0], atol=1e-6)
        assert_allclose(model.validation_loss_curve_[k], alone.validation_loss_curve_, atol=1e-6)


def test_every_row_is_left_out_by_one_ensemble_member(folds):
    model = ensemble(7).fit(X, Y)
    own = np.concatenate([fold.held_out for fold in folds[0]])
    assert_array_equal(np.sort(own), np.arange(len(Y)))
    for fold, member in zip(folds[0], model.members_, strict=True):
        assert not np.intersect1d(fold.train, fold.held_out).size
        assert np.isin(fold.held_out, fold.held_out).all()
        assert Y[fold.held_out].mean() == pytest.approx(Y.mean(), abs=0.02)
        expected = logits_of(member, X[fold.held_out]) / model.temperature_
        assert_allclose(model.oof_decision_function_[fold.held_out], expected, atol=1e-10)


def test_ensemble_with_folds_of_two_sizes_trains_one_batch(batch_sizes, folds):
    ensemble(7, early_stopping=True).fit(X[:389], Y[:389])
    assert len({len(fold.train) for fold in folds[0]}) == 2
    assert sum(batch_sizes) == 7
    assert len(batch_sizes) == 1


@pytest.mark.parametrize(
    ("hidden", "sizes"), [((4,), [8]), ((100, 80), [4, 4]), ((150, 130), [2] * 4)]
)
def test_ensemble_is_split_into_batches_by_size_for_any_number_of_threads(
    hidden, sizes, monkeypatch
):
    original, found = batching._train_minibatches, []

    def noted(batches, **kwargs):
        found.extend(len(models) for models in batches)
        return original(batches, **kwargs)

    monkeypatch.setattr(batching, "_train_minibatches", noted)
    model = ensemble(8, batch_size=200, max_iter=1).set_params(hidden_layer_sizes=hidden)
    before = torch.get_num_threads()
    try:
        for n_threads in (1, 2, 3, 8):
            torch.set_num_threads(n_threads)
            found.clear()
            model.fit(X, Y)
            assert found == sizes
    finally:
        torch.set_num_threads(before)


def test_out_of_fold_logit_does_not_depend_on_the_label_of_its_row(monkeypatch, folds):
    ensemble().fit(X, Y)
    fixed, y = folds[0], Y.copy()
    monkeypatch.setattr(SplittableRows, "folds", lambda *args: fixed)
    rows = fixed[1].held_out
    y[rows] = 1 - y[rows]
    # The temperature, which scales all logits, is fitted to the labels of all rows.
    params = {"early_stopping": False, "calibrate": False}
    after = ensemble(**params).fit(X, y)
    before = ensemble(**params).fit(X, Y)
    same = before.oof_decision_function_ == after.oof_decision_function_
    assert same[rows].all()
    assert not same[np.setdiff1d(np.arange(len(Y)), rows)].any()


def test_oof_loss_is_the_weighted_log_loss():
    weight = np.random.default_rng(0).uniform(0.1, 3, len(Y))
    model = ensemble().fit(X, Y, weight)
    probability = 1 / (1 + np.exp(-model.oof_decision_function_))
    assert model.oof_loss_ == pytest.approx(log_loss(Y, probability, sample_weight=weight))


def test_out_of_fold_logit_of_a_row_without_weight_is_that_of_the_ensemble():
    weight = np.r_[np.zeros(30), np.ones(len(Y) - 30)]
    model = ensemble().fit(X, Y, weight)
    assert_allclose(model.oof_decision_function_[:30], model.decision_function(X[:30]), atol=1e-12)


def test_validation_set_is_shared_by_the_ensemble_members():
    model = ensemble().fit(X[:300], Y[:300], X_val=X[300:], y_val=Y[300:])
    assert not hasattr(model, "oof_decision_function_")
    assert len(model.validation_loss_curve_) == 3
    assert model.t_ == 300 * model.n_iter_


@pytest.mark.parametrize(("n_rare", "n_members"), [(2, 2), (1, 1)])
def test_fewer_rare_rows_than_n_members_warns_and_trains_fewer(n_rare, n_members):
    y = (np.arange(100) < n_rare).astype(int)
    message = rf"rarer class, {n_rare}, got 5\. The number of networks is {n_members}\.$"
    with pytest.warns(UserWarning, match=message):
        model = ensemble(5).fit(X[:100], y)
    assert model.n_members_ == n_members
    assert model.predict_proba(X).shape == (400, 2)


def test_ensemble_pickles_and_clones():
    model = ensemble().fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.decision_function(X), model.decision_function(X))
    fitted = clone(model).fit(X, Y)
    assert_array_equal(fitted.oof_decision_function_, model.oof_decision_function_)


def test_warm_start_continues_every_ensemble_member():
    model = ensemble(warm_start=True, early_stopping=False, max_iter=2, n_iter_no_change=2)
    first = [member["coefs_0"].copy() for member in model.fit(X, Y).members_]
    losses = [curve[-1] for curve in model.loss_curve_]
    model.fit(X, Y)
    assert [len(curve) for curve in model.loss_curve_] == [4, 4, 4]
    for k in range(3):
        assert model.loss_curve_[k][2] < losses[k]
        assert not np.array_equal(model.members_[k]["coefs_0"], first[k])


def test_warm_start_counts_the_rows_of_all_fits_of_an_ensemble():
    settings = {"solver": "sgd", "learning_rate": "invscaling", "shuffle": False, "batch_size": 50}
    model = ensemble(warm_start=True, early_stopping=False, max_iter=2, n_iter_no_change=2)
    model.set_params(**settings).fit(X, Y)
    n_rows = model.t_ // 2
    rates = [curve["learning_rate"] for curve in model.members_]
    assert model.fit(X, Y).t_ == 4 * n_rows
    for before, curve in zip(rates, model.members_, strict=True):
        # Each fit begins with learning_rate_init, as scikit-learn's MLPClassifier does.
        assert curve["learning_rate"][0] == curve["learning_rate"][2] == before[0]
        assert curve["learning_rate"][3] < before[1]


def test_warm_start_with_another_n_members_raises():
    model = ensemble(warm_start=True).fit(X, Y).set_params(n_members=2)
    with pytest.raises(ValueError, match=r"n_members must be 3 to continue .* got 2"):
        model.fit(X, Y)


def test_module_and_net_give_the_logit_of_the_ensemble():
    model = ensemble().fit(X, Y)
    rows = X[:20].astype(np.float32)
    with torch.no_grad():
        found = model.module_(torch.as_tensor(rows)).numpy()
    assert_allclose(found, model.decision_function(rows), atol=1e-5)
    assert_allclose(model.net_.predict_proba(rows), model.predict_proba(rows), atol=1e-5)


def test_module_and_net_predict_without_dropout():
    model = ensemble(dropout=0.5).fit(X, Y)
    assert not any(each.training for each in model.module_.modules())
    net = model.net_
    for _ in range(2):  # also after a first prediction
        assert_allclose(net.predict_proba(X), model.predict_proba(X), atol=1e-5)
        assert not any(each.training for each in net.module_.modules())


def test_net_trains_with_dropout_and_predicts_without():
    net = ensemble(dropout=0.5).fit(X, Y).net_
    before = net.predict_proba(X)
    net.partial_fit(X, Y)
    assert all(each.training for each in net.module_.modules())
    assert np.abs(net.predict_proba(X) - before).max() > 0
    assert_array_equal(net.predict(X), net.predict(X))
    assert not any(each.training for each in net.module_.modules())


def test_module_has_contiguous_parameters_with_memory_of_their_own():
    state = ensemble().fit(X, Y).module_.state_dict()
    assert len(state) == 3 * 4 + 1  # weights and biases of two layers, and the temperature
    for each in state.values():
        assert each.is_contiguous()
        assert each.untyped_storage().nbytes() == each.nbytes


def test_ensemble_without_early_stopping_trains_all_epochs():
    model = ensemble(early_stopping=False, max_iter=5, n_iter_no_change=5).fit(X, Y)
    assert [len(curve) for curve in model.loss_curve_] == [5, 5, 5]
    assert model.validation_loss_curve_ is None
    assert len(model.oof_decision_function_) == 400


def test_ensemble_with_lbfgs_trains():
    model = ensemble(solver="lbfgs", max_iter=30).fit(X, Y)
    assert model.coefs_[0].shape == (3, 8, 6)
    assert model.oof_loss_ < 0.8


def test_ensemble_on_a_gpu_is_one_batch(monkeypatch):
    planned, original = [], batching._split_group
    monkeypatch.setattr(
        batching,
        "_split_group",
        lambda models, *args, **cut: planned.append(models) or original(models, *args, **cut),
    )
    ensemble(8).fit(X, Y)
    [models] = planned
    on_gpu = [replace(m, recipe=replace(m.recipe, device=torch.device("cuda"))) for m in models]
    for spreads in (False, True):
        assert [len(each) for each in original(on_gpu, 1e9, spreads=spreads)] == [8]
    max_bytes = 5 * max(model.n_bytes for model in on_gpu)
    assert [len(each) for each in original(on_gpu, max_bytes, spreads=False)] == [5, 3]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch reaches no CUDA device here")
def test_ensemble_on_cuda_captures_a_step_again_for_every_third_that_is_finished(monkeypatch):
    captures, original = [], cuda_graph.capture_cuda_graph
    monkeypatch.setattr(
        cuda_graph, "capture_cuda_graph", lambda step: captures.append(1) or original(step)
    )
    model = ensemble(8, device="cuda", early_stopping=True, n_iter_no_change=2, max_iter=100)
    model.set_params(dropout=0.3).fit(X, Y)
    n_epochs = [len(history["loss"]) for history in model.history_]
    assert len(set(n_epochs)) > 1
    assert 1 <= len(captures) <= 4


def n_missed(history):
    """Count the epochs since the validation loss has last fallen by more than tol."""
    best, missed = np.inf, 0
    for loss in history["validation_loss"]:
        missed = 0 if loss <= best - 1e-4 else missed + 1
        best = min(best, loss)
    return missed


@pytest.mark.parametrize(
    ("params", "patience", "given"),
    [
        ({}, 5, {}),
        ({}, 5, {"X_val": X[300:], "y_val": Y[300:]}),
        ({"n_iter_no_change": 7}, 7, {}),
        ({"early_stopping": True}, 10, {"X_val": X[300:], "y_val": Y[300:]}),
    ],
)
def test_ensemble_members_have_a_patience_of_five_epochs_by_default(params, patience, given):
    rows = slice(300) if given else slice(None)
    model = ensemble(learning_rate_init=0.02, max_iter=200).set_params(**params)
    model.fit(X[rows], Y[rows], **given)
    assert [n_missed(history) for history in model.history_] == [patience + 1] * 3


@pytest.mark.parametrize("patience", [10, np.inf])
def test_ensemble_with_a_patience_of_all_epochs_trains_all_epochs(patience):
    model = ensemble(max_iter=10, n_iter_no_change=patience)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, Y)
    assert [len(history["loss"]) for history in model.history_] == [10] * 3


def test_ensembles_in_a_search_score_as_single_fits(batch_sizes):
    grid = {"alpha": [1e-4, 1.0], "learning_rate_init": [1e-3, 1e-2]}
    ours = VectorizedGridSearchCV(ensemble(), grid, cv=3, scoring="neg_log_loss", refit=False)
    ours.fit(X, Y)
    assert sum(batch_sizes) == 4 * 3 * 3
    assert ours.cv_results_["fit_mode"].tolist() == ["batched"] * 4
    theirs = GridSearchCV(ensemble(), grid, cv=3, scoring="neg_log_loss", refit=False).fit(X, Y)
    name = "mean_test_score"
    assert_allclose(ours.cv_results_[name], theirs.cv_results_[name], atol=1e-9)


def test_ensemble_members_share_the_memory_of_the_rows(monkeypatch):
    seen, original = [], BatchedMiniBatch.__init__

    def noted(self, architecture, starts, setups, *args, **kwargs):
        seen.extend(setup.dataset.rows.values.data_ptr() for setup in setups)
        original(self, architecture, starts, setups, *args, **kwargs)

    monkeypatch.setattr(BatchedMiniBatch, "__init__", noted)
    ensemble().fit(X.astype(np.float32), Y)
    assert len(seen) == 3
    assert len(set(seen)) == 1


def test_callbacks_with_n_members_raise():
    with pytest.raises(ValueError, match="callbacks must be None with n_members above 1"):
        ensemble(callbacks=[EpochTimer()]).fit(X, Y)


def test_n_members_0_raises():
    with pytest.raises(ValueError, match="'n_members' parameter of TorchMLPClassifier must be an"):
        ensemble(0).fit(X, Y)


def test_partial_fit_with_n_members_is_unavailable():
    with pytest.raises(AttributeError) as caught:
        ensemble(2).partial_fit(X, Y)
    assert "n_members=1" in str(caught.value.__cause__ or caught.value)


def test_eight_members_are_better_than_one_on_breast_cancer():
    rows, labels = load_breast_cancer(return_X_y=True)
    rows = scale(rows)
    losses = {1: 0.0, 8: 0.0}
    for n, seed in product(losses, range(3)):
        model = TorchMLPClassifier(random_state=seed, n_members=n, max_iter=60)
        model.fit(rows[:300], labels[:300])
        losses[n] += log_loss(labels[300:], model.predict_proba(rows[300:]))
    assert losses[8] < losses[1]
    assert not hasattr(TorchLogisticClassifier(), "n_members_")
