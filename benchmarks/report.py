"""Write the Markdown report, the JSON file and the chart."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from benchmarks import chart, targets
from benchmarks.cases import LogisticCase, NetworkCase, SearchCase
from benchmarks.contenders.logistics import LOGISTICS
from benchmarks.contenders.networks import NETWORKS
from benchmarks.contenders.searches import SEARCHES
from benchmarks.results import Outcome, Result

FILES = ("benchmarks.md", "benchmarks.json", "benchmarks.png")

_HOW_TO_READ = """\
A cell holds the median of the rounds and, in parentheses, the ratio of skbinary's time to that
time: the median of the ratios of the rounds, so that other load on the machine affects both. Below
1, skbinary is faster."""

_NETWORKS = """\
Seconds per epoch. All contenders have the same float32 rows, epochs, batch size, learning rate and
penalty, and no early stopping. The time of `fit`, including set-up, is divided by the number of
epochs. skorch trains on all rows (by default it holds out a fifth) and prints nothing. With sparse
rows, the plain PyTorch loop slices CSR batches, which is faster than dense ones; skorch gets a
dense copy, made within `fit`."""

_MODULES = (
    "Seconds per epoch, set-up included. All train the same module with the same Adam: a residual "
    "block with layer normalization, or two convolutions. skbinary is `TorchModuleClassifier`."
)
_LOGISTICS = """\
Seconds until the objective is within a relative 1e-9 (float64 rows) or 1e-6 (float32) of the best
known value. Each solver runs at the loosest tolerance of 1e-2, 1e-3, ... 1e-12 that reaches it,
which is determined first. "no" means that it does not reach it within the time limit; the cell
gives the relative distance that it reached, and the seconds. All solvers minimize the same
objective: liblinear, which penalizes the intercept, is used without intercept only, and of
scikit-learn's solvers only saga supports the elastic net. The default solver is lbfgs."""

_SEARCHES = """\
Seconds of the whole `fit` of a search with `refit=False`, after a small search that starts the
workers and imports their libraries. `n_jobs` is the number of threads; worker processes have one
thread each. "skbinary" is its vectorized search, the others are scikit-learn's `GridSearchCV`
(`RandomizedSearchCV` in grid/mixed and many/mixed) over the classifier named, all with the same
folds and the same number of candidates. Networks train for all epochs. `MLPClassifier` has no
dropout, so it tries twice as many learning rates in the same range, and it has no threshold.
skorch trains on all rows. Logistic regressions stop at their default tolerance or maximum number
of iterations, which are not equally close to the optimum; the scores below show the effect."""

_HALVINGS = """\
Seconds of the whole `fit` of a search with `refit=False`. "skbinary" is its search by halving over
the epochs, whose candidates go on with their training; "skbinary, full grid" trains all candidates
for the epochs of the last round; "HalvingGridSearchCV, skbinary" is scikit-learn's search by
halving over the same classifier."""

_MEMORY = """\
Peak memory of `fit` above that of a new process that has loaded the data, in multiples of X in the
dtype that skbinary trains in. memory/grid-mlp counts all processes of a search. Pages that they
share are counted once; the workers of scikit-learn are counted in full, including libraries."""


def write_tables(outcome: Outcome, folder: Path) -> None:
    """Write the Markdown and the JSON file.

    Parameters
    ----------
    outcome : Outcome
    folder : Path
        Created if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.md").write_text(markdown(outcome))
    (folder / "benchmarks.json").write_text(json.dumps(_as_json(outcome), indent=1))


def write(outcome: Outcome, folder: Path) -> None:
    """Write all files.

    Parameters
    ----------
    outcome : Outcome
    folder : Path
        Created if it does not exist.
    """
    write_tables(outcome, folder)
    chart.draw(outcome, folder / "benchmarks.png")


def markdown(outcome: Outcome) -> str:
    """Return the report in Markdown."""
    sections = ["# Benchmarks", _head(outcome), _HOW_TO_READ]
    for title, text, group, contenders in (
        ("Networks", _NETWORKS, "mlp/", tuple(NETWORKS)),
        ("Networks of users' own", _MODULES, "module/", tuple(NETWORKS)),
        ("Logistic regression", _LOGISTICS, "logistic/", tuple(LOGISTICS)),
        ("Searches", _SEARCHES, ("grid/", "many/"), tuple(SEARCHES)),
        ("Halving", _HALVINGS, "halving/", tuple(SEARCHES)),
        ("Prediction", "Seconds of a `predict_proba`.", "predict/", None),
        ("Memory", _MEMORY, "memory/", None),
        ("Import", "Seconds in a new process.", "import", None),
        ("Growth", "Seconds per epoch.", "growth/", None),
    ):
        names = [case.name for case in outcome.cases if case.name.startswith(group)]
        measured = [name for name in names if outcome.contenders(name)]
        if measured:
            table = _table(outcome, measured, contenders or _seen(outcome, measured))
            sections += [f"## {title}", text, table]
            if group in ("mlp/", "module/"):
                title = "final training loss (nats)"
                sections += [_details(outcome, measured, tuple(NETWORKS), "loss", title)]
            if "grid/" in group or group == "halving/":
                title, seen = "highest mean test score", _seen(outcome, measured)
                shown = tuple(name for name in SEARCHES if name in seen)
                sections += [_details(outcome, measured, shown, "score", title)]
                sections += _agreement(outcome, measured)
            sections += _reasons(outcome, measured)
    sections += _targets(outcome) + _skipped(outcome)
    return "\n\n".join(sections) + "\n"


def _head(outcome: Outcome) -> str:
    settings = outcome.settings
    machine = ", ".join(
        value if name in {"processor", "system"} else f"{name} {value}"
        for name, value in outcome.machine.items()
    )
    quick = (
        " `--quick`: fewer rows, epochs and rounds; the numbers are rough."
        if settings["quick"]
        else ""
    )
    return (
        f"{machine}. Threads: {settings['threads']}, device: {settings['device']}, rounds: "
        f"{settings['rounds']}. The run took {outcome.seconds / 60:.1f} minutes.{quick}"
    )


def _seen(outcome: Outcome, names: list[str]) -> tuple[str, ...]:
    seen = [contender for name in names for contender in outcome.contenders(name)]
    return tuple(dict.fromkeys(seen))


def _table(outcome: Outcome, names: list[str], contenders: Iterable[str]) -> str:
    shown = [
        contender
        for contender in contenders
        if any(_cell(outcome, name, contender) for name in names)
    ]
    rows = [["case", "rows x features", "settings", *shown]]
    cases = {case.name: case for case in outcome.cases}
    for name in names:
        cells = [_cell(outcome, name, contender) for contender in shown]
        rows.append([name, outcome.shapes.get(name, ""), _settings(cases[name]), *cells])
    if not any(row[2] for row in rows[1:]):
        rows = [row[:2] + row[3:] for row in rows]
    return _as_table(rows)


def _settings(case: object) -> str:
    if isinstance(case, NetworkCase):
        widths = "-".join(str(width) for width in case.hidden)
        return f"hidden {widths}, batch {case.batch_size:,}, epochs {case.epochs}"
    if isinstance(case, LogisticCase):
        return case.source.dtype + ("" if case.fit_intercept else ", no intercept")
    if isinstance(case, SearchCase):
        common = f", {_settings(case.fit)}" if isinstance(case.fit, NetworkCase) else ""
        return f"{case.candidates} candidates, {case.folds} folds, {case.scoring}{common}"
    return ""


def _cell(outcome: Outcome, name: str, contender: str) -> str:
    result = outcome.find(name, contender)
    if result is None:
        return ""
    if not result.values:
        details = result.details
        return (
            f"no: {details['suboptimality']:.0e} in {details['seconds']:.2g} s"
            if "suboptimality" in details
            else ""
        )
    value = _number(result, name)
    ratio = None if contender == "skbinary" else outcome.ratio(name, contender)
    return value if ratio is None else f"{value} ({ratio:.2f})"


def _number(result: Result, name: str) -> str:
    return f"{result.median:.2f}" if name.startswith("memory/") else f"{result.median:.3g}"


def _details(
    outcome: Outcome, names: list[str], contenders: tuple[str, ...], detail: str, title: str
) -> str:
    rows = [[title, *contenders]]
    for name in names:
        results = [outcome.find(name, contender) for contender in contenders]
        numbers = [result.details.get(detail) if result else None for result in results]
        rows.append([name, *("" if number is None else f"{number:.4f}" for number in numbers)])
    return _as_table(rows)


def _agreement(outcome: Outcome, names: list[str]) -> list[str]:
    """Report the largest difference between the scores of skbinary's two searches."""
    is_halving = names[0].startswith("halving/")
    other = f"{'Halving' if is_halving else ''}GridSearchCV, skbinary"
    differences = {name: outcome.largest_difference(name, "skbinary", other) for name in names}
    lines = [f"- {name}: {value:.1e}" for name, value in differences.items() if value is not None]
    text = f"Largest difference between the test scores of skbinary and of {other}:"
    return [text, "\n".join(lines)] if lines else []


def _reasons(outcome: Outcome, names: list[str]) -> list[str]:
    """List the contenders without a result, the cases with the same reason on one line."""
    cases: dict[tuple[str, str], list[str]] = {}
    for result in outcome.results:
        if result.case in names and result.reason and "suboptimality" not in result.details:
            cases.setdefault((result.contender, result.reason), []).append(result.case)
    lines = []
    for (contender, reason), affected in cases.items():
        where = "all cases" if len(affected) == len(names) else ", ".join(affected)
        lines.append(f"- {contender}, {where}: {reason}")
    warned = [
        f"- {result.contender}, {result.case}: reached the optimum, with a warning"
        for result in outcome.results
        if result.case in names and result.values and result.details.get("warned")
    ]
    return ["\n".join(lines + warned)] if lines or warned else []


def _targets(outcome: Outcome) -> list[str]:
    checks = targets.check(outcome)
    if not checks:
        return []
    rows = [
        ["case", "against", "target", "measured", "met"],
        *([c.case, c.against, f"{c.limit:g}", str(c), c.status] for c in checks),
    ]
    count = sum(check.is_met for check in checks)
    text = (
        f"Medians of the ratios skbinary / peer. {count} of {len(checks)} targets are met. `<`: "
        "the peer did not reach the optimum within the time limit, so the ratio is an upper bound."
    )
    return [f"## Targets\n\n{text}", _as_table(rows)]


def _skipped(outcome: Outcome) -> list[str]:
    if not outcome.skipped:
        return []
    lines = [f"- {name}: {reason}" for name, reason in outcome.skipped.items()]
    return ["## Skipped cases", "\n".join(lines)]


def _as_table(rows: list[list[str]]) -> str:
    header, *others = rows
    lines = [header, ["---"] * len(header), *others]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "machine": outcome.machine,
        "settings": outcome.settings,
        "seconds": outcome.seconds,
        "shapes": outcome.shapes,
        "skipped": outcome.skipped,
        "results": [
            {
                **asdict(result),
                "ratio": outcome.ratio(result.case, result.contender),
                "ratios": outcome.ratios(result.case, result.contender),
            }
            for result in outcome.results
        ],
        "targets": [{**asdict(check), "status": check.status} for check in targets.check(outcome)],
    }
