"""The accessor and the public functions with values that nobody can use."""

import functools

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hostile_case import Case, check

import dualsr_geo
from dualsr_geo.engine.degrade_raster import degrade
from dualsr_geo.engine.upscale import upscale
from dualsr_geo.errors import MemoryLimitError, UnexpectedError
from dualsr_geo.evaluation.evaluate import evaluate, score_product
from dualsr_geo.evaluation.guide_check import check_guide
from dualsr_geo.io.describe import describe
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.models.loading import load_model
from dualsr_geo.sensors import find
from dualsr_geo.synthetic import as_dataarray, make, write


@functools.cache
def sample():
    return make((16, 20), ratio=2, bands=4, guide="pan")


def scene():
    return as_dataarray(sample())


def pan():
    return as_dataarray(sample(), "guide")


def stack(array, dates):
    return xr.concat([array] * dates, dim=pd.Index(pd.date_range("2024", periods=dates), name="time"))


def called(name, function, error=None, **others):
    """Return a case of a function without arguments."""
    return Case(name, lambda _folder: function, error, **others)


def option(name, value, error):
    """Return the case of an option of the accessor."""
    return called(f"{name}={value!r}"[:60], lambda: scene().dualsr.upscale(**{"scale": 2, name: value}), error)


def changed_scene(name, change, error=None):
    """Return the case of a scene that is changed first."""
    return called(f"a scene {name}", lambda: change(scene()).dualsr.upscale(scale=2).compute(), error)


def guide(name, change, error):
    """Return the case of a guide."""
    return called(f"a guide {name}", lambda: scene().dualsr.upscale(rgb=change()).compute(), error)


OPTIONS = (
    option("scale", "4", r"`scale` is '4' \(str\). Give an integer"),
    option("scale", 4.5, "`scale` is 4.5"),
    option("scale", True, "`scale` is True"),
    option("scale", 10**30, "does not fit into 64 bits"),
    option("scale", 0, "--scale 0 does not sharpen"),
    option("max_memory", "4GB", None),
    option("max_memory", "much", "`max_memory` is 'much', which is no size"),
    option("max_memory", 0, "--max-memory 0 leaves no memory"),
    option("bidx", 1, r"`bidx` is 1 \(int\). Give text"),
    option("psf", {}, r"`psf` is \{\} \(dict\). Give a dualsr_geo.Psf"),
    option("psf", dualsr_geo.Psf(2, (), (), 0, 0), "`psf` is no PSF: taps_y"),
    option("psf", dualsr_geo.Psf(2, (float("nan"),), (1.0,), 0, 0), "`psf` is no PSF: taps_y holds nan"),
    option("mtf_gain", "0.3", "`mtf_gain` is '0.3'"),
    option("mtf_gain", float("nan"), "nan is not between 0 and 1"),
    option("tile", 1.5, "`tile` is 1.5"),
    option("tile", -1, "--tile -1 is below 8"),
    option("jobs", "1", "`jobs` is '1'"),
    option("jobs", 0, "--jobs 0 runs nothing"),
    option("model", None, "`model` is None"),
    option("model", b"auto", "`model` is b'auto'"),
    option("model", "a" * 300, "name of the model.*is too long"),
    option("published", "no", "`published` is 'no'"),
    option("spectral", "all", "`spectral` is 'all'"),
    option("orientations", 9, "--orientations 9 is not between 1 and 8"),
    option("uncertainty", 1, "`uncertainty` is 1"),
    option("coregister", None, "`coregister` is None"),
    option("sensor", 1, "`sensor` is 1"),
    option("device", 0, "`device` is 0"),
    option("dtype", "uint12", "`dtype` is 'uint12'.*Give one of uint8"),
    option("dtype", np.uint16, None),
    option("dtype", "complex64", "`dtype` is 'complex64'"),
    option("nodata", "0", "`nodata` is '0'"),
    option("creation", "COMPRESS=LZW", "`creation` is 'COMPRESS=LZW'"),
    option("trust_references", "x", "`trust_references` is 'x'"),
    option("scael", 2, "no option `scael`. Did you mean `scale`"),
    option("zzz", 2, "no option `zzz`. Give one of bidx, "),
    option("options", "x", "`options` is a str"),
    option("gsd", 2.0, "gsd.* selects among the pixel sizes of a product; an array has one"),
    option("wavelengths", 400, "`wavelengths` is 400"),
    option("wavelengths", [1, "x"], "`wavelengths` is 'x'"),
    option("work_dir", 1, "`work_dir` is 1"),
    option("sacle", 2, "no option `sacle`. Did you mean `scale`"),
    option("giude", 2, "no option `giude`. Did you mean `guide`"),
    called("a positional argument", lambda: scene().dualsr.upscale(2), "upscale: too many positional arguments"),
)
SCENES = (
    changed_scene("without a band", lambda s: s.isel(band=[]), r"band \(0\).*holds no value"),
    changed_scene("without a row", lambda s: s.isel(y=[]), r"y \(0\).*holds no value"),
    changed_scene("of other dimensions", lambda s: s.rename(x="a", y="b"), "none are recognised as y and x"),
    changed_scene("of one dimension", lambda s: s.isel(band=0, y=0), "none are recognised as y and x"),
    changed_scene("of four dimensions", lambda s: xr.concat([s, s], "level"), "Select one scene"),
    changed_scene("of objects", lambda s: s.astype(object), "values of type object"),
    changed_scene("of complex numbers", lambda s: s.astype(complex), "values of type complex"),
    changed_scene("of times", lambda s: s.astype("datetime64[ns]"), "values of type datetime"),
    changed_scene("of text", lambda s: s.astype(str), "values of type <U"),
    changed_scene("of no date", lambda s: stack(s, 2).isel(time=[]), "dimension time of no date"),
    changed_scene("whose places are text", lambda s: s.assign_coords(x=list(map(str, range(20)))), "x"),
    changed_scene("whose scale is text", lambda s: (s * 1e4).astype("int16").assign_attrs(scale_factor="abc"), "scale_factor"),
    changed_scene("whose nodata is text", lambda s: s.assign_attrs(_FillValue="abc"), "_FillValue"),
    called("an empty Dataset", lambda: xr.Dataset().dualsr.upscale(scale=2), "holds no variable with the dimensions y"),
    called(
        "a Dataset with a scale of text",
        lambda: xr.Dataset({n: scene().isel(band=0, drop=True).assign_attrs(scale_factor="x") for n in "ab"}).dualsr.upscale(scale=2),
        "attribute scale_factor = 'x'",
    ),
    called(
        "a scene with chunks of unknown sizes",
        lambda: xr.DataArray(
            da.from_array(scene().to_numpy())[:, da.ones(16, dtype=bool), :], dims=("band", "y", "x"), name="s"
        ).dualsr.upscale(scale=2),
        "s has chunks of unknown sizes",
    ),
)  # fmt: skip
GUIDES = (
    guide("that does not exist", lambda: "nothere.tif", "nothere.tif does not exist"),
    guide("that is a number", lambda: 5, r"`rgb` is 5 \(int\)"),
    guide("that is None in a list", lambda: [None], "`rgb` is None"),
    guide("that is an array of numpy", lambda: pan().to_numpy(), r"`rgb` is array.*ndarray"),
    guide("that is a dictionary", lambda: {"a": 1}, r"\(dict\)"),
    guide("that is bytes", lambda: b"x", r"`rgb` is b'x'"),
    guide("that is empty", lambda: pan().isel(x=[]), r"x \(0\).*holds no value"),
    guide("that is the scene", scene, "must be at least twice as sharp"),
    called(
        "a guide of two names", lambda: scene().dualsr.upscale(rgb=pan(), pan=pan()), "`rgb` and `pan` name the same"
    ),
    called(
        "a guide of three names",
        lambda: scene().dualsr.evaluate(rgb=pan(), pan=pan(), guide=pan()),
        "`guide` name the same",
    ),
    called("a pan that is a number", lambda: scene().dualsr.upscale(pan=5), r"`pan` is 5 \(int\)"),
    called(
        "a guide that is text without a file", lambda: scene().dualsr.upscale(guide="x.tif"), "x.tif does not exist"
    ),
    guide("of two dates", lambda: stack(pan(), 2), "The guide has 2 dates and the scene 1"),
    called(
        "fewer guide dates than scene dates",
        lambda: stack(scene(), 3).dualsr.upscale(rgb=stack(pan(), 2)),
        "The guide has 2 dates and the scene 3",
    ),
)
METHODS = (
    called("a picture of no pixel", lambda: scene().dualsr.quicklook(longest=0), "`longest` is 0 pixels"),
    called("a picture of text", lambda: scene().dualsr.quicklook(longest="x"), "`longest` is 'x'"),
    called("a picture of bands of text", lambda: scene().dualsr.quicklook("123"), "`bands` is '123'"),
    called("a picture of band 1.5", lambda: scene().dualsr.quicklook([1.5]), "`bands` is 1.5"),
    called("a picture of band 0", lambda: scene().dualsr.quicklook([0]), r"bands are \[0\]"),
    called("degraded by text", lambda: scene().dualsr.degrade(scale="2"), "`scale` is '2'"),
    called("degraded by 2.5", lambda: scene().dualsr.degrade(scale=2.5), "`scale` is 2.5"),
    called("degraded to a type of text", lambda: scene().dualsr.degrade(scale=2, dtype="x"), "`dtype` is 'x'"),
    called("degraded bands of a list", lambda: scene().dualsr.degrade(scale=2, bidx=[1]), r"`bidx` is \[1\]"),
    called(
        "degraded with an option of upscale",
        lambda: scene().dualsr.degrade(scale=2, model="auto"),
        "no argument of degrade `model`",
    ),
    called("checked without a guide", lambda: scene().dualsr.guide_check(scale=2), "has no guide to be checked"),
    called(
        "checked with a plot that is a number", lambda: scene().dualsr.guide_check(pan=pan(), plot=5), "`plot` is 5"
    ),
    called(
        "checked with a misspelt option",
        lambda: scene().dualsr.guide_check(pann=pan()),
        "no option `pann`. Did you mean `pan`",
    ),
    called("surveyed without a ratio", lambda: scene().dualsr.survey(), "scale is not known"),  # noqa: PLW0108
    called("surveyed with a guide that is a number", lambda: scene().dualsr.survey(guide=1), "`guide` is 1"),
    called("a report without a path", lambda: scene().dualsr.report(), "report: missing a required"),  # noqa: PLW0108
    called("a report to a number", lambda: scene().dualsr.report(1, scale=2), "`where` is 1"),
    called("a report to a folder that is none", lambda: scene().dualsr.report("no/where.html", scale=2), "no"),
    called(
        "wavelengths that nobody knows",
        xr.DataArray(np.ones((3, 9, 9)), dims=("band", "y", "x")).dualsr.with_wavelengths,
        "wavelengths of the bands are not known",
    ),
    called("wavelengths of another number of bands", lambda: scene().dualsr.with_wavelengths([1.0, 2.0]), "2"),
    called("wavelengths of a number", lambda: scene().dualsr.with_wavelengths(5), "`wavelengths` is 5"),
    called(
        "models with a reference",
        lambda: scene().dualsr.evaluate(scene(), models=["auto"]),
        "`models` is for a comparison",
    ),
    called("degraded by nothing", lambda: scene().dualsr.degrade(), "degrade: missing a required"),  # noqa: PLW0108
    called("degraded with a gain of text", lambda: scene().dualsr.degrade(scale=2, mtf_gain="x"), "`mtf_gain` is 'x'"),
    called("no models", lambda: scene().dualsr.evaluate(scale=2, models=[]), "--models names no model"),
    called(
        "models of text", lambda: scene().dualsr.evaluate(scale=2, models="auto"), "`models` is 'auto'.*list of names"
    ),
    called("a report that is a number", lambda: scene().dualsr.evaluate(scale=2, report=5), "`report` is 5"),
    called("a reference that is a number", lambda: scene().dualsr.evaluate(5), "`reference` is 5"),
    called(
        "a reference of another size", lambda: scene().dualsr.evaluate(pan()), "16 x 20 pixels .*the reference 32 x 40"
    ),
)
NO_PATHS = (None, 5, b"x", [], {}, np.zeros(3), "", "a\0b", "a" * 300, "b\udce9.tif")
FUNCTIONS = {
    "upscale": lambda value: upscale(value, "o.tif", scale=2),
    "open_scene": dualsr_geo.open_scene,
    "degrade": lambda value: degrade(value, "o.tif", scale=2),
    "evaluate": lambda value: evaluate(value, scale=2),
    "score_product": lambda value: score_product(value, value),
    "check_guide": lambda value: check_guide(value, rgb="pan.tif"),
    "describe": describe,
    "load_model": load_model,
    "find": find,
    "write": lambda value: write(value, shape=(8, 8)),
}
PATHS = tuple(
    called(f"{name}({value!r})"[:40], functools.partial(function, value), ".")
    for name, function in FUNCTIONS.items()
    for value in NO_PATHS
)
OTHERS = (
    called("a sample of text", lambda: make("ab"), "`shape` is 'a'"),
    called("a sample of nothing", lambda: make((0, 0)), "is empty"),
    called("a sample of petabytes", lambda: make((10**9, 10**9)), "GiB of memory"),
    called("a sample of negative noise", lambda: make((8, 8), noise=-1), "`noise` is -1"),
    called("a sample of no wavelength", lambda: make((8, 8), wavelengths_nm=[]), "`wavelengths_nm` is"),
    called("a sample of another guide", lambda: make((8, 8), guide="x"), "--guide x is not known"),
    called("an array without an output", lambda: upscale(scene(), scale=2), "array, next to which no file is written"),
    called("an array of two dates to a file", lambda: upscale(stack(scene(), 2), "o.tif", scale=2), "Select one scene"),
    called("a client that is none", lambda: upscale("s.tif", scale=2, client="tcp://x"), "`client` is 'tcp://x'"),
    called("an argument that does not exist", lambda: dualsr_geo.open_scene("s.tif", bidxx="1"), "Did you mean `bidx`"),
    called("a call without arguments", lambda: upscale(), "upscale: missing a required argument"),  # noqa: PLW0108
)
CASES = (*OPTIONS, *SCENES, *GUIDES, *METHODS, *PATHS, *OTHERS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


# ---- the catch-all -----------------------------------------------------------------------


@reports_defects
def failing(path, *, error):
    raise error


def test_a_defect_names_call_type_and_text_without_secrets():
    original = ZeroDivisionError("by zero\nat https://user:secret-word@host/x?sig=1")
    with pytest.raises(
        UnexpectedError, match=r"failing\('a.tif'\) failed unexpectedly: ZeroDivisionError: by zero at"
    ) as caught:
        failing("a.tif", error=original)
    assert caught.value.__cause__ is original
    assert "\n" not in str(caught.value)
    assert "secret-word" not in str(caught.value)
    assert "Please report it" in str(caught.value)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_does_not_suffice_is_no_defect(error):
    with pytest.raises(MemoryLimitError, match="memory does not suffice for failing"):
        failing("a.tif", error=error)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, DeprecationWarning])
def test_what_the_caller_or_the_user_raises_passes(error):
    with pytest.raises(error):
        failing("a.tif", error=error("x"))
