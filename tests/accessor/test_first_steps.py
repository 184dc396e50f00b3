"""The ten first things that a user types in a notebook, with their exact output."""

from __future__ import annotations

import pytest
import rioxarray

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.option_names import STYLE

# Whole runs of a demo scene.
pytestmark = pytest.mark.filterwarnings("ignore:saving variable")


@pytest.fixture(autouse=True)
def _as_a_user_reads_messages(monkeypatch, tmp_path_factory):
    monkeypatch.delenv(STYLE, raising=False)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    scene, pan = synthetic.write(folder, shape=(40, 50), bands=4, guide="pan", shift_px=(1.5, -2.0))
    opened = {"scene": rioxarray.open_rasterio(scene, masked=True), "pan": rioxarray.open_rasterio(pan)}
    return {"dualsr_geo": dualsr_geo, "path": scene, "folder": folder, **opened}


def failure(code, names):
    with pytest.raises(dualsr_geo.DualSRError) as caught:
        eval(code, dict(names))
    return f"{type(caught.value).__name__}: {caught.value}"


MISTAKES = {
    "scene.dualsr.upscale()": "ScaleError: Without a guide the scale is not known. Give `scale`, e.g. scale=4.",
    "scene.dualsr.upscale(scael=4)": "KeywordError: There is no option `scael`. Did you mean `scale`?",
    "scene.dualsr.upscale(scale='4')": "KeywordError: `scale` is '4' (str). Give an integer, e.g. scale=4.",
    "scene.dualsr.upscale(rgb=pan.values)": None,
    "scene.dualsr.upscale(pan=pan, guide=pan)": (
        "KeywordError: `pan` and `guide` name the same argument. Give the guide, or a list of several, by one of them."
    ),
    "scene.dualsr.evaluate(pan=pan, models='regression,bicubic')": (
        "KeywordError: `models` is 'regression,bicubic' (str). Give a list of names, e.g. ['auto']."
    ),
    "dualsr_geo.upscale(scene, pan=pan)": (
        "OutputError: The scene is an array, next to which no file is written. Give `output`."
    ),
    "scene.dualsr.upscale(pan=pan, scale=8)": None,
}


@pytest.mark.parametrize("code", MISTAKES)
def test_a_mistake_is_one_line_in_the_words_of_python(code, names):
    text = failure(code, names)
    assert text == MISTAKES[code] if MISTAKES[code] else "--" not in text
    assert "\n" not in text


def test_the_names_are_listed():
    assert dir(dualsr_geo) == [
        "DualSRError", "DualSRWarning", "Options", "Psf", "Scene", "StoredSurvey", "__version__", "batch", "check_guide", "degrade",
        "evaluate", "export_models", "load_model", "open_scene", "reproduce", "score_product", "sharpen_chunk", "sharpen_window", "survey", "train",
        "upscale",
    ]  # fmt: skip


def test_the_first_ten_things(names):
    scene, pan = names["scene"], names["pan"]
    # 1. What is it?
    assert repr(dualsr_geo.open_scene(names["path"])) == (
        "<Scene scene: 4 bands, 40 x 50 pixels of 8 m, EPSG:32633, uint16, nodata 65535, 400 to 1000 nm>"
    )
    # 2. Does the guide fit?
    check = scene.dualsr.guide_check(pan=pan)
    assert check["shift"] == "1.5 px too low and 2.0 px too far left (+-0.02 px)"
    assert "How the guide fits the scene" in check._repr_html_()
    # 3. Sharpen.
    sharp = scene.dualsr.upscale(pan=pan)
    assert (sharp.dims, sharp.shape, sharp.dtype) == (("band", "y", "x"), (4, 160, 200), "float32")
    # 4. Compute, and read how it was made.
    sharp = sharp.compute()
    assert sharp.attrs["dualsr_shift"][0].startswith("The guide lay 1.5 px too low and 2.0 px too far left")
    assert sharp.attrs["dualsr_model"] == "auto, fine stage consistency"
    # 5. Look.
    assert sharp.dualsr.quicklook(longest=100).size == (100, 80)
    # 6. Which wavelengths?
    assert scene.dualsr.with_wavelengths().wavelength.values.tolist() == [400.0, 600.0, 800.0, 1000.0]
    assert sharp.attrs["units"] == "reflectance"
    # 7. Write.
    sharp.rio.to_raster(names["folder"] / "notebook.tif")
    # 8. The same to a file, from the array.
    result = dualsr_geo.upscale(scene, names["folder"] / "file.tif", pan=pan)
    assert isinstance(result, dict)
    assert "4 bands, 160 x 200 pixels, 4x sharper" in result._repr_html_()
    # 9. Is it good?
    scores = scene.dualsr.evaluate(pan=pan, models=["regression", "bicubic"])
    assert list(scores["models"]) == ["regression", "bicubic"]
    assert "<td>regression</td>" in scores._repr_html_()
    # 10. A report, and what was measured.
    page = scene.dualsr.report(names["folder"] / "report.html", pan=pan, model="regression")["report"]
    assert "<html" in (names["folder"] / page).read_text()[:2000].lower()
    survey = scene.dualsr.survey(pan=pan)
    assert repr(survey).startswith("<Survey: blur sigma ")
    assert "lay 1.5 px too low and 2.0 px too far left" in survey._repr_html_()
