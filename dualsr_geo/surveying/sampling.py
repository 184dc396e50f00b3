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
from dualsr_geo.fusion.blocks import MAX_WHOLE_PX, Block, Filled
from dualsr_geo.fusion.prepared_guide import prepare_guide
from dualsr_geo.models.definition import Model
from dualsr_geo.models.methods.regression import MODEL
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.options import RegistrationOptions
from dualsr_geo.registration.shift import move_guide

# Number of pixels to which the guide's response is fitted; more do not change it.
RESPONSE_PX = 4000
# A guide band that varies by less than this share of its values is constant but for the rounding of float32.
ROUNDING_SHARE = 1e-6
# Bands that are processed together.
BANDS_AT_ONCE = 4
# Side of a block of the sample, lr px.
BLOCK_SIDE_PX = 80
# Number of blocks in the sample of a large scene.
BLOCK_COUNT = 9


@dataclass(frozen=True)
class Sample:
    """One window of the sample as read.

    Attributes
    ----------
    cube : array, shape (band, y, x)
        Physical values, NaN where the scene has none.
    guide : array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin), or None
        With a margin of `sample_margin` hr pixels, NaN where the guide does not reach.
    placing : array, shape (placing band, ...), or None
        The same with the bands by which several guides are placed; None where `guide` is used for that.
    measured : array, shape (y, x), or None
        Where all of several guides are measured and none is predicted; None where all are.
    """

    cube: NDArray[np.float32]
    guide: NDArray[np.float32] | None
    placing: NDArray[np.float32] | None = None
    measured: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True)
class SurveyOptions(RegistrationOptions):
    """Options of a survey, which do not depend on the scene.

    Attributes
    ----------
    model : Model
        Model of the run; by default `regression`.
    fine : str
        Fine stage of the run.
    anchors : int or None
        Largest number of anchor bands; None for the model's own choice.
    uncertainty : bool
        Whether to estimate the standard deviation of the product's errors.
    detail : bool
        Whether to assess the product's detail.
    changes : bool
        Whether to leave the guide out where it shows something else than the scene.
    denoise : bool
        Whether to denoise the guide where its noise costs more than the filter.
    scene : Packing or None
        Of the scene; None for values of 32-bit floats without packing.
    packing : Packing or None
        Of the product, which decides on the steps that have to be kept; None where 32-bit floats hold all values.
    """

    model: Model = MODEL
    fine: str = "none"
    anchors: int | None = None
    uncertainty: bool = False
    detail: bool = False
    changes: bool = False
    denoise: bool = True
    scene: Packing | None = None
    packing: Packing | None = None


def sample_windows(shape: tuple[int, int]) -> list[Window]:
    """Return the windows of the sample: the whole scene, or nine blocks spread evenly over a large one."""
    height, width = shape
    if height * width <= MAX_WHOLE_PX:
        return [Window(0, height, 0, width)]
    # Blocks do not overlap, so that every pixel counts once.
    max_rows, max_columns = (max(1, n // BLOCK_SIDE_PX) for n in shape)
    columns = min(BLOCK_COUNT // min(3, max_rows), max_columns)
    rows = min(BLOCK_COUNT // columns, max_rows)
    return [
        Window(y, min(y + BLOCK_SIDE_PX, height), x, min(x + BLOCK_SIDE_PX, width))
        for y in _spread(height, rows)
        for x in _spread(width, columns)
    ]


def _spread(length: int, count: int) -> list[int]:
    """Return the first rows or columns of blocks that are spread evenly."""
    return [
        max(0, min(length - BLOCK_SIDE_PX, int((i + 0.5) * length / count) - BLOCK_SIDE_PX // 2)) for i in range(count)
    ]


def guided_blocks(
    filled: Sequence[Filled], guides: Sequence[NDArray[np.float32]], psf: Psf, moved_px: tuple[float, float]
) -> tuple[list[Block], NDArray[np.float32]]:
    """Register and fill the sampled guides; return the blocks with guide, and the mean of each guide band.

    Parameters
    ----------
    filled : sequence of (Tensor, Tensor)
        Cubes (band, y, x) and validity (y, x) of the sample.
    guides : sequence of array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin)
        As in `Sample`.
    psf : Psf
    moved_px : (float, float)
        Shift of the guide that is undone, (y, x), hr pixels.
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


def relevance(
    spectra: NDArray[np.float32], guide: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the relevance of the guide to each band, R2, 0..1; the parameters are what `guided_pixels` returns."""
    used = weight > 0
    y = guide[:, used].astype(np.float64)
    yc = y - y.mean(1, keepdims=True)
    # What a constant guide band varies by is rounding.
    yc[yc.std(1) <= ROUNDING_SHARE * np.abs(y).max(1)] = 0
    gram = yc @ yc.T
    cross, variance = _products(spectra, used, yc)
    ridge = 1e-9 * np.trace(gram) / len(gram) + 1e-30
    slope = np.linalg.solve(gram + ridge * np.eye(len(gram)), cross)
    # The squared residual, in terms of the products of bands and guide.
    residual = variance - 2 * (slope * cross).sum(0) + (slope * (gram @ slope)).sum(0)
    return np.asarray(np.clip(1 - residual / np.maximum(variance, 1e-30), 0, 1), np.float32)


def _products(
    spectra: NDArray[np.float32], used: NDArray[np.bool_], guide: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return products of the centred guide with each band, (guide band, band), and the bands' sums of squares."""
    cross, variance = np.empty((len(guide), len(spectra))), np.empty(len(spectra))
    # Few bands at a time stay in the cache.
    for first in range(0, len(spectra), BANDS_AT_ONCE):
        rows = slice(first, first + BANDS_AT_ONCE)
        x = spectra[rows, used].astype(np.float64)
        x -= x.mean(1, keepdims=True)
        cross[:, rows], variance[rows] = guide @ x.T, np.einsum("bp,bp->b", x, x)
    return cross, variance


def response(
    spectra: NDArray[np.float32], guide: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the response of the guide, (guide band, band), from what `guided_pixels` returns.

    It is the non-negative combination of the bands that is nearest to each guide band.
    """
    used = weight > 0
    x, y = spectra[:, used].astype(np.float64), guide[:, used].astype(np.float64)
    step = max(1, x.shape[1] // RESPONSE_PX)
    design = np.vstack([x[:, ::step], np.ones(x[:, ::step].shape[1])]).T
    return np.stack([nnls(design, row[::step])[0][:-1] for row in y]).astype(np.float32)
