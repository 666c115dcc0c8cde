"""Parallel searches, and what a search prints."""

import re

import joblib
import numpy as np
import pytest

from tests.model_selection.searches import (
    LOGISTIC,
    MLP,
    NOT_CONVERGED,
    PENALTIES,
    STRENGTHS,
    scores_of,
)

pytestmark = NOT_CONVERGED


# Threads, since every process would import torch for seconds.
@pytest.mark.parametrize(
    ("model", "grid", "pre_dispatch"),
    [(LOGISTIC, STRENGTHS, "2*n_jobs"), (MLP, PENALTIES, "all"), (MLP, PENALTIES, 1)],
    ids=["logistic", "mlp", "mlp-1"],
)
def test_two_jobs_give_the_scores_of_one(model, grid, pre_dispatch, search_for, table):
    one = search_for(model, grid, scoring="neg_log_loss").fit(*table)
    with joblib.parallel_config(backend="threading"):
        two = search_for(
            model, grid, scoring="neg_log_loss", n_jobs=2, pre_dispatch=pre_dispatch
        ).fit(*table)

    np.testing.assert_allclose(
        two.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"], rtol=0, atol=1e-6
    )


def test_verbose_zero_prints_nothing(search_for, table, capfd):
    search_for(LOGISTIC, STRENGTHS, verbose=0).fit(*table)

    assert capfd.readouterr() == ("", "")


def test_verbose_one_prints_how_many_fits(search_for, table, capsys):
    search_for(LOGISTIC, STRENGTHS, verbose=1).fit(*table)

    line = "Fitting 3 folds for each of 2 candidates, totalling 6 fits"
    assert line in capsys.readouterr().out.splitlines()


def test_verbose_two_prints_a_line_for_each_fit(search_for, table, capsys):
    search_for(LOGISTIC, STRENGTHS, verbose=2).fit(*table)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[CV] END ")]

    assert len(lines) == 6
    assert sum("C=0.001; total time=" in line for line in lines) == 3


def test_verbose_three_prints_fold_and_score_of_each_fit(search_for, table, capsys):
    name, values = "C", STRENGTHS["C"]
    search = search_for(LOGISTIC, STRENGTHS, verbose=3).fit(*table)
    lines = [line for line in capsys.readouterr().out.splitlines() if " END " in line]

    assert len(lines) == 6
    for value in values:
        for fold, score in enumerate(scores_of(search, {name: value}), start=1):
            pattern = rf"\[CV {fold}/3\] END \.*{name}={value};, score={score:.3f} total time="
            assert sum(bool(re.match(pattern, line)) for line in lines) == 1


def test_verbose_three_prints_train_scores_that_were_asked_for(search_for, table, capsys):
    search_for(LOGISTIC, STRENGTHS, verbose=3, return_train_score=True).fit(*table)

    found = re.findall(r"score=\(train=0\.\d{3}, test=0\.\d{3}\)", capsys.readouterr().out)
    assert len(found) == 6
