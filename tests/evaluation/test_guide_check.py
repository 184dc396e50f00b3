"""What `guide-check` prints and plots, and several guides at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import wald_cases  # noqa: F401  # adds the path of the benchmark
from affine import Affine
from click.testing import CliRunner
from displaced import displaced, random_field
from PIL import Image

from dualsr_geo import synthetic, upscale
from dualsr_geo.cli import main
from dualsr_geo.errors import GridError, OptionError
from dualsr_geo.evaluation.guide_check import check_guide

RATIO = 4
GRID = Affine(8, 0, 500_000, 0, -8, 4_000_000)
FINE = GRID @ Affine.scale(1 / RATIO)


@pytest.fixture(scope="module")
def sample() -> synthetic.Sample:
    return synthetic.make((40, 53), bands=6, seed=11)


def raster(path, values, transform=FINE, crs="EPSG:32633"):
    shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
    profile = {"driver": "GTiff", "dtype": "float32", "crs": crs, "transform": transform, "nodata": np.nan}
    with rasterio.open(path, "w", **profile, **shape) as file:
        file.write(values)
    return path


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("check")
    raster(folder / "scene.tif", sample.scene, GRID)
    raster(folder / "guide.tif", sample.guide)
    return folder


def run(*words):
    result = CliRunner().invoke(main, ["guide-check", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_fitting_guide_needs_no_advice(folder):
    facts = check_guide(folder / "scene.tif", rgb=folder / "guide.tif")
    assert [(g["gsd"], g["bands"], g["gsd_ratio"]) for g in facts["guides"]] == [(2, 3, 4)]
    assert (facts["scale"], facts["coverage"], facts["changed"], facts["field"]) == (4, 1, 0, None)
    assert np.abs(facts["shift_px"]).max() < 0.1
    assert max(facts["shift_error_px"]) < 0.2
    assert len(facts["relevance"]) == 6
    assert facts["advice"] == []
    assert list(folder.glob("*.part")) == []
    assert not (folder / "scene_x4.tif").exists()


def test_what_does_not_fit_is_reported_and_plotted(sample, folder):
    guide = sample.guide.copy()
    guide[:, 40:110, 60:150] = np.roll(guide, (80, 100), (1, 2))[:, 40:110, 60:150]
    guide[:, :, 190:] = np.nan
    path = raster(folder / "bad.tif", guide)
    facts = check_guide(folder / "scene.tif", rgb=path, plot=folder / "plot.png")
    assert facts["changed"] == pytest.approx(70 * 90 / (160 * 190), rel=0.4)
    # The guide covers lr pixels whose whole blur it covers, which reaches 1.5 pixels farther.
    assert facts["coverage"] == pytest.approx(190 / 212, abs=0.001)
    text = " ".join(facts["advice"])
    assert f"something else in {facts['changed']:.1%}" in text
    assert f"covers {facts['coverage']:.0%} of the scene" in text
    with Image.open(folder / "plot.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    assert max(pixels.shape) == 900
    # Below the picture a key says what the colours mean.
    assert (pixels[-104:] == 0).all(-1).sum() > 300
    pixels = pixels[26:-104]
    # Red where the guide has changed, yellow arrows, white where it does not reach.
    red = (pixels[..., 0] - pixels[..., 1:].max(-1)) > 60
    height, width = red.shape
    middle = red[int(height * 0.35) : int(height * 0.6), int(width * 0.38) : int(width * 0.6)]
    assert middle.mean() > 0.5
    assert red.mean() < 0.4
    # One arrow: the guide is displaced as a whole.
    assert 30 < ((pixels == (255, 220, 0)).all(-1)).sum() < 300


def test_an_uneven_displacement_is_reported(sample, folder):
    path = raster(folder / "displaced.tif", displaced(sample.guide, random_field(sample.guide.shape[1:], 2, 4)))
    facts = check_guide(folder / "scene.tif", rgb=path)
    assert facts["field"]["largest_px"] == pytest.approx(3, abs=1)
    longest = f"by up to {facts['field']['largest_px']:.2f} px"
    assert f"{longest}: give upscale --coregister local" in " ".join(facts["advice"])


def test_the_command_prints_text_or_json(folder):
    words = folder / "scene.tif", "--rgb", folder / "guide.tif"
    text = run(*words)
    for line in ("guide:", "scale:", "covers:", "shift:", "local:", "blur:", "explains:"):
        assert f"\n{line}" in f"\n{text}"
    assert "100% of the scene, and differs from it in 0.0%" in text
    assert json.loads(run(*words, "--json"))["scale"] == 4


def test_a_guide_of_another_hemisphere_is_one_line_with_both_extents(sample, folder):
    south = raster(folder / "south.tif", sample.guide, Affine(2, 0, 300_000, 0, -2, 6_000_000), "EPSG:32733")
    with pytest.raises(GridError, match=r"The guide covers .*, the scene .*500000.*: they do not overlap"):
        check_guide(folder / "scene.tif", rgb=south)
    result = CliRunner().invoke(main, ["guide-check", str(folder / "scene.tif"), "--rgb", str(south)])
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1


def test_a_scene_without_a_guide_is_refused(folder):
    with pytest.raises(OptionError, match="has no guide to be checked. Give one as --rgb"):
        check_guide(folder / "scene.tif", scale=4)


def test_a_doubled_guide_is_reported(sample, folder):
    doubled = sample.guide[:, ::2, ::2].repeat(2, 1).repeat(2, 2)
    facts = check_guide(folder / "scene.tif", rgb=raster(folder / "doubled.tif", doubled))
    np.testing.assert_allclose(facts["repeated"], (2, 2), atol=0.1)


# ---- several guides ----------------------------------------------------------------------


def test_where_one_of_several_guides_does_not_reach_the_other_serves(sample, folder):
    # A pan image at 2 m, and colours at 3.2 m, two and a half times finer, over the left half only.
    pan = raster(folder / "pan.tif", sample.guide.mean(0, keepdims=True))
    y, x = (np.arange(n) * 1.6 + 0.3 for n in (100, 66))
    part = sample.guide[:, np.rint(y).astype(int)[:, None], np.rint(x).astype(int)]
    colours = raster(folder / "colours.tif", part, GRID @ Affine.scale(0.4))
    keywords = {"model": "regression", "scale": 2, "overwrite": True}
    both = upscale(folder / "scene.tif", folder / "both.tif", rgb=[pan, colours], **keywords)
    one = upscale(folder / "scene.tif", folder / "one.tif", rgb=[pan], **keywords)
    assert one["guide"]["coverage"] == 1
    assert both["guide"]["coverage"] == 1
    assert both["guide"]["coverage_by_guide"] == pytest.approx([1, 66 * 3.2 / (53 * 8)], abs=0.02)
    with rasterio.open(folder / "both.tif") as file:
        assert np.isfinite(file.read()).all()
    facts = check_guide(folder / "scene.tif", rgb=[pan, colours], scale=2)
    assert [g["gsd_ratio"] for g in facts["guides"]] == [4, 2.5]
    assert facts["coverage"] == 1
    assert not any("the rest is sharpened without it" in a for a in facts["advice"])
