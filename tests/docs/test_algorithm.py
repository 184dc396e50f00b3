"""docs/algorithm.md: its constants are those of the code, and nothing cites files outside the repository."""

import importlib
import re
from pathlib import Path

import pytest

from dualsr_geo.fusion.candidates import CANDIDATES

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([\w.]+)\.(\w+)` \| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
PAGE = (ROOT / "docs" / "algorithm.md").read_text(encoding="utf-8")
OUTSIDE = re.compile(r"research/|algorithm-lab|state-of-the-art\.md|real-guides\.md|guide-noise-lab|shared/DESIGN")
KINDS = {".py", ".md", ".ipynb", ".toml", ".yaml", ".yml", ".html", ".js", ".txt"}
FOLDERS = ("dualsr_geo", "docs", "examples", "packaging", "plugins", "tests")


def files():
    """Return every text file of the repository."""
    places = [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*"))]
    return [p for p in (*ROOT.glob("*"), *places) if p.suffix in KINDS and "__pycache__" not in p.parts]


@pytest.mark.parametrize(("module", "name", "value"), [m.groups()[:3] for m in ROW.finditer(PAGE)])
def test_a_constant_of_the_table_is_that_of_the_code(module, name, value):
    assert repr(getattr(importlib.import_module(f"dualsr_geo.{module}"), name)) == value


def test_every_row_of_the_table_is_read():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    kinds = {type(c).__name__ for c in CANDIDATES}
    described = [line for line in rows if re.match(r"\| `(\w+)", line)[1] in kinds]
    assert {re.match(r"\| `(\w+)", line)[1] for line in described} == kinds
    assert len(rows) - len(described) == len(ROW.findall(PAGE))
    assert len(ROW.findall(PAGE)) > 100


def test_no_file_cites_what_is_not_in_the_repository():
    hits = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files()
        if path.name != Path(__file__).name
        for match in OUTSIDE.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not hits, "\n".join(hits)
