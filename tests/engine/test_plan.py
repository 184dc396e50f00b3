"""What is checked before anything is computed or written."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import RunPlan, plan_run, product_packing
from dualsr_geo.errors import GridError, InputError, OptionError, ScaleError
from dualsr_geo.io.scenes import Scene, open_scene
from dualsr_geo.raster.packing import Packing

SAMPLE = synthetic.make((24, 31), bands=3)


def scene(what: str = "scene") -> Scene:
    return open_scene(synthetic.as_dataarray(SAMPLE, what))


def job(guides: int = 1, **options: Any) -> RunPlan:
    return plan_run(scene(), [scene("guide")] * guides, Options(**options))


def test_the_guide_decides_the_ratio() -> None:
    assert (job().ratio, job().target.shape, job().guide.count) == (4, (96, 124), 3)
    assert (job(scale=3).ratio, job(scale=3).target.shape) == (3, (72, 93))
    assert job(guides=0, scale=7).ratio == 7


def test_the_coarsest_of_several_guides_decides() -> None:
    coarse = open_scene(synthetic.as_dataarray(SAMPLE, "guide").coarsen(y=2, x=2).mean().rio.write_transform())
    several = plan_run(scene(), [scene("guide"), coarse], Options())
    assert (several.ratio, several.guide.count) == (2, 6)


def test_a_scale_may_be_up_to_what_the_finest_of_several_guides_allows() -> None:
    coarse = open_scene(synthetic.as_dataarray(SAMPLE, "guide").coarsen(y=2, x=2).mean().rio.write_transform())
    finer = plan_run(scene(), [coarse, scene("guide")], Options(scale=4))
    assert (finer.ratio, finer.survey_options.guide_parts, finer.survey_options.sharp_guides) == (4, (3, 3), (1,))
    with pytest.raises(ScaleError, match="up to --scale 4"):
        plan_run(scene(), [coarse, scene("guide")], Options(scale=5))


def test_a_guide_is_given_once() -> None:
    with pytest.raises(
        InputError, match=r"^reflectance is given twice as --rgb, so its bands would count twice\. Give it once\.$"
    ):
        job(guides=2)


def test_a_guide_of_several_at_another_place_is_named() -> None:
    first, second = (synthetic.as_dataarray(SAMPLE, "guide").rename(name) for name in ("first", "second"))
    away = second.assign_coords(x=second.x + 1e5).rio.write_transform()
    with pytest.raises(GridError, match=r"^The guide second covers .*they do not overlap"):
        plan_run(scene(), [open_scene(first), open_scene(away)], Options())
    with pytest.raises(GridError, match=r"^The scene has a CRS and the guide second has none"):
        plan_run(scene(), [open_scene(first), open_scene(second.drop_vars("spatial_ref"))], Options())


def test_a_known_blur_decides_the_ratio_too() -> None:
    assert job(psf=Psf.from_mtf(2)).ratio == 2
    assert job(guides=0, psf=Psf.from_mtf(3)).ratio == 3
    with pytest.raises(OptionError, match="ratio 2, but --scale is 4"):
        job(psf=Psf.from_mtf(2), scale=4)
    with pytest.raises(ScaleError, match="up to --scale 4"):
        job(psf=Psf.from_mtf(5))


@pytest.mark.parametrize(
    ("psf", "message"),
    [
        (Psf(4, (), (1.0,), 0, 0), "taps_y is no list of 1 to 4096 numbers"),
        (Psf(4, (1.0,), (0.5, 0.6), 0, 0), r"along x sum to 1\.1\."),
        (Psf(4, (float("nan"),), (1.0,), 0, 0), "taps_y holds nan, no finite number"),
        (Psf(4, (1.0,), (1.0,), 0, 400), "reaches 100 lr pixels"),
        (Psf(4, (1.0,), (1.0,), -41, 0), "reaches 11 lr pixels beyond its own, more than 9"),
    ],
)
def test_what_is_no_blur_is_refused(psf: Psf, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        job(psf=psf)


@given(st.floats(0.02, 0.9), st.integers(2, 8))
def test_every_usual_blur_is_one(gain: float, ratio: int) -> None:
    assert job(guides=0, psf=Psf.from_mtf(ratio, gain)).ratio == ratio


@pytest.mark.parametrize("gain", [0, 1, -0.3, 7.5])
def test_a_gain_outside_0_and_1_is_refused(gain: float) -> None:
    with pytest.raises(OptionError, match=f"{gain:g} is not between 0 and 1"):
        job(mtf_gain=gain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coregister": "near"}, "--coregister near"),
        ({"tile": 7}, "--tile 7 is below 8"),
        ({"jobs": 0}, "--jobs 0"),
        ({"model": "x"}, "`x`"),
        ({"fine": "x"}, "`x`"),
        ({"dtype": "complex64"}, "complex64"),
    ],
)
def test_options_that_cannot_be_carried_out(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        job(**options)


def test_a_ratio_beyond_the_model_is_refused() -> None:
    with pytest.raises(ScaleError, match="2 to 32 times, not 40"):
        job(guides=0, scale=40)


def test_bare_images_are_laid_over_each_other() -> None:
    bare = [
        xr.DataArray(np.zeros(s, "uint8"), dims=("band", "y", "x")) for s in ((2, 24, 31), (1, 48, 62), (1, 48, 61))
    ]
    assert plan_run(open_scene(bare[0]), [open_scene(bare[1])], Options()).ratio == 2
    with pytest.raises(GridError, match="48 x 61"):
        plan_run(open_scene(bare[0]), [open_scene(bare[2])], Options())


def test_the_identity_names_all_that_decides_values_and_nothing_else(tmp_path: Path) -> None:
    path, guide = synthetic.write(tmp_path, shape=(24, 31), bands=3, guide="pan")

    def identity(**options: Any) -> str:
        plan = plan_run(open_scene(path, bidx=options.get("bidx")), [open_scene(guide)], Options(**options))
        return json.dumps(plan.identity, sort_keys=True)

    same = [identity(), identity(jobs=3, tile=memory_tile(path, guide)), identity(overwrite=True, resume=True)]
    assert len(set(same)) == 1
    changes: list[dict[str, Any]] = [
        {"scale": 2}, {"model": "bicubic"}, {"fine": "none"}, {"coregister": "off"}, {"psf": Psf.from_mtf(4)},
        {"mtf_gain": 0.2}, {"tile": 11}, {"bidx": "2"},
    ]  # fmt: skip
    assert len({identity(), *(identity(**c) for c in changes)}) == 1 + len(changes)


def memory_tile(path: Path, guide: Path) -> int:
    return plan_run(open_scene(path), [open_scene(guide)], Options()).sizes.tile


def test_work_is_small_and_picklable(tmp_path: Path) -> None:
    path, guide = synthetic.write(tmp_path, shape=(24, 31), bands=3, guide="pan")
    plan = plan_run(open_scene(path), [open_scene(guide)], Options())
    assert len(pickle.dumps(plan.context_for)) < 20_000
    assert dataclasses.asdict(plan.survey_options)["ratio"] == 4


@pytest.mark.parametrize(
    ("packing", "dtype", "want"),
    [
        (Packing("uint16", (1.0,), (0.0,), None), None, None),
        (Packing("uint16", (1.0,), (0.0,), 65535), None, 65535),
        (Packing("uint16", (1.0,), (0.0,), 65535), "uint8", 0),
        (Packing("float32", (1.0,), (0.0,), None), "int16", -32768),
        (Packing("float32", (1.0,), (0.0,), None), "uint16", 0),
        (Packing("float32", (1.0,), (0.0,), None), None, None),
    ],
)
def test_integers_get_a_nodata_value_where_the_scene_can_have_holes(
    packing: Packing, dtype: str | None, want: float | None
) -> None:
    values = np.zeros((1, 24, 31), packing.dtype)
    source = dataclasses.replace(open_scene(xr.DataArray(values, dims=("band", "y", "x"))), packing=packing)
    assert product_packing(source, dtype).nodata == want
