"""The recipes of CONTRIBUTING.md, followed word for word in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"

# "In `file`, after the line `...`:" or "In the new file `file`:", and the block below.
STEP = re.compile(
    r"^ *In (?:`(?P<file>[^`]+)`, (?P<how>after|instead of) the line `(?P<line>[^\n]+)`"
    r"|the new file `(?P<new>[^`]+)`):\n"
    r"\n(?P<indent> *)```\w+\n(?P<code>.*?)^ *```$",
    flags=re.DOTALL | re.MULTILINE,
)

ACTIVATION = """
import numpy as np, torch
from sklearn.datasets import make_moons
from skbinary import TorchMLPClassifier
X, y = make_moons(1000, noise=0.1, random_state=0)
model = TorchMLPClassifier((8,), activation="softplus", learning_rate_init=0.1, random_state=0)
model.set_params(max_iter=200, n_iter_no_change=200).fit(X, y)
assert model.score(X, y) > 0.95
logits = model.module_.double()(torch.as_tensor(X)).detach().numpy()
np.testing.assert_allclose(logits, model.decision_function(X), rtol=1e-9, atol=1e-9)
"""

OBJECTIVE = """
from sklearn.datasets import make_classification
from skbinary import TorchLogisticClassifier
X, y = make_classification(2000, weights=[0.7], flip_y=0.1, random_state=0)
model = TorchLogisticClassifier(threshold={"npv": 0.97}).fit(X, y)
predicted = model.predict(X)
assert 0.96 < (y[predicted == 0] == 0).mean() < 1
assert 0 < model.threshold_ < 0.5
"""

SOLVER = """
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale
from skbinary import TorchLogisticClassifier
X, y = load_breast_cancer(return_X_y=True)
found = TorchLogisticClassifier(solver="cg", tol=1e-8, max_iter=1000).fit(scale(X), y)
wanted = TorchLogisticClassifier(tol=1e-8).fit(scale(X), y)
np.testing.assert_allclose(found.coef_, wanted.coef_, atol=1e-5)
assert found.solver_ == "cg"
assert found.stop_reason_ == "converged"
"""


def steps_of(title):
    """Return the changes that a recipe asks for."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.search(rf"^## {title}\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)[1]
    steps = list(STEP.finditer(section))
    assert len(steps) == section.count("```") / 2
    return steps


def follow(step, copy):
    """Make a change in a copy of the package."""
    depth = len(step["indent"])
    code = [line[depth:] for line in step["code"].splitlines()]
    if step["new"]:
        (copy / step["new"]).write_text("\n".join(code) + "\n", encoding="utf-8")
        return
    path = copy / step["file"]
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [i for i, line in enumerate(lines) if line.strip().startswith(step["line"])]
    assert len(found) == 1, (step["line"], found)
    (where,) = found
    anchor, after = lines[where], step["how"] == "after"
    margin = " " * (len(anchor) - len(anchor.lstrip()))
    if after and anchor.endswith(("{", "[", "(")):
        margin += "    "
    lines[where + after : where + 1] = [margin + line if line else "" for line in code]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def copy(tmp_path):
    for folder in ("skbinary", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    for file in ("pyproject.toml", "setup.cfg"):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


def run(copy, *arguments):
    settings = {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, **settings},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.mark.parametrize(
    ("title", "tests", "which", "program"),
    [
        ("Add an activation", "tests/models", "softplus", ACTIVATION),
        (
            "Add an objective for the threshold",
            "tests/thresholds/test_curve.py",
            "curve",
            OBJECTIVE,
        ),
        ("Add a solver", "tests/solvers/full_batch/test_solvers.py", "cg", SOLVER),
    ],
)
def test_recipe_followed_word_for_word_works(title, tests, which, program, copy):
    for step in steps_of(title):
        follow(step, copy)
    where = run(copy, "-c", "import skbinary; print(skbinary.__file__)")
    assert Path(where.strip()) == copy / "skbinary" / "__init__.py"
    answer = run(copy, "-m", "pytest", tests, "-k", which, "-n0", "-q", "-p", "no:cacheprovider")
    assert int(re.search(r"(\d+) passed", answer)[1]) >= 8
    run(copy, "-W", "error", "-c", program)
