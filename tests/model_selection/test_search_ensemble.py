"""Searches that average their best candidates instead of fitting one on all data."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
import torch
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import (
    RepeatedStratifiedKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC

import skbinary
from skbinary import SearchEnsemble, VectorizedGridSearchCV, VectorizedRandomizedSearchCV
from skbinary.model_selection import candidates as candidates_module
from skbinary.model_selection import search_ensemble
from tests.model_selection.searches import (
    BOTH,
    FOLDS,
    LOGISTIC,
    MLP,
    NON_FINITE,
    NOT_CONVERGED,
    PENALTIES,
    RATES,
    SGD,
    negative_log_loss,
)

pytestmark = NOT_CONVERGED

MANY = {"C": [0.001, 0.01, 0.1, 1.0, 10.0]}


def searched(model, grid, table, fit_params=None, **options):
    options = {"cv": FOLDS, "ensemble_size": 10, "scoring": "neg_log_loss"} | options
    search = VectorizedGridSearchCV(model, grid, **options)
    return search.fit(*table, **(fit_params or {}))


def mean_probability(ensemble, X):
    """Return the weighted mean of the probabilities of the kept models, before calibration."""
    return sum(
        weight * np.mean([model.predict_proba(X)[:, 1] for model in models], axis=0)
        for weight, models in zip(ensemble.weights_, ensemble.estimators_, strict=True)
    )


def out_of_fold(model, X, y, cv=FOLDS, **fit_params):
    """Return the mean probability of each row by models that were not trained on it."""
    total, count = np.zeros(len(y)), np.zeros(len(y))
    for train, test in cv.split(X, y):
        own = {name: value[train] for name, value in fit_params.items()}
        total[test] += clone(model).fit(X[train], y[train], **own).predict_proba(X[test])[:, 1]
        count[test] += 1
    with np.errstate(invalid="ignore"):
        return total / count


# -- the ensemble ----------------------------------------------------------------------------------


@BOTH
def test_probability_is_the_calibrated_weighted_mean_of_the_kept_models(model, grid, table):
    search = searched(model, grid, table)
    ensemble = search.best_estimator_
    by_hand = expit(logit(mean_probability(ensemble, table[0])) / ensemble.temperature_)

    np.testing.assert_allclose(search.predict_proba(table[0])[:, 1], by_hand, rtol=0, atol=1e-12)
    np.testing.assert_allclose(search.decision_function(table[0]), logit(by_hand), rtol=1e-9)
    np.testing.assert_allclose(search.predict_proba(table[0]).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(search.predict(table[0]), (by_hand >= 0.5) * 1)


def test_kept_models_are_those_of_each_split(pipeline, table):
    X, y = table
    search = searched(pipeline, {"clf__C": MANY["C"]}, table)
    ensemble = search.best_estimator_
    for params, models in zip(search.ensemble_["params"], ensemble.estimators_, strict=True):
        for model, (train, _) in zip(models, FOLDS.split(X, y), strict=True):
            fitted = clone(pipeline).set_params(**params).fit(X[train], y[train])
            np.testing.assert_allclose(
                model.predict_proba(X), fitted.predict_proba(X), rtol=0, atol=1e-6
            )


def test_out_of_fold_logits_are_those_of_models_that_were_not_trained_on_a_row(table):
    X, y = table
    search = searched(LOGISTIC, MANY, table)
    ensemble = search.best_estimator_
    table_ = search.ensemble_
    by_hand = sum(
        weight * out_of_fold(clone(LOGISTIC).set_params(**params), X, y)
        for weight, params in zip(table_["weight"], table_["params"], strict=True)
    )

    np.testing.assert_allclose(
        ensemble.oof_decision_function_, logit(by_hand) / ensemble.temperature_, atol=1e-5
    )
    loss = log_loss(y, expit(ensemble.oof_decision_function_))
    np.testing.assert_allclose(ensemble.oof_loss_, loss, rtol=1e-12)


@BOTH
def test_loss_is_at_most_that_of_the_best_candidate(model, grid, table):
    X, y = table
    ((name, values),) = grid.items()
    search = searched(model, {name: [*values, values[-1] * 0.1, values[0] * 0.1]}, table)
    losses = [
        log_loss(y, out_of_fold(clone(model).set_params(**params), X, y))
        for params in search.cv_results_["params"]
    ]
    curve = search.ensemble_loss_curve_

    np.testing.assert_allclose(curve[0], min(losses), rtol=1e-5)
    assert len(curve) == 10
    assert search.best_estimator_.oof_loss_ <= curve.min() + 1e-12 <= min(losses) + 1e-6


def test_table_names_the_candidates_by_descending_weight(table):
    search = searched(LOGISTIC, MANY, table)
    chosen = search.ensemble_

    assert list(chosen) == ["candidate", "weight", "params"]
    assert chosen["params"] == [search.cv_results_["params"][c] for c in chosen["candidate"]]
    assert (np.diff(chosen["weight"]) <= 0).all()
    np.testing.assert_allclose(chosen["weight"].sum(), 1)
    np.testing.assert_array_equal(chosen["weight"], search.best_estimator_.weights_)
    assert len(pd.DataFrame(chosen)) == len(search.best_estimator_.estimators_) > 1


def test_size_of_one_keeps_the_candidate_with_the_lowest_loss(table):
    search = searched(LOGISTIC, MANY, table, ensemble_size=1)

    assert search.ensemble_["params"] == [search.best_params_]
    np.testing.assert_array_equal(search.ensemble_["weight"], [1.0])


def test_best_candidate_and_results_are_those_without_an_ensemble(table):
    with_ensemble = searched(LOGISTIC, MANY, table)
    without = searched(LOGISTIC, MANY, table, ensemble_size=None)

    assert with_ensemble.best_params_ == without.best_params_
    assert with_ensemble.best_index_ == without.best_index_
    np.testing.assert_allclose(with_ensemble.best_score_, without.best_score_, rtol=1e-12)
    assert set(with_ensemble.cv_results_) == set(without.cv_results_)
    assert not hasattr(without, "ensemble_")
    assert isinstance(with_ensemble.best_estimator_, SearchEnsemble)
    assert 0 < with_ensemble.refit_time_ < 10


def test_fit_without_an_ensemble_forgets_the_ensemble(table):
    search = searched(LOGISTIC, MANY, table).set_params(ensemble_size=None).fit(*table)

    assert not hasattr(search, "ensemble_")
    assert not hasattr(search, "ensemble_loss_curve_")


def test_randomized_search_averages_candidates(table):
    search = VectorizedRandomizedSearchCV(
        LOGISTIC, MANY, n_iter=5, random_state=0, cv=FOLDS, ensemble_size=10
    ).fit(*table)
    grid_search = searched(LOGISTIC, MANY, table)

    np.testing.assert_allclose(
        search.predict_proba(table[0]), grid_search.predict_proba(table[0]), rtol=0, atol=1e-6
    )


# -- what candidates may be ------------------------------------------------------------------------


def test_single_fits_give_the_ensemble_of_batches(table):
    grid = {"alpha": [100.0, 1e-1, 1e-4]}
    batched = searched(MLP, grid, table)

    class Subclass(type(MLP)):
        def fit(self, X, y):
            return super().fit(X, y)

    single = searched(Subclass(**MLP.get_params()), grid, table)

    assert set(batched.cv_results_["fit_mode"]) == {"batched"}
    assert set(single.cv_results_["fit_mode"]) == {"single"}
    np.testing.assert_array_equal(single.ensemble_["candidate"], batched.ensemble_["candidate"])
    np.testing.assert_allclose(
        single.predict_proba(table[0]), batched.predict_proba(table[0]), rtol=0, atol=1e-6
    )


def test_candidates_of_other_libraries_are_averaged_with_ours(pipeline, table):
    forest = RandomForestClassifier(20, random_state=0)
    grid = {"clf": [clone(LOGISTIC), forest, LogisticRegression(C=0.01), clone(MLP)]}
    search = searched(pipeline, grid, table, scoring=negative_log_loss, ensemble_size=30)
    ensemble = search.best_estimator_
    by_hand = mean_probability(ensemble, table[0])

    assert any(type(models[0]["clf"]) is type(forest) for models in ensemble.estimators_)
    np.testing.assert_allclose(
        expit(ensemble.decision_function(table[0]) * ensemble.temperature_), by_hand, atol=1e-9
    )


def test_candidates_that_differ_only_in_their_threshold_count_once(table):
    grid = {"C": [0.01, 1.0], "threshold": [0.3, "f1", 0.6]}
    with_thresholds = searched(LOGISTIC, grid, table)
    without = searched(LOGISTIC, {"C": [0.01, 1.0]}, table)

    np.testing.assert_allclose(with_thresholds.ensemble_["weight"], without.ensemble_["weight"])
    np.testing.assert_array_equal(
        with_thresholds.ensemble_["candidate"], 3 * without.ensemble_["candidate"]
    )
    assert with_thresholds.best_estimator_.threshold_ == 0.5


def test_single_fits_that_differ_only_in_their_threshold_count_once(table):
    lbfgs = clone(LOGISTIC).set_params(solver="lbfgs")
    search = searched(lbfgs, {"C": [0.01, 1.0], "threshold": [0.3, 0.6]}, table)

    assert set(search.cv_results_["fit_mode"]) == {"single"}
    assert set(search.ensemble_["candidate"]) <= {0, 2}


@NON_FINITE
def test_candidates_with_failed_fits_are_left_out(table):
    with pytest.warns(FitFailedWarning):
        search = searched(SGD, RATES, table)

    assert search.ensemble_["params"] == [{"learning_rate_init": 0.01}]


@NON_FINITE
def test_candidate_that_fails_on_one_split_is_left_out(table):
    class FailsOnce(LogisticRegression):
        def fit(self, X, y):
            if self.C == 1.0 and X[0, 0] != table[0][0, 0]:
                raise ValueError("not on this split")
            return super().fit(X, y)

    with pytest.warns(FitFailedWarning):
        search = searched(FailsOnce(), {"C": [1e-5, 1.0]}, table)

    assert search.ensemble_["params"] == [{"C": 1e-5}]


@NON_FINITE
def test_search_without_a_candidate_fitted_on_all_splits_raises(table):
    class FailsOnce(LogisticRegression):
        def fit(self, X, y):
            if X[0, 0] != table[0][0, 0]:
                raise ValueError("not on this split")
            return super().fit(X, y)

    message = "ensemble_size=10 requires a candidate that was fitted on all splits, got none"
    with pytest.warns(FitFailedWarning), pytest.raises(ValueError, match=message):
        searched(FailsOnce(), {"C": [1e-5, 1.0]}, table)


# -- splits, weights and data ----------------------------------------------------------------------


def test_repeated_folds_average_the_probabilities_of_a_row(table):
    X, y = table
    cv = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)
    search = searched(LOGISTIC, {"C": [1.0]}, table, cv=cv)
    ensemble = search.best_estimator_

    assert len(ensemble.estimators_[0]) == 6
    np.testing.assert_allclose(
        expit(ensemble.oof_decision_function_ * ensemble.temperature_),
        out_of_fold(clone(LOGISTIC).set_params(C=1.0), X, y, cv),
        atol=1e-6,
    )


def test_rows_in_no_validation_fold_do_not_count(table):
    X, y = table
    cv = StratifiedShuffleSplit(2, test_size=0.2, random_state=0)
    search = searched(LOGISTIC, MANY, table, cv=cv)
    ensemble = search.best_estimator_
    tested = np.unique(np.concatenate([test for _, test in cv.split(X, y)]))
    logits = ensemble.oof_decision_function_

    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(logits)), tested)
    np.testing.assert_allclose(ensemble.oof_loss_, log_loss(y[tested], expit(logits[tested])))


def test_sample_weight_counts_in_the_choice(table, uneven):
    X, y = table
    search = searched(LOGISTIC, MANY, table, {"sample_weight": uneven}, ensemble_size=1)
    losses = [
        log_loss(
            y,
            out_of_fold(clone(LOGISTIC).set_params(C=C), X, y, sample_weight=uneven),
            sample_weight=uneven,
        )
        for C in MANY["C"]
    ]

    np.testing.assert_allclose(search.ensemble_loss_curve_, min(losses), rtol=1e-5)


def test_sample_weight_of_a_step_and_with_metadata_routing_counts(pipeline, table, uneven):
    grid = {"clf__C": MANY["C"]}
    by_name = searched(pipeline, grid, table, {"clf__sample_weight": uneven}, scoring="roc_auc")
    with sklearn.config_context(enable_metadata_routing=True):
        clf = clone(LOGISTIC).set_fit_request(sample_weight="weight_of_rows")
        routed = Pipeline([("scale", StandardScaler()), ("clf", clf)])
        fit_params = {"weight_of_rows": uneven}
        by_routing = searched(routed, grid, table, fit_params, scoring="roc_auc")

    np.testing.assert_allclose(
        by_name.ensemble_loss_curve_, by_routing.ensemble_loss_curve_, rtol=1e-6
    )
    np.testing.assert_allclose(
        by_name.predict_proba(table[0]), by_routing.predict_proba(table[0]), rtol=0, atol=1e-6
    )


def test_class_weight_that_all_candidates_share_counts_in_the_choice(table):
    X, y = table
    model = clone(LOGISTIC).set_params(class_weight={0: 1, 1: 5})
    search = searched(model, MANY, table, ensemble_size=1)
    weight = np.where(y == 1, 5, 1)
    losses = [
        log_loss(y, out_of_fold(clone(model).set_params(C=C), X, y), sample_weight=weight)
        for C in MANY["C"]
    ]

    np.testing.assert_allclose(search.ensemble_loss_curve_, min(losses), rtol=1e-5)


def test_class_weight_in_the_grid_does_not_count_in_the_choice(table):
    X, y = table
    model = clone(LOGISTIC).set_params(C=0.1)
    grid = {"class_weight": [None, {0: 1, 1: 5}]}
    search = searched(model, grid, table, ensemble_size=1)

    assert search.ensemble_["params"] == [{"class_weight": None}]
    loss = log_loss(y, out_of_fold(model, X, y))
    np.testing.assert_allclose(search.ensemble_loss_curve_, [loss], rtol=1e-5)


def test_data_frame_of_strings_and_names_of_features(frame, pipeline):
    X, y = frame
    labels = y.map({0: "no", 1: "yes"})
    search = searched(pipeline, {"clf__C": MANY["C"]}, (X, labels))

    assert search.classes_.tolist() == ["no", "yes"]
    assert search.n_features_in_ == 10
    assert search.feature_names_in_.tolist() == list(X.columns)
    assert search.best_estimator_.feature_names_in_.tolist() == list(X.columns)
    assert set(search.predict(X)) == {"no", "yes"}


def test_sparse_rows_give_the_ensemble_of_dense_ones(table):
    X, y = table
    dense = searched(LOGISTIC, MANY, table)
    sparse = searched(LOGISTIC, MANY, (sp.csr_matrix(X), y))

    np.testing.assert_allclose(
        sparse.predict_proba(sp.csr_matrix(X)), dense.predict_proba(X), rtol=0, atol=1e-6
    )


def test_tensors_give_the_ensemble_of_arrays(table):
    arrays = searched(LOGISTIC, MANY, table)
    X, y = (torch.tensor(each) for each in table)
    tensors = searched(LOGISTIC, MANY, (X, y), cv=list(FOLDS.split(*table)))

    np.testing.assert_allclose(
        tensors.predict_proba(X), arrays.predict_proba(table[0]), rtol=0, atol=1e-6
    )


def test_single_precision_rows_are_scored_in_single_precision(table):
    X, y = table
    search = searched(LOGISTIC, MANY, (X.astype(np.float32), y))

    assert search.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert search.decision_function(X.astype(np.float32)).dtype == np.float32


def test_several_metrics_select_the_best_candidate_but_not_the_ensemble(table):
    several = searched(LOGISTIC, MANY, table, scoring=["roc_auc", "accuracy"], refit="roc_auc")
    one = searched(LOGISTIC, MANY, table)

    assert several.best_score_ == several.cv_results_["mean_test_roc_auc"].max()
    np.testing.assert_array_equal(several.predict_proba(table[0]), one.predict_proba(table[0]))
    assert several.score(*table) > 0.5


def test_rows_pass_the_transformers_of_a_split_once(pipeline, table, monkeypatch):
    search = searched(pipeline, {"clf__C": MANY["C"]}, table)
    calls = []
    monkeypatch.setattr(
        search_ensemble,
        "transform",
        lambda *args: calls.append(args) or candidates_module.transform(*args),
    )
    search.predict_proba(table[0])

    assert len(search.ensemble_["candidate"]) > 1
    assert len(calls) == 3


# -- threshold -------------------------------------------------------------------------------------


def test_threshold_is_chosen_for_the_objective_of_the_classifier(pipeline, table):
    y = table[1]
    search = searched(pipeline.set_params(clf__threshold="f1"), {"clf__C": MANY["C"]}, table)
    ensemble = search.best_estimator_
    probability = expit(ensemble.oof_decision_function_)
    scores = [f1_score(y, probability >= each) for each in np.unique(probability)]

    np.testing.assert_allclose(f1_score(y, probability >= ensemble.threshold_), max(scores))
    low, high = ensemble.threshold_interval_
    assert low <= ensemble.threshold_ <= high
    assert ensemble.threshold_ in ensemble.threshold_curve_["threshold"]
    np.testing.assert_array_equal(
        search.predict(table[0]), search.predict_proba(table[0])[:, 1] >= ensemble.threshold_
    )


def test_threshold_that_is_a_number_refers_to_pos_label(table):
    model = clone(LOGISTIC).set_params(threshold=0.8, pos_label=0)
    search = searched(model, MANY, table)
    ensemble = search.best_estimator_

    assert ensemble.threshold_ == 0.8
    np.testing.assert_array_equal(
        search.predict(table[0]), (search.predict_proba(table[0])[:, 0] < 0.8) * 1
    )
    assert not hasattr(ensemble, "threshold_curve_")


def test_threshold_can_be_set_and_passed_afterwards(table):
    ensemble = searched(LOGISTIC, MANY, table).best_estimator_
    passed = ensemble.predict(table[0], threshold=0.9)
    ensemble.set_params(threshold=0.9)

    np.testing.assert_array_equal(ensemble.predict(table[0]), passed)
    with pytest.raises(ValueError, match="threshold must be a number in"):
        ensemble.set_params(threshold="f1").predict(table[0])


# -- life ------------------------------------------------------------------------------------------

LOAD_AND_SCORE = """
import pickle, sys
import numpy as np
folder = sys.argv[1]
with open(f"{folder}/search.pickle", "rb") as file:
    search = pickle.load(file)
np.save(f"{folder}/scores.npy", search.predict_proba(np.load(f"{folder}/X.npy")))
"""


def test_search_loaded_in_a_fresh_process_predicts_the_same(pipeline, table, tmp_path):
    search = searched(pipeline, {"clf__C": MANY["C"]}, table)
    np.save(tmp_path / "X.npy", table[0])
    (tmp_path / "search.pickle").write_bytes(pickle.dumps(search))
    subprocess.run(
        [sys.executable, "-c", LOAD_AND_SCORE, str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )

    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), search.predict_proba(table[0]))


def test_pickle_names_public_classes_and_shares_transformers(pipeline, table):
    search = searched(pipeline, {"clf__C": MANY["C"]}, table)
    data = pickle.dumps(search.best_estimator_)
    first, second = pickle.loads(data).estimators_[:2]

    assert b"skbinary.model_selection" not in data
    assert first[0]["scale"] is second[0]["scale"]
    assert SearchEnsemble.__module__ == "skbinary"


def test_ensemble_is_cloned_without_its_models(table):
    ensemble = searched(LOGISTIC, MANY, table).best_estimator_.set_params(threshold=0.7)
    copied = clone(ensemble)

    assert copied.get_params() == {"threshold": 0.7, "pos_label": None}
    assert not hasattr(copied, "estimators_")
    with pytest.raises(NotImplementedError, match="is fitted by a search with ensemble_size"):
        copied.fit(*table)


def test_search_with_an_ensemble_is_cross_validated(pipeline, table):
    search = VectorizedGridSearchCV(pipeline, {"clf__C": MANY["C"]}, cv=3, ensemble_size=5)
    scores = cross_val_score(search, *table, scoring="neg_log_loss", cv=3)

    assert (scores > np.log(0.5)).all()
    assert clone(search).ensemble_size == 5


def test_html_shows_the_ensemble(pipeline, table):
    search = searched(pipeline, {"clf__C": MANY["C"]}, table)

    assert "best_estimator_: SearchEnsemble" in search._repr_html_()
    assert "SearchEnsemble" in search.best_estimator_._repr_html_()


def test_threads_and_processes_do_not_change_the_ensemble(table):
    one = searched(LOGISTIC, {**MANY, "threshold": [0.3, 0.6]}, table)
    two = searched(LOGISTIC, {**MANY, "threshold": [0.3, 0.6]}, table, n_jobs=2)

    np.testing.assert_array_equal(two.ensemble_["candidate"], one.ensemble_["candidate"])
    np.testing.assert_array_equal(two.predict_proba(table[0]), one.predict_proba(table[0]))
    kept = [models[0].threshold for models in two.best_estimator_.estimators_]
    assert kept == [params["threshold"] for params in two.ensemble_["params"]]


def test_displays_draw_a_search_with_an_ensemble(table):
    pytest.importorskip("matplotlib")
    search = searched(clone(LOGISTIC).set_params(threshold="f1"), MANY, table)
    chosen = skbinary.ThresholdDisplay.from_estimator(search)
    scored = skbinary.ThresholdDisplay.from_estimator(search, *table)

    assert chosen.threshold == scored.threshold == search.best_estimator_.threshold_
    assert chosen.interval == search.best_estimator_.threshold_interval_
    assert skbinary.SearchDisplay.from_estimator(search, params=["C"]) is not None
    with pytest.raises(ValueError, match="got VectorizedGridSearchCV with ensemble_size=10"):
        skbinary.LossCurveDisplay.from_estimator(search)


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (LOGISTIC, {"ensemble_size": 0}, r"'ensemble_size' parameter .* must be an int in"),
        (
            LOGISTIC,
            {"refit": False},
            r"refit must not be False with ensemble_size=10, got refit=False. Set refit=True",
        ),
        (
            LinearRegression(),
            {"scoring": "r2"},
            "ensemble_size must be None unless the estimator is a classifier, got LinearRegression",
        ),
        (
            LinearSVC(),
            {"scoring": "accuracy"},
            "ensemble_size must be None for candidates without predict_proba, got LinearSVC",
        ),
    ],
    ids=["size", "refit", "regressor", "no probabilities"],
)
def test_search_that_cannot_average_raises_before_training(model, options, message, table):
    grid = {"fit_intercept": [True, False]}
    with pytest.raises(ValueError, match=message):
        searched(model, grid, table, **options)


@pytest.mark.parametrize("n_classes", [1, 3])
def test_ensemble_of_another_number_of_classes_raises(n_classes, table):
    y = np.arange(len(table[1])) % n_classes
    message = "y must hold two classes" if n_classes == 1 else "Only binary classification"
    with pytest.raises(ValueError, match=message):
        searched(LogisticRegression(), MANY, (table[0], y), cv=StratifiedKFold(3))


def test_error_leaves_the_search_unchanged(table):
    search = searched(LOGISTIC, MANY, table)
    before = search.predict_proba(table[0])
    with pytest.raises(ValueError, match="refit must not be False"):
        search.set_params(refit=False).fit(*table)

    np.testing.assert_array_equal(search.set_params(refit=True).predict_proba(table[0]), before)


def test_scalers_in_the_grid_are_kept_with_their_candidates(pipeline, table):
    grid = {"scale": [StandardScaler(), MinMaxScaler(), "passthrough"], "clf__C": [0.01, 1.0]}
    search = searched(pipeline, grid, table, ensemble_size=20)
    ensemble = search.best_estimator_

    np.testing.assert_allclose(
        expit(ensemble.decision_function(table[0]) * ensemble.temperature_),
        mean_probability(ensemble, table[0]),
        atol=1e-9,
    )
    assert len({type(models[0]["scale"]) for models in ensemble.estimators_}) > 1


def test_calibrate_false_leaves_the_temperature_at_one(table):
    search = searched(clone(MLP).set_params(calibrate=False), PENALTIES, table)

    assert search.best_estimator_.temperature_ == 1


def test_tune_threshold_chooses_on_new_rows(table):
    X, y = table
    ensemble = searched(LOGISTIC, MANY, (X[:100], y[:100])).best_estimator_
    tuned = ensemble.tune_threshold(X[100:], y[100:], {"recall": 0.9})

    assert tuned is ensemble
    assert ensemble.predict(X[100:])[y[100:] == 1].mean() >= 0.9
    assert ensemble.threshold_ in ensemble.threshold_curve_["threshold"]
    before = ensemble.threshold_
    with pytest.raises(ValueError, match="objective must be the name of a metric"):
        ensemble.tune_threshold(X, y, 0.5)
    with pytest.raises(ValueError, match="must be of both classes"):
        ensemble.tune_threshold(X[y == 1], y[y == 1], "f1")
    assert ensemble.threshold_ == before
