"""The example of the page on clusters runs under torchrun, and prints what one process prints."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "torchrun_fit.py"


def run(*command):
    """Run a command, and return the lines that it prints."""
    result = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_example_under_torchrun_prints_the_losses_of_one_process():
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    together = run(*launcher, EXAMPLE)
    assert together == run(EXAMPLE)
    assert [each.partition(":")[0] for each in together] == [
        "TorchLogisticClassifier",
        "TorchMLPClassifier",
    ]
