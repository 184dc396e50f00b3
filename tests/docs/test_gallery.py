"""The pictures of docs/gallery.md: the script draws them, the page shows all of them, and they are small."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "images" / "gallery"
# Not square, and whole pixels of the scene.
SHAPE = (20, 28)


@pytest.fixture
def gallery(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "figures"))
    return importlib.import_module("gallery")


def test_the_page_shows_every_picture_once_and_no_other(gallery):
    shown = re.findall(r"!\[[^\]]+\]\(images/gallery/([^)]+)\)", (ROOT / "docs" / "gallery.md").read_text())
    assert shown == [f"{name}.png" for name in gallery.PICTURES]
    assert sorted(shown) == sorted(p.name for p in PICTURES.iterdir())


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.png")), ids=lambda p: p.stem)
def test_a_picture_of_the_page_is_small_and_shows_something(path):
    assert path.stat().st_size <= 150_000
    with Image.open(path) as picture:
        assert picture.width <= 1400
        assert np.asarray(picture.convert("L")).std() > 20  # of 255: not empty


@pytest.mark.parametrize("name", ["holes", "spectra"])
def test_the_script_draws_a_picture(name, gallery, tmp_path):
    gallery.draw(tmp_path, [name], SHAPE)
    assert [p.name for p in tmp_path.iterdir()] == [f"{name}.png"]
    with Image.open(tmp_path / f"{name}.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 20


def test_a_crop_shows_the_same_ground_of_every_grid(gallery, tmp_path):
    stage = gallery.Stage.made(tmp_path, (20, 28), noise=0.0, bands=5)
    lr, hr = (stage.crop(c) for c in (gallery.read(stage.scene), stage.truth))
    assert lr.shape == (5, 5, 7)
    assert hr.shape == (5, 20, 28)
    # A pixel of the scene includes a part of its neighbours.
    means = hr.reshape(5, 5, 4, 7, 4).mean((2, 4))
    assert np.corrcoef(lr.ravel(), means.ravel())[0, 1] > 0.95


def test_panels_are_whole_pixels_of_the_figure(gallery, tmp_path):
    shape = (7, 9)
    picture = np.random.default_rng(0).integers(0, 2, (*shape, 1)).repeat(3, 2).astype(float)
    with gallery.mpl.rc_context(gallery.INK):
        figure = gallery.board([[("", picture), ("", picture)]], shape)
        gallery.save(figure, tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as saved:
        drawn = np.asarray(saved) / 255
    for axis in figure.axes:
        x, y = (round(v) for v in axis.get_window_extent().p0)
        y = drawn.shape[0] - y - 4 * shape[0]
        assert np.array_equal(drawn[y : y + 28, x : x + 36], picture.repeat(4, 0).repeat(4, 1))
