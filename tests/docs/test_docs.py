"""Every code block of README.md and docs/ does what the reader would make it do, and the pages hold together.

A block of `sh`, `bash` or `python` is run in a folder that holds `scene.tif` (8 bands of WorldView-2, 2 m; `ms.tif` is
the same), `pan.tif` and `rgb.tif` (0.5 m), `truth.tif` and `product.tif` (0.5 m), and an archive of two such scenes,
`archive/a_ms.tif` with `archive/a_ms_pan.tif`, and b. Python finds `scene`, `pan`, `rgb`, `truth`, `product` opened. The blocks of a page follow upon each other. A block that cannot be run here has a comment above it,
which no reader sees: `<!-- not run: why -->`. `<!-- start -->` is run by test_newcomer.py, `<!-- test -->` by CI.

In `sh` a line is one plain command, without pipes and variables: `dualsr-geo` is called in this process, to load torch
once; anything else by its name. Pages show alternatives one below the other, so products may be overwritten.
"""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import pytest
import rioxarray
from click.testing import CliRunner

from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.sensors import find

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?:<!-- (?P<mark>[^\n]*?) -->\n+)?^(?P<in>[ ]*)```(?P<kind>[^\n]*)\n(?P<code>.*?)^(?P=in)```$",
    re.MULTILINE | re.DOTALL,
)
RUN = {"sh", "bash", "python"}
SHOWN = {"text", "json", "csv", "toml", "yaml", "dockerfile"}
ELSEWHERE = ("start", "test")
SIZE = (40, 52)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    kind: str
    mark: str | None
    code: str

    @property
    def runs(self):
        return self.kind in RUN and not (self.mark and (self.mark.startswith("not run: ") or self.mark in ELSEWHERE))


def blocks(page):
    text = page.read_text()
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        code = re.sub(rf"^{match['in']}", "", match["code"], flags=re.MULTILINE)
        yield Block(page, line, match["kind"].split(" ")[0], match["mark"], code)


def commands(code):
    """Return the words of each command; a backslash joins lines."""
    lines = code.replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def expanded(words):
    return [one for word in words for one in (sorted(glob(word)) if "*" in word else [word])]


def call(words):
    """Run a command; return its exit code and what it said."""
    if words[0] == "dualsr-geo":
        writes = words[1] in main.commands and any(p.name == "overwrite" for p in main.commands[words[1]].params)
        more = ["--overwrite"] if writes and not {"--overwrite", "--resume"}.intersection(words) else []
        made = CliRunner().invoke(main, [*expanded(words[1:]), *more], prog_name="dualsr-geo")
        if made.exception and not isinstance(made.exception, SystemExit):
            raise made.exception
        return made.exit_code, made.output
    first = sys.executable if words[0] == "python" else words[0]
    made = subprocess.run([first, *expanded(words[1:])], capture_output=True, text=True, check=False)
    return made.returncode, made.stdout + made.stderr


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """Make what the pages speak of, once."""
    folder = tmp_path_factory.mktemp("docs")
    wishes = {"shape": SIZE, "wavelengths_nm": find("worldview-2").wavelengths_nm, "gsd_m": 2.0, "seed": 3}
    for guide in ("pan", "rgb"):
        synthetic.write(folder, guide=guide, **wishes)
    shutil.copy(folder / "scene.tif", folder / "ms.tif")
    (folder / "archive").mkdir()
    for stem in ("a", "b"):
        shutil.copy(folder / "scene.tif", folder / f"archive/{stem}_ms.tif")
        shutil.copy(folder / "pan.tif", folder / f"archive/{stem}_ms_pan.tif")
    truth = synthetic.as_dataarray(synthetic.make(**wishes), "reference").astype("float32")
    truth.rio.to_raster(folder / "truth.tif")
    assert call(["dualsr-geo", "upscale", str(folder / "scene.tif"), "--scale", "4", "--model", "bicubic",
                 "-t", "float32", "-o", str(folder / "product.tif")])[0] == 0  # fmt: skip
    return folder


@pytest.fixture
def here(material, tmp_path, monkeypatch):
    shutil.copytree(material, tmp_path, dirs_exist_ok=True)
    # Pages that show how to work on the project call its scripts.
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Opened(dict):
    """The names that blocks of Python may use without saying where they come from."""

    def __missing__(self, name):
        if name == "wavelengths_nm":
            return find("worldview-2").wavelengths_nm
        if name in ("scene", "pan", "rgb", "product", "truth"):
            return rioxarray.open_rasterio(f"{name}.tif", masked=True, chunks={})
        raise KeyError(name)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(b.runs for b in blocks(p))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_blocks_of_a_page_run(page, here):
    names = Opened()
    for block in filter(lambda b: b.runs, blocks(page)):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.kind == "python":
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
            continue
        for words in commands(block.code):
            code, said = call(words)
            assert code == 0, f"{where}: {shlex.join(words)}\n{said}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_block_hides_from_the_test(page):
    text = page.read_text()
    for block in blocks(page):
        assert block.kind in RUN | SHOWN, f"{page}:{block.line}: a fence says what is in it, one of {RUN | SHOWN}"
        assert not (block.mark or "").startswith("not run:") or len(block.mark) > len("not run: why"), block
    outside = FENCE.sub("", text)
    hidden = re.findall(r"^ {4,}(?:dualsr-geo|python|pip|export|import|from) .*", outside, re.MULTILINE)
    assert not hidden, f"{page}: commands stand in fences, so that they can be run: {hidden}"


def test_shell_blocks_are_split_as_a_shell_would():
    code = "# a comment\ndualsr-geo upscale a.tif \\\n    --rgb '{stem}_pan.tif'   # why\n\nls 'b c'\n"
    assert commands(code) == [["dualsr-geo", "upscale", "a.tif", "--rgb", "{stem}_pan.tif"], ["ls", "b c"]]


def test_a_marked_block_is_found_and_not_run(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: a cluster -->\n```sh\nx\n```\n\n1. one\n\n    ```python\n    y = 1\n    ```\n")
    first, second = blocks(page)
    assert (first.runs, first.line, second.runs, second.code) == (False, 3, True, "y = 1\n")


def test_the_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    commands_page = (tmp_path / "reference/cli.html").read_text()
    assert all(f"dualsr-geo {name}" in commands_page for name in main.commands)
    assert "--coregister" in commands_page
    # mkdocs-click's tables show click 8.3's mark of a missing default.
    assert "Sentinel.UNSET" not in commands_page
    assert "mtf_gain" in (tmp_path / "reference/python.html").read_text()
    # Search works from the disk and without a network.
    start = (tmp_path / "index.html").read_text()
    assert 'src="javascripts/iframe-worker.js"' in start
    assert not re.findall(r'<(?:script|link rel="stylesheet")[^>]*(?:src|href)="https?:', start)
    assert (tmp_path / "search/search_index.js").stat().st_size > 100_000


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", "plugins/README.md"])
def test_links_beside_the_docs_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target
