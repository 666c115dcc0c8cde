"""Log loss, ROC AUC and fit times of all models."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import mean, median

from benchmarks.quality import fitting, models, options, tables
from benchmarks.quality.markdown import Record, distinct, pivot, select, summary

TABLES = options.PREPROCESSED_TABLES
_SEEDS = 5

_TEXT = f"""\
Means over {{seeds}} seed(s), on test data. All models have the same preprocessed float32 features
and `random_state`. Probabilities are clipped to [1.2e-7, 1 - 1.2e-7]. "{models.DEFAULT}" is
`TorchMLPClassifier()`; the ensemble of {models.N_NETWORKS} and the one network have the recommended
setting {{recommended}} after a `PiecewiseLinearEncoder`."""


@dataclass(frozen=True)
class Comparison:
    """A claim about two measured values.

    Parameters
    ----------
    claim : str
    measured, against : float
    higher_is_better : bool
    """

    claim: str
    measured: float
    against: float
    higher_is_better: bool = False

    @property
    def holds(self) -> bool:
        """Whether the claim holds; equal values are not enough."""
        if self.higher_is_better:
            return self.measured > self.against
        return self.measured < self.against

    def __str__(self) -> str:
        answer = "yes" if self.holds else "**no**"
        return f"- {self.claim}: {self.measured:.4f} against {self.against:.4f}, {answer}"


def measure(selected: options.Options) -> list[Record]:
    """Fit and evaluate every model on every table.

    Parameters
    ----------
    selected : Options

    Returns
    -------
    list of Record
        One for each fit: ``table``, ``seed``, ``contender``, ``seconds``, ``converged``,
        ``log_loss``, ``auc``, ``brier``, ``ece``.
    """
    fitting.warm_up(models.contenders(0))
    records: list[Record] = []
    names = selected.tables_among(TABLES)
    for name, seed, split in tables.splits(names, selected.seeds_or(_SEEDS), selected.rows):
        fitting.log(f"probabilities: {name}, seed {seed}")
        contenders = models.contenders(seed)
        fits = fitting.fit_all(contenders, split, seed)
        for contender, model in contenders.items():
            scores = fitting.evaluate(model, split.X_test, split.y_test)
            where = {"table": name, "seed": seed, "contender": contender}
            records.append({**where, **asdict(fits[contender]), **scores})
    return records


def report(records: list[Record]) -> str:
    """Return the section of the report.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    setting = ", ".join(f"{key}={value}" for key, value in models.RECOMMENDED.items())
    return "\n\n".join(
        [
            "## Probabilities",
            _TEXT.format(recommended=f"`{setting}`", seeds=len(distinct(records, "seed"))),
            "Log loss in nats, lower is better.",
            pivot(records, "log_loss", columns="contender"),
            "ROC AUC, higher is better.",
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
            "\n".join(comparison_lines(records)),
            _unconverged(records),
        ]
    )


def comparison_lines(records: list[Record]) -> list[str]:
    """Compare the means of the models.

    Parameters
    ----------
    records : list of Record
        See `measure`.
    """
    losses, areas, seconds = (
        {name: _of(records, key, name) for name in distinct(records, "contender")}
        for key in ("log_loss", "auc", "seconds")
    )
    default, ensemble = models.DEFAULT, models.ENSEMBLE
    comparisons = [
        Comparison(
            f"{default} has a lower mean log loss than {peer}", losses[default], losses[peer]
        )
        for peer in (models.MLP, models.EARLY_STOPPING_MLP)
    ] + [
        Comparison(
            f"{default} has a higher mean AUC than {peer}",
            areas[default],
            areas[peer],
            higher_is_better=True,
        )
        for peer in (models.MLP, models.EARLY_STOPPING_MLP)
    ]
    claim = f"{ensemble} has a lower mean log loss than {models.BOOSTING}"
    comparisons.append(Comparison(claim, losses[ensemble], losses[models.BOOSTING]))
    return [
        *map(str, comparisons),
        f"- Time of all fits, {default} / {models.MLP}: "
        f"{seconds[default] / seconds[models.MLP]:.2f}",
        f"- Time of all fits, ensemble of {models.N_NETWORKS} / one network: "
        f"{seconds[ensemble] / seconds[models.ONE_NETWORK]:.2f}",
    ]


def _of(records: list[Record], key: str, contender: str) -> float:
    """Return the mean over the tables of the means over the seeds."""
    own = select(records, contender=contender)
    each = [summary(select(own, table=name), key) for name in distinct(own, "table")]
    return mean(value for value in each if value is not None)


def _unconverged(records: list[Record]) -> str:
    counts = []
    for contender in distinct(records, "contender"):
        own = select(records, contender=contender)
        warned = len(select(own, converged=False))
        if warned:
            counts.append(f"{contender} {warned} of {len(own)}")
    return f"Fits with a convergence warning: {', '.join(counts) or 'none'}."
