"""Both classifiers inside what scikit-learn builds around an estimator, on real data."""

import inspect

import joblib
import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 makes the next import work
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.inspection import (
    DecisionBoundaryDisplay,
    PartialDependenceDisplay,
    permutation_importance,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, make_scorer, recall_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.fixes import parse_version

from skbinary import TorchLogisticClassifier, TorchMLPClassifier

mpl.use("Agg")

LOGISTIC = TorchLogisticClassifier(random_state=0)
# With a patience of all epochs, max_iter ends the training without a ConvergenceWarning.
MLP = TorchMLPClassifier(
    (16,),
    learning_rate_init=0.01,
    batch_size=64,
    max_iter=15,
    n_iter_no_change=15,
    random_state=0,
)
BOTH = pytest.mark.parametrize(
    "model", [pytest.param(LOGISTIC, id="logistic"), pytest.param(MLP, id="mlp")]
)
STRENGTHS = {
    "TorchLogisticClassifier": ("C", [1e-4, 1e-2, 1.0]),
    "TorchMLPClassifier": ("alpha", [100.0, 1.0, 1e-4]),
}
FOLDS = StratifiedKFold(3)


def penalties(model):
    """Return the name of the penalty parameter, and values from strong to weak."""
    return STRENGTHS[type(model).__name__]


@pytest.fixture(scope="module")
def cancer():
    """Return standardized rows, and 1 for a malignant tumour."""
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), 1 - y


@pytest.fixture(scope="module")
def halves(cancer):
    return train_test_split(*cancer, test_size=0.5, random_state=1, stratify=cancer[1])


@pytest.fixture(scope="module")
def raw_halves():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return train_test_split(X, 1 - y, test_size=0.5, random_state=1, stratify=y)


@pytest.fixture(scope="module")
def digits():
    """Return images of 3 and 8 as rows, scaled to [0, 1]."""
    X, y = load_digits(return_X_y=True)
    kept = np.isin(y, (3, 8))
    return X[kept] / 16, y[kept]


# -- composition ----------------------------------------------------------------------------------


@BOTH
def test_pipeline_with_scaler_equals_the_steps_by_hand(model, raw_halves):
    X_train, X_test, y_train, y_test = raw_halves
    pipeline = make_pipeline(StandardScaler(), clone(model)).fit(X_train, y_train)
    scaler = StandardScaler().fit(X_train)
    by_hand = clone(model).fit(scaler.transform(X_train), y_train)

    assert pipeline.score(X_test, y_test) > 0.95
    np.testing.assert_array_equal(
        pipeline.predict_proba(X_test), by_hand.predict_proba(scaler.transform(X_test))
    )


@BOTH
def test_column_transformer_of_mixed_columns_feeds_named_features(model, raw_halves):
    X_train, X_test, y_train, y_test = raw_halves
    edges = [0, 12, 16, np.inf]

    def with_words(X):
        words = pd.cut(X["mean radius"], edges, labels=["small", "middle", "large"]).astype(str)
        return X.drop(columns="mean radius").assign(size=words)

    numbers = [name for name in X_train if name != "mean radius"]
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), numbers),
            ("words", OneHotEncoder(sparse_output=False), ["size"]),
        ]
    ).set_output(transform="pandas")
    pipeline = make_pipeline(columns, clone(model)).fit(with_words(X_train), y_train)

    assert pipeline.score(with_words(X_test), y_test) > 0.95
    assert pipeline[-1].feature_names_in_.tolist() == columns.get_feature_names_out().tolist()


@pytest.mark.parametrize(
    ("model", "frame"),
    [(LOGISTIC, pl.DataFrame), (MLP, pd.DataFrame)],
    ids=["logistic-polars", "mlp-pandas"],
)
def test_fit_on_a_data_frame_keeps_the_feature_names(model, frame, cancer):
    X, y = cancer
    names = load_breast_cancer().feature_names.tolist()
    table = frame(dict(zip(names, X.T, strict=True)))
    if not hasattr(LogisticRegression().fit(table, y), "feature_names_in_"):
        pytest.skip("this scikit-learn cannot read the column names of this polars")
    fitted = clone(model).fit(table, y)

    assert fitted.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(fitted.predict_proba(table), fitted.predict_proba(table[names]))


@BOTH
def test_pipeline_set_to_pandas_output_predicts_as_with_arrays(model, raw_halves):
    X_train, X_test, y_train, _ = raw_halves
    arrays = make_pipeline(StandardScaler(), clone(model)).fit(X_train, y_train)
    frames = make_pipeline(StandardScaler(), clone(model)).set_output(transform="pandas")
    frames.fit(X_train, y_train)

    assert frames[-1].feature_names_in_.tolist() == X_train.columns.tolist()
    np.testing.assert_array_equal(frames.predict_proba(X_test), arrays.predict_proba(X_test))


# -- searches and cross-validation ----------------------------------------------------------------


@BOTH
def test_grid_search_in_two_processes_equals_one(model, cancer):
    name, values = penalties(model)
    one, two = (
        GridSearchCV(model, {name: values}, cv=FOLDS, scoring="neg_log_loss", n_jobs=n_jobs).fit(
            *cancer
        )
        for n_jobs in (1, 2)
    )

    assert one.best_score_ > -0.15
    assert one.best_params_ == two.best_params_ != {name: values[0]}
    for fold in range(3):
        key = f"split{fold}_test_score"
        np.testing.assert_array_equal(one.cv_results_[key], two.cv_results_[key])


@BOTH
def test_randomized_search_refits_the_best_candidate(model, cancer):
    name, values = penalties(model)
    search = RandomizedSearchCV(
        model, {name: values, "threshold": [0.3, 0.5]}, n_iter=4, cv=FOLDS, random_state=0
    ).fit(*cancer)
    by_hand = clone(model).set_params(**search.best_params_).fit(*cancer)

    assert search.best_score_ > 0.95
    np.testing.assert_array_equal(search.predict_proba(cancer[0]), by_hand.predict_proba(cancer[0]))


@BOTH
def test_halving_grid_search_drops_the_strong_penalties(model, cancer):
    name, values = penalties(model)
    search = HalvingGridSearchCV(
        model, {name: values}, cv=FOLDS, factor=3, scoring="neg_log_loss", random_state=0
    ).fit(*cancer)

    assert search.n_candidates_ == [3, 1]
    assert search.best_params_[name] != values[0]
    assert search.score(*cancer) > -0.2


@BOTH
def test_halving_grid_search_over_epochs_grows_max_iter(model, cancer):
    name, values = penalties(model)
    search = HalvingGridSearchCV(
        clone(model).set_params(solver="adam", early_stopping=False, n_iter_no_change=100),
        {name: values},
        cv=FOLDS,
        resource="max_iter",
        min_resources=5,
        max_resources=15,
        scoring="neg_log_loss",
    ).fit(*cancer)

    assert search.n_resources_ == [5, 15]
    assert np.max(search.best_estimator_.n_iter_) == 15


@BOTH
def test_cross_validate_scores_what_folds_by_hand_score(model, cancer):
    X, y = cancer
    result = cross_validate(
        model, X, y, cv=FOLDS, scoring=["roc_auc", "accuracy"], return_estimator=True
    )
    by_hand = [
        clone(model).fit(X[train], y[train]).score(X[test], y[test])
        for train, test in FOLDS.split(X, y)
    ]

    assert result["test_roc_auc"].mean() > 0.98
    np.testing.assert_array_equal(result["test_accuracy"], by_hand)


@BOTH
def test_cross_val_predict_gives_the_probabilities_of_held_out_rows(model, cancer):
    X, y = cancer
    probability = cross_val_predict(model, X, y, cv=FOLDS, method="predict_proba")
    train, test = next(iter(FOLDS.split(X, y)))

    assert log_loss(y, probability) < 0.15
    np.testing.assert_array_equal(
        probability[test], clone(model).fit(X[train], y[train]).predict_proba(X[test])
    )


@BOTH
def test_learning_curve_with_more_rows_has_a_lower_loss(model, cancer):
    sizes, _, held_out = learning_curve(
        model, *cancer, cv=FOLDS, train_sizes=[20, 370], scoring="neg_log_loss", shuffle=True,
        random_state=0,
    )  # fmt: skip

    assert sizes.tolist() == [20, 370]
    few, many = held_out.mean(axis=1)
    assert many > max(few, -0.15)


@pytest.mark.parametrize("kind", [TorchLogisticClassifier, TorchMLPClassifier])
def test_learning_curve_by_partial_fit_learns(kind, cancer):
    model = kind(solver="adam", learning_rate_init=0.02, batch_size=32, random_state=0)
    _, _, held_out = learning_curve(
        model, *cancer, cv=FOLDS, train_sizes=[50, 150, 370], exploit_incremental_learning=True,
        shuffle=True, random_state=0,
    )  # fmt: skip

    assert held_out[-1].mean() > 0.93


@BOTH
def test_validation_curve_over_the_penalty_has_a_lower_training_loss_when_it_is_weaker(
    model, cancer
):
    name, values = penalties(model)
    train_scores, test_scores = validation_curve(
        model, *cancer, param_name=name, param_range=values, cv=FOLDS, scoring="neg_log_loss"
    )

    assert np.all(np.diff(train_scores.mean(axis=1)) > 0)
    assert test_scores[-1].mean() > -0.15


# -- probabilities and thresholds -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "method"),
    [(LOGISTIC, "sigmoid"), (MLP, "isotonic"), (MLP, "temperature")],
    ids=["logistic-sigmoid", "mlp-isotonic", "mlp-temperature"],
)
def test_calibrated_classifier_is_calibrated(model, method, halves):
    if method == "temperature" and parse_version(sklearn.__version__) < parse_version("1.8"):
        pytest.skip("temperature scaling came with scikit-learn 1.8")
    X_train, X_test, y_train, y_test = halves
    calibrated = CalibratedClassifierCV(model, method=method, cv=3).fit(X_train, y_train)
    probability = calibrated.predict_proba(X_test)[:, 1]

    assert calibrated.score(X_test, y_test) > 0.94
    # The mean probability is the share of positives: what calibration is about.
    assert probability.mean() == pytest.approx(y_test.mean(), abs=0.04)
    # Isotonic regression may say 0 or 1 outright, so the squared error judges, not the log loss.
    assert np.mean((probability - y_test) ** 2) < 0.05


@BOTH
def test_tuned_threshold_with_costly_misses_finds_more_positives(model, halves):
    X_train, X_test, y_train, y_test = halves

    def gain(y_true, y_pred):
        missed = np.sum((y_true == 1) & (y_pred == 0))
        false_alarms = np.sum((y_true == 0) & (y_pred == 1))
        return -(50 * missed + false_alarms) / len(y_true)

    tuned = TunedThresholdClassifierCV(model, scoring=make_scorer(gain), cv=3, random_state=0)
    tuned.fit(X_train, y_train)
    plain = clone(model).fit(X_train, y_train)

    assert tuned.best_threshold_ < 0.5
    assert recall_score(y_test, tuned.predict(X_test)) > recall_score(y_test, plain.predict(X_test))


@pytest.mark.parametrize(("model", "threshold"), [(LOGISTIC, 0.1), (MLP, 0.9)])
def test_fixed_threshold_classifier_labels_as_the_threshold_of_the_model(model, threshold, halves):
    X_train, X_test, y_train, _ = halves
    fixed = FixedThresholdClassifier(model, threshold=threshold, response_method="predict_proba")
    fixed.fit(X_train, y_train)
    own = clone(model).set_params(threshold=threshold).fit(X_train, y_train)

    np.testing.assert_array_equal(fixed.predict(X_test), own.predict(X_test))
    assert np.any(own.predict(X_test) != own.predict(X_test, threshold=0.5))


# -- ensembles and meta-estimators ----------------------------------------------------------------


@BOTH
def test_soft_voting_averages_the_probabilities(model, halves):
    X_train, X_test, y_train, y_test = halves
    members = [("torch", model), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))]
    vote = VotingClassifier(members, voting="soft").fit(X_train, y_train)
    mean = np.mean([each.predict_proba(X_test) for each in vote.estimators_], axis=0)

    assert vote.score(X_test, y_test) > 0.93
    np.testing.assert_allclose(vote.predict_proba(X_test), mean, rtol=1e-12)


@BOTH
def test_hard_voting_takes_the_majority(model, halves):
    X_train, X_test, y_train, y_test = halves
    members = [
        ("torch", model),
        ("linear", LogisticRegression()),
        ("tree", DecisionTreeClassifier(max_depth=3, random_state=0)),
    ]
    vote = VotingClassifier(members, voting="hard").fit(X_train, y_train)
    votes = np.sum([each.predict(X_test) for each in vote.estimators_], axis=0)

    assert vote.score(X_test, y_test) > 0.95
    np.testing.assert_array_equal(vote.predict(X_test), (votes >= 2).astype(int))


@BOTH
def test_stacking_with_the_model_at_both_levels_beats_the_tree(model, halves):
    X_train, X_test, y_train, y_test = halves
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    stack = StackingClassifier(
        [("torch", model), ("tree", tree)], TorchLogisticClassifier(), cv=3
    ).fit(X_train, y_train)

    assert stack.final_estimator_.coef_.shape == (1, 2)
    assert stack.score(X_test, y_test) > max(0.95, tree.fit(X_train, y_train).score(X_test, y_test))


@BOTH
def test_bagging_in_two_processes_equals_one(model, halves):
    X_train, X_test, y_train, y_test = halves
    one, two = (
        BaggingClassifier(model, n_estimators=4, n_jobs=n_jobs, random_state=0).fit(
            X_train, y_train
        )
        for n_jobs in (1, 2)
    )

    assert one.score(X_test, y_test) > 0.94
    # The estimators are compared, since two processes sum their mean in another order.
    for here, there in zip(one.estimators_, two.estimators_, strict=True):
        np.testing.assert_array_equal(here.predict_proba(X_test), there.predict_proba(X_test))


@BOTH
def test_bagging_whose_bootstrap_lacks_a_class_fits(model):
    # A single positive row: two bootstraps of three do not contain it, which gives it no weight.
    X = np.random.default_rng(0).standard_normal((60, 3))
    y = (np.arange(60) == 3).astype(int)
    many = BaggingClassifier(model, n_estimators=6, random_state=0).fit(X, y)
    theirs = BaggingClassifier(LogisticRegression(), n_estimators=6, random_state=0).fit(X, y)

    seen = [3 in rows for rows in many.estimators_samples_]
    assert not all(seen)
    for each, has_seen in zip(many.estimators_, seen, strict=True):
        assert_array_equal(each.classes_, [0, 1])
        if not has_seen:
            assert (each.predict_proba(X)[:, 1] < 0.5).all()
    assert_array_equal(many.predict(X[:3]), theirs.predict(X[:3]))


@pytest.mark.parametrize(
    "model",
    [
        TorchLogisticClassifier(solver="lbfgs"),
        TorchLogisticClassifier(
            solver="adam", max_iter=5, n_iter_no_change=5, early_stopping=True, random_state=0
        ),
        TorchLogisticClassifier(l1_ratio=0.5),
        TorchLogisticClassifier(class_weight="balanced"),
        TorchMLPClassifier((4,), solver="lbfgs", max_iter=300),
        TorchMLPClassifier(
            (16,), max_iter=50, n_iter_no_change=50, early_stopping=True, random_state=0
        ),
    ],
)
def test_fit_with_zero_weights_for_one_class_predicts_the_other(model):
    X = np.random.default_rng(0).standard_normal((60, 3))
    y = np.arange(60) % 2
    probability = clone(model).fit(X, y, sample_weight=1.0 - y).predict_proba(X)[:, 1]
    # A few epochs of batches have only begun to lower the probabilities.
    most = 0.05 if model.solver not in ("adam", "sgd") else 0.5
    assert probability.mean() < most


@BOTH
def test_class_weight_with_more_labels_than_there_are_is_that_of_the_labels(model, halves):
    X, _, y, _ = halves
    more, own = (
        clone(model).set_params(class_weight=weight).fit(X, y)
        for weight in ({0: 1, 1: 5, 2: 7}, {0: 1, 1: 5})
    )
    assert_array_equal(more.predict_proba(X), own.predict_proba(X))


@BOTH
def test_one_vs_rest_with_class_weights_fits(model):
    X, y = load_iris(return_X_y=True)
    many = OneVsRestClassifier(clone(model).set_params(class_weight={0: 1, 1: 2, 2: 3})).fit(X, y)
    theirs = OneVsRestClassifier(LogisticRegression(class_weight={0: 1, 1: 2, 2: 3})).fit(X, y)
    assert len(many.estimators_) == len(theirs.estimators_) == 3


@pytest.mark.parametrize(("model", "weight"), [(LOGISTIC, {0: 1, 7: 2}), (MLP, {"a": 1})])
def test_class_weight_without_a_label_raises_as_in_scikit_learn(model, halves, weight):
    X, _, y, _ = halves
    for each in (model, LogisticRegression()):
        with pytest.raises(ValueError, match="are not in class_weight"):
            clone(each).set_params(class_weight=weight).fit(X, y)


@pytest.mark.parametrize(
    ("model", "theirs"),
    [
        (TorchLogisticClassifier(), LogisticRegression()),
        (TorchMLPClassifier(), MLPClassifier()),
    ],
)
def test_public_names_are_those_of_scikit_learn_and_our_parameters(model, theirs):
    known = {"decision_function", "partial_fit", "set_callbacks", "tune_threshold"}
    known |= {"set_partial_fit_request", "set_predict_request"}
    # scikit-learn before 1.8 also lists properties that need a fit.
    names = {name for name in dir(model) if not name.startswith("_") and not name.endswith("_")}
    assert names - set(dir(theirs)) - set(model.get_params()) <= known


@BOTH
def test_partial_fit_takes_its_arguments_in_the_order_of_mlp_classifier(model):
    names = list(inspect.signature(MLPClassifier.partial_fit).parameters)
    assert list(inspect.signature(type(model).partial_fit).parameters) == names
    X, y, weight = np.array([[-1.0], [1.0], [2.0]]), [0, 1, 1], [1.0, 1.0, 5.0]
    model = clone(model).set_params(solver="adam", early_stopping=False)
    by_place, by_name = clone(model), clone(model)
    by_place.partial_fit(X, y, weight, [0, 1])
    by_name.partial_fit(X, y, sample_weight=weight, classes=[0, 1])
    assert_array_equal(by_place.predict_proba(X), by_name.predict_proba(X))


@BOTH
def test_ada_boost_of_a_weak_model_has_a_higher_training_score(model, halves):
    X_train, X_test, y_train, y_test = halves
    weak = {
        "TorchLogisticClassifier": {"C": 0.01},
        "TorchMLPClassifier": {"max_iter": 1, "learning_rate_init": 0.003, "early_stopping": False},
    }
    weak = clone(model).set_params(**weak[type(model).__name__])
    boosted = AdaBoostClassifier(weak, n_estimators=5, random_state=0).fit(X_train, y_train)
    alone = boosted.estimators_[0]

    assert len(boosted.estimators_) > 1
    assert boosted.score(X_train, y_train) > alone.score(X_train, y_train)
    assert boosted.score(X_test, y_test) > 0.9


@BOTH
def test_one_vs_rest_on_three_species_fits_each_against_the_others(model):
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = clone(model)
    if isinstance(model, TorchMLPClassifier):
        model.set_params(max_iter=60, n_iter_no_change=60)
    many = OneVsRestClassifier(model).fit(X, y)
    last = clone(model).fit(X, (y == 2).astype(int))

    assert many.score(X, y) > 0.93
    np.testing.assert_array_equal(
        many.estimators_[2].decision_function(X), last.decision_function(X)
    )


@BOTH
def test_classifier_chain_passes_the_first_label_to_the_second_model(model, digits):
    X, y = digits
    Y = np.column_stack([y == 3, y == 8]).astype(int)
    chain = ClassifierChain(model, order=[0, 1]).fit(X[::2], Y[::2])

    # The second label is the opposite of the first.
    assert chain.estimators_[1].n_features_in_ == X.shape[1] + 1
    assert np.mean(chain.predict(X[1::2]) == Y[1::2]) > 0.95


@BOTH
def test_multi_output_equals_one_model_for_each_label(model):
    X, y = load_digits(return_X_y=True)
    X, y = X[:400] / 16, y[:400]
    Y = np.column_stack([y % 2, y >= 5]).astype(int)
    several = MultiOutputClassifier(model).fit(X, Y)

    assert (several.predict(X) == Y).mean(axis=0).min() > 0.85
    for i, probability in enumerate(several.predict_proba(X)):
        np.testing.assert_array_equal(probability, clone(model).fit(X, Y[:, i]).predict_proba(X))


@BOTH
def test_self_training_labels_rows_correctly(model, halves):
    X_train, X_test, y_train, y_test = halves
    hidden = y_train.copy()
    hidden[np.random.RandomState(0).rand(len(hidden)) < 0.7] = -1
    trained = SelfTrainingClassifier(model, threshold=0.9).fit(X_train, hidden)
    added = trained.labeled_iter_ > 0

    assert added.sum() > 100
    assert np.mean(trained.transduction_[added] == y_train[added]) > 0.97
    assert trained.score(X_test, y_test) > 0.94


# -- selection and inspection ---------------------------------------------------------------------


def test_rfe_keeps_the_features_that_logistic_regression_keeps(cancer):
    ours = RFE(TorchLogisticClassifier(tol=1e-8), n_features_to_select=5, step=5).fit(*cancer)
    theirs = RFE(LogisticRegression(tol=1e-8), n_features_to_select=5, step=5).fit(*cancer)

    np.testing.assert_array_equal(ours.ranking_, theirs.ranking_)
    assert ours.score(*cancer) > 0.95


def test_select_from_model_keeps_the_features_that_logistic_regression_keeps(cancer):
    ours = SelectFromModel(TorchLogisticClassifier(tol=1e-8), threshold="median").fit(*cancer)
    theirs = SelectFromModel(LogisticRegression(tol=1e-8), threshold="median").fit(*cancer)

    assert ours.transform(cancer[0]).shape[1] == 15
    np.testing.assert_array_equal(ours.get_support(), theirs.get_support())


@BOTH
def test_permutation_importance_in_two_processes_equals_one(model, cancer):
    X, y = cancer
    # The last column is noise.
    noise = np.random.RandomState(0).randn(len(X))
    X = np.column_stack([X[:, [7, 21, 24]], noise])
    fitted = clone(model).fit(X, y)
    one, two = (
        permutation_importance(fitted, X, y, n_repeats=3, random_state=0, n_jobs=n_jobs)
        for n_jobs in (1, 2)
    )

    assert one.importances_mean[:3].max() > 0.03 > abs(one.importances_mean[3])
    np.testing.assert_array_equal(one.importances, two.importances)


@BOTH
def test_decision_boundary_display_draws_the_probabilities(model, cancer):
    X, y = cancer[0][:, [7, 21]], cancer[1]
    fitted = clone(model).fit(X, y)
    shown = DecisionBoundaryDisplay.from_estimator(
        fitted, X, response_method="predict_proba", grid_resolution=20
    )
    grid = np.column_stack([shown.xx0.ravel(), shown.xx1.ravel()])

    assert np.ptp(shown.response) > 0.9
    np.testing.assert_allclose(shown.response.ravel(), fitted.predict_proba(grid)[:, 1], rtol=1e-12)
    mpl.pyplot.close(shown.figure_)


@BOTH
def test_partial_dependence_display_draws_the_mean_probability(model, cancer):
    X, y = cancer
    fitted = clone(model).fit(X, y)
    shown = PartialDependenceDisplay.from_estimator(
        fitted, X, [21], response_method="predict_proba", grid_resolution=5
    )
    result = shown.pd_results[0]
    first = X.copy()
    first[:, 21] = result["grid_values"][0][0]

    assert np.ptp(result["average"]) > 0.02
    assert result["average"][0][0] == pytest.approx(fitted.predict_proba(first)[:, 1].mean())
    mpl.pyplot.close(shown.figure_)


# -- metadata ------------------------------------------------------------------------------------


@BOTH
def test_sample_weight_by_step_name_reaches_the_model(model, cancer):
    X, y = cancer
    weight = 1.0 + 4 * y
    pipeline = Pipeline([("scale", StandardScaler()), ("model", clone(model))])
    pipeline.fit(X, y, model__sample_weight=weight)
    direct = clone(model).fit(StandardScaler().fit_transform(X), y, weight)
    unweighted = clone(model).fit(X, y)

    probability = pipeline.predict_proba(X)
    np.testing.assert_allclose(probability, direct.predict_proba(X), rtol=1e-6)
    assert np.max(abs(probability - unweighted.predict_proba(X))) > 0.01


@BOTH
def test_sample_weight_is_routed_through_pipeline_and_grid_search(model, cancer):
    X, y = cancer
    weight = 1.0 + 4 * y
    name, values = penalties(model)
    with sklearn.config_context(enable_metadata_routing=True):
        asks = clone(model).set_fit_request(sample_weight=True)
        accuracy = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = Pipeline([("scale", scaler), ("model", asks)])
        search = GridSearchCV(pipeline, {f"model__{name}": values[1:]}, scoring=accuracy, cv=FOLDS)
        search.fit(X, y, sample_weight=weight)
        scores = []
        for train, test in FOLDS.split(X, y):
            scale = StandardScaler().fit(X[train])
            fold = clone(model).set_params(**{name: values[-1]})
            fold.fit(scale.transform(X[train]), y[train], weight[train])
            scores.append(fold.score(scale.transform(X[test]), y[test], weight[test]))

    routed = [search.cv_results_[f"split{i}_test_score"][-1] for i in range(3)]
    assert routed == scores
    assert search.best_score_ > 0.95


@BOTH
def test_validation_rows_are_routed_through_a_pipeline_that_scales_them(model, raw_halves):
    X_train, X_val, y_train, y_val = raw_halves
    with sklearn.config_context(enable_metadata_routing=True):
        asks = clone(model).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("model", asks)], transform_input=["X_val"]
        )
        pipeline.fit(X_train, y_train, X_val=X_val, y_val=y_val)
    scale = StandardScaler().fit(X_train)
    direct = clone(model).fit(
        scale.transform(X_train), y_train, X_val=scale.transform(X_val), y_val=y_val
    )

    assert pipeline[-1].validation_loss_curve_ == direct.validation_loss_curve_
    assert pipeline[-1].validation_loss_curve_[-1] < 0.15


@BOTH
def test_threshold_is_routed_to_predict(model, halves):
    X_train, X_test, y_train, _ = halves
    with sklearn.config_context(enable_metadata_routing=True):
        asks = clone(model).set_predict_request(threshold=True)
        pipeline = make_pipeline(StandardScaler(), asks).fit(X_train, y_train)
        everything = pipeline.predict(X_test, threshold=0.0)
        usual = pipeline.predict(X_test)

    assert np.all(everything == 1)
    assert 0 < usual.mean() < 1


# -- parallel backends ----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_cross_validation_in_parallel_equals_in_sequence(model, backend, digits):
    sequence = cross_val_score(model, *digits, cv=FOLDS, scoring="neg_log_loss")
    with joblib.parallel_config(backend=backend, n_jobs=2):
        parallel = cross_val_score(model, *digits, cv=FOLDS, scoring="neg_log_loss")

    assert sequence.mean() > -0.2
    np.testing.assert_array_equal(parallel, sequence)


@pytest.mark.parametrize(("model", "backend"), [(LOGISTIC, "threading"), (MLP, "loky")])
def test_prediction_in_parallel_equals_in_sequence(model, backend, digits):
    X, y = digits
    fitted = clone(model).fit(X, y)
    parts = np.array_split(X, 4)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        scores = joblib.Parallel()(joblib.delayed(fitted.predict_proba)(part) for part in parts)

    for part, score in zip(parts, scores, strict=True):
        np.testing.assert_array_equal(score, fitted.predict_proba(part))


# -- what every estimator can do ------------------------------------------------------------------


@BOTH
def test_clone_of_a_fitted_model_is_unfitted_with_the_same_parameters(model, cancer):
    fitted = clone(model).set_params(threshold=0.3, class_weight={0: 1, 1: 2}).fit(*cancer)
    copy = clone(fitted)

    assert copy.get_params() == fitted.get_params()
    assert set(vars(copy)) == set(copy.get_params())
    with pytest.raises(NotFittedError):
        copy.predict(cancer[0])


@BOTH
def test_set_params_in_a_pipeline_reaches_the_model(model):
    pipeline = Pipeline([("scale", StandardScaler()), ("model", clone(model))])
    pipeline.set_params(model__threshold=0.25, model__max_iter=7)

    params = pipeline.get_params()
    assert (params["model__threshold"], params["model__max_iter"]) == (0.25, 7)
    assert pipeline["model"].threshold == 0.25


@BOTH
def test_get_params_gives_back_what_the_constructor_took(model):
    kind = type(model)
    values = model.get_params() | {"max_iter": 3, "tol": 0.5, "device": "cpu", "verbose": 2}

    assert kind(**values).get_params() == values


@BOTH
def test_html_representation_shows_name_and_changed_parameter(model, cancer):
    name = type(model).__name__
    unfitted = clone(model).set_params(threshold=0.125)
    before = unfitted._repr_html_()
    after = unfitted.fit(*cancer)._repr_html_()

    assert name in before
    assert "0.125" in before
    assert "not fitted" in before.lower()
    assert "not fitted" not in after.lower()


@BOTH
def test_repr_shows_only_changed_parameters(model):
    assert repr(type(model)(threshold=0.125)) == f"{type(model).__name__}(threshold=0.125)"
