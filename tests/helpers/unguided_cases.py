"""A network without a guide that corrects, and a textured scene."""

import numpy as np
import torch

from dualsr_geo.models.networks.unguided import UnguidedNetwork


def random_unguided_network(width: int = 8, depth: int = 2, seed: int = 0) -> UnguidedNetwork:
    """Return a network that does correct: its last convolutions are no longer zero."""
    torch.manual_seed(seed)
    network = UnguidedNetwork(width, depth)
    for tail in network.tails.values():
        torch.nn.init.normal_(tail.weight, std=0.1)
    return network.eval()


def textured_scene(bands: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Return textured bands of unlike levels, (band, y, x)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    fields = np.stack([np.sin(y / 3 + x / 4), (x // 4 + y // 5) % 2, rng.random((height, width))])
    mixing = rng.random((bands, 3))
    return torch.from_numpy((10 + 40 * np.einsum("bf,fyx->byx", mixing, fields)).astype(np.float32))
