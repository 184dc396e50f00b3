"""Run the benchmark's grid and write its table.

Run: python examples/benchmark/run.py [--only WORD ...] [--jobs N] [--budget MINUTES] [--list]
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from datetime import UTC, datetime
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import table
import torch
import xarray as xr
from combinations import REAL, Combination, chosen
from contenders import CONTENDERS, best
from degradations import ALL_DEGRADATIONS, Floats
from disturbances import Pair
from reality import CSV
from threadpoolctl import threadpool_limits

import dualsr_geo
from dualsr_geo.errors import DualSRError, DualSRWarning
from dualsr_geo.evaluation.metrics import score

OUTPUT = Path(__file__).with_name("results.csv")
# Errors of a run that are recorded; any other is a mistake of this script and ends it.
FAILURES = (DualSRError, ValueError, RuntimeError, ArithmeticError, MemoryError)


def located(cube: Floats, gsd: float) -> xr.DataArray:
    """Return a cube (band, y, x) with coordinates: north up, its upper left corner at 0, 0."""
    y, x = ((np.arange(n) + 0.5) * gsd for n in cube.shape[1:])
    return xr.DataArray(cube, dims=("band", "y", "x"), coords={"y": -y, "x": x})


def sharpened(pair: Pair, one: Combination) -> tuple[Floats, float]:
    """Run a model with the accessor, or a contender; return the product (band, y, x) and the time of the processor, seconds."""
    if one.model in CONTENDERS:
        return best(one.model, pair)
    scene = located(pair.scene, float(pair.ratio))
    guide = None if pair.guide is None else located(pair.guide, 1.0)
    begin = time.process_time()
    with warnings.catch_warnings():
        # Some of the runs have a displaced guide or an unlikely PSF on purpose.
        warnings.simplefilter("ignore", DualSRWarning)
        lazy = scene.dualsr.upscale(
            scale=pair.ratio,
            rgb=guide,
            model=one.model,
            psf=pair.psf,
            coregister=ALL_DEGRADATIONS[one.degradation].coregister,
        )
        made: Floats = lazy.compute(scheduler="single-threaded").to_numpy()
    return made, time.process_time() - begin


def measured(one: Combination) -> dict[str, str]:
    """Run a combination; return its row of the table."""
    row = dict(zip(table.KEY, one.key, strict=True))
    row |= {"protocol": one.protocol, "psf": one.psf, "version": dualsr_geo.__version__}
    row["date"] = datetime.now(UTC).date().isoformat()
    pair = one.pair()
    bands, height, width = pair.reference.shape
    row |= {"bands": str(bands), "size": f"{height}x{width}"}
    try:
        made, seconds = sharpened(pair, one)
        found = score(made, pair.reference, ratio=one.ratio, peak=1.0).to_json()
    except FAILURES as error:
        return row | {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    row |= figures(found) | {"seconds": f"{seconds:.2f}"}
    return row | {"missing_percent": f"{missing_percent(made, pair.reference):.6g}"}


def figures(found: Mapping[str, float | None]) -> dict[str, str]:
    """Return the scores as the table has them; empty where one is not defined."""
    values = {name: found[name] for name in table.SCORES}
    return {n: "" if v is None or math.isnan(v) else f"{v:.6g}" for n, v in values.items()}


def missing_percent(made: Floats, reference: Floats) -> float:
    """Return the percentage of the reference without a value in the product, which is not scored."""
    valid = np.isfinite(reference)
    return float(100 * (valid & ~np.isfinite(made)).sum() / valid.sum())


def prepare() -> None:
    """Prepare a process: one thread, and all imports of the first run."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    first = located(np.arange(64, dtype=np.float32).reshape(1, 8, 8), 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualSRWarning)
        first.dualsr.upscale(scale=2, model="bicubic").compute(scheduler="single-threaded")


def rows(todo: Sequence[Combination], jobs: int, deadline: float) -> Iterator[dict[str, str]]:
    """Yield the row of each combination as it is done; begin none after the deadline."""
    if jobs == 1:
        prepare()
        yield from (measured(one) for one in todo if time.monotonic() < deadline)
        return
    left = iter(todo)
    # A forked process would inherit torch's threads, and hang.
    with ProcessPoolExecutor(jobs, get_context("spawn"), prepare) as pool:
        running = {pool.submit(measured, one) for one in islice(left, jobs + 1)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            if time.monotonic() < deadline:
                running |= {pool.submit(measured, one) for one in islice(left, len(done))}
            yield from (future.result() for future in done)


def line_of(row: table.Row) -> str:
    """Return a row as a line for the terminal."""
    name = " ".join(table.key(row))
    if row.get("error"):
        return f"{name}: {row['error']}"
    return f"{name}: {row['psnr_db']} dB, SAM {row['sam_deg']} deg, {row['seconds']} s"


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Run the benchmark's grid and write its table.")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="values that a combination must have")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--budget", type=float, default=math.inf, metavar="MINUTES", help="begin no run after that")
    parser.add_argument("--list", action="store_true", help="print the combinations, run nothing")
    parser.add_argument("--output", type=Path, help="the table; its rows are not run again")
    arguments = parser.parse_args(words)
    arguments.output = arguments.output or (OUTPUT.with_name(CSV) if REAL in arguments.only else OUTPUT)
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs} is below 1")
    return arguments


def main(words: Sequence[str]) -> None:
    """Run the combinations that are not in the table."""
    arguments = read_arguments(words)
    wanted = chosen(arguments.only)
    if arguments.list:
        print("\n".join(map(str, wanted)))
        return
    table.remove_torn_line(arguments.output)
    known = {table.key(row) for row in table.read(arguments.output)}
    todo = [one for one in wanted if one.key not in known]
    left = complete(todo, arguments.output, arguments.jobs, time.monotonic() + 60 * arguments.budget)
    print(f"{arguments.output}: {len(todo) - left} new, {len(wanted) - len(todo)} already there, {left} left")


def complete(todo: Sequence[Combination], output: Path, jobs: int, deadline: float) -> int:
    """Run combinations and append their rows to a table; return how many are left at the deadline.

    Parameters
    ----------
    todo : sequence of Combination
        That the table lacks.
    output : Path
        The table.
    jobs : int
        Processes.
    deadline : float
        Value of `time.monotonic` after which no run is begun.
    """
    table.remove_torn_line(output)
    count = 0
    for count, row in enumerate(rows(todo, jobs, deadline) if todo else (), 1):
        table.append(output, row)
        print(f"{count}/{len(todo)}", line_of(row), flush=True)
    return len(todo) - count


if __name__ == "__main__":
    # torch and BLAS of the processes read it when they start.
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        main(sys.argv[1:])
    except DualSRError as error:
        sys.exit(str(error))
