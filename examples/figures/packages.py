"""Draw the packages of `dualsr_geo`: layers as rows, an arrow for each import, with the number of imports.

    python examples/figures/packages.py docs/images/packages.svg

The layers are those of the import contract in `pyproject.toml`, the arrows come from the code's own imports.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from pathlib import Path

import grimp
import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[2]
PACKAGE = "dualsr_geo"
# Inches: a box is as wide as its arrows need, and at least as its name.
PORT, NAME, HEIGHT, ROW, GAP = 0.34, 0.11, 0.3, 1.0, 0.7
# Importing and imported package; left edge, bottom edge and width.
Arrow = tuple[str, str]
Box = tuple[float, float, float]
LEFT_OUT = {f"{PACKAGE}.__main__", PACKAGE}


def layers() -> list[list[str]]:
    """Return the names of the packages of each layer, from top to bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    contract = next(c for c in contracts if c["type"] == "layers" and c["containers"] == [PACKAGE])
    rows = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    return [row for row in rows if row != ["__main__"]]


def imports() -> Counter[Arrow]:
    """Return the number of imports between modules of each pair of packages."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    count = Counter()
    for module in graph.modules - LEFT_OUT:
        for imported in graph.find_modules_directly_imported_by(module) - LEFT_OUT:
            source, target = (name.split(".")[1] for name in (module, imported))
            if source != target:
                count[source, target] += 1
    return count


def boxes(rows: list[list[str]], count: Counter[Arrow]) -> dict[str, Box]:
    """Return left edge, bottom edge and width of each package, in inches."""

    def width(name: str) -> float:
        arrows = max(sum(s == name for s, _ in count), sum(t == name for _, t in count))
        return max(PORT * (arrows + 1), NAME * (len(name) + 2))

    whole = max(sum(map(width, row)) + GAP * (len(row) - 1) for row in rows)
    places = {}
    for index, row in enumerate(rows):
        used = sum(map(width, row)) + GAP * (len(row) - 1)
        # Rows alternate to left and right, so that long arrows pass by the boxes.
        x = (whole - used) * (0.5 if len(row) > 1 else (0.15, 0.85)[index % 2])
        for name in row:
            places[name] = (x, ROW * (len(rows) - 1 - index), width(name))
            x += width(name) + GAP
    return places


def ports(names: list[str], places: dict[str, Box], box: Box) -> dict[str, float]:
    """Return where the arrows to or from `names` meet a box, in the order of their other ends."""
    x, _, width = box
    ordered = sorted(names, key=lambda n: places[n][0] + places[n][2] / 2)
    return {name: x + width * (i + 1) / (len(ordered) + 1) for i, name in enumerate(ordered)}


def draw(path: Path) -> None:
    """Draw the graph to a file."""
    rows, count = layers(), imports()
    places = boxes(rows, count)
    out = {n: ports([t for s, t in count if s == n], places, b) for n, b in places.items()}
    into = {n: ports([s for s, t in count if t == n], places, b) for n, b in places.items()}
    right = max(x + width for x, _, width in places.values())
    figure, axes = plt.subplots(figsize=(right + 0.2, ROW * len(rows) - 0.4), layout="constrained")
    colours = {name: plt.get_cmap("nipy_spectral")(0.05 + 0.85 * i / len(places)) for i, name in enumerate(places)}
    for (source, target), number in sorted(count.items()):
        colour = "#999999" if target in rows[-1] else colours[source]
        start, end = (out[source][target], places[source][1]), (into[target][source], places[target][1] + HEIGHT)
        arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=6, shrinkA=9, shrinkB=0, color=colour,
                                linewidth=0.5 + number / 15, alpha=0.7)  # fmt: skip
        axes.add_patch(arrow)
        axes.text(start[0], start[1] - 0.07, str(number), size=6.5, color=colour, ha="center", va="center")
    for name, (x, y, width) in places.items():
        axes.add_patch(FancyBboxPatch((x, y), width, HEIGHT, boxstyle="round,pad=0", fc="#f5f5f5", ec="#444444"))
        axes.text(x + width / 2, y + HEIGHT / 2, name, size=9, ha="center", va="center")
    axes.set(xlim=(-0.1, right + 0.1), ylim=(-0.2, ROW * len(rows) - 0.6))
    axes.axis("off")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)
    plt.close(figure)
    print(f"{len(places)} packages and modules, {len(count)} arrows, {count.total()} imports: {path}")


if __name__ == "__main__":
    mpl.rcParams |= {"svg.hashsalt": PACKAGE, "svg.fonttype": "none", "font.family": "sans-serif"}
    draw(Path(sys.argv[1]))
