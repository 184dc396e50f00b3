"""Corrections by a fine stage: bounded, consistent, equal after a round trip, and zero without a guide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.tiles import fine_stage
from dualsr_geo.engine.tiles.fine_stage import FineStage, FineStageInput, Scales, correct
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.models.correction import PairEvidence
from dualsr_geo.models.networks import refiner
from dualsr_geo.models.networks.backprojection import back_project, halved
from dualsr_geo.models.networks.refiner import MAX_CORRECTION_ERRORS
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster.windows import Window

PSF = Psf.from_mtf(4)
SHAPE = (13, 18)
ANCHORS = AnchorBands((0, 2, 3), np.random.default_rng(0).random((5, 3)).astype(np.float32))
RESPONSE = np.array([[0.2, 0.5, 0.3], [0.6, 0.4, 0.0]], np.float32)


def view(*, consistent: bool = False, seed: int = 0) -> FineStageInput:
    rng = torch.Generator().manual_seed(seed)
    height, width = (4 * n for n in SHAPE)
    op = operator(PSF, SHAPE)
    start = torch.rand(3, height, width, generator=rng)
    guide = torch.rand(2, height, width, generator=rng)
    closed = consistency(PSF, SHAPE, [0.0] * 3, op) if consistent else None
    return FineStageInput(start, op.degrade(start), op, PSF, closed, None, guide, 0.1 * guide.flip(0))


def fitted(window: FineStageInput, fine: str = "finenet") -> FineStage:
    scales = Scales.of([window], RESPONSE, np.full(3, 0.05, np.float32))
    stage = FineStage(fine, ANCHORS, 1.0, (PairEvidence(2, 0.7, float("inf")),), scales=scales)
    if fine == "finenet":
        fit = fine_stage.fit([window], scales)
        stage = replace(stage, state=fit.state, steps=fit.steps)
    return stage


@pytest.fixture(autouse=True)
def as_a_tile(monkeypatch):
    monkeypatch.setattr(refiner, "MAX_STEPS", 30)
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def stage() -> FineStage:
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(refiner, "MAX_STEPS", 30)
        return fitted(view())


def test_a_correction_is_bounded_by_the_error(stage):
    correction = correct(stage, view())
    assert 0 < float(correction.abs().max()) <= 0.05 * MAX_CORRECTION_ERRORS


def test_the_shrinkage_factor_scales_the_correction(stage):
    torch.testing.assert_close(correct(replace(stage, share=0.3), view()), 0.3 * correct(stage, view()))


def test_a_correction_degrades_to_nearly_nothing(stage):
    window = view(consistent=True)
    correction, without_closed_form = correct(stage, window), correct(stage, view())
    degraded, before = (float(window.operator.degrade(x).abs().max()) for x in (correction, without_closed_form))
    assert degraded < 0.02 * before


def test_without_a_guide_nothing_is_added(stage):
    window = replace(view(), guide=None, missed=None)
    assert not correct(stage, window).any()


def test_where_it_is_not_valid_nothing_is_added(stage):
    valid = torch.ones(4 * SHAPE[0], 4 * SHAPE[1])
    valid[:, :20] = 0
    correction = correct(stage, replace(view(), valid=valid))
    assert not correction[:, :, :20].any()
    assert torch.equal(correction[:, :, 20:], correct(stage, view())[:, :, 20:])


def test_a_file_round_trip_is_exact(stage, tmp_path):
    path = tmp_path / "fine.safetensors"
    path.write_bytes(stage.to_bytes())
    again = FineStage.read(path, load_model("regression"))
    assert again.to_bytes() == stage.to_bytes()
    assert again.sha256 == stage.sha256
    assert torch.equal(correct(again, view()), correct(stage, view()))
    assert replace(stage, share=0.5).sha256 != stage.sha256
    assert len(stage.to_bytes()) < 2**18


def test_a_fit_per_tile_equals_that_of_the_scene_if_the_tile_is_the_scene():
    window = view()
    assert torch.equal(correct(fitted(window, "finenet-per-tile"), window), correct(fitted(window), window))


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.0])
def test_back_projection_is_dualsrs(angle):
    window = view()
    half = torch.rand(3, 2 * SHAPE[0], 2 * SHAPE[1])
    correction = correct(FineStage("backprojection", ANCHORS, 1.0, angle=angle), replace(window, half=half))
    torch.testing.assert_close(window.start + correction, back_project(window.start, half, weight=angle))


def test_each_pixel_is_weighted_by_its_angle():
    """Spectra that differ by a factor have no angle, so nothing is projected; beyond a degree the whole difference is."""
    window = view()
    same = 1.5 * halved(window.start)
    pixel = FineStage("backprojection-pixel", ANCHORS, 1.0)
    assert float(correct(pixel, replace(window, half=same)).abs().max()) < 1e-3
    turned = halved(window.start).roll(1, 0) + torch.tensor([0.0, 5.0, 0.0])[:, None, None]
    wanted = back_project(window.start, turned, weight=1.0)
    torch.testing.assert_close(window.start + correct(pixel, replace(window, half=turned)), wanted)


def test_a_cut_window_is_a_scene():
    window, core = view(), Window(3, 12, 1, 17)
    part = replace(window, half=torch.rand(3, 2 * SHAPE[0], 2 * SHAPE[1])).cut(core)
    rows, columns = core.scaled(4).slices
    assert torch.equal(part.guide, window.guide[:, rows, columns])
    assert part.half.shape == (3, 18, 32)
    assert part.operator.degrade(part.start).shape == part.observed.shape == (3, 9, 16)


@pytest.mark.parametrize("ratio", [2, 3, 4, 8, 16, 32])
def test_crops_cost_the_same_at_every_ratio(ratio):
    side, count = fine_stage.crop_side(ratio), fine_stage.crop_count(ratio)
    assert side * ratio >= 63
    assert 4 <= count <= 16
    assert count == 4 or count * (side * ratio) ** 2 <= 2**17
