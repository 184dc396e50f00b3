"""Large tiles piece by piece: the result is that of the whole."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812  # as torch's own documentation has it

from dualsr_geo.models.networks.piecewise import Workspace


@given(
    tiles=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    ratio=st.integers(1, 3),
    side=st.integers(3, 30),
)
@settings(max_examples=40)
def test_pieces_make_the_whole(tiles, height, width, ratio, side):
    x = torch.rand(tiles, 2, height, width)
    kernel = torch.rand(3, 2, 3, 3)

    def step(values):
        output = F.conv2d(values, kernel, padding=1)
        return output.repeat_interleave(ratio, 2).repeat_interleave(ratio, 3), values.repeat_interleave(
            ratio, 2
        ).repeat_interleave(ratio, 3)

    for output, wanted in zip(Workspace().run("a", step, 1, x, ratio=ratio, side=side), step(x), strict=True):
        torch.testing.assert_close(output, wanted)


def test_memory_stays_under_a_name_and_only_without_gradients():
    x, y = torch.rand(1, 2, 20, 30), torch.rand(1, 2, 20, 30)
    space = Workspace()
    with torch.no_grad():
        (first,) = space.run("a", lambda v: (v * 2,), 0, x, side=8)
        (other,) = space.run("b", lambda v: (v * 3,), 0, x, side=8)
        (second,) = space.run("a", lambda v: (v * 2,), 0, y, side=8)
    assert first.data_ptr() == second.data_ptr() != other.data_ptr()
    torch.testing.assert_close(other, x * 3)
    (third,) = space.run("a", lambda v: (v * 2,), 0, y, side=8)
    (fourth,) = space.run("a", lambda v: (v * 2,), 0, y, side=8)
    assert third.data_ptr() != fourth.data_ptr()


def test_gradients_pass_through_pieces():
    x = torch.rand(2, 1, 9, 11, requires_grad=True)
    (output,) = Workspace().run("a", lambda v: (v * v,), 0, x, side=4)
    output.sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach())
