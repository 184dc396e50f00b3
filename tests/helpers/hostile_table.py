"""Run the tables of hostile cases, and print the counts of docs/robustness.md or write them into the page.

python tests/helpers/hostile_table.py [--quick] [--write docs/robustness.md] [tests/hostile/test_numbers.py ...]
"""

import argparse
import importlib.util
import re
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from hostile_case import Case, Outcome, check

HOSTILE = Path(__file__).parents[1] / "hostile"
COLUMNS = ("right product", "one-line error", "wrong product or message", "traceback", "hang")
# Marks of the place of the table in a page.
BEGIN, END = "<!-- table of hostile cases -->", "<!-- end of the table -->"


def main(arguments: list[str]) -> int:
    """Print a row for each table; return 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="Test modules.  [default: all]")
    parser.add_argument("--quick", action="store_true", help="Leave out the long tables.")
    parser.add_argument("--write", type=Path, metavar="PAGE.md", help="Also write the table into a page.")
    chosen = parser.parse_args(arguments)
    rows = [f"| table | cases | {' | '.join(COLUMNS)} |", "|---|" + "---|" * (len(COLUMNS) + 1)]
    print("\n".join(rows), flush=True)
    total: Counter[str] = Counter()
    for path in chosen.paths or sorted(HOSTILE.glob("test_*.py")):
        counts = Counter(_verdict(case) for case in cases_of(path, quick=chosen.quick))
        total += counts
        if counts:
            rows.append(_printed_row(path.stem.removeprefix("test_").replace("_", " "), counts))
    rows.append(_printed_row("all", total))
    if chosen.write is not None:
        write_table(chosen.write, rows)
    return int(any(total[column] for column in COLUMNS[2:]))


def write_table(page: Path, rows: list[str]) -> None:
    """Replace the table between the marks of a page."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    assert pattern.search(text), f"{page} has no marks `{BEGIN}` and `{END}`"
    table = "\n" + "\n".join(rows) + "\n\n"
    page.write_text(pattern.sub(lambda _: table, text), encoding="utf-8")


def cases_of(path: Path, *, quick: bool = False) -> tuple[Case, ...]:
    """Return the table of a test module, the long one included unless `quick`."""
    spec = importlib.util.spec_from_file_location(f"hostile_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return (*getattr(module, "CASES", ()), *(() if quick else getattr(module, "LONG_CASES", ())))


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


def _printed_row(name: str, counts: Counter[str]) -> str:
    """Print a row of the table, and return it."""
    row = f"| {name} | {counts.total()} | {' | '.join(str(counts[column]) for column in COLUMNS)} |"
    print(row, flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
