"""The survey: every decision about the whole scene, taken once, from a bounded sample.

Its cost does not grow with the scene. It is one frozen value, saved as JSON with the product,
and everything a tile needs to know beyond its own window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from dualsr_geo import coarse, psf, regression, subspace, wald
from dualsr_geo.align import SHIFT_SUPPORT_PX, shift
from dualsr_geo.degrade import DEFAULT_MTF_GAIN, Psf, operator
from dualsr_geo.errors import InputError
from dualsr_geo.guidefit import Fit, Mixture, fit_scene
from dualsr_geo.subspace import Subspace
from dualsr_geo.tile import Window
from dualsr_geo.wald import Block

# Scenes up to this many lr pixels are surveyed whole; larger ones by nine blocks.
WHOLE_PX = 65536
BLOCK_SIDE = 80
BLOCKS = 9
# The PSF is estimated on at most this many lr pixels: more do not sharpen it, but cost seconds.
PSF_PX = 16384
# Shifts below this are left to the PSF: moving the guide would only blur it.
STILL_PX = 0.1
# A shift that stays is worth a warning above half a pixel.
WARN_SHIFT_PX = 0.5
# A known blur is contradicted by an estimate that differs by more than this.
CONTRADICTION = 0.3
FEWEST_PX = 16


@dataclass(frozen=True)
class Survey:
    """What is known of the whole scene.

    Attributes
    ----------
    psf : Psf
        Blur of the scene against the guide as it is used.
    psf_source : str
        ``"given"``, ``"estimated gaussian"``, ``"estimated taps"``, ``"sensor"``, ``"default"``.
    used : tuple of int
        Bands that have data; the others stay nodata.
    low : float
        The scene's own minimum, physical units; nothing is made below it.
    noise : array, shape (band,)
        Of the used bands, physical units; 0 where it was not told from signal.
    space : Subspace
    lams, lams_alone : array, shape (component,)
        Ridges of the fine stage, where the guide is and where it is not.
    fit, mixture : Fit and array, shape (component, candidate), or None
        What the regressions need; None without a guide.
    guide_mean : array, shape (guide band,)
    shift_px : (float, float)
        How far the guide lies below and right of the scene, hr pixels.
    moved_px : (float, float)
        How far it is moved back.
    relevance : array, shape (band,)
        How well the guide explains a band, 0..1.
    srf : array, shape (guide band, band)
        Non-negative response of the guide to the used bands.
    notes : tuple of str
        What the user should know.
    """

    psf: Psf
    psf_source: str
    used: tuple[int, ...]
    low: float
    noise: NDArray[np.float32]
    space: Subspace
    lams: NDArray[np.float32]
    lams_alone: NDArray[np.float32]
    fit: Fit | None = None
    mixture: NDArray[np.float32] | None = None
    guide_mean: NDArray[np.float32] | None = None
    shift_px: tuple[float, float] = (0.0, 0.0)
    moved_px: tuple[float, float] = (0.0, 0.0)
    relevance: NDArray[np.float32] | None = None
    srf: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping; `from_json` is its exact inverse."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Survey:
        """Read what `to_json` wrote."""
        v = dict(value)
        v["psf"] = Psf.from_json(v["psf"])
        space = v["space"]
        mean, expand, scale = (_array(space[k]) for k in ("mean", "expand", "scale"))
        v["space"] = Subspace(mean, expand.reshape(len(mean), -1), scale, space["noise"])
        v["fit"] = None if v["fit"] is None else _fit_from_json(v["fit"])
        for name in ("noise", "lams", "lams_alone", "mixture", "guide_mean", "relevance", "srf"):
            v[name] = None if v[name] is None else _array(v[name])
        for name in ("used", "shift_px", "moved_px", "notes"):
            v[name] = tuple(v[name])
        return cls(**v)


def guide_margin(moved_px: tuple[float, float]) -> int:
    """Return how many hr pixels beyond a window a move of the guide needs."""
    if moved_px == (0.0, 0.0):
        return 0
    return int(np.ceil(max(map(abs, moved_px)))) + SHIFT_SUPPORT_PX


def _plain(value: Any) -> Any:  # noqa: ANN401  # JSON values are of many types
    if isinstance(value, np.ndarray):
        # The shortest text that reads back as the same float32.
        return [_plain(row) for row in value] if value.ndim > 1 else [float(str(v)) for v in value]
    if isinstance(value, Psf):
        return value.to_json()
    if isinstance(value, Subspace | Fit | Mixture):
        return {k: _plain(getattr(value, k)) for k in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value


def _array(value: Any) -> NDArray[np.float32]:  # noqa: ANN401  # nested lists of numbers
    return np.asarray(value, dtype=np.float32)


def _fit_from_json(value: Mapping[str, Any]) -> Fit:
    mixtures = {
        int(k): Mixture(_array(m["centres"]), float(m["width"]), _array(m["coefficients"]))
        for k, m in value["mixtures"].items()
    }
    names = ("guide_mean", "guide_std", "guide_low", "guide_high", "slope", "intercept")
    return Fit(*(_array(value[n]) for n in names), mixtures)


# ---- the sample --------------------------------------------------------------------------


def sample_windows(shape: tuple[int, int]) -> list[Window]:
    """Return the windows that are surveyed: the whole scene, or nine blocks spread over it."""
    height, width = shape
    if height * width <= WHOLE_PX:
        return [Window(0, height, 0, width)]
    rows = min(3, -(-height // BLOCK_SIDE))
    columns = min(BLOCKS // rows, -(-width // BLOCK_SIDE))
    rows = min(BLOCKS // columns, -(-height // BLOCK_SIDE))
    return [
        Window(y, min(y + BLOCK_SIDE, height), x, min(x + BLOCK_SIDE, width))
        for y in _spread(height, rows)
        for x in _spread(width, columns)
    ]


def _spread(length: int, count: int) -> list[int]:
    return [max(0, min(length - BLOCK_SIDE, int((i + 0.5) * length / count) - BLOCK_SIDE // 2)) for i in range(count)]


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


def sample_margin(ratio: int) -> int:
    """Return the margin of hr pixels around a sampled guide window: the farthest shift."""
    return int(np.ceil(psf.FARTHEST * ratio)) + SHIFT_SUPPORT_PX


@dataclass(frozen=True)
class Wishes:
    """What the user decided about the survey.

    Attributes
    ----------
    ratio : int
    psf : Psf or None
        A known blur; nothing is estimated then.
    mtf_gain : float or None
        The sensor's MTF gain at Nyquist, the fallback where the estimate is unreliable.
    coregister : str
        ``"auto"`` moves a displaced guide onto the scene, ``"off"`` leaves it.
    subspace : bool
        False for models that work band by band (bicubic).
    """

    ratio: int
    psf: Psf | None = None
    mtf_gain: float | None = None
    coregister: str = "auto"
    subspace: bool = True


def survey(samples: Sequence[Sample], wishes: Wishes) -> Survey:
    """Survey a scene from a sample of it.

    Parameters
    ----------
    samples : sequence of Sample
        What `sample_windows` asked for.
    wishes : Wishes

    Raises
    ------
    InputError
        If the sample holds no valid pixel.
    """
    cubes = [torch.from_numpy(np.ascontiguousarray(s.cube)) for s in samples]
    used = _bands_with_data(cubes)
    cubes = [c[list(used)] for c in cubes]
    mean = _band_means(cubes)
    low = min(float(np.nanmin(c.numpy())) for c in cubes if bool(torch.isfinite(c).any()))
    filled = [coarse.fill(c, mean) for c in cubes]
    blocks = [(f, _ones(f) if w is None else w) for f, w in filled]
    spectra, weight = wald.stack([f for f, _ in blocks]), wald.stack([w for _, w in blocks])
    noise = subspace.band_noise(spectra, weight)
    noisy = subspace.is_noisy(noise, spectra[:, weight > 0].std(1))
    space = subspace.find(spectra, weight, noise if noisy else None) if wishes.subspace else _no_space(mean)
    blur, source, _ = _known_psf(wishes)
    alone = _ridges_alone(space, spectra[:, weight > 0])
    bare = Survey(blur, source, used, low, noise.astype(np.float32), space, alone, alone)
    if not any(s.guide is not None and np.isfinite(s.guide).any() for s in samples):
        return bare
    return _guided(bare, blocks, [s.guide for s in samples if s.guide is not None], wishes)


def _ones(cube: torch.Tensor) -> torch.Tensor:
    return torch.ones(cube.shape[1:])


def _no_space(mean: torch.Tensor) -> Subspace:
    bands = len(mean)
    return Subspace(mean.numpy(), np.zeros((bands, 0), np.float32), np.ones(bands, np.float32), 0.0)


def _bands_with_data(cubes: Sequence[torch.Tensor]) -> tuple[int, ...]:
    counts = sum(torch.isfinite(c).sum((1, 2)) for c in cubes)
    used = tuple(int(i) for i in torch.nonzero(torch.as_tensor(counts) >= FEWEST_PX).flatten())
    if not used:
        raise InputError(
            f"The scene holds no valid pixel in {sum(c[0].numel() for c in cubes)} sampled ones: all nodata. "
            "Check its nodata value, or give another as --nodata."
        )
    return used


def _band_means(cubes: Sequence[torch.Tensor]) -> torch.Tensor:
    total = sum(torch.nansum(c.double(), (1, 2)) for c in cubes)
    count = sum(torch.isfinite(c).sum((1, 2)) for c in cubes)
    return (torch.as_tensor(total) / torch.as_tensor(count).clamp_min(1)).float()


def _known_psf(wishes: Wishes) -> tuple[Psf, str, bool]:
    if wishes.psf is not None:
        return wishes.psf, "given", True
    if wishes.mtf_gain is not None:
        return Psf.from_mtf(wishes.ratio, wishes.mtf_gain), "sensor", True
    return Psf.from_mtf(wishes.ratio, DEFAULT_MTF_GAIN), "default", False


def _ridges_alone(space: Subspace, spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the ridges of components that no guide explains: their whole variance is prior."""
    z = space.components(spectra).astype(np.float64)
    return wald.ridge((z**2).mean(1), space.noise).astype(np.float32)


# ---- with a guide ------------------------------------------------------------------------


def _guided(
    bare: Survey,
    cubes: Sequence[tuple[torch.Tensor, torch.Tensor]],
    guides: Sequence[NDArray[np.float32]],
    wishes: Wishes,
) -> Survey:
    """Add what the guide says: blur, shift, regressions, weights, relevance."""
    placed = _place(bare, cubes, guides, wishes)
    blocks, mean = _blocks(cubes, guides, placed)
    seen = replace(placed, guide_mean=mean)
    if float(sum((b.weight > 0).sum() for b in blocks)) < FEWEST_PX:
        return replace(seen, notes=(*seen.notes, "The guide covers too little of the scene to be used."))
    seen = replace(seen, **_relevance(blocks, seen.psf))
    return _regressed(seen, blocks, wishes.ratio) if seen.space.count else seen


def _regressed(seen: Survey, blocks: Sequence[Block], ratio: int) -> Survey:
    space = seen.space
    spectra, weight = wald.stack([b.cube for b in blocks]), wald.stack([b.weight for b in blocks])
    operators = [operator(seen.psf, b.shape) for b in blocks]
    guide_lr = wald.stack([op.degrade(b.guide) for op, b in zip(operators, blocks, strict=True)])
    fit = fit_scene(space.components(spectra), guide_lr, weight)
    side = max((b.shape for b in blocks), key=min)
    grams = [wald.errors(blocks, seen.psf, r, space) for r in wald.ratios(side, ratio)]
    found = wald.weights(grams, by_energy=not space.keeps_rest)
    mixture = (space.share() @ found if space.keeps_rest else found).astype(np.float32)
    lams = _lams(seen, blocks, fit, mixture)
    return replace(seen, fit=fit, mixture=mixture, lams=lams)


def _lams(
    seen: Survey, blocks: Sequence[Block], fit: Fit, mixture: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the fine stage's ridges: noise against what the regressions leave."""
    space = seen.space
    if space.keeps_rest:
        return np.zeros(space.count, np.float32)
    square, count = np.zeros(space.count), 0.0
    for block in blocks:
        op = operator(seen.psf, block.shape)
        flat = space.components(block.cube.flatten(1).numpy())
        observed = torch.from_numpy(flat).view(-1, *block.shape)
        pair = regression.pair(observed, block.guide, fit, op, block.weight)
        start = regression.mix(pair, torch.from_numpy(mixture))
        left = observed - op.degrade(start.evaluate(0, space.count))
        square += ((left.double() ** 2) * block.weight).sum((1, 2)).numpy()
        count += float(block.weight.sum())
    return wald.ridge(square / max(count, 1), space.noise).astype(np.float32)


def _blocks(
    cubes: Sequence[tuple[torch.Tensor, torch.Tensor]],
    guides: Sequence[NDArray[np.float32]],
    placed: Survey,
) -> tuple[list[Block], NDArray[np.float32]]:
    """Move, crop and fill the sampled guides."""
    ratio = placed.psf.ratio
    moved = [move_guide(g, placed.moved_px, sample_margin(ratio)) for g in guides]
    stacked = np.concatenate([m.reshape(len(m), -1) for m in moved], 1)
    mean = np.nanmean(stacked, 1).astype(np.float32)
    out = []
    for (cube, weight), guide in zip(cubes, moved, strict=True):
        op = operator(placed.psf, (cube.shape[1], cube.shape[2]))
        window = coarse.ready_guide(torch.from_numpy(guide), torch.from_numpy(mean), op)
        if window is not None:
            both = weight if window.weight is None else weight * window.weight
            out.append(Block(cube, both, window.values))
    return out, mean


def move_guide(guide: NDArray[np.float32], moved_px: tuple[float, float], margin: int) -> NDArray[np.float32]:
    """Move a guide window onto the scene and cut its margin.

    Parameters
    ----------
    guide : array, shape (guide band, Y + 2 * margin, X + 2 * margin)
    moved_px : (float, float)
        How far its content lies below and right of where it belongs, hr pixels.
    margin : int
        hr pixels to cut on every side.
    """
    if moved_px != (0.0, 0.0):
        guide = shift(guide, *moved_px)
    inner = slice(margin, -margin or None)
    return np.ascontiguousarray(guide[:, inner, inner])


def _place(
    bare: Survey,
    cubes: Sequence[tuple[torch.Tensor, torch.Tensor]],
    guides: Sequence[NDArray[np.float32]],
    wishes: Wishes,
) -> Survey:
    """Estimate blur and shift, decide whether to move the guide."""
    if wishes.psf is not None:
        return bare
    found = psf.estimate(_pieces(bare, cubes, guides, (0.0, 0.0)), wishes.ratio)
    if found is None or not found.shift_reliable:
        return _distrusted(bare, found, wishes)
    at = found.shift_px
    notes = list(bare.notes)
    moved = (0.0, 0.0)
    if max(map(abs, at)) > STILL_PX and wishes.coregister != "off":
        moved = at
        again = psf.estimate(_pieces(bare, cubes, guides, moved), wishes.ratio)
        found = again or found
    elif max(map(abs, at)) > WARN_SHIFT_PX:
        notes.append(
            f"The guide lies {at[0]:+.2f} px down and {at[1]:+.2f} px right of the scene (hr pixels), and "
            "stays there: the product lies on the guide. Give --coregister auto to move it."
        )
    blur, source = _trusted_width(bare, found, wishes, notes)
    return replace(
        bare, psf=blur, psf_source=source, shift_px=at, moved_px=moved, notes=tuple(notes)
    )


def _pieces(
    bare: Survey,
    cubes: Sequence[tuple[torch.Tensor, torch.Tensor]],
    guides: Sequence[NDArray[np.float32]],
    moved: tuple[float, float],
) -> list[psf.Piece]:
    """Return the sample for the PSF: the leading components beside the guide."""
    ratio = bare.psf.ratio
    space = bare.space if bare.space.count else _leading(cubes)
    out, pixels = [], 0
    for (cube, weight), guide in zip(cubes, guides, strict=True):
        if pixels > PSF_PX:
            break
        near = move_guide(guide, moved, sample_margin(ratio)).astype(np.float64)
        good = np.isfinite(near).all(0)
        if not good.any():
            continue
        height, width = (min(n, int(np.sqrt(PSF_PX))) for n in cube.shape[1:])
        y, x = (cube.shape[1] - height) // 2, (cube.shape[2] - width) // 2
        cut = np.s_[..., y : y + height, x : x + width]
        cut_hr = np.s_[..., y * ratio : (y + height) * ratio, x * ratio : (x + width) * ratio]
        z = space.components(cube.flatten(1).numpy())[: psf.COMPONENTS].reshape(-1, *cube.shape[1:])
        centre = near[:, good].mean(1)[:, None, None]
        whole = np.where(good, near - centre, 0.0)[cut_hr]
        full = operator(bare.psf, (height, width)).degrade(torch.from_numpy(good[cut_hr]).float()).numpy()
        both = weight.numpy()[cut] * (full > 0.999)  # noqa: PLR2004  # all of the pixel's guide is there
        out.append(psf.Piece(z[cut].astype(np.float64), whole, both.astype(np.float64)))
        pixels += height * width
    return out


def _leading(cubes: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Subspace:
    return subspace.find(wald.stack([c for c, _ in cubes]), wald.stack([w for _, w in cubes]))


def _distrusted(bare: Survey, found: psf.Estimate | None, wishes: Wishes) -> Survey:
    """Fall back to the known or default blur; the narrower one, which costs less if wrong."""
    why = "the sample is too small" if found is None else "its optimum is flat or contradicted"
    note = (
        f"Blur and shift of the guide could not be estimated ({why}); "
        f"the {bare.psf_source} blur of {bare.psf.sigma_px[0]:.2f} px and no shift are assumed."
    )
    blur = bare.psf
    if found is not None and found.width_reliable and wishes.mtf_gain is None:
        sigma = tuple(min(a, b) for a, b in zip(blur.sigma_px, found.psf.sigma_px, strict=True))
        blur = Psf.gaussian(blur.ratio, (sigma[0], sigma[1]))
    return replace(bare, psf=blur, notes=(*bare.notes, note))


def _trusted_width(
    bare: Survey, found: psf.Estimate, wishes: Wishes, notes: list[str]
) -> tuple[Psf, str]:
    known = bare.psf
    if not found.width_reliable:
        at = found.psf.shift_px
        narrow = [min(a, b) for a, b in zip(known.sigma_px, found.psf.sigma_px, strict=True)]
        return Psf.gaussian(known.ratio, (narrow[0], narrow[1]), at), bare.psf_source
    if wishes.mtf_gain is not None:
        off = max(abs(a / b - 1) for a, b in zip(found.psf.sigma_px, known.sigma_px, strict=True))
        if off > CONTRADICTION:
            notes.append(
                f"The sensor's blur is {known.sigma_px[0]:.2f} px, the scene shows {found.psf.sigma_px[0]:.2f} x "
                f"{found.psf.sigma_px[1]:.2f} px (hr pixels): the scene's is used."
            )
    return found.psf, f"estimated {found.kind}"


def _relevance(blocks: Sequence[Block], blur: Psf) -> dict[str, NDArray[np.float32]]:
    """Return how well the guide explains each band (R2), and the guide's response to the bands."""
    spectra, weight = wald.stack([b.cube for b in blocks]), wald.stack([b.weight for b in blocks])
    guide = wald.stack([operator(blur, b.shape).degrade(b.guide) for b in blocks])
    used = weight > 0
    x, y = spectra[:, used].astype(np.float64), guide[:, used].astype(np.float64)
    xc, yc = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    gram = yc @ yc.T
    gram += 1e-9 * np.trace(gram) / len(gram) * np.eye(len(gram)) + 1e-30 * np.eye(len(gram))
    slope = np.linalg.solve(gram, yc @ xc.T)
    left = ((xc - slope.T @ yc) ** 2).sum(1) / np.maximum((xc**2).sum(1), 1e-30)
    step = max(1, x.shape[1] // 4000)
    design = np.vstack([x[:, ::step], np.ones(x[:, ::step].shape[1])]).T
    srf = np.stack([nnls(design, row[::step])[0][:-1] for row in y])
    return {
        "relevance": np.clip(1 - left, 0, 1).astype(np.float32),
        "srf": srf.astype(np.float32),
    }
