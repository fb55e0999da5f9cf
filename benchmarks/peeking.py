"""How many verdicts on real experiments are taken back: fixed tests at every look against always-valid intervals.

`python benchmarks/peeking.py FILE [--alpha 0.05] [--tuning 5000 500000]` prints a table from the ASOS Digital
Experiments data set (`training/peeking.py` says what it is), with one row for each metric and one for all, for each N*.
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from training.peeking import Series, growth, judge, read_series, tally

HEAD = (
    "| metric | N* | series | looks | fixed: at last | ever | taken back | changes | always valid: at last | ever "
    "| taken back | changes | nothing in common |\n|" + "---|" * 13
)


def row(name: str, series: list[Series], alpha: float, tuning: int) -> str:
    judged = [judge(one, alpha, tuning) for one in series]
    cells: list[int] = [sum(len(one.fixed) > 0 for one in judged), sum(len(one.fixed) for one in judged)]
    for found in (tally(one.fixed for one in judged), tally(one.always for one in judged)):
        cells += [found.last, found.ever, found.lost, found.changes]
    cells.append(sum(one.changing for one in judged))
    return f"| {name} | {tuning:,} | " + " | ".join(f"{cell:,}" for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--tuning", type=int, nargs="+", default=[5_000, 500_000])
    args = parser.parse_args()
    series = read_series(args.file)
    metrics = sorted({one.metric for one in series})
    print(HEAD)
    for tuning in args.tuning:
        for metric in metrics:
            print(row(metric, [one for one in series if one.metric == metric], args.alpha, tuning))
        print(row("all", series, args.alpha, tuning))
    grown = {m: statistics.median(growth(one) for one in series if one.metric == m) for m in metrics}
    print("\nmean of the control, last look over that at a quarter of the looks, median: ", end="")
    print(", ".join(f"metric {metric} {found:.2f}" for metric, found in grown.items()))


if __name__ == "__main__":
    main()
