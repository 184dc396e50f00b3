"""Blocks of the guide and what they lend: against a loop over blocks, and tile against scene."""

from __future__ import annotations

import published_networks as slow
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.models.networks import alba


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@given(
    size=st.integers(3, 6),
    height=st.integers(7, 23),
    width=st.integers(7, 23),
    tiles=st.integers(1, 2),
    published=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_gathers_are_the_loop_over_blocks(size, height, width, tiles, published, seed):
    guide, features = random(tiles, 2, height, width, seed=seed), random(tiles, 4, height, width, seed=seed + 1)
    wanted = slow.similar(guide, size, published=published)
    similar_blocks = alba.similar(guide, size, published=published)
    columns = -(-width // size)
    for n, blocks in enumerate(wanted):
        assert similar_blocks.index[n].tolist() == [[r * columns + c for r, c, _ in three] for three in blocks]
        torch.testing.assert_close(
            similar_blocks.cosine[n], torch.tensor([[v for _, _, v in three] for three in blocks])
        )
    result = alba.with_lent_features(features, similar_blocks.source, similar_blocks.weight)
    torch.testing.assert_close(result, slow.lent(features, wanted, size), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("shape", "lenders"), [((6, 6), [0]), ((6, 12), [1, 1]), ((6, 18), [1, 2, 1])])
def test_neighbours_that_are_not_there_weigh_nothing(shape, lenders):
    guide = random(1, 3, *shape) + 0.1
    similar_blocks = alba.similar(guide, 6)
    assert (similar_blocks.cosine[0] > 0).sum(-1).tolist() == lenders
    result = alba.with_lent_features(random(1, 2, *shape), similar_blocks.source, similar_blocks.weight)
    assert torch.isfinite(result).all()
    if lenders == [0]:
        assert not result[:, 2:].any()


def test_published_gives_number_six_the_similarity_of_number_five():
    guide = random(1, 3, 12, 12)
    middle, below = 4, 7
    guide[..., 8:12, 4:8] = guide[..., 4:8, 4:8]
    described, published = alba.similar(guide, 4), alba.similar(guide, 4, published=True)
    assert described.index[0, middle, 0] == below
    torch.testing.assert_close(described.cosine[0, middle, 0], torch.tensor(1.0))
    cosine = torch.cosine_similarity(guide[..., 4:8, 4:8].flatten(), guide[..., 8:12, 0:4].flatten(), 0)
    chosen = [
        float(c) for k, c in zip(published.index[0, middle], published.cosine[0, middle], strict=True) if k == below
    ]
    assert chosen in ([], [pytest.approx(float(cosine))])
    assert float(published.cosine[0, middle, 0]) < 0.99
    edges = [k for k in range(9) if k != middle]
    assert torch.equal(described.cosine[0, edges], published.cosine[0, edges])
    assert torch.equal(described.index[0, edges], published.index[0, edges])


def test_a_guide_without_values_lends_nothing():
    similar_blocks = alba.similar(torch.zeros(1, 3, 12, 12), 4)
    assert not similar_blocks.cosine.any()


@given(
    height=st.integers(60, 75),
    width=st.integers(60, 75),
    y=st.integers(0, 20),
    x=st.integers(0, 20),
    size=st.integers(4, 6),
)
@settings(max_examples=20)
def test_a_tile_with_its_lead_sees_the_blocks_of_the_scene(height, width, y, x, size):
    guide, features = random(1, 2, height, width), random(1, 3, height, width, seed=1)
    scene = alba.centred((height, width), size)
    whole = alba.similar(guide, size, scene)
    wanted = alba.with_lent_features(features, whole.source, whole.weight)
    lead = alba.lead_at((y, x), scene, size)
    tile = guide[..., y : y + 40, x : x + 40]
    similar_blocks = alba.similar(tile, size, lead)
    result = alba.with_lent_features(
        features[..., y : y + 40, x : x + 40], similar_blocks.source, similar_blocks.weight
    )
    # A block is as in the scene where it and its neighbours are in the tile, or at the scene's edge.
    inner = slice(2 * size, 40 - 2 * size)
    torch.testing.assert_close(result[..., inner, inner], wanted[..., y : y + 40, x : x + 40][..., inner, inner])


def test_the_lead_of_a_scene_is_the_smaller_half_of_what_is_missing():
    assert alba.centred((48, 36), 12) == (0, 0)
    assert alba.centred((40, 44), 12) == (4, 2)
    assert alba.lead_at((48, 24), (4, 2), 12) == (4, 2)
    assert alba.lead_at((20, 22), (4, 2), 12) == (0, 0)
