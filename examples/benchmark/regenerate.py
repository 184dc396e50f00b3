"""Run both grids of the benchmark with this commit, and write the page of results with its plots: one command.

Run: python examples/benchmark/regenerate.py [--jobs N] [--budget MINUTES] [--folder DIR] [--only WORD ...] [--list]

The tables are collected in a folder until both are complete, so that a page never mixes versions. After a kill, or where
the budget is used up, the same command continues. With --only the page is a part, and is written into the folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import environment
import results
import run
import table
from combinations import REAL, Combination, chosen
from reality import CSV as REAL_CSV

from dualsr_geo.errors import DualSRError, InputError, OptionError

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "build" / "benchmark"
# Minutes for both grids on two cores.
BUDGET_MIN = 120.0
# Loading, degrading and scoring per second of the runs themselves, as in the tables of 2026-11.
OVERHEAD = 1.3


@dataclass(frozen=True)
class Grid:
    """A grid and its table.

    Attributes
    ----------
    table : Path
    todo : tuple of Combination
        That the table lacks.
    count : int
        Of all combinations.
    """

    table: Path
    todo: tuple[Combination, ...]
    count: int

    @classmethod
    def at(cls, path: Path, words: Sequence[str]) -> Grid:
        """Return the part of a grid that words name, with what its table lacks."""
        try:
            wanted = chosen(words)
        except OptionError:
            # The words name a part of the other grid only.
            wanted = []
        known = {table.key(row) for row in table.read(path)}
        return cls(path, tuple(one for one in wanted if one.key not in known), len(wanted))


def grids(folder: Path, only: Sequence[str]) -> list[Grid]:
    """Return both grids: scores, and what reality costs.

    Raises
    ------
    OptionError
        If no combination has all words.
    """
    parts = [Grid.at(folder / run.OUTPUT.name, only), Grid.at(folder / REAL_CSV, [REAL, *only])]
    if not any(part.count for part in parts):
        raise OptionError(f"No combination of either grid has all of: {' '.join(only)}. Give --only other words.")
    return parts


def expected_minutes(parts: Sequence[Grid], jobs: int) -> float:
    """Return how long the missing runs will take, from the times in the tables of the repository."""
    seconds = 0.0
    for part in parts:
        rows = table.read(HERE / part.table.name)
        known = {table.key(row): float(row["seconds"]) for row in rows if row["seconds"]}
        usual = median(known.values()) if known else 1.0
        seconds += sum(known.get(one.key, usual) for one in part.todo)
    return OVERHEAD * seconds / jobs / 60


def prepare(folder: Path) -> None:
    """Make the folder of the tables; refuse one that has runs of another commit or of other versions.

    Raises
    ------
    InputError
        If it has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now, before = environment.current(), environment.read(folder)
    if before is not None and (changes := environment.differing(before, now)):
        raise InputError(f"{folder} has runs of {'; '.join(changes)}. Remove it, or give another --folder.")
    environment.write(folder, now)


def write_page(folder: Path, *, is_whole: bool) -> Path:
    """Write the page: that of the documentation with its tables where the grids are whole, else one in the folder."""
    target = results.PAGE if is_whole else folder / results.PAGE.name
    if is_whole:
        for name in (run.OUTPUT.name, REAL_CSV, environment.NAME):
            shutil.copyfile(folder / name, HERE / name)
    (target.parent / "images").mkdir(exist_ok=True)
    results.main([str(folder / run.OUTPUT.name), str(target)])
    return target


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Run both grids with this commit, and write the page of results.")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--budget", type=float, default=BUDGET_MIN, metavar="MINUTES", help="begin no run after that")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="tables of an unfinished page")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="values that a combination must have")
    parser.add_argument("--list", action="store_true", help="print what would be run, and how long it takes")
    arguments = parser.parse_args(words)
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs} is below 1")
    return arguments


def main(words: Sequence[str]) -> int:
    """Run what the tables lack, then write the page; return the exit status, 1 where runs are left."""
    arguments = read_arguments(words)
    parts = grids(arguments.folder, arguments.only)
    for part in parts:
        print(f"{part.table}: {len(part.todo)} of {part.count} runs to do")
    print(f"about {expected_minutes(parts, arguments.jobs):.0f} minutes with --jobs {arguments.jobs} on idle cores")
    if arguments.list:
        return 0
    prepare(arguments.folder)
    deadline = time.monotonic() + 60 * arguments.budget
    left = sum(run.complete(part.todo, part.table, arguments.jobs, deadline) for part in parts)
    if left:
        print(f"{left} runs are left. Run the same command again.")
        return 1
    print(write_page(arguments.folder, is_whole=not arguments.only))
    print("The section `In short` is written by hand (results.py): compare its figures with the tables.")
    return 0


if __name__ == "__main__":
    # torch and BLAS of the processes read it when they start.
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        sys.exit(main(sys.argv[1:]))
    except DualSRError as error:
        sys.exit(str(error))
