"""The scene classification of Sentinel-2 L2A, kept next to the product."""

import json

import delivered
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

import dualsr_geo
from dualsr_geo.cli import main
from dualsr_geo.errors import OutputError

pytestmark = pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")
CLASSES = np.repeat(np.repeat(np.arange(12, dtype="uint8").reshape(3, 4), 10, 0), 10, 1)


def safe_with_classes(folder):
    safe = delivered.sentinel2(folder, sides=(60, 80))
    images = next(safe.glob("GRANULE/*/IMG_DATA"))
    path = images / "R20m/T33UUB_20230612T100031_SCL_20m.jp2"
    delivered.raster(path, CLASSES[None], 20, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    return safe


def kept(path):
    with rasterio.open(path) as file:
        assert (file.count, file.dtypes[0], file.nodata, file.transform.a) == (1, "uint8", 0, 10)
        assert file.colormap(1)[4] == (0, 160, 0, 255)
        assert file.tags(1)["flag_meanings"].split()[6] == "water"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        return file.read(1)


@pytest.mark.parametrize(("gsd", "suffix"), [(20, ".tif"), (60, ".tif"), (20, ".zarr")])
def test_classes_are_kept_on_the_grid_of_the_product(gsd, suffix, tmp_path):
    safe = safe_with_classes(tmp_path / "s")
    out = tmp_path / f"out{suffix}"
    result = dualsr_geo.upscale(safe, out, gsd=gsd, model="bicubic", format=None)
    assert result["classification"] == str(tmp_path / "out_SCL.tif")
    expected = np.repeat(np.repeat(CLASSES, 2, 0), 2, 1)
    np.testing.assert_array_equal(
        kept(tmp_path / "out_SCL.tif"), expected[: 60 // (gsd // 10) * (gsd // 10), : result["shape"][1]]
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([out.name, "out_SCL.tif", "s"])


@pytest.mark.parametrize("make", ["eopf", "folder"])
def test_classes_of_other_layouts_are_kept(make, tmp_path):
    if make == "eopf":
        where = delivered.eopf_sentinel2(tmp_path / f"{delivered.EOPF_NAME}.zarr")
        expected = np.full((60, 84), 4)
        expected[:30] = 8
    else:
        where = tmp_path / "S2A_33UUB_20230612_0_L2A"
        for n, names in delivered.S2_BANDS.items():
            for band in names[:6]:
                if band != "B10":
                    delivered.raster(where / f"{band}.tif", delivered.counts(n, (1, 600 // n, 800 // n)), n)
        delivered.raster(where / "SCL.tif", CLASSES[None], 20)
        expected = np.repeat(np.repeat(CLASSES, 2, 0), 2, 1)
    done = CliRunner().invoke(main, ["upscale", str(where), "--model", "bicubic", "-o", str(tmp_path / "o.tif")])
    assert done.exit_code == 0, done.output
    assert f"Classes: the scene classification is kept in {tmp_path / 'o_SCL.tif'}" in done.output
    np.testing.assert_array_equal(kept(tmp_path / "o_SCL.tif"), expected)


def test_a_file_of_that_name_is_not_replaced(tmp_path):
    safe = safe_with_classes(tmp_path / "s")
    own = tmp_path / "out_SCL.tif"
    own.write_text("mine")
    with pytest.raises(OutputError, match="out_SCL.tif exists. Give"):
        dualsr_geo.upscale(safe, tmp_path / "out.tif", model="bicubic")
    assert own.read_text() == "mine"
    assert not (tmp_path / "out.tif").exists()
    dualsr_geo.upscale(safe, tmp_path / "out.tif", model="bicubic", overwrite=True)
    own.unlink()
    again = dualsr_geo.upscale(safe, tmp_path / "out.tif", model="bicubic", resume=True)
    assert (again["already_finished"], own.exists()) == (True, True)


def test_the_item_of_a_product_has_its_classes(tmp_path):
    safe = safe_with_classes(tmp_path / "s")
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["batch", str(safe), "-o", str(out), "--model", "bicubic", "--stac"])
    assert done.exit_code == 0, done.output
    (path,) = out.glob("S2*.json")
    asset = json.loads(path.read_text())["assets"]["scl"]
    assert (out / asset["href"]).is_file()
    assert asset["title"] == "Scene classification"
