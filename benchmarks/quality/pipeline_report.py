"""Report of the part "pipelines"."""

from __future__ import annotations

from statistics import mean

from benchmarks.quality import options
from benchmarks.quality.markdown import Record, distinct, number, pivot, select, table
from benchmarks.quality.pipeline_models import CATBOOST

# Key, heading and digits of a column of means.
_COLUMNS = (
    ("log_loss", "log loss", 4),
    ("auc", "ROC AUC", 4),
    ("brier", "Brier", 4),
    ("ece", "ECE", 4),
    ("cpu_seconds", "CPU seconds", 2),
)

_TEXT = """\
Default models on raw data frames, threads: {threads}. Means over the tables of the means over the
seeds, on test data. Log loss in nats, Brier score, expected calibration error (ECE, 15 bins with
the same number of rows) and CPU seconds of `fit` with all preprocessing: lower is better.
"/ {reference}" is the mean over the tables of the CPU seconds divided by those of {reference}.
"lowest" counts the tables on which the model has the lowest log loss of all, and "below
{reference}" those on which it has a lower one than {reference}. CatBoost has missing categories as
a category; LightGBM, XGBoost and HistGradientBoosting have pandas' categorical columns (the last
one the 255 most frequent categories); LogisticRegression (`max_iter=1000`) and RandomForest have
imputed and scaled numbers and one-hot encoded categories."""


def report(records: list[Record]) -> str:
    """Return the section of the report.

    Parameters
    ----------
    records : list of Record
        See `pipelines.measure`.
    """
    threads = ", ".join(map(str, distinct(records, "threads")))
    text = _TEXT.format(threads=threads, reference=CATBOOST)
    sections = ["## Pipelines", text]
    for rows in distinct(records, "rows"):
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


def lowest(records: list[Record]) -> dict[str, list[str]]:
    """Return, for each model, the tables on which its log loss is the lowest."""
    losses = table_means(records, "log_loss")
    best = {
        name: min(losses, key=lambda contender: losses[contender][name])
        for name in distinct(records, "table")
    }
    return {each: [name for name in best if best[name] == each] for each in losses}


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
    won = [f"{who} on {', '.join(where)}" for who, where in lowest(own).items() if where]
    return [
        heading,
        "; ".join([tables, *notes]) + ".",
        _means(own),
        f"The lowest log loss: {'; '.join(won)}.",
        "Log loss:",
        pivot(own, "log_loss", columns="contender"),
        "ROC AUC:",
        pivot(own, "auc", columns="contender"),
        "CPU seconds:",
        pivot(own, "cpu_seconds", columns="contender", last=("sum", sum), digits=2),
    ]


def _means(records: list[Record]) -> str:
    contenders = distinct(records, "contender")
    values = {key: table_means(records, key) for key, _, _ in _COLUMNS}
    won = lowest(records)
    header = ["model", *(heading for _, heading, _ in _COLUMNS)]
    has_reference = CATBOOST in contenders
    header += [f"/ {CATBOOST}", "lowest", f"below {CATBOOST}"] if has_reference else ["lowest"]
    rows = []
    for who in contenders:
        cells = [number(mean(values[key][who].values()), digits) for key, _, digits in _COLUMNS]
        count = str(len(won[who]))
        if not has_reference:
            rows.append([who, *cells, count])
            continue
        seconds, losses = values["cpu_seconds"], values["log_loss"]
        ratio = mean(seconds[who][name] / seconds[CATBOOST][name] for name in seconds[who])
        n_below = sum(losses[who][name] < losses[CATBOOST][name] for name in losses[who])
        below = "" if who == CATBOOST else f"{n_below} of {len(losses[who])}"
        rows.append([who, *cells, number(ratio, 2), count, below])
    return table(header, rows)


def _notes(records: list[Record]) -> str:
    measured = distinct(records, "contender")
    names = [name for name in options.CONTENDERS if name not in measured]
    versions = dict.fromkeys(f"{each['contender']} {each['version']}" for each in records)
    warned = sum(not each["converged"] for each in records)
    return (
        f"Versions: {', '.join(versions)}. Not measured: {', '.join(names) or 'none'}. Fits with "
        f"a convergence warning: {warned} of {len(records)}."
    )
