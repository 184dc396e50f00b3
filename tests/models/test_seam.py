"""A model is one file: it is found by an entry point, surveyed, tiled, resumed and recorded like the others."""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import DualSRWarning, OptionError
from dualsr_geo.models import methods, registry
from dualsr_geo.models.definition import Model
from dualsr_geo.models.reconstruction import band_by_band

PACKAGE = Path(dualsr_geo.__file__).parent


@dataclass(frozen=True)
class BrightState:
    """Factors of the bands."""

    factors: NDArray[np.float32]


@dataclass(frozen=True)
class Bright(Model):
    """Interpolate, and scale every band by its mean over the scene's."""

    state_type = BrightState

    def estimate(self, sample: Any, common: Any) -> BrightState:
        means = np.array(
            [float(np.mean([c[i].mean() for c, _ in sample.filled])) for i in range(len(sample.filled[0][0]))]
        )
        assert common.psf.ratio == 3
        return BrightState((means / means.mean()).astype(np.float32))

    def reconstruct(self, inputs: Any, state: BrightState) -> Any:
        factors = state.factors[:, None, None]
        return band_by_band(inputs, lambda lr, rows: inputs.operator.upsample(lr) * lr.new_tensor(factors[rows]))


BRIGHT = Bright("bright", "Interpolation, scaled.", guided=False)


@pytest.fixture
def plugin(monkeypatch):
    """The entry points of plugins; the registry forgets them afterwards."""
    points: list[EntryPoint] = []

    def found(group: str) -> list[EntryPoint]:
        return points if group == methods.GROUP else []

    monkeypatch.setattr(registry, "entry_points", found)
    monkeypatch.setattr(methods, "entry_points", found)
    registry.models.cache_clear()
    yield points
    registry.models.cache_clear()


def test_a_model_of_a_plugin_runs_from_survey_to_product(plugin, tmp_path, monkeypatch):
    module = type(registry)("bright_plugin")
    module.BRIGHT = BRIGHT
    monkeypatch.setitem(__import__("sys").modules, "bright_plugin", module)
    plugin.append(EntryPoint("bright", "bright_plugin:BRIGHT", methods.GROUP))
    assert methods.model_names()[-1] == "bright"
    scene, _ = synthetic.write(tmp_path, shape=(37, 45), bands=4, guide="pan", seed=2)
    options = {"model": "bright", "scale": 3, "psf": Psf.from_mtf(3)}
    whole = dualsr_geo.upscale(scene, tmp_path / "whole.tif", **options)
    assert whole["model"] == "bright"
    dualsr_geo.upscale(scene, tmp_path / "tiled.tif", tile=16, **options)
    dualsr_geo.upscale(scene, tmp_path / "plain.tif", model="interpolation", fine="none", scale=3, psf=options["psf"])
    a, b, plain = (_read(tmp_path / f"{n}.tif") for n in ("whole", "tiled", "plain"))
    np.testing.assert_array_equal(a, b)
    ratio = a.mean((1, 2)) / plain.mean((1, 2))
    means = plain.mean((1, 2))
    np.testing.assert_allclose(ratio, means / means.mean(), rtol=2e-2)


def _read(path):
    with rasterio.open(path) as f:
        return f.read().astype(np.float64)


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        (EntryPoint("gone", "no_such_package:MODEL", methods.GROUP), "gone cannot be loaded .ModuleNotFoundError"),
        (EntryPoint("auto", "dualsr_geo.models.methods.learned:AUTO", methods.GROUP), "brings `auto`, a name that"),
        (EntryPoint("other", "dualsr_geo.models.methods.learned:AUTO", methods.GROUP), "no Model of that name"),
    ],
)
def test_a_plugin_that_is_wrong_is_left_out_with_a_warning(plugin, point, problem):
    plugin.append(point)
    with pytest.warns(DualSRWarning, match=problem):
        names = list(registry.models())
    assert names == list(methods.BUILT_IN)


def test_an_unknown_model_is_refused_with_all_names(plugin):
    with pytest.raises(OptionError, match=r"no model `best`.*auto, regression.*mtf-glp-hpm"):
        registry.load_model("best")


def test_the_survey_has_no_field_of_a_model():
    from dualsr_geo.surveying.survey import Survey

    assert {f.name for f in fields(Survey)} == {
        "statistics", "placement", "guide", "displacement", "denoising", "changes", "model_state", "uncertainty", "detail", "notes",
        "normalization", "guide_bands", "completion",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path",
    sorted(p for p in PACKAGE.rglob("*.py") if not {"models", "training"} & set(p.relative_to(PACKAGE).parts)),
    ids=str,
)
def test_nothing_outside_the_models_asks_which_model_a_run_uses(path):
    """No comparison with a model's name, and no class of a model; training fits networks of models, which it names."""
    names = set(methods.BUILT_IN) - {"auto"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare):
            constants = [c.value for c in (node.left, *node.comparators) if isinstance(c, ast.Constant)]
            assert not names & {c for c in constants if isinstance(c, str)}, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dualsr_geo.models.methods"):
            allowed = {"model_names", "MODEL", "RegressionState"}
            assert {a.name for a in node.names} <= allowed, f"line {node.lineno}"
