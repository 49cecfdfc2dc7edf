"""The figures of matching beside what we aim at: ranking and why-not, bundles, plans.

    ./run bench match [--sizes 10000 100000] [--engines sqlite postgres] [--needs 300] [--at URL]

The options are those of `./run bench rank`, which it runs first; a million offerings are measured
when `--sizes` says so. The benchmarks of bundles and plans follow with their own defaults.
"""

from __future__ import annotations

import sys

from tests.bench import bundles, plans, rank

# p99 in ms, on 2 cores. At a million offerings it may be twice that of the same run's 100,000.
RANK_MS, WHY_NOT_MS, HELD_MS, REVERSE_MS = 20.0, 41.0, 20.0, 50.0
_AIMS = {"rank": RANK_MS, "excluded": WHY_NOT_MS, "held": HELD_MS, "reverse": REVERSE_MS}


def main(argv: list[str] | None = None) -> None:
    """Run what there is and say how it compares."""
    figures = rank.main(argv)
    print(f"\n{'engine':9}{'offerings':>10}  {'what':11}{'p99':>8}{'aim':>8}")
    for figure in figures:
        aim = _aim(figure, figures)
        if aim is not None:
            verdict = "" if figure.p99 <= aim else "   missed"
            print(
                f"{figure.engine:9}{figure.size:>10,}  {figure.what:11}"
                f"{figure.p99:>8.1f}{aim:>8.1f}{verdict}"
            )
    for figure in figures:
        if figure.naive:
            print(
                f"{figure.engine:9}{figure.size:>10,}  going through all of them takes"
                f" {figure.naive:,.0f} times as long"
            )
    for benchmark in (bundles, plans):
        print(f"\n{benchmark.__name__.rpartition('.')[2]}")
        benchmark.main([])


def _aim(figure: rank.Figure, figures: list[rank.Figure]) -> float | None:
    if figure.what == "rank" and figure.size >= 1_000_000:
        return next(
            (
                2 * other.p99
                for other in figures
                if (other.engine, other.size, other.what) == (figure.engine, 100_000, "rank")
            ),
            2 * RANK_MS,
        )
    return _AIMS.get(figure.what)


if __name__ == "__main__":
    main(sys.argv[1:])
