"""What blur is assumed without a guide: what the user gives, what the scene shows, else a gain that does no harm."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_scenes import RATIO, SEEDS, made_up, reduced_by

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.registration.options import RegistrationOptions
from dualsr_geo.registration.scene_blur.assumption import (
    FALLBACK_GAIN,
    LARGEST_GAIN,
    assumed_gain,
    assumed_width,
    unguided_placement,
)
from dualsr_geo.registration.scene_blur.estimate import estimate_scene_blur, gain_of, width_of


@pytest.fixture(scope="module")
def lr():
    return reduced_by(made_up(SEEDS[0]), "imresize")


@pytest.fixture(scope="module")
def shown(lr):
    return estimate_scene_blur([lr], [np.ones(lr.shape[1:], np.float32)], RATIO)


def placed(lr, **options):
    return unguided_placement([lr], [np.ones(lr.shape[1:], np.float32)], RegistrationOptions(RATIO, **options))


def test_the_estimate_is_narrowed_and_noted(lr, shown):
    placement = placed(lr)
    assert placement.source == "estimated from the scene"
    assert placement.scene_blur == shown
    gain = assumed_gain(shown)
    assert shown.gain < gain < 0.75
    assert placement.psf == Psf.from_mtf(RATIO, gain)
    low, high = shown.gain_range
    note = placement.assumption
    assert f"MTF gain {shown.gain:.2f} at Nyquist ({low:.2f} to {high:.2f}); {gain:.2f} is assumed" in note
    assert all(flag in note for flag in ("--mtf-gain", "--psf", "--sensor"))


def test_the_assumed_width_is_below_the_estimate_and_near_its_blocks(shown):
    one = replace(shown, width_lr=0.36, error_lr=0.05, narrow_lr=None)
    assert assumed_width(one) == pytest.approx(0.31)
    assert assumed_width(replace(one, error_lr=0.5)) == pytest.approx(0.30)
    assert assumed_width(replace(one, narrow_lr=0.2)) == pytest.approx(0.24)
    assert assumed_width(replace(one, narrow_lr=0.9)) == pytest.approx(0.33)


def test_wide_estimates_are_stretched_and_the_order_of_widths_is_kept(shown):
    widths = [assumed_width(replace(shown, width_lr=w, narrow_lr=w)) for w in np.linspace(0.1, 0.8, 15)]
    assert (np.diff(widths) > 0).all()
    assert widths[-1] > 0.8
    assert widths[0] == pytest.approx(0.07)


def test_the_assumed_gain_has_a_limit(shown):
    assert assumed_gain(replace(shown, width_lr=0.0, narrow_lr=0.0)) == LARGEST_GAIN


def test_a_small_scene_and_one_without_edges_have_the_gain_that_does_no_harm(lr):
    for part, why in ((lr[:, :11], "11 pixels wide"), (np.full_like(lr, 0.2), "no sharp edge")):
        placement = placed(part)
        assert placement.psf == Psf.from_mtf(RATIO, FALLBACK_GAIN)
        assert placement.source == "assumed"
        note = placement.assumption
        assert why in note
        assert f"gain of {FALLBACK_GAIN:.2f} at Nyquist is assumed" in note
        assert "--mtf-gain" in note


def test_what_the_user_gives_is_used_and_nothing_is_estimated(lr):
    psf = Psf.gaussian(RATIO, (3.0, 1.0))
    for options, used in (({"psf": psf}, psf), ({"mtf_gain": 0.1}, Psf.from_mtf(RATIO, 0.1))):
        placement = placed(lr, **options)
        assert placement.psf == used
        assert placement.assumption is None
        assert placement.scene_blur is None


@pytest.mark.parametrize("offset", [-2.0, -0.8, 0.8, 2.0])
def test_a_recognised_sensors_gain_is_used_unless_the_scene_contradicts_it(lr, shown, offset):
    gain = gain_of(shown.width_lr + offset * shown.error_lr)
    placement = placed(lr, mtf_gain=gain, mtf_named=False)
    wide = offset > 1
    assert placement.psf == Psf.from_mtf(RATIO, assumed_gain(shown) if wide else gain)
    assert placement.source == ("estimated from the scene" if wide else "sensor")
    assert (placement.assumption is not None) == (abs(offset) > 1)
    assert placement.assumption is None or f"gain at Nyquist is {gain:.2f}" in placement.assumption


def test_width_and_gain_are_inverse():
    assert width_of(gain_of(0.37)) == pytest.approx(0.37)
    assert gain_of(-0.1) == 1
