"""The pipeline for raw tables."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline

from skbinary import (
    TabularEncoder,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    make_tabular_pipeline,
)

pd = pytest.importorskip("pandas")
FEW_EPOCHS = {"n_members": 2, "max_iter": 3, "n_iter_no_change": np.inf, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    n = 200
    age = random.integers(18, 80, n).astype(float)
    city = random.choice(["Bonn", "Lyon", "Oslo"], n)
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 900, n), "D")
    owner = random.random(n) < 0.4
    logits = (age - 50) / 10 + (city == "Lyon") + owner
    y = np.where(random.random(n) < 1 / (1 + np.exp(-logits)), "paid", "default")
    frame = pd.DataFrame({"age": age, "city": city, "start": start, "owner": owner})
    frame.loc[::7, "age"] = np.nan
    frame.loc[::11, "city"] = None
    frame.loc[::13, "start"] = pd.NaT
    return frame, y


@pytest.fixture(scope="module")
def fitted(table):
    return make_tabular_pipeline(**FEW_EPOCHS).fit(*table)


def test_pipeline_is_an_ordinary_one_with_both_steps():
    model = make_tabular_pipeline()
    assert type(model) is Pipeline
    kinds = [type(step) for _, step in model.steps]
    assert kinds == [TabularEncoder, TorchMLPClassifier]
    assert clone(model).get_params()["torchmlpclassifier__n_members"] == 8


def test_frame_with_gaps_categories_dates_and_booleans_is_fitted_as_it_is(table, fitted):
    frame, y = table
    probability = fitted.predict_proba(frame)
    assert probability.shape == (len(y), 2)
    assert np.isfinite(probability).all()
    assert fitted.classes_.tolist() == ["default", "paid"]
    assert set(fitted.predict(frame)) <= {"default", "paid"}


def test_rows_with_values_that_were_never_seen_get_finite_probabilities(table, fitted):
    frame = table[0][:2].assign(city=["Rome", None], age=[np.nan, 200.0], start=pd.NaT)
    assert np.isfinite(fitted.predict_proba(frame)).all()
    assert np.isfinite(fitted.predict_proba(frame[:1])).all()


@pytest.mark.parametrize(
    "settings",
    [{"threshold": {"recall": 0.9}, "pos_label": "default"}, {"device": "cpu"}, {"n_members": 3}],
    ids=str,
)
def test_settings_are_those_of_the_classifier(settings):
    classifier = make_tabular_pipeline(**settings)[-1]
    assert {name: getattr(classifier, name) for name in settings} == settings


def test_random_state_is_that_of_both_steps(table, fitted):
    model = make_tabular_pipeline(random_state=3)
    assert [step.random_state for _, step in model.steps] == [3, 3]
    again = make_tabular_pipeline(**FEW_EPOCHS).fit(*table)
    np.testing.assert_array_equal(again.predict_proba(table[0]), fitted.predict_proba(table[0]))


def test_objective_is_reached_on_the_training_set(table):
    frame, y = table
    objective = {"threshold": {"recall": 0.8}, "pos_label": "default"}
    model = make_tabular_pipeline(**{**FEW_EPOCHS, "max_iter": 20}, **objective).fit(frame, y)
    is_default = y == "default"
    assert (model.predict(frame) == "default")[is_default].mean() >= 0.7


def test_another_classifier_is_cloned_and_keeps_its_parameters(table):
    given = LogisticRegression(C=0.1, random_state=5)
    model = make_tabular_pipeline(given, max_iter=500)
    assert model[-1] is not given
    assert model[-1].get_params() == {**given.get_params(), "max_iter": 500}
    assert given.max_iter == 100
    assert model.fit(*table).score(*table) > 0.6


def test_unknown_setting_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="Invalid parameter 'no_such'"):
        make_tabular_pipeline(no_such=1)


def test_pickle_keeps_the_probabilities(table, fitted):
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(table[0]), fitted.predict_proba(table[0]))


def test_search_and_cross_validation_take_the_frame(table):
    frame, y = table
    model = make_tabular_pipeline(**FEW_EPOCHS)
    grid = {"torchmlpclassifier__dropout": [0.0, 0.3], "tabularencoder__n_bins": [4]}
    search = VectorizedGridSearchCV(model, grid, scoring="neg_log_loss", cv=2).fit(frame, y)
    assert set(search.cv_results_["fit_mode"]) == {"batched"}
    scores = cross_val_score(model, frame, y, cv=2, scoring="neg_log_loss")
    assert np.isfinite(scores).all()
