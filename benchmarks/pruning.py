"""Compare a study that prunes trials with one that does not: ``python -m benchmarks.pruning``."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from benchmarks import threads


@dataclass(frozen=True)
class Options:
    """Settings of the comparison.

    Parameters
    ----------
    table : str
        A real table of the quality benchmarks.
    rows : int
        Number of training rows.
    trials : int
        Trials of each study.
    members : int
        Networks of each ensemble.
    seed : int
        Seed of the sampler and of the networks.
    """

    table: str
    rows: int
    trials: int
    members: int
    seed: int


class EpochCounter:
    """A scikit-learn callback that counts the epochs of all networks."""

    def __init__(self) -> None:
        self.n_epochs = 0

    def setup(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Count an epoch."""
        self.n_epochs += context.task_name == "epoch"


def run_study(options: Options, X: Any, y: Any, *, prunes: bool) -> dict[str, float]:
    """Tune an ensemble on a table.

    Parameters
    ----------
    options : Options
    X : DataFrame of shape (n_samples, n_columns)
    y : ndarray of shape (n_samples,)
    prunes : bool
        Whether Optuna's MedianPruner prunes trials.

    Returns
    -------
    dict of str to float
        The best out-of-fold log loss, the number of pruned trials, epochs of networks, and
        seconds of the processor, which other programs do not change.
    """
    import optuna

    from skbinary import make_tabular_pipeline
    from skbinary.callbacks.optuna import PruningCallback

    counter = EpochCounter()

    def objective(trial: Any) -> float:
        width = trial.suggest_categorical("width", [64, 128, 256])
        model = make_tabular_pipeline(random_state=options.seed)
        model[-1].set_params(
            n_members=options.members,
            hidden_layer_sizes=(width, width),
            learning_rate_init=trial.suggest_float("learning_rate_init", 1e-5, 3e-2, log=True),
            dropout=trial.suggest_float("dropout", 0, 0.6),
            weight_decay=trial.suggest_float("weight_decay", 1e-3, 1, log=True),
        )
        model[-1].set_callbacks(PruningCallback(trial), counter)
        return model.fit(X, y)[-1].oof_loss_

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner() if prunes else optuna.pruners.NopPruner()
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=options.seed), pruner=pruner
    )
    begin = time.process_time()
    study.optimize(objective, options.trials)
    return {
        "best": study.best_value,
        "pruned": sum(trial.state.name == "PRUNED" for trial in study.trials),
        "epochs": counter.n_epochs,
        "CPU seconds": time.process_time() - begin,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run both studies, and print the machine and a table."""
    parsed = _parse(arguments)
    threads.limit(parsed.threads)
    from sklearn.exceptions import ConvergenceWarning

    from benchmarks import machine
    from benchmarks.quality import markdown, tables

    warnings.simplefilter("ignore", ConvergenceWarning)
    options = Options(parsed.table, parsed.rows, parsed.trials, parsed.members, parsed.seed)
    X, y, _, _ = tables.raw_split(options.table, options.rows, options.seed)
    facts = machine.describe("cpu") | {"optuna": version("optuna")}
    print(", ".join(f"{name} {fact}" for name, fact in facts.items()), end="\n\n")
    print(f"{options}, {parsed.threads} threads", end="\n\n", flush=True)
    rows = []
    for name, prunes in (("all epochs", False), ("pruned", True)):
        found = run_study(options, X, y, prunes=prunes)
        counts = [f"{found[key]:,.0f}" for key in ("pruned", "epochs", "CPU seconds")]
        rows.append([name, f"{found['best']:.4f}", *counts])
    header = ["trials", "best out-of-fold log loss", "pruned trials", "epochs", "CPU seconds"]
    print(markdown.table(header, rows))
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning", description=__doc__)
    parser.add_argument("--table", default="adult", help="a table in SKBINARY_DATA")
    parser.add_argument("--rows", type=int, default=5000, help="training rows")
    parser.add_argument("--trials", type=int, default=30, help="trials of each study")
    parser.add_argument("--members", type=int, default=4, help="networks of each ensemble")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampler and the networks")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of a fit")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
