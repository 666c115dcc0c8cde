"""Do the thresholds decide well? Objectives on test rows, beside scikit-learn's search for one."""

from __future__ import annotations

from statistics import median

from benchmarks.quality import decisions, fitting, models, objectives, options, tables
from benchmarks.quality.markdown import Record, distinct, having, number, summary, table

TABLES = ("mammography", "credit_default", "adult")
_SEEDS = 5

_WORDS = """\
Medians over {seeds} seed(s), on test rows. "value" is what the objective maximises, at the
threshold that was chosen; beside it what 0.5 gives and what the peer reaches: scikit-learn's
`TunedThresholdClassifierCV` over its `LogisticRegression`, or for 0.5 that alone. "not worse"
counts the seeds on which the peer's lead on the test rows is within a bootstrap of them (in 5% of
the resamples or more it is not ahead): yes, if they are at least half of the seeds. Under a
constraint, "reached" is the constrained quantity and "met" counts the seeds on which it holds."""


def measure(wanted: options.Options) -> list[Record]:
    """Fit with every objective on every table.

    Parameters
    ----------
    wanted : Options

    Returns
    -------
    list of Record
        See `decisions.compare`, and in each the ``table`` and the ``seed``.
    """
    fitting.warm_up(models.deciders(objectives.Objective("f1"), 0))
    records: list[Record] = []
    names = wanted.tables_among(TABLES)
    for name, seed, split in tables.splits(names, wanted.seeds_or(_SEEDS), wanted.rows):
        fitting.say(f"thresholds: {name}, seed {seed}")
        for objective in objectives.ALL:
            deciders = models.deciders(objective, seed)
            fits = fitting.fit_all(deciders, split, seed)
            rows = decisions.compare(objective, deciders, fits, split.X_test, split.y_test)
            records += [{"table": name, "seed": seed, **row} for row in rows]
    return records


def report(records: list[Record]) -> str:
    """Make the chapter.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    words = _WORDS.format(seeds=len(distinct(records, "seed")))
    sections = ["## Thresholds", words]
    for model in distinct(records, "model"):
        own = having(records, model=model)
        free = having(own, constrained=None)
        bound = [record for record in own if record["constrained"] is not None]
        sections += [f"### {model}", _free_table(free), _bound_table(bound)]
    return "\n\n".join([*sections, "\n".join(promise_lines(records))])


def promise_lines(records: list[Record]) -> list[str]:
    """Say how we stand beside the peer.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    against = [record for record in records if record["not_worse"] is not None]
    verdicts = [_tally(own, "not_worse") for own in _lines(against).values()]
    kept = sum(verdict.startswith("yes") for verdict in verdicts)
    ours, theirs = (sum(each[key] for each in against) for key in ("seconds", "peer_seconds"))
    return [
        f"- {models.OUR_LOGISTIC} is not worse than the peer beyond the bootstrap interval: in "
        f"{kept} of {len(verdicts)} rows",
        "- Time of all fits that choose a threshold as the peer does, "
        f"{models.OUR_LOGISTIC} / peer: {ours / theirs:.2f}",
    ]


def _free_table(records: list[Record]) -> str:
    header = ["table, objective", "threshold", "interval", "value", "at 0.5", "seconds"]
    has_peer = any(record["peer_value"] is not None for record in records)
    if has_peer:
        header += ["peer", "not worse", "peer seconds"]
    rows = []
    for words, own in _lines(records).items():
        cells = [*_threshold(own), *_medians(own, "value", "value_at_half")]
        cells += _medians(own, "seconds")
        if has_peer:
            cells += [*_medians(own, "peer_value"), _tally(own, "not_worse")]
            cells += _medians(own, "peer_seconds")
        rows.append([words, *cells])
    return table(header, rows)


def _bound_table(records: list[Record]) -> str:
    header = ["table, objective", "threshold", "interval", "reached", "at 0.5", "met"]
    rows = [
        [
            words,
            *_threshold(own),
            *_medians(own, "reached", "reached_at_half"),
            _tally(own, "met"),
            *_medians(own, "value", "value_at_half"),
            *_medians(own, "seconds"),
        ]
        for words, own in _lines(records).items()
    ]
    return table([*header, "value", "value at 0.5", "seconds"], rows)


def _lines(records: list[Record]) -> dict[str, list[Record]]:
    """Give the records of each line, by its first cell."""
    lines: dict[str, list[Record]] = {}
    for record in records:
        objective, judged_by = record["objective"], record["judged_by"]
        words = objective if objective == judged_by else f"{objective} ({judged_by})"
        lines.setdefault(f"{record['table']}, {words}", []).append(record)
    return lines


def _medians(records: list[Record], *keys: str) -> list[str]:
    return [number(summary(records, key, median), digits=3) for key in keys]


def _threshold(records: list[Record]) -> list[str]:
    threshold, low, high = _medians(records, "threshold", "low", "high")
    return [threshold, f"{low} to {high}"]


def _tally(records: list[Record], key: str) -> str:
    told = [record[key] for record in records if record[key] is not None]
    if not told:
        return ""
    verdict = "yes" if 2 * sum(told) >= len(told) else "**no**"
    return f"{verdict} ({sum(told)} of {len(told)})"
