"""Guides in two steps: the coarser bands of a delivered product are sharpened by its finest bands first."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401  # the accessor rio
import xarray as xr
from delivered import EAST, NORTH, counts, enmap, landsat, sentinel2

import dualsr_geo
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.preparation import dry_run
from dualsr_geo.engine.sharpened_guides import SharpenedSource, open_guide_images
from dualsr_geo.raster.windows import Window

# Smooth fields show no blur.
pytestmark = pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")
SENTENCE = "The guide's 6 bands at 20 m are first sharpened to 10 m by its 4 bands at 10 m."
OF_RUN = Options(model="regression")
OPTIONS: dict[str, Any] = {"model": "regression", "dtype": "float32"}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(sentinel2(tmp_path_factory.mktemp("s2"), sides=(240, 300)))


def scene() -> xr.DataArray:
    """Return a scene of 60 m pixels that shows what the product's bands of 20 m show."""
    values = counts(20, (6, 40, 50)).astype(np.float32)
    y, x = (60.0 * (np.arange(n) + 0.5) for n in (40, 50))
    array = xr.DataArray(values, dims=("band", "y", "x"), coords={"y": NORTH - y, "x": EAST + x})
    return array.rio.write_crs("EPSG:32633")


def read_all(path: str | Path) -> np.ndarray[Any, Any]:
    source = dualsr_geo.open_scene(path).source
    return np.asarray(source.read(Window(0, source.shape[1], 0, source.shape[2])))


def test_all_bands_of_a_delivery_guide_the_scene(product: Path, tmp_path: Path) -> None:
    guides = open_guide_images([product], OF_RUN)
    assert [g.count for g in guides] == [4, 6]
    assert guides[0].geobox == guides[1].geobox
    plan = dry_run(scene(), tmp_path / "a.tif", rgb=product, options=Options(model="regression"))
    assert plan["guide_bands"] == 10
    assert SENTENCE in plan["opened"]
    result = dualsr_geo.upscale(scene(), tmp_path / "a.zarr", rgb=product, **OPTIONS)
    assert SENTENCE in result["opened"]
    assert result["scale"] == 6
    assert len(result["guide"]["coverage_by_guide"]) == 2


def test_the_first_step_is_the_product_of_a_run(product: Path, tmp_path: Path) -> None:
    guide = open_guide_images([product], OF_RUN)[1]
    dualsr_geo.upscale(product, tmp_path / "own.zarr", model="regression", dtype="float32", tile=128)
    whole = guide.source.read(Window(0, guide.shape[0], 0, guide.shape[1]))
    np.testing.assert_array_equal(whole, read_all(tmp_path / "own.zarr"))
    part = Window(7, 31, 3, 20)
    again = pickle.loads(pickle.dumps(guide.source))
    np.testing.assert_array_equal(again.read(part, [2, 0]), whole[[2, 0], 7:31, 3:20])
    assert isinstance(again, SharpenedSource)
    assert again.fingerprint() == guide.source.fingerprint()


def test_threads_tiles_and_the_lazy_product_have_the_same_values(product: Path, tmp_path: Path) -> None:
    first = dualsr_geo.upscale(scene(), tmp_path / "a.zarr", rgb=product, tile=8, jobs=1, **OPTIONS)
    second = dualsr_geo.upscale(scene(), tmp_path / "b.zarr", rgb=product, tile=8, jobs=2, **OPTIONS)
    values = read_all(first["output"])
    np.testing.assert_array_equal(values, read_all(second["output"]))
    lazy = scene().dualsr.upscale(rgb=product, tile=8, **OPTIONS)
    np.testing.assert_array_equal(lazy.values, values)


def test_a_plain_image_and_a_product_without_finer_bands_guide_as_they_are(tmp_path: Path) -> None:
    assert [g.count for g in open_guide_images([scene()], OF_RUN)] == [6]
    assert len(open_guide_images([enmap(tmp_path / "enmap")], OF_RUN)) == 1
    pan, bands = open_guide_images([landsat(tmp_path / "landsat")], OF_RUN)
    assert pan.count == 1 < bands.count
    assert abs(bands.geobox.affine.a) == abs(pan.geobox.affine.a)


def test_a_model_that_makes_one_band_of_a_guide_takes_the_finest_bands(product: Path) -> None:
    assert [g.count for g in open_guide_images([product], Options(model="gsa"))] == [4]
