"""The benchmarks have all cases, and their command line and reports work."""

import os
import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import make_moons

import skbinary
from benchmarks import cases, join, out_of_core, process_tree_memory, pruning, report, threads
from benchmarks.contenders.logistics import UnsuitableError
from benchmarks.contenders.searches import SEARCHES, Search, suitable
from benchmarks.data import Source
from benchmarks.results import Outcome, Result
from skbinary.data.streamed_table import StreamedTable

ROOT = Path(__file__).parent.parent


def run_command(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_list_shows_all_cases():
    names = run_command("--list").stdout.split()
    assert len(names) == len(set(names))
    networks = ["circles", "table", "images", "wide", "text", "big-batch"]
    linear = ["breast-cancer", "dense", "covtype", "adult", "long", "w8a", "sms-spam", "genes"]
    expected = {f"mlp/{name}" for name in networks} | {f"logistic/{name}" for name in linear}
    searches = ["mlp", "logistic", "logistic-adult", "logistic-sms-spam", "mixed"]
    expected |= {f"grid/{name}" for name in searches} | {"memory/grid-mlp"}
    expected |= {f"module/{name}" for name in ("table", "images", "wide")} | {"grid/module"}
    expected |= {"halving/credit-default", "halving/adult"}
    expected |= {"logistic/elastic-net-0.5", "logistic/elastic-net-1", "import"}
    assert expected <= set(names)


def test_case_unknown_exits_with_a_hint():
    answer = run_command("--case", "mlp/triangles")
    assert answer.returncode == 2
    assert "--list shows the names" in answer.stderr


@pytest.mark.parametrize(
    "option", ["--quick", "--case", "--threads", "--device", "--rounds", "--contender"]
)
def test_help_explains_every_option(option):
    assert option in run_command("--help").stdout


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(
    "name", [case.name for case in (*cases.SEARCHES, *cases.HALVINGS, *cases.MANY)]
)
def test_search_contenders_have_the_same_number_of_candidates(name, quick):
    [case] = cases.select([name], quick=quick)
    for contender in suitable(case):
        estimator, space = SEARCHES[contender](case, 5, "cpu")
        for parameter in space:
            estimator.set_params(**{parameter: estimator.get_params().get(parameter)})
        if case.draws is None:
            assert prod(len(values) for values in space.values()) == case.candidates


def test_search_fitted_has_a_score_for_each_candidate_and_fold():
    [case] = cases.select(["grid/logistic"], quick=True)
    search = Search("GridSearchCV, lbfgs", case, "cpu", 1)
    search.fit(*Source("table", "float64", 200, 5).make())
    scores = search.split_scores
    assert [len(folds) for folds in scores] == [case.folds] * case.candidates
    assert search.best_score == pytest.approx(max(sum(folds) / len(folds) for folds in scores))


def test_search_by_halving_compares_with_the_full_grid_and_with_scikit_learn():
    [case] = cases.select(["halving/adult"], quick=True)
    X, y = Source("table", "float64", 200, 5).make()
    scores = {}
    for contender in suitable(case):
        search = Search(contender, case, "cpu", 1)
        search.fit(X, y)
        scores[contender] = search.split_scores
    assert [len(each) for each in scores.values()] == [13, 9, 13]
    halving, full, theirs = map(np.array, scores.values())
    np.testing.assert_allclose(halving, theirs, rtol=0, atol=1e-4)
    assert np.abs(full - halving[-1]).max(axis=1).min() < 1e-4


def test_search_without_its_class_is_skipped_with_a_reason(monkeypatch):
    [case] = cases.select(["grid/mixed"], quick=True)
    name = "VectorizedRandomizedSearchCV"
    monkeypatch.delattr(skbinary, name, raising=False)
    with pytest.raises(UnsuitableError, match=f"skbinary has no {name}"):
        Search("skbinary", case, "cpu", 1).fit(*Source("table", "float64", 200, 5).make())


def test_largest_difference_compares_split_scores():
    scores = {"a": [[0.5, 0.75], [0.25, 0.5]], "b": [[0.5, 0.5], [0.25, 0.375]]}
    results = [Result("x", name, details={"split_scores": scores[name]}) for name in scores]
    outcome = Outcome({}, {}, [], results)
    assert outcome.largest_difference("x", "a", "b") == 0.25
    assert outcome.largest_difference("x", "a", "absent") is None


@pytest.mark.skipif(not process_tree_memory.can_measure(), reason="/proc is needed")
def test_process_tree_memory_counts_child_processes():
    size = 100_000_000
    code = f"import time; held = bytearray(b'x' * {size}); time.sleep(1)"
    peak = process_tree_memory.peak_above(
        lambda: subprocess.run([sys.executable, "-c", code], check=True)
    )
    assert size < peak < 4 * size


def test_one_thread_in_new_processes_restores_the_environment(monkeypatch):
    set_before, unset_before, *_ = threads.VARIABLES
    monkeypatch.setenv(set_before, "7")
    monkeypatch.delenv(unset_before, raising=False)
    with threads.one_thread_in_new_processes():
        assert {os.environ[name] for name in threads.VARIABLES} == {"1"}
    assert os.environ[set_before] == "7"
    assert unset_before not in os.environ


def outcome_of(case, seconds, **settings):
    settings = {"threads": 1, "device": "cpu", "rounds": 2, "quick": False} | settings
    values = {"skbinary": [seconds, seconds], "MLPClassifier": [1.0, 1.0]}
    results = [Result(case, name, each) for name, each in values.items()]
    machine = {"processor": "A", "system": "Linux"}
    return Outcome(machine, settings, [], results, shapes={case: "10 x 2"}, seconds=60.0)


def test_join_uses_the_last_run_of_a_case(tmp_path):
    runs = [
        outcome_of("mlp/table", 9.0),
        outcome_of("mlp/circles", 0.5),
        outcome_of("mlp/table", 0.25),
    ]
    files = []
    for i, outcome in enumerate(runs):
        report.write_tables(outcome, tmp_path / str(i))
        files.append(tmp_path / str(i) / "benchmarks.json")
    joined = join.join(files)
    assert joined.ratio("mlp/table", "MLPClassifier") == 0.25
    assert joined.ratio("mlp/circles", "MLPClassifier") == 0.5
    assert list(joined.shapes) == ["mlp/circles", "mlp/table"]
    assert joined.seconds == 180.0
    assert "| mlp/table |" in report.markdown(joined)


def test_join_different_machines_raises(tmp_path):
    files = []
    for i, processor in enumerate("AB"):
        outcome = outcome_of("mlp/table", 1.0)
        outcome.machine["processor"] = processor
        report.write_tables(outcome, tmp_path / str(i))
        files.append(tmp_path / str(i) / "benchmarks.json")
    with pytest.raises(ValueError, match="processor must be the same in all runs"):
        join.join(files)


def test_pruning_before_trials_can_be_pruned_finds_the_same():
    pytest.importorskip("optuna", reason="the extra optuna is not installed")
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    X, y = make_moons(100, noise=0.3, random_state=0)
    options = pruning.Options("none", rows=100, trials=1, members=2, seed=0)
    plain, pruned = (pruning.run_study(options, X, y, prunes=each) for each in (False, True))
    assert plain["pruned"] == pruned["pruned"] == 0
    assert plain["best"] == pruned["best"]
    assert plain["epochs"] == pruned["epochs"] > 2 * 5


def test_pruning_help_explains_every_option():
    command = [sys.executable, "-m", "benchmarks.pruning", "--help"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for option in ("--table", "--rows", "--trials", "--members", "--seed", "--threads"):
        assert option in answer.stdout


@pytest.mark.parametrize("task", out_of_core.TASKS)
def test_out_of_core_reads_the_whole_table_in_each_pass(tmp_path, task):
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    path = tmp_path / "rows.parquet"
    n_rows = out_of_core.write_table(path, gigabytes=0.002)
    assert path.stat().st_size == pytest.approx(2e6, rel=0.05)
    read = StreamedTable.read
    result = out_of_core.measure(task, str(path), "400KB")
    assert result["rows"] % n_rows == 0
    assert (result["rows"] == n_rows) == (task == "read")
    assert StreamedTable.read is read


def test_out_of_core_help_explains_every_option():
    command = [sys.executable, "-m", "benchmarks.out_of_core", "--help"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for option in ("--gigabytes", "--memory", "--folder", "--task", "--path"):
        assert option in answer.stdout
