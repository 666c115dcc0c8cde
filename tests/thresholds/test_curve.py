"""Tuned thresholds and their curves, against brute force."""

import warnings

import numpy as np
import pytest
import sklearn
from scipy.special import expit
from sklearn.metrics import (
    f1_score,
    get_scorer,
    precision_recall_curve,
    precision_score,
    recall_score,
)

from skbinary.thresholds.curve import ThresholdData, choose_threshold
from skbinary.thresholds.objectives import Metric, parse_threshold

CLASSES = np.array(["no", "yes"])
METRICS = ["accuracy", "balanced_accuracy", "matthews_corrcoef"] + [
    f"{name}{average}"
    for name in ("f1", "precision", "recall", "jaccard")
    for average in ("", "_micro", "_macro", "_weighted")
]
CONSTRAINTS = ["recall", "precision", "specificity", "alert_rate"]
MAXIMIZED = {"recall": "precision"}  # the recall under all others
LEVELS = [0.0, 0.2, 0.5, 0.75, 0.9, 1.0]
COSTS = [
    {"cost_fp": 1, "cost_fn": 1},
    {"cost_fp": 1, "cost_fn": 7},
    {"cost_fp": 4, "cost_fn": 3, "cost_tp": 1},
    {"cost_fp": 2, "cost_fn": 1, "cost_tp": -5, "cost_tn": -0.5},
]
# Every metric once, every constraint five times, and costs.
SPECS = [*METRICS, *([*CONSTRAINTS] * 5), *COSTS]


def make_case(seed, n_rows=None):
    """Make few rows with many ties, often with weights of zero and probabilities of 0 and 1."""
    generator = np.random.default_rng(seed)
    n_rows = n_rows or int(generator.integers(5, 61))
    logit = generator.normal(size=n_rows).round(int(generator.integers(0, 3)))
    logit[generator.random(n_rows) < 0.05] = -800
    logit[generator.random(n_rows) < 0.05] = 800
    target = (generator.random(n_rows) < expit(logit)).astype(float)
    target[:2] = 0, 1
    weight = None
    if generator.random() < 0.5:
        # Multiples of a half, whose sums are exact in any order.
        weight = generator.choice([0, 0.5, 1, 2.5], size=n_rows)
        weight[:2] = 1
    return ThresholdData(logit, target, weight, CLASSES)


def make_calibrated(n_rows, seed=0):
    generator = np.random.default_rng(seed)
    logit = 1.5 * generator.normal(size=n_rows)
    target = (generator.random(n_rows) < expit(logit)).astype(float)
    return ThresholdData(logit, target, None, CLASSES)


def make_rows(logit, target, weight=None):
    weight = None if weight is None else np.array(weight, dtype=float)
    return ThresholdData(
        np.array(logit, dtype=float), np.array(target, dtype=float), weight, CLASSES
    )


def weights_of(threshold_data):
    n_rows = len(threshold_data.target)
    return np.ones(n_rows) if threshold_data.weight is None else threshold_data.weight


def find(threshold, threshold_data):
    return choose_threshold(parse_threshold(threshold), threshold_data)


def f1_of_labels(truth, labels, *, sample_weight=None):
    sample_weight = np.ones(len(truth)) if sample_weight is None else sample_weight
    positive, predicted_positive = truth == "yes", labels == "yes"
    total = sample_weight[positive].sum() + sample_weight[predicted_positive].sum()
    return 2 * sample_weight[positive & predicted_positive].sum() / total


def score_by_scikit_learn(name, truth, predicted, weight):
    scorer = get_scorer(name)
    extra = (
        {"zero_division": 0} if name.startswith(("f1", "precision", "recall", "jaccard")) else {}
    )
    with sklearn.config_context(skip_parameter_validation=True):
        return scorer._score_func(truth, predicted, sample_weight=weight, **scorer._kwargs, **extra)


def constrained_value(kind, truth, predicted, weight):
    if kind == "recall":
        return recall_score(truth, predicted, sample_weight=weight, zero_division=0)
    if kind == "precision":
        return precision_score(truth, predicted, sample_weight=weight, zero_division=0)
    if kind == "specificity":
        return recall_score(truth, predicted, sample_weight=weight, zero_division=0, pos_label=0)
    return np.average(predicted, weights=weight)


def mean_cost(costs, truth, predicted, weight):
    names = np.array([["cost_tn", "cost_fp"], ["cost_fn", "cost_tp"]])
    each = [costs.get(names[row], 0) for row in zip(truth, predicted, strict=True)]
    return np.average(each, weights=weight)


def criteria(spec, truth, predicted, weight):
    """Return the values to maximize, the most important first."""
    if isinstance(spec, str):
        return [score_by_scikit_learn(spec, truth, predicted, weight)]
    if "cost_fp" in spec:
        return [-mean_cost(spec, truth, predicted, weight)]
    ((kind, level),) = spec.items()
    sign = -1 if kind == "alert_rate" else 1
    value = sign * constrained_value(kind, truth, predicted, weight)
    main = constrained_value(MAXIMIZED.get(kind, "recall"), truth, predicted, weight)
    return [min(value - sign * level, 0), main, value]


def all_candidates(probability):
    values = sorted(set(probability.tolist()))
    thresholds = [(a + b) / 2 for a, b in zip([0.0, *values], [*values, 1.0], strict=True)]
    return thresholds[:-1] if values[-1] == 1 else thresholds


def best_by_brute_force(spec, threshold_data):
    weight = weights_of(threshold_data)
    kept = weight > 0
    probability, weight = expit(threshold_data.logit[kept]), weight[kept]
    truth = threshold_data.target[kept].astype(int)
    table = [
        (
            [
                *criteria(spec, truth, (probability >= threshold).astype(int), weight),
                -abs(threshold - 0.5),
            ],
            threshold,
        )
        for threshold in all_candidates(probability)
    ]
    for i in range(len(table[0][0])):
        top = max(row[i] for row, _ in table)
        table = [(row, threshold) for row, threshold in table if row[i] >= top - 1e-12]
    return table[0][1]


@pytest.mark.parametrize("seed", range(len(SPECS) * 2))
def test_choose_threshold_any_objective_equals_brute_force(seed):
    threshold_data = make_case(seed)
    spec = SPECS[seed % len(SPECS)]
    if spec in CONSTRAINTS and seed % len(SPECS) >= len(METRICS):
        spec = {spec: LEVELS[np.random.default_rng(seed).integers(len(LEVELS))]}
    assert find(spec, threshold_data).threshold == best_by_brute_force(spec, threshold_data)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_curve_any_metric_equals_scikit_learn(name, seed):
    threshold_data = make_case(seed, n_rows=25)
    curve = find(name, threshold_data).curve
    expected = [
        score_by_scikit_learn(
            name,
            threshold_data.target,
            (expit(threshold_data.logit) >= threshold).astype(float),
            threshold_data.weight,
        )
        for threshold in curve["threshold"]
    ]
    np.testing.assert_allclose(curve["score"], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_curve_counts_equal_those_of_the_predictions(seed):
    threshold_data = make_case(seed)
    curve = find("f1", threshold_data).curve
    weight = weights_of(threshold_data)
    predicted = expit(threshold_data.logit) >= curve["threshold"][:, None]
    positive = threshold_data.target == 1
    assert np.array_equal(curve["tp"], (predicted & positive) @ weight)
    assert np.array_equal(curve["fp"], (predicted & ~positive) @ weight)
    assert np.array_equal(curve["fn"], (~predicted & positive) @ weight)
    assert np.array_equal(curve["tn"], (~predicted & ~positive) @ weight)
    assert (np.diff(curve["threshold"]) > 0).all()


def test_curve_thresholds_lie_halfway_between_probabilities():
    choice = find("f1", make_rows([-np.log(3), 0, np.log(3)], [0, 1, 1]))
    assert choice.curve["threshold"] == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert list(choice.curve) == ["threshold", "tn", "fp", "fn", "tp", "score"]


def test_curve_neighbouring_floats_are_separated():
    logit = -0.9 + np.arange(60) * np.spacing(-0.9)
    probability = np.unique(expit(logit))
    assert np.isclose(np.diff(probability), np.spacing(probability[0]), rtol=1e-9).sum() > 5
    curve = find("f1", make_rows(logit, np.arange(60) % 2)).curve
    n_predicted_positive = (expit(logit) >= curve["threshold"][:, None]).sum(axis=1)
    assert len(n_predicted_positive) == len(probability) + 1
    assert np.array_equal(n_predicted_positive, curve["tp"] + curve["fp"])
    assert n_predicted_positive[-1] == 0


def test_curve_probability_one_is_predicted_positive_at_all_thresholds():
    curve = find("f1", make_rows([-np.inf, 0, np.inf], [0, 0, 1])).curve
    assert curve["threshold"].tolist() == [0.0, 0.25, 0.75]
    assert curve["tp"].tolist() == [1.0, 1.0, 1.0]
    assert curve["fp"].tolist() == [2.0, 1.0, 0.0]


def test_curve_uneven_weights_first_threshold_has_recall_one():
    weight = np.random.default_rng(0).random(1000)
    rows = make_calibrated(1000)
    curve = find({"recall": 1}, ThresholdData(rows.logit, rows.target, weight, CLASSES)).curve
    assert curve["fn"][0] == 0
    assert curve["tn"][0] == 0
    assert curve["tp"][-1] == 0


def make_rare(n_rows, n_positive):
    """Make rows of which few are positive, with weights that all differ."""
    generator = np.random.default_rng(0)
    target = (np.arange(n_rows) < n_positive).astype(float)
    logit = generator.normal(size=n_rows) - 4 + 3 * target
    return ThresholdData(logit, target, generator.uniform(0.5, 2, size=n_rows), CLASSES)


LONG = {
    "calibrated": make_calibrated(20_000),
    "rare": make_rare(20_000, 200),
    "bunched": make_rows(np.r_[np.linspace(-9, -8, 5000), 3, 5], np.r_[np.arange(5000) % 2, 1, 0]),
}
LONG_SPECS = ["f1", "accuracy", {"recall": 0.9}, {"alert_rate": 0.01}, COSTS[1]]
each_long = pytest.mark.parametrize("threshold_data", LONG.values(), ids=LONG)


@each_long
@pytest.mark.parametrize("spec", LONG_SPECS, ids=str)
def test_curve_long_keeps_its_ends_the_threshold_and_the_interval(threshold_data, spec):
    choice = find(spec, threshold_data)
    curve, (low, high) = choice.curve, choice.interval
    assert {len(column) for column in curve.values()} == {len(curve["threshold"])}
    assert 100 < len(curve["threshold"]) <= 1000
    assert (np.diff(curve["threshold"]) > 0).all()
    assert {choice.threshold, low, high} <= set(curve["threshold"].tolist())
    assert curve["fn"][0] == curve["tn"][0] == 0
    assert curve["tp"][-1] == curve["fp"][-1] == 0


@each_long
def test_curve_long_counts_equal_those_of_the_predictions(threshold_data):
    curve = find("f1", threshold_data).curve
    weight = weights_of(threshold_data)
    predicted = expit(threshold_data.logit) >= curve["threshold"][:, None]
    positive = threshold_data.target == 1
    np.testing.assert_allclose(curve["tp"], (predicted & positive) @ weight, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(curve["fp"], (predicted & ~positive) @ weight, rtol=1e-9, atol=1e-9)


@each_long
def test_choose_threshold_long_curve_compares_all_candidates(threshold_data):
    choice = find("f1", threshold_data)
    precision, recall, _ = precision_recall_curve(
        threshold_data.target, expit(threshold_data.logit), sample_weight=threshold_data.weight
    )
    every = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    predicted = expit(threshold_data.logit) >= choice.threshold
    value = f1_score(threshold_data.target, predicted, sample_weight=threshold_data.weight)
    assert value == pytest.approx(every.max(), rel=1e-12)
    assert choice.curve["score"].max() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", ["calibrated", "rare"])
def test_curve_long_keeps_its_shape(name):
    threshold_data = LONG[name]
    curve = find("f1", threshold_data).curve
    weight = weights_of(threshold_data)
    grid = np.linspace(0, 0.99, 400)
    predicted = expit(threshold_data.logit) >= grid[:, None]
    positive = threshold_data.target == 1
    tp, fp = (predicted & positive) @ weight, (predicted & ~positive) @ weight
    expected = {"tp": tp, "fp": fp, "score": 2 * tp / (tp + fp + weight[positive].sum())}
    for column, full in expected.items():
        error = np.abs(np.interp(grid, curve["threshold"], curve[column]) - full) / full.max()
        assert error.mean() < 0.003
        assert error.max() < 0.03  # with 200 positive rows a single one moves F1 by 0.02


def test_curve_of_a_thousand_thresholds_is_not_thinned():
    assert len(find("f1", make_calibrated(999)).curve["threshold"]) == 1000


def test_curve_constraint_not_met_still_has_a_score():
    curve = find({"recall": 0.99}, make_calibrated(300)).curve
    assert np.isfinite(curve["score"]).all()
    predicted_positive = curve["tp"] + curve["fp"]
    assert curve["score"][:-1] == pytest.approx(
        (curve["tp"] / np.maximum(predicted_positive, 1))[:-1]
    )


@pytest.mark.parametrize("level", [0.1, 0.5, 0.7, 0.9, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_choose_threshold_recall_constraint_is_met(level, seed):
    threshold_data = make_calibrated(200, seed)
    choice = find({"recall": level}, threshold_data)
    predicted = expit(threshold_data.logit) >= choice.threshold
    assert recall_score(threshold_data.target, predicted) >= level
    assert choice.warnings == ()


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({"cost_fp": 1, "cost_fn": 1}, 1 / 2),
        ({"cost_fp": 1, "cost_fn": 4}, 1 / 5),
        ({"cost_fp": 3, "cost_fn": 1, "cost_tn": 1, "cost_tp": -2}, 2 / 5),
    ],
)
def test_choose_threshold_costs_on_calibrated_rows_equals_the_closed_form(costs, expected):
    assert find(costs, make_calibrated(200_000)).threshold == pytest.approx(expected, abs=0.03)


def test_curve_costs_score_is_minus_the_mean_cost():
    threshold_data = make_case(3)
    costs = COSTS[3]
    curve = find(costs, threshold_data).curve
    truth, weight = threshold_data.target.astype(int), threshold_data.weight
    predicted = (expit(threshold_data.logit) >= curve["threshold"][:, None]).astype(int)
    expected = [-mean_cost(costs, truth, each, weight) for each in predicted]
    np.testing.assert_allclose(curve["score"], expected, rtol=1e-12)


def test_choose_threshold_equal_scores_takes_the_one_nearest_to_a_half():
    choice = find("accuracy", make_rows([-2, 0.1, 0.3, 2], [0, 1, 0, 1]))
    assert choice.curve["score"].tolist() == [0.5, 0.75, 0.5, 0.75, 0.5]
    assert choice.threshold == pytest.approx((expit(-2) + expit(0.1)) / 2)


def test_choose_threshold_equal_scores_at_equal_distance_takes_the_lower():
    choice = find("accuracy", make_rows([-1, 1], [1, 0]))
    assert choice.curve["score"].tolist() == [0.5, 0.0, 0.5]
    assert choice.threshold == pytest.approx(expit(-1) / 2)


def test_choose_threshold_scores_that_differ_by_rounding_are_tied():
    # In floating point 0.1 + 0.2 is not 0.3, but both thresholds are right on the same weight.
    rows = make_rows([0.1, 1, 2, 3], [1, 0, 0, 1], [0.3, 0.1, 0.2, 1])
    curve = find("accuracy", rows).curve
    assert curve["score"][0] == pytest.approx(curve["score"][3], rel=1e-15)
    mirrored = make_rows([0.1, 1, 2, 3], [1, 0, 0, 1], [0.3, 0.2, 0.1, 1])
    assert find("accuracy", rows).threshold == find("accuracy", mirrored).threshold


def test_choose_threshold_weight_two_equals_the_row_twice():
    once = make_case(5, n_rows=40)
    weight = np.random.default_rng(1).integers(1, 4, size=40)
    logit, target = np.repeat(once.logit, weight), np.repeat(once.target, weight)
    for spec in ("f1", {"alert_rate": 0.2}, {"cost_fp": 1, "cost_fn": 3}):
        weighted = find(spec, make_rows(once.logit, once.target, weight))
        repeated = find(spec, make_rows(logit, target))
        assert weighted.threshold == repeated.threshold
        np.testing.assert_array_equal(weighted.curve["score"], repeated.curve["score"])


def test_choose_threshold_rows_of_weight_zero_do_not_count():
    rows = make_case(7, n_rows=50)
    weight = (np.arange(50) % 3 > 0).astype(float)
    weight[:2] = 1
    kept = weight > 0
    for spec in ("f1", f1_of_labels):
        zero = find(spec, make_rows(rows.logit, rows.target, weight))
        without = find(spec, make_rows(rows.logit[kept], rows.target[kept], weight[kept]))
        assert zero.threshold == without.threshold
        assert zero.interval == without.interval
        assert zero.warnings == without.warnings


def test_choose_threshold_float32_logits_returns_float64():
    rows = make_calibrated(100)
    single = ThresholdData(
        rows.logit.astype(np.float32), rows.target.astype(np.float32), None, CLASSES
    )
    choice = find("f1", single)
    assert choice.curve["threshold"].dtype == np.float64
    assert len(choice.curve["threshold"]) == 101


@pytest.mark.parametrize(
    "spec", ["f1", {"recall": 0.8}, {"cost_fp": 1, "cost_fn": 2}, f1_of_labels]
)
def test_choose_threshold_twice_is_equal_and_keeps_the_global_random_state(spec):
    threshold_data = make_calibrated(60)
    np.random.seed(0)
    before = np.random.get_state()[1].tolist()
    first, second = find(spec, threshold_data), find(spec, threshold_data)
    assert np.random.get_state()[1].tolist() == before
    assert first.threshold == second.threshold
    assert first.interval == second.interval
    assert first.warnings == second.warnings


def test_choose_threshold_keeps_its_inputs_unchanged():
    threshold_data = make_case(11)
    before = [threshold_data.logit.copy(), threshold_data.target.copy()]
    for array in (threshold_data.logit, threshold_data.target):
        array.flags.writeable = False
    find("f1", threshold_data)
    np.testing.assert_array_equal(threshold_data.logit, before[0])
    np.testing.assert_array_equal(threshold_data.target, before[1])


@pytest.mark.parametrize("seed", range(20))
def test_interval_contains_the_threshold(seed):
    choice = find(SPECS[3 * seed % len(METRICS)], make_case(seed))
    low, high = choice.interval
    assert 0 <= low <= choice.threshold <= high <= 1
    assert {low, high} <= set(choice.curve["threshold"].tolist())


@pytest.mark.parametrize("spec", ["f1", {"recall": 0.9}, {"cost_fp": 1, "cost_fn": 2}])
def test_interval_more_rows_is_narrower(spec):
    widths = [np.ptp(find(spec, make_calibrated(n)).interval) for n in (100, 3_000, 100_000)]
    assert widths[0] > 2 * widths[1] > 4 * widths[2] > 0


def test_interval_equal_weights_change_nothing():
    rows = make_calibrated(2000)
    heavy = ThresholdData(rows.logit, rows.target, np.full(2000, 2.0**40), CLASSES)
    assert find("f1", heavy).interval == find("f1", rows).interval


def test_interval_class_weight_equals_a_cost():
    rows = make_calibrated(3000)
    heavy = ThresholdData(rows.logit, rows.target, 1 + 3 * rows.target, CLASSES)
    weighted = find({"cost_fp": 1, "cost_fn": 1}, heavy)
    costly = find({"cost_fp": 1, "cost_fn": 4}, rows)
    assert weighted.threshold == costly.threshold
    assert weighted.interval == costly.interval


def test_interval_uneven_weights_is_wider():
    rows = make_calibrated(3000)
    weight = np.random.default_rng(1).pareto(1.1, size=3000)
    uneven = ThresholdData(rows.logit, rows.target, weight, CLASSES)
    widths = [np.ptp(find({"recall": 0.9}, each).interval) for each in (rows, uneven)]
    assert widths[1] > 2 * widths[0]


def test_interval_covers_the_true_threshold_in_ninety_percent():
    """The threshold of recall 0.9 is known; nine intervals of ten should contain it."""
    known = find({"recall": 0.9}, make_calibrated(400_000, seed=99)).threshold
    intervals = [find({"recall": 0.9}, make_calibrated(400, seed)).interval for seed in range(100)]
    fraction = np.mean([low <= known <= high for low, high in intervals])
    assert 0.8 <= fraction <= 0.99


def test_warning_unreachable_precision_names_the_best_one():
    rows = make_rows([-1, 0, 1, 2] * 12, ([0, 1, 1, 0] * 12))
    choice = find({"precision": 0.99}, rows)
    assert choice.warnings == (
        "The objective precision >= 0.99 must be reachable on the rows for tuning the threshold, "
        "got 0.6666 at best, which is used. Lower the level, or train a better model.",
    )
    assert choice.threshold == pytest.approx((expit(-1) + 0.5) / 2)


@pytest.mark.parametrize(
    ("spec", "objective", "best", "advice"),
    [
        ({"alert_rate": 0.1}, "alert_rate <= 0.1", "0.5", "Raise"),
        ({"specificity": 0.9}, "specificity >= 0.9", "0.6", "Lower"),
    ],
)
def test_warning_rows_with_probability_one_are_always_predicted_positive(
    spec, objective, best, advice
):
    choice = find(spec, make_rows([-1, 0, 800, 800] * 24, [0, 1, 1, 0] * 12 + [0, 0, 0, 1] * 12))
    assert choice.threshold == pytest.approx(0.75)
    (message,) = choice.warnings
    assert message.startswith(f"The objective {objective} must be reachable")
    assert f"got {best} at best, which is used. {advice} the level" in message


def test_warning_best_value_is_never_rounded_to_the_level():
    logit = np.repeat([0.0, 1.0], [9_999, 10_001])
    target = np.concatenate([np.zeros(9_999), np.ones(9_999), [0, 0]])
    (message,) = find({"precision": 0.9999}, make_rows(logit, target)).warnings
    assert "got 0.9998 at best" in message


def test_warning_few_positive_rows():
    target = [1] * 7 + [0] * 40
    choice = find("f1", make_rows(np.linspace(2, -2, 47), target))
    assert choice.warnings == (
        "The rows for tuning the threshold must contain at least 20 of the positive class 'yes' "
        "for a reliable threshold, got 7. Use more rows, or set threshold to a number.",
    )
    assert find("f1", make_rows(np.linspace(2, -2, 60), [1] * 20 + [0] * 40)).warnings == ()


@pytest.mark.parametrize(
    ("target", "weight", "got"),
    [
        ([1, 1, 1], None, "only the class 'yes' (3 rows)"),
        ([0, 0, 1], [1, 1, 0], "only the class 'no' (2 rows)"),
        ([0, 1, 1], [0, 0, 0], "no rows of positive weight"),
    ],
)
def test_choose_threshold_one_class_is_an_error(target, weight, got):
    with pytest.raises(ValueError, match="both classes") as caught:
        find("f1", make_rows([0, 1, 2], target, weight))
    assert str(caught.value) == (
        f"The rows for tuning the threshold must be of both classes, got {got}. Pass rows of both "
        "classes, or set threshold to a number."
    )


@pytest.mark.parametrize("seed", range(5))
def test_callable_equals_the_named_metric(seed):
    threshold_data = make_case(seed, n_rows=30)
    called, counted = find(f1_of_labels, threshold_data), find("f1", threshold_data)
    assert called.threshold == counted.threshold
    for key, column in counted.curve.items():
        np.testing.assert_allclose(called.curve[key], column, rtol=1e-12)
    assert called.interval[0] <= called.threshold <= called.interval[1]


def test_callable_receives_labels_and_existing_weights():
    given = []

    def metric(truth, labels, **weights):
        given.append((truth, labels, weights))
        return 0.0

    find(metric, make_rows([-1, 1], [0, 1]))
    assert given[0][0].tolist() == ["no", "yes"]
    assert given[0][1].tolist() == ["yes", "yes"]
    assert all(weights == {} for _, _, weights in given)
    given.clear()
    find(metric, make_rows([-1, 1, 3], [0, 1, 1], [1, 2, 0]))
    assert given[0][0].tolist() == ["no", "yes"]
    assert given[0][2]["sample_weight"].tolist() == [1.0, 2.0]


def test_callable_long_curve_is_called_at_a_thousand_thresholds():
    calls = []

    def metric(truth, labels):
        calls.append(len(labels))
        return -abs(np.mean(labels == "yes") - 0.3)

    choice = find(metric, make_calibrated(1500))
    assert len(calls) == 1000 + 20 * 25
    assert calls[:1000] == [1500] * 1000
    assert all(len(column) == 1000 for column in choice.curve.values())
    assert choice.curve["tp"][0] + choice.curve["fp"][0] == 1500
    assert choice.curve["tp"][-1] + choice.curve["fp"][-1] == 0
    assert np.mean(expit(make_calibrated(1500).logit) >= choice.threshold) == pytest.approx(
        0.3, abs=2 / 1500
    )


def test_callable_nan_is_never_chosen():
    def metric(truth, labels):
        fraction = np.mean(labels == "yes")
        return -fraction if fraction in (0.5, 0.75) else np.nan

    choice = find(metric, make_rows([-2, -1, 1, 2], [0, 1, 0, 1]))
    assert choice.threshold == pytest.approx((expit(-1) + expit(1)) / 2)
    assert np.isnan(choice.curve["score"]).tolist() == [True, False, False, True, True]


def test_callable_all_nan_is_an_error():
    def always_nan(truth, labels):
        return np.nan

    with pytest.raises(ValueError, match="NaN") as caught:
        find(always_nan, make_rows([-1, 1], [0, 1]))
    assert str(caught.value) == (
        "threshold must be a function that returns a number at some threshold, got NaN from "
        "always_nan at all 3. Check the function with predicted labels."
    )


def test_callable_without_a_number_is_an_error():
    def without_return(truth, labels):
        return None

    with pytest.raises(ValueError, match="None") as caught:
        find(without_return, make_rows([-1, 1], [0, 1]))
    assert str(caught.value) == (
        "threshold must be a function that returns a number, got None from without_return. Return "
        "one score of all rows; greater is better."
    )


def test_callable_error_propagates():
    def broken(truth, labels):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        find(broken, make_rows([-1, 1], [0, 1]))


@pytest.mark.parametrize("name", METRICS)
def test_choose_threshold_any_metric_warns_of_nothing(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose_threshold(Metric(name), make_case(2))
