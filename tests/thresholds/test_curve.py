"""The best cut of scored rows, against brute force."""

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

from skbinary.thresholds.curve import ThresholdData, choose
from skbinary.thresholds.objectives import Metric, parse_threshold

CLASSES = np.array(["no", "yes"])
METRICS = ["accuracy", "balanced_accuracy", "matthews_corrcoef"] + [
    f"{name}{average}"
    for name in ("f1", "precision", "recall", "jaccard")
    for average in ("", "_micro", "_macro", "_weighted")
]
CONSTRAINTS = ["recall", "precision", "specificity", "alert_rate"]
LEVELS = [0.0, 0.2, 0.5, 0.75, 0.9, 1.0]
COSTS = [
    {"cost_fp": 1, "cost_fn": 1},
    {"cost_fp": 1, "cost_fn": 7},
    {"cost_fp": 4, "cost_fn": 3, "cost_tp": 1},
    {"cost_fp": 2, "cost_fn": 1, "cost_tp": -5, "cost_tn": -0.5},
]
# 19 metrics, each constraint five times as often as one of them, and costs.
SPECS = [*METRICS, *([*CONSTRAINTS] * 5), *COSTS]


def make_case(seed, n_rows=None):
    """Give few rows with heavy ties, weights of which some are zero, and often p of 0 and 1."""
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


def find(threshold, threshold_data):
    return choose(parse_threshold(threshold), threshold_data)


def f1_of_labels(truth, labels, *, sample_weight=None):
    sample_weight = np.ones(len(truth)) if sample_weight is None else sample_weight
    positive, flagged = truth == "yes", labels == "yes"
    total = sample_weight[positive].sum() + sample_weight[flagged].sum()
    return 2 * sample_weight[positive & flagged].sum() / total


def score_by_scikit_learn(name, truth, flags, weight):
    scorer = get_scorer(name)
    extra = (
        {"zero_division": 0} if name.startswith(("f1", "precision", "recall", "jaccard")) else {}
    )
    with sklearn.config_context(skip_parameter_validation=True):
        return scorer._score_func(truth, flags, sample_weight=weight, **scorer._kwargs, **extra)


def constrained(kind, truth, flags, weight):
    if kind == "recall":
        return recall_score(truth, flags, sample_weight=weight, zero_division=0)
    if kind == "precision":
        return precision_score(truth, flags, sample_weight=weight, zero_division=0)
    if kind == "specificity":
        return recall_score(truth, flags, sample_weight=weight, zero_division=0, pos_label=0)
    return np.average(flags, weights=weight)


def mean_cost(costs, truth, flags, weight):
    names = np.array([["cost_tn", "cost_fp"], ["cost_fn", "cost_tp"]])
    each = [costs.get(names[row], 0) for row in zip(truth, flags, strict=True)]
    return np.average(each, weights=weight)


def worth(spec, truth, flags, weight):
    """Give what is to be high, the most important first."""
    if isinstance(spec, str):
        return [score_by_scikit_learn(spec, truth, flags, weight)]
    if "cost_fp" in spec:
        return [-mean_cost(spec, truth, flags, weight)]
    ((kind, level),) = spec.items()
    sign = -1 if kind == "alert_rate" else 1
    reached = sign * constrained(kind, truth, flags, weight)
    main = constrained("precision" if kind == "recall" else "recall", truth, flags, weight)
    return [min(reached - sign * level, 0), main, reached]


def all_cuts(probability):
    values = sorted(set(probability.tolist()))
    cuts = [(a + b) / 2 for a, b in zip([0.0, *values], [*values, 1.0], strict=True)]
    return cuts[:-1] if values[-1] == 1 else cuts


def best_by_brute_force(spec, threshold_data):
    weight = (
        np.ones(len(threshold_data.target))
        if threshold_data.weight is None
        else threshold_data.weight
    )
    kept = weight > 0
    probability, weight = expit(threshold_data.logit[kept]), weight[kept]
    truth = threshold_data.target[kept].astype(int)
    table = [
        ([*worth(spec, truth, (probability >= cut).astype(int), weight), -abs(cut - 0.5)], cut)
        for cut in all_cuts(probability)
    ]
    for i in range(len(table[0][0])):
        top = max(row[i] for row, _ in table)
        table = [(row, cut) for row, cut in table if row[i] >= top - 1e-12]
    return table[0][1]


@pytest.mark.parametrize("seed", range(200))
def test_choose_any_objective_equals_brute_force(seed):
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
            (expit(threshold_data.logit) >= cut).astype(float),
            threshold_data.weight,
        )
        for cut in curve["threshold"]
    ]
    np.testing.assert_allclose(curve["score"], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_curve_counts_equal_the_rows_from_each_cut_on(seed):
    threshold_data = make_case(seed)
    curve = find("f1", threshold_data).curve
    weight = (
        np.ones(len(threshold_data.target))
        if threshold_data.weight is None
        else threshold_data.weight
    )
    flags = expit(threshold_data.logit) >= curve["threshold"][:, None]
    positive = threshold_data.target == 1
    assert np.array_equal(curve["tp"], (flags & positive) @ weight)
    assert np.array_equal(curve["fp"], (flags & ~positive) @ weight)
    assert np.array_equal(curve["fn"], (~flags & positive) @ weight)
    assert np.array_equal(curve["tn"], (~flags & ~positive) @ weight)
    assert (np.diff(curve["threshold"]) > 0).all()


def test_curve_cuts_lie_halfway():
    choice = find("f1", make_rows([-np.log(3), 0, np.log(3)], [0, 1, 1]))
    assert choice.curve["threshold"] == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert list(choice.curve) == ["threshold", "tn", "fp", "fn", "tp", "score"]


def test_curve_neighbouring_numbers_are_told_apart():
    logit = -0.9 + np.arange(60) * np.spacing(-0.9)
    probability = np.unique(expit(logit))
    assert np.isclose(np.diff(probability), np.spacing(probability[0]), rtol=1e-9).sum() > 5
    curve = find("f1", make_rows(logit, np.arange(60) % 2)).curve
    n_flagged = (expit(logit) >= curve["threshold"][:, None]).sum(axis=1)
    assert len(n_flagged) == len(probability) + 1
    assert np.array_equal(n_flagged, curve["tp"] + curve["fp"])
    assert n_flagged[-1] == 0


def test_curve_certain_rows_leave_out_the_cut_that_flags_none():
    curve = find("f1", make_rows([-np.inf, 0, np.inf], [0, 0, 1])).curve
    assert curve["threshold"].tolist() == [0.0, 0.25, 0.75]
    assert curve["tp"].tolist() == [1.0, 1.0, 1.0]
    assert curve["fp"].tolist() == [2.0, 1.0, 0.0]


def test_curve_uneven_weights_flagging_all_has_recall_of_one():
    weight = np.random.default_rng(0).random(1000)
    rows = make_calibrated(1000)
    curve = find({"recall": 1}, ThresholdData(rows.logit, rows.target, weight, CLASSES)).curve
    assert curve["fn"][0] == 0
    assert curve["tn"][0] == 0
    assert curve["tp"][-1] == 0


def make_rare(n_rows, n_positive):
    """Give rows of which few are positive, and weights that are all different."""
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
def test_curve_many_cuts_keeps_its_ends_the_choice_and_the_interval(threshold_data, spec):
    choice = find(spec, threshold_data)
    curve, (low, high) = choice.curve, choice.interval
    assert {len(column) for column in curve.values()} == {len(curve["threshold"])}
    assert 100 < len(curve["threshold"]) <= 1000
    assert (np.diff(curve["threshold"]) > 0).all()
    assert {choice.threshold, low, high} <= set(curve["threshold"].tolist())
    assert curve["fn"][0] == curve["tn"][0] == 0
    assert curve["tp"][-1] == curve["fp"][-1] == 0


@each_long
def test_curve_many_cuts_counts_the_rows_from_each_cut_on(threshold_data):
    curve = find("f1", threshold_data).curve
    weight = (
        np.ones(len(threshold_data.target))
        if threshold_data.weight is None
        else threshold_data.weight
    )
    flags = expit(threshold_data.logit) >= curve["threshold"][:, None]
    positive = threshold_data.target == 1
    np.testing.assert_allclose(curve["tp"], (flags & positive) @ weight, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(curve["fp"], (flags & ~positive) @ weight, rtol=1e-9, atol=1e-9)


@each_long
def test_choose_many_cuts_compares_all_of_them(threshold_data):
    choice = find("f1", threshold_data)
    precision, recall, _ = precision_recall_curve(
        threshold_data.target, expit(threshold_data.logit), sample_weight=threshold_data.weight
    )
    every = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    flags = expit(threshold_data.logit) >= choice.threshold
    reached = f1_score(threshold_data.target, flags, sample_weight=threshold_data.weight)
    assert reached == pytest.approx(every.max(), rel=1e-12)
    assert choice.curve["score"].max() == pytest.approx(reached, rel=1e-12)


@pytest.mark.parametrize("name", ["calibrated", "rare"])
def test_curve_many_cuts_keeps_the_shape_of_the_curve(name):
    threshold_data = LONG[name]
    curve = find("f1", threshold_data).curve
    weight = (
        np.ones(len(threshold_data.target))
        if threshold_data.weight is None
        else threshold_data.weight
    )
    grid = np.linspace(0, 0.99, 400)
    flags = expit(threshold_data.logit) >= grid[:, None]
    positive = threshold_data.target == 1
    tp, fp = (flags & positive) @ weight, (flags & ~positive) @ weight
    expected = {"tp": tp, "fp": fp, "score": 2 * tp / (tp + fp + weight[positive].sum())}
    for column, full in expected.items():
        error = np.abs(np.interp(grid, curve["threshold"], curve[column]) - full) / full.max()
        assert error.mean() < 0.003
        assert error.max() < 0.03  # with 200 positive rows a single one moves F1 by 0.02


def test_curve_of_no_more_than_a_thousand_cuts_is_whole():
    assert len(find("f1", make_calibrated(999)).curve["threshold"]) == 1000


def test_curve_constraint_scores_cuts_that_miss_it_too():
    curve = find({"recall": 0.99}, make_calibrated(300)).curve
    assert np.isfinite(curve["score"]).all()
    flagged = curve["tp"] + curve["fp"]
    assert curve["score"][:-1] == pytest.approx((curve["tp"] / np.maximum(flagged, 1))[:-1])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.7, 0.9, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_choose_recall_always_holds(level, seed):
    threshold_data = make_calibrated(200, seed)
    choice = find({"recall": level}, threshold_data)
    flags = expit(threshold_data.logit) >= choice.threshold
    assert recall_score(threshold_data.target, flags) >= level
    assert choice.complaints == ()


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({"cost_fp": 1, "cost_fn": 1}, 1 / 2),
        ({"cost_fp": 1, "cost_fn": 4}, 1 / 5),
        ({"cost_fp": 3, "cost_fn": 1, "cost_tn": 1, "cost_tp": -2}, 2 / 5),
    ],
)
def test_choose_costs_calibrated_rows_approach_the_known_threshold(costs, expected):
    assert find(costs, make_calibrated(200_000)).threshold == pytest.approx(expected, abs=0.03)


def test_choose_costs_score_is_minus_the_mean_cost():
    threshold_data = make_case(3)
    costs = COSTS[3]
    curve = find(costs, threshold_data).curve
    truth, weight = threshold_data.target.astype(int), threshold_data.weight
    flags = (expit(threshold_data.logit) >= curve["threshold"][:, None]).astype(int)
    expected = [-mean_cost(costs, truth, each, weight) for each in flags]
    np.testing.assert_allclose(curve["score"], expected, rtol=1e-12)


def test_choose_equal_scores_takes_the_cut_nearest_to_a_half():
    choice = find("accuracy", make_rows([-2, 0.1, 0.3, 2], [0, 1, 0, 1]))
    assert choice.curve["score"].tolist() == [0.5, 0.75, 0.5, 0.75, 0.5]
    assert choice.threshold == pytest.approx((expit(-2) + expit(0.1)) / 2)


def test_choose_equal_scores_at_equal_distance_takes_the_lower_cut():
    choice = find("accuracy", make_rows([-1, 1], [1, 0]))
    assert choice.curve["score"].tolist() == [0.5, 0.0, 0.5]
    assert choice.threshold == pytest.approx(expit(-1) / 2)


def test_choose_equal_scores_in_rounded_arithmetic_are_equal():
    # 0.1 + 0.2 is not 0.3: the first two cuts are right on the same weight all the same.
    rows = make_rows([0.1, 1, 2, 3], [1, 0, 0, 1], [0.3, 0.1, 0.2, 1])
    curve = find("accuracy", rows).curve
    assert curve["score"][0] == pytest.approx(curve["score"][3], rel=1e-15)
    mirrored = make_rows([0.1, 1, 2, 3], [1, 0, 0, 1], [0.3, 0.2, 0.1, 1])
    assert find("accuracy", rows).threshold == find("accuracy", mirrored).threshold


def test_choose_weight_two_is_the_row_twice():
    once = make_case(5, n_rows=40)
    weight = np.random.default_rng(1).integers(1, 4, size=40)
    logit, target = np.repeat(once.logit, weight), np.repeat(once.target, weight)
    for spec in ("f1", {"alert_rate": 0.2}, {"cost_fp": 1, "cost_fn": 3}):
        weighted = find(spec, make_rows(once.logit, once.target, weight))
        repeated = find(spec, make_rows(logit, target))
        assert weighted.threshold == repeated.threshold
        np.testing.assert_array_equal(weighted.curve["score"], repeated.curve["score"])


def test_choose_rows_of_weight_zero_do_not_count():
    rows = make_case(7, n_rows=50)
    weight = (np.arange(50) % 3 > 0).astype(float)
    weight[:2] = 1
    kept = weight > 0
    for spec in ("f1", f1_of_labels):
        zero = find(spec, make_rows(rows.logit, rows.target, weight))
        without = find(spec, make_rows(rows.logit[kept], rows.target[kept], weight[kept]))
        assert zero.threshold == without.threshold
        assert zero.interval == without.interval
        assert zero.complaints == without.complaints


def test_choose_float32_logits_are_taken_in_float64():
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
def test_choose_twice_gives_the_same_and_moves_no_global_state(spec):
    threshold_data = make_calibrated(60)
    np.random.seed(0)
    before = np.random.get_state()[1].tolist()
    first, second = find(spec, threshold_data), find(spec, threshold_data)
    assert np.random.get_state()[1].tolist() == before
    assert first.threshold == second.threshold
    assert first.interval == second.interval
    assert first.complaints == second.complaints


def test_choose_leaves_its_rows_alone():
    threshold_data = make_case(11)
    before = [threshold_data.logit.copy(), threshold_data.target.copy()]
    for array in (threshold_data.logit, threshold_data.target):
        array.flags.writeable = False
    find("f1", threshold_data)
    np.testing.assert_array_equal(threshold_data.logit, before[0])
    np.testing.assert_array_equal(threshold_data.target, before[1])


@pytest.mark.parametrize("seed", range(20))
def test_interval_holds_the_threshold(seed):
    choice = find(SPECS[3 * seed % len(METRICS)], make_case(seed))
    low, high = choice.interval
    assert 0 <= low <= choice.threshold <= high <= 1
    assert {low, high} <= set(choice.curve["threshold"].tolist())


@pytest.mark.parametrize("spec", ["f1", {"recall": 0.9}, {"cost_fp": 1, "cost_fn": 2}])
def test_interval_more_rows_is_narrower(spec):
    widths = [np.ptp(find(spec, make_calibrated(n)).interval) for n in (100, 3_000, 100_000)]
    assert widths[0] > 2 * widths[1] > 4 * widths[2] > 0


def test_interval_weights_that_all_rows_share_change_nothing():
    rows = make_calibrated(2000)
    heavy = ThresholdData(rows.logit, rows.target, np.full(2000, 2.0**40), CLASSES)
    assert find("f1", heavy).interval == find("f1", rows).interval


def test_interval_weight_of_a_class_equals_its_cost():
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


def test_interval_covers_the_threshold_of_all_rows():
    """The recall of 0.9 has a known threshold; nine intervals of ten should hold it."""
    known = find({"recall": 0.9}, make_calibrated(400_000, seed=99)).threshold
    intervals = [find({"recall": 0.9}, make_calibrated(400, seed)).interval for seed in range(100)]
    share = np.mean([low <= known <= high for low, high in intervals])
    assert 0.8 <= share <= 0.99


def test_complaint_precision_that_no_cut_has():
    rows = make_rows([-1, 0, 1, 2] * 12, ([0, 1, 1, 0] * 12))
    choice = find({"precision": 0.99}, rows)
    assert choice.complaints == (
        "threshold: no cut has precision >= 0.99 on these rows. The nearest has 0.6666 and is "
        "used; ask for less, or train a better model.",
    )
    assert choice.threshold == pytest.approx((expit(-1) + 0.5) / 2)


@pytest.mark.parametrize(
    ("spec", "asked", "reached", "advice"),
    [
        ({"alert_rate": 0.1}, "alert_rate <= 0.1", "0.5", "allow more"),
        ({"specificity": 0.9}, "specificity >= 0.9", "0.6", "ask for less"),
    ],
)
def test_complaint_certain_rows_cannot_be_left_unflagged(spec, asked, reached, advice):
    choice = find(spec, make_rows([-1, 0, 800, 800] * 24, [0, 1, 1, 0] * 12 + [0, 0, 0, 1] * 12))
    assert choice.threshold == pytest.approx(0.75)
    expected = f"threshold: no cut has {asked} on these rows. The nearest has {reached} and is used"
    assert len(choice.complaints) == 1
    assert choice.complaints[0] == f"{expected}; {advice}, or train a better model."


def test_complaint_reached_value_is_never_rounded_to_the_one_asked_for():
    logit = np.repeat([0.0, 1.0], [9_999, 10_001])
    target = np.concatenate([np.zeros(9_999), np.ones(9_999), [0, 0]])
    (convergence_warning,) = find({"precision": 0.9999}, make_rows(logit, target)).complaints
    assert "The nearest has 0.9998 and" in convergence_warning


def test_complaint_few_positive_rows():
    target = [1] * 7 + [0] * 40
    choice = find("f1", make_rows(np.linspace(2, -2, 47), target))
    assert choice.complaints == (
        "threshold: only 7 of the rows it is chosen on are of the positive class 'yes', and it may "
        "be far from the best one for new rows. Have at least 20, or give a number.",
    )
    assert find("f1", make_rows(np.linspace(2, -2, 60), [1] * 20 + [0] * 40)).complaints == ()


@pytest.mark.parametrize(
    ("target", "weight", "got"),
    [
        ([1, 1, 1], None, "3 of the class 'yes' alone"),
        ([0, 0, 1], [1, 1, 0], "2 of the class 'no' alone"),
        ([0, 1, 1], [0, 0, 0], "none with a weight above zero"),
    ],
)
def test_choose_one_class_is_refused(target, weight, got):
    with pytest.raises(ValueError, match="both classes") as caught:
        find("f1", make_rows([0, 1, 2], target, weight))
    assert str(caught.value) == (
        f"Choosing a threshold must have rows of both classes, got {got}. Give rows of "
        "both, or a number as the threshold."
    )


@pytest.mark.parametrize("seed", range(5))
def test_callable_agrees_with_the_metric(seed):
    threshold_data = make_case(seed, n_rows=30)
    called, counted = find(f1_of_labels, threshold_data), find("f1", threshold_data)
    assert called.threshold == counted.threshold
    for key, column in counted.curve.items():
        np.testing.assert_allclose(called.curve[key], column, rtol=1e-12)
    assert called.interval[0] <= called.threshold <= called.interval[1]


def test_callable_is_given_labels_and_weights_when_there_are_any():
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


def test_callable_many_cuts_is_called_at_a_thousand():
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


def test_callable_nan_is_never_best():
    def metric(truth, labels):
        share = np.mean(labels == "yes")
        return -share if share in (0.5, 0.75) else np.nan

    choice = find(metric, make_rows([-2, -1, 1, 2], [0, 1, 0, 1]))
    assert choice.threshold == pytest.approx((expit(-1) + expit(1)) / 2)
    assert np.isnan(choice.curve["score"]).tolist() == [True, False, False, True, True]


def test_callable_all_nan_is_refused():
    def hopeless(truth, labels):
        return np.nan

    with pytest.raises(ValueError, match="NaN") as caught:
        find(hopeless, make_rows([-1, 1], [0, 1]))
    assert str(caught.value) == (
        "threshold must be a function that gives a number for some cut. hopeless gave NaN at all "
        "3. Look at what it does with the labels of a cut."
    )


def test_callable_that_gives_no_number_is_refused():
    def forgetful(truth, labels):
        return None

    with pytest.raises(ValueError, match="None") as caught:
        find(forgetful, make_rows([-1, 1], [0, 1]))
    assert str(caught.value) == (
        "threshold must be a function that gives a number. forgetful gave None. Let it "
        "return one score of all rows, of which more is better."
    )


def test_callable_error_passes_through():
    def broken(truth, labels):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        find(broken, make_rows([-1, 1], [0, 1]))


@pytest.mark.parametrize("name", METRICS)
def test_choose_is_silent(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose(Metric(name), make_case(2))
