"""Studies behind the defaults of early stopping and the recommended setting."""

from __future__ import annotations

from dataclasses import asdict
from statistics import mean
from typing import Any

from benchmarks.quality import fitting, grids, models, options, tables
from benchmarks.quality.grids import Setting
from benchmarks.quality.markdown import Record, distinct, number, select, summary, table
from skbinary import TorchMLPClassifier

TABLES = options.PREPROCESSED_TABLES
_SEEDS = 3

_TEXTS = {
    "size": "With and without early stopping, by the number of training rows.",
    "patience": "Patience and tolerance of early stopping.",
    "rate": "Learning rate schedules and numbers of epochs.",
    "ensemble": f"Ensembles of {models.N_NETWORKS}, one parameter changed at a time.",
}


def measure(selected: options.Options) -> list[Record]:
    """Fit with every setting of every study on every table.

    Parameters
    ----------
    selected : Options

    Returns
    -------
    list of Record
        One for each fit: ``study``, ``setting``, ``table``, ``seed``, ``seconds``, ``converged``,
        ``log_loss``, ``auc``, ``brier``, ``ece``.
    """
    fitting.warm_up({"one": TorchMLPClassifier(), "ensemble": models.ensemble(0)})
    records: list[Record] = []
    for study in selected.studies:
        settings = grids.STUDIES[study](selected.rows, quick=selected.quick)
        for name in selected.tables_among(TABLES):
            for seed in selected.seeds_or(_SEEDS):
                fitting.log(f"stopping, {study}: {name}, seed {seed}")
                where = {"study": study, "table": name, "seed": seed}
                records += [{**where, **record} for record in _fit_all(settings, name, seed)]
    return records


def _fit_all(settings: list[Setting], name: str, seed: int) -> list[Record]:
    splits = {rows: tables.split(name, rows, seed) for rows in {each.rows for each in settings}}
    records = []
    for setting in settings:
        split = splits[setting.rows]
        model = TorchMLPClassifier(**setting.parameters, random_state=seed)
        fit = fitting.fit(model, split.X_train, split.y_train)
        scores: dict[str, Any] = fitting.evaluate(model, split.X_test, split.y_test)
        records.append({"setting": setting.name, **asdict(fit), **scores})
    return records


def report(records: list[Record]) -> str:
    """Return the section of the report.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    text = (
        f"Means over the tables and {len(distinct(records, 'seed'))} seed(s), on test data: the "
        "log loss in nats, also for each table, the ROC AUC, and the seconds of `fit`."
    )
    sections = ["## Early stopping", text]
    for study in distinct(records, "study"):
        sections += [
            f"### {study.capitalize()}",
            _TEXTS[study],
            _table(select(records, study=study)),
        ]
    return "\n\n".join(sections)


def _table(records: list[Record]) -> str:
    names = distinct(records, "table")
    rows = []
    for setting in distinct(records, "setting"):
        own = select(records, setting=setting)
        each = [summary(select(own, table=name), "log_loss") for name in names]
        areas, seconds = summary(own, "auc"), summary(own, "seconds")
        overall = mean(loss for loss in each if loss is not None)
        cells = [number(loss) for loss in (overall, *each)]
        rows.append([setting, *cells, number(areas), number(seconds, 2)])
    return table(["setting", "log loss", *names, "AUC", "seconds"], rows)
