"""The part "pipelines" of the quality benchmarks measures raw data frames and reuses records."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from benchmarks.quality import (
    chart,
    fitting,
    options,
    pipeline_models,
    pipeline_report,
    pipelines,
    report,
    tables,
)
from benchmarks.quality.pipeline_models import CONTENDERS, CategoricalColumns, Contender

RNG = np.random.RandomState(0)
Y = np.tile([0, 1], 200)
FRAME = pd.DataFrame(
    {
        "number": np.where(np.arange(400) % 7 == 0, np.nan, Y + RNG.normal(size=400)),
        "name": np.where(np.arange(400) % 5 == 0, None, np.where(Y, "a", "b")),
        "place": [f"p{i % 300}" for i in range(400)],
    }
)


def make_cheap(categories, seed, threads):
    return make_pipeline(tables.preprocessor(), LogisticRegression())


@pytest.fixture
def two_tables(monkeypatch):
    """Two tables, of which the second one is short, and two contenders."""
    contents = {"adult": (FRAME, Y), "german_credit": (FRAME[:40], Y[:40])}
    monkeypatch.setattr(tables, "read", contents.__getitem__)
    cheap = Contender("sklearn", make_cheap)
    monkeypatch.setattr(pipelines, "CONTENDERS", {"CatBoost": cheap, "XGBoost": cheap})


def chosen(**values):
    defaults = {"tables": ("adult", "german_credit"), "seeds": 1, "sizes": (30, 200)}
    return options.Options(**defaults | values)


# Splits and models


def test_raw_split_keeps_text_and_missing_values(two_tables):
    X_train, y_train, X_test, y_test = tables.raw_split("adult", 100, seed=0)
    train, test = tables.draw(Y, 100, 0, tables.MAX_RAW_TEST_ROWS)
    pd.testing.assert_frame_equal(X_train, FRAME.iloc[train].reset_index(drop=True))
    pd.testing.assert_frame_equal(X_test, FRAME.iloc[test].reset_index(drop=True))
    assert_array_equal(y_train, Y[train])
    assert_array_equal(y_test, Y[test])


def test_takes_part_tables_have_half_of_the_rows():
    assert pipelines.takes_part(4_454, 5000)  # 3,340 training rows
    assert not pipelines.takes_part(1_000, 2000)
    assert not pipelines.takes_part(11_183, 20_000)


def test_categorical_columns_unknown_category_is_missing():
    columns = CategoricalColumns().fit(FRAME[["name"]])
    converted = columns.transform(pd.DataFrame({"name": ["b", "z", None, "a"]}))["name"]
    assert list(converted.cat.categories) == ["a", "b"]
    assert_array_equal(converted.cat.codes, [1, -1, -1, 0])


def test_categorical_columns_keep_the_most_frequent_categories():
    frame = pd.DataFrame({"name": ["c", "a", "b", "c", "a"]})
    converted = CategoricalColumns(max_categories=2).fit_transform(frame)["name"]
    assert_array_equal(converted.cat.codes, [1, 0, -1, 1, 0])


def test_missing_as_text_changes_categories_only():
    changed = pipeline_models.missing_as_text(FRAME)
    assert set(changed["name"]) == {"a", "b", "missing"}
    pd.testing.assert_series_equal(changed["number"], FRAME["number"])
    assert FRAME["name"].isna().any()


def test_options_name_all_contenders():
    assert tuple(CONTENDERS) == options.CONTENDERS


@pytest.mark.parametrize("name", CONTENDERS)
def test_contender_fits_gaps_and_hundreds_of_categories(name):
    if not CONTENDERS[name].is_installed:
        pytest.skip(f"{name} is not installed")
    model = CONTENDERS[name].make(pipeline_models.categorical_columns(FRAME), 0, 1)
    fitting.fit(model, FRAME, Y)
    unknown = FRAME[:20].assign(place="new")
    assert fitting.evaluate(model, unknown, Y[:20])["auc"] > 0.9


# Scores


def test_calibration_error_equals_that_of_the_calibration_curve():
    probability = RNG.random_sample(1500)
    y = (RNG.random_sample(1500) < probability**2).astype(int)
    fractions, means = calibration_curve(y, probability, n_bins=15, strategy="quantile")
    expected = np.mean(np.abs(fractions - means))  # all bins have 100 rows
    assert fitting.calibration_error(y, probability) == pytest.approx(expected)


def test_calibration_error_equal_probabilities_share_a_bin():
    y = np.array([0, 0, 0, 1] * 10)
    assert fitting.calibration_error(y, np.full(40, 0.25)) == pytest.approx(0)
    assert fitting.calibration_error(np.sort(y), np.full(40, 0.35)) == pytest.approx(0.1)


def test_score_returns_the_brier_score():
    scores = fitting.score(np.array([0, 1]), np.array([0.1, 0.6], dtype=np.float32))
    assert scores["brier"] == pytest.approx((0.01 + 0.16) / 2)


# Measuring and reusing records


def test_measure_has_a_record_for_every_fit(two_tables):
    records = pipelines.measure(chosen(seeds=2))
    assert {(each["table"], each["rows"]) for each in records} == {
        ("adult", 30),
        ("adult", 200),
        ("german_credit", 30),  # which has 30 training rows
    }
    assert len(records) == 2 * 2 * 3
    assert all(each["cpu_seconds"] >= 0 and 0 < each["log_loss"] < 1 for each in records)


def mark_as_earlier(path):
    records = [{**each, "version": "earlier"} for each in json.loads(path.read_text())]
    path.write_text(json.dumps(records))


def test_measure_takes_other_models_from_the_files(two_tables, tmp_path):
    path = tmp_path / "records.json"
    pipelines.measure(chosen(contenders=("CatBoost",), records=str(path)))
    mark_as_earlier(path)
    files = {"reuse": (str(path),), "records": str(path)}
    records = pipelines.measure(chosen(contenders=("XGBoost",), **files))
    versions = {each["contender"]: each["version"] for each in records}
    assert versions["CatBoost"] == "earlier"
    assert versions["XGBoost"] != "earlier"
    assert len(records) == len(json.loads(path.read_text())) == 6


def test_measure_named_contender_is_measured_anew(two_tables, tmp_path):
    path = tmp_path / "records.json"
    pipelines.measure(chosen(contenders=("CatBoost",), records=str(path), seeds=2))
    mark_as_earlier(path)
    files = {"reuse": (str(path),), "records": str(path)}
    pipelines.measure(chosen(contenders=("CatBoost",), **files))
    written = json.loads(path.read_text())
    assert {each["seed"] for each in written if each["version"] == "earlier"} == {1}
    assert len(written) == 6


def test_measure_without_contender_measures_what_the_files_lack(two_tables, tmp_path):
    first = pipelines.measure(chosen(sizes=(30,)))
    outcome = report.Outcome({"processor": "A"}, chosen(), {"pipelines": first})
    report.write(outcome, tmp_path)
    records = pipelines.measure(chosen(reuse=(str(tmp_path / "quality.json"),)))
    assert [each for each in records if each["rows"] == 30] == first
    assert len(records) == 6


def test_measure_without_its_package_skips_a_contender(two_tables, monkeypatch, capsys):
    absent = Contender("no_such_package", make_cheap)
    monkeypatch.setitem(pipelines.CONTENDERS, "XGBoost", absent)
    records = pipelines.measure(chosen(sizes=(30,)))
    assert {each["contender"] for each in records} == {"CatBoost"}
    assert "XGBoost is left out, since it is not installed." in capsys.readouterr().err


# Report


def report_records():
    losses = {"skbinary": (0.30, 0.50), "CatBoost": (0.40, 0.40), "XGBoost": (0.50, 0.60)}
    return [
        {
            "contender": contender,
            "table": name,
            "rows": 5000,
            "seed": seed,
            "threads": 1,
            "version": "2.0",
            "training_rows": 3450 if name == "spambase" else 5000,
            "seconds": 1.0,
            "cpu_seconds": 1.0 if contender == "skbinary" else 2.0 + 2 * (name == "adult"),
            "converged": True,
            "log_loss": loss + (0.2 if seed else 0),
            "auc": 0.8,
            "brier": 0.1,
            "ece": 0.01,
        }
        for contender, both in losses.items()
        for name, loss in zip(("adult", "spambase"), both, strict=True)
        for seed in (0, 1)
    ]


def test_report_has_means_ratios_and_wins():
    text = pipeline_report.report(report_records())
    assert "| model | log loss, 5,000 | CPU / CatBoost, 5,000 |" in text
    assert "| skbinary | 0.5000 | 0.35 |" in text  # the square root of 1/2 * 1/4
    assert "| skbinary | 0.1000 | 0.0100 |" in text
    assert "### 5,000 training rows\n\n2 tables, 2 seed(s); spambase has 3,450." in text
    assert "The lowest log loss: skbinary on adult; CatBoost on spambase." in text
    assert "than CatBoost: skbinary on 1 of 2 tables, XGBoost on 0 of 2 tables." in text
    assert "Not measured: TorchMLPClassifier, LightGBM, HistGradientBoosting, " in text


def test_report_model_without_a_size_has_an_empty_cell():
    larger = [
        {**each, "rows": 20_000} for each in report_records() if each["contender"] != "XGBoost"
    ]
    text = pipeline_report.report([*report_records(), *larger])
    assert "| XGBoost | 0.6500 |  | 1.00 |  |" in text


def test_report_compares_on_the_splits_of_all_models():
    records = [
        each
        for each in report_records()
        if not (each["contender"] == "XGBoost" and each["seed"] == 1)
    ]
    text = pipeline_report.report(records)
    assert "2 tables, 1 seed(s)" in text
    assert "| skbinary | 0.4000 |" in text


def test_report_without_catboost_has_no_ratios():
    records = [each for each in report_records() if each["contender"] != "CatBoost"]
    assert "| skbinary | 0.5000 | 1.00 |" in pipeline_report.report(records)


def test_head_has_the_sizes_of_the_part():
    outcome = report.Outcome({"processor": "A"}, chosen(), {"pipelines": report_records()})
    assert "training rows: 30 or 200, and at most" in report.markdown(outcome)


def test_chart_has_a_bar_for_each_model_and_size(tmp_path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    larger = [{**each, "rows": 20_000} for each in report_records()]
    chart.draw([*report_records(), *larger], tmp_path / "quality.png")
    axes = pyplot.gcf().axes
    monkeypatch.undo()
    pyplot.close("all")
    assert (tmp_path / "quality.png").stat().st_size > 0
    assert [len(ax.patches) for ax in axes] == [3, 3, 3, 3]
    assert [each.get_text() for each in axes[0].texts] == ["0.6500", "0.5000", "0.5000"]


# The command line


def test_parse_sizes_and_files_can_be_repeated():
    arguments = ["--part", "pipelines", "--size", "500", "--size", "2000"]
    arguments += ["--contender", "CatBoost", "--reuse", "a.json", "--records", "b.json"]
    given, _ = options.parse(arguments, cores=1)
    assert (given.sizes, given.contenders) == ((500, 2000), ("CatBoost",))
    assert (given.reuse, given.records) == (("a.json",), "b.json")
    assert options.parse([], cores=1)[0].sizes == (500, 2000, 5000, 20_000)
    assert options.parse(["--quick"], cores=1)[0].sizes == (500,)
