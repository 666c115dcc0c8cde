"""Are the probabilities honest? Log loss, ROC AUC and seconds, beside the peers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import mean, median

from benchmarks.quality import fitting, models, options, tables
from benchmarks.quality.markdown import Record, distinct, having, pivot, summary

TABLES = options.TABLES
_SEEDS = 5

_WORDS = f"""\
Means over {{seeds}} seed(s), on test rows that nobody was trained on. Everyone has the same
prepared float32 columns and `random_state`. Probabilities count as at least 1.2e-7 and at most one
minus that. "{models.DEFAULT}" is `TorchMLPClassifier()`; {models.N_MEMBERS} members and 1 member
have the recommended setting {{recommended}} behind a `PiecewiseLinearEncoder`."""


@dataclass(frozen=True)
class Promise:
    """What is promised, and what was measured.

    Parameters
    ----------
    words : str
    measured, against : float
    more_is_better : bool
    """

    words: str
    measured: float
    against: float
    more_is_better: bool = False

    @property
    def kept(self) -> bool:
        """Whether it is kept. A draw is not enough."""
        if self.more_is_better:
            return self.measured > self.against
        return self.measured < self.against

    def __str__(self) -> str:
        verdict = "yes" if self.kept else "**no**"
        return f"- {self.words}: {self.measured:.4f} against {self.against:.4f}, {verdict}"


def measure(wanted: options.Options) -> list[Record]:
    """Fit and judge every contender on every table.

    Parameters
    ----------
    wanted : Options

    Returns
    -------
    list of Record
        Of one fit each: ``table``, ``seed``, ``contender``, ``seconds``, ``converged``,
        ``log_loss``, ``auc``.
    """
    fitting.warm_up(models.contenders(0))
    records: list[Record] = []
    names = wanted.tables_among(TABLES)
    for name, seed, split in tables.splits(names, wanted.seeds_or(_SEEDS), wanted.rows):
        fitting.say(f"probabilities: {name}, seed {seed}")
        contenders = models.contenders(seed)
        fits = fitting.fit_all(contenders, split, seed)
        for contender, model in contenders.items():
            scores = fitting.judge(model, split.X_test, split.y_test)
            where = {"table": name, "seed": seed, "contender": contender}
            records.append({**where, **asdict(fits[contender]), **scores})
    return records


def report(records: list[Record]) -> str:
    """Make the chapter.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    setting = ", ".join(f"{key}={value}" for key, value in models.RECOMMENDED.items())
    return "\n\n".join(
        [
            "## Probabilities",
            _WORDS.format(recommended=f"`{setting}`", seeds=len(distinct(records, "seed"))),
            "Log loss in nats, less is better.",
            pivot(records, "log_loss", columns="contender"),
            "ROC AUC, more is better.",
            pivot(records, "auc", columns="contender"),
            "Seconds of `fit`: medians over the seeds.",
            pivot(
                records,
                "seconds",
                columns="contender",
                statistic=median,
                last=("sum", sum),
                digits=2,
            ),
            "\n".join(promise_lines(records)),
            _unconverged(records),
        ]
    )


def promise_lines(records: list[Record]) -> list[str]:
    """Say of each promise whether it is kept, and by which numbers.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    losses, areas, seconds = (
        {name: _of(records, key, name) for name in distinct(records, "contender")}
        for key in ("log_loss", "auc", "seconds")
    )
    default, members = models.DEFAULT, models.MEMBERS
    promises = [
        Promise(f"{default} has a lower mean log loss than {peer}", losses[default], losses[peer])
        for peer in (models.MLP, models.STOPPED_MLP)
    ] + [
        Promise(
            f"{default} has a higher mean AUC than {peer}",
            areas[default],
            areas[peer],
            more_is_better=True,
        )
        for peer in (models.MLP, models.STOPPED_MLP)
    ]
    words = f"{members} have a lower mean log loss than {models.BOOSTING}"
    promises.append(Promise(words, losses[members], losses[models.BOOSTING]))
    return [
        *map(str, promises),
        f"- Time of all fits, {default} / {models.MLP}: "
        f"{seconds[default] / seconds[models.MLP]:.2f}",
        f"- Time of all fits, {models.N_MEMBERS} members / 1 member: "
        f"{seconds[members] / seconds[models.ONE_MEMBER]:.2f}",
    ]


def _of(records: list[Record], key: str, contender: str) -> float:
    """Give the mean over the tables of the means over the seeds."""
    own = having(records, contender=contender)
    each = [summary(having(own, table=name), key) for name in distinct(own, "table")]
    return mean(value for value in each if value is not None)


def _unconverged(records: list[Record]) -> str:
    counts = []
    for contender in distinct(records, "contender"):
        own = having(records, contender=contender)
        warned = len(having(own, converged=False))
        if warned:
            counts.append(f"{contender} {warned} of {len(own)}")
    return f"Fits that warned of no convergence: {', '.join(counts) or 'none'}."
