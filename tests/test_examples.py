"""Every example runs, draws its pictures, and says what it promises."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve

pytest.importorskip("matplotlib", reason="the examples draw pictures")

# What the examples without a picture print, among other things.
WORDS = {
    "start_save": "the same: True",
    "start_search": "trained in stacks: True",
    "start_threshold": "recall",
}
ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PNG = b"\x89PNG\r\n\x1a\n"
PICTURES = {
    "plot_displays": [
        f"plot_displays_{name}" for name in ("loss", "losses", "thresholds", "search", "sklearn")
    ],
    "start_loss": ["start_loss"],
    "plot_logistic_blobs": ["plot_logistic_blobs"],
    "plot_mlp_circles": ["plot_mlp_circles", "plot_mlp_circles_boundary"],
    "plot_mlp_images": ["plot_mlp_images", "plot_mlp_images_hardest"],
    "plot_noisy_10000": ["plot_noisy_10000"],
    "plot_random_search": ["plot_random_search"],
    "plot_search": ["plot_search"],
}


def run_example(name, *arguments, folder):
    """Run a script in a folder of its own, and give what it prints."""
    # One thread each, as the tests run side by side on all cores.
    settings = {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
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
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def report(folder):
    return run_example(
        "quickstart", "--output", folder, "--picture", folder / "copy.png", folder=folder
    )


def test_examples_in_the_folder_are_all_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"quickstart", *PICTURES, *WORDS}


@pytest.mark.parametrize("name", WORDS)
def test_example_run_by_itself_says_what_it_found(name, tmp_path):
    assert WORDS[name] in run_example(name, folder=tmp_path)


@pytest.mark.parametrize("name", PICTURES)
def test_example_run_by_itself_draws_its_pictures(name, tmp_path):
    run_example(name, tmp_path, folder=tmp_path)
    drawn = {path.stem for path in tmp_path.glob("*.png") if path.read_bytes().startswith(PNG)}
    assert drawn == set(PICTURES[name])


@pytest.mark.parametrize(
    "path", [*EXAMPLES.glob("*.py"), *ROOT.glob("docs/**/*.md"), ROOT / "README.md"], ids=str
)
def test_code_that_is_shown_never_validates_on_test_rows(path):
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?:X_val|y_val)=\S*test", text) == []


def test_displays_of_one_fit_are_all_of_the_same_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["plot_displays.py", str(tmp_path)])
    shown = runpy.run_path(str(EXAMPLES / "plot_displays.py"))
    model, network = shown["model"], shown["model"][-1]
    assert network.learning_rate_init == 0.003
    np.testing.assert_array_equal(shown["display"].loss, network.loss_curve_)
    probability = model.predict_proba(shown["X_test"])[:, 1]
    expected = roc_curve(shown["y_test"], probability, pos_label="malignant")[:2]
    [line] = [each for each in shown["left"].lines if each.get_label().startswith("network")]
    np.testing.assert_array_equal(line.get_xydata().T, expected)


@pytest.mark.parametrize("name", ["TorchLogisticClassifier", "TorchMLPClassifier"])
def test_quickstart_report_has_the_promised_auc(report, name):
    cross_validated = report.partition("Grid search")[0]
    assert float(re.search(rf"\b{name} +([\d.]+)", cross_validated)[1]) >= 0.99


def test_quickstart_report_is_short(report):
    assert len(report.splitlines()) < 30


def test_quickstart_threshold_finds_the_malignant_rows(report):
    chosen = re.search(r"Threshold for 99% recall: ([\d.]+)", report)[1]
    assert float(re.search(rf"at {chosen}: recall ([\d.]+)%", report)[1]) >= 99


def test_quickstart_model_loaded_elsewhere_scores_the_same(report):
    assert "loaded in a fresh process: the same probabilities" in report


@pytest.mark.parametrize("name", ["quickstart.png", "copy.png"])
def test_quickstart_picture_is_written(report, folder, name):
    assert (folder / name).read_bytes().startswith(PNG)


def test_quickstart_picture_is_light_enough_for_the_readme(report, folder):
    assert (folder / "quickstart.png").stat().st_size < 150_000
