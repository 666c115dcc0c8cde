"""Does a recall that was asked for hold on new rows? Many random splits tell how often."""

from __future__ import annotations

import numpy as np

from benchmarks.quality import fitting, objectives, options, tables
from benchmarks.quality.markdown import Record, distinct, having, table
from benchmarks.quality.objectives import Counts
from skbinary import TorchLogisticClassifier

TABLES = ("mammography", "credit_default")
LEVEL = 0.9
_ROWS = 2000
_SPLITS = 200
_QUICK_SPLITS = 5


def measure(wanted: options.Options) -> list[Record]:
    """Fit on every split, and see which recall its test rows have.

    Parameters
    ----------
    wanted : Options

    Returns
    -------
    list of Record
        Of one split each: ``table``, ``split``, ``recall``, ``precision``, ``threshold``.
    """
    rows, n_splits = (wanted.rows, _QUICK_SPLITS) if wanted.quick else (_ROWS, _SPLITS)
    records: list[Record] = []
    for name in wanted.tables_among(TABLES):
        fitting.say(f"recall: {name}")
        for i in range(n_splits):
            split = tables.split(name, rows, seed=i, most_test_rows=None)
            model = TorchLogisticClassifier(threshold={"recall": LEVEL}, random_state=i)
            fitting.fit(model, split.X_train, split.y_train)
            flagged = model.predict(split.X_test) == 1
            counts = Counts.of(split.y_test, flagged)
            record = {key: objectives.QUANTITIES[key](counts) for key in ("recall", "precision")}
            where = {"table": name, "split": i, "training_rows": len(split.y_train)}
            records.append({**where, **record, "threshold": float(model.threshold_)})
    return records


def report(records: list[Record]) -> str:
    """Make the chapter.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    header = ["table", "splits", "training rows", f"recall >= {LEVEL:g}", "mean recall"]
    rows = []
    for name in distinct(records, "table"):
        own = having(records, table=name)
        found = np.array([record["recall"] for record in own])
        low, high = np.quantile(found, [0.05, 0.95])
        share = f"{np.mean(found >= LEVEL):.1%}"
        counts = [str(len(own)), str(own[0]["training_rows"])]
        rows.append([name, *counts, share, f"{found.mean():.3f}", f"{low:.3f}", f"{high:.3f}"])
    asked = {"recall": LEVEL}
    words = (
        f"`TorchLogisticClassifier(threshold={asked})` on rows drawn anew for every split: the "
        "share of the splits whose test rows, all the rest, have the recall that was asked for."
    )
    return "\n\n".join(["## Recall", words, table([*header, "5% quantile", "95% quantile"], rows)])
