"""A network with a guide that corrects, its inputs, and a scene with its guide."""

import numpy as np
import torch

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.models.networks.guided import CONSTANTS, PLANES, GuidedNetwork
from dualsr_geo.models.networks.spectral_context import relation_features


def random_guided_network(width: int = 8, depth: int = 1, seed: int = 0, *, contexts: int = 0) -> GuidedNetwork:
    """Return a network whose last convolution is not zero."""
    generator = torch.Generator().manual_seed(seed)
    network = GuidedNetwork(width, depth, contexts).eval()
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
    return network


def random_inputs(tiles: int, height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    planes = torch.randn(tiles, PLANES, height, width, generator=generator)
    return planes, torch.randn(tiles, CONSTANTS, generator=generator)


def random_relations(anchors: int, seed: int = 0) -> torch.Tensor:
    """Return relations (anchor, anchor, relation) of random values."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(2, anchors, 40, generator=generator)
    return relation_features(torch.stack([torch.corrcoef(v).reshape(anchors, anchors) for v in values]))


def scene_and_guide(bands: int, guides: int, height: int, width: int, ratio: int, *, noise: float = 0.0, seed: int = 0):
    """Return a scene (band, y, x), its guide (guide band, Y, X) and blur."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: height * ratio, : width * ratio] / ratio
    fields = np.stack([np.sin(2 * y + x), (x // 3 + y // 2) % 2, rng.random(y.shape), np.cos(x / 4)])
    cube = 10 + 5 * np.einsum("bf,fyx->byx", rng.random((bands, 4)), fields)
    guide = np.einsum("gf,fyx->gyx", rng.random((guides, 4)), fields).astype(np.float32)
    psf = Psf.from_mtf(ratio)
    lr = operator(psf, (height, width)).degrade(torch.from_numpy(cube.astype(np.float32))).numpy()
    return (lr + noise * rng.standard_normal(lr.shape)).astype(np.float32), guide, psf
