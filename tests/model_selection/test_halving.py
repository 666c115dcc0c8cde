"""Successive halving: scikit-learn's results, and candidates that go on with their training."""

import inspect
import subprocess
import sys
import warnings
from typing import ClassVar

import numpy as np
import pytest
import sklearn
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.model_selection._search_successive_halving import (
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

from skbinary import (
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedHalvingGridSearchCV,
    VectorizedHalvingRandomSearchCV,
)
from skbinary.solvers.minibatch.batched import BatchedMiniBatch
from tests.model_selection.searches import FOLDS, LOGISTIC, MLP, NON_FINITE, columns_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
OLD = parse_version(sklearn.__version__) < parse_version("1.9")
PAIRS = [
    (HalvingGridSearchCV, VectorizedHalvingGridSearchCV),
    (HalvingRandomSearchCV, VectorizedHalvingRandomSearchCV),
]
NETWORK = TorchMLPClassifier(
    (6,), batch_size=25, early_stopping=False, n_iter_no_change=99, random_state=0
)
GRID = {"alpha": [1e-4, 0.1, 1.0], "learning_rate_init": [1e-3, 1e-2, 1e-1]}
# Nine, three and one candidate for 3, 9 and 27 epochs on three folds.
EPOCHS = {"resource": "max_iter", "max_resources": 27, "cv": FOLDS, "scoring": "neg_log_loss"}
N_EPOCHS_IN_PARTS = (9 * 3 + 3 * (9 - 3) + 1 * (27 - 9)) * 3
N_EPOCHS_ANEW = (9 * 3 + 3 * 9 + 1 * 27) * 3


@pytest.fixture
def n_epochs(monkeypatch):
    """Count the epochs of all models that are trained in batches."""
    counts = []
    original = BatchedMiniBatch.run_epoch

    def counted(self):
        progress = original(self)
        counts.append(len(progress))
        return progress

    monkeypatch.setattr(BatchedMiniBatch, "run_epoch", counted)
    return counts


def network(**settings):
    return clone(NETWORK).set_params(**settings)


def assert_same_results(ours, theirs, atol=1e-6):
    """Compare all results of two searches, and what they say of their rounds."""
    assert columns_of(ours) == columns_of(theirs)
    for column in columns_of(theirs):
        expected, found = theirs.cv_results_[column], ours.cv_results_[column]
        if column == "params":
            assert found == expected
        elif column in ("iter", "n_resources") or column.startswith("param_"):
            assert found.tolist() == expected.tolist()
        elif column.startswith(("split", "mean_t")):
            np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=column)
    attributes = {name for name in vars(theirs) if name.endswith("_")}
    assert attributes <= set(vars(ours))
    for name in attributes:
        if name.startswith(("n_", "min_", "max_", "best_params", "best_index", "multimetric")):
            assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_halving_has_the_parameters_and_defaults_of_scikit_learn(theirs, ours):
    expected, found = (inspect.signature(each).parameters for each in (theirs, ours))

    assert list(found) == [*expected, "max_memory"]
    assert {name: found[name].default for name in expected} == {
        name: each.default for name, each in expected.items()
    }


SCALED = Pipeline([("scale", StandardScaler()), ("clf", LOGISTIC)])
STEPS = {"scale__with_std": [True, False], "clf__C": [0.01, 0.1, 1.0]}
ROWS = {
    "logistic": (LOGISTIC, {"C": [1e-3, 1e-2, 0.1, 1.0, 10.0]}, {}),
    "pipeline": (SCALED, STEPS, {"scoring": "roc_auc"}),
    "mlp": (MLP, {"alpha": [1e-4, 1.0], "learning_rate_init": [1e-3, 0.1]}, {"factor": 2}),
    "threshold": (LOGISTIC, {"threshold": [0.3, 0.5, "f1"]}, {"scoring": "f1", "factor": 1.5}),
    "other classifier": (LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, {}),
    "aggressive": (LOGISTIC, {"C": np.logspace(-3, 1, 9)}, {"aggressive_elimination": True}),
    "smallest": (LOGISTIC, {"C": [0.01, 1.0]}, {"min_resources": "smallest", "factor": 2}),
    "numbers": (LOGISTIC, {"C": [0.01, 1.0]}, {"min_resources": 40, "max_resources": 100}),
    "batch size": (MLP, {"alpha": [1.0, 0.1]}, {"resource": "batch_size", "max_resources": 20}),
}


@pytest.mark.parametrize("name", ROWS)
def test_halving_grid_search_has_the_results_of_scikit_learn(name, table):
    model, grid, options = ROWS[name]
    options = {"cv": FOLDS, "random_state": 0} | options
    theirs, ours = (kind(model, grid, **options).fit(*table) for kind in PAIRS[0])

    assert_same_results(ours, theirs, 1e-4)


@pytest.mark.parametrize("n_candidates", ["exhaust", 8])
def test_halving_random_search_has_the_results_of_scikit_learn(n_candidates, table):
    space = {"C": loguniform(1e-4, 1e2), "class_weight": [None, "balanced"]}
    options = {"n_candidates": n_candidates, "random_state": 3, "scoring": "neg_log_loss"}
    theirs, ours = (kind(LOGISTIC, space, **options).fit(*table) for kind in PAIRS[1])

    assert_same_results(ours, theirs)


def test_halving_trains_the_candidates_of_a_round_in_batches(table):
    search = VectorizedHalvingGridSearchCV(NETWORK, GRID, cv=FOLDS).fit(*table)

    assert set(search.cv_results_["fit_mode"]) == {"batched"}
    assert search.n_candidates_ == [9, 3, 1]


WEIGHTS = [None, "balanced", {0: 1, 1: 2}]
CONTINUED = {
    "adam": network(),
    "sgd": network(solver="sgd"),
    "adaptive": network(solver="sgd", learning_rate="adaptive", n_iter_no_change=3, tol=0.1),
    "invscaling": network(solver="sgd", learning_rate="invscaling"),
    "dropout": network(dropout=0.3),
    "weight average": network(weight_average=0.9),
    "embedding": network(numeric_embedding="periodic", solver="sgd"),
    "weight decay": network(weight_decay=0.1, class_weight="balanced"),
    "no shuffling": network(shuffle=False),
    "linear": TorchLogisticClassifier(
        solver="adam", batch_size=25, random_state=0, early_stopping=False, n_iter_no_change=99
    ),
}


@pytest.mark.parametrize("name", CONTINUED)
def test_survivors_go_on_and_end_as_after_one_training(name, table, n_epochs):
    model = CONTINUED[name]
    grid = GRID if name != "linear" else {"C": [0.1, 1.0, 10.0], "class_weight": WEIGHTS}
    ours = VectorizedHalvingGridSearchCV(model, grid, **EPOCHS, refit=False).fit(*table)
    counted = sum(n_epochs)
    theirs = HalvingGridSearchCV(model, grid, **EPOCHS, refit=False).fit(*table)

    assert_same_results(ours, theirs, 1e-4 if name == "embedding" else 1e-6)
    assert counted == N_EPOCHS_IN_PARTS


def test_survivors_that_stopped_early_are_not_trained_again(table, n_epochs):
    model = network(early_stopping=True, n_iter_no_change=2, tol=0.05)
    ours = VectorizedHalvingGridSearchCV(model, GRID, **EPOCHS, refit=False).fit(*table)
    counted = sum(n_epochs)
    theirs = HalvingGridSearchCV(model, GRID, **EPOCHS, refit=False).fit(*table)

    assert_same_results(ours, theirs)
    assert counted < N_EPOCHS_IN_PARTS


@pytest.mark.parametrize(
    "settings",
    [
        {"n_members": 3, "early_stopping": "auto"},
        {"threshold": "f1"},
        {"early_stopping": True, "monitor": "f1", "threshold": 0.3, "n_iter_no_change": 6},
        {"early_stopping": True, "threshold": {"recall": 0.8}},
    ],
)
def test_survivors_of_several_models_go_on(settings, table):
    model, options = network(**settings), EPOCHS | {"scoring": "f1", "refit": False}
    theirs, ours = (kind(model, GRID, **options).fit(*table) for kind in PAIRS[0])

    assert_same_results(ours, theirs, 1e-6)


def test_survivors_whose_epochs_are_chosen_go_on_in_part(table, n_epochs):
    model, options = network(early_stopping="auto"), EPOCHS | {"refit": False}
    counts = []
    for memory in ({}, {"max_memory": 1000}):  # without memory, all models start anew
        n_epochs.clear()
        ours = VectorizedHalvingGridSearchCV(model, GRID, **options, **memory).fit(*table)
        counts.append(sum(n_epochs))
    theirs = HalvingGridSearchCV(model, GRID, **options).fit(*table)

    assert_same_results(ours, theirs)
    # Five models choose the number of epochs and go on, and the sixth starts anew.
    n_epochs_spared = 5 * (N_EPOCHS_ANEW - N_EPOCHS_IN_PARTS)
    assert counts[1] - counts[0] == n_epochs_spared


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_survivors_whose_rates_depend_on_max_iter_start_anew(schedule, table, n_epochs):
    model = network(learning_rate=schedule)
    ours = VectorizedHalvingGridSearchCV(model, GRID, **EPOCHS, refit=False).fit(*table)
    theirs = HalvingGridSearchCV(model, GRID, **EPOCHS, refit=False).fit(*table)

    assert_same_results(ours, theirs)
    assert sum(n_epochs) == N_EPOCHS_ANEW


@pytest.mark.parametrize("solver", ["newton-cholesky", "lbfgs"])
def test_survivors_of_a_full_batch_solver_start_anew(solver, table):
    model, grid = clone(LOGISTIC).set_params(solver=solver), {"C": [0.01, 0.1, 1.0]}
    theirs, ours = (kind(model, grid, **EPOCHS).fit(*table) for kind in PAIRS[0])

    assert_same_results(ours, theirs)
    assert ours.cv_results_["params"][-1]["max_iter"] == 27


def test_survivors_without_memory_for_all_splits_start_anew(table, n_epochs):
    memory = {"max_memory": 1000}
    little, much = (
        VectorizedHalvingGridSearchCV(NETWORK, GRID, **EPOCHS, refit=False, **each).fit(*table)
        for each in (memory, {})
    )

    assert_same_results(little, much)
    assert sum(n_epochs) == N_EPOCHS_ANEW + N_EPOCHS_IN_PARTS


def test_survivors_without_a_seed_keep_their_random_numbers(table):
    curves = []

    def record(estimator, X, y):
        curves.append(estimator.loss_curve_)
        return -estimator.loss_

    model = network(random_state=None, dropout=0.3, early_stopping=True, n_iter_no_change=99)
    options = {**EPOCHS, "scoring": record, "return_train_score": False, "refit": False}
    VectorizedHalvingGridSearchCV(model, GRID, **options).fit(*table)
    first, last = curves[:27], curves[-3:]

    assert [len(each) for each in last] == [27] * 3
    assert all(each[:3] in first for each in last)


class CountingScaler(StandardScaler):
    """Counts the rows of its fits."""

    fitted: ClassVar[list[int]] = []

    def fit(self, X, y=None, sample_weight=None):
        self.fitted.append(len(X))
        return super().fit(X, y)


def test_survivors_of_a_pipeline_share_fitted_transformers(table):
    CountingScaler.fitted.clear()
    model = Pipeline([("scale", CountingScaler()), ("clf", NETWORK)])
    grid = {f"clf__{name}": values for name, values in GRID.items()}
    options = {**EPOCHS, "resource": "clf__max_iter", "refit": False}
    ours = VectorizedHalvingGridSearchCV(model, grid, **options).fit(*table)
    assert CountingScaler.fitted == [100] * 3
    theirs = HalvingGridSearchCV(model, grid, **options).fit(*table)

    assert_same_results(ours, theirs)


def test_survivors_beside_those_that_start_anew(table):
    grid = {
        "learning_rate": ["constant", "onecycle"],
        "solver": ["sgd"],
        "learning_rate_init": [0.01, 0.1],
        "hidden_layer_sizes": [(4,), (6,)],
    }
    options = EPOCHS | {"factor": 1.3, "refit": False}
    theirs, ours = (kind(NETWORK, grid, **options).fit(*table) for kind in PAIRS[0])

    assert_same_results(ours, theirs)
    second = {
        params["learning_rate"]
        for params, i in zip(ours.cv_results_["params"], ours.cv_results_["iter"], strict=True)
        if i == 1
    }
    assert second == {"constant", "onecycle"}


def test_first_round_that_is_repeated_is_not_trained_again(table, n_epochs):
    options = EPOCHS | {"min_resources": 9, "aggressive_elimination": True, "refit": False}
    ours = VectorizedHalvingGridSearchCV(NETWORK, GRID, **options).fit(*table)
    assert sum(n_epochs) == (9 * 9 + (27 - 9)) * 3
    theirs = HalvingGridSearchCV(NETWORK, GRID, **options).fit(*table)

    assert ours.n_resources_ == [9, 9, 27]
    assert_same_results(ours, theirs)


@NON_FINITE
def test_candidates_that_diverge_have_no_score_in_any_round(table):
    grid = {"learning_rate_init": [0.01, 1e30], "alpha": [0.1]}
    model, options = network(solver="sgd"), EPOCHS | {"factor": 1.5, "refit": False}
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
        ours = VectorizedHalvingGridSearchCV(model, grid, **options).fit(*table)
    with pytest.warns(FitFailedWarning):
        theirs = HalvingGridSearchCV(model, grid, **options).fit(*table)

    assert_same_results(ours, theirs)


def test_rounds_do_not_warn_of_their_few_epochs(table):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        VectorizedHalvingGridSearchCV(NETWORK, GRID, **EPOCHS, refit=False).fit(*table)
        assert not caught
        options = {"resource": "batch_size", "max_resources": 25, "cv": FOLDS, "refit": False}
        model = network(max_iter=3, n_iter_no_change=2)
        VectorizedHalvingGridSearchCV(model, GRID, **options).fit(*table)
    assert {each.category for each in caught} == {ConvergenceWarning}


def test_best_estimator_is_trained_with_the_last_resources(table):
    search = VectorizedHalvingGridSearchCV(NETWORK, GRID, **EPOCHS).fit(*table)

    assert search.best_params_["max_iter"] == search.best_estimator_.max_iter == 27
    assert search.best_estimator_.n_iter_ == 27
    assert search.best_score_ == search.cv_results_["mean_test_score"][search.best_index_]
    assert search.best_index_ == 12


def test_refit_callable_chooses_among_all_rounds(table):
    search = VectorizedHalvingGridSearchCV(NETWORK, GRID, **EPOCHS, refit=lambda results: 2)
    search.fit(*table)

    assert search.best_index_ == 2
    assert search.best_params_["max_iter"] == 3
    assert not hasattr(search, "best_score_")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1}, "The 'factor' parameter of .* must be a float in the range"),
        ({"resource": "epochs", "max_resources": 9}, "Cannot use resource=epochs which is not"),
        ({"resource": "max_iter"}, "resource can only be 'n_samples' when max_resources='auto'"),
        ({"cv": StratifiedKFold(3, shuffle=True)}, "The cv parameter must yield consistent folds"),
        ({"resource": "alpha", "max_resources": 9}, "Cannot use parameter alpha as the resource"),
        ({"min_resources": 200}, "min_resources_=200 is greater than max_resources_=150"),
        ({"max_memory": -1}, "The 'max_memory' parameter"),
        ({"scoring": ["f1", "roc_auc"]}, "The 'scoring' parameter"),
        (
            {"scoring": lambda model, X, y: {"a": 1.0, "b": 2.0}, "min_resources": 50},
            r"^scoring must return one number for a search by halving, got a dict of "
            r"\['a', 'b'\]\. Return the score by which candidates are to be chosen\.$",
        ),
    ],
)
def test_options_that_contradict_each_other_raise(options, message, table):
    search = VectorizedHalvingGridSearchCV(NETWORK, {"alpha": [0.1, 1.0]}, **options)
    before = dict(vars(search))

    with pytest.raises(ValueError, match=message):
        search.fit(*table)
    assert vars(search) == before


def test_search_again_starts_anew(table, n_epochs):
    search = VectorizedHalvingGridSearchCV(NETWORK, GRID, **EPOCHS, refit=False)
    for _ in range(2):
        n_epochs.clear()
        search.fit(*table)
        assert sum(n_epochs) == N_EPOCHS_IN_PARTS


def test_import_does_not_enable_the_experimental_classes():
    script = (
        "import skbinary, sklearn.model_selection as m; print('HalvingGridSearchCV' in vars(m))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.skipif(OLD, reason="scikit-learn has callbacks from 1.9 on")
def test_callbacks_are_called_for_every_round(table):
    begun = []

    class Watcher:
        requires_fit_info = ()

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **kwargs):
            begun.append(context.task_name)

        def on_fit_task_end(self, estimator, context, **kwargs):
            pass

        def teardown(self, estimator, context):
            pass

    search = VectorizedHalvingGridSearchCV(NETWORK, GRID, **EPOCHS)
    search.set_callbacks(Watcher())
    search.fit(*table)
    assert begun.count("halving-iteration") == 3
    assert begun.count("candidate-split-evaluation") == (9 + 3 + 1) * 3
    assert begun.count("refit-with-best-params") == 1


CHECKED = {"cv": 2, "error_score": "raise", "random_state": 0}
EXPECTED_FAILURES = {
    "check_fit2d_1sample": "the first round needs more rows, as with scikit-learn's classes",
    "check_n_features_in_after_fitting": "the rows of the first round may be of one class",
}


@parametrize_with_checks(
    [
        VectorizedHalvingGridSearchCV(
            TorchLogisticClassifier(), {"C": [0.1, 1.0]}, min_resources="smallest", **CHECKED
        ),
        VectorizedHalvingRandomSearchCV(TorchLogisticClassifier(), {"C": [0.1, 1.0]}, **CHECKED),
    ]
)
def test_searches_pass_the_checks_of_scikit_learn(estimator, check):
    try:
        check(estimator)
    except Exception:
        if check.func.__name__ not in EXPECTED_FAILURES:
            raise
        pytest.xfail(EXPECTED_FAILURES[check.func.__name__])
