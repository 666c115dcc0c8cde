"""The command line of the quality benchmarks."""

from __future__ import annotations

import os
import sys

from benchmarks import threads
from benchmarks.quality import options


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen parts, print the report, and write it if a folder is given.

    Parameters
    ----------
    arguments : list of str or None
        None takes those of the process.

    Returns
    -------
    int
        The exit status.
    """
    wanted, output = options.parse(arguments, os.cpu_count() or 1)
    threads.limit(wanted.threads)
    # What reads the variables is loaded after they are set.
    from benchmarks.quality import report, run

    keep = (lambda outcome: report.write(outcome, output)) if output else (lambda outcome: None)
    outcome = run.run(wanted, keep)
    if not outcome.parts:
        print("Nothing was measured.", *outcome.skipped.values(), sep="\n", file=sys.stderr)
        return 2
    print(report.markdown(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
