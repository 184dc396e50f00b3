"""Our own networks by `train_network`: from references to weights that sharpen, from random weights or from others."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.errors import InputError
from dualsr_geo.models.weights import Card, read_card, read_tensors, save
from dualsr_geo.training.dataset import Reference
from dualsr_geo.training.registry import TaskOptions, _camera_responses
from dualsr_geo.training.train import TrainingRequest, train_network

SIDE = 100


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Two scenes of 100 x 104 pixels, 9 and 6 bands, with wavelengths."""
    folder = tmp_path_factory.mktemp("references")
    for seed, bands in ((1, 9), (2, 6)):
        synthetic.write(folder / f"s{seed}", shape=(SIDE, SIDE + 4), bands=bands, ratio=2, seed=seed)
    return [folder / f"s{seed}" / "scene.tif" for seed in (1, 2)]


def named(references, tmp_path):
    """Return references of names of their own."""
    out = []
    for seed, path in enumerate(references):
        place = tmp_path / f"scene{seed}.tif"
        place.write_bytes(path.read_bytes())
        out.append(place)
    return out


def request(network, **changes):
    return TrainingRequest(
        network, TaskOptions(width=8), {"steps": 1, "validate_s": 1e6}, validate=("scene1",), **changes
    )


@pytest.mark.parametrize("network", ["alone", "guided"])
def test_references_become_weights_that_sharpen(references, tmp_path, network):
    place = tmp_path / f"{network}.safetensors"
    result = train_network(named(references, tmp_path), place, request(network))
    card = read_card(place)
    assert (card.network, card.ratio, card.width) == (network, 0, 8)
    note = json.loads(card.note)
    assert set(note["scores"]["scene1"]) == {"psnr", "sam", "start_psnr", "start_sam"}
    assert list(note["config"]["samples"]["references"]) == ["scene0"]
    assert result.finished
    scene, guide = synthetic.write(tmp_path, shape=(24, 21), bands=5, guide="pan", seed=4)
    message = dualsr_geo.upscale(
        scene, tmp_path / "p.tif", rgb=guide if network == "guided" else None, scale=4, model=place
    )
    assert message["model"] == network
    assert list(message["correction"]) == [network]
    # The halo of its card is what a tile needs.
    again = dualsr_geo.upscale(
        scene, tmp_path / "q.zarr", rgb=guide if network == "guided" else None, scale=4, model=place, tile=9
    )
    assert again["correction"] == message["correction"]


def test_weights_begin_where_others_ended(references, tmp_path):
    place, continued = tmp_path / "alone.safetensors", tmp_path / "continued.safetensors"
    train_network(named(references, tmp_path), place, request("alone"))
    slow = request("alone", begin=str(place))
    slow.config["rate"] = 1e-12  # type: ignore[index]
    train_network(named(references, tmp_path), continued, slow)
    one, other = (read_tensors(p) for p in (place, continued))
    assert all(torch.allclose(one[k], other[k], atol=1e-6) for k in one)
    assert "begin" in json.loads(read_card(continued).note)["config"]["samples"]


@pytest.mark.parametrize(
    ("card", "state", "message"),
    [
        (Card("guided", 0, 8), {}, "w.safetensors holds guided, and --network is alone"),
        (Card("alone", 0, 8), {"a": torch.zeros(1)}, "w.safetensors holds alone of another width"),
    ],
)
def test_other_weights_are_no_beginning(references, tmp_path, card, state, message):
    save(tmp_path / "w.safetensors", state or {"a": torch.ones(1)}, card)
    with pytest.raises(InputError, match=message):
        train_network(
            named(references, tmp_path),
            tmp_path / "o.safetensors",
            request("alone", begin=str(tmp_path / "w.safetensors")),
        )
    assert not (tmp_path / "o.safetensors").exists()


def test_a_reference_without_wavelengths_has_no_camera_but_serves():
    cube = np.ones((4, 8, 8), np.float32)
    assert _camera_responses(Reference("x", cube)) == []
    nm = np.array([450.0, 550.0, 650.0, 900.0])
    (rgb,) = _camera_responses(Reference("x", cube, nm))
    np.testing.assert_allclose(rgb.sum(1), 1, rtol=1e-6)
