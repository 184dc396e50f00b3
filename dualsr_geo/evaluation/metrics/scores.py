"""Scores of an estimate against its reference, in one pass over tiles of arrays or of rasters."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.evaluation.metrics.image_pair import Image, Pair, largest, pair, tiling
from dualsr_geo.evaluation.metrics.ssim import RADIUS
from dualsr_geo.evaluation.metrics.sums import KINDS, Kind, TileSums, correlation, tile_sums
from dualsr_geo.raster.spectral_indices import SpectralIndex, index_errors
from dualsr_geo.raster.windows import Tile, Tiling
from dualsr_geo.resources import cores

# Default limit of threads, each of which holds about 300 MB.
MAX_DEFAULT_JOBS = 8
Result = TypeVar("Result")


@dataclass(frozen=True)
class Scores:
    """Scores of an estimate against its reference.

    A score that is not defined is NaN: SSIM and UQI of an image of less than 11 pixels a side, the correlation of a
    constant band, Q2n and SAM if no pixel is valid in every band. Means over bands leave such bands out.

    Attributes
    ----------
    ratio : int
        Ratio of pixel sizes in ERGAS.
    peak : float
        Data range of PSNR and SSIM, units of the reference.
    pixels : int
        Number of pixels valid in every compared band of both. Bands without a pixel valid in both are not compared.
    psnr_db : float
        PSNR of the mean squared error over the whole cube; infinite without any error.
    psnr_band_mean_db : float
        Mean PSNR of the bands.
    ssim : float
        Band mean of Wang's SSIM: Gaussian windows of 11 taps, sigma 1.5, population covariance, inside the image
        and centred on a valid pixel.
    sam_deg : float
        Mean spectral angle, degrees, of pixels that are valid in every band and whose spectra are not zero.
    ergas : float
        100 / ratio * sqrt(mean of MSE / mean^2 over bands).
    rmse : float
        RMSE over the whole cube, units of the reference.
    cc : float
        Band mean of the correlation coefficient.
    uqi : float
        Band mean of the universal image quality index in the windows of SSIM.
    q2n : float
        Hypercomplex quality, mean over blocks of 32 x 32 pixels weighted by their number of valid pixels.
    scc : float
        Band mean of the correlation coefficient of the Laplacians (J. Zhou et al., IJRS 19(4), 1998).
    per_band : mapping of str to array, shape (band,)
        psnr_db, rmse, ssim, cc, uqi, scc; NaN for bands that are not compared.
    indices : mapping of str to mapping
        How each spectral index differs from that of the reference; see `spectral_indices.index_errors`.
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
    indices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the scalar scores, None for one that is not finite, and the spectral indices if there are some."""
        scalars = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("per_band", "indices")}
        finite = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        return {**finite, "indices": dict(self.indices)} if self.indices else finite


def score(
    estimate: Image,
    reference: Image,
    *,
    ratio: int,
    peak: float | None = None,
    jobs: int | None = None,
    one_unit: bool = True,
    indices: Sequence[SpectralIndex] = (),
) -> Scores:
    """Score an estimate against its reference, tile by tile.

    Parameters
    ----------
    estimate, reference : Readable or array, shape (band, y, x)
        Physical values, NaN where invalid. They are read once, by tiles; a thread holds about 300 MB.
    ratio : int
        Ratio of pixel sizes that the estimate is sharpened by, for ERGAS.
    peak : float, optional
        Data range of PSNR and SSIM; by default the largest valid value of the reference, which is then read once
        more.
    jobs : int, optional
        Threads; by default one a core, at most 8. The scores do not depend on it.
    one_unit : bool
        Whether to check, by the ranges of their values, that both are in one unit.
    indices : sequence of SpectralIndex
        Spectral indices to compare.

    Returns
    -------
    Scores

    Raises
    ------
    InputError
        If the two differ in bands, size or unit, share no valid pixel, or if the reference has no positive value
        and `peak` is not given.
    OptionError
        If `ratio` or `jobs` is below 1 or `peak` is not positive.
    """
    _require_options(ratio, peak, jobs)
    both = pair(estimate, reference, one_unit=one_unit, indices=indices)
    return measure(both, KINDS, ratio=ratio, peak=peak, jobs=jobs)


def psnr(estimate: Image, reference: Image, *, peak: float | None = None) -> float:
    """Return the PSNR of the mean squared error over the whole cube (band, y, x), dB; `peak` as in `score`."""
    return measure(pair(estimate, reference), peak=peak).psnr_db


def psnr_band_mean(estimate: Image, reference: Image, *, peak: float | None = None) -> float:
    """Return the mean PSNR of the bands, dB; all bands have one peak, as in `score`."""
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
    """Return the band mean of the universal quality index in Gaussian windows (`ssim.window_sums`)."""
    return measure(pair(estimate, reference), {"windows"}, peak=1.0).uqi


def q2n(estimate: Image, reference: Image) -> float:
    """Return the hypercomplex quality Q2n of blocks of 32 x 32 pixels, 0..1 (`q2n.block_quality`)."""
    return measure(pair(estimate, reference), {"blocks"}, peak=1.0).q2n


def scc(estimate: Image, reference: Image) -> float:
    """Return the band mean of the correlation coefficient of the Laplacians (`Scores.scc`)."""
    return measure(pair(estimate, reference), {"edges"}, peak=1.0).scc


def consistency(degraded_product: Image, scene: Image) -> tuple[float, float]:
    """Return the differences of a degraded product from the scene on whose grid it is.

    Parameters
    ----------
    degraded_product, scene : Readable or array, shape (band, y, x)

    Returns
    -------
    tuple of float
        RMSE in the scene's unit, and mean spectral angle in degrees.
    """
    scores = measure(pair(degraded_product, scene), {"spectra"}, peak=1.0)
    return scores.rmse, scores.sam_deg


def measure(
    both: Pair,
    kinds: Collection[Kind] = (),
    *,
    ratio: int = 1,
    peak: float | None = None,
    jobs: int | None = None,
) -> Scores:
    """Return the scores of bands and those of some kinds of sums; the other scores are NaN.

    Parameters
    ----------
    both : Pair
    kinds : collection of str
        Of `sums.KINDS`.
    ratio, peak, jobs
        As in `score`.
    """
    _require_options(ratio, peak, jobs)
    threads = jobs or min(cores(), MAX_DEFAULT_JOBS)
    tiles = tiling(len(both.bands), both.size, RADIUS)
    # Tiles use all cores; threads of BLAS would compete for them.
    with threadpool_limits(1, user_api="blas"):
        data_range = _largest(both, tiles, threads) if peak is None else float(peak)
        total = TileSums.empty(len(both.bands), len(both.indices))
        for part in _each(lambda t: tile_sums(both, t, data_range, kinds), tiles, threads):
            total += part
    return _scores(both, total, ratio, data_range)


def _each(work: Callable[[Tile], Result], tiles: Tiling, threads: int) -> Iterator[Result]:
    """Yield the result of `work` for each tile, in the order of tiles; the first failure ends it."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, tiles)


def _require_options(ratio: int, peak: float | None, jobs: int | None) -> None:
    if ratio < 1:
        raise OptionError(
            f"ratio is {ratio}, but a ratio of pixel sizes is 1 or more. Give ratio=4 for a product with 4 times smaller pixels."
        )
    if peak is not None and not 0 < peak < math.inf:
        raise OptionError(
            f"peak is {peak:g}, but PSNR needs a positive data range. Give peak=1 for reflectance, or leave it out."
        )
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs is {jobs}, but at least 1 thread is needed. Give jobs=1 or more, or leave it out.")


def _largest(both: Pair, tiles: Tiling, threads: int) -> float:
    value = max(_each(lambda t: largest(both, t), tiles, threads))
    if value <= 0:
        raise InputError(
            f"The largest value of the reference is {value:g}, but PSNR needs a positive data range. Give peak, in its unit."
        )
    return float(value)


def _scores(both: Pair, total: TileSums, ratio: int, peak: float) -> Scores:
    with np.errstate(divide="ignore", invalid="ignore"):
        count, error = total.bands[0], total.bands[6]
        mse = error / count
        mean = total.bands[2] / count + both.pivot[:, 0, 0]
        size = (total.bands[3] + total.bands[4]) / count + mean**2
        windows = total.windows[:2] / total.windows[2]
        angle, angles, pixels = total.spectra
        quality, weight = total.blocks
        cube_mse = error.sum() / count.sum()
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
            psnr_db=float(_decibel(peak, cube_mse)),
            psnr_band_mean_db=_mean(bands["psnr_db"]),
            ssim=_mean(bands["ssim"]),
            sam_deg=float(np.degrees(angle / angles)),
            ergas=float(100 / ratio * np.sqrt((mse / mean**2).mean())),
            rmse=float(np.sqrt(cube_mse)),
            cc=_mean(bands["cc"]),
            uqi=_mean(bands["uqi"]),
            q2n=float(quality / weight),
            scc=_mean(bands["scc"]),
            per_band={name: both.spread(values) for name, values in bands.items()},
            indices=index_errors(both.indices, total.indices),
        )


def _decibel(peak: float, mse: Any) -> Any:
    return 20 * np.log10(peak) - 10 * np.log10(mse)


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the defined values; NaN if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
