"""The blur of a scene is found from the scene, and is None where the scene does not show it."""

import numpy as np
import pytest
from blurs import BLURS
from made_up_scenes import RATIO, SEEDS, SEVEN, made_up, reduced_by
from scipy.ndimage import gaussian_filter

from dualsr_geo.registration.scene_blur.estimate import (
    BLOCK_SIDE_LR,
    MIN_SIDE_LR,
    estimate_scene_blur,
    gain_of,
    width_of,
)
from dualsr_geo.registration.scene_blur.regressors import FREQUENCIES, SHIPPED_SHA256, read_card, sha256
from dualsr_geo.serialization import from_json, to_json


@pytest.fixture(scope="module", params=SEEDS)
def scene(request):
    return made_up(request.param)


def estimated(lr, ratio=RATIO, weight=None):
    weight = np.ones(lr.shape[1:], np.float32) if weight is None else weight
    return estimate_scene_blur([lr], [weight], ratio)


def true_width(blur, ratio=RATIO):
    return width_of(float(BLURS[blur](ratio).transfer(np.array([0.5]))[0]))


@pytest.mark.parametrize("blur", SEVEN)
def test_the_width_of_a_usual_kernel_is_found(scene, blur):
    found = estimated(reduced_by(scene, blur))
    assert found.width_lr == pytest.approx(true_width(blur), abs=0.08)
    low, high = found.gain_range
    assert low < found.gain < high
    assert found.gain == pytest.approx(gain_of(found.width_lr))


def test_noise_changes_little(scene):
    found = estimated(reduced_by(scene, "g0.3", noise=3 / 255))
    assert found.width_lr == pytest.approx(true_width("g0.3"), abs=0.1)


def test_the_transfer_function_is_that_of_the_kernel(scene):
    found = estimated(reduced_by(scene, "imresize"))
    true = BLURS["imresize"](RATIO).transfer(np.array(FREQUENCIES[:6]))
    np.testing.assert_allclose(found.transfer[:6], true, atol=0.12)
    assert found.frequencies == FREQUENCIES


def test_units_and_turns_do_not_matter(scene):
    lr = reduced_by(scene, "box")
    one, other = estimated(lr), estimated(np.ascontiguousarray(3000 * lr.transpose(0, 2, 1)[:, ::-1] - 500))
    assert other.width_lr == pytest.approx(one.width_lr, abs=0.02)


def test_blocks_of_the_sample_count_as_one_scene(scene):
    lr = reduced_by(scene, "g0.45")
    parts = [lr[:, :48], lr[:, 48:]]
    found = estimate_scene_blur(parts, [np.ones(p.shape[1:], np.float32) for p in parts], RATIO)
    assert found.width_lr == pytest.approx(estimated(lr).width_lr, abs=0.03)
    assert found.pixels == lr[0].size
    assert found.blocks == 8


def test_values_in_holes_are_not_read(scene):
    lr = reduced_by(scene, "g0.3")
    weight = np.ones(lr.shape[1:], np.float32)
    weight[30:50, 20:70] = 0
    filled = np.where(weight, lr, np.random.default_rng(0).normal(size=lr.shape)).astype(np.float32)
    found = estimated(filled, weight=weight)
    assert to_json(found) == to_json(estimated(np.where(weight, lr, np.float32(0.2)), weight=weight))
    assert found.width_lr == pytest.approx(true_width("g0.3"), abs=0.1)


def test_a_scene_out_of_focus_in_a_part_shows_the_sensors_blur(scene):
    soft = scene.copy()
    soft[:, :, 130:] = gaussian_filter(scene, (0, 3, 3))[:, :, 130:]
    found = estimated(reduced_by(soft, "box"))
    assert found.width_lr == pytest.approx(true_width("box"), abs=0.08)
    assert true_width("box") - 0.15 < found.narrow_lr < true_width("box") + 0.03


def test_a_small_scene_has_no_estimate(scene):
    lr = reduced_by(scene, "g0.3")
    assert estimated(lr[:, : MIN_SIDE_LR - 1]) is None
    assert estimated(lr[:, :MIN_SIDE_LR, :BLOCK_SIDE_LR]).narrow_lr is None


@pytest.mark.parametrize("bands", [1, 5])
def test_a_scene_that_shows_no_blur_has_no_estimate(bands):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:50, :61].astype(np.float32) / 50
    shares = np.arange(1, bands + 1, dtype=np.float32)[:, None, None]
    assert estimated(np.full((bands, 50, 61), 0.3, np.float32)) is None
    assert estimated(shares * (0.2 + y + 0.3 * x * y)) is None
    assert estimated(shares * (1 + np.sin(3 * y) * np.cos(2 * x))) is None
    assert estimated(rng.normal(size=(bands, 50, 61)).astype(np.float32)) is None


def test_an_estimate_is_stored_and_read(scene):
    found = estimated(reduced_by(scene, "box"))
    assert from_json(type(found), to_json(found)) == found


def test_the_weights_are_those_that_were_measured():
    assert sha256() == SHIPPED_SHA256
    card = read_card()
    assert card["licence"] == "Apache-2.0"
    assert not {"wv2", *card["validation"]} & set(card["scenes"])
