"""Instruments: their tables, what follows from them, and how plugins and scenes bring them in."""

import hashlib
import shutil
import sys
import tomllib
import warnings
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import plan_run
from dualsr_geo.errors import DualSRWarning, InputError, OptionError
from dualsr_geo.io.readers.sensor_detection import add_sensor, detect, match
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.raster.bands import Band
from dualsr_geo.sensors import find, sensors
from dualsr_geo.sensors.builtin import BUILT_IN
from dualsr_geo.sensors.definition import Sensor, SensorBand, Sources, read_bands, read_responses

PLUGINS = Path(__file__).parents[2] / "plugins/sensors"
DATA = Path(__file__).parents[3] / "shared/data"
# Of every number of a sensor, responses included; whoever changes a table changes this on purpose.
CHECKSUMS = {
    "cbers-4a-wpm": "2a7ba9a618384c45",
    "cbers-4a-wpm-pan": "3d9c4c9116db174e",
    "worldview-2": "fcb5c107c71fac15",
    "worldview-2-pan": "6fca898b71f6b8a7",
    "worldview-3": "ffeb3095a6f5756d",
    "worldview-3-pan": "48834f0e2157b3ba",
    "worldview-3-swir": "f4a2926daa8d558f",
    "worldview-4": "3951df76c3400fd5",
    "worldview-4-pan": "27cdd98099a94c0e",
    "geoeye-1": "5bec0df55bfab466",
    "geoeye-1-pan": "34a566e2c66fc1f5",
    "quickbird-2": "3896f1e294290fe1",
    "quickbird-2-pan": "465060eaf78aae15",
    "ikonos-2": "2ad95ebf2806a4af",
    "ikonos-2-pan": "3eddd6f6c927eaad",
    "pleiades": "7b828c43c03a85a4",
    "pleiades-pan": "20d8dff465cb4c0f",
    "pleiades-neo": "ad32007d369e64af",
    "pleiades-neo-pan": "63fb62a9d2d1a041",
    "spot-6": "a7fd49309339f95f",
    "spot-6-pan": "4629aeabf1fb8f33",
    "planetscope-8b": "eabcd5f152d42328",
    "planetscope": "cd66926fb152b25a",
    "planetscope-ps2": "cb29027b3bd133cd",
    "eo-1-ali": "f133a7df5452b5fa",
    "eo-1-ali-pan": "f0156277fc96ec14",
    "desis": "8f7e6df14f27268c",
    "tanager": "444024c1d19d0695",
    "sentinel-2a": "d388679f1475100f",
    "sentinel-2b": "ee3ce3b6bb517bac",
    "sentinel-2c": "7325cfaf0db96e95",
    "landsat-8": "ee257ac955c46046",
    "landsat-8-pan": "f14d356ce14cd0bc",
    "landsat-9": "34f2521084e7a62d",
    "landsat-9-pan": "c86f3ea4aa844ae6",
    "landsat-7": "9d8861b0c70aade0",
    "landsat-7-pan": "306dda80103725f9",
    "landsat-5": "6014b4927c66f1d9",
    "landsat-4": "6014b4927c66f1d9",
    "landsat-5-mss": "4d0249cff76d44b3",
    "landsat-4-mss": "4d0249cff76d44b3",
    "landsat-3": "e512543ead943636",
    "landsat-2": "e512543ead943636",
    "landsat-1": "e512543ead943636",
    "landsat-8-thermal": "3f3e4ea90dd5c7c0",
    "landsat-9-thermal": "3f3e4ea90dd5c7c0",
    "landsat-7-thermal": "f1c2c4bd46a90573",
    "landsat-5-thermal": "f1c2c4bd46a90573",
    "landsat-4-thermal": "f1c2c4bd46a90573",
    "enmap": "3e52a4bff2f4e723",
    "prisma": "54ca5c59e4e3d6c2",
    "emit": "d8bc4f9ac4d0e114",
    "aviris-classic": "20f5c3086324214d",
    "aviris-ng": "1474ac2d573ae39f",
    "hyperion": "7ba17b8269b370a2",
    "chikusei": "0cde783af6634721",
    "neon-aop": "a5e465a1ef228e4b",
    "cave": "830376238d485855",
    "harvard": "3039dbd63c0e40cd",
    "rgb-camera": "57a8864669a68bda",
    "pan": "2d023390beedaa79",
}  # fmt: skip
# ESA, Sentinel-2 user guide; NASA, landsat.gsfc.nasa.gov/satellites/landsat-8/spacecraft-instruments (OLI).
PUBLISHED_NM = {
    "sentinel-2a": [442.7, 492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 945.1, 1373.5, 1613.7, 2202.4],
    "sentinel-2b": [442.2, 492.1, 559.0, 664.9, 703.8, 739.1, 779.7, 832.9, 864.0, 943.2, 1376.9, 1610.4, 2185.7],
    "landsat-8": [442.96, 482.04, 561.41, 654.59, 864.67, 1608.86, 2200.73, 1373.43],
}
NAMES = [s.name for s in BUILT_IN]


@pytest.fixture
def _afresh():
    sensors.cache_clear()
    yield
    sensors.cache_clear()


# ---- tables ------------------------------------------------------------------------------


def checksum(sensor):
    numbers = [(b.name, b.wavelength_nm, b.fwhm_nm, b.gsd_m, b.mtf_gain) for b in sensor.bands]
    lines = [f"{name} {nm:.2f} {fwhm:.2f} {gsd} {gain:g}" for name, nm, fwhm, gsd, gain in numbers]
    if sensor.responses is not None:
        for nm, response in map(sensor.response, range(len(sensor.bands))):
            lines.append(f"{nm[0]:.2f} {nm[-1]:.2f} " + " ".join(f"{r:.3f}" for r in response))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", NAMES)
def test_no_number_of_a_table_changes_by_accident(name):
    assert checksum(find(name)) == CHECKSUMS[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_number_says_where_it_comes_from(name):
    sensor = find(name)
    assert len(sensor.sources.bands) > 20
    assert sensor.mtf_measured != sensor.sources.mtf.startswith("assumed")
    assert sensor.guide is None or len(find(sensor.guide).bands) == 1


def half_maximum(nm, response):
    """Find the width by brute force, on a grid of 0.02 nm."""
    fine = np.arange(nm[0], nm[-1], 0.02)
    above = fine[np.interp(fine, nm, response) >= 0.5]
    return above[-1] - above[0]


@pytest.mark.parametrize("name", NAMES)
def test_centre_and_width_are_those_of_the_response(name):
    sensor = find(name)
    for i, band in enumerate(sensor.bands[:40]):
        nm, response = sensor.response(i)
        assert response.min() >= 0
        assert response.max() == 1
        assert np.trapezoid(nm * response, nm) / np.trapezoid(response, nm) == pytest.approx(
            band.wavelength_nm, abs=0.06
        )
        assert half_maximum(nm, response) == pytest.approx(band.fwhm_nm, abs=0.1)


@pytest.mark.parametrize("name", PUBLISHED_NM)
def test_centres_are_the_published_ones(name):
    np.testing.assert_allclose(find(name).wavelengths_nm, PUBLISHED_NM[name], atol=0.7)


# Planet, PlanetScope product specification, rounded; Airbus, Pléiades and SPOT user guides, middle of the stated edges.
ROUNDED_NM = {
    "planetscope-8b": [443, 490, 531, 565, 610, 665, 705, 865],
    "planetscope": [490, 565, 665, 865],
    "pleiades": [660, 560, 490, 850],
    "spot-6": [660, 560, 490, 825],
}


@pytest.mark.parametrize("name", ROUNDED_NM)
def test_centres_are_near_the_rounded_ones_of_the_operators(name):
    np.testing.assert_allclose(find(name).wavelengths_nm, ROUNDED_NM[name], atol=15)


# USGS, What are the band designations for the Landsat satellites.
@pytest.mark.parametrize(
    ("name", "edges"),
    [
        ("landsat-7", [(450, 520), (520, 600), (630, 690), (760, 900), (1550, 1750), (2080, 2350)]),
        ("landsat-7-pan", [(520, 900)]),
    ],
)
def test_responses_of_etm_reach_half_at_the_published_edges(name, edges):
    for i, (low, high) in enumerate(edges):
        nm, response = find(name).response(i)
        above = nm[response >= 0.5]
        assert (above[0], above[-1]) == (pytest.approx(low, abs=15), pytest.approx(high, abs=15))


def test_the_bands_of_two_units_differ_and_those_of_two_satellites_too():
    assert len({checksum(find(f"sentinel-2{unit}")) for unit in "abc"}) == 3
    assert checksum(find("landsat-8")) != checksum(find("landsat-9"))


# File of the responses in ../shared/data/srf, and the sensor's bands in the order of the blocks there.
RESPONSE_FILES = {
    "QuickBird2": ("quickbird-2", ["pan", "blue", "green", "red", "nir"]),
    "IKONOS2": ("ikonos-2", ["pan", "blue", "green", "red", "nir"]),
    "GeoEye1": ("geoeye-1", ["pan", "blue", "green", "red", "nir"]),
    "WorldView4": ("worldview-4", ["pan", "blue", "green", "red", "nir"]),
    "PHR1A": ("pleiades", ["blue", "green", "red", "nir", "pan"]),
    "SPOT6": ("spot-6", ["blue", "green", "red", "nir", "pan"]),
    "EO1_ALI": ("eo-1-ali", [f"B{n:02d}" for n in range(1, 11)]),
    "PlanetScope_22": ("planetscope", ["blue", "green", "red", "nir"]),
    "PlanetScope_SD8": (
        "planetscope-8b", ["coastal blue", "blue", "green i", "green", "yellow", "red", "red edge", "nir"],
    ),
}  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("file", RESPONSE_FILES)
def test_centres_are_those_of_the_tabulated_responses(file):
    path = DATA / f"srf/acolite_{file}.txt"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    name, order = RESPONSE_FILES[file]
    lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    # Blocks are separated by comments.
    runs = groupby((line for line in lines if line), key=lambda line: line[0][0].isdigit())
    blocks = [np.array([[float(v) for v in line[:2]] for line in run]) for is_data, run in runs if is_data]
    assert len(blocks) == len(order)
    bands = {b.name: b for n in (name, f"{name}-pan") if n in NAMES for b in find(n).bands}
    for label, (nm, response) in zip(order, (b.T for b in blocks), strict=True):
        centre = np.trapezoid(nm * response, nm) / np.trapezoid(response, nm) * (1000 if nm[0] < 10 else 1)
        # Tails of at most 0.25 % are cut: those of QuickBird's blue band, in the infrared, move its centre by 1.1 nm.
        assert bands[label].wavelength_nm == pytest.approx(centre, abs=1.5), label


# ---- responses ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_srf_is_weights_and_finds_the_centres(name):
    sensor = find(name)
    nm = np.arange(sensor.wavelengths_nm.min() - 1100, sensor.wavelengths_nm.max() + 1100, 1.0)
    srf = sensor.srf(nm)
    assert srf.shape == (len(sensor.bands), len(nm))
    assert srf.min() >= 0
    np.testing.assert_allclose(srf.sum(1), 1, atol=1e-12)
    # Of a linear spectrum a band sees its own centre.
    np.testing.assert_allclose(srf @ nm, sensor.wavelengths_nm, atol=0.1)


@settings(max_examples=40)
@given(st.lists(st.floats(350, 2600), min_size=2, max_size=60, unique=True), st.randoms())
def test_rows_sum_to_one_or_to_nothing_in_any_order_of_wavelengths(nm, random):
    sensor = find("sentinel-2a")
    srf = sensor.srf(nm)
    sums = srf.sum(1)
    assert (srf >= 0).all()
    assert (np.isclose(sums, 1) | (sums == 0)).all()
    order = list(range(len(nm)))
    random.shuffle(order)
    np.testing.assert_allclose(sensor.srf(np.array(nm)[order]), srf[:, order], atol=1e-12)


@settings(max_examples=40)
@given(st.floats(3, 40), st.floats(2, 60))
def test_a_gaussian_band_is_the_integral_of_a_gaussian(fwhm, step):
    one = Sensor("one", "", (SensorBand("a", 700, fwhm, None, 0.3),), Sources("made up"))
    nm = 700 + step * np.arange(-9, 8.5)
    cdf = norm(700, fwhm / np.sqrt(8 * np.log(2))).cdf
    share = cdf(nm + step / 2) - cdf(nm - step / 2)
    np.testing.assert_allclose(one.srf(nm)[0], share / share.sum() * (share.sum() > 0.5), atol=1e-3)


def test_a_band_that_the_wavelengths_hardly_reach_is_left_out():
    sensor = find("worldview-2")
    reached = sensor.srf(np.arange(400.0, 831.0, 5)).sum(1)
    # Half of NIR1 (827.7 nm) is below 830 nm, nothing of NIR2.
    np.testing.assert_allclose(reached, [1, 1, 1, 1, 1, 1, 1, 0], atol=1e-12)


def test_one_wavelength_is_no_spectrum():
    with pytest.raises(InputError, match="1 wavelength spans no spectrum"):
        find("cave").srf([500.0])


# ---- definitions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "My_Sensor"}, "`My_Sensor` is not a name of a sensor"),
        ({"bands": ()}, "mine has no band"),
        ({"bands": (SensorBand("a", 500, 10, 5, 1.2),)}, "MTF gain of 1.2"),
        ({"bands": (SensorBand("a", -500, 10, 5, 0.3),)}, "wavelength_nm -500"),
        ({"bands": (SensorBand("a", 500, 0, 5, 0.3),)}, "fwhm_nm 0"),
        ({"bands": (SensorBand("a", 500, 10, float("nan"), 0.3),)}, "gsd_m nan"),
    ],
)
def test_a_sensor_out_of_range_is_refused(changes, message):
    right = {"name": "mine", "title": "", "bands": (SensorBand("a", 500, 10, 5, 0.3),), "sources": Sources("made up")}
    with pytest.raises(InputError, match=message):
        Sensor(**{**right, **changes})


@pytest.mark.parametrize("text", ["a,500,10,5\n", "a,blue,10,5,0.3\n"])
def test_a_table_of_bands_names_the_line_that_is_none(text, package):
    (package / "bands.csv").write_text("name,wavelength_nm,fwhm_nm,gsd_m,mtf_gain\nb,400,10,,0.3\n" + text)
    with pytest.raises(InputError, match="Line 3 of brought:bands.csv is not a band"):
        read_bands("brought:bands.csv")


@pytest.mark.parametrize("text", ["a,400\n", "a,400,1,0.5,-0.1\n", "a,400,0,1\n", "a,400,1,0,0\n", "a,400,1,x\n"])
def test_a_table_of_responses_names_the_line_that_is_none(text, package):
    read_responses.cache_clear()
    (package / "srf.csv").write_text("name,first_nm,step_nm,response\n" + text)
    with pytest.raises(InputError, match="Line 2 of brought:srf.csv is not a response"):
        read_responses("brought:srf.csv")


def test_a_band_without_its_response_is_named(package):
    read_responses.cache_clear()
    (package / "srf.csv").write_text("name,first_nm,step_nm,response\na,400,1,0.5,1,0.5\n")
    bands = (SensorBand("a", 401, 2, None, 0.3), SensorBand("b", 500, 2, None, 0.3))
    sensor = Sensor("mine", "", bands, Sources("made up"), responses="brought:srf.csv")
    with pytest.raises(InputError, match="brought:srf.csv lack band b of mine"):
        sensor.srf([400, 401, 402])


# ---- discovery ---------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch, _afresh):
    """Give a package `brought` that can be imported."""
    place = tmp_path / "brought"
    place.mkdir()
    (place / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield place
    sys.modules.pop("brought", None)


def install(folder, site, monkeypatch):
    """Lay a plugin down as pip does: the package, and a dist-info with its entry points."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    for package in folder.glob("dualsr_geo_*"):
        shutil.copytree(package, site / package.name)
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    (info / "entry_points.txt").write_text(
        "\n".join(f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in points.items()) for group, points in groups)
    )
    monkeypatch.syspath_prepend(site)


def declare(package, value, code=""):
    (package / "__init__.py").write_text(code)
    info = package.parent / "brought-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[dualsr_geo.sensors]\nmine = {value}\n")


@pytest.mark.usefixtures("_afresh")
@pytest.mark.parametrize(("plugin", "name"), [("ikonos", "ikonos"), ("template", "my-sensor")])
def test_a_plugin_that_is_installed_is_found(plugin, name, tmp_path, monkeypatch):
    with pytest.raises(OptionError, match=f"no sensor `{name}`"):
        find(name)
    install(PLUGINS / plugin, tmp_path, monkeypatch)
    sensors.cache_clear()
    sensor = find(name)
    assert sensor.srf(np.arange(300.0, 1100.0)).sum(1) == pytest.approx(1)
    assert set(NAMES) < set(sensors())


@pytest.mark.usefixtures("_afresh")
def test_the_plugin_of_this_repository_keeps_its_numbers(tmp_path, monkeypatch):
    install(PLUGINS / "ikonos", tmp_path, monkeypatch)
    assert {n: checksum(find(n)) for n in ("ikonos", "ikonos-pan")} == {
        "ikonos": "38957c34adb6925a",
        "ikonos-pan": "0b07c4305989f190",
    }


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        ("brought:SENSOR", "", "AttributeError"),
        ("brought:SENSOR", "raise RuntimeError('no table')", "RuntimeError: no table"),
        ("brought:SENSOR", "import nothing_like_that", "nothing_like_that"),
        ("brought:SENSOR", "SENSOR = 'worldview-9'", "is str, not a Sensor"),
        ("brought:SENSOR", "SENSOR = ()", "is tuple, not a Sensor"),
        ("brought:SENSOR", "def f(:", "SyntaxError"),
    ],
)
def test_a_broken_plugin_is_one_warning_and_leaves_the_others(value, code, message, package):
    declare(package, value, code)
    with pytest.warns(DualSRWarning) as caught:
        registry = sensors()
    assert len(caught) == 1
    assert "sensor plugin mine of brought" in str(caught[0].message)
    assert message in str(caught[0].message)
    assert list(registry) == NAMES


def test_a_name_that_is_taken_stays_with_who_has_it(package):
    code = (
        "from dualsr_geo.sensors import Sensor, SensorBand, Sources\n"
        "SENSOR = Sensor('cave', 'mine', (SensorBand('a', 500, 10, 5, 0.3),), Sources('made up'))"
    )
    declare(package, "brought:SENSOR", code)
    with pytest.warns(DualSRWarning, match="adds `cave`, a name that another sensor has"):
        assert len(find("cave").bands) == 31


def test_a_sensor_is_found_by_an_alias_that_only_one_has():
    assert find("S2A") is find("sentinel-2a")
    assert find("wv02") is find("worldview-2")
    assert find("PHR1A") is find("pleiades")
    assert find("GE01") is find("geoeye-1")
    assert find("SuperDove") is find("planetscope-8b")
    with pytest.raises(OptionError, match="`WV03` may be worldview-3, worldview-3-pan or worldview-3-swir"):
        find("WV03")


def test_an_unknown_sensor_names_the_nearest():
    with pytest.raises(OptionError, match=r"no sensor `sentinel-2d`. Did you mean sentinel-2.* or sentinel-2"):
        find("sentinel-2d")


# ---- scenes ------------------------------------------------------------------------------


def scene(count, *, gsd=2.0, nm=None, fwhm=None, names=None, attrs=None):
    """Make a scene of `count` bands, 13 x 11 pixels, in UTM."""
    values = np.random.default_rng(3).random((count, 13, 11), dtype=np.float32)
    coords = {"y": 5e6 - gsd * np.arange(13), "x": 4e5 + gsd * np.arange(11)}
    coords["band"] = names if names is not None else np.arange(1, count + 1)
    if nm is not None:
        coords["wavelength"] = ("band", np.asarray(nm, float), {"units": "nm"})
    if fwhm is not None:
        coords["fwhm"] = ("band", np.asarray(fwhm, float), {"units": "nm"})
    import rioxarray  # noqa: F401

    array = xr.DataArray(values, dims=("band", "y", "x"), coords=coords, attrs=attrs or {})
    return array.rio.write_crs("EPSG:32631")


def test_a_scene_without_wavelengths_gets_those_of_its_sensor():
    opened = open_scene(scene(8), sensor="worldview-2")
    own = find("worldview-2").bands
    assert [(b.wavelength_nm, b.fwhm_nm) for b in opened.bands] == [(b.wavelength_nm, b.fwhm_nm) for b in own]
    assert opened.sensor.mtf_gains == (0.35,) * 7 + (0.27,)
    assert opened.sensor.mtf_gain == 0.35


def test_what_the_file_says_of_its_bands_wins():
    own = find("emit")
    mine = own.wavelengths_nm + 0.8
    opened = open_scene(scene(285, gsd=60, nm=mine, fwhm=np.full(285, 9.5)), sensor="emit")
    np.testing.assert_allclose([b.wavelength_nm for b in opened.bands], mine)
    assert {b.fwhm_nm for b in opened.bands} == {9.5}
    bad = [b.wavelength_nm for b in opened.bands if not b.good]
    assert bad == pytest.approx([w for w in mine if 1327 <= w <= 1432 or 1774 <= w <= 1960])
    assert len(bad) > 30


def test_some_bands_of_a_scene_are_those_of_the_whole():
    opened = open_scene(scene(8), sensor="worldview-2", bidx="8,2")
    assert [b.wavelength_nm for b in opened.bands] == [923.4, 479.1]
    assert opened.sensor.mtf_gains == (0.27, 0.35)
    assert opened.sensor.mtf_gain == 0.31
    assert "MTF gain 0.31, the median of 0.27 to 0.35" in opened.sensor.sentence


def test_bands_are_matched_by_their_names():
    sensor, scene = find("sentinel-2b"), open_scene(_named(["B4", "B03", "B8a"]))
    assert [sensor.bands[i].name for i in match(scene, sensor)] == ["B04", "B03", "B8A"]


def _named(names):
    array = scene(len(names), gsd=15.0)
    return xr.Dataset({n: array[i].drop_vars("band") for i, n in enumerate(names)})


def test_overlapping_detectors_keep_their_order():
    sensor = find("enmap")
    whole = open_scene(scene(224, gsd=30, nm=sensor.wavelengths_nm))
    assert match(whole, sensor) == tuple(range(224))
    assert (np.diff(sensor.wavelengths_nm) < 0).any()
    ascending = np.argsort(sensor.wavelengths_nm)
    other = open_scene(scene(224, gsd=30, nm=sensor.wavelengths_nm[ascending]))
    np.testing.assert_array_equal(match(other, sensor), ascending)


@pytest.mark.parametrize(
    ("array", "sensor", "message"),
    [
        (lambda: scene(4), "worldview-2", "worldview-2 has 8 bands, the scene 4, without wavelengths"),
        (lambda: scene(369, gsd=1.0), "neon-aop", "neon-aop has 426 bands, the scene 369, without wavelengths"),
        (lambda: scene(8, gsd=1.0), "worldview-2", "pixels of 1 m, but coastal of worldview-2 has 1.84 m"),
        (lambda: scene(13, gsd=10.0), "sentinel-2a", "pixels of 10 m, but B01 of sentinel-2a has 60 m"),
        (
            lambda: scene(2, nm=[660, 1650]),
            "worldview-2",
            "Band 2 of the scene is at 1650 nm, but the nearest of worldview-2 is nir2 at 923.4 nm, 92.4 nm wide",
        ),
        (
            lambda: scene(3, nm=[660, np.nan, 830]),
            "worldview-2",
            "Band 2 of the scene has no wavelength, and its 3 bands are not the 8 of worldview-2",
        ),
    ],
)
def test_a_wrong_sensor_is_refused_with_both_numbers(array, sensor, message):
    with pytest.raises(OptionError, match=message):
        open_scene(array(), sensor=sensor)


@pytest.mark.parametrize("gsd", [1.3, 2.0, 3.0])
def test_pixels_of_an_oblique_view_are_no_contradiction(gsd):
    assert open_scene(scene(8, gsd=gsd), sensor="worldview-2").sensor.used


def test_scenes_on_no_map_have_no_pixel_size_to_contradict():
    bare = scene(8, gsd=1.0).drop_vars("spatial_ref")
    assert open_scene(bare, sensor="worldview-2").sensor.used


@pytest.mark.parametrize(
    ("attrs", "count", "gsd", "name"),
    [
        ({"SATELLITE_ID": "WV02"}, 8, 2.0, "worldview-2"),
        ({"satId": '"WV02"'}, 1, 0.5, "worldview-2-pan"),
        ({"DATATAKE_1_SPACECRAFT_NAME": "Sentinel-2A"}, 13, 20.0, None),
        ({"platform": "LANDSAT_9"}, 8, 30.0, "landsat-9"),
        ({"sensor type": "EnMAP HSI"}, 224, 30.0, "enmap"),
        ({"SENSOR": "WorldView99"}, 8, 2.0, None),
        ({"comment": "WV02"}, 8, 2.0, None),
        ({"SENSOR": "pan"}, 1, 2.0, None),
    ],
)
def test_a_tag_that_spells_an_alias_is_sure(attrs, count, gsd, name):
    sensor = open_scene(scene(count, gsd=gsd, attrs=attrs)).sensor
    assert (sensor.sensor if sensor is not None and sensor.used else None) == name
    if name is not None:
        assert sensor.why.startswith("from the tag ")


def test_a_tag_that_the_scene_contradicts_is_reported_and_not_used():
    array = scene(8, gsd=0.5, attrs={"SATELLITE": "WV02"})
    opened = open_scene(array)
    assert not opened.sensor.used
    assert opened.sensor.mtf_gain is None
    assert all(b.wavelength_nm is None for b in opened.bands)
    assert "its numbers are not used: The scene has pixels of 0.5 m, but coastal of worldview-2 has 1.84 m" in (
        opened.sensor.sentence
    )


def test_a_tag_counts_the_bands_of_the_whole_file():
    opened = open_scene(scene(8, attrs={"SATELLITE": "WV02"}), bidx="3")
    assert opened.sensor.sensor == "worldview-2"
    assert opened.bands[0].wavelength_nm == 547.5


def test_a_resemblance_is_a_hint():
    sensor = find("hyperion")
    detected = detect(open_scene(scene(242, gsd=30, nm=sensor.wavelengths_nm + 1.5)))
    assert not detected.sure
    assert "looks like hyperion, whose 242 wavelengths differ by 1.5 nm at most; give --sensor hyperion" in detected.why
    far = open_scene(scene(242, gsd=30, nm=sensor.wavelengths_nm + 8))
    assert detect(far) is None
    assert detect(open_scene(scene(8, nm=find("worldview-2").wavelengths_nm))) is None


def test_the_sensor_that_the_user_gives_takes_precedence_over_the_tag():
    array = scene(8, attrs={"SATELLITE": "WV02"})
    assert open_scene(array, sensor="worldview-3").sensor.sensor == "worldview-3"


def test_without_a_sensor_the_scene_is_unchanged():
    plain = open_scene(scene(5))
    assert add_sensor(plain) is plain
    assert plain.sensor is None


# ---- runs --------------------------------------------------------------------------------


def test_a_sensor_gives_the_gain_and_an_own_one_wins():
    opened = open_scene(scene(8), sensor="worldview-2")
    assert plan_run(opened, [], Options(scale=2)).survey_options.mtf_gain == 0.35
    assert plan_run(opened, [], Options(scale=2, mtf_gain=0.2)).survey_options.mtf_gain == 0.2
    assert plan_run(open_scene(scene(8)), [], Options(scale=2)).survey_options.mtf_gain is None


def test_an_assumed_gain_is_never_used():
    opened = open_scene(scene(285, gsd=60), sensor="emit")
    assert plan_run(opened, [], Options(scale=2)).survey_options.mtf_gain is None
    assert "its MTF was not measured" in opened.sensor.sentence


def test_another_sensor_is_another_run():
    jobs = [plan_run(open_scene(scene(8), sensor=s), [], Options(scale=2)) for s in (None, "worldview-2")]
    assert jobs[0].identity != jobs[1].identity
    assert jobs[1].identity["sensor"] == "worldview-2"


def test_a_scene_with_a_sensor_travels():
    import pickle

    opened = open_scene(scene(8), sensor="worldview-2")
    assert pickle.loads(pickle.dumps(opened)).sensor == opened.sensor


@pytest.mark.data
def test_the_real_enmap_scene_is_recognised():
    path = DATA / "hyperspectral/enmap_potsdam_NW_64x96.tif"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "looks like enmap" in open_scene(path).sensor.sentence
        opened = open_scene(path, sensor="enmap")
    # The provider marks six bands of the first window itself; in the second three are left of those delivered.
    assert [round(b.wavelength_nm) for b in opened.bands if not b.good] == [
        1331, 1343, 1355, 1367, 1379, 1391, 1939, 1949, 1958,
    ]  # fmt: skip


def test_a_band_keeps_its_own_wavelength_and_width():
    own = Band(wavelength_nm=480.0, fwhm_nm=50.0)
    opened = open_scene(scene(1, nm=[480], fwhm=[50]))
    assert (opened.bands[0].wavelength_nm, opened.bands[0].fwhm_nm) == (own.wavelength_nm, own.fwhm_nm)
    completed = add_sensor(opened, "worldview-3")
    assert completed.bands == opened.bands
