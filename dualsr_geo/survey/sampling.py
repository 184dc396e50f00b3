"""The sample of a survey: a bounded number of windows of the scene, with its registered guide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import MAX_WHOLE_PX, Block, Filled, guided_pixels
from dualsr_geo.fusion.prepared_guide import prepare_guide
from dualsr_geo.models.definition import Model
from dualsr_geo.models.methods.regression import MODEL
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.options import RegistrationOptions
from dualsr_geo.registration.shift import move_guide

# The response of the guide is fitted to about this many pixels; more do not change it.
SRF_PX = 4000
BLOCK_SIDE = 80
BLOCKS = 9


@dataclass(frozen=True)
class Sample:
    """One surveyed window as read.

    Attributes
    ----------
    cube : array, shape (band, y, x)
        Physical values, NaN where nothing is.
    guide : array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin), or None
        With a margin of `sample_margin` hr pixels, NaN where the guide does not reach.
    """

    cube: NDArray[np.float32]
    guide: NDArray[np.float32] | None


@dataclass(frozen=True, kw_only=True)
class SurveyOptions(RegistrationOptions):
    """What is decided about a survey before the scene is read.

    Attributes
    ----------
    model : Model
        The run's model; by default `regression`.
    fine : str
        The fine stage of the run.
    anchors : int or None
        At most so many anchor bands; None for the model's own choice.
    uncertainty : bool
        Whether to estimate how large the product's errors are.
    detail : bool
        Whether to assess what the product's detail is worth.
    changes : bool
        Whether the guide is left out where it shows something else than the scene.
    """

    model: Model = MODEL
    fine: str = "none"
    anchors: int | None = None
    uncertainty: bool = False
    detail: bool = False
    changes: bool = False


def sample_windows(shape: tuple[int, int]) -> list[Window]:
    """Return the windows that are surveyed: the whole scene, or nine blocks spread over it."""
    height, width = shape
    if height * width <= MAX_WHOLE_PX:
        return [Window(0, height, 0, width)]
    # No more than fit side by side: a pixel counts once.
    most_rows, most_columns = (max(1, n // BLOCK_SIDE) for n in shape)
    columns = min(BLOCKS // min(3, most_rows), most_columns)
    rows = min(BLOCKS // columns, most_rows)
    return [
        Window(y, min(y + BLOCK_SIDE, height), x, min(x + BLOCK_SIDE, width))
        for y in _spread(height, rows)
        for x in _spread(width, columns)
    ]


def _spread(length: int, count: int) -> list[int]:
    return [max(0, min(length - BLOCK_SIDE, int((i + 0.5) * length / count) - BLOCK_SIDE // 2)) for i in range(count)]


def guided_blocks(
    filled: Sequence[Filled], guides: Sequence[NDArray[np.float32]], psf: Psf, moved_px: tuple[float, float]
) -> tuple[list[Block], NDArray[np.float32]]:
    """Move, crop and fill the sampled guides; return them beside the scene, and their mean.

    Parameters
    ----------
    filled : sequence of (Tensor, Tensor)
        Cubes (band, y, x) and weights (y, x) of the sample.
    guides : sequence of array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin)
        As in `Sample`.
    psf : Psf
    moved_px : (float, float)
        How far the guide is moved back, hr pixels.
    """
    margin = sample_margin(psf.ratio)
    moved = [move_guide(g, moved_px, margin) for g in guides]
    mean = np.nanmean(np.concatenate([m.reshape(len(m), -1) for m in moved], 1), 1).astype(np.float32)
    out = []
    for (cube, weight), guide in zip(filled, moved, strict=True):
        op = operator(psf, (cube.shape[1], cube.shape[2]))
        window = prepare_guide(torch.from_numpy(guide), torch.from_numpy(mean), op)
        if window is not None:
            both = weight if window.weight is None else weight * window.weight
            out.append(Block(cube, both, window.values))
    return out, mean


def relevance(blocks: Sequence[Block], blur: Psf) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how well the guide explains each band (R2), and the guide's response to the bands."""
    spectra, guide, weight = guided_pixels(blocks, blur)
    used = weight > 0
    x, y = spectra[:, used].astype(np.float64), guide[:, used].astype(np.float64)
    xc, yc = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    gram = yc @ yc.T
    gram += 1e-9 * np.trace(gram) / len(gram) * np.eye(len(gram)) + 1e-30 * np.eye(len(gram))
    slope = np.linalg.solve(gram, yc @ xc.T)
    left = ((xc - slope.T @ yc) ** 2).sum(1) / np.maximum((xc**2).sum(1), 1e-30)
    step = max(1, x.shape[1] // SRF_PX)
    design = np.vstack([x[:, ::step], np.ones(x[:, ::step].shape[1])]).T
    srf = np.stack([nnls(design, row[::step])[0][:-1] for row in y])
    return np.clip(1 - left, 0, 1).astype(np.float32), srf.astype(np.float32)
