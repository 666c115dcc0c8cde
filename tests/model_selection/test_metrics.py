"""How a search scores: one metric or several, and scorers of one's own."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, make_scorer, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import TorchLogisticClassifier
from tests.model_selection.searches import (
    BOTH,
    FOLDS,
    LOGISTIC,
    METRICS,
    MLP,
    NON_FINITE,
    NOT_CONVERGED,
    STRENGTHS,
    accuracy_and_loss,
    assert_as_by_hand,
    negative_log_loss,
    scores_by_hand,
    scores_of,
)

pytestmark = NOT_CONVERGED


@METRICS
def test_several_metrics_have_columns_each(scoring, names, search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit=names[0]).fit(*table)

    assert search.multimetric_ is True
    for name in names:
        kinds = ["mean_test", "std_test", "rank_test", "split0_test", "split2_test"]
        assert {f"{kind}_{name}" for kind in kinds} <= set(search.cv_results_)
    assert "mean_test_score" not in search.cv_results_


@METRICS
def test_several_metrics_refit_takes_the_best_of_the_named_one(scoring, names, search_for, table):
    for name in names:
        search = search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit=name).fit(*table)
        assert search.best_index_ == search.cv_results_[f"rank_test_{name}"].argmin()
        assert search.best_score_ == search.cv_results_[f"mean_test_{name}"].max()


@pytest.mark.parametrize("refit", [True, "nonsense"])
def test_several_metrics_refit_of_an_unknown_metric_raises(refit, search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=["roc_auc", "accuracy"], refit=refit)

    with pytest.raises(ValueError, match="For multi-metric scoring, the parameter refit must be"):
        search.fit(*table)


def test_several_metrics_score_is_the_one_of_refit(any_search_for, table):
    X, y = table
    scoring = ["accuracy", "roc_auc"]
    search = any_search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit="roc_auc").fit(X, y)

    assert search.score(X, y) == roc_auc_score(y, search.predict_proba(X)[:, 1])
    assert set(search.scorer_) == {"accuracy", "roc_auc"}


@BOTH
def test_several_metrics_are_the_same_as_one_at_a_time(model, grid, search_for, table):
    names = ["roc_auc", "neg_log_loss", "accuracy"]
    together = search_for(model, grid, scoring=names, refit=False).fit(*table)
    for name in names:
        alone = search_for(model, grid, scoring=name, refit=False).fit(*table)
        np.testing.assert_array_equal(
            together.cv_results_[f"mean_test_{name}"], alone.cv_results_["mean_test_score"]
        )


def test_several_metrics_train_scores_have_columns_each(search_for, table):
    search = search_for(
        LOGISTIC, STRENGTHS, scoring=accuracy_and_loss, refit="loss", return_train_score=True
    ).fit(*table)
    by_hand = scores_by_hand(LOGISTIC, *table, score=negative_log_loss, part="train")

    assert "mean_train_accuracy" in search.cv_results_
    np.testing.assert_allclose(
        scores_of(search, {"C": 1.0}, "loss", "train"), by_hand, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("scoring", ["nonsense", ["accuracy", "nonsense"]], ids=["one", "several"])
def test_scoring_unknown_raises(scoring, search_for, table):
    with pytest.raises(ValueError, match=r"nonsense|'scoring' parameter"):
        search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit=False).fit(*table)


def test_scorer_whose_less_is_better_is_negated(search_for, table):
    loss = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba")
    search = search_for(LOGISTIC, STRENGTHS, scoring=loss).fit(*table)
    by_hand = scores_by_hand(LOGISTIC, *table, score=negative_log_loss)

    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=0, atol=1e-6)


def test_scorer_receives_the_fitted_coefficients(search_for, table):
    sparse = TorchLogisticClassifier(l1_ratio=1.0, tol=1e-8)

    def n_zeros(estimator, X, y):
        return int(np.sum(estimator.coef_ == 0))

    search = search_for(sparse, {"C": [0.02, 0.1]}, scoring=n_zeros).fit(*table)

    assert_as_by_hand(search, sparse, *table, score=n_zeros)
    assert scores_of(search, {"C": 0.02}).min() > 0


def test_scorer_receives_the_loss_curve(search_for, table):
    def last_loss(estimator, X, y):
        assert len(estimator.loss_curve_) == estimator.n_iter_ <= estimator.max_iter
        return -estimator.loss_

    search = search_for(MLP, {"max_iter": [2, 5]}, scoring=last_loss, error_score="raise")
    search.fit(*table)

    assert_as_by_hand(search, MLP, *table, score=last_loss)


def test_scorer_receives_the_parameters_of_the_candidate(search_for, table):
    name, values = "C", STRENGTHS["C"]
    search = search_for(
        LOGISTIC, STRENGTHS, scoring=lambda estimator, X, y: estimator.get_params()[name]
    ).fit(*table)

    for value in values:
        assert scores_of(search, {name: value}).tolist() == [value] * 3


def test_scorer_receives_the_test_rows_as_a_data_frame(search_for, frame):
    X, y = frame

    def first_index(estimator, X, y):
        assert X.columns.tolist() == estimator.feature_names_in_.tolist()
        assert X.index.equals(y.index)
        return int(X.index.min())

    search = search_for(LOGISTIC, STRENGTHS, scoring=first_index, error_score="raise").fit(X, y)
    expected = [int(X.index[test].min()) for _, test in FOLDS.split(X, y)]

    assert scores_of(search, {"C": 1.0}).tolist() == expected


def test_scorer_of_a_pipeline_receives_its_steps(search_for, table):
    pipeline = Pipeline([("scale", StandardScaler()), ("clf", LOGISTIC)])

    def first_mean(estimator, X, y):
        assert estimator.named_steps["clf"].coef_.shape == (1, X.shape[1])
        return estimator.named_steps["scale"].mean_[0]

    search = search_for(
        pipeline, {"clf__C": [0.1, 1.0]}, scoring=first_mean, error_score="raise"
    ).fit(*table)
    expected = [table[0][train, 0].mean() for train, _ in FOLDS.split(*table)]

    np.testing.assert_allclose(scores_of(search, {"clf__C": 0.1}), expected, rtol=1e-9)


def fails_with_little_penalty(estimator, X, y):
    """Score by accuracy, but not every model."""
    if estimator.C > 0.1:
        raise ZeroDivisionError("too little penalty")
    return estimator.score(X, y)


@NON_FINITE
def test_scorer_that_raises_scores_nan_and_warns(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=fails_with_little_penalty)
    with pytest.warns(UserWarning, match=r"Scoring failed[\s\S]*too little penalty"):
        search.fit(*table)

    assert np.isnan(scores_of(search, {"C": 1.0})).all()
    assert np.isfinite(scores_of(search, {"C": 0.001})).all()
    assert search.best_params_ == {"C": 0.001}


def test_scorer_that_raises_with_error_score_raise_raises(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=fails_with_little_penalty, error_score="raise")

    with pytest.raises(ZeroDivisionError, match="too little penalty"):
        search.fit(*table)


@NON_FINITE
def test_scorer_that_raises_among_several_leaves_the_other_scores(search_for, table):
    scoring = {"hits": "accuracy", "picky": fails_with_little_penalty}
    search = search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit="hits")
    with pytest.warns(UserWarning, match="Scoring failed"):
        search.fit(*table)

    assert np.isnan(scores_of(search, {"C": 1.0}, "picky")).all()
    assert np.isfinite(scores_of(search, {"C": 1.0}, "hits")).all()


@pytest.mark.parametrize("answer", ["many", None, [0.5, 0.5]], ids=["words", "none", "list"])
def test_scorer_that_returns_no_number_raises(answer, search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=lambda estimator, X, y: answer)

    with pytest.raises(ValueError, match="scoring must return a number, got"):
        search.fit(*table)
