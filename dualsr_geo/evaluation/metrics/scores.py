"""Scores of an estimate against its reference, in one pass of tiles; whole arrays or anything that can be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.evaluation.metrics.image_pair import Image, Pair, largest, pair, tiling
from dualsr_geo.evaluation.metrics.ssim import RADIUS
from dualsr_geo.evaluation.metrics.sums import KINDS, Kind, TileSums, correlation, tile_sums
from dualsr_geo.raster.windows import Tile, Tiling
from dualsr_geo.resources import cores

# A thread holds about 300 MB; who has the memory for more asks for them.
MOST_JOBS = 8
Found = TypeVar("Found")


@dataclass(frozen=True)
class Scores:
    """How near an estimate is to its reference.

    A figure that is not defined is NaN: windows in an image of less than 11 pixels a side, the correlation of a
    constant band, Q2n or SAM where no pixel is valid in every band. Means over bands leave such bands out.

    Attributes
    ----------
    ratio : int
        Ratio of pixel sizes that ERGAS speaks of.
    peak : float
        Data range of PSNR and SSIM, units of the reference.
    pixels : int
        Pixels valid in every compared band of both. A band without any pixel that is valid in both is not compared.
    psnr_db : float
        Of one mean squared error over the whole cube; infinite if there is no error.
    psnr_band_mean_db : float
        Mean of the bands' PSNR.
    ssim : float
        Band mean of Wang's SSIM: Gaussian windows of 11 taps, sigma 1.5, population covariance, windows inside
        the image and centred on a valid pixel.
    sam_deg : float
        Mean spectral angle, degrees, of pixels valid in every band whose spectra are not zero.
    ergas : float
        100 / ratio * sqrt(mean of MSE / mean^2 over bands).
    rmse : float
        Over the whole cube, units of the reference.
    cc : float
        Band mean of the correlation coefficient.
    uqi : float
        Band mean of the universal quality index in the windows of SSIM.
    q2n : float
        Hypercomplex quality of blocks of 32 x 32 pixels; a block weighs as much as it has pixels.
    scc : float
        Band mean of the correlation coefficient of the Laplacians (J. Zhou et al., IJRS 19(4), 1998).
    per_band : mapping of str to array, shape (band,)
        psnr_db, rmse, ssim, cc, uqi, scc; NaN for bands that are not compared.
    """

    ratio: int
    peak: float
    pixels: int
    psnr_db: float
    psnr_band_mean_db: float
    ssim: float
    sam_deg: float
    ergas: float
    rmse: float
    cc: float
    uqi: float
    q2n: float
    scc: float
    per_band: Mapping[str, NDArray[np.float64]]

    def to_json(self) -> dict[str, Any]:
        """Return the scalars; one that is not finite is None."""
        scalars = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "per_band"}
        return {name: value if math.isfinite(value) else None for name, value in scalars.items()}


def score(
    estimate: Image, reference: Image, *, ratio: int, peak: float | None = None, jobs: int | None = None
) -> Scores:
    """Score an estimate against its reference, tile by tile.

    Parameters
    ----------
    estimate, reference : Readable or array, shape (band, y, x)
        Physical values, NaN where invalid. Read once by tiles; a thread holds about 300 MB.
    ratio : int
        Ratio of pixel sizes that the estimate was sharpened by; ERGAS speaks of it.
    peak : float, optional
        Data range of PSNR and SSIM; the reference's largest valid value if left out, for which the reference
        is read once more.
    jobs : int, optional
        Threads; one a core if left out, at most 8. The scores do not depend on it.

    Returns
    -------
    Scores

    Raises
    ------
    InputError
        If the two differ in bands, size or unit, share no valid pixel, or the reference is nowhere positive and
        `peak` is not given.
    OptionError
        If `ratio` or `jobs` is below 1 or `peak` is not positive.
    """
    _require_options(ratio, peak, jobs)
    return measure(pair(estimate, reference), KINDS, ratio=ratio, peak=peak, jobs=jobs)


def psnr(estimate: Image, reference: Image, *, peak: float | None = None) -> float:
    """Return the PSNR of one mean squared error over the whole cube (band, y, x), dB; `peak` as in `score`."""
    return measure(pair(estimate, reference), peak=peak).psnr_db


def psnr_band_mean(estimate: Image, reference: Image, *, peak: float | None = None) -> float:
    """Return the mean of the bands' PSNR, dB; one peak for all bands, as in `score`."""
    return measure(pair(estimate, reference), peak=peak).psnr_band_mean_db


def ssim(estimate: Image, reference: Image, *, peak: float | None = None) -> float:
    """Return the band mean of SSIM; windows and `peak` as in `score`."""
    return measure(pair(estimate, reference), {"windows"}, peak=peak).ssim


def sam(estimate: Image, reference: Image) -> float:
    """Return the mean spectral angle, degrees, of pixels valid in every band; spectra of zeros are left out."""
    return measure(pair(estimate, reference), {"spectra"}, peak=1.0).sam_deg


def ergas(estimate: Image, reference: Image, *, ratio: int) -> float:
    """Return ERGAS, 100 / ratio * sqrt(mean of MSE / mean^2 over bands)."""
    return measure(pair(estimate, reference), ratio=ratio, peak=1.0).ergas


def rmse(estimate: Image, reference: Image) -> float:
    """Return the root of the mean squared error over the whole cube, units of the values."""
    return measure(pair(estimate, reference), peak=1.0).rmse


def cc(estimate: Image, reference: Image) -> float:
    """Return the band mean of the correlation coefficient; constant bands are left out."""
    return measure(pair(estimate, reference), peak=1.0).cc


def uqi(estimate: Image, reference: Image) -> float:
    """Return the band mean of the universal quality index in Gaussian windows (`similarity.window_sums`)."""
    return measure(pair(estimate, reference), {"windows"}, peak=1.0).uqi


def q2n(estimate: Image, reference: Image) -> float:
    """Return the hypercomplex quality Q2n of blocks of 32 x 32 pixels, 0..1 (`hypercomplex.block_quality`)."""
    return measure(pair(estimate, reference), {"blocks"}, peak=1.0).q2n


def scc(estimate: Image, reference: Image) -> float:
    """Return the band mean of the correlation coefficient of the Laplacians (`Scores.scc`)."""
    return measure(pair(estimate, reference), {"edges"}, peak=1.0).scc


def consistency(degraded_product: Image, scene: Image) -> tuple[float, float]:
    """Say how nearly a product, degraded to the scene's grid, equals the scene.

    Parameters
    ----------
    degraded_product, scene : Readable or array, shape (band, y, x)

    Returns
    -------
    tuple of float
        RMSE in the scene's unit, and mean spectral angle in degrees.
    """
    found = measure(pair(degraded_product, scene), {"spectra"}, peak=1.0)
    return found.rmse, found.sam_deg


def measure(
    both: Pair,
    kinds: Collection[Kind] = (),
    *,
    ratio: int = 1,
    peak: float | None = None,
    jobs: int | None = None,
) -> Scores:
    """Return the scores of some kinds beside the bands' own; the others are NaN."""
    _require_options(ratio, peak, jobs)
    threads = jobs or min(cores(), MOST_JOBS)
    tiles = tiling(len(both.bands), both.size, RADIUS)
    # Tiles take the cores; BLAS with threads of its own would share them.
    with threadpool_limits(1, user_api="blas"):
        data_range = _largest(both, tiles, threads) if peak is None else float(peak)
        total = TileSums.empty(len(both.bands))
        for part in _each(lambda t: tile_sums(both, t, data_range, kinds), tiles, threads):
            total += part
    return _scores(both, total, ratio, data_range)


def _each(work: Callable[[Tile], Found], tiles: Tiling, threads: int) -> Iterator[Found]:
    """Yield what `work` finds in each tile, in the order of tiles; the first failure ends it."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, tiles)


def _require_options(ratio: int, peak: float | None, jobs: int | None) -> None:
    if ratio < 1:
        raise OptionError(
            f"ratio is {ratio}; a ratio of pixel sizes is 1 or more. Give ratio=4 for a fourfold product."
        )
    if peak is not None and not 0 < peak < math.inf:
        raise OptionError(
            f"peak is {peak:g}; PSNR needs a positive data range. Give peak=1 for reflectance, or leave it out."
        )
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs is {jobs}; at least one thread must work. Give jobs=1 or more, or leave it out.")


def _largest(both: Pair, tiles: Tiling, threads: int) -> float:
    found = max(_each(lambda t: largest(both, t), tiles, threads))
    if found <= 0:
        raise InputError(
            f"The reference's largest value is {found:g}, which is no data range for PSNR. Give peak, in its unit."
        )
    return float(found)


def _scores(both: Pair, total: TileSums, ratio: int, peak: float) -> Scores:
    with np.errstate(divide="ignore", invalid="ignore"):
        count, error = total.bands[0], total.bands[6]
        mse = error / count
        mean = total.bands[2] / count + both.pivot[:, 0, 0]
        size = (total.bands[3] + total.bands[4]) / count + mean**2
        windows = total.windows[:2] / total.windows[2]
        angle, angles, pixels = total.spectra
        quality, weight = total.blocks
        whole = error.sum() / count.sum()
        bands = {
            "psnr_db": _decibel(peak, mse),
            "rmse": np.sqrt(mse),
            "ssim": windows[0],
            "cc": correlation(total.bands[:6], size),
            "uqi": windows[1],
            "scc": correlation(total.edges, size),
        }
        return Scores(
            ratio=ratio,
            peak=peak,
            pixels=int(pixels),
            psnr_db=float(_decibel(peak, whole)),
            psnr_band_mean_db=_mean(bands["psnr_db"]),
            ssim=_mean(bands["ssim"]),
            sam_deg=float(np.degrees(angle / angles)),
            ergas=float(100 / ratio * np.sqrt((mse / mean**2).mean())),
            rmse=float(np.sqrt(whole)),
            cc=_mean(bands["cc"]),
            uqi=_mean(bands["uqi"]),
            q2n=float(quality / weight),
            scc=_mean(bands["scc"]),
            per_band={name: both.spread(values) for name, values in bands.items()},
        )


def _decibel(peak: float, mse: Any) -> Any:
    return 20 * np.log10(peak) - 10 * np.log10(mse)


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean of what is defined; NaN if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
