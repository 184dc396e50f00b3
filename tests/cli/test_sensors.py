"""Instruments on the command line, and what a run says of them."""

import json

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.transform import from_origin

from dualsr_geo import upscale
from dualsr_geo.cli import main
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.evaluation.evaluate import evaluate
from dualsr_geo.sensors.registry import sensors


def run(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


def write(path, count, *, gsd=2.0, tags=None, names=None):
    """Write smooth noise, 26 x 34 pixels."""
    rng = np.random.default_rng(5)
    coarse = rng.uniform(300, 900, (count, 7, 9))
    values = coarse.repeat(4, 1).repeat(4, 2)[:, :26, :34] + rng.normal(0, 5, (count, 26, 34))
    profile = {"driver": "GTiff", "count": count, "height": 26, "width": 34, "dtype": "uint16", "crs": "EPSG:32631"}
    with rasterio.open(path, "w", **profile, transform=from_origin(4e5, 5e6, gsd, gsd)) as target:
        target.write(values.astype("uint16"))
        target.update_tags(**(tags or {}))
        for i, name in enumerate(names or (), 1):
            target.set_band_description(i, name)
    return path


def test_every_sensor_is_listed():
    result = run("sensors", "list")
    assert [line.split()[0] for line in result.output.splitlines()] == list(sensors())
    listed = json.loads(run("sensors", "list", "--json").output)
    assert {s["name"]: s["bands"] for s in listed}["chikusei"] == 128


@pytest.mark.parametrize("name", ["worldview-2", "enmap", "pan"])
def test_a_sensor_is_shown_with_its_sources(name):
    result = run("sensors", "show", name)
    sensor = sensors()[name]
    assert result.exit_code == 0
    assert sensor.sources.bands in result.output
    assert len(result.output.splitlines()) > len(sensor.bands)
    values = json.loads(run("sensors", "show", name, "--json").output)
    assert [b["wavelength_nm"] for b in values["bands"]] == list(sensor.wavelengths_nm)
    assert values["srf"] == ("gaussian" if name == "enmap" else "tabulated")


def test_an_unknown_sensor_is_one_line():
    result = run("sensors", "show", "worldview-7")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "no sensor `worldview-7`. Did you mean worldview-4 or worldview-3 or worldview-2" in result.output


def test_info_prints_the_sensor_of_a_tag(tmp_path):
    scene = write(tmp_path / "a.tif", 8, tags={"SATELLITE_ID": "WV02"})
    assert (
        "sensor:  worldview-2, from the tag SATELLITE_ID=WV02; MTF gain 0.35, the median of 0.27 to 0.35"
        in run("info", scene).output
    )
    values = json.loads(run("info", scene, "--json", "--bidx", "8").output)
    assert values["band_table"][0]["wavelength_nm"] == 923.4
    assert values["sensor"]["mtf_gain"] == 0.27


def test_a_wrong_sensor_is_one_line(tmp_path):
    result = run("upscale", write(tmp_path / "a.tif", 4), "--scale", "2", "--sensor", "worldview-2")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "worldview-2 has 8 bands, the scene 4" in result.output
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tif"]


@pytest.mark.parametrize(
    ("given", "gain", "source"), [((), 0.85, "estimated from the scene"), (("--sensor", "worldview-3"), 0.36, "sensor")]
)
def test_a_run_uses_the_gain_and_reports_it(given, gain, source, tmp_path):
    scene = write(tmp_path / "a.tif", 3, gsd=1.24, names=["green", "red edge", "blue"])
    out = tmp_path / "out.tif"
    result = run("upscale", scene, "--scale", "2", "--model", "interpolation", "-o", out, *given)
    assert result.exit_code == 0, result.output
    assert ("Sensor worldview-3, as given; MTF gain 0.36\n" in result.output) == bool(given)
    with rasterio.open(out) as product:
        lineage = json.loads(product.tags()["lineage"]) if "lineage" in product.tags() else None
        tags = [product.tags(i) for i in product.indexes]
    assert ("wavelength" in {k.lower() for k in tags[0]}) == bool(given)
    values = upscale(scene, tmp_path / "b.tif", scale=2, model="interpolation", sensor=given[1] if given else None)
    assert values["psf"] == {**values["psf"], "source": source}
    assert values["psf"]["sigma_px"][0] == pytest.approx(Psf.from_mtf(2, gain).sigma_px[0], abs=1e-3)
    assert lineage is None or (lineage["sensor"] is None) != bool(given)


def test_mtf_gain_replaces_that_of_the_sensor(tmp_path):
    scene = write(tmp_path / "a.tif", 8, tags={"SENSOR": "worldview-2"})
    values = upscale(scene, tmp_path / "b.tif", scale=2, model="interpolation", mtf_gain=0.2)
    assert values["sensor"]["name"] == "worldview-2"
    assert values["psf"]["sigma_px"][0] == pytest.approx(Psf.from_mtf(2, 0.2).sigma_px[0], abs=1e-3)


def test_a_dry_run_and_a_finished_run_report_the_sensor(tmp_path):
    scene = write(tmp_path / "a.tif", 8, tags={"SENSOR": "worldview-2"})
    planned = json.loads(run("upscale", scene, "--scale", "2", "--dry-run").output)
    assert planned["sensor"]["mtf_gain"] == 0.35
    first = upscale(scene, tmp_path / "b.tif", scale=2, model="bicubic")
    again = upscale(scene, tmp_path / "b.tif", scale=2, model="bicubic", resume=True)
    assert again["already_finished"]
    assert again["sensor"] == first["sensor"]


def test_the_wald_protocol_degrades_at_the_gain_of_the_sensor(tmp_path):
    scene = write(tmp_path / "a.tif", 8, tags={"SENSOR": "worldview-2"})
    values = evaluate(scene, scale=2, models=["bicubic"])
    assert "gain 0.35 at the coarse Nyquist" in values["protocol"]
    assert values["opened"] == [
        "Sensor worldview-2, from the tag SENSOR=worldview-2; MTF gain 0.35, the median of 0.27 to 0.35"
    ]
    assert "gain 0.4 at" in evaluate(scene, scale=2, models=["bicubic"], mtf_gain=0.4, sensor="worldview-3")["protocol"]
    result = run("evaluate", scene, "--scale", "2", "--models", "bicubic", "--sensor", "worldview-2")
    assert "Sensor worldview-2, as given; MTF gain 0.35" in result.output


def test_the_accessor_uses_the_sensor(tmp_path):
    import rioxarray

    array = rioxarray.open_rasterio(write(tmp_path / "a.tif", 8), masked=True)
    sharp = array.dualsr.upscale(scale=2, model="bicubic", sensor="worldview-2")
    assert sharp["wavelength"].values[0] == 428.3
