"""The hold-out of early stopping and the folds: random, stratified, and groups kept together."""

import warnings

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_validate, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.data.folds import SplittableRows, count_units, folds, hold_out

X, Y = make_classification(1500, 10, flip_y=0.1, random_state=0)
RARE = (np.arange(1000) % 4 == 0).astype(float)
GROUPS = np.arange(1500) // 6


@pytest.fixture
def held_out(monkeypatch):
    """Record (train, held out) of every fit."""
    seen = []
    draw, deal = SplittableRows.hold_out, SplittableRows.folds

    def note_hold_out(*args):
        seen.append(draw(*args))
        return seen[-1]

    def note_folds(*args):
        seen.extend(made := deal(*args))
        return made

    monkeypatch.setattr(SplittableRows, "hold_out", note_hold_out)
    monkeypatch.setattr(SplittableRows, "folds", note_folds)
    return seen


# -- rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.9])
def test_hold_out_without_groups_is_train_test_split(fraction):
    train, held = hold_out(RARE, None, fraction, np.random.RandomState(3))
    expected = train_test_split(
        np.arange(1000), test_size=fraction, stratify=RARE, random_state=np.random.RandomState(3)
    )
    assert_array_equal(train, expected[0])
    assert_array_equal(held, expected[1])


@pytest.mark.parametrize("seed", range(5))
def test_hold_out_of_a_class_too_rare_for_its_share_holds_out_one_row(seed):
    target = (np.arange(1000) < 2).astype(float)
    train, held = hold_out(target, None, 0.1, seed)
    assert target[train].sum() == target[held].sum() == 1
    assert_array_equal(np.sort(np.append(train, held)), np.arange(1000))


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_hold_out_of_most_rows_trains_on_a_row_of_a_rare_class(seed, grouped):
    target = (np.arange(100) < 2).astype(float)
    train, held = hold_out(target, np.arange(100) if grouped else None, 0.9, seed)
    assert target[train].sum() == target[held].sum() == 1
    assert_array_equal(np.sort(np.append(train, held)), np.arange(100))


def test_hold_out_of_a_class_with_one_row_trains_on_it():
    target = (np.arange(10) == 9).astype(float)
    train, held = hold_out(target, None, 0.1, 0)
    assert 9 in train
    assert len(held) == 1


@pytest.mark.parametrize("groups", [None, np.array([5, 7])])
def test_hold_out_of_one_row_a_class_is_an_error(groups):
    with pytest.raises(ValueError, match=r"must find two (rows|groups) of a class.* got one of "):
        hold_out(np.array([0.0, 1.0]), groups, 0.1, 0)


def test_folds_hold_out_each_row_once_and_are_stratified():
    made = folds(RARE, None, 7, 0)
    assert_array_equal(np.sort(np.concatenate([held for _, held in made])), np.arange(1000))
    for train, held in made:
        assert not np.intersect1d(train, held).size
        assert RARE[held].sum() == pytest.approx(250 / 7, abs=1)


@pytest.mark.parametrize("seed", range(3))
def test_duplicate_rows_fall_on_both_sides(seed):
    # Cells of a table of categories are dealt like any other rows.
    cells = np.random.RandomState(seed).randint(4, size=600)
    target = np.random.RandomState(seed).randint(2, size=600).astype(float)
    train, held = hold_out(target, None, 0.1, seed)
    assert set(cells[held]) == set(cells[train]) == set(range(4))


def test_fit_with_the_monitor_of_mlp_classifier_stops_where_it_stops():
    theirs = MLPClassifier(early_stopping=True, max_iter=40, random_state=3)
    ours = TorchMLPClassifier(early_stopping=True, monitor="accuracy", max_iter=40, random_state=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(X, Y)
        ours.fit(X, Y)
    assert ours.n_iter_ == theirs.n_iter_
    assert_allclose(ours.validation_scores_, theirs.validation_scores_, atol=1e-12)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=0.01)


def test_hold_out_with_another_seed_takes_other_rows(held_out):
    for seed in (0, 1, 0):
        TorchMLPClassifier((4,), max_iter=1, n_iter_no_change=1, random_state=seed).fit(X, Y)
    first, second, again = (set(each.held_out) for each in held_out)
    assert len(first) == 150
    assert len(first & second) < 50
    assert first == again


def test_sparse_rows_are_held_out_like_dense_ones(held_out):
    model = TorchMLPClassifier((4,), max_iter=1, n_iter_no_change=1, random_state=0)
    model.fit(X, Y)
    model.fit(sparse.csr_array(X), Y)
    assert_array_equal(held_out[0].held_out, held_out[1].held_out)


def test_rows_without_weight_are_never_held_out(held_out):
    weight = (np.arange(1500) % 3 > 0).astype(float)
    for n_members in (1, 3):
        TorchMLPClassifier(
            (4,), max_iter=1, early_stopping=True, n_iter_no_change=1, n_members=n_members
        ).fit(X, Y, weight)
    assert len(held_out) == 4
    for fold in held_out:
        assert weight[fold.train].all()
        assert weight[fold.held_out].all()


@pytest.mark.parametrize("seed", range(3))
def test_table_of_categories_is_learned_as_well_as_by_mlp_classifier(seed):
    random = np.random.RandomState(seed)
    table = random.randint(4, size=(23_000, 3))
    logit = random.normal(size=(3, 4))[np.arange(3), table].sum(axis=1)
    y = random.uniform(size=len(table)) < 1 / (1 + np.exp(-logit))
    columns = OneHotEncoder(sparse_output=False).fit_transform(table)
    train, test = slice(3000), slice(3000, None)

    def loss(model):
        return log_loss(y[test], model.fit(columns[train], y[train]).predict_proba(columns[test]))

    theirs = loss(MLPClassifier(early_stopping=True, random_state=seed))
    many = TorchMLPClassifier(n_members=8, random_state=seed)
    assert loss(TorchMLPClassifier(random_state=seed)) < theirs + 0.005
    assert loss(many) < theirs + 0.005
    assert many.oof_loss_ == pytest.approx(loss(many), abs=0.02)


# -- groups -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_hold_out_with_groups_holds_out_a_share_of_whole_groups(fraction):
    groups = np.random.RandomState(0).randint(200, size=1000)
    train, held = hold_out(RARE, groups, fraction, 0)
    assert not set(groups[train]) & set(groups[held])
    assert len(held) == pytest.approx(fraction * 1000, rel=0.3)
    assert RARE[held].mean() == pytest.approx(0.25, abs=0.1)


def test_folds_with_groups_hold_out_whole_groups():
    groups = np.random.RandomState(0).randint(40, size=1000)
    made = folds(RARE, groups, 5, 0)
    assert_array_equal(np.sort(np.concatenate([held for _, held in made])), np.arange(1000))
    for train, held in made:
        assert not set(groups[train]) & set(groups[held])
        assert 100 < len(held) < 300


def test_groups_of_one_row_are_rows():
    assert count_units(RARE, np.arange(1000)) == count_units(RARE, None) == (750, 250)
    for own, alone in zip(folds(RARE, np.arange(1000), 4, 0), folds(RARE, None, 4, 0), strict=True):
        assert_array_equal(own[1], alone[1])


@pytest.mark.parametrize(
    ("model", "n_splits"),
    [
        (TorchMLPClassifier((4,), max_iter=2), 1),
        (TorchMLPClassifier((4,), max_iter=2, n_members=3), 3),
        (TorchMLPClassifier((4,), max_iter=2, early_stopping=False, threshold="f1"), 5),
        (TorchLogisticClassifier(threshold="f1"), 5),
        (TorchLogisticClassifier(early_stopping=True), 1),
        (TorchLogisticClassifier(solver="adam", max_iter=2, early_stopping=True), 1),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fit_keeps_groups_together(model, n_splits, held_out):
    names = np.array([f"patient {i}" for i in GROUPS])
    model.fit(X, Y, groups=names)
    assert len(held_out) == n_splits
    for fold in held_out:
        assert not set(names[fold.train]) & set(names[fold.held_out])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_search_passes_groups_to_the_classifier(held_out):
    model = make_pipeline(StandardScaler(), TorchMLPClassifier((4,), max_iter=2, random_state=0))
    grid = {"torchmlpclassifier__alpha": [0.1, 1.0]}
    search = VectorizedGridSearchCV(model, grid, cv=3, refit=False)
    search.fit(X, Y, torchmlpclassifier__groups=GROUPS)
    assert search.cv_results_["fit_mode"].tolist() == ["batched", "batched"]
    assert len(held_out) == 3  # one for both candidates of a split
    folds_ = [train for train, _ in search._checked_cv_orig.split(X, Y)]
    for fold, rows in zip(held_out, folds_, strict=True):
        assert not set(GROUPS[rows][fold.train]) & set(GROUPS[rows][fold.held_out])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_groups_are_routed_as_metadata(held_out):
    model = TorchMLPClassifier((4,), max_iter=2, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(groups=True)
        cross_validate(model, X, Y, cv=3, params={"groups": GROUPS})
    assert len(held_out) == 3


def test_groups_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"^groups must have one entry for each row, 1500, got 9"):
        TorchMLPClassifier().fit(X, Y, groups=np.arange(9))


def test_groups_that_cannot_be_sorted_are_refused():
    with pytest.raises(ValueError, match=r"^groups must be of one type that can be sorted"):
        TorchMLPClassifier().fit(X, Y, groups=np.array(["a", 1] * 750, dtype=object))


def test_groups_with_missing_values_are_refused():
    with pytest.raises(ValueError, match=r"groups contains NaN"):
        TorchMLPClassifier().fit(X, Y, groups=np.where(np.arange(1500) == 3, np.nan, 1.0))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (3, r"^groups must be an array with one entry for each row, got 3"),
        (sparse.csr_array(np.ones((1500, 1))), r"^groups must be .* got a sparse matrix"),
        ([(i, 1) for i in range(1500)], r"^groups must have one entry .* got shape \(1500, 2\)"),
        (iter(range(1500)), r"^groups must be an array, .* Make a list of it"),
        (
            np.array(["a", None] * 750, dtype=object),
            r"^groups must hold a group .* got None in row 1",
        ),
        (
            np.array(["NaT"] * 1500, dtype="M8[D]"),
            r"^groups must hold a group .* got NaT in row 0",
        ),
    ],
    ids=["number", "sparse", "pairs", "iterator", "None", "NaT"],
)
def test_groups_that_are_invalid_are_named_in_the_message(groups, message):
    with pytest.raises(ValueError, match=message):
        TorchMLPClassifier().fit(X, Y, groups=groups)


def test_groups_in_a_column_or_a_tensor_are_groups(held_out):
    for groups in (GROUPS, GROUPS[:, None], torch.as_tensor(GROUPS % 200).bfloat16()):
        TorchLogisticClassifier(early_stopping=True, random_state=0).fit(X, Y, groups=groups)
    assert_array_equal(held_out[0].held_out, held_out[1].held_out)


def test_groups_that_leave_one_class_are_refused():
    # All positive rows are in one group, which is held out with one of the two folds.
    target = np.repeat([0.0, 1.0, 0.0], 10)
    with pytest.raises(ValueError, match="groups must leave both classes in the training set"):
        folds(target, np.repeat([0, 1, 2], 10), 3, 0)


def test_ensemble_with_too_few_groups_has_fewer_members():
    with pytest.warns(UserWarning, match=r"groups with a row of the rarer class, 2, got 5"):
        model = TorchMLPClassifier((4,), n_members=5, max_iter=2, n_iter_no_change=2).fit(
            X, Y, groups=np.arange(1500) % 2
        )
    assert model.n_members_ == 2


def test_threshold_that_has_too_few_groups_says_how_many():
    pattern = "two groups with a row of each class.* got 1 of the rarer class"
    with pytest.warns(UserWarning, match=pattern):
        model = TorchLogisticClassifier(threshold="f1").fit(X, Y, groups=np.zeros(1500))
    assert model.threshold_ == 0.5
