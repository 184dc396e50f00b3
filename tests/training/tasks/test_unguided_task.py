"""Samples of the unguided network: the same every time, and as a product has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError
from dualsr_geo.models import unguided_correction
from dualsr_geo.training import augmentation
from dualsr_geo.training.tasks import unguided_task
from dualsr_geo.training.tasks.unguided_task import UnguidedTask


def reference(bands: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return bars of several directions, whose bands share them, (band, y, x)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    bars = [((a * y + b * x) // 5 % 2) for a, b in ((1, 0), (0, 1), (1, 1), (1, -2))]
    mixing = rng.random((bands, len(bars)))
    return np.einsum("bf,fyx->byx", mixing, np.stack(bars)).astype(np.float32)


@pytest.fixture(scope="module")
def task() -> UnguidedTask:
    scenes = {"wide": reference(7, 130, 101), "single": reference(1, 99, 140, 1)}
    return UnguidedTask(scenes, {"wide": scenes["wide"]}, seed=3, width=8, depth=1)


def tensors(batch) -> list[torch.Tensor]:
    return [batch.planes, batch.start, batch.reference, batch.std, batch.error]


def test_a_step_has_the_same_samples_whenever_it_is_drawn(task):
    first = [task.batch(step) for step in (0, 1, 17)]
    again = UnguidedTask(task.references, seed=3, width=8, depth=1)
    for step, batch in zip((17, 1, 0), reversed(first), strict=True):
        other = again.batch(step)
        assert other.observation.psf == batch.observation.psf
        assert all(torch.equal(a, b) for a, b in zip(tensors(batch), tensors(other), strict=True))
    assert not torch.equal(first[0].std, UnguidedTask(task.references, seed=4).batch(0).std)


def test_the_same_seed_gives_the_same_network_and_leaves_torchs_state_unchanged(task):
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    one, two = task.network(), task.network()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_samples_are_finite_and_of_one_shape(task):
    ratios = set()
    for step in range(25):
        batch = task.batch(step)
        ratio, side = batch.observation.psf.ratio, batch.observation.side
        ratios.add(ratio)
        samples = unguided_task.PATCHES_PER_STEP * unguided_task.BANDS_PER_PATCH
        assert batch.planes.shape == (samples, 8, side, side)
        assert batch.start.shape == batch.reference.shape == (samples, ratio * side, ratio * side)
        assert all(t.isfinite().all() for t in tensors(batch))
        assert (batch.error > 0).all()
        assert (batch.std > 0).all()
    assert ratios == set(unguided_task.RATIO_SHARES)


def test_an_untrained_network_is_as_wrong_as_the_start(task):
    batch = task.batch(5)
    wrong = (batch.start - batch.reference) / batch.error[:, None, None]
    relative = batch.error / batch.std
    weight = (relative / relative.mean()).sqrt().clamp(*unguided_task.WEIGHT_BOUNDS)[:, None, None]
    huber = torch.nn.functional.huber_loss(
        wrong, torch.zeros_like(wrong), reduction="none", delta=unguided_task.HUBER_BETA
    )
    wanted = (weight * huber).mean() / unguided_task.HUBER_BETA
    torch.testing.assert_close(task.loss(task.network(), batch), wanted)


def test_every_weight_is_learned_and_the_loss_falls_below_the_starts(task):
    network = task.network()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    drawn = [task.batch(step) for step in range(40)]
    batches = [b for r in unguided_task.RATIO_SHARES for b in [d for d in drawn if d.observation.psf.ratio == r][:1]]
    before = sum(task.loss(network, b).item() for b in batches)
    touched = {name: False for name, _ in network.named_parameters()}
    for _ in range(8):
        for batch in batches:
            optimiser.zero_grad()
            task.loss(network, batch).backward()
            for name, parameter in network.named_parameters():
                touched[name] |= parameter.grad is not None and bool(parameter.grad.any())
            optimiser.step()
    assert all(touched.values()), touched
    after = sum(task.loss(network, b).item() for b in batches)
    assert after < 0.97 * before


def test_training_sees_what_inference_sees(task):
    """The planes and start of a noiseless patch, as `correct` and the closed form make them."""
    rng = np.random.default_rng(0)
    psf = Psf.from_mtf(3)
    observation = unguided_task.Observation(psf, psf, 14)
    patch = torch.from_numpy(reference(5, 42, 42))
    where = unguided_correction.neighbours(range(5), 5)
    levels = np.zeros(5), np.ones(5)
    while True:
        inputs, start, truth, std, _ = unguided_task._prepare(rng, observation, patch, where, levels)
        noiseless = not inputs[:, -1].any()
        if noiseless and float((std - 1).abs().max()) > 1e-6:
            break
    lr = operator(psf, (14, 14)).degrade(patch)
    flat = lr.flatten(1).numpy()
    levels = unguided_correction.Levels.of(flat, np.ones(196, np.float32), np.zeros(5))
    inside = []

    def spy(planes: torch.Tensor, ratio: int) -> torch.Tensor:
        inside.append(planes)
        return planes.new_zeros(len(planes), ratio * planes.shape[2], ratio * planes.shape[3])

    closed = consistency(psf, (14, 14), [0.0] * 5, operator(psf, (14, 14)))
    unguided_correction.correct(spy, lr, levels, range(5), psf, closed)
    # The deviation of a sample, torch's, is n / (n - 1) times as large.
    torch.testing.assert_close(torch.cat(inside), inputs, atol=0.02, rtol=0.01)
    assert torch.equal(truth, patch)
    mean = lr.mean((1, 2), keepdim=True)
    torch.testing.assert_close(start, mean + closed.spread(lr - mean))


def test_validation_says_what_start_and_network_score(task):
    scores = task.validate(task.network())["wide"]
    assert scores["psnr"] == scores["start_psnr"]
    assert scores["sam"] == scores["start_sam"]
    assert 5 < scores["psnr"] < 60


def test_references_too_small_for_any_patch_are_refused():
    with pytest.raises(InputError, match="No reference has 96 x 96 pixels.*ratio 8"):
        UnguidedTask({"small": reference(3, 95, 300)})


@given(st.integers(2, 8))
@settings(max_examples=7)
def test_matlabs_reduction_is_torchs_antialiased_bicubic(ratio):
    hr = torch.from_numpy(np.random.default_rng(0).random((2, 12 * ratio, 11 * ratio), np.float32))
    result = operator(augmentation.matlab_bicubic(ratio), (12, 11)).degrade(hr)
    oracle = torch.nn.functional.interpolate(hr[None], size=(12, 11), mode="bicubic", antialias=True)[0]
    inner = (slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(result[inner], oracle[inner], atol=1e-5, rtol=1e-5)


@given(st.integers(0, 500), st.sampled_from([2, 3, 4, 8]))
@settings(max_examples=60)
def test_blurs_keep_the_mean(seed, ratio):
    for psf in augmentation.draw_psfs(np.random.default_rng(seed), ratio):
        assert psf.ratio == ratio
        assert sum(psf.taps_y) == pytest.approx(1)
        assert sum(psf.taps_x) == pytest.approx(1)
        assert max(map(abs, psf.shift_px)) <= ratio / 2 + 0.1


@given(st.integers(1, 230), st.integers(0, 500))
@settings(max_examples=60)
def test_bands_and_their_neighbours_exist_and_are_evenly_spaced(count, seed):
    numbers = augmentation.draw_bands(np.random.default_rng(seed), count, 5)
    assert numbers.shape == (5, 5)
    assert 0 <= numbers.min() <= numbers.max() < count
    below, above = numbers[:, 0] - numbers[:, 1], numbers[:, 2] - numbers[:, 0]
    inner = (numbers[:, 1:].min(1) > 0) & (numbers[:, 1:].max(1) < count - 1)
    assert (below[inner] == above[inner]).all()


@given(st.integers(20, 60), st.integers(20, 60), st.integers(0, 500))
@settings(max_examples=40)
def test_patches_are_made_of_the_scenes_own_values(height, width, seed):
    scene = reference(4, height, width)
    cut = augmentation.draw_patch(np.random.default_rng(seed), scene, 20, np.array([3, 1]))
    assert cut.shape == (2, 20, 20)
    assert scene[[3, 1]].min() - 1e-5 <= cut.min() <= cut.max() <= scene[[3, 1]].max() + 1e-5
