"""Objectives of tuned thresholds on test data, compared with scikit-learn."""

from __future__ import annotations

from statistics import median

from benchmarks.quality import decisions, fitting, models, objectives, options, tables
from benchmarks.quality.markdown import Record, distinct, number, select, summary, table

TABLES = ("mammography", "credit_default", "adult")
_SEEDS = 5

_TEXT = """\
Medians over {seeds} seed(s), on test data. "value" is the objective at the tuned threshold; other
columns give it at 0.5 and for scikit-learn, that is `TunedThresholdClassifierCV` over
`LogisticRegression`, or for 0.5 `LogisticRegression` alone. "not worse" counts the seeds on which
scikit-learn's lead is within the bootstrap interval of the test rows (in at least 5% of the
resamples it is not ahead), and is "yes" for at least half of the seeds. With a constraint,
"reached" is the constrained metric and "met" counts the seeds on which the constraint holds."""


def measure(selected: options.Options) -> list[Record]:
    """Fit with every objective on every table.

    Parameters
    ----------
    selected : Options

    Returns
    -------
    list of Record
        See `decisions.compare`; each also has ``table`` and ``seed``.
    """
    fitting.warm_up(models.threshold_contenders(objectives.Objective("f1"), 0))
    records: list[Record] = []
    names = selected.tables_among(TABLES)
    for name, seed, split in tables.splits(names, selected.seeds_or(_SEEDS), selected.rows):
        fitting.log(f"thresholds: {name}, seed {seed}")
        for objective in objectives.ALL:
            classifiers = models.threshold_contenders(objective, seed)
            fits = fitting.fit_all(classifiers, split, seed)
            rows = decisions.compare(objective, classifiers, fits, split.X_test, split.y_test)
            records += [{"table": name, "seed": seed, **row} for row in rows]
    return records


def report(records: list[Record]) -> str:
    """Return the section of the report.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    text = _TEXT.format(seeds=len(distinct(records, "seed")))
    sections = ["## Thresholds", text]
    for model in distinct(records, "model"):
        own = select(records, model=model)
        unconstrained = select(own, constrained=None)
        constrained = [record for record in own if record["constrained"] is not None]
        sections += [
            f"### {model}",
            _unconstrained_table(unconstrained),
            _constrained_table(constrained),
        ]
    return "\n\n".join([*sections, "\n".join(comparison_lines(records))])


def comparison_lines(records: list[Record]) -> list[str]:
    """Compare with scikit-learn.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    against = [record for record in records if record["not_worse"] is not None]
    counts = [_count(own, "not_worse") for own in _rows(against).values()]
    n_not_worse = sum(count.startswith("yes") for count in counts)
    ours, theirs = (sum(each[key] for each in against) for key in ("seconds", "peer_seconds"))
    return [
        f"- {models.OUR_LOGISTIC} is not worse than scikit-learn, up to the bootstrap interval, in "
        f"{n_not_worse} of {len(counts)} rows",
        "- Time of all fits with an objective that scikit-learn supports, "
        f"{models.OUR_LOGISTIC} / scikit-learn: {ours / theirs:.2f}",
    ]


def _unconstrained_table(records: list[Record]) -> str:
    header = ["table, objective", "threshold", "interval", "value", "at 0.5", "seconds"]
    has_peer = any(record["peer_value"] is not None for record in records)
    if has_peer:
        header += ["scikit-learn", "not worse", "scikit-learn, seconds"]
    rows = []
    for label, own in _rows(records).items():
        cells = [*_threshold(own), *_medians(own, "value", "value_at_half")]
        cells += _medians(own, "seconds")
        if has_peer:
            cells += [*_medians(own, "peer_value"), _count(own, "not_worse")]
            cells += _medians(own, "peer_seconds")
        rows.append([label, *cells])
    return table(header, rows)


def _constrained_table(records: list[Record]) -> str:
    header = ["table, objective", "threshold", "interval", "reached", "at 0.5", "met"]
    rows = [
        [
            label,
            *_threshold(own),
            *_medians(own, "reached", "reached_at_half"),
            _count(own, "met"),
            *_medians(own, "value", "value_at_half"),
            *_medians(own, "seconds"),
        ]
        for label, own in _rows(records).items()
    ]
    return table([*header, "value", "value at 0.5", "seconds"], rows)


def _rows(records: list[Record]) -> dict[str, list[Record]]:
    """Group the records by the label of their row."""
    rows: dict[str, list[Record]] = {}
    for record in records:
        objective, metric = record["objective"], record["metric"]
        label = objective if objective == metric else f"{objective} ({metric})"
        rows.setdefault(f"{record['table']}, {label}", []).append(record)
    return rows


def _medians(records: list[Record], *keys: str) -> list[str]:
    return [number(summary(records, key, median), digits=3) for key in keys]


def _threshold(records: list[Record]) -> list[str]:
    threshold, low, high = _medians(records, "threshold", "low", "high")
    return [threshold, f"{low} to {high}"]


def _count(records: list[Record], key: str) -> str:
    known = [record[key] for record in records if record[key] is not None]
    if not known:
        return ""
    answer = "yes" if 2 * sum(known) >= len(known) else "**no**"
    return f"{answer} ({sum(known)} of {len(known)})"
