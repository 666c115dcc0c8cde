"""The candidates of a search: grids, distributions and draws."""

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from tests.model_selection.searches import (
    BOTH,
    LOGISTIC,
    MLP,
    NOT_CONVERGED,
    PENALTIES,
    STRENGTHS,
    assert_as_by_hand,
    negative_log_loss,
    scores_by_hand,
    scores_of,
)

pytestmark = NOT_CONVERGED


def test_grid_order_is_that_of_parameter_grid(grid_search, table):
    wider = STRENGTHS | {"threshold": [0.3, 0.5]}
    search = grid_search(LOGISTIC, wider, cv=2).fit(*table)

    assert search.cv_results_["params"] == list(ParameterGrid(wider))


def test_single_candidate_is_scored_and_refitted(search_for, table):
    name, values = "C", STRENGTHS["C"]
    search = search_for(LOGISTIC, {name: values[:1]}).fit(*table)

    assert search.best_params_ == {name: values[0]}
    assert search.cv_results_["rank_test_score"].tolist() == [1]
    assert search.best_estimator_.get_params()[name] == values[0]


@BOTH
def test_empty_grid_evaluates_the_unchanged_estimator(model, grid, search_for, table):
    search = search_for(model, {}, scoring=negative_log_loss).fit(*table)

    assert search.cv_results_["params"] == [{}]
    assert search.best_params_ == {}
    assert_as_by_hand(search, model, *table)


def test_list_of_grids_with_an_empty_one_includes_the_unchanged_estimator(search_for, table):
    search = search_for(LOGISTIC, [{}, {"C": [0.001]}]).fit(*table)

    assert {} in search.cv_results_["params"]
    assert search.cv_results_["param_C"].mask.sum() == 1


def test_grid_without_values_raises(grid_search, table):
    with pytest.raises(ValueError, match="for parameter 'C' need to be a non-empty sequence"):
        grid_search(LOGISTIC, {"C": []}).fit(*table)


def test_distributions_without_values_raise(randomized_search, table):
    with pytest.raises(ValueError, match="for parameter 'C' need to be a non-empty sequence"):
        randomized_search(LOGISTIC, {"C": []}, n_iter=1).fit(*table)


@pytest.mark.parametrize("value", [1.0, "balanced"])
def test_grid_value_that_is_not_in_a_list_raises(value, grid_search, table):
    with pytest.raises(TypeError, match="for parameter 'class_weight' needs to be a list or a num"):
        grid_search(LOGISTIC, {"class_weight": value}).fit(*table)


def test_grid_values_in_a_table_raise(grid_search, table):
    with pytest.raises(ValueError, match="array for 'C' should be one-dimensional"):
        grid_search(LOGISTIC, {"C": np.ones((2, 2))}).fit(*table)


def test_parameter_that_the_estimator_lacks_raises(search_for, table):
    with pytest.raises(ValueError, match="Invalid parameter 'strength' for estimator"):
        search_for(LOGISTIC, {"strength": [1.0, 2.0]}).fit(*table)


def test_parameter_that_the_step_lacks_raises(search_for, table):
    pipeline = Pipeline([("scale", StandardScaler()), ("clf", LOGISTIC)])

    with pytest.raises(ValueError, match="Invalid parameter 'strength' for estimator"):
        search_for(pipeline, {"clf__strength": [1.0]}).fit(*table)


def test_numpy_values_in_the_grid_are_candidates(search_for, table):
    search = search_for(LOGISTIC, {"C": np.logspace(-2, 0, 3), "fit_intercept": np.array([True])})
    search.fit(*table)

    assert len(search.cv_results_["params"]) == 3
    assert search.cv_results_["param_C"].dtype == np.float64


def test_draws_are_those_of_parameter_sampler(randomized_search, table):
    space = {"C": loguniform(1e-3, 1e2), "class_weight": [None, "balanced"]}
    search = randomized_search(LOGISTIC, space, n_iter=5, random_state=3, cv=2).fit(*table)

    assert search.cv_results_["params"] == list(ParameterSampler(space, 5, random_state=3))


def test_draws_of_the_same_random_state_are_repeated(randomized_search, table):
    space = {"learning_rate_init": loguniform(1e-3, 1e-1), "alpha": loguniform(1e-5, 1.0)}
    one, two, other = (
        randomized_search(
            MLP, space, n_iter=3, random_state=seed, cv=2, scoring="neg_log_loss"
        ).fit(*table)
        for seed in (0, 0, 1)
    )

    assert one.cv_results_["params"] == two.cv_results_["params"] != other.cv_results_["params"]
    np.testing.assert_array_equal(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )


def test_draws_from_several_spaces_take_each_from_one(randomized_search, table):
    spaces = [{"C": loguniform(1e-3, 1e2)}, {"threshold": [0.3, 0.4], "fit_intercept": [False]}]
    search = randomized_search(LOGISTIC, spaces, n_iter=8, random_state=0, cv=2).fit(*table)
    names = {tuple(sorted(params)) for params in search.cv_results_["params"]}

    assert names == {("C",), ("fit_intercept", "threshold")}


def test_draws_by_default_are_ten(randomized_search, table):
    search = randomized_search(LOGISTIC, {"C": loguniform(1e-3, 1e2)}, random_state=0, cv=2)

    assert len(search.fit(*table).cv_results_["params"]) == 10


def test_draws_from_lists_are_without_repetition(randomized_search, table):
    values = [0.001, 0.01, 0.1, 1.0]
    search = randomized_search(LOGISTIC, {"C": values}, n_iter=4, random_state=0, cv=2)

    assert sorted(search.fit(*table).cv_results_["param_C"]) == values


def test_draws_beyond_the_space_warn_and_evaluate_all(randomized_search, table):
    search = randomized_search(LOGISTIC, STRENGTHS, n_iter=5, cv=2)
    with pytest.warns(UserWarning, match="total space of parameters 2 is smaller than n_iter=5"):
        search.fit(*table)

    assert len(search.cv_results_["params"]) == 2


def test_threshold_in_the_grid_changes_the_labels(search_for, table):
    values = [0.2, 0.5, 0.8]
    search = search_for(LOGISTIC, {"threshold": values}, scoring=["f1", "accuracy"], refit="f1")
    search.fit(*table)

    for value in values:
        cut = clone(LOGISTIC).set_params(threshold=value)
        for name, metric in (("f1", f1_score), ("accuracy", accuracy_score)):
            by_hand = scores_by_hand(
                cut, *table, score=lambda fitted, X, y, m=metric: m(y, fitted.predict(X))
            )
            np.testing.assert_allclose(
                scores_of(search, {"threshold": value}, name), by_hand, rtol=1e-12
            )
    assert len(set(search.cv_results_["mean_test_f1"])) == 3


def test_threshold_in_the_grid_leaves_the_probabilities_unchanged(search_for, table):
    search = search_for(MLP, {"threshold": [0.2, 0.8]}, scoring=["roc_auc", "recall"], refit=False)
    results = search.fit(*table).cv_results_

    assert np.ptp(results["mean_test_roc_auc"]) == 0
    assert np.ptp(results["mean_test_recall"]) > 0.1


def test_random_state_none_scores_finite_numbers(search_for, table):
    model = clone(MLP).set_params(random_state=None)
    search = search_for(model, PENALTIES).fit(*table)

    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_random_state_instance_starts_every_fit_at_the_same_state(search_for, table):
    random = np.random.RandomState(5)
    model = clone(MLP).set_params(random_state=random)
    search = search_for(model, PENALTIES, scoring=negative_log_loss).fit(*table)

    unmoved = clone(MLP).set_params(random_state=np.random.RandomState(5))
    assert_as_by_hand(search, unmoved, *table)
    assert random.randint(10**9) == np.random.RandomState(5).randint(10**9)


def test_callbacks_are_called_after_each_epoch_of_each_fit(search_for, table):
    epochs = []

    class Counting(Callback):
        def on_epoch_end(self, net, **kwargs):
            epochs.append(len(net.history))

    # A clone of the list holds copies of the callbacks, and all of them write to the same list.
    model = clone(MLP).set_params(callbacks=[Counting()], max_iter=2)
    search = search_for(model, PENALTIES, scoring=negative_log_loss).fit(*table)

    assert epochs == [1, 2] * 7
    assert_as_by_hand(search, clone(MLP).set_params(max_iter=2), *table)
