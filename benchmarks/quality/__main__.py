"""Command line of the quality benchmarks."""

from __future__ import annotations

import os
import sys

from benchmarks import threads
from benchmarks.quality import options


def main(arguments: list[str] | None = None) -> int:
    """Run the selected parts, print the report, and save it if a folder is given.

    Parameters
    ----------
    arguments : list of str or None
        None uses those of the process.

    Returns
    -------
    int
        The exit status.
    """
    parsed, output = options.parse(arguments, os.cpu_count() or 1)
    threads.limit(parsed.threads)
    # The libraries that read the environment variables are imported after they are set.
    from benchmarks.quality import chart, report, run

    keep = (lambda outcome: report.write(outcome, output)) if output else (lambda outcome: None)
    outcome = run.run(parsed, keep)
    if not outcome.parts:
        print("Nothing was measured.", *outcome.skipped.values(), sep="\n", file=sys.stderr)
        return 2
    if output and "pipelines" in outcome.parts:
        chart.draw(outcome.parts["pipelines"], output / "quality.png")
    print(report.markdown(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
