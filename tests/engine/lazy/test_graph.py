"""The product as a dask graph: its size, its keys, its values."""

from __future__ import annotations

import time
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.core import flatten

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.lazy import graph as lazy
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import RunPlan, plan_run
from dualsr_geo.errors import OptionError
from dualsr_geo.io.scenes import open_scene

SAMPLE = synthetic.make((40, 47), bands=4)
PSF = Psf.from_mtf(4)


def plan_of(**options: Any) -> RunPlan:
    scene, guide = (open_scene(synthetic.as_dataarray(SAMPLE, w)) for w in ("scene", "guide"))
    return plan_run(scene, [guide], Options(**{"psf": PSF, **options}))


def test_blocks_are_tiles() -> None:
    product = lazy.upscale(plan_of(tile=16))
    assert product.shape == (4, 160, 188)
    assert product.chunks == ((4,), (64, 64, 32), (64, 64, 60))
    assert product.dtype == np.float32


def test_any_tile_gives_the_same() -> None:
    whole = lazy.upscale(plan_of()).compute()
    for tile in (9, 16, 23):
        off = np.abs(lazy.upscale(plan_of(tile=tile)).compute() - whole)
        assert off.max() < 1e-5 * np.ptp(whole)


def test_any_scheduler_gives_the_same_bits() -> None:
    product = lazy.upscale(plan_of(tile=16))
    with dask.config.set(scheduler="synchronous"):
        one = product.compute()
    with dask.config.set(scheduler="threads", num_workers=3):
        np.testing.assert_array_equal(product.compute(), one)


def test_keys_follow_from_inputs_and_options() -> None:
    def keys(**options: Any) -> set[str]:
        # dask itself names at random the tasks that put an input's chunks together.
        graph = lazy.upscale(plan_of(tile=16, **options)).__dask_graph__()
        return {str(k) for k in graph if not str(k).startswith("finalize")}

    assert keys() == keys()
    changed = lazy.upscale(plan_of(tile=16, fine="none")).name
    assert changed != lazy.upscale(plan_of(tile=16)).name


def test_a_graph_of_too_many_tasks_is_refused_before_it_is_made() -> None:
    scene = open_scene(xr.DataArray(np.broadcast_to(np.uint8(1), (1, 4000, 4001)), dims=("band", "y", "x")))
    with pytest.raises(OptionError, match=r"8 lr pixels makes 250500 tasks, more than 100000"):
        lazy.upscale(plan_run(scene, [], Options(scale=2, tile=8)))


def test_the_survey_is_one_task() -> None:
    names = [str(k) for k in lazy.upscale(plan_of(tile=16)).__dask_graph__()]
    assert sum("_survey" in n for n in names) == 1
    assert sum("_tile" in n for n in names) == 9


def test_a_huge_scene_takes_one_task_a_tile_and_few_pieces() -> None:
    lazy_scene = xr.DataArray(
        da.zeros((200, 16000, 16000), chunks=(200, 500, 500), dtype="f4"), dims=("band", "y", "x")
    )
    plan = plan_run(open_scene(lazy_scene), [], Options(scale=4, model="regression", tile=128))
    began = time.process_time()
    product = lazy.upscale(plan)
    taken = time.process_time() - began
    graph = product.__dask_graph__()
    ours = [k for k in graph if "dualsr_" in str(k)]
    assert sum("_tile" in str(k) for k in ours) == 125**2
    assert sum("_piece" in str(k) for k in ours) <= lazy.MAX_PIECES
    # Measured 0.1 ms a tile; slicing the array would take 4.
    assert taken < 1e-3 * 125**2
    tile = product.blocks[0, 60, 60]
    assert len(tile.__dask_graph__().cull(set(flatten(tile.__dask_keys__())))) < 50


def test_a_scene_beside_a_dask_guide_in_pieces_of_many_tiles_gives_the_same() -> None:
    scene, guide = (synthetic.as_dataarray(SAMPLE, w) for w in ("scene", "guide"))
    whole = lazy.upscale(plan_of()).compute()
    chunked = plan_run(
        open_scene(scene.chunk(y=33, x=29)), [open_scene(guide.chunk(y=50, x=61))], Options(psf=PSF, tile=9)
    )
    assert lazy._tiles_per_piece(chunked, lazy._without_values(chunked)[0]) == 3
    off = np.abs(lazy.upscale(chunked).compute() - whole)
    assert off.max() < 1e-5 * np.ptp(whole)
