"""Run the notebooks and write each as a page with its outputs: docs/notebooks/*.md.

Run: python examples/figures/notebooks.py docs [NOTEBOOK ...]
The notebooks of examples/notebooks are stored without outputs; the site shows these pages.
"""

from __future__ import annotations

import base64
import io
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat  # type: ignore[import-untyped]
from nbclient import NotebookClient  # type: ignore[import-untyped]
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
NOT_RUN = "<!-- not run: tests/docs/test_notebooks.py runs the notebook -->"
# Colours and largest width of a picture, and lines of text that are kept of one output.
COLOURS, WIDTH, LINES = 192, 1200, 25
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Lines of a progress bar, and of dask when its workers end.
PROGRESS = re.compile(r".*(it/s|s/it|\d%\||\r|distributed\.\w+ - WARNING).*\n?")


def executed(path: Path) -> Any:
    """Run a notebook in an empty folder."""
    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": folder}}).execute()
        text = nbformat.writes(notebook).replace(folder, ".")
    return nbformat.reads(text, 4)


def page(name: str, notebook: Any, images: Path) -> str:
    """Return a notebook as Markdown, and write its pictures as ``<name>_<number>.png``."""
    parts, numbers = [], iter(range(1, 1000))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"{NOT_RUN}\n```python\n{cell.source.removesuffix(';')}\n```")
        parts += [shown for output in cell.outputs for shown in rendered(output, name, images, numbers)]
    parts.insert(1, f"*The notebook `examples/notebooks/{name}.ipynb`, with the outputs of a run.*")
    return "\n\n".join(parts) + "\n"


def rendered(output: Any, name: str, images: Path, numbers: Iterator[int]) -> Iterator[str]:
    """Return an output of a cell as Markdown."""
    data = output.get("data", {})
    if "image/png" in data:
        target = images / f"{name}_{next(numbers)}.png"
        save(base64.b64decode(data["image/png"]), target)
        yield f"![Output of the cell](../images/notebooks/{target.name})"
    elif text := ESCAPES.sub("", output.get("text", "") or data.get("text/plain", "")).replace("\r\n", "\n"):
        lines = [line.rstrip() for line in PROGRESS.sub("", text).splitlines()]
        kept = [*lines[:LINES], *(["..."] if len(lines) > LINES else [])]
        if any(kept) and not text.startswith("<Figure"):
            yield "```text\n" + "\n".join(kept) + "\n```"


def save(png: bytes, path: Path) -> None:
    """Write a small PNG."""
    with Image.open(io.BytesIO(png)) as picture:
        small = picture.convert("RGB")
    small.thumbnail((WIDTH, 10 * WIDTH))
    small.quantize(COLOURS).save(path, optimize=True)


def main(docs: str, names: Sequence[str]) -> None:
    """Write the pages of some notebooks, all by default."""
    pages, images = Path(docs) / "notebooks", Path(docs) / "images" / "notebooks"
    for folder in (pages, images):
        folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not names or path.stem in names:
            for old in images.glob(f"{path.stem}_*.png"):
                old.unlink()
            (pages / f"{path.stem}.md").write_text(page(path.stem, executed(path), images))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs", sys.argv[2:])
