"""The study behind the defaults of early stopping, and behind the recommended setting."""

from __future__ import annotations

from dataclasses import asdict
from statistics import mean
from typing import Any

from benchmarks.quality import fitting, grids, models, options, tables
from benchmarks.quality.grids import Setting
from benchmarks.quality.markdown import Record, distinct, having, number, summary, table
from skbinary import TorchMLPClassifier

TABLES = options.TABLES
_SEEDS = 3

_WORDS = {
    "size": "Early stopping or not, by the count of training rows.",
    "patience": "How many epochs without improvement end a training, and what counts as one.",
    "rate": "How the learning rate moves, and over how many epochs.",
    "members": f"{models.N_MEMBERS} members, one parameter at a time moved from the recommended.",
}


def measure(wanted: options.Options) -> list[Record]:
    """Fit with every setting of every study on every table.

    Parameters
    ----------
    wanted : Options

    Returns
    -------
    list of Record
        Of one fit each: ``study``, ``setting``, ``table``, ``seed``, ``seconds``, ``converged``,
        ``log_loss``, ``auc``.
    """
    fitting.warm_up({"one": TorchMLPClassifier(), "members": models.members(0)})
    records: list[Record] = []
    for study in wanted.studies:
        settings = grids.STUDIES[study](wanted.rows, quick=wanted.quick)
        for name in wanted.tables_among(TABLES):
            for seed in wanted.seeds_or(_SEEDS):
                fitting.say(f"stopping, {study}: {name}, seed {seed}")
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
        scores: dict[str, Any] = fitting.judge(model, split.X_test, split.y_test)
        records.append({"setting": setting.name, **asdict(fit), **scores})
    return records


def report(records: list[Record]) -> str:
    """Make the chapter.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    words = (
        f"Means over the tables and {len(distinct(records, 'seed'))} seed(s), on test rows; beside "
        "the mean log loss, in nats, that of each table. Seconds of `fit`."
    )
    sections = ["## Stopping", words]
    for study in distinct(records, "study"):
        sections += [
            f"### {study.capitalize()}",
            _WORDS[study],
            _table(having(records, study=study)),
        ]
    return "\n\n".join(sections)


def _table(records: list[Record]) -> str:
    names = distinct(records, "table")
    rows = []
    for setting in distinct(records, "setting"):
        own = having(records, setting=setting)
        each = [summary(having(own, table=name), "log_loss") for name in names]
        areas, seconds = summary(own, "auc"), summary(own, "seconds")
        overall = mean(loss for loss in each if loss is not None)
        cells = [number(loss) for loss in (overall, *each)]
        rows.append([setting, *cells, number(areas), number(seconds, 2)])
    return table(["setting", "log loss", *names, "AUC", "seconds"], rows)
