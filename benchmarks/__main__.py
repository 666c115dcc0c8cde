"""Command line of the benchmarks."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Workers import this module again, so it must not import libraries that read these variables.
from benchmarks import threads


def main() -> int:
    """Run the chosen cases and write the report."""
    arguments = _parse()
    threads.limit(arguments.threads)
    from benchmarks import cases, join, report, run

    if arguments.list:
        print("\n".join(case.name for case in cases.ALL))
        return 0
    if arguments.join:
        report.write(join.join(arguments.join), arguments.output)
        print(f"Wrote {', '.join(report.FILES)} to {arguments.output}")
        return 0
    chosen = cases.select(arguments.case, quick=arguments.quick)
    if not chosen:
        print(f"No case is named {arguments.case}. --list shows the names.", file=sys.stderr)
        return 2
    options = run.Options(
        threads=arguments.threads,
        device=arguments.device,
        rounds=arguments.rounds or (3 if arguments.quick else 5),
        time_limit=arguments.time_limit or (1.0 if arguments.quick else 60.0),
        quick=arguments.quick,
        contenders=tuple(arguments.contender) if arguments.contender else None,
    )
    output = arguments.output
    outcome = run.run(chosen, options, keep=lambda outcome: report.write_tables(outcome, output))
    report.write(outcome, output)
    print(f"\n{report.markdown(outcome)}")
    print(f"Wrote {', '.join(report.FILES)} to {output}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer rows, epochs and rounds: rough results in about five minutes",
    )
    parser.add_argument(
        "--case",
        action="append",
        metavar="NAME",
        help="a case, a group or a pattern such as 'logistic/*'; can be repeated",
    )
    parser.add_argument(
        "--contender",
        action="append",
        metavar="NAME",
        help="a contender such as 'skbinary' or 'plain PyTorch' (default: all); can be repeated",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument(
        "--join",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="run nothing; write one report from the JSON files of several runs",
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        default=os.cpu_count() or 1,
        help="threads of each contender, or workers of a search (default: number of cores)",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        help="device of the contenders that use PyTorch: cpu (default), cuda, mps, ...",
    )
    parser.add_argument("--rounds", type=_positive, help="default: 5, or 3 with --quick")
    parser.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="stop logistic fits that take longer (default: 60, or 1 with --quick)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "output", help="output folder"
    )
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}.")
    return number


if __name__ == "__main__":
    sys.exit(main())
