"""The files around the code: citation, workflow, issue templates, the paper's references, and the README's size."""

import re
from pathlib import Path

import pytest

from dualsr_geo.version import __version__

ROOT = Path(__file__).parents[2]
yaml = pytest.importorskip("yaml")


def read(path):
    return yaml.safe_load((ROOT / path).read_text())


def test_the_citation_has_what_its_format_requires():
    cited = read("CITATION.cff")
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "license", "version", "references"} <= cited.keys()
    assert cited["version"] == __version__
    assert {r["notes"] for r in cited["references"]} == {"DualSR", "SFPN", "ATPRK", "MTF-GLP"}
    for reference in cited["references"]:
        assert {"type", "title", "authors", "journal", "year", "volume"} <= reference.keys()
        assert 1980 <= reference["year"] <= 2030
        assert all({"family-names", "given-names"} <= author.keys() for author in reference["authors"])
    assert all("name" in author or "family-names" in author for author in cited["authors"])


def test_the_workflow_calls_the_script_of_ci():
    jobs = read(".github/workflows/ci.yml")["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
    offered = {f"Programming Language :: Python :: {v}" for v in jobs["test"]["strategy"]["matrix"]["python"]}
    assert offered <= set(
        re.findall(r'"(Programming Language :: Python :: [\d.]+)"', (ROOT / "pyproject.toml").read_text())
    )


@pytest.mark.parametrize("name", ["defect", "question", "proposal"])
def test_an_issue_template_requires_something(name):
    form = read(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= form.keys()
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_the_paper_cites_what_its_list_has():
    paper, listed = ((ROOT / "paper" / name).read_text() for name in ("paper.md", "paper.bib"))
    keys = re.findall(r"^@\w+\{(\w+),", listed, re.MULTILINE)
    assert set(re.findall(r"@(\w+\d{4}\w+)", paper)) == set(keys)
    assert len(keys) == len(set(keys))
    for part in ("Summary", "Statement of need", "State of the field", "AI usage disclosure", "References"):
        assert f"# {part}\n" in paper


def test_the_readme_is_short():
    text = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(text.split()) < 650


def test_the_sdist_has_the_files_of_the_site():
    included = re.search(r"sdist\]\ninclude = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1]
    for name in ("CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "mkdocs.yml", "docs"):
        assert f'"{name}"' in included
