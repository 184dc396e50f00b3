"""The Wald cases that the algorithm was chosen on, and three baselines to beat.

`python tests/helpers/wald_cases.py [part of a name ...]` prints a table. The reference is degraded by
a known blur, M: a Gaussian with an MTF gain of 0.3; S: SFPN's 13 taps, shifted and cut on one
side, with noise of 3/255. Both are written here a second time, as matrices of their own, so
that they also check `dualsr_geo.degradation.operators`.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.tiles.context import TileContext, guide_window
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.models.definition import Model
from dualsr_geo.models.methods.learned import LearnedState
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import Sample, SurveyOptions, sample_windows
from dualsr_geo.surveying.survey import Survey

# The benchmark's scenes; run as a script, nothing else says where they are.
sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "benchmark"))
from scenes import DATA, load, responses  # noqa: F401  # DATA for the tests that skip without it

S_NOISE = 3 / 255


@dataclass(frozen=True)
class Case:
    """A Wald case: the name says scene, ratio, degradation and guide, e.g. ``"jasper 4 M rgb"``."""

    name: str
    reference: np.ndarray
    scene: np.ndarray
    guide: np.ndarray
    psf: Psf

    @property
    def ratio(self) -> int:
        return self.psf.ratio


# ---- degradations ------------------------------------------------------------------------


def gaussian_matrix(length: int, ratio: int, gain: float) -> np.ndarray:
    """Return blur and decimation along an axis of `length` hr pixels, edges repeated."""
    sigma = ratio / math.pi * math.sqrt(-2 * math.log(gain))
    half = math.ceil(4 * sigma) + 1
    out = np.zeros((length // ratio, length))
    for i, row in enumerate(out):
        centre = i * ratio + (ratio - 1) / 2
        at = np.arange(math.floor(centre) - half, math.floor(centre) + half + 2)
        w = np.exp(-0.5 * ((at - centre) / sigma) ** 2)
        np.add.at(row, at.clip(0, length - 1), w / w.sum())
    return out


def sfpn_matrix(length: int, ratio: int, variance: float) -> np.ndarray:
    """Return SFPN's degradation: a 13-tap window around a Gaussian off its middle, then bicubic sampling."""
    off = np.arange(13) - 6
    taps = np.exp(-0.5 * (off - (ratio - 1) / 2) ** 2 / variance)
    blur, sample = np.zeros((length, length)), np.zeros((length // ratio, length))
    for n, row in enumerate(blur):
        at = n + off
        at = np.where(at < 0, -1 - at, np.where(at >= length, 2 * length - 1 - at, at))
        np.add.at(row, at, taps / taps.sum())
    for i, row in enumerate(sample):
        position = (i + 0.5) * ratio - 0.5
        at = math.floor(position) + np.arange(-1, 3)
        np.add.at(row, at.clip(0, length - 1), [_keys(position - k) for k in at])
    return sample @ blur


def _keys(distance: float, a: float = -0.75) -> float:
    d = abs(distance)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def _degraded(cube: np.ndarray, ratio: int, gain: float) -> np.ndarray:
    dy, dx = (gaussian_matrix(n, ratio, gain) for n in cube.shape[1:])
    return (dy @ cube @ dx.T).astype(np.float32)


def _sfpn_psf(ratio: int) -> Psf:
    """Read SFPN's taps off an inner row of its matrices."""
    sides = []
    for variance in (2.0, 10.0):
        row = sfpn_matrix(24 * ratio, ratio, variance)[12]
        used = np.flatnonzero(np.abs(row) > 1e-12)
        sides.append((tuple(row[used[0] : used[-1] + 1].tolist()), int(used[0]) - 12 * ratio))
    (ky, y0), (kx, x0) = sides
    return Psf(ratio, ky, kx, y0, x0)


def _observed(cube: np.ndarray, ratio: int, degradation: str, name: str) -> np.ndarray:
    if name == "wv2":
        # Its eight bands come from two detectors, of MTF gains 0.35 and 0.27.
        return np.concatenate([_degraded(cube[:7], ratio, 0.35), _degraded(cube[7:], ratio, 0.27)])
    if degradation == "M":
        return _degraded(cube, ratio, 0.3)
    dy, dx = (sfpn_matrix(n, ratio, v) for n, v in zip(cube.shape[1:], (2.0, 10.0), strict=True))
    clean = torch.from_numpy((dy @ cube @ dx.T).astype(np.float32))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return (clean + S_NOISE * noise).clamp(0, 1).numpy()


@lru_cache(maxsize=2)
def case(name: str) -> Case:
    """Return a case by name, e.g. ``"sponges 8 S pan"``."""
    which, ratio_text, degradation, kind = name.split()
    scene, ratio = load(which), int(ratio_text)
    step = ratio * (2 if scene.cube.shape[1] < 200 else 1)
    height, width = (n // step * step if n >= 4 * step else n // ratio * ratio for n in scene.cube.shape[1:])
    cube = np.ascontiguousarray(scene.cube[:, :height, :width])
    if scene.guide is None:
        guide = np.einsum("gb,byx->gyx", responses(scene, kind), cube).astype(np.float32)
    else:
        guide = np.ascontiguousarray(scene.guide[:, :height, :width])
    psf = _sfpn_psf(ratio) if degradation == "S" else Psf.from_mtf(ratio, 0.34 if which == "wv2" else 0.3)
    return Case(name, cube, _observed(cube, ratio, degradation, which), guide, psf)


# ---- our product -------------------------------------------------------------------------


def crop(guide: np.ndarray, window: Window) -> np.ndarray:
    """Cut a window that may leave the guide; NaN outside."""
    inside = window.clipped(guide.shape[1:])
    out = np.full((len(guide), *window.shape), np.nan, np.float32)
    out[(slice(None), *inside.within(window).slices)] = guide[(slice(None), *inside.slices)]
    return out


def surveyed(scene: np.ndarray, guide: np.ndarray | None, options: SurveyOptions) -> Survey:
    """Return the survey of a scene in memory."""
    margin = sample_margin(options.ratio)
    samples = [
        Sample(
            scene[(slice(None), *w.slices)],
            None if guide is None else crop(guide, w.scaled(options.ratio).grown(margin)),
        )
        for w in sample_windows(scene.shape[1:])
    ]
    return estimate_survey(samples, options)


def state_for(model: Model, state: object) -> object:
    """Return the state of a survey for a model that may be another one: a learned state holds that of `regression`."""
    if isinstance(state, LearnedState) and model.state_type is not LearnedState:
        state = state.regression
    return state if model.state_type is not None and isinstance(state, model.state_type) else None


def product(
    scene: np.ndarray,
    guide: np.ndarray | None,
    survey: Survey,
    *,
    tile: int = 1000,
    model: str = "regression",
    fine: str | None = None,
    precision: str = "float32",
    packing: Packing | None = None,
) -> tuple[np.ndarray, list[TileStatistics]]:
    """Sharpen a scene in memory; return the product and the statistics of each tile.

    If the survey has an uncertainty, the standard deviations follow as bands.
    """
    bands, ratio = len(scene), survey.psf.ratio
    chosen = load_model(model, precision=precision)
    survey = replace(survey, model_state=state_for(chosen, survey.model_state))
    floats = Packing("float32", (1.0,) * bands, (0.0,) * bands, math.nan)
    shape = scene.shape[1:]
    work = TileContext(shape, bands, ratio, tile, chosen, fine or chosen.fine, packing or floats, "cpu", survey)
    count = bands * (1 + (survey.uncertainty is not None))
    out = np.zeros((count, shape[0] * ratio, shape[1] * ratio), work.packing.dtype)
    statistics = []
    for piece in work.tiling:
        tile_statistics = TileStatistics(bands)
        near = crop(guide, guide_window(work, piece)) if guide is not None and work.guided else None
        for rows, stored in sharpen_tile(
            work, piece, scene[(slice(None), *piece.padded.slices)], near, tile_statistics
        ):
            out[(rows, *piece.core.scaled(ratio).slices)] = stored
        statistics.append(tile_statistics)
    return out, statistics


def given(one: Case) -> np.ndarray:
    """Return our product with the PSF given."""
    survey = surveyed(one.scene, one.guide, SurveyOptions(one.ratio, psf=one.psf))
    return product(one.scene, one.guide, survey)[0]


def blind(one: Case) -> np.ndarray:
    """Return our product with blur and shift estimated; the reference is aligned with the guide, which is not moved."""
    survey = surveyed(one.scene, one.guide, SurveyOptions(one.ratio, coregister="off"))
    return product(one.scene, one.guide, survey)[0]


# ---- baselines ---------------------------------------------------------------------------


def _matrices(one: Case) -> tuple[np.ndarray, np.ndarray]:
    shape = one.reference.shape[1:]
    if one.name.split()[2] == "S":
        return sfpn_matrix(shape[0], one.ratio, 2.0), sfpn_matrix(shape[1], one.ratio, 10.0)
    gain = 0.34 if one.name.startswith("wv2") else 0.3
    return gaussian_matrix(shape[0], one.ratio, gain), gaussian_matrix(shape[1], one.ratio, gain)


def _cubic_matrix(length: int, ratio: int, shift: float) -> np.ndarray:
    out = np.zeros((length * ratio, length))
    for n, row in enumerate(out):
        position = (n - shift + 0.5) / ratio - 0.5
        at = math.floor(position) + np.arange(-1, 3)
        np.add.at(row, at.clip(0, length - 1), [_keys(position - k) for k in at])
    return out


def _upsampled(one: Case, planes: np.ndarray) -> np.ndarray:
    """Interpolate bicubically, at the phase where the blur put the pixels."""
    by, bx = (_cubic_matrix(n, one.ratio, s) for n, s in zip(planes.shape[1:], one.psf.shift_px, strict=True))
    return by @ planes @ bx.T


def baselines(one: Case) -> dict[str, np.ndarray]:
    """Return bicubic, MTF-GLP and MTF-GLP-HPM (Aiazzi et al., 2006), given the blur.

    With several guide bands each scene band takes their least-squares combination.
    """
    dy, dx = _matrices(one)
    low = _upsampled(one, dy @ one.guide @ dx.T)
    up = _upsampled(one, one.scene)
    design = np.concatenate([(dy @ one.guide @ dx.T).reshape(len(one.guide), -1), np.ones((1, one.scene[0].size))])
    gain = np.linalg.lstsq(design.T, one.scene.reshape(len(one.scene), -1).T, rcond=None)[0].T
    sharp = np.einsum("bg,gyx->byx", gain[:, :-1], one.guide) + gain[:, -1, None, None]
    smooth = np.einsum("bg,gyx->byx", gain[:, :-1], low) + gain[:, -1, None, None]
    ratio = np.clip(sharp / np.where(np.abs(smooth) < 1e-6, 1e-6, smooth), 0, 5)
    return {"bicubic": up, "GLP": up + sharp - smooth, "HPM": up * ratio}


# ---- scores ------------------------------------------------------------------------------


def scores(estimate: np.ndarray, reference: np.ndarray, ratio: int) -> tuple[float, float, float, float]:
    """Return PSNR and mean PSNR of the bands (dB, peak 1), SAM (degrees) and ERGAS."""
    x, t = estimate.astype(np.float64), reference.astype(np.float64)
    square = ((x - t) ** 2).mean((1, 2))
    dot, norm = (x * t).sum(0), np.linalg.norm(x, axis=0) * np.linalg.norm(t, axis=0)
    some = norm > 1e-8
    angle = np.rad2deg(np.arccos(np.clip(dot[some] / norm[some], -1, 1))).mean()
    ergas = 100 / ratio * math.sqrt((square / np.maximum(t.mean((1, 2)) ** 2, 1e-12)).mean())
    return psnr(x, t), float((-10 * np.log10(np.maximum(square, 1e-20))).mean()), float(angle), ergas


def psnr(estimate: np.ndarray, reference: np.ndarray) -> float:
    """Return the PSNR over all bands, dB, peak 1."""
    return float(-10 * np.log10(((estimate.astype(np.float64) - reference) ** 2).mean()))


CASES = (
    *(f"{s} 4 M {g}" for s in ("sponges", "thread_spools", "jasper", "sandiego", "enmap") for g in ("rgb", "pan")),
    *("wv2 4 M pan", "sn6 4 M pan"),
    *("sponges 8 M rgb", "sponges 8 M pan", "jasper 8 M rgb", "sandiego 8 M rgb", "sandiego 8 M pan"),
    *("jasper 4 S rgb", "jasper 4 S pan", "sponges 4 S rgb", "thread_spools 4 S rgb"),
    *("sponges 8 S rgb", "sponges 8 S pan", "thread_spools 8 S rgb"),
)


def main(wanted: list[str]) -> None:
    """Print PSNR/band mean/SAM/ERGAS of each case whose name contains one of the words."""
    for name in (n for n in CASES if not wanted or any(w in n for w in wanted)):
        one = case(name)
        products = {"given": given(one), "blind": blind(one)} | baselines(one)
        tile_statistics = (
            f"{k} {'/'.join(f'{v:.2f}' for v in scores(x, one.reference, one.ratio))}" for k, x in products.items()
        )
        print(f"{name:22}", "  ".join(tile_statistics), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main([" ".join(sys.argv[1:])] if len(sys.argv) > 1 and " ".join(sys.argv[1:]) in CASES else sys.argv[1:])
