"""The unguided correction of a window: consistent, equal in tiles, and equivariant to orientation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unguided_cases import random_unguided_network, textured_scene

from dualsr_geo.degradation.consistency import Consistency, consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import anchor_bands, subspace
from dualsr_geo.models import unguided_correction
from dualsr_geo.models.definition import FINE_REACH
from dualsr_geo.models.networks.unguided import UnguidedNetwork
from dualsr_geo.models.unguided_correction import Levels, UnguidedInputs
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import from_json, to_json


def closed(psf: Psf, shape: tuple[int, int], bands: int, window: Window | None = None) -> Consistency:
    return consistency(psf, shape, [0.0] * bands, operator(psf, shape, window), window)


def levels(cube: torch.Tensor) -> Levels:
    flat = cube.flatten(1).numpy()
    return Levels.of(flat, np.ones(flat.shape[1], np.float32), np.zeros(len(flat)))


@torch.inference_mode()
def corrected(network, cube, psf, orientations=1):
    shape = (cube.shape[1], cube.shape[2])
    form = closed(psf, shape, len(cube))
    return unguided_correction.correct(
        network, cube, levels(cube), range(len(cube)), psf, form, orientations=orientations
    )


@given(st.integers(1, 9), st.integers(3, 17), st.integers(3, 17), st.integers(2, 5), st.sampled_from([1, 3]))
@settings(max_examples=20)
def test_an_untrained_network_leaves_any_start_as_it_is(bands, height, width, ratio, orientations):
    cube = textured_scene(bands, height, width)
    correction = corrected(UnguidedNetwork(8, 1), cube, Psf.from_mtf(ratio), orientations)
    start = torch.randn(bands, ratio * height, ratio * width)
    assert torch.equal(start + correction, start)


@given(st.integers(1, 20), st.integers(9, 23), st.integers(9, 23), st.sampled_from([2, 3, 4, 5, 8]))
@settings(max_examples=15)
def test_a_correction_degrades_to_nearly_nothing(bands, height, width, ratio):
    cube, psf = textured_scene(bands, height, width), Psf.gaussian(ratio, (0.4 * ratio, 0.5 * ratio), (0.3, -0.4))
    correction = corrected(random_unguided_network(), cube, psf)
    raw = torch.randn_like(correction)
    form = closed(psf, (height, width), bands)
    assert correction.isfinite().all()
    assert correction.any()
    projected = form.operator.degrade(correction).norm() / correction.norm()
    untreated = form.operator.degrade(raw).norm() / raw.norm()
    assert float(projected) < 0.2 * float(untreated)
    assert float(form.operator.degrade(unguided_correction.null_space_part(raw, form)).norm()) < 0.05 * float(
        form.operator.degrade(raw).norm()
    )


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.5, -0.75)])
@pytest.mark.parametrize("ratio", [3, 5, 11])
@torch.inference_mode()
def test_a_tile_with_its_halo_equals_the_whole(ratio, shift):
    cube, psf = textured_scene(4, 71, 83), Psf.gaussian(ratio, (0.45 * ratio, 0.5 * ratio), shift)
    network, scene_levels = random_unguided_network(), levels(cube)
    whole = unguided_correction.correct(network, cube, scene_levels, range(4), psf, closed(psf, (71, 83), 4))
    core = Window(30, 39, 28, 41)
    # The network's own reach, a shift's, and the closed form's.
    padded = core.grown(network.reach + 1 + FINE_REACH["consistency"]).clipped((71, 83))
    part = unguided_correction.correct(
        network, cube[:, *padded.slices], scene_levels, range(4), psf, closed(psf, (71, 83), 4, padded)
    )
    inside = core.within(padded).scaled(ratio).slices
    correction, wanted = part[:, *inside], whole[:, *core.scaled(ratio).slices]
    assert float((correction - wanted).abs().max()) < 2e-6 * float(whole.abs().max())


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_averaged_over_eight_orientations_the_correction_turns_with_the_scene(turns):
    cube, network = textured_scene(2, 11, 14), random_unguided_network()
    psf = Psf.gaussian(3, (1.0, 1.6))
    turned_psf = psf if turns == 2 else Psf.gaussian(3, (1.6, 1.0))
    upright = corrected(network, cube, psf, 8)
    turned = corrected(network, torch.rot90(cube, turns, (1, 2)).contiguous(), turned_psf, 8)
    torch.testing.assert_close(torch.rot90(turned, -turns, (1, 2)), upright, atol=2e-4, rtol=1e-4)
    single = corrected(network, cube, psf, 1)
    assert not torch.allclose(single, upright, atol=2e-4)


def test_units_do_not_matter():
    cube, psf, network = textured_scene(3, 12, 9), Psf.from_mtf(4), random_unguided_network()
    correction = corrected(network, cube, psf)
    torch.testing.assert_close(corrected(network, cube * 1e-4 - 0.2, psf), correction * 1e-4, atol=1e-6, rtol=2e-3)


def test_a_band_without_contrast_is_not_corrected():
    cube = textured_scene(3, 10, 13)
    cube[1] = 7
    correction = corrected(random_unguided_network(), cube, Psf.from_mtf(2))
    assert correction.isfinite().all()
    assert not correction[1].any()


@given(st.integers(-3, 3), st.integers(-3, 3))
def test_whole_pixels_are_moved_exactly(down, right):
    planes = torch.randn(2, 12, 15)
    moved = unguided_correction.moved(planes, (float(down), float(right)))
    inner = (slice(None), slice(4, -4), slice(4, -4))
    torch.testing.assert_close(moved[inner], planes.roll((down, right), (1, 2))[inner])


def test_parts_of_pixels_are_moved_as_the_smooth_function_would_be():
    y, x = torch.meshgrid(torch.arange(30.0), torch.arange(26.0), indexing="ij")

    def wave(dy: float, dx: float) -> torch.Tensor:
        return (torch.sin((y - dy) / 5) + torch.cos((x - dx) / 6))[None]

    moved = unguided_correction.moved(wave(0, 0), (1.5, -0.3))
    assert float((moved - wave(1.5, -0.3))[:, 4:-4, 4:-4].abs().max()) < 0.01


@given(st.integers(2, 8), st.floats(0.1, 0.6), st.floats(0.1, 0.6), st.floats(-0.5, 0.5))
def test_gains_of_a_gaussian(ratio, gain_y, gain_x, shift):
    sigma = tuple(ratio / math.pi * math.sqrt(-2 * math.log(g)) for g in (gain_y, gain_x))
    psf = Psf.gaussian(ratio, sigma, (shift * ratio, 0.0))
    assert unguided_correction.nyquist_gains(psf) == pytest.approx((gain_y, gain_x), abs=0.02)


def test_of_a_noisy_scene_the_network_reads_the_projection():
    clean, rng = textured_scene(30, 25, 28), np.random.default_rng(5)
    cube = clean + torch.from_numpy(3 * rng.standard_normal(clean.shape, np.float32))
    flat, weight = cube.flatten(1).numpy(), np.ones(700, np.float32)
    space = subspace.estimate_subspace(flat, weight, np.full(30, 3.0))
    z = torch.from_numpy(space.components(flat)).view(-1, 25, 28)
    projected = unguided_correction.observed(space, cube, z)
    residual_std = float((projected - clean).std())
    assert residual_std < 0.5 * 3
    scene_levels = UnguidedInputs.of(space, flat, weight, np.full(30, 3.0), 8)
    # The levels contain the remaining noise.
    assert np.sqrt((scene_levels.levels.noise**2).mean()) == pytest.approx(residual_std, rel=0.25)
    again = from_json(UnguidedInputs, json.loads(json.dumps(to_json(scene_levels))))
    assert again.anchors.bands == scene_levels.anchors.bands
    assert (again.levels.std == scene_levels.levels.std).all()


def test_of_a_clean_scene_the_network_reads_the_bands():
    cube = textured_scene(5, 9, 11)
    flat, weight = cube.flatten(1).numpy(), np.ones(99, np.float32)
    space = subspace.estimate_subspace(flat, weight)
    z = torch.from_numpy(space.components(flat)).view(-1, 9, 11)
    assert unguided_correction.observed(space, cube, z) is cube
    assert UnguidedInputs.of(space, flat, weight, np.zeros(5)).anchors.bands == (0, 1, 2, 3, 4)


def test_neighbours_stay_within_the_bands():
    assert unguided_correction.neighbours([0, 3, 5], 6).tolist() == [[0, 0, 1, 0, 2], [3, 2, 4, 1, 5], [5, 4, 5, 3, 5]]
    assert unguided_correction.neighbours([0], 1).tolist() == [[0] * 5]


def test_anchors_reach_all_bands_of_a_linear_scene():
    cube = textured_scene(40, 14, 15)
    flat = cube.flatten(1).numpy()
    anchors = anchor_bands.choose_anchor_bands(flat, np.ones(flat.shape[1], np.float32), 8)
    rng = torch.Generator().manual_seed(0)
    fields = torch.randn(3, 6, 7, generator=rng)
    mixing = torch.from_numpy(np.linalg.lstsq(_fields(14, 15), flat.T - 10, rcond=None)[0].T.astype(np.float32))
    truth = torch.einsum("bf,fyx->byx", mixing, fields)
    correction = unguided_correction.spread(anchors, truth[list(anchors.bands)], slice(5, 31))
    assert float((correction - truth[5:31]).abs().max()) < 5e-3 * float(truth.abs().max())


def _fields(height: int, width: int) -> np.ndarray:
    """Return what the bands of `scene` are linear in, (pixel, field)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    fields = np.stack([np.sin(y / 3 + x / 4), (x // 4 + y // 5) % 2, rng.random((height, width))])
    return fields.reshape(3, -1).T


def test_levels_weight_pixels_and_subtract_noise():
    rng = np.random.default_rng(3)
    spectra = rng.normal(5, 2, (2, 4000)).astype(np.float32)
    weight = np.ones(4000, np.float32)
    weight[:1000] = 0
    spectra[:, :1000] = 1e6
    scene_levels = Levels.of(spectra, weight, np.array([0.0, 1.2]))
    assert scene_levels.mean == pytest.approx([5, 5], abs=0.2)
    assert scene_levels.std == pytest.approx([2, 1.6], abs=0.1)
    again = from_json(Levels, json.loads(json.dumps(to_json(scene_levels))))
    assert all((getattr(again, n) == getattr(scene_levels, n)).all() for n in ("mean", "std", "noise"))
