"""The notebooks and scripts of examples/ run as they are, from a folder of their own, and show something."""

import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
# Those that a reader is told to try; the others draw figures of the docs or need imagery.
SCRIPTS = ["lazy_window.py", "true_blur.py"]


def pictures(notebook):
    shown = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "image/png" in o.get("data", {})]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(o["data"]["image/png"]))).convert("L")) for o in shown]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Run a notebook once; `DUALSR_KEEP_NOTEBOOKS` names a folder where what came out is kept to look at."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    done = {}

    def run(path):
        if path not in done:
            place = tmp_path_factory.mktemp(path.stem)
            notebook = nbformat.read(path, 4)
            nbclient.NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(place)}}).execute()
            if keep := os.environ.get("DUALSR_KEEP_NOTEBOOKS"):
                nbformat.write(notebook, Path(keep) / path.name)
            done[path] = notebook
        return done[path]

    return run


@pytest.fixture
def installed(monkeypatch):
    """Put the commands of this environment on the path, as an activated one has them."""
    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_its_pictures_show_something(path, executed, installed):
    drawn = pictures(executed(path))
    assert len(drawn) >= (1 if path.stem == "archive" else 3)
    for picture in drawn:
        assert picture.std() > 20  # of 255: not empty


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_the_archive_is_sharpened_but_for_the_broken_scene_and_then_all(executed, installed):
    said = "".join(
        o.get("text", "")
        for c in executed(EXAMPLES / "notebooks/archive.ipynb").cells
        if c.cell_type == "code"
        for o in c.outputs
    )
    assert "3 done, 1 failed" in said
    assert "4 done" in said
    assert "the same values as the batch: True" in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_stored_without_outputs(path):
    nbformat = pytest.importorskip("nbformat")
    for cell in nbformat.read(path, 4).cells:
        assert cell.cell_type != "code" or (not cell.outputs and cell.execution_count is None)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs(name, tmp_path):
    made = subprocess.run([sys.executable, EXAMPLES / name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert len(made.stdout.splitlines()) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_page_of_a_notebook_has_its_cells(path):
    """`python examples/figures/notebooks.py docs` writes the pages."""
    nbformat = pytest.importorskip("nbformat")
    page = (EXAMPLES.parent / "docs" / "notebooks" / f"{path.stem}.md").read_text()
    for cell in nbformat.read(path, 4).cells:
        assert cell.source.removesuffix(";") in page
    for picture in re.findall(r"!\[[^\]]*\]\(\.\./(images/notebooks/[^)]+)\)", page):
        assert (EXAMPLES.parent / "docs" / picture).stat().st_size < 300_000
