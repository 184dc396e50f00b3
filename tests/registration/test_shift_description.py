"""The displacement of a guide in words."""

import pytest

from dualsr_geo.registration.shift_description import describe_move, describe_shift


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        ((8.03, -2.79), "8.0 px too low and 2.8 px too far left"),
        ((-0.86, 1.49), "0.9 px too high and 1.5 px too far right"),
        ((0.01, 0.4), "0.4 px too far right"),
        ((0.0, -0.04), "in place"),
    ],
)
def test_a_shift_down_and_right_is_too_low_and_too_far_right(shift, words):
    assert describe_shift(shift) == words
    assert describe_shift(shift, (0.08, 0.13)) == f"{words} (+-0.1 px)"


@pytest.mark.parametrize(
    ("moved", "shift", "words"),
    [
        ((8.03, -2.79), (8.03, -2.79), "lay 8.0 px too low and 2.8 px too far left and was moved back"),
        ((0.0, 0.0), (8.03, 0.0), "lay 8.0 px too low and was not moved"),
        ((0.0, 0.0), (0.01, 0.0), "was in place"),
    ],
)
def test_a_move_states_what_was_done(moved, shift, words):
    assert describe_move(shift, moved) == words
