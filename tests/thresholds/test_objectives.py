"""What a threshold may be, and one sentence for whatever it may not be."""

import math
import pickle
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import fbeta_score, get_scorer, get_scorer_names, make_scorer

from skbinary.thresholds.objectives import (
    CallableMetric,
    Constraint,
    Costs,
    Counts,
    Metric,
    parse_threshold,
)

EXAMPLES = "{'recall': 0.9} or {'cost_fp': 1, 'cost_fn': 5}"
KEYS = (
    "'recall', 'precision', 'specificity', 'alert_rate', 'cost_fp', 'cost_fn', 'cost_tp', 'cost_tn'"
)


def judges_labels(name):
    scorer = get_scorer(name)
    return (
        scorer._response_method == "predict"
        and scorer._score_func.__module__ == "sklearn.metrics._classification"
        and scorer._kwargs.get("average") != "samples"  # of several labels a row
    )


LABEL_SCORERS = [name for name in get_scorer_names() if judges_labels(name)]
OTHER_SCORERS = [name for name in get_scorer_names() if not judges_labels(name)]


@pytest.mark.parametrize("number", [0, 1, 0.3, np.float32(0.5), np.int64(1), Fraction(1, 4)])
def test_parse_number_gives_a_float(number):
    parsed = parse_threshold(number)
    assert type(parsed) is float
    assert parsed == number


@pytest.mark.parametrize("name", LABEL_SCORERS)
def test_parse_any_scorer_of_labels_gives_a_metric(name):
    assert parse_threshold(name) == Metric(name)


@pytest.mark.parametrize("name", OTHER_SCORERS)
def test_parse_any_other_scorer_is_refused(name):
    with pytest.raises(ValueError, match=f"^threshold must name a score of .* got '{name}'"):
        parse_threshold(name)


def test_parse_callable_gives_it_back():
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
def test_parse_accepted_form_gives_an_objective(given, expected, name):
    parsed = parse_threshold(given)
    assert parsed == expected
    assert parsed.name == name
    assert pickle.loads(pickle.dumps(parsed)) == parsed


SCORER = make_scorer(fbeta_score, beta=2)
ANY_FORM = (
    "threshold must be a number in [0, 1], the name of a score of labels such as 'f1', a function "
    "of the true and the predicted labels, or a dict such as EXAMPLES, got {}. As a "
    "number it is the probability from which a row counts as positive; 0.5 is the usual one."
).replace("EXAMPLES", EXAMPLES.replace("{", "{{").replace("}", "}}"))
OUTSIDE = (
    "threshold must be a number in [0, 1], got {}. It is the probability from which a row "
    "counts as positive; 0.5 is the usual one."
)
ONE_OR_COSTS = "threshold must hold one constraint or the costs, got {}. "
BAD = {
    "none": (None, ANY_FORM.format("None")),
    "bool": (True, ANY_FORM.format("True")),
    "list": ([0.5], ANY_FORM.format("[0.5]")),
    "complex": (1j, ANY_FORM.format("1j")),
    "above": (1.5, OUTSIDE.format("1.5")),
    "below": (-1, OUTSIDE.format("-1")),
    "nan": (math.nan, OUTSIDE.format("nan")),
    "huge": (10**400, OUTSIDE.format(10**400)),
    "scorer": (
        SCORER,
        "threshold must be a function of the true and the predicted labels, "
        f"got {SCORER!r}. It asks an estimator for labels of its own; give the function "
        "in it.",
    ),
    "typing error": (
        "f2",
        "threshold must be a number in [0, 1] or the name of a score of labels, got 'f2'. "
        "Did you mean 'f1'?",
    ),
    "capitals": (
        "Balanced_Accuracy",
        "threshold must be a number in [0, 1] or the name of a score of labels, "
        "got 'Balanced_Accuracy'. Did you mean 'balanced_accuracy'?",
    ),
    "probabilities": (
        "roc_auc",
        "threshold must name a score of labels, got 'roc_auc'. It judges the "
        "probabilities, so it is the same for every threshold; use 'f1', 'balanced_accuracy' or "
        "another score that judges labels.",
    ),
    "regression": (
        "r2",
        "threshold must name a score of the labels of two classes, got 'r2'. Use 'f1', "
        "'balanced_accuracy' or another, or give a function of the true and the predicted labels.",
    ),
    "empty": ({}, ONE_OR_COSTS.format("{}") + f"Use a dict such as {EXAMPLES}."),
    "misspelt key": (
        {"recal": 0.9},
        ONE_OR_COSTS.format("the key 'recal'") + "Did you mean 'recall'?",
    ),
    "unknown key": ({7: 0.9}, ONE_OR_COSTS.format("the key 7") + f"Use one of {KEYS}."),
    "two constraints": (
        {"recall": 0.9, "precision": 0.5},
        "threshold must hold one constraint, got {'recall': 0.9, 'precision': 0.5}. Keep "
        "one of them; under it the recall is maximised, or the precision under one of the recall.",
    ),
    "mixed": (
        {"recall": 0.9, "cost_fp": 1, "cost_fn": 1},
        "threshold must hold a constraint or costs, not both, "
        "got {'recall': 0.9, 'cost_fp': 1, 'cost_fn': 1}. Leave one of them out.",
    ),
    "no cost_fp": (
        {"cost_fn": 1},
        "threshold must hold both 'cost_fp' and 'cost_fn', got {'cost_fn': 1}. Add "
        "'cost_fp', the cost of a negative row that is flagged.",
    ),
    "no cost_fn": (
        {"cost_fp": 1, "cost_tp": 2},
        "threshold must hold both 'cost_fp' and 'cost_fn', got {'cost_fp': 1, 'cost_tp': 2}"
        ". Add 'cost_fn', the cost of a positive row that is not.",
    ),
    "indifferent": (
        {"cost_fp": 0, "cost_fn": 0},
        "threshold must hold costs that depend on the decision, "
        "got {'cost_fp': 0, 'cost_fn': 0}. Flagged or not, a row costs the same; an error "
        "should cost more than what is right.",
    ),
    "indifferent, all four": (
        {"cost_fp": 1, "cost_fn": 2, "cost_tp": 2, "cost_tn": 1},
        "threshold must hold costs that depend on the decision, "
        "got {'cost_fp': 1, 'cost_fn': 2, 'cost_tp': 2, 'cost_tn': 1}. Flagged or not, a "
        "row costs the same; an error should cost more than what is right.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_parse_bad_threshold_is_refused_in_one_sentence(case):
    given, sentence = BAD[case]
    with pytest.raises(ValueError, match=r"^threshold must ") as caught:
        parse_threshold(given)
    assert str(caught.value) == sentence


def test_parse_name_like_no_other_lists_them_all():
    with pytest.raises(ValueError, match="Use one of 'accuracy', 'balanced_accuracy'") as caught:
        parse_threshold("zzz")
    assert all(repr(name) in str(caught.value) for name in LABEL_SCORERS)


@pytest.mark.parametrize(
    ("kind", "meaning"),
    [
        ("recall", "the share of the positive rows that must be flagged"),
        ("precision", "the share of the flagged rows that must be positive"),
        ("specificity", "the share of the negative rows to be left unflagged"),
        ("alert_rate", "the share of all rows that may be flagged"),
    ],
)
@pytest.mark.parametrize("level", [1.2, -0.1, math.nan, True, "0.9", None])
def test_parse_bad_level_is_refused(kind, meaning, level):
    with pytest.raises(ValueError, match=r"^threshold must ") as caught:
        parse_threshold({kind: level})
    assert str(caught.value) == (
        f"threshold must hold a number in [0, 1] for {kind!r}, got {level!r}. It is {meaning}."
    )


@pytest.mark.parametrize("cost", [math.inf, math.nan, True, "1", None])
@pytest.mark.parametrize("key", ["cost_fp", "cost_tn"])
def test_parse_bad_cost_is_refused(key, cost):
    with pytest.raises(ValueError, match=r"^threshold must ") as caught:
        parse_threshold({"cost_fp": 1, "cost_fn": 1} | {key: cost})
    assert str(caught.value) == (
        f"threshold must hold a finite number for {key!r}, got {cost!r}. It is what one "
        "such row costs; a gain is a negative cost."
    )


@pytest.mark.parametrize("name", LABEL_SCORERS)
def test_score_counts_of_any_shape_equals_single_cuts(name):
    generator = np.random.default_rng(0)
    counts = Counts(*generator.integers(0, 4, size=(4, 5, 6)).astype(float))
    together = Metric(name).score(counts)
    assert together.shape == (5, 6)
    for i in range(5):
        np.testing.assert_array_equal(Metric(name).score(counts[i]), together[i])


def test_score_nothing_flagged_is_zero():
    counts = Counts(*np.array([[5.0], [0.0], [3.0], [0.0]]))
    for name in ("f1", "precision", "recall", "jaccard", "matthews_corrcoef"):
        assert Metric(name).score(counts).tolist() == [0.0]
