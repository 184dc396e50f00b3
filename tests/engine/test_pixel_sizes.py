"""A product of each pixel size: --gsd all."""

import json

import delivered
import pytest
import rasterio
from click.testing import CliRunner

import dualsr_geo
from dualsr_geo.cli import main
from dualsr_geo.engine.pixel_sizes import labelled
from dualsr_geo.errors import OptionError

pytestmark = pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")


@pytest.fixture(scope="module")
def safe(tmp_path_factory):
    return delivered.sentinel2(tmp_path_factory.mktemp("safe"), sides=(240, 240))


def values(path):
    with rasterio.open(path) as file:
        return file.shape, file.descriptions, file.transform.a, file.read()


def test_each_pixel_size_is_a_product(safe, tmp_path):
    out = tmp_path / "out.tif"
    result = dualsr_geo.upscale(safe, out, gsd="all", model="regression")
    assert [(p["gsd"], p["scale"], p["bands"]) for p in result["products"]] == [(20, 2, 6), (60, 6, 2)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out_20m.tif", "out_60m.tif"]
    for gsd, names in ((20, delivered.S2_BANDS[20]), (60, ("B01", "B09"))):
        shape, bands, pixel, cube = values(tmp_path / f"out_{gsd}m.tif")
        assert (shape, bands, pixel) == ((240, 240), names, 10)
        alone = tmp_path / f"alone{gsd}.tif"
        dualsr_geo.upscale(safe, alone, gsd=gsd, model="regression")
        assert (values(alone)[3] == cube).all()


def test_default_names_and_json_have_the_pixel_size(safe):
    done = CliRunner().invoke(main, ["upscale", str(safe), "--gsd", "all", "--model", "bicubic", "--json", "-q"])
    assert done.exit_code == 0, done.output
    names = [f"{safe.stem}_20m_x2.tif", f"{safe.stem}_60m_x6.tif"]
    outputs = [p["output"] for p in json.loads(done.stdout)["products"]]
    assert outputs == [str(safe.with_name(name)) for name in names]
    done = CliRunner().invoke(main, ["upscale", str(safe), "--gsd", "all", "--model", "bicubic", "--resume"])
    assert done.output.count("is already finished") == 2


def test_the_plan_of_each_pixel_size(safe, tmp_path):
    done = CliRunner().invoke(main, ["upscale", str(safe), "--gsd", "all", "-o", str(tmp_path / "a.zarr"), "--dry-run"])
    plans = json.loads(done.stdout)["products"]
    assert [(p["gsd"], p["output"]) for p in plans] == [(g, str(tmp_path / f"a_{g}m.zarr")) for g in (20, 60)]


def test_batch_makes_a_product_of_each_pixel_size(safe, tmp_path):
    out = tmp_path / "out"
    command = ["batch", str(safe), "-o", str(out), "--gsd", "all", "--model", "bicubic", "--stac"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    products = [f"{safe.stem}_20m_x2", f"{safe.stem}_60m_x6"]
    assert sorted(p.stem for p in out.glob("*.tif")) == products
    assert sorted(p.stem for p in out.glob("S2*.json")) == products
    scenes = json.loads((out / "summary.json").read_text())["scenes"]
    assert [(s["scene"], s["status"]) for s in scenes] == [(f"{safe} at {g} m", "done") for g in (20, 60)]
    assert CliRunner().invoke(main, ["batch", "-o", str(out), "--resume"]).exit_code == 0


def test_a_product_with_bands_of_one_size_and_a_pan_band_is_one_product(tmp_path):
    folder = delivered.landsat(tmp_path)
    result = dualsr_geo.upscale(folder, tmp_path / "out.tif", gsd="all", model="bicubic")
    assert [(p["gsd"], p["scale"]) for p in result["products"]] == [(30, 2)]
    assert (tmp_path / "out_30m.tif").exists()


def test_what_has_no_pixel_sizes_is_refused(safe, tmp_path):
    plain = delivered.raster(tmp_path / "plain.tif", delivered.counts(1, (2, 60, 60)), 20)
    pan = delivered.raster(tmp_path / "pan.tif", delivered.counts(2, (1, 120, 120)), 10)
    with pytest.raises(OptionError, match="gsd 'all' is for a product with several pixel sizes|plain has one"):
        dualsr_geo.upscale(plain, tmp_path / "o.tif", pan=pan, gsd="all")
    with pytest.raises(OptionError, match="is one ratio, and with .*Leave"):
        dualsr_geo.upscale(safe, tmp_path / "o.tif", gsd="all", scale=2)
    with pytest.raises(OptionError, match="makes a product of each pixel size with upscale and batch"):
        dualsr_geo.evaluate(safe, gsd="all")
    done = CliRunner().invoke(main, ["batch", str(plain), "-o", str(tmp_path / "b"), "--gsd", "all", "--rgb", str(pan)])
    assert (done.exit_code, "plain has one" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a/out.tif", "a/out_20m.tif"), ("s3://b/out.zarr", "s3://b/out_20m.zarr"), ("out", "out_20m")],
)
def test_names_of_files(path, expected):
    assert labelled(path, 20.0) == expected
