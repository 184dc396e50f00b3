"""The provider inside QGIS, without a screen: `python3 -m pytest plugins/qgis/tests` with QGIS's own Python.

tests/integration/test_qgis.py runs this file with the packaged plugin; DUALSR_QGIS is its folder,
DUALSR_GEO the environment of the command.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from zipfile import ZipFile

import pytest

sys.path[:0] = [os.environ["DUALSR_QGIS"], "/usr/share/qgis/python/plugins"]

from osgeo import gdal
from processing.core.Processing import Processing
from processing.core.ProcessingConfig import ProcessingConfig
from processing.gui.Postprocessing import handleAlgorithmResults
from qgis.core import (
    QgsApplication,
    QgsContrastEnhancement,
    QgsMultiBandColorRenderer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsRasterLayer,
)

gdal.UseExceptions()


class Listener(QgsProcessingFeedback):
    """Keeps what QGIS would show."""

    def __init__(self):
        super().__init__(False)
        self.messages, self.printed, self.failed, self.percents = [], [], [], []

    # The names are QGIS's own.
    def pushInfo(self, text):
        self.messages.append(text)

    def pushConsoleInfo(self, text):
        self.printed.append(text)

    def reportError(self, error, fatalError=False):
        self.failed.append(error)

    def setProgress(self, percent):
        super().setProgress(percent)
        self.percents.append(percent)


@pytest.fixture(scope="session")
def qgis():
    application = QgsApplication([], False)
    application.initQgis()
    Processing.initialize()
    import dualsr_qgis

    plugin = dualsr_qgis.classFactory(None)
    plugin.initProcessing()
    yield QgsApplication.processingRegistry()
    plugin.unload()


@pytest.fixture
def chosen(qgis):
    """The environment of the command, chosen as in the options dialog."""
    ProcessingConfig.setSettingValue("DUALSR_GEO_PROGRAM", os.environ["DUALSR_GEO"])
    return qgis


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """A scene of 8 bands and its pan image."""
    folder = tmp_path_factory.mktemp("pair")
    subprocess.run(
        [f"{os.environ['DUALSR_GEO']}/bin/dualsr-geo", "sample", folder, "--size", "24", "31", "--bands", "8"],
        check=True,
    )
    return folder / "scene.tif", folder / "pan.tif"


def run(registry, name, parameters, feedback=None):
    """Run an algorithm as the toolbox does, up to the layers in the project."""
    feedback = feedback or Listener()
    project = QgsProject.instance()
    project.clear()
    context = QgsProcessingContext()
    context.setProject(project)
    if "OUTPUT" in parameters:
        wanted = QgsProcessingOutputLayerDefinition(str(parameters["OUTPUT"]), project)
        parameters = {**parameters, "OUTPUT": wanted}
    algorithm = registry.createAlgorithmById(f"dualsr:{name}")
    able, why = algorithm.canExecute()
    assert able, why
    results, fine = algorithm.run(parameters, context, feedback)
    # QGIS's own loading must not need the algorithm: within a model it is gone by then.
    del algorithm
    if fine:
        assert handleAlgorithmResults(registry.algorithmById(f"dualsr:{name}"), context, feedback, False, {})
    return results, fine, feedback


def layers():
    return {layer.name(): layer for layer in QgsProject.instance().mapLayers().values()}


def test_the_toolbox_has_every_algorithm_with_icon_and_help(qgis):
    provider = qgis.providerById("dualsr")
    found = {a.id().split(":")[1]: a for a in provider.algorithms()}
    assert set(found) == {"upscale", "guidecheck", "evaluate", "score", "sample"}
    assert not provider.icon().isNull()
    for algorithm in found.values():
        assert algorithm.shortHelpString()
        assert Path(algorithm.helpUrl().removeprefix("file://")).is_file()


def test_without_the_command_qgis_says_what_to_install(qgis, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ProcessingConfig.settings["DUALSR_GEO_PROGRAM"], "value", "")
    able, why = qgis.createAlgorithmById("dualsr:upscale").canExecute()
    assert not able
    assert "pip install" in why
    assert "Settings > Options > Processing > Providers > dualsr-geo" in why


def test_the_options_refuse_a_folder_without_the_command(qgis, tmp_path):
    with pytest.raises(ValueError, match="has no dualsr-geo. Give the folder"):
        ProcessingConfig.setSettingValue("DUALSR_GEO_PROGRAM", str(tmp_path))


def test_a_scene_becomes_a_sharpened_layer_in_natural_colours(chosen, pair, tmp_path):
    from dualsr_qgis.style import wavelengths

    scene, guide = map(str, pair)
    out = str(tmp_path / "sharp.tif")
    results, fine, feedback = run(chosen, "upscale", {"SCENE": scene, "GUIDE": guide, "OUTPUT": out})
    assert fine, feedback.failed
    (layer,) = layers().values()
    assert results["OUTPUT"] == out == layer.source()
    assert (layer.height(), layer.width(), layer.bandCount()) == (96, 124, 8)
    assert layer.extent() == QgsRasterLayer(scene).extent()
    nm = wavelengths(out)
    assert [nm[b - 1] for b in rgb(layer.renderer())] == pytest.approx([650, 550, 450], abs=60)
    enhanced = layer.renderer().redContrastEnhancement()
    assert (
        enhanced.contrastEnhancementAlgorithm()
        == QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum
    )
    assert enhanced.minimumValue() < enhanced.maximumValue()
    assert any("96 x 124 pixels, 4x sharper" in line for line in feedback.messages)
    assert feedback.percents == sorted(feedback.percents)


def rgb(renderer):
    return [renderer.redBand(), renderer.greenBand(), renderer.blueBand()]


def test_a_product_may_look_as_the_scene_does_and_bring_its_page(chosen, pair, tmp_path):
    scene = QgsRasterLayer(str(pair[0]), "mine")
    scene.setRenderer(QgsMultiBandColorRenderer(scene.dataProvider(), 7, 2, 5))
    parameters = {"SCENE": scene, "SCALE": 2, "MODEL": "bicubic", "COLOURS": 1, "REPORT": True}
    _, fine, feedback = run(chosen, "upscale", {**parameters, "OUTPUT": str(tmp_path / "sharp.tif")})
    assert fine, feedback.failed
    assert (tmp_path / "sharp.html").is_file()
    (layer,) = layers().values()
    assert rgb(layer.renderer()) == [7, 2, 5]


def test_bands_without_wavelengths_are_shown_in_grey(chosen, tmp_path):
    from dualsr_qgis.style import colour

    plain = str(tmp_path / "plain.tif")
    gdal.GetDriverByName("GTiff").Create(plain, 5, 7, 9, gdal.GDT_UInt16).FlushCache()
    layer = QgsRasterLayer(plain)
    assert colour(layer) is None
    assert layer.renderer().grayBand() == 1


@pytest.mark.parametrize(
    ("waves", "bands"),
    [
        ([450, 550, 650], (3, 2, 1)),
        ([650, 550, 450, 900], (1, 2, 3)),
        ([None, 445, 555, 655, None], (4, 3, 2)),
        ([900, 1600, 2200], None),
        ([500, 560, 720], None),
        ([600, 602], None),
        ([None, None, None], None),
        ([], None),
    ],
)
def test_natural_colours_are_the_nearest_bands_and_near(qgis, waves, bands):
    from dualsr_qgis.style import natural

    assert natural(waves) == bands


def test_a_mistake_is_the_one_line_of_the_command(chosen, pair, tmp_path):
    scene = str(pair[0])
    _, fine, feedback = run(chosen, "upscale", {"SCENE": scene, "OUTPUT": str(tmp_path / "p.tif")})
    assert not fine
    assert feedback.failed == ["Without a guide --scale is required. Give --rgb GUIDE, or e.g. --scale 2."]
    assert list(tmp_path.iterdir()) == []


def test_a_map_service_is_refused_with_a_way_out(chosen, tmp_path):
    service = QgsRasterLayer("type=xyz&url=http://127.0.0.1:9/{z}/{x}/{y}.png", "streets", "wms")
    assert service.isValid()
    _, fine, feedback = run(chosen, "upscale", {"SCENE": service, "SCALE": 2, "OUTPUT": str(tmp_path / "p.tif")})
    assert not fine
    (line,) = feedback.failed
    assert "The layer streets comes from `wms`" in line
    assert "Export" in line


def test_a_model_that_ends_in_a_product_styles_it_too(chosen, pair, tmp_path):
    child = QgsProcessingModelChildAlgorithm("dualsr:upscale")
    child.setChildId("sharpen")
    for name, value in {"SCENE": str(pair[0]), "SCALE": 2, "MODEL": "bicubic"}.items():
        child.addParameterSources(name, [QgsProcessingModelChildParameterSource.fromStaticValue(value)])
    product = QgsProcessingModelOutput("product", "product")
    product.setChildOutputName("OUTPUT")
    child.setModelOutputs({"product": product})
    model = QgsProcessingModelAlgorithm("model", "model", "model")
    model.addChildAlgorithm(child)
    model.updateDestinationParameters()
    (output,) = [d.name() for d in model.destinationParameterDefinitions()]

    project, feedback, context = QgsProject.instance(), Listener(), QgsProcessingContext()
    project.clear()
    context.setProject(project)
    wanted = QgsProcessingOutputLayerDefinition(str(tmp_path / "sharp.tif"), project)
    _, fine = model.run({output: wanted}, context, feedback)
    assert fine, feedback.failed
    gc.collect()
    assert handleAlgorithmResults(model, context, feedback, False, {})
    (layer,) = layers().values()
    assert len(set(rgb(layer.renderer()))) == 3


@pytest.mark.parametrize("wrapped", ["{}", "{}|option:NUM_THREADS=2", "/vsizip/{}.zip/scene.tif"])
def test_a_layer_is_read_as_gdal_names_it(qgis, pair, wrapped):
    from dualsr_qgis.algorithm import file_of

    scene = pair[0]
    with ZipFile(f"{scene}.zip", "w") as packed:
        packed.write(scene, "scene.tif")
    layer = QgsRasterLayer(wrapped.format(scene))
    assert layer.isValid()
    assert gdal.Open(file_of(layer)).RasterCount == 8


def test_further_options_go_as_they_are(chosen, pair, tmp_path):
    from dualsr_qgis.upscale import Upscale

    algorithm, context = Upscale(), QgsProcessingContext()
    algorithm.initAlgorithm()
    words = algorithm.further({"EXTRA": r"--sensor 'a b' --psf C:\data\psf.json  #1"}, context)
    assert words == ["--sensor", "a b", "--psf", r"C:\data\psf.json", "#1"]
    _, fine, feedback = run(
        chosen,
        "upscale",
        {"SCENE": str(pair[0]), "SCALE": 2, "EXTRA": "--sensor 'x", "OUTPUT": str(tmp_path / "p.tif")},
    )
    assert not fine
    assert "Close every quote" in feedback.failed[0]


def test_a_cancelled_run_stops_and_goes_on_to_the_same_bytes(chosen, pair, tmp_path):
    scene, guide = map(str, pair)
    out, whole = tmp_path / "cut.tif", tmp_path / "whole.tif"
    parameters = {"SCENE": scene, "GUIDE": guide, "MODEL": "regression", "EXTRA": "--tile 8 --jobs 1"}
    feedback = Listener()
    marks = tmp_path / "cut.tif.part" / "done"

    def cancel():
        while not marks.is_dir() or len(list(marks.glob("*.json"))) < 3:
            time.sleep(0.01)
        feedback.cancel()

    threading.Thread(target=cancel, daemon=True).start()
    _, fine, _ = run(chosen, "upscale", {**parameters, "OUTPUT": str(out)}, feedback)
    assert not fine
    assert "Cancelled. What is finished stays in" in feedback.failed[0]
    assert not out.exists()
    kept = {f.name: f.stat().st_mtime_ns for f in marks.glob("*.json")}
    time.sleep(1)
    assert {f.name: f.stat().st_mtime_ns for f in marks.glob("*.json")} == kept, "something still runs"
    assert 3 <= len(kept) < 12

    assert run(chosen, "upscale", {**parameters, "OUTPUT": str(out), "RESUME": True})[1]
    assert run(chosen, "upscale", {**parameters, "OUTPUT": str(whole)})[1]
    assert pixels(out) == pixels(whole)


def pixels(path):
    return gdal.Open(str(path)).ReadRaster()


def test_a_synthetic_scene_is_loaded_with_its_guide(chosen, tmp_path):
    results, fine, feedback = run(chosen, "sample", {"FOLDER": str(tmp_path / "try")})
    assert fine, feedback.failed
    assert set(layers()) == {"scene", "pan"}
    assert results["SCENE"] == str(tmp_path / "try" / "scene.tif")
    assert len(set(rgb(layers()["scene"].renderer()))) == 3


def test_guide_check_prints_what_it_found_and_draws_it(chosen, pair, tmp_path):
    scene, guide = map(str, pair)
    feedback, plot = Listener(), tmp_path / "guide.png"
    results, fine, _ = run(chosen, "guidecheck", {"SCENE": scene, "GUIDE": guide, "PLOT": str(plot)}, feedback)
    assert fine, feedback.failed
    assert results["PLOT"] == str(plot)
    assert plot.read_bytes().startswith(b"\x89PNG")
    found = {line.split(":")[0] for line in feedback.printed}
    assert {"guide", "scale", "covers", "shift", "explains"} <= found


def test_evaluate_makes_a_page_and_prints_the_table(chosen, pair, tmp_path):
    scene, guide = map(str, pair)
    page = tmp_path / "page.html"
    parameters = {"SCENE": scene, "GUIDE": guide, "SCALE": 2, "MODELS": "regression,bicubic", "REPORT": str(page)}
    results, fine, feedback = run(chosen, "evaluate", parameters)
    assert fine, feedback.failed
    assert results["REPORT"] == str(page)
    assert "<html" in page.read_text()
    assert any("PSNR" in line for line in feedback.printed)


def test_score_returns_figures(chosen, pair):
    scene = str(pair[0])
    results, fine, feedback = run(chosen, "score", {"PRODUCT": scene, "REFERENCE": scene})
    assert fine, feedback.failed
    assert results["SAM_DEG"] == pytest.approx(0, abs=1e-3)
    assert results["RMSE"] == 0
    # A product that equals its reference has no PSNR, and without a scale there is no ERGAS.
    assert not {"PSNR_DB", "ERGAS"} & set(results)
