"""Every example runs, draws its figures, and prints what it promises."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve

pytest.importorskip("matplotlib", reason="the examples draw figures")

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
# The number of figures of each example, and something that it prints.
FIGURES = {
    "plot_credit_table": (3, "out-of-fold log loss of the ensemble"),
    "plot_displays": (5, ""),
    "plot_logistic_blobs": (2, "accuracy: 99"),
    "plot_mixed_table": (3, "out-of-fold log loss of the ensemble"),
    "plot_mlp_circles": (3, "validation set"),
    "plot_mlp_images": (2, "chance level"),
    "plot_noisy_10000": (2, "probability"),
    "plot_own_network": (3, "batched: 9 of 9 candidates"),
    "plot_random_search": (2, "log loss"),
    "plot_search": (2, "batched: 48 of 48 candidates"),
    "start_loss": (1, "stopped by: validation_loss"),
    "start_save": (0, "same probabilities: True"),
    "start_search": (1, "batched: True"),
    "torchrun_fit": (0, "TorchMLPClassifier: log loss"),
    "start_threshold": (1, "predict uses the tuned threshold: True"),
}
# Runs a script like "python SCRIPT", and counts the figures that are open at its end.
RUN = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
import matplotlib.pyplot as plt
print("figures:", len(plt.get_fignums()))
"""


def run_example(name, folder):
    """Run a script in a folder of its own, and return what it prints."""
    # One thread each, as the tests run in parallel on all cores.
    settings = {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    # plt.show() warns on machines with a display.
    quiet = ["-W", "ignore:FigureCanvasAgg is non-interactive"]
    result = subprocess.run(
        [sys.executable, *quiet, "-c", RUN, next(EXAMPLES.rglob(f"{name}.py"))],
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no warnings either
    return result.stdout


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return run_example("quickstart", tmp_path_factory.mktemp("quickstart"))


def test_examples_in_the_folder_are_all_tested():
    assert {path.stem for path in EXAMPLES.rglob("*.py")} == {"quickstart", *FIGURES}


@pytest.mark.parametrize("name", FIGURES)
def test_example_run_by_itself_draws_its_figures_and_leaves_no_file(name, tmp_path):
    n_figures, words = FIGURES[name]
    printed = run_example(name, tmp_path)
    assert words in printed
    assert f"figures: {n_figures}\n" in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", list(EXAMPLES.rglob("*.py")), ids=lambda path: path.stem)
def test_example_shows_neither_a_command_line_nor_files_of_pictures(path):
    assert re.findall(r"argparse|savefig", path.read_text()) == []


@pytest.mark.parametrize(
    "path", [*EXAMPLES.rglob("*.py"), *ROOT.glob("docs/**/*.md"), ROOT / "README.md"], ids=str
)
def test_code_that_is_shown_never_validates_on_test_rows(path):
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?:X_val|y_val)=\S*test", text) == []


def test_displays_of_one_fit_are_all_of_the_same_fit(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    shown = runpy.run_path(str(EXAMPLES / "tutorials" / "plot_displays.py"))
    model, network = shown["model"], shown["model"][-1]
    assert network.learning_rate_init == 0.003
    np.testing.assert_array_equal(shown["display"].loss, network.loss_curve_)
    probability = model.predict_proba(shown["X_test"])[:, 1]
    expected = roc_curve(shown["y_test"], probability, pos_label="malignant")[:2]
    [line] = [each for each in shown["left"].lines if each.get_label().startswith("network")]
    np.testing.assert_array_equal(line.get_xydata().T, expected)
    sys.modules["matplotlib.pyplot"].close("all")


def test_own_networks_are_batched_and_score_better_than_the_baselines(tmp_path):
    printed = run_example("plot_own_network", tmp_path)
    images, table = printed.split("log loss  ROC AUC")[1:]

    def losses(text):
        return {
            name: float(loss) for name, loss in re.findall(r"^([a-z].*?) {2,}([\d.]+)", text, re.M)
        }

    of_images, of_table = losses(images), losses(table)
    assert of_images["convolutional networks"] < of_images["fully connected networks"]
    assert of_table["residual networks"] < of_table["one residual network"]
    assert of_table["one residual network"] < of_table["gradient-boosted trees"]
    batched = re.findall(r"batched: (\d+) of (\d+)", printed)
    assert len(batched) == 4
    assert all(some == every for some, every in batched)
    # The objective is a precision of 0.95 on out-of-fold scores, of which test data may fall short.
    assert float(re.search(r"^ +8 +([\d.]+)", printed, re.M)[1]) >= 0.9


@pytest.mark.parametrize("name", ["TorchLogisticClassifier", "TorchMLPClassifier"])
def test_quickstart_report_has_the_promised_auc(report, name):
    cross_validated = report.partition("Grid search")[0]
    assert float(re.search(rf"\b{name} +([\d.]+)", cross_validated)[1]) >= 0.99


def test_quickstart_report_is_short(report):
    assert len(report.splitlines()) < 30


def test_quickstart_threshold_finds_the_malignant_rows(report):
    tuned = re.search(r"Threshold for 99% recall: ([\d.]+)", report)[1]
    assert float(re.search(rf"at {tuned}: recall ([\d.]+)%", report)[1]) >= 99


def test_quickstart_model_loaded_elsewhere_predicts_the_same(report):
    assert "Loaded in a fresh process: the same probabilities" in report


def test_quickstart_draws_two_figures(report):
    assert "figures: 2\n" in report
