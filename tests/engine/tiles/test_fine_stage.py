"""What a fine stage adds to a window: bounded, consistent, carried exactly, nothing where nothing is known."""

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


def fitted(seen: FineStageInput, fine: str = "finenet") -> FineStage:
    scales = Scales.of([seen], RESPONSE, np.full(3, 0.05, np.float32))
    found = FineStage(fine, ANCHORS, 1.0, (PairEvidence(2, 0.7, float("inf")),), scales=scales)
    if fine == "finenet":
        fit = fine_stage.fit([seen], scales)
        found = replace(found, state=fit.state, steps=fit.steps)
    return found


@pytest.fixture(autouse=True)
def as_a_tile(monkeypatch):
    monkeypatch.setattr(refiner, "MAX_STEPS", 30)
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def found() -> FineStage:
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(refiner, "MAX_STEPS", 30)
        return fitted(view())


def test_a_correction_is_no_larger_than_trust_allows(found):
    made = correct(found, view())
    assert 0 < float(made.abs().max()) <= 0.05 * MAX_CORRECTION_ERRORS


def test_a_share_is_a_share(found):
    torch.testing.assert_close(correct(replace(found, share=0.3), view()), 0.3 * correct(found, view()))


def test_what_the_sensor_would_have_seen_is_taken_out(found):
    seen = view(consistent=True)
    made, loose = correct(found, seen), correct(found, view())
    degraded, before = (float(seen.operator.degrade(x).abs().max()) for x in (made, loose))
    assert degraded < 0.02 * before


def test_without_a_guide_nothing_is_added(found):
    seen = replace(view(), guide=None, missed=None)
    assert not correct(found, seen).any()


def test_where_it_does_not_count_nothing_is_added(found):
    valid = torch.ones(4 * SHAPE[0], 4 * SHAPE[1])
    valid[:, :20] = 0
    made = correct(found, replace(view(), valid=valid))
    assert not made[:, :, :20].any()
    assert torch.equal(made[:, :, 20:], correct(found, view())[:, :, 20:])


def test_a_file_holds_all_of_it(found, tmp_path):
    path = tmp_path / "fine.safetensors"
    path.write_bytes(found.to_bytes())
    again = FineStage.read(path)
    assert again.to_bytes() == found.to_bytes()
    assert again.sha256 == found.sha256
    assert torch.equal(correct(again, view()), correct(found, view()))
    assert replace(found, share=0.5).sha256 != found.sha256
    assert len(found.to_bytes()) < 2**18


def test_a_tile_may_fit_its_own():
    """Where the tile is all that was fitted on, the two are the same."""
    seen = view()
    assert torch.equal(correct(fitted(seen, "finenet-per-tile"), seen), correct(fitted(seen), seen))


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.0])
def test_back_projection_is_dualsrs(angle):
    seen = view()
    half = torch.rand(3, 2 * SHAPE[0], 2 * SHAPE[1])
    made = correct(FineStage("backprojection", ANCHORS, 1.0, angle=angle), replace(seen, half=half))
    torch.testing.assert_close(seen.start + made, back_project(seen.start, half, weight=angle))


def test_a_pixel_weighs_by_its_own_angle():
    """Spectra that differ by a factor have no angle, so nothing is projected; beyond a degree all of it is."""
    seen = view()
    same = 1.5 * halved(seen.start)
    pixel = FineStage("backprojection-pixel", ANCHORS, 1.0)
    assert float(correct(pixel, replace(seen, half=same)).abs().max()) < 1e-3
    turned = halved(seen.start).roll(1, 0) + torch.tensor([0.0, 5.0, 0.0])[:, None, None]
    wanted = back_project(seen.start, turned, weight=1.0)
    torch.testing.assert_close(seen.start + correct(pixel, replace(seen, half=turned)), wanted)


def test_a_cut_view_is_a_scene_of_its_own():
    seen, core = view(), Window(3, 12, 1, 17)
    part = replace(seen, half=torch.rand(3, 2 * SHAPE[0], 2 * SHAPE[1])).cut(core)
    rows, columns = core.scaled(4).slices
    assert torch.equal(part.guide, seen.guide[:, rows, columns])
    assert part.half.shape == (3, 18, 32)
    assert part.operator.degrade(part.start).shape == part.observed.shape == (3, 9, 16)


@pytest.mark.parametrize("ratio", [2, 3, 4, 8, 16, 32])
def test_crops_are_as_dear_at_every_ratio(ratio):
    side, count = fine_stage.crop_side(ratio), fine_stage.crop_count(ratio)
    assert side * ratio >= 63
    assert 4 <= count <= 16
    assert count == 4 or count * (side * ratio) ** 2 <= 2**17
