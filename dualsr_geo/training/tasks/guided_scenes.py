"""Scenes that the guided network learns from: a reference, degraded as a random sensor would, and its guide.

A reference is a part of a real scene, or the texture of one image with the spectra of a real scene. Bands,
responses, blur, noise, and the defects of the guide are drawn at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.training import augmentation, simulated_guides
from dualsr_geo.training.augmentation import Floats, Rng
from dualsr_geo.training.guide_defects import displaced, draw_defects
from dualsr_geo.training.simulated_scenes import with_spectra

# Shares of the scenes by ratio.
RATIO_SHARES = {2: 0.14, 3: 0.08, 4: 0.48, 5: 0.03, 6: 0.05, 8: 0.22}
# Sides of the scenes of each ratio, lr pixels; small references need small ones.
SIDES_LR_PX = {2: (64, 128), 3: (48, 96), 4: (32, 64, 96), 5: (32, 64), 6: (24, 48), 8: (20, 32, 48)}
# Side of the smallest scene, lr pixels.
MIN_SIDE_LR_PX = 10
# Share of the simulated scenes with the texture of an image, where there are such; others have that of a reference.
TEXTURE_SHARE = 0.6
# A reference lends its spectra if it has at least so many bands.
MIN_LENT_BANDS = 6
# Share of the scenes that come with their own guide, where there are such.
OWN_GUIDE_SHARE = 0.06
# Of scenes of more bands than this, so many are averaged to a few wide ones.
FEW_BANDS, FEW_BANDS_SHARE = (4, 9), 0.25
# Shares of MATLAB's bicubic reduction and of plain averages among the blurs, and the range of the MTF gains of usual
# Gaussians at the lr Nyquist frequency.
CUBIC_SHARE, AVERAGE_SHARE, USUAL_GAINS = 0.15, 0.1, (0.12, 0.5)
# Share of the scenes with noise, and the range of its standard deviation, in those of the lr bands.
NOISY_SHARE, NOISE_STDS = 0.35, (0.004, 0.15)
# Share of the scenes whose blur is estimated as `upscale` does, and of those with a displaced guide.
ESTIMATED_BLUR_SHARE, DISPLACED_SHARE = 0.5, 0.4
# A patch with less contrast than this share of its reference's is not used.
MIN_CONTRAST_SHARE = 0.1


@dataclass(frozen=True)
class DrawnScene:
    """A scene with its guide and its truth.

    Attributes
    ----------
    reference : array, shape (band, ratio * y, ratio * x)
    lr : array, shape (band, y, x)
    guide : array, shape (guide band, ratio * y, ratio * x)
    psf : Psf
    known_psf : Psf or None
        What the survey is given; None where it estimates the blur.
    """

    reference: Floats
    lr: Floats
    guide: Floats
    psf: Psf
    known_psf: Psf | None


@dataclass(frozen=True)
class GuidedScenes:
    """Where scenes are drawn from.

    Attributes
    ----------
    references : mapping of str to array, shape (band, y, x)
        Scenes without nodata, any units.
    cameras : mapping of str to sequence of array, shape (guide band, band)
        Responses of real guides to these references; others are drawn at random.
    textures : mapping of str to array, shape (channel, y, x)
        Images that are given spectra of the references.
    pairs : mapping of str to (array, array)
        References (band, y, x) with guides of their own (guide band, y, x).
    simulated_share : float
        Share of the scenes that have the texture of one image and the spectra of a reference. They help
        less than they cost (docs/learned.md), so there are none by default.
    clean_guides : bool
        Whether guides have no defects.
    """

    references: Mapping[str, Floats]
    cameras: Mapping[str, Sequence[Floats]] = field(default_factory=dict)
    textures: Mapping[str, Floats] = field(default_factory=dict)
    pairs: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)
    simulated_share: float = 0.0
    clean_guides: bool = False

    def draw(self, rng: Rng, *, unusual: bool) -> DrawnScene | None:
        """Draw a scene; None if it has too little contrast.

        Parameters
        ----------
        rng : Generator
        unusual : bool
            Draw bands, responses and blurs as few sensors have.
        """
        ratio = int(rng.choice(list(RATIO_SHARES), p=list(RATIO_SHARES.values())))
        psf = _draw_psf(rng, ratio, unusual=unusual)
        if self.pairs and rng.random() < OWN_GUIDE_SHARE:
            drawn = self._draw_pair(rng, ratio)
        else:
            drawn = self._draw_simulated(rng, ratio, unusual=unusual)
        return None if drawn is None else _degraded(rng, *drawn, psf, clean=self.clean_guides)

    def _draw_pair(self, rng: Rng, ratio: int) -> tuple[Floats, Floats] | None:
        """Return a part of a reference with its own guide."""
        cube, guide = self.pairs[str(rng.choice(sorted(self.pairs)))]
        side = _draw_side(rng, cube, ratio)
        if side < MIN_SIDE_LR_PX * ratio:
            return None
        y, x = (int(rng.integers(0, n - side + 1)) for n in cube.shape[1:])
        part = (slice(None), slice(y, y + side), slice(x, x + side))
        return np.ascontiguousarray(cube[part]), np.ascontiguousarray(guide[part])

    def _draw_simulated(self, rng: Rng, ratio: int, *, unusual: bool) -> tuple[Floats, Floats] | None:
        """Return a part of a reference, or a simulated one, with a simulated guide."""
        is_simulated = rng.random() < self.simulated_share
        is_texture = is_simulated and bool(self.textures) and rng.random() < TEXTURE_SHARE
        images = self.textures if is_texture else self.references
        name = str(rng.choice(sorted(images)))
        side = _draw_side(rng, images[name], ratio)
        if side < MIN_SIDE_LR_PX * ratio:
            return None
        patch = augmentation.draw_patch(rng, images[name], side, np.arange(len(images[name])))
        if patch.std((1, 2)).mean() < MIN_CONTRAST_SHARE * images[name].std((1, 2)).mean():
            return None
        if is_simulated:
            lenders = sorted(n for n, c in self.references.items() if len(c) >= MIN_LENT_BANDS)
            name = str(rng.choice(lenders or sorted(self.references)))
            patch = with_spectra(rng, patch, self.references[name].reshape(len(self.references[name]), -1))
        responses = simulated_guides.draw_responses(rng, len(patch), self.cameras.get(name, ()), unusual=unusual)
        guide = np.einsum("gb,byx->gyx", responses, patch).astype(np.float32)
        return _few_bands(rng, simulated_guides.vary_spectrum(rng, patch, unusual=unusual)), guide


def _draw_side(rng: Rng, image: Floats, ratio: int) -> int:
    """Draw the side of a scene, hr pixels."""
    shortest = min(image.shape[1:])
    sides = [s for s in SIDES_LR_PX[ratio] if s * ratio <= shortest] or [shortest // ratio]
    return int(rng.choice(sides)) * ratio


def _few_bands(rng: Rng, cube: Floats) -> Floats:
    """Average the bands of some scenes to a few."""
    if len(cube) < FEW_BANDS[1] or rng.random() >= FEW_BANDS_SHARE:
        return cube
    edges = np.linspace(0, len(cube), int(rng.integers(*FEW_BANDS)) + 1).astype(int)
    return np.stack([cube[a:b].mean(0) for a, b in pairwise(edges)])


def _draw_psf(rng: Rng, ratio: int, *, unusual: bool) -> Psf:
    kind = rng.random()
    if kind < CUBIC_SHARE:
        return augmentation.matlab_bicubic(ratio)
    if kind < CUBIC_SHARE + AVERAGE_SHARE:
        taps = (1 / ratio,) * ratio
        return Psf(ratio, taps, taps, 0, 0)
    if unusual:
        return augmentation.draw_psfs(rng, ratio)[0]
    return Psf.from_mtf(ratio, float(rng.uniform(*USUAL_GAINS)))


def _degraded(rng: Rng, reference: Floats, guide: Floats, psf: Psf, *, clean: bool) -> DrawnScene:
    """Return a reference as a sensor records it, and the guide with its defects."""
    shape = reference.shape[1] // psf.ratio, reference.shape[2] // psf.ratio
    lr = operator(psf, shape).degrade(torch.from_numpy(reference)).numpy()
    guide = guide if clean else draw_defects(rng, guide)
    if rng.random() < NOISY_SHARE:
        level = float(np.exp(rng.uniform(*np.log(NOISE_STDS)))) * lr.std((1, 2)).mean()
        lr = lr + level * rng.standard_normal(lr.shape, np.float32)
    is_estimated = rng.random() < ESTIMATED_BLUR_SHARE
    if is_estimated and not clean and rng.random() < DISPLACED_SHARE:
        guide = displaced(rng, guide)
    return DrawnScene(reference, np.ascontiguousarray(lr, np.float32), guide, psf, None if is_estimated else psf)
