"""How often a constraint on the recall holds on new data, over many random splits."""

from __future__ import annotations

import numpy as np

from benchmarks.quality import fitting, objectives, options, tables
from benchmarks.quality.markdown import Record, distinct, select, table
from benchmarks.quality.objectives import Counts
from skbinary import TorchLogisticClassifier

TABLES = ("mammography", "credit_default")
LEVEL = 0.9
_ROWS = 2000
_SPLITS = 200
_QUICK_SPLITS = 5


def measure(selected: options.Options) -> list[Record]:
    """Fit on every split and measure the recall on its test set.

    Parameters
    ----------
    selected : Options

    Returns
    -------
    list of Record
        One for each split: ``table``, ``split``, ``recall``, ``precision``, ``threshold``.
    """
    rows, n_splits = (selected.rows, _QUICK_SPLITS) if selected.quick else (_ROWS, _SPLITS)
    records: list[Record] = []
    for name in selected.tables_among(TABLES):
        fitting.log(f"recall: {name}")
        for i in range(n_splits):
            split = tables.split(name, rows, seed=i, max_test_rows=None)
            model = TorchLogisticClassifier(threshold={"recall": LEVEL}, random_state=i)
            fitting.fit(model, split.X_train, split.y_train)
            positive = model.predict(split.X_test) == 1
            counts = Counts.of(split.y_test, positive)
            record = {key: objectives.QUANTITIES[key](counts) for key in ("recall", "precision")}
            where = {"table": name, "split": i, "training_rows": len(split.y_train)}
            records.append({**where, **record, "threshold": float(model.threshold_)})
    return records


def report(records: list[Record]) -> str:
    """Return the section of the report.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    header = ["table", "splits", "training rows", f"recall >= {LEVEL:g}", "mean recall"]
    rows = []
    for name in distinct(records, "table"):
        own = select(records, table=name)
        found = np.array([record["recall"] for record in own])
        low, high = np.quantile(found, [0.05, 0.95])
        share = f"{np.mean(found >= LEVEL):.1%}"
        counts = [str(len(own)), str(own[0]["training_rows"])]
        rows.append([name, *counts, share, f"{found.mean():.3f}", f"{low:.3f}", f"{high:.3f}"])
    objective = {"recall": LEVEL}
    text = (
        f"`TorchLogisticClassifier(threshold={objective})` on random splits: the fraction "
        "of the splits with this recall on the test set, which is all remaining rows."
    )
    return "\n\n".join(["## Recall", text, table([*header, "5% quantile", "95% quantile"], rows)])
