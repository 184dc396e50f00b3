"""Standard deviations in a second file: written, resumed and replaced with the product as one output."""

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from delivered import counts, raster

from dualsr_geo import Options, open_scene, upscale
from dualsr_geo.cli import main
from dualsr_geo.errors import KeywordError, OutputError
from dualsr_geo.io.describe import describe


@pytest.fixture
def scene(tmp_path):
    raster(tmp_path / "s.tif", counts(1, (3, 48, 48)), 8.0)
    return tmp_path / "s.tif"


def made(scene, name="o.tif", **options):
    path = scene.with_name(name)
    return upscale(scene, path, **{"scale": 2, "model": "interpolation", "uncertainty": "separate", **options}), path


def read(path):
    with rasterio.open(path) as file:
        return file.read()


@pytest.mark.parametrize("format_", ["COG", "GTiff"])
def test_both_files_hold_what_one_would(format_, scene):
    _, path = made(scene, format=format_)
    _, both = made(scene, "b.tif", uncertainty="bands", format=format_)
    values, deviations = read(path), read(path.with_name("o_sigma.tif"))
    np.testing.assert_array_equal(np.concatenate([values, deviations]), read(both))
    with rasterio.open(path.with_name("o_sigma.tif")) as file, rasterio.open(both) as whole:
        assert file.descriptions == whole.descriptions[3:]
        assert file.transform == whole.transform
        assert file.tags(1)["STANDARD_DEVIATION_OF"] == "1"
    assert open_scene(path).count == 3
    assert describe(path)["made_by"]["uncertainty_file"] == str(path.with_name("o_sigma.tif"))
    assert describe(both)["made_by"]["uncertainty_file"] is None
    assert sorted(p.name for p in scene.parent.iterdir()) == ["b.tif", "o.tif", "o_sigma.tif", "s.tif"]


def test_they_are_resumed_and_replaced_together(scene):
    _, path = made(scene)
    second = path.with_name("o_sigma.tif")
    first = path.read_bytes(), second.read_bytes()
    assert made(scene, resume=True)[0]["already_finished"]
    with pytest.raises(OutputError, match="exists"):
        made(scene)
    path.unlink()
    with pytest.raises(OutputError, match=r"o_sigma\.tif exists. Give --overwrite"):
        made(scene)
    made(scene, overwrite=True)
    assert (path.read_bytes(), second.read_bytes()) == first
    second.unlink()
    assert not made(scene, resume=True, overwrite=True)[0].get("already_finished")
    assert second.read_bytes() == first[1]


def test_an_input_is_not_replaced_by_them(scene):
    guide = scene.with_name("o_sigma.tif")
    raster(guide, counts(2, (1, 96, 96)), 4.0)
    with pytest.raises(OutputError, match="is the input"):
        made(scene, rgb=guide, overwrite=True)


@pytest.mark.parametrize("name", ["o.zarr", "o.nc"])
def test_other_formats_have_a_variable(name, scene):
    _, path = made(scene, name)
    assert open_scene(path).count == 3
    assert not list(scene.parent.glob("*sigma*"))


def test_the_report_shows_them(scene):
    made(scene, report=scene.with_name("r.html"))
    assert "Uncertainty" in scene.with_name("r.html").read_text()


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["--uncertainty", "separate"], ["o.tif", "o_sigma.tif"]),
        (["--uncertainty=separate"], ["o.tif", "o_sigma.tif"]),
        (["--uncertainty", "bands"], ["o.tif"]),
        (["--uncertainty"], ["o.tif"]),
        ([], ["o.tif"]),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_the_value_may_be_left_out(words, files, last, scene):
    rest = [str(scene), "--scale", "2", "--model", "interpolation", "-o", str(scene.with_name("o.tif")), "-q"]
    result = CliRunner().invoke(main, ["upscale", *([*rest, *words] if last else [*words, *rest])])
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in scene.parent.glob("o*")) == files
    assert len(read(scene.with_name("o.tif"))) == (6 if words and len(files) == 1 else 3)


@pytest.mark.parametrize("value", ["both", 1, None, ""])
def test_other_values_are_refused(value):
    with pytest.raises(KeywordError, match="uncertainty"):
        Options(uncertainty=value)
