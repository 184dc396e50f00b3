"""A network on one window: bands in order, in the scene's units, whatever the tile."""

from __future__ import annotations

import numpy as np
import published_networks as slow
import pytest
import torch

from dualsr_geo.models.band_stream import HEADROOM, SceneWindow, Stream, Units, bands, scene_angle_weight, scene_units
from dualsr_geo.models.checkpoint_import import convert
from dualsr_geo.models.loading import load_model as load_network
from dualsr_geo.models.networks.backprojection import angle_weight, back_project
from dualsr_geo.models.registry import load_model
from dualsr_geo.models.weights import save
from dualsr_geo.raster.windows import Window

SHAPE = (53, 61)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    states = {"r2": slow.state_coarsr(2, 8, batch_norm=False), "r4": slow.state_coarsr(4, 8, batch_norm=True)}
    for name, state in {**states, "n4": slow.state_coarsenet(8, 2)}.items():
        torch.save({"model": slow.tame(state)}, folder / f"{name}.pth")
        save(folder / f"{name}.safetensors", *convert(folder / f"{name}.pth", 4 if name == "n4" else None))
    return {p.stem: p for p in folder.glob("*.safetensors")}


@pytest.fixture(scope="module")
def cube():
    y, x = torch.meshgrid(torch.arange(SHAPE[0]), torch.arange(SHAPE[1]), indexing="ij")
    waves = torch.stack([torch.sin(y / (3 + k)) * torch.cos(x / (9 - k)) for k in range(7)])
    return 100 + 20 * waves + torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(0))


def whole(shape=SHAPE):
    return SceneWindow(Window(0, shape[0], 0, shape[1]), shape)


def test_units_reach_from_zero_to_the_largest_value():
    cubes = [torch.tensor([[[3.0, 8.0]]]), torch.tensor([[[4.0, 6.0]]])]
    guide = np.array([[[np.nan, 200.0, 10.0]]], np.float32)
    assert Units.of(cubes, [], whole=True) == Units(0.0, 8.0)
    assert Units.of(cubes, [guide], whole=True) == Units(0.0, 8.0, 0.0, 200.0)
    assert Units.of(cubes, [guide], whole=False) == Units(0.0, 8.0 * HEADROOM, 0.0, 200.0 * HEADROOM)
    assert Units.of([torch.tensor([[[-0.5, 1.0]]])], [], whole=True) == Units(-0.5, 1.0)
    assert Units.of([torch.zeros(1, 2, 2)], [np.full((1, 2, 2), np.nan, np.float32)], whole=True) == Units(0.0, 1.0)


def test_a_stream_is_the_network_in_physical_units(files, cube):
    units = Units.of([cube], [], whole=True)
    stream = Stream(load_model(files["r2"]).weights, None, units, None, cube, None, whole())
    with torch.inference_mode():
        product = torch.cat([stream.take(slice(0, 3)), stream.take(slice(3, 4)), stream.take(slice(4, 7))])
    wanted = load_network(files["r2"])((cube / cube.max()).numpy()) * float(cube.max())
    np.testing.assert_allclose(product.numpy(), wanted, rtol=1e-5, atol=1e-4)


def test_bands_are_made_in_order_only(files, cube):
    stream = Stream(load_model(files["r2"]).weights, None, Units(0, 200), None, cube, None, whole())
    with pytest.raises(ValueError, match="Band 0 is next, not 2"):
        stream.take(slice(2, 3))


@pytest.mark.parametrize("fine", ["none", "backprojection"])
@pytest.mark.parametrize("ratio", [2, 4])
def test_dualsr_is_equation_for_equation(files, cube, ratio, fine):
    model = load_model(files[f"r{ratio}"]).with_half(files["r2"] if ratio == 4 and fine != "none" else None, fine)
    units = Units.of([cube], [], whole=True)
    unit = (cube / cube.max()).numpy()
    hr = torch.from_numpy(load_network(files[f"r{ratio}"])(unit))
    half = torch.from_numpy(load_network(files["r2"])(unit) if ratio == 4 else unit)
    with torch.inference_mode():
        weight = (
            scene_angle_weight(model.weights, model.half, [scene_units(cube, units)], [None], [whole()])
            if fine != "none"
            else None
        )
        product = Stream(model.weights, model.half, units, weight, cube, None, whole()).take(slice(0, 7))
    wanted = hr
    if weight is not None:
        assert 0 < weight < 1
        assert weight == pytest.approx(angle_weight(hr, half), rel=1e-5)
        wanted = back_project(hr, half)
    np.testing.assert_allclose(product.numpy(), (wanted * cube.max()).numpy(), rtol=1e-5, atol=1e-3)


def test_the_angle_of_a_large_scene_is_that_of_its_middle(files):
    """Only so much of it is looked at, so a scene whose middle differs from its rim tells."""
    cube = torch.linspace(0.1, 1, 5)[:, None, None] * torch.linspace(0.2, 1, 300)[:, None].expand(300, 200)
    model = load_model(files["r2"])
    place = whole((300, 200))
    with torch.inference_mode():
        flat = scene_angle_weight(model.weights, model.half, [cube], [None], [place])
        cube[:, :80] += 0.05 * torch.rand(5, 80, 200, generator=torch.Generator().manual_seed(1))
        assert scene_angle_weight(model.weights, model.half, [cube], [None], [place]) == flat
        assert scene_angle_weight(model.weights, model.half, [cube[:, :80]], [None], [whole((80, 200))]) != flat


@pytest.mark.parametrize("start", [(0, 0), (24, 15), (29, 37)])
@pytest.mark.parametrize("published", [False, True])
def test_a_tile_of_coarsr_is_that_of_the_whole_scene(files, start, published):
    """With the halo that the card states, to the rounding of float32."""
    model = load_model(files["r4"], published=published)
    cube = torch.rand(6, 101, 87, generator=torch.Generator().manual_seed(2))
    core = Window(start[0], start[0] + 24, start[1], start[1] + 21)
    padded = core.grown(model.halo).clipped((101, 87))
    with torch.inference_mode():
        expected = torch.stack(list(bands(model.weights, cube, None, whole((101, 87)))))
        tile = torch.stack(list(bands(model.weights, cube[:, *padded.slices], None, SceneWindow(padded, (101, 87)))))
    inner = tile[:, *core.within(padded).scaled(4).slices]
    span = float(expected.max() - expected.min())
    assert (inner - expected[:, *core.scaled(4).slices]).abs().max() <= 1e-6 * span


@pytest.mark.parametrize("start", [(0, 0), (24, 15), (29, 37)])
def test_a_tile_of_coarsenet_lies_on_the_scenes_blocks(files, start):
    """101 x 87 lr pixels have a border of 2 and 0 hr pixels: blocks of the scene do not begin at lr pixels."""
    model = load_model(files["n4"])
    random = torch.Generator().manual_seed(3)
    cube, guide = torch.rand(4, 101, 88, generator=random), torch.rand(2, 404, 352, generator=random)
    core = Window(start[0], start[0] + 24, start[1], start[1] + 21)
    with torch.inference_mode():
        expected = torch.stack(list(bands(model.weights, cube, guide, whole((101, 88)))))[:, *core.scaled(4).slices]
        wrong = {}
        for halo in (0, 24):
            padded = core.grown(halo).clipped((101, 88))
            part = cube[:, *padded.slices], guide[:, *padded.scaled(4).slices]
            tile = torch.stack(list(bands(model.weights, *part, SceneWindow(padded, (101, 88)))))
            wrong[halo] = float((tile[:, *core.within(padded).scaled(4).slices] - expected).abs().max())
    assert wrong[24] <= 1e-5
    assert wrong[0] > 1e-3
