"""The quality benchmarks split, preprocess, evaluate and report correctly."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV

from benchmarks.data import ENVIRONMENT_VARIABLE
from benchmarks.quality import (
    decisions,
    fitting,
    grids,
    markdown,
    models,
    objectives,
    options,
    pipeline_models,
    recall,
    report,
    run,
    stopping,
    tables,
    thresholds,
)
from benchmarks.quality.objectives import Counts, Objective
from skbinary import TorchLogisticClassifier

ROOT = Path(__file__).parent.parent
RNG = np.random.RandomState(0)
Y = np.repeat([0, 1], [900, 100])
X = RNG.normal(size=(1000, 3)).astype(np.float32) + Y[:, np.newaxis]

# Splits


@pytest.mark.parametrize("seed", [0, 1])
def test_draw_returns_disjoint_stratified_sets(seed):
    train, test = tables.draw(Y, rows=200, seed=seed, max_test_rows=300)
    assert (len(train), len(test)) == (200, 300)
    assert not set(train) & set(test)
    assert (Y[train].sum(), Y[test].sum()) == (20, 30)


def test_draw_depends_on_the_seed_only():
    first, again, other = (tables.draw(Y, rows=200, seed=seed)[0] for seed in (0, 0, 1))
    assert_array_equal(first, again)
    assert set(first) != set(other)


def test_draw_without_maximum_tests_on_all_remaining_rows():
    train, test = tables.draw(Y, rows=200, seed=0, max_test_rows=None)
    assert sorted([*train, *test]) == list(range(1000))


def test_draw_small_table_keeps_a_quarter_as_test_set():
    train, test = tables.draw(Y, rows=5000, seed=0)
    assert (len(train), len(test)) == (750, 250)


# Loading and preprocessing


def frame():
    names = ["a"] * 15 + ["b"] * 12 + ["c", "c", None]
    return pd.DataFrame(
        {
            "number": [1.0, np.nan, 3.0] * 10,
            "name": names,
            "code": [1, 2] * 15,
            "id": range(30),
            "target": ["yes", "no", "no"] * 10,
        }
    )


def test_table_is_split_into_features_and_target():
    specification = tables.Table("target", "yes", dropped=("id",), codes=("code",))
    features, y = specification.features_and_target(frame())
    assert list(features) == ["number", "name", "code"]
    assert set(features["code"]) == {"1", "2"}
    assert_array_equal(y, [1, 0, 0] * 10)


def test_preprocessor_imputes_scales_and_encodes_categories():
    features, _ = tables.Table("target", "yes", ("id",), ("code",)).features_and_target(frame())
    prepared = tables.preprocessor().fit_transform(features)
    number, names, codes = prepared[:, 0], prepared[:, 1:4], prepared[:, 4:]
    assert_allclose([number.mean(), number.std()], [0, 1], atol=1e-12)
    assert_allclose(number[1::3], 0, atol=1e-12)  # the median of 1 and 3 is their mean
    assert_array_equal(names.sum(axis=0), [15, 12, 3])  # a, b, and what is rarer than 10
    assert_array_equal(codes.sum(axis=0), [15, 15])


def test_preprocessor_unknown_category_is_encoded_as_zeros():
    transformer = tables.preprocessor().fit(pd.DataFrame({"name": ["a", "b"] * 20}))
    assert_array_equal(transformer.transform(pd.DataFrame({"name": ["z"]})), [[0, 0]])


def test_split_uses_statistics_of_the_training_set(monkeypatch):
    features = pd.DataFrame({"x": X[:, 0].astype(np.float64)})
    monkeypatch.setattr(tables, "read", lambda name: (features, Y))
    split = tables.split("any", rows=200, seed=0)
    train, test = tables.draw(Y, rows=200, seed=0)
    mean, scale = features["x"][train].mean(), features["x"][train].std(ddof=0)
    assert_allclose(split.X_test[:, 0], (features["x"][test] - mean) / scale, rtol=1e-5, atol=1e-6)
    assert_array_equal(split.y_test, Y[test])
    assert split.X_train.dtype == split.X_test.dtype == np.float32


def test_specifications_cover_all_tables_of_the_options():
    assert set(options.TABLES) == set(tables.SPECIFICATIONS)
    assert set(options.PREPROCESSED_TABLES) <= set(options.TABLES)
    assert set(thresholds.TABLES) | set(recall.TABLES) <= set(options.TABLES)


# Objectives


POSITIVE = RNG.random_sample(1000) < np.where(Y == 1, 0.7, 0.2)
NONE_POSITIVE = np.zeros(1000, dtype=bool)


@pytest.mark.parametrize("positive", [POSITIVE, NONE_POSITIVE], ids=["some", "none"])
@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("accuracy", metrics.accuracy_score),
        ("f1", metrics.f1_score),
        ("balanced_accuracy", metrics.balanced_accuracy_score),
        ("matthews_corrcoef", metrics.matthews_corrcoef),
        ("precision", lambda y, z: metrics.precision_score(y, z, zero_division=0)),
        ("recall", metrics.recall_score),
        ("specificity", lambda y, z: metrics.recall_score(y, z, pos_label=0)),
        ("alert_rate", lambda y, z: z.mean()),
    ],
)
def test_quantity_equals_scikit_learn(name, metric, positive):
    value = objectives.QUANTITIES[name](Counts.of(Y, positive))
    assert value == pytest.approx(metric(Y, positive.astype(int)), abs=1e-12)


def test_costs_equal_those_of_the_confusion_matrix():
    _, fp, fn, _ = metrics.confusion_matrix(Y, POSITIVE).ravel()
    objective = Objective({"cost_fp": 1, "cost_fn": 20})
    expected = -(fp + 20 * fn) / 1000
    assert objective.value(Counts.of(Y, POSITIVE)) == pytest.approx(expected)
    predictor = LogisticRegression().fit(X, Y)
    by_scorer = objective.scoring()(predictor, X, Y)
    assert by_scorer == objective.value(Counts.of(Y, predictor.predict(X)))


@pytest.mark.parametrize(
    ("threshold", "name", "metric", "constrained"),
    [
        (0.5, "0.5", "accuracy", None),
        ("f1", "f1", "f1", None),
        ({"recall": 0.9}, "recall >= 0.9", "precision", "recall"),
        ({"precision": 0.6}, "precision >= 0.6", "recall", "precision"),
        ({"alert_rate": 0.05}, "alert_rate <= 0.05", "recall", "alert_rate"),
        ({"cost_fp": 1, "cost_fn": 20}, "costs 1 : 20", "negative mean cost", None),
    ],
)
def test_objective_has_name_metric_and_constraint(threshold, name, metric, constrained):
    objective = Objective(threshold)
    assert (objective.name, objective.metric, objective.constrained) == (name, metric, constrained)
    assert objective.is_tuned == (threshold != 0.5)


def test_constraint_is_met_at_its_level():
    counts = Counts(tn=80, fp=10, fn=1, tp=9)
    assert Objective({"recall": 0.9}).is_met(counts)
    assert not Objective({"recall": 0.91}).is_met(counts)
    assert Objective({"alert_rate": 0.19}).is_met(counts)
    assert not Objective({"alert_rate": 0.18}).is_met(counts)
    assert Objective("f1").is_met(counts) is None


def test_objectives_have_the_value_of_the_threshold_curve():
    for objective in objectives.ALL[1:]:
        model = TorchLogisticClassifier().fit(X, Y).tune_threshold(X, Y, objective.threshold)
        curve = model.threshold_curve_
        [chosen] = np.flatnonzero(curve["threshold"] == model.threshold_)
        value = objective.value(Counts.of(Y, model.predict(X) == 1))
        assert value == pytest.approx(curve["score"][chosen])


# Contenders


def test_peer_is_compared_if_it_supports_the_objective():
    for objective in objectives.ALL:
        peer = models.threshold_contenders(objective, 0).get(models.PEER)
        if objective.constrained is not None:
            assert peer is None
        else:
            expected = TunedThresholdClassifierCV if objective.is_tuned else LogisticRegression
            assert isinstance(peer, expected)


# Fitting and evaluating


def test_evaluate_returns_the_losses_of_scikit_learn():
    model = LogisticRegression().fit(X, Y)
    probability = model.predict_proba(X)[:, 1]
    scores = fitting.evaluate(model, X, Y)
    assert scores["log_loss"] == pytest.approx(metrics.log_loss(Y, probability))
    assert scores["auc"] == pytest.approx(metrics.roc_auc_score(Y, probability))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_evaluate_clips_probabilities_in_any_precision(dtype):
    class Certain:
        def predict_proba(self, X):
            return np.tile(np.array([1, 0], dtype=dtype), (len(X), 1))

    loss = fitting.evaluate(Certain(), X, Y)["log_loss"]
    assert loss == pytest.approx(-0.1 * np.log(np.finfo(np.float32).eps), rel=1e-5)


def test_fit_reports_convergence_without_warnings(recwarn):
    assert not fitting.fit(LogisticRegression(max_iter=1, C=1e6), X, Y).converged
    assert fitting.fit(LogisticRegression(), X, Y).converged
    assert not recwarn.list


def test_rotated_starts_at_another_name_for_each_seed():
    assert [fitting.rotated("abc", by) for by in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


# Decisions


def compare_stubs(objective, **values):
    """Compare two models with equal probabilities at different thresholds."""

    class Stub:
        def __init__(self, probability, threshold, interval):
            self.probability = probability
            self.threshold_ = threshold
            if interval is not None:
                self.threshold_interval_ = interval

        def predict_proba(self, X):
            return np.column_stack([1 - self.probability, self.probability])

        def predict(self, X):
            return (self.probability >= self.threshold_).astype(int)

    probability = np.tile([0.1, 0.2, 0.3, 0.4], 50)
    ours = Stub(probability, values["threshold"], values["interval"])
    peer = Stub(probability, values["peer"], None)
    classifiers = {models.OUR_LOGISTIC: ours, models.OUR_ENSEMBLE: ours, models.PEER: peer}
    fits = {name: fitting.Fit(1.0, converged=True) for name in classifiers}
    labels = np.tile([0, 0, 1, 1], 50)
    return decisions.compare(objective, classifiers, fits, np.zeros((200, 1)), labels)


def test_compare_peer_far_ahead_is_worse():
    linear, ensemble = compare_stubs(
        Objective("f1"), threshold=0.35, interval=(0.3, 0.4), peer=0.25
    )
    assert linear["value"] == pytest.approx(2 / 3)
    assert linear["peer_value"] == 1
    assert linear["not_worse"] is False
    assert ensemble["peer_value"] is ensemble["not_worse"] is None


@pytest.mark.parametrize(("n_more_errors", "expected"), [(0, True), (3, True), (60, False)])
def test_not_worse_allows_a_lead_of_a_few_rows(n_more_errors, expected):
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 400)
    theirs = (y == 1) ^ (random.random(400) < 0.2)
    ours = theirs.copy()
    right = np.flatnonzero(ours == (y == 1))[:n_more_errors]
    ours[right] = ~ours[right]
    ours[np.flatnonzero(theirs != (y == 1))[:1]] ^= True  # one that the peer predicts wrongly
    assert decisions.not_worse(Objective("f1"), y, ours, theirs) is expected


def test_compare_evaluates_at_the_threshold_and_at_one_half():
    objective = Objective({"recall": 0.9})
    record = compare_stubs(objective, threshold=0.15, interval=(0.15, 0.25), peer=0.5)[0]
    assert (record["reached"], record["reached_at_half"], record["met"]) == (1, 0, True)
    assert record["value"] == pytest.approx(2 / 3)
    assert record["value_at_high"] == 1
    assert record["value_at_half"] == 0


def test_compare_fixed_threshold_has_no_interval():
    [linear, _] = compare_stubs(Objective(0.5), threshold=0.5, interval=None, peer=0.25)
    assert (linear["low"], linear["high"]) == (0.5, 0.5)
    assert linear["not_worse"] is None


# Reports


def test_pivot_has_a_row_for_each_table_and_the_mean():
    records = [
        {"table": name, "contender": who, "loss": loss}
        for name, who, loss in [("x", "a", 1), ("x", "a", 3), ("x", "b", 5), ("y", "a", 4)]
    ]
    assert markdown.pivot(records, "loss", columns="contender", digits=1).splitlines() == [
        "| table | a | b |",
        "| --- | --: | --: |",
        "| x | 2.0 | 5.0 |",
        "| y | 4.0 |  |",
        "| mean | 3.0 | 5.0 |",
    ]


def threshold_records():
    records = []
    for objective in (Objective("f1"), Objective({"recall": 0.9})):
        for seed, peer in enumerate([0.25, 0.25, 0.35]):
            values = {"threshold": 0.35, "interval": (0.35, 0.35), "peer": peer}
            where = {"table": "adult", "seed": seed}
            records += [where | record for record in compare_stubs(objective, **values)]
    return records


def test_thresholds_report_counts_seeds():
    text = thresholds.report(threshold_records()).splitlines()
    assert (
        "| adult, f1 | 0.350 | 0.350 to 0.350 | 0.667 | 0.000 | 1.000 | 1.000 | **no** (1 of 3) "
        in ("\n".join(text))
    )
    assert any("| **no** (0 of 3) | 1.000 |" in line for line in text if "recall >= 0.9" in line)
    assert text[-1].endswith("/ scikit-learn: 1.00")


def test_recall_report_has_the_fraction_of_splits_that_reach_it():
    found = [0.80, 0.90, 0.94, 1.00]
    records = [{"table": "adult", "recall": each, "training_rows": 2000} for each in found]
    line = recall.report(records).splitlines()[-1]
    assert line == "| adult | 4 | 2000 | 75.0% | 0.910 | 0.815 | 0.991 |"


def test_stopping_report_has_the_mean_and_each_table():
    records = [
        {
            "study": "rate",
            "setting": "constant",
            "table": name,
            "seed": 0,
            "log_loss": loss,
            "auc": 0.9,
            "seconds": 1.0,
        }
        for name, loss in (("adult", 0.2), ("spambase", 0.4))
    ]
    line = stopping.report(records).splitlines()[-1]
    assert line == "| constant | 0.3000 | 0.2000 | 0.4000 | 0.9000 | 1.00 |"


@pytest.mark.parametrize("study", options.STUDIES)
@pytest.mark.parametrize("quick", [False, True])
def test_study_settings_have_distinct_names(study, quick):
    settings = grids.STUDIES[study](5000, quick=quick)
    assert len({setting.name for setting in settings}) == len(settings)


def test_write_creates_markdown_and_json(tmp_path):
    chosen = options.Options(tables=("adult",), seeds=2)
    outcome = report.Outcome({"processor": "A"}, chosen, skipped={"covtype": "It is missing."})
    outcome.parts["thresholds"] = threshold_records()
    report.write(outcome, tmp_path / "new")
    written = json.loads((tmp_path / "new" / "quality.json").read_text())
    assert written["parts"]["thresholds"] == threshold_records()
    assert written["settings"]["tables"] == ["adult"]
    text = (tmp_path / "new" / "quality.md").read_text()
    assert "## Thresholds" in text
    assert "- covtype: It is missing." in text


# The command line


def test_parse_quick_changes_defaults_only():
    quick, _ = options.parse(["--quick"], cores=4)
    assert (len(quick.tables), quick.rows, list(quick.seeds_or(5)), quick.threads) == (
        2,
        500,
        [0],
        4,
    )
    given, output = options.parse(
        ["--quick", "--table", "adult", "--seeds", "2", "--rows", "99", "--output", "x"], cores=4
    )
    assert (given.tables, given.rows, list(given.seeds_or(5))) == (("adult",), 99, [0, 1])
    assert output == Path("x")


def test_parse_default_is_three_parts_on_all_tables():
    chosen, output = options.parse([], cores=1)
    assert chosen.parts == ("pipelines", "thresholds", "recall")
    assert chosen.tables == options.TABLES
    assert (chosen.rows, list(chosen.seeds_or(5)), output) == (5000, [0, 1, 2, 3, 4], None)


def test_run_missing_tables_are_reported(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    monkeypatch.setattr(tables, "read", tables.read.__wrapped__)
    outcome = run.run(options.Options(tables=("adult",)), keep=lambda outcome: None)
    assert not outcome.parts
    assert "adult.csv.gz does not exist" in outcome.skipped["adult"]


def test_command_quick_writes_all_parts(tmp_path):
    if ENVIRONMENT_VARIABLE not in os.environ:
        pytest.skip(f"{ENVIRONMENT_VARIABLE} does not name the folder of the real tables")
    command = [sys.executable, "-m", "benchmarks.quality", "--quick", "--output", str(tmp_path)]
    answer = subprocess.run(
        [*command, "--threads", "1"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    written = json.loads((tmp_path / "quality.json").read_text())
    assert {part: len(records) for part, records in written["parts"].items()} == {
        "pipelines": 2 * sum(each.is_installed for each in pipeline_models.CONTENDERS.values()),
        "thresholds": 2 * 2 * len(objectives.ALL),
        "recall": 2 * 5,
    }
    assert answer.stdout.strip() == (tmp_path / "quality.md").read_text().strip()
