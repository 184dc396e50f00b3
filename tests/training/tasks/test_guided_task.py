"""The task of the network with a guide: deterministic, seen as inference sees, and it teaches."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from guided_cases import random_guided_network

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError
from dualsr_geo.models import guided_correction
from dualsr_geo.models.networks.guided import PLANES
from dualsr_geo.training.tasks import guided_task as task_module
from dualsr_geo.training.tasks.guided_samples import (
    SIDE_LR_PX,
    GuidedSample,
    draw_parts,
    guided_sample,
    scene_window,
    survey_arrays,
)
from dualsr_geo.training.tasks.guided_scenes import DrawnScene
from dualsr_geo.training.tasks.guided_task import GuidedTask


@lru_cache(maxsize=1)
def references() -> dict[str, np.ndarray]:
    """Return a few textured scenes of unlike sizes and bands."""
    out = {}
    for seed, shape in enumerate(((7, 96, 130), (16, 100, 90), (4, 64, 70))):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: shape[1], : shape[2]]
        fields = np.stack([np.sin(y / 3 + x / 5), (x // 7 + y // 9) % 2, rng.random(y.shape), np.cos(x * y / 900)])
        out[f"made {seed}"] = (0.5 + 0.1 * np.einsum("bf,fyx->byx", rng.random((shape[0], 4)), fields)).astype(
            np.float32
        )
    return out


@pytest.fixture(autouse=True)
def small_pool(monkeypatch):
    monkeypatch.setattr(task_module, "POOL_SIZE", 3)


def same(a: GuidedSample, b: GuidedSample) -> bool:
    return (
        torch.equal(a.network_input.planes, b.network_input.planes)
        and torch.equal(a.lacking, b.lacking)
        and a.anchors == b.anchors
    )


def test_a_batch_depends_on_seed_and_step_alone():
    first, second = GuidedTask(references()), GuidedTask(references())
    for step in (0, 1, 9):
        made = first.batch(step)
    resumed = second.batch(9)
    assert all(same(a, b) for a, b in zip(made, resumed, strict=True))
    other = GuidedTask(references(), seed=1).batch(9)
    assert not same(made[0], other[0])


def test_the_pool_keeps_no_more_than_it_may():
    task = GuidedTask(references())
    for step in (0, 7, 30):
        task.batch(step)
        assert len(task._pool) <= 3


@pytest.mark.parametrize("number", range(6))
@torch.inference_mode()
def test_parts_of_a_scene_are_finite_and_alike(number):
    for part in GuidedTask(references(), unusual_scenes=4).scene(number):
        given = part.network_input
        count, side = len(part.anchors), part.lacking.shape[1]
        assert given.planes.shape == (count, PLANES, side, side)
        assert given.relations.shape[:2] == (count, count)
        assert side % part.ratio == 0
        for value in (given.planes, given.constants, given.others, part.lacking, part.error, part.std):
            assert bool(torch.isfinite(value).all())
        mixture = random_guided_network(contexts=1)(
            given.planes, given.constants, part.ratio, relations=given.relations
        )
        correction = part.null_space.part(guided_correction.detail(given, *mixture), part.anchors)
        assert correction.shape == part.lacking.shape
        assert bool(torch.isfinite(correction).all())


@torch.inference_mode()
def test_a_part_is_what_inference_computes_there(monkeypatch):
    monkeypatch.setitem(SIDE_LR_PX, 4, 12)
    rng, cube = np.random.default_rng(3), references()["made 1"]
    scene = DrawnScene(*_pair(cube[:, :96, :88]), Psf.from_mtf(4), Psf.from_mtf(4))
    parts = draw_parts(rng, scene)
    window, inputs = scene_window(survey_arrays(scene.lr, scene.guide, scene.psf), scene.lr, scene.guide)
    whole = guided_sample(window, inputs, torch.from_numpy(scene.reference), inputs.anchors.bands)
    assert len(parts) > 1
    for part in parts:
        side = part.lacking.shape[1]
        places = [
            (y, x)
            for y in range(0, 96 - side + 1, 8)
            for x in range(0, 88 - side + 1, 8)
            if torch.equal(whole.lacking[:, y : y + side, x : x + side], part.lacking)
        ]
        assert len(places) == 1
        y, x = places[0]
        same_place = whole.network_input.planes[..., y : y + side, x : x + side]
        assert torch.equal(same_place, part.network_input.planes)


def _pair(cube):
    reference = np.ascontiguousarray(cube)
    lr = operator(Psf.from_mtf(4), (cube.shape[1] // 4, cube.shape[2] // 4)).degrade(torch.from_numpy(reference))
    return reference, lr.numpy(), np.ascontiguousarray(cube[::6])


def test_workers_make_the_scenes_that_one_process_makes():
    alone, helped = GuidedTask(references()), GuidedTask(references(), workers=1)
    try:
        for step in (0, 1):
            pairs = zip(alone.batch(step), helped.batch(step), strict=True)
            assert all(same(a, b) for a, b in pairs)
    finally:
        helped._workers.close()


def test_an_untrained_network_loses_what_the_start_loses():
    task = GuidedTask(references())
    batch = task.batch(0)
    loss = float(task.loss(task.network(), batch).detach())
    # The start's error is 1 in its own units, and smooth L1 of it is half its square or less.
    assert 0.05 < loss < 3


def test_a_few_steps_teach():
    task = GuidedTask(references(), width=8, depth=1)
    network = task.network()
    batch = task.batch(0)
    before = task.loss(network, batch)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(12):
        optimizer.zero_grad()
        task.loss(network, batch).backward()
        optimizer.step()
    assert float(task.loss(network, batch).detach()) < 0.98 * float(before.detach())


def test_the_same_network_for_the_same_seed():
    first, second = (GuidedTask(references(), seed=4, width=8, depth=1).network() for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_validation_scores_the_start_and_the_correction():
    cube = references()["made 1"]
    task = GuidedTask(references(), validation={"made": (cube, cube[::9])})
    scores = task.validate(task.network())["made"]
    assert scores["psnr"] == pytest.approx(scores["start_psnr"], abs=1e-3)
    assert scores["sam"] == pytest.approx(scores["start_sam"], abs=1e-3)
    assert 10 < scores["psnr"] < 80


def test_references_that_are_too_small_are_named():
    with pytest.raises(InputError, match=r"tiny has 12 x 40 pixels, fewer than 20"):
        GuidedTask({"tiny": np.zeros((3, 12, 40), np.float32)})
    with pytest.raises(InputError, match="0 references"):
        GuidedTask({})
