"""The splits of a search: numbers, splitters, iterables and groups."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, PredefinedSplit, ShuffleSplit, StratifiedKFold

from tests.model_selection.searches import (
    BOTH,
    FOLDS,
    LOGISTIC,
    MLP,
    NOT_CONVERGED,
    PENALTIES,
    STRENGTHS,
    assert_as_by_hand,
    negative_log_loss,
    scores_of,
)

pytestmark = NOT_CONVERGED


def test_cv_number_splits_by_class_without_shuffling(search_for, table):
    number = search_for(LOGISTIC, STRENGTHS, cv=3, scoring="neg_log_loss").fit(*table)
    splitter = search_for(LOGISTIC, STRENGTHS, cv=FOLDS, scoring="neg_log_loss").fit(*table)

    assert number.n_splits_ == 3
    np.testing.assert_array_equal(scores_of(number, {"C": 1.0}), scores_of(splitter, {"C": 1.0}))


def test_cv_by_default_is_of_five_folds(search_for, table):
    assert search_for(LOGISTIC, STRENGTHS, cv=None).fit(*table).n_splits_ == 5


@pytest.mark.parametrize(
    ("model", "grid", "kind"),
    [(LOGISTIC, STRENGTHS, iter), (MLP, PENALTIES, list)],
    ids=["generator", "list"],
)
def test_cv_iterable_of_rows_is_used(model, grid, kind, search_for, table):
    folds = list(ShuffleSplit(2, test_size=0.3, random_state=0).split(*table))
    search = search_for(model, grid, cv=kind(folds), scoring=negative_log_loss).fit(*table)

    assert search.n_splits_ == 2
    assert_as_by_hand(search, model, *table, folds=folds)


def test_cv_iterable_of_masks_is_used(search_for, table):
    folds = list(FOLDS.split(*table))
    masks = [tuple(np.isin(np.arange(150), rows) for rows in fold) for fold in folds]
    by_mask = search_for(LOGISTIC, STRENGTHS, cv=masks, scoring="neg_log_loss").fit(*table)
    by_rows = search_for(LOGISTIC, STRENGTHS, cv=folds, scoring="neg_log_loss").fit(*table)

    np.testing.assert_array_equal(
        by_mask.cv_results_["mean_test_score"], by_rows.cv_results_["mean_test_score"]
    )


@BOTH
def test_cv_of_unequal_parts_scores_each_part(model, grid, search_for, table):
    sizes = [(40, 10), (77, 50), (120, 3), (149, 1)]
    order = np.random.RandomState(0).permutation(150)
    folds = [(order[:n_train], order[150 - n_test :]) for n_train, n_test in sizes]
    search = search_for(model, grid, cv=folds, scoring=negative_log_loss).fit(*table)

    assert_as_by_hand(search, model, *table, folds=folds)


@BOTH
def test_cv_that_draws_a_row_twice_trains_on_it_twice(model, grid, search_for, table):
    random = np.random.RandomState(0)
    folds = [(random.randint(0, 100, 100), np.arange(100, 150)) for _ in range(2)]
    search = search_for(model, grid, cv=folds, scoring=negative_log_loss).fit(*table)

    assert_as_by_hand(search, model, *table, folds=folds)


def test_cv_of_one_split_is_enough(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, cv=PredefinedSplit(np.repeat([-1, 0], [100, 50])))
    search.fit(*table)

    assert search.n_splits_ == 1
    assert search.cv_results_["std_test_score"].tolist() == [0, 0]
    assert search.best_score_ > 0.5


def test_cv_that_shuffles_anew_gives_every_candidate_the_same_folds(search_for, table):
    search = search_for(
        LOGISTIC, {"C": [1.0, 1.0]}, cv=ShuffleSplit(3, test_size=0.5), scoring="neg_log_loss"
    ).fit(*table)

    for fold in range(3):
        one, other = search.cv_results_[f"split{fold}_test_score"]
        assert one == pytest.approx(other, abs=1e-12)


@BOTH
def test_groups_are_kept_together(model, grid, search_for, table):
    X, y = table
    groups = np.arange(150) % 7
    search = search_for(model, grid, cv=GroupKFold(3), scoring=negative_log_loss)
    search.fit(X, y, groups=groups)
    folds = list(GroupKFold(3).split(X, y, groups))

    assert_as_by_hand(search, model, X, y, folds=folds)


def test_groups_that_are_missing_raise(search_for, table):
    with pytest.raises(ValueError, match="The 'groups' parameter should not be None"):
        search_for(LOGISTIC, STRENGTHS, cv=GroupKFold(3)).fit(*table)


def test_cv_whose_count_is_wrong_raises(search_for, table):
    class Miscounted(StratifiedKFold):
        def get_n_splits(self, X=None, y=None, groups=None):
            return self.n_splits + 1

    with pytest.raises(ValueError, match=r"inconsistent results\. Expected 4 splits, got 3"):
        search_for(LOGISTIC, STRENGTHS, cv=Miscounted(3)).fit(*table)


def test_cv_without_a_split_raises(search_for, table):
    with pytest.raises(ValueError, match="No fits were performed"):
        search_for(LOGISTIC, STRENGTHS, cv=[]).fit(*table)


def test_cv_with_more_folds_than_rows_of_a_class_raises(search_for, table):
    X, y = table
    rows = np.r_[np.flatnonzero(y == 0)[:20], np.flatnonzero(y == 1)[:20]]

    with pytest.raises(ValueError, match="n_splits=30 cannot be greater than"):
        search_for(LOGISTIC, STRENGTHS, cv=30).fit(X[rows], y[rows])
