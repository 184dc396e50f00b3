"""Run the tables of hostile cases and print the counts of docs/robustness.md.

python tests/helpers/hostile_table.py [tests/hostile/test_numbers.py ...]
"""

import importlib.util
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from hostile_case import Case, Outcome, check

HOSTILE = Path(__file__).parents[1] / "hostile"
COLUMNS = ("right product", "one-line error", "wrong product or message", "traceback", "hang")


def main(paths: list[str]) -> int:
    """Print a row for each table; exit with the number of broken promises."""
    print(f"| table | cases | {' | '.join(COLUMNS)} |")
    print("|---|" + "---|" * (len(COLUMNS) + 1))
    total: Counter[str] = Counter()
    for path in map(Path, paths or sorted(map(str, HOSTILE.glob("test_*.py")))):
        counts = Counter(_verdict(case) for case in cases_of(path))
        total += counts
        if counts:
            _print_row(path.stem.removeprefix("test_").replace("_", " "), counts)
    _print_row("all", total)
    return sum(total[column] for column in COLUMNS[2:])


def cases_of(path: Path) -> tuple[Case, ...]:
    """Return the table of a test module, the long one included."""
    spec = importlib.util.spec_from_file_location(f"hostile_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return (*getattr(module, "CASES", ()), *getattr(module, "LONG_CASES", ()))


def _verdict(case: Case) -> str:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        try:
            outcome: Outcome = check(case, Path(folder))
        except AssertionError as broken:
            print(f"{case}: {broken}", file=sys.stderr)
            if "Hang" in str(broken):
                return "hang"
            return "traceback" if "Traceback" in str(broken) or "Error(" in str(broken) else "wrong product or message"
        except BaseException as hang:
            if isinstance(hang, KeyboardInterrupt):
                raise
            print(f"{case}: {hang!r}", file=sys.stderr)
            return "hang" if type(hang).__name__ == "Hang" else "traceback"
    return "right product" if outcome.code == 0 else "one-line error"


def _print_row(name: str, counts: Counter[str]) -> None:
    print(f"| {name} | {counts.total()} | {' | '.join(str(counts[column]) for column in COLUMNS)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
