"""Parsing of the parameter threshold, its error messages, and the metrics of labels."""

import math
import pickle
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import fbeta_score, get_scorer, get_scorer_names, make_scorer

from skbinary.thresholds.objectives import (
    CallableMetric,
    ConfusionCounts,
    Constraint,
    Costs,
    Metric,
    parse_threshold,
)

EXAMPLES = "{'recall': 0.9} or {'cost_fp': 1, 'cost_fn': 5}"
KEYS = (
    "'recall', 'precision', 'specificity', 'alert_rate', 'cost_fp', 'cost_fn', 'cost_tp', 'cost_tn'"
)


def compares_labels(name):
    scorer = get_scorer(name)
    return (
        scorer._response_method == "predict"
        and scorer._score_func.__module__ == "sklearn.metrics._classification"
        and scorer._kwargs.get("average") != "samples"  # for multilabel targets
    )


LABEL_SCORERS = [name for name in get_scorer_names() if compares_labels(name)]
OTHER_SCORERS = [name for name in get_scorer_names() if not compares_labels(name)]


@pytest.mark.parametrize("number", [0, 1, 0.3, np.float32(0.5), np.int64(1), Fraction(1, 4)])
def test_parse_threshold_number_returns_a_float(number):
    parsed = parse_threshold(number)
    assert type(parsed) is float
    assert parsed == number


@pytest.mark.parametrize("name", LABEL_SCORERS)
def test_parse_threshold_scorer_of_labels_returns_a_metric(name):
    assert parse_threshold(name) == Metric(name)


@pytest.mark.parametrize("name", OTHER_SCORERS)
def test_parse_threshold_other_scorer_is_an_error(name):
    with pytest.raises(
        ValueError, match=f"^threshold must be the name of a metric .* got '{name}'"
    ):
        parse_threshold(name)


def test_parse_threshold_function_returns_a_callable_metric():
    def metric(y_true, y_pred, *, sample_weight=None):
        return 0.0

    assert parse_threshold(metric) == CallableMetric(metric)
    assert parse_threshold(metric).name == "metric"
    assert "fbeta_score" in parse_threshold(partial(fbeta_score, beta=2)).name


@pytest.mark.parametrize(
    ("given", "expected", "name"),
    [
        ({"recall": 0.9}, Constraint("recall", 0.9), "recall >= 0.9"),
        ({"precision": 1}, Constraint("precision", 1.0), "precision >= 1.0"),
        ({"specificity": 0}, Constraint("specificity", 0.0), "specificity >= 0.0"),
        ({"alert_rate": 0.05}, Constraint("alert_rate", 0.05), "alert_rate <= 0.05"),
        ({"cost_fp": 1, "cost_fn": 5}, Costs(1.0, 5.0, 0.0, 0.0), "mean cost"),
        (
            {"cost_tn": -1, "cost_fn": 5, "cost_tp": np.float32(2), "cost_fp": 1},
            Costs(fp=1.0, fn=5.0, tp=2.0, tn=-1.0),
            "mean cost",
        ),
        ("f1", Metric("f1"), "f1"),
    ],
)
def test_parse_threshold_accepted_value_returns_an_objective(given, expected, name):
    parsed = parse_threshold(given)
    assert parsed == expected
    assert parsed.name == name
    assert pickle.loads(pickle.dumps(parsed)) == parsed


SCORER = make_scorer(fbeta_score, beta=2)
MEANING = (
    "Rows whose probability is at least the threshold are predicted positive; the default is 0.5."
)
ANY_FORM = (
    "threshold must be a number in [0, 1], the name of a metric of labels such as 'f1', a function "
    f"of the true and the predicted labels, or a dict such as {EXAMPLES}, got "
)
IN_RANGE = "threshold must be a number in [0, 1], got "
ONE_METRIC = "threshold must be a number in [0, 1] or the name of a metric of labels, got "
ONE_OR_COSTS = "threshold must contain one constraint or costs, got "
BAD = {
    "none": (None, f"{ANY_FORM}None. {MEANING}"),
    "bool": (True, f"{ANY_FORM}True. {MEANING}"),
    "list": ([0.5], f"{ANY_FORM}[0.5]. {MEANING}"),
    "complex": (1j, f"{ANY_FORM}1j. {MEANING}"),
    "above": (1.5, f"{IN_RANGE}1.5. {MEANING}"),
    "below": (-1, f"{IN_RANGE}-1. {MEANING}"),
    "nan": (math.nan, f"{IN_RANGE}nan. {MEANING}"),
    "huge": (10**400, f"{IN_RANGE}{10**400}. {MEANING}"),
    "scorer": (
        SCORER,
        "threshold must be a function of the true and the predicted labels, got the scorer "
        f"{SCORER!r}. Pass the metric function instead of the scorer.",
    ),
    "similar name": ("f2", f"{ONE_METRIC}'f2'. Did you mean 'f1'?"),
    "capitals": (
        "Balanced_Accuracy",
        f"{ONE_METRIC}'Balanced_Accuracy'. Did you mean 'balanced_accuracy'?",
    ),
    "probabilities": (
        "roc_auc",
        "threshold must be the name of a metric of labels, got 'roc_auc', a metric of "
        "probabilities, which is the same for every threshold. Use 'f1', 'balanced_accuracy' or "
        "another metric of labels.",
    ),
    "regression": (
        "r2",
        "threshold must be the name of a metric of the labels of two classes, got 'r2'. Use 'f1', "
        "'balanced_accuracy' or another one, or pass a function of the true and the predicted "
        "labels.",
    ),
    "empty": ({}, f"{ONE_OR_COSTS}{{}}. Use a dict such as {EXAMPLES}."),
    "misspelt key": ({"recal": 0.9}, f"{ONE_OR_COSTS}the key 'recal'. Did you mean 'recall'?"),
    "unknown key": ({7: 0.9}, f"{ONE_OR_COSTS}the key 7. Use one of {KEYS}."),
    "two constraints": (
        {"recall": 0.9, "precision": 0.5},
        "threshold must contain one constraint, got {'recall': 0.9, 'precision': 0.5}. Keep one of "
        "them; the recall is maximized under it, or the precision if the recall is constrained.",
    ),
    "mixed": (
        {"recall": 0.9, "cost_fp": 1, "cost_fn": 1},
        "threshold must contain either a constraint or costs, "
        "got {'recall': 0.9, 'cost_fp': 1, 'cost_fn': 1}. Remove one of them.",
    ),
    "no cost_fp": (
        {"cost_fn": 1},
        "threshold must contain both 'cost_fp' and 'cost_fn', got {'cost_fn': 1}. Add 'cost_fp', "
        "the cost of a false positive.",
    ),
    "no cost_fn": (
        {"cost_fp": 1, "cost_tp": 2},
        "threshold must contain both 'cost_fp' and 'cost_fn', got {'cost_fp': 1, 'cost_tp': 2}. "
        "Add 'cost_fn', the cost of a false negative.",
    ),
    "equal costs": (
        {"cost_fp": 1, "cost_fn": 2, "cost_tp": 2, "cost_tn": 1},
        "threshold must contain costs that depend on the prediction, "
        "got {'cost_fp': 1, 'cost_fn': 2, 'cost_tp': 2, 'cost_tn': 1}, with which every threshold "
        "costs the same. Make errors cost more than correct predictions.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_parse_threshold_bad_value_is_an_error(case):
    given, message = BAD[case]
    with pytest.raises(ValueError, match=r"^threshold") as caught:
        parse_threshold(given)
    assert str(caught.value) == message


def test_parse_threshold_unknown_name_lists_all_metrics():
    with pytest.raises(ValueError, match="Use one of 'accuracy', 'balanced_accuracy'") as caught:
        parse_threshold("zzz")
    assert all(repr(name) in str(caught.value) for name in LABEL_SCORERS)


@pytest.mark.parametrize(
    ("kind", "meaning"),
    [
        ("recall", "the fraction of positive rows that must be predicted positive"),
        ("precision", "the fraction of rows predicted positive that must be positive"),
        ("specificity", "the fraction of negative rows that must be predicted negative"),
        ("alert_rate", "the fraction of all rows that may be predicted positive"),
    ],
)
@pytest.mark.parametrize("level", [1.2, -0.1, math.nan, True, "0.9", None])
def test_parse_threshold_bad_level_is_an_error(kind, meaning, level):
    with pytest.raises(ValueError, match=r"^threshold") as caught:
        parse_threshold({kind: level})
    assert str(caught.value) == (
        f"threshold[{kind!r}] must be a number in [0, 1], got {level!r}. It is {meaning}."
    )


@pytest.mark.parametrize("cost", [math.inf, math.nan, True, "1", None])
@pytest.mark.parametrize("key", ["cost_fp", "cost_tn"])
def test_parse_threshold_bad_cost_is_an_error(key, cost):
    with pytest.raises(ValueError, match=r"^threshold") as caught:
        parse_threshold({"cost_fp": 1, "cost_fn": 1} | {key: cost})
    assert str(caught.value) == (
        f"threshold[{key!r}] must be a finite number, got {cost!r}. It is the cost of one such "
        "row; a gain is a negative cost."
    )


@pytest.mark.parametrize("name", LABEL_SCORERS)
def test_metric_score_of_2d_counts_equals_each_row(name):
    generator = np.random.default_rng(0)
    counts = ConfusionCounts(*generator.integers(0, 4, size=(4, 5, 6)).astype(float))
    batched = Metric(name).score(counts)
    assert batched.shape == (5, 6)
    for i in range(5):
        np.testing.assert_array_equal(Metric(name).score(counts[i]), batched[i])


def test_metric_score_without_predicted_positives_is_zero():
    counts = ConfusionCounts(*np.array([[5.0], [0.0], [3.0], [0.0]]))
    for name in ("f1", "precision", "recall", "jaccard", "matthews_corrcoef"):
        assert Metric(name).score(counts).tolist() == [0.0]
