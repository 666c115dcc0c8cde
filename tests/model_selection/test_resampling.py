"""Searches over pipelines of imbalanced-learn, whose resamplers see the training rows only."""

import subprocess
import sys
import warnings
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline as PlainPipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from skbinary import (
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    VectorizedHalvingGridSearchCV,
)
from skbinary.solvers.minibatch.batched import BatchedMiniBatch
from tests.model_selection.searches import NOT_CONVERGED, columns_of

REASON = 'imbalanced-learn is not installed: pip install "skbinary[interop]"'
pipelines = pytest.importorskip("imblearn.pipeline", reason=REASON)
over = pytest.importorskip("imblearn.over_sampling", reason=REASON)
under = pytest.importorskip("imblearn.under_sampling", reason=REASON)

pytestmark = NOT_CONVERGED
FOLDS = StratifiedKFold(3)
LOGISTIC = TorchLogisticClassifier(tol=1e-8)
NETWORK = TorchMLPClassifier((6,), batch_size=32, max_iter=4, early_stopping=False, random_state=0)
SMOTE = over.SMOTE(k_neighbors=3, random_state=0)
UNDER = under.RandomUnderSampler(random_state=0)
OVER = over.RandomOverSampler(random_state=0)


class CountingSampler(BaseEstimator):
    """Leaves out every other row of class 0, and counts the rows of its calls."""

    n_rows: ClassVar[list[int]] = []

    def __init__(self, step=2):
        self.step = step

    def fit(self, X, y):
        return self

    def fit_resample(self, X, y):
        self.n_rows.append(len(X))
        kept = np.sort(np.r_[np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:: self.step]])
        return X[kept], y[kept]


def make_pipeline(*steps):
    return pipelines.Pipeline([(f"step{i}", step) for i, step in enumerate(steps[:-1])] + [
        ("clf", steps[-1])
    ])  # fmt: skip


@pytest.fixture(scope="module")
def rare():
    """Return rows of which a fifth is of class 1."""
    return make_classification(300, 8, n_informative=4, weights=[0.8], flip_y=0.05, random_state=1)


def searches(model, grid, table, **options):
    """Return the same search by scikit-learn and by this package, fitted."""
    options = {"cv": FOLDS, "scoring": "neg_log_loss", "return_train_score": True} | options
    X, y = table
    return [
        kind(model, grid, **options).fit(X, y) for kind in (GridSearchCV, VectorizedGridSearchCV)
    ]


def assert_same_results(theirs, ours, atol=1e-6):
    assert columns_of(ours) == columns_of(theirs)
    for column in columns_of(theirs):
        if column.startswith(("split", "mean_t")):
            np.testing.assert_allclose(
                ours.cv_results_[column], theirs.cv_results_[column],
                rtol=0, atol=atol, err_msg=column,
            )  # fmt: skip


PIPELINES = {
    "smote": (make_pipeline(StandardScaler(), SMOTE, LOGISTIC), {"clf__C": [0.01, 1.0]}),
    "before the scaler": (make_pipeline(UNDER, StandardScaler(), LOGISTIC), {"clf__C": [0.1, 1.0]}),
    "two resamplers": (make_pipeline(SMOTE, UNDER, LOGISTIC), {"clf__C": [0.1, 1.0]}),
    "network": (make_pipeline(StandardScaler(), OVER, NETWORK), {"clf__alpha": [1e-4, 1.0]}),
    "early stopping": (
        make_pipeline(StandardScaler(), SMOTE, clone(NETWORK).set_params(early_stopping=True)),
        {"clf__alpha": [1e-4, 1.0]},
    ),
    "ensemble": (
        make_pipeline(UNDER, clone(NETWORK).set_params(n_members=3)),
        {"clf__alpha": [1e-4, 1.0]},
    ),
    "settings of the resampler": (
        make_pipeline(SMOTE, LOGISTIC),
        {"step0__k_neighbors": [2, 5], "step0__sampling_strategy": [0.5, 1.0], "clf__C": [0.1]},
    ),
    "resampler exchanged": (
        make_pipeline(StandardScaler(), SMOTE, LOGISTIC),
        {"step1": [UNDER, OVER, "passthrough", MinMaxScaler()], "clf__C": [0.1, 1.0]},
    ),
    "no resampler": (make_pipeline(StandardScaler(), LOGISTIC), {"clf__C": [0.1, 1.0]}),
    "no step": (make_pipeline(LOGISTIC), {"clf__C": [0.1, 1.0]}),
    "inside a pipeline": (
        PlainPipeline([("scale", StandardScaler()), ("rest", make_pipeline(SMOTE, LOGISTIC))]),
        {"rest__clf__C": [0.1, 1.0]},
    ),
    "around a pipeline": (
        make_pipeline(SMOTE, PlainPipeline([("scale", StandardScaler()), ("clf", LOGISTIC)])),
        {"clf__clf__C": [0.1, 1.0]},
    ),
    "threshold": (
        make_pipeline(UNDER, clone(LOGISTIC)),
        {"clf__threshold": [0.3, 0.5], "clf__C": [0.1, 1.0]},
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_search_over_a_resampling_pipeline_has_the_results_of_scikit_learn(name, rare):
    model, grid = PIPELINES[name]
    theirs, ours = searches(model, grid, rare)

    assert set(ours.cv_results_["fit_mode"]) == {"batched"}
    assert_same_results(theirs, ours)
    np.testing.assert_allclose(
        ours.predict_proba(rare[0]), theirs.predict_proba(rare[0]), rtol=0, atol=1e-6
    )
    assert type(ours.best_estimator_) is type(model)


@pytest.mark.parametrize("scoring", ["roc_auc", "f1", None, lambda m, X, y: m.score(X, y)])
def test_search_over_a_resampling_pipeline_scores_rows_that_are_not_resampled(scoring, rare):
    model, grid = PIPELINES["smote"]
    theirs, ours = searches(model, grid, rare, scoring=scoring)

    assert_same_results(theirs, ours)


def test_rows_are_resampled_once_for_each_fold_and_setting(rare):
    grid = {"clf__C": [0.01, 0.1, 1.0], "step1__step": [2, 3]}
    model = make_pipeline(StandardScaler(), CountingSampler(), LOGISTIC)
    CountingSampler.n_rows.clear()
    VectorizedGridSearchCV(model, grid, cv=FOLDS, refit=False).fit(*rare)

    assert CountingSampler.n_rows == [200] * 6  # never the rows that are scored


def test_candidates_with_the_same_resampled_rows_are_one_batch(rare, monkeypatch):
    sizes = []
    original = BatchedMiniBatch.__init__

    def counted(self, architecture, starts, *args, **kwargs):
        sizes.append(len(starts))
        original(self, architecture, starts, *args, **kwargs)

    monkeypatch.setattr(BatchedMiniBatch, "__init__", counted)
    model = make_pipeline(UNDER, NETWORK)
    grid = {"clf__alpha": [1e-4, 0.1, 1.0], "clf__learning_rate_init": [1e-3, 1e-2]}
    VectorizedGridSearchCV(model, grid, cv=FOLDS, refit=False).fit(*rare)

    assert sizes == [18]


DATA = {
    "frame": lambda X, y: (pd.DataFrame(X, columns=list("abcdefgh")), pd.Series(y)),
    "frame with gaps": lambda X, y: (pd.DataFrame(np.where(X > 2, np.nan, X)), y),
    "words": lambda X, y: (X, np.array(["no", "yes"])[y]),
    "sparse": lambda X, y: (sp.csr_array(np.where(np.abs(X) > 1, X, 0)), y),
    "float32": lambda X, y: (X.astype(np.float32), y),
}


@pytest.mark.parametrize("kind", DATA)
def test_search_over_a_resampling_pipeline_takes_the_data_of_the_pipeline(kind, rare):
    filled = FunctionTransformer(_without_gaps)
    steps = [] if kind == "sparse" else [filled]
    model = make_pipeline(*steps, UNDER, LOGISTIC)
    theirs, ours = searches(model, {"clf__C": [0.1, 1.0]}, DATA[kind](*rare))

    assert set(ours.cv_results_["fit_mode"]) == {"batched"}
    assert_same_results(theirs, ours)


def _without_gaps(X):
    return X.fillna(0) if isinstance(X, pd.DataFrame) else np.nan_to_num(X)


def test_search_over_a_resampling_pipeline_with_memory(rare, tmp_path):
    model = clone(PIPELINES["smote"][0]).set_params(memory=str(tmp_path))
    theirs, ours = searches(model, {"clf__C": [0.1, 1.0]}, rare)

    assert_same_results(theirs, ours)


def test_sample_weight_of_resampled_rows_fails_as_in_the_pipeline(rare):
    X, y = rare
    model, weight = make_pipeline(UNDER, LOGISTIC), np.ones(len(y))
    with pytest.raises(
        ValueError, match="sample_weight must have one number for each row"
    ) as alone:
        model.fit(X, y, clf__sample_weight=weight)
    search = VectorizedGridSearchCV(model, {"clf__C": [0.1, 1.0]}, cv=FOLDS)
    with pytest.raises(ValueError, match="All the 6 fits failed") as searched:
        search.fit(X, y, clf__sample_weight=weight)

    sentence = str(alone.value).partition(", shape")[0]
    assert sentence in str(searched.value)


def test_resampler_that_fails_scores_nan_for_its_candidates(rare):
    grid = {"step0__k_neighbors": [3, 200]}
    search = VectorizedGridSearchCV(make_pipeline(SMOTE, LOGISTIC), grid, cv=FOLDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
            search.fit(*rare)

    assert search.best_params_ == {"step0__k_neighbors": 3}


WARNING = (
    r"^threshold must be a number where the training rows are resampled, got 'f1' after "
    r"RandomUnderSampler: it is chosen for the class frequencies of the resampled rows\. Set a "
    r"number, and call tune_threshold with rows that are not resampled, or set class_weight "
    r"instead of resampling\.$"
)


@pytest.mark.parametrize("halves", [False, True])
def test_threshold_objective_behind_a_resampler_warns_once(halves, rare):
    model = make_pipeline(StandardScaler(), UNDER, clone(NETWORK).set_params(threshold="f1"))
    kind = VectorizedHalvingGridSearchCV if halves else VectorizedGridSearchCV
    more = {"resource": "clf__max_iter", "max_resources": 9} if halves else {}
    search = kind(model, {"clf__alpha": [1e-4, 0.1, 1.0]}, cv=FOLDS, **more)
    with pytest.warns(UserWarning, match=WARNING) as caught:
        search.fit(*rare)

    assert sum("resampled" in str(each.message) for each in caught) == 1


def test_threshold_objective_in_the_grid_warns(rare):
    grid = {"clf__threshold": [0.5, "f1"]}
    with pytest.warns(UserWarning, match=WARNING):
        VectorizedGridSearchCV(make_pipeline(UNDER, LOGISTIC), grid, cv=FOLDS).fit(*rare)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (make_pipeline(UNDER, LOGISTIC), {}),
        (make_pipeline(StandardScaler(), clone(LOGISTIC).set_params(threshold="f1")), {}),
        # The threshold of the mean is chosen on rows that are not resampled.
        (
            make_pipeline(UNDER, clone(LOGISTIC).set_params(threshold="f1")),
            {"ensemble_size": 2, "cv": 2},
        ),
    ],
)
def test_threshold_on_rows_that_are_not_resampled_does_not_warn(model, options, rare):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        VectorizedGridSearchCV(model, {"clf__C": [0.1, 1.0]}, **options).fit(*rare)

    assert not [each for each in caught if "resampled" in str(each.message)]


def test_ensemble_of_candidates_chooses_the_threshold_on_rows_that_are_not_resampled(rare):
    X, y = rare
    model = make_pipeline(UNDER, clone(LOGISTIC).set_params(threshold={"alert_rate": 0.2}))
    search = VectorizedGridSearchCV(model, {"clf__C": [0.1, 1.0]}, cv=FOLDS, ensemble_size=2)
    found = search.fit(X, y).best_estimator_

    alerts = found.oof_decision_function_ >= np.log(found.threshold_ / (1 - found.threshold_))
    assert alerts.mean() == pytest.approx(0.2, abs=0.01)


def test_threshold_of_the_best_candidate_can_be_tuned_on_original_rows(rare):
    X, y = rare
    model = make_pipeline(UNDER, StandardScaler(), LOGISTIC)
    search = VectorizedGridSearchCV(model, {"clf__C": [0.1, 1.0]}, cv=FOLDS).fit(X, y)
    best = search.best_estimator_
    best[-1].tune_threshold(best[:-1].transform(X), y, {"alert_rate": 0.2})

    assert best.predict(X).mean() == pytest.approx(0.2, abs=0.01)


def test_warning_of_a_classifier_in_a_resampling_pipeline_points_to_the_line_of_the_user(rare):
    model = make_pipeline(UNDER, clone(NETWORK).set_params(n_iter_no_change=2, tol=0.0))
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(*rare)

    assert [each.filename for each in caught] == [__file__]


def test_halving_over_a_resampling_pipeline_resamples_each_fold_once(rare):
    model = make_pipeline(StandardScaler(), CountingSampler(), NETWORK)
    CountingSampler.n_rows.clear()
    search = VectorizedHalvingGridSearchCV(
        model,
        {"clf__alpha": [1e-4, 0.1, 1.0]},
        resource="clf__max_iter",
        max_resources=6,
        cv=FOLDS,
        refit=False,
    )
    search.fit(*rare)

    assert search.n_iterations_ == 2
    assert CountingSampler.n_rows == [200] * 3


def test_searches_do_not_import_imbalanced_learn():
    script = (
        "import sys, skbinary\n"
        "skbinary.VectorizedGridSearchCV(skbinary.TorchLogisticClassifier(), {'C': [1.0]}).fit("
        "[[0.0], [1.0]] * 10, [0, 1] * 10)\n"
        "print('imblearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
