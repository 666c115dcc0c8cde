"""Rows a second and the time left, by a clock of the test."""

import re

import numpy as np
import pytest
from sklearn.datasets import make_classification

from skbinary import (
    Checkpoint,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    VectorizedHalvingGridSearchCV,
)
from skbinary.callbacks import progress
from skbinary.callbacks.progress import FitProgress, format_seconds
from tests.kills import Killed, Saves

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(1200, 5, random_state=0)
NETWORK = TorchMLPClassifier(
    (4,), max_iter=4, n_iter_no_change=4, early_stopping=False, random_state=0
)
LINE = re.compile(r"epoch (\d+): .* s, ([\d,]+) rows/s, at most (.+) left$")


class Clock:
    """A clock that a test sets, or that goes on by some seconds with every epoch."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "clock", clock)
    return clock


@pytest.fixture
def epochs_of_two_seconds(clock, monkeypatch):
    """Every epoch of every model takes two seconds."""

    def end_epoch(self, n_samples, original=FitProgress.end_epoch):
        clock.now += 2
        original(self, n_samples)

    monkeypatch.setattr(FitProgress, "end_epoch", end_epoch)


def lines_of(capsys):
    lines = capsys.readouterr().out.splitlines()
    return [match.groups() for match in map(LINE.search, lines) if match]


def network(**parameters):
    return TorchMLPClassifier(**{**NETWORK.get_params(), **parameters})


@pytest.mark.usefixtures("epochs_of_two_seconds")
def test_lines_of_a_network_show_rows_a_second_and_the_time_left(capsys):
    network(verbose=1).fit(X, Y)
    assert lines_of(capsys) == [
        ("1", "600", "6 s"),
        ("2", "600", "4 s"),
        ("3", "600", "2 s"),
        ("4", "600", "0 s"),
    ]


@pytest.mark.usefixtures("epochs_of_two_seconds")
def test_lines_of_an_ensemble_count_all_members(capsys):
    network(verbose=1, n_members=3, max_iter=2).fit(X, Y)
    found = lines_of(capsys)
    assert [rate for _, rate, _ in found] == ["400"] * 6  # two thirds of the rows in two seconds
    assert [left for *_, left in found] == ["10 s", "8 s", "6 s", "4 s", "2 s", "0 s"]


@pytest.mark.usefixtures("epochs_of_two_seconds")
def test_time_left_includes_the_models_that_choose_the_threshold(capsys):
    network(verbose=4, threshold="f1").fit(X, Y)
    # Five models of 960 rows after the one of 1,200 rows, each for 4 epochs.
    assert lines_of(capsys) == [("4", "600", "32 s")]


@pytest.mark.usefixtures("epochs_of_two_seconds")
def test_time_left_counts_the_models_that_chose_the_epochs(capsys):
    network(verbose=1, early_stopping="auto", max_iter=2).fit(X[:500], Y[:500])
    # Five models of 400 rows have been trained for 2 epochs in 20 seconds, and then one epoch of
    # 500 rows in 2 seconds.
    epoch, rate, left = lines_of(capsys)[0]
    assert (epoch, rate) == ("1", "205")  # 4500 / 22
    assert left in ("0 s", "2 s")


@pytest.mark.usefixtures("epochs_of_two_seconds")
def test_resumed_fit_measures_its_own_epochs(monkeypatch, tmp_path, capsys):
    pytest.importorskip("safetensors", reason="checkpoints need the extra safetensors")
    checkpoint = Checkpoint(tmp_path / "run.safetensors", seconds=0)
    with monkeypatch.context() as patch:
        saves = Saves(patch)
        saves.n_until_kill = 2
        with pytest.raises(Killed):
            network(verbose=1).fit(X, Y, checkpoint=checkpoint)
    capsys.readouterr()
    network(verbose=1).fit(X, Y, checkpoint=checkpoint)
    assert lines_of(capsys) == [("3", "600", "2 s"), ("4", "600", "0 s")]


def test_search_prints_a_line_every_ten_seconds(epochs_of_two_seconds, capsys):
    grid = {"alpha": [1e-4, 1.0]}
    VectorizedGridSearchCV(NETWORK, grid, cv=2, verbose=1).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    # Four models of 600 rows for 4 epochs, and one of 1,200 rows in the end.
    assert lines == [
        "Fitting 2 folds for each of 2 candidates, totalling 4 fits",
        "0 of 4 models trained, 300 rows/s, at most 38 s left",
        "0 of 4 models trained, 300 rows/s, at most 28 s left",
        "2 of 4 models trained, 300 rows/s, at most 18 s left",
    ]


def test_time_left_of_a_search_includes_splits_that_are_not_planned(epochs_of_two_seconds, capsys):
    grid = {"alpha": [1e-4, 1.0]}
    # Each split is trained on its own, since the rows of two do not fit into the memory.
    VectorizedGridSearchCV(NETWORK, grid, cv=2, verbose=1, refit=False, max_memory=1000).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "1 of 2 models trained, 300 rows/s, at most 22 s left"


def test_halving_search_counts_each_round_once(epochs_of_two_seconds, capsys):
    VectorizedHalvingGridSearchCV(
        NETWORK, {"alpha": [1e-4, 1.0]}, factor=2, cv=2, min_resources=600, refit=False, verbose=1,
        random_state=0,
    ).fit(X, Y)  # fmt: skip
    found = re.findall(r"(\d+) of (\d+) models trained", capsys.readouterr().out)
    assert {int(n_models) for _, n_models in found} == {4, 6}


def test_silent_fits_have_no_observers_of_progress(monkeypatch):
    monkeypatch.setattr(FitProgress, "follow", lambda *args: pytest.fail("progress is counted"))
    network(n_members=2).fit(X, Y)
    TorchLogisticClassifier().fit(X, Y)
    VectorizedGridSearchCV(NETWORK, {"alpha": [1e-4]}, cv=2).fit(X, Y)


def test_text_before_the_first_epoch_promises_nothing(clock):
    fit = FitProgress()
    fit.follow(100, 10, lambda: False)
    assert fit.text() == "0 rows/s"


def test_models_that_are_trained_have_no_rows_left(clock):
    fit = FitProgress()
    model = fit.follow(100, 10, lambda: False)
    fit.follow(100, 10, lambda: True)
    fit.begin_epoch()
    clock.now = 1.0
    fit.end_epoch(100)
    assert fit.text() == "100 rows/s, at most 10 s left"
    model.train_end(None)
    assert fit.text() == "100 rows/s, at most 0 s left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3600 + 120 + 3, "1 h 2 min"),
        (3 * 86400 + 3 * 3600 + 59, "3 d 3 h"),
        (np.float64(86400), "1 d"),
    ],
)
def test_format_seconds_shows_two_units(seconds, text):
    assert format_seconds(seconds) == text
