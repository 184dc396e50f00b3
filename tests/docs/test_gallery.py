"""The pictures of real scenes: the script draws them, the pages show all of them with their source, and they are small."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "images" / "real"
SOURCES = ("Contains modified Copernicus Sentinel data", "U.S. Geological Survey", "EnMAP data © DLR")


@pytest.fixture
def real(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "figures"))
    return importlib.import_module("real")


@pytest.fixture
def panels(real):
    return importlib.import_module("panels")


def shown_on(page):
    return re.findall(r"!\[[^\]]+\]\((?:docs/)?images/real/(\w+)\.png\)", (ROOT / page).read_text())


def test_the_gallery_shows_every_picture_once_and_no_other(real):
    shown = shown_on("docs/gallery.md")
    assert sorted(shown) == sorted(real.PICTURES)
    assert sorted(shown) == sorted(p.stem for p in PICTURES.iterdir())


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/tutorial.md", "docs/gallery.md"])
def test_every_picture_has_its_source_below(page):
    _, *parts = re.split(r"!\[[^\]]+\]\((?:docs/)?images/real/\w+\.png\)", (ROOT / page).read_text())
    assert parts
    for part in parts:
        assert any(source in part for source in SOURCES), part[:200]


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.png")), ids=lambda p: p.stem)
def test_a_picture_is_small_and_shows_something(path):
    assert path.stat().st_size <= 300_000
    with Image.open(path) as picture:
        assert picture.width <= 1410
        assert np.asarray(picture.convert("L")).std() > 20  # of 255: not empty


@pytest.mark.data
@pytest.mark.slow
def test_the_script_draws_a_picture(real, tmp_path):
    if not real.DATA.exists():
        pytest.skip(f"{real.DATA} is absent")
    real.draw(tmp_path, ["holes"])
    with Image.open(tmp_path / "holes.png") as drawn, Image.open(PICTURES / "holes.png") as stored:
        assert drawn.size == stored.size
        assert np.abs(np.asarray(drawn, float) - np.asarray(stored, float)).mean() < 8  # of 255


def test_a_degraded_scene_shows_the_same_ground(real):
    truth = np.random.default_rng(0).random((2, 40, 56), np.float32).cumsum(1).cumsum(2)
    scene = real.degraded(truth, 10.0, 4)
    assert scene.shape == (2, 10, 14)
    means = truth.reshape(2, 10, 4, 14, 4).mean((2, 4))
    # Without the edges, which the blur continues.
    assert np.allclose(scene.to_numpy()[:, 2:-2, 2:-2], means[:, 2:-2, 2:-2], rtol=0.01)


def test_panels_are_whole_pixels_of_the_figure(panels, tmp_path):
    shape = (7, 9)
    picture = np.random.default_rng(0).integers(0, 2, (*shape, 1)).repeat(3, 2).astype(float)
    mpl = pytest.importorskip("matplotlib")
    with mpl.rc_context(panels.INK):
        figure = panels.board([[("", picture), ("", picture)]], shape)
        panels.save(figure, tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as saved:
        drawn = np.asarray(saved) / 255
    for axis in figure.axes:
        x, y = (round(v) for v in axis.get_window_extent().p0)
        y = drawn.shape[0] - y - 4 * shape[0]
        assert np.array_equal(drawn[y : y + 28, x : x + 36], picture.repeat(4, 0).repeat(4, 1))
