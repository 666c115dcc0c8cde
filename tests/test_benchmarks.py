"""The benchmark suite is complete and can be asked; what it measures is measured elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def listed(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_list_names_every_promised_case():
    names = listed("--list").stdout.split()
    assert len(names) == len(set(names))
    networks = ["circles", "table", "images", "wide", "text", "big-batch"]
    linear = ["breast-cancer", "dense", "covtype", "adult", "long", "w8a", "sms-spam", "genes"]
    wanted = {f"mlp/{name}" for name in networks} | {f"logistic/{name}" for name in linear}
    wanted |= {"logistic/elastic-net-0.5", "logistic/elastic-net-1", "import"}
    assert wanted <= set(names)


def test_unknown_case_is_refused_with_a_hint():
    answer = listed("--case", "mlp/triangles")
    assert answer.returncode == 2
    assert "--list shows the names" in answer.stderr


@pytest.mark.parametrize("option", ["--quick", "--case", "--threads", "--device", "--rounds"])
def test_help_explains_every_option(option):
    assert option in listed("--help").stdout
