"""Report of the part "pipelines"."""

from __future__ import annotations

from statistics import geometric_mean, mean

from benchmarks.quality import options
from benchmarks.quality.markdown import Record, distinct, number, pivot, select, table
from benchmarks.quality.pipeline_models import CATBOOST

Means = dict[int, dict[str, dict[str, float]]]

# Heading and digits of a value.
_VALUES = {
    "log_loss": ("log loss", 4),
    "auc": ("ROC AUC", 4),
    "brier": ("Brier", 4),
    "ece": ("ECE", 4),
    "cpu_seconds": ("CPU seconds", 2),
    "cpu_ratio": (f"CPU / {CATBOOST}", 2),
}

_TEXT = """\
Default models on raw data frames, threads: {threads}. Means over the tables of the means over the
seeds, on test data, by the number of training rows. Log loss in nats, Brier score, expected
calibration error (ECE, 15 bins with the same number of rows) and CPU seconds of `fit` with all
preprocessing: lower is better. "CPU / {reference}" is the geometric mean over the tables of the CPU
seconds divided by those of {reference}. CatBoost has missing categories as a category; LightGBM,
XGBoost and HistGradientBoosting have pandas' categorical columns (the last one the 255 most
frequent categories); TorchMLPClassifier, LogisticRegression (`max_iter=1000`) and RandomForest have
imputed and scaled numbers and one-hot encoded categories."""


def report(records: list[Record]) -> str:
    """Return the section of the report.

    Parameters
    ----------
    records : list of Record
        See `pipelines.measure`.
    """
    threads = ", ".join(map(str, distinct(records, "threads")))
    means = size_means(records)
    has_reference = CATBOOST in distinct(records, "contender")
    sections = [
        "## Pipelines",
        _TEXT.format(threads=threads, reference=CATBOOST),
        _by_size(means, ["log_loss", "cpu_ratio" if has_reference else "cpu_seconds"]),
        _by_size(means, ["auc"]),
        _by_size(means, ["brier", "ece"]),
    ]
    for rows in means:
        sections += _size(rows, select(records, rows=rows))
    return "\n\n".join([*sections, _notes(records)])


def comparable(records: list[Record]) -> list[Record]:
    """Return the records of the splits on which every model was measured.

    Parameters
    ----------
    records : list of Record
        Those of one number of training rows.
    """
    splits = [
        {(each["table"], each["seed"]) for each in select(records, contender=name)}
        for name in distinct(records, "contender")
    ]
    common = set.intersection(*splits) if splits else set()
    return [record for record in records if (record["table"], record["seed"]) in common]


def table_means(records: list[Record], key: str) -> dict[str, dict[str, float]]:
    """Return, for each model and each table, the mean over the seeds."""
    return {
        contender: {
            name: mean(each[key] for each in select(own, table=name))
            for name in distinct(own, "table")
        }
        for contender in distinct(records, "contender")
        for own in [select(records, contender=contender)]
    }


def size_means(records: list[Record]) -> Means:
    """Return, for each number of training rows and each model, the means over the tables.

    Parameters
    ----------
    records : list of Record
        See `pipelines.measure`.

    Returns
    -------
    dict of int to dict of str to dict of str to float
        The values of a model are ``log_loss``, ``auc``, ``brier``, ``ece``, ``cpu_seconds``, and
        with CatBoost among the models ``cpu_ratio``: its CPU seconds divided by CatBoost's, the
        geometric mean over the tables.
    """
    return {
        rows: _means(comparable(select(records, rows=rows)))
        for rows in sorted(distinct(records, "rows"))
    }


def _means(records: list[Record]) -> dict[str, dict[str, float]]:
    values = {key: table_means(records, key) for key in _VALUES if key != "cpu_ratio"}
    seconds = values["cpu_seconds"]
    means = {
        contender: {key: mean(each[contender].values()) for key, each in values.items()}
        for contender in seconds
    }
    if CATBOOST in seconds:
        for contender, own in seconds.items():
            ratios = [own[name] / seconds[CATBOOST][name] for name in own]
            means[contender]["cpu_ratio"] = geometric_mean(ratios)
    return means


def _by_size(means: Means, keys: list[str]) -> str:
    """Format a table with a row for each model and a column for each value and size."""
    columns = [(key, *_VALUES[key], rows) for key in keys for rows in means]
    header = [f"{heading}, {rows:,}" for _, heading, _, rows in columns]
    contenders = dict.fromkeys(name for each in means.values() for name in each)
    lines = [
        [name, *(number(means[n].get(name, {}).get(key), digits) for key, _, digits, n in columns)]
        for name in contenders
    ]
    return table(["model", *header], lines)


def _size(rows: int, records: list[Record]) -> list[str]:
    heading = f"### {rows:,} training rows"
    own = comparable(records)
    if not own:
        return [heading, "There is no split on which all models were measured."]
    names, seeds = distinct(own, "table"), distinct(own, "seed")
    smaller = {
        record["table"]: record["training_rows"] for record in own if record["training_rows"] < rows
    }
    notes = [f"{name} has {n:,}" for name, n in smaller.items()]
    tables = f"{len(names)} tables, {len(seeds)} seed(s)"
    return [
        heading,
        "; ".join([tables, *notes]) + ".",
        *_ranks(own),
        "Log loss:",
        pivot(own, "log_loss", columns="contender"),
        "ROC AUC:",
        pivot(own, "auc", columns="contender"),
        "CPU seconds:",
        pivot(own, "cpu_seconds", columns="contender", last=("sum", sum), digits=2),
    ]


def _ranks(records: list[Record]) -> list[str]:
    """Say on which tables a model has the lowest log loss, or a lower one than CatBoost."""
    losses = table_means(records, "log_loss")
    won: dict[str, list[str]] = {}
    for name in distinct(records, "table"):
        best = min(losses, key=lambda contender: losses[contender][name])
        won.setdefault(best, []).append(name)
    lowest = [f"{who} on {', '.join(won[who])}" for who in losses if who in won]
    lines = [f"The lowest log loss: {'; '.join(lowest)}."]
    if CATBOOST in losses:
        reference = losses.pop(CATBOOST)
        below = [
            f"{who} on {sum(each[name] < reference[name] for name in each)} of {len(each)} tables"
            for who, each in losses.items()
        ]
        lines.append(f"A lower log loss than {CATBOOST}: {', '.join(below)}.")
    return lines


def _notes(records: list[Record]) -> str:
    measured = distinct(records, "contender")
    names = [name for name in options.CONTENDERS if name not in measured]
    versions = dict.fromkeys(f"{each['contender']} {each['version']}" for each in records)
    warned = sum(not each["converged"] for each in records)
    return (
        f"Versions: {', '.join(versions)}. Not measured: {', '.join(names) or 'none'}. Fits with "
        f"a convergence warning: {warned} of {len(records)}."
    )
