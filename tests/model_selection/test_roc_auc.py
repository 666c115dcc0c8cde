"""The area under the ROC curve, as searches compute it, against scikit-learn's."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.datasets import make_classification
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer, make_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.data import validation
from skbinary.data.batches import DenseBatch
from skbinary.estimators import fitted_classifier
from skbinary.estimators.scoring import logits_of
from skbinary.model_selection import scoring, splits
from skbinary.model_selection.roc_auc import is_plain_roc_auc, roc_auc, roc_aucs
from skbinary.runtime.threads import ThreadPool

X, Y = make_classification(400, n_features=5, flip_y=0.3, weights=[0.7], random_state=0)
GRID = {"C": [0.01, 1.0, 100.0]}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("decimals", [None, 0, 1])  # None: no ties
def test_area_equals_scikit_learn(decimals, dtype):
    rng = np.random.default_rng(0)
    for _ in range(20):
        n_positive, n_negative = rng.integers(1, 60, 2)
        y = np.repeat([1, 0], [n_positive, n_negative])
        scores = rng.normal(size=len(y)) + y
        if decimals is not None:
            scores = np.round(scores, decimals)
        scores = scores.astype(dtype)
        area = roc_auc(scores[y == 1], scores[y == 0])
        assert area == pytest.approx(roc_auc_score(y, scores), abs=1e-12)


@pytest.fixture
def scorer_calls(monkeypatch):
    """Count the calls of scikit-learn's scorer."""
    scorer = get_scorer("roc_auc")
    calls = []
    plain = type(scorer).__call__
    monkeypatch.setattr(
        type(scorer), "__call__", lambda *args, **kwargs: calls.append(1) or plain(*args, **kwargs)
    )
    return calls


def searched(model, grid=GRID, kind=VectorizedGridSearchCV, y=Y, table=X, **settings):
    settings = {"scoring": "roc_auc", "cv": 4, "refit": False, **settings}
    return kind(model, grid, **settings).fit(table, y)


def scores(search, part="test"):
    return np.array([search.cv_results_[f"split{i}_{part}_score"] for i in range(search.n_splits_)])


def test_areas_of_several_models_equal_those_of_each():
    rows = np.random.default_rng(0).normal(size=(3, 400)) + Y
    expected = [roc_auc_score(Y, each) for each in rows]
    assert roc_aucs(rows, Y, np.array([0, 1])) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "unusual",
    [
        {"y": np.ones(400, dtype=int)},
        {"y": np.arange(400) % 3},
        {"value": np.nan},
        {"value": np.inf},
    ],
    ids=["one class", "another class", "NaN", "infinity"],
)
def test_areas_of_unusual_labels_or_scores_are_none(unusual):
    rows = np.ones((2, 400))
    rows[1, 7] = unusual.get("value", 1.0)
    assert roc_aucs(rows, unusual.get("y", Y), np.array([0, 1])) is None


def test_search_computes_the_area_itself(scorer_calls):
    search = searched(TorchLogisticClassifier(), refit=True, return_train_score=True)
    assert scorer_calls == []
    assert type(search.scorer_) is type(get_scorer("roc_auc"))
    theirs = searched(TorchLogisticClassifier(), kind=GridSearchCV, return_train_score=True)
    for part in ("test", "train"):
        np.testing.assert_allclose(scores(search, part), scores(theirs, part), atol=1e-6)


@pytest.mark.parametrize(("n_candidates", "n_jobs"), [(1, None), (10, 2), (11, None), (25, None)])
def test_search_scores_each_of_many_models(n_candidates, n_jobs):
    grid = {"C": np.logspace(-4, 4, n_candidates)}
    ours = searched(TorchLogisticClassifier(), grid, n_jobs=n_jobs)
    theirs = searched(TorchLogisticClassifier(), grid, kind=GridSearchCV)
    np.testing.assert_allclose(scores(ours), scores(theirs), rtol=0, atol=1e-6)


def test_search_scores_labels_of_any_type_equally(scorer_calls):
    words = np.where(Y == 1, "yes", "no")
    found = [searched(TorchLogisticClassifier(), y=y) for y in (Y, words, words.astype(object))]
    assert scorer_calls == []
    assert len({scores(search).tobytes() for search in found}) == 1


@pytest.mark.parametrize(
    ("model", "grid"),
    [
        (TorchMLPClassifier((4,), max_iter=2, random_state=0), {"alpha": [1e-4, 1.0]}),
        (TorchMLPClassifier((4,), max_iter=2, random_state=0, n_members=3), {"alpha": [1e-4, 1.0]}),
        (TorchMLPClassifier(max_iter=2, random_state=0), {"hidden_layer_sizes": [(), (4,)]}),
        (TorchLogisticClassifier(), {"fit_intercept": [False, True], "C": [0.01, 1.0]}),
    ],
    ids=["network", "ensemble", "layers", "intercept"],
)
def test_search_scores_models_of_any_shape(model, grid, scorer_calls):
    ours = searched(model, grid)
    assert scorer_calls == []
    np.testing.assert_allclose(scores(ours), scores(searched(model, grid, GridSearchCV)), atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_search_scores_do_not_depend_on_threads(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = searched(TorchLogisticClassifier(), {"C": np.logspace(-2, 2, 12)})
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    expected = searched(TorchLogisticClassifier(), {"C": np.logspace(-2, 2, 12)})
    assert scores(found).tobytes() == scores(expected).tobytes()


def test_search_scores_chunks_on_all_threads_of_torch(long_table, monkeypatch):
    thread_counts, original = [], ThreadPool.map

    def noted(self, function, chunks):
        if function is scoring._roc_aucs:
            thread_counts.append((self.n_threads, len(chunks)))
        return original(self, function, chunks)

    monkeypatch.setattr(ThreadPool, "map", noted)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        grid = {"C": np.logspace(-4, 4, 12)}
        searched(TorchLogisticClassifier(), grid, table=long_table[0], y=long_table[1])
    finally:
        torch.set_num_threads(before)
    assert thread_counts == [(3, 8)]


@pytest.fixture
def products(monkeypatch):
    """Record with how many models the 4000 rows of a fold are multiplied."""
    found, original = [], DenseBatch.__matmul__

    def counted(self, weights):
        if self.shape[0] == 4000:
            found.append(weights.shape[1])
        return original(self, weights)

    monkeypatch.setattr(DenseBatch, "__matmul__", counted)
    return found


@pytest.fixture(scope="module")
def long_table():
    # Too long for the solver of single linear models on small data.
    return make_classification(16_000, n_features=5, flip_y=0.3, random_state=0)


def test_search_multiplies_the_rows_of_a_fold_with_ten_models_at_once(long_table, products):
    grid = {"C": np.logspace(-4, 4, 12)}
    searched(TorchLogisticClassifier(), grid, table=long_table[0], y=long_table[1])
    assert sorted(products) == [2] * 4 + [10] * 4


def test_search_scores_candidates_that_differ_in_the_threshold_once(long_table, products):
    grid = {"threshold": [0.1, 0.2, 0.3]}
    search = searched(TorchLogisticClassifier(), grid, table=long_table[0], y=long_table[1])
    assert products == [1] * 4
    assert np.ptp(scores(search), axis=1).max() == 0


def test_search_of_a_fold_with_one_class_uses_scikit_learn(scorer_calls):
    rest = np.arange(100, 400)
    splits = [(rest, np.flatnonzero(Y[:100] == 1)), (rest, np.arange(100))]
    with pytest.warns(UndefinedMetricWarning):
        found = searched(TorchLogisticClassifier(), cv=splits)
    assert scorer_calls == [1] * 3
    assert np.isnan(scores(found)[0]).all()
    assert np.isfinite(scores(found)[1]).all()


def test_search_with_weighted_scores_uses_scikit_learn(scorer_calls):
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        scorer = get_scorer("roc_auc").set_score_request(sample_weight=True)
        model = TorchLogisticClassifier().set_fit_request(sample_weight=False)
        search = VectorizedGridSearchCV(model, GRID, scoring=scorer, cv=4, refit=False)
        search.fit(X, Y, sample_weight=1.0 + Y)
    assert scorer_calls == [1] * 12


def test_search_of_rows_that_are_not_finite_fails_as_in_scikit_learn(scorer_calls):
    table = X.copy()
    table[3, 2] = np.nan
    settings = {"cv": PredefinedSplit(np.r_[np.zeros(100), -np.ones(300)])}
    with pytest.warns(UserWarning, match="Scoring failed"):
        found = searched(TorchLogisticClassifier(), table=table, **settings)
    assert np.isnan(scores(found)).all()
    with pytest.raises(ValueError, match="NaN"):
        searched(TorchLogisticClassifier(), table=table, error_score="raise", **settings)


@pytest.mark.parametrize(
    "scorer",
    [
        get_scorer("accuracy"),
        get_scorer("roc_auc_ovr"),
        make_scorer(roc_auc_score, max_fpr=0.5, response_method="decision_function"),
        make_scorer(roc_auc_score, greater_is_better=False, response_method="decision_function"),
        make_scorer(roc_auc_score),
        lambda model, X, y: 0.5,
    ],
)
def test_is_plain_roc_auc_other_scorer_is_false(scorer):
    assert is_plain_roc_auc(get_scorer("roc_auc"))
    assert not is_plain_roc_auc(scorer)


def test_search_of_a_subclass_uses_its_decision_function(scorer_calls):
    class Backwards(TorchLogisticClassifier):
        def decision_function(self, X):
            return -super().decision_function(X)

    backwards, usual = searched(Backwards()), searched(TorchLogisticClassifier())
    assert len(scorer_calls) == 12
    np.testing.assert_allclose(scores(backwards), 1 - scores(usual), atol=1e-12)


def test_search_checks_the_rows_once_for_all_models(monkeypatch):
    checked, original = [], validation.check_rows

    def counted(*args, reset, **settings):
        checked.extend([] if reset else [1])
        return original(*args, reset=reset, **settings)

    for module in (fitted_classifier, splits):
        monkeypatch.setattr(module, "check_rows", counted)
    searched(TorchLogisticClassifier())
    assert len(checked) == 4


@pytest.mark.parametrize(
    "kind", [np.asarray, csr_array, np.float32], ids=["float64", "sparse", "float32"]
)
def test_logits_of_several_models_are_those_of_each(kind):
    rows = kind(X)
    models = [
        TorchLogisticClassifier(C=C, fit_intercept=C != 1.0).fit(rows, Y) for C in (0.01, 1.0, 9.0)
    ]
    together = logits_of([model._state for model in models], rows)
    expected = [model.decision_function(rows) for model in models]
    assert together.dtype == expected[0].dtype
    atol = 1e-5 if together.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(together, expected, rtol=0, atol=atol)
