"""What a guide is worth to a scene, found as `upscale` finds it, without making a product."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from threadpoolctl import threadpool_limits

from dualsr_geo.degradation.operators import operator
from dualsr_geo.engine import upscale
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.engine.scene_survey import sample_scene, survey_sample
from dualsr_geo.errors import OptionError
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.prepared_guide import MIN_GUIDED_SHARE, prepare_guide
from dualsr_geo.io.guides import displaced_guide
from dualsr_geo.io.scenes import open_delivered, open_guides
from dualsr_geo.raster import grid
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.displacement_field import DisplacementField
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.shift import move_guide
from dualsr_geo.report.figures import Drawing, arrows, overview
from dualsr_geo.report.quicklook import composite, image, stretch
from dualsr_geo.survey import input_checks
from dualsr_geo.survey.sampling import Sample, sample_windows
from dualsr_geo.survey.survey import Survey
from dualsr_geo.threads import one_thread

# A guide that explains less of the bands' variance, or of which more shows something else, is worth a word.
EXPLAINED, CHANGED = 0.3, 0.02
# The plot's longer side, and arrows along either axis.
PLOT, ARROWS = 900, 9


@dataclass(frozen=True)
class GuideInspection:
    """What was read and found.

    Attributes
    ----------
    job : RunPlan
        With the guide bent where a field says so.
    known : Survey
    samples : tuple of Sample
    kept : tuple of array, shape (y, x)
        How far the guide is used in each sample, 0..1; NaN where it does not reach.
    """

    job: RunPlan
    known: Survey
    samples: tuple[Sample, ...]
    kept: tuple[NDArray[np.float32], ...]


def check_guide(
    scene: str | os.PathLike[str],
    *,
    rgb: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    plot: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    **changes: Any,  # fields of Options, checked by its constructor
) -> dict[str, Any]:
    """Say how a guide lies on a scene and how far it can be used.

    Parameters
    ----------
    scene : path
    rgb : path or sequence of paths, optional
        The guide; if left out, the product's own sharper bands where it has some.
    plot : path, optional
        A picture to write (.png): the guide, its local displacement as arrows, and red where it shows
        something else.
    options : Options, optional
    **changes
        Fields of `Options`.

    Returns
    -------
    dict
        guides (gsd, unit, bands and GSD ratio of each), scale, coverage, shift_px, shift_error_px, field,
        sigma_px, sigma_error_px, relevance, changed, repeated, notes, advice.

    Raises
    ------
    DualSRError
        For a guide of another place or without a common CRS, and whatever else `upscale` refuses.
    """
    wanted = replace(options or Options(), model="regression", coregister="local", **changes)
    job, _ = upscale.prepare(scene, None, rgb=rgb, options=wanted)
    if job.guide is None:
        raise OptionError(f"{scene} has no guide to be checked. Give one as --rgb.")
    look = _look(job)
    found = {"guides": _guides(scene, rgb, wanted), **_said(look)}
    found["advice"] = _advice(found)
    if plot is not None:
        _plot(look).save(plot, format="PNG")
        found["plot"] = os.fspath(plot)
    return found


def _look(job: RunPlan) -> GuideInspection:
    """Survey the scene, with the guide bent place by place where that is told from a shift."""
    assert job.guide is not None
    with one_thread(), threadpool_limits(1, user_api="blas"):
        sample = sample_scene(job.inputs, job.scene.shape, job.wishes)
        known = survey_sample(sample, replace(job.wishes, detail=False))
        kept = tuple(_kept(known, window, job.ratio) for window in sample.windows)
        return GuideInspection(
            replace(job, guide=displaced_guide(job.guide, sample.field)), known, sample.windows, kept
        )


def _kept(known: Survey, sample: Sample, ratio: int) -> NDArray[np.float32]:
    guide = _moved(known, sample, ratio)
    reached = np.isfinite(guide).all(0)
    op = operator(known.psf, (sample.cube.shape[1], sample.cube.shape[2]))
    there = op.degrade(torch.from_numpy(reached.astype(np.float32))).numpy() > MIN_GUIDED_SHARE
    kept = np.ones(there.shape, np.float32)
    if known.changes is not None and known.guide_mean is not None:
        cube, _ = fill_holes(torch.from_numpy(sample.cube[list(known.used)]), torch.from_numpy(known.space.mean))
        ready = prepare_guide(torch.from_numpy(guide), torch.from_numpy(known.guide_mean), op)
        if ready is not None:
            kept = known.changes.guide_use(cube, op.degrade(ready.values), ready.weight).float().numpy()
    return np.where(there, kept, np.float32(np.nan))


def _moved(known: Survey, sample: Sample, ratio: int) -> NDArray[np.float32]:
    assert sample.guide is not None
    return move_guide(sample.guide, known.moved_px, sample_margin(ratio))


def _guides(scene: str | os.PathLike[str], rgb: Any, options: Options) -> list[dict[str, Any]]:
    """Return pixel size and bands of every guide as delivered."""
    delivered = open_delivered(scene, bidx=options.bidx, gsd=options.gsd, sensor=options.sensor)
    paths = [rgb] if isinstance(rgb, str | os.PathLike) else list(rgb or ())
    box = delivered.scene.geobox
    return [
        {
            "name": guide.name,
            "gsd": (fine := grid.gsd(guide.geobox, like=box)),
            "unit": grid.unit(box),
            "bands": guide.count,
            "gsd_ratio": round(grid.gsd(box) / fine, 4),
        }
        for guide in ([g for p in paths for g in open_guides(p)] or delivered.guides)
    ]


def _said(look: GuideInspection) -> dict[str, Any]:
    known, kept = look.known, np.concatenate([k.ravel() for k in look.kept])
    there = np.isfinite(kept)
    shift = np.asarray(known.shift_px)
    if known.field is not None:
        shift = shift + known.field.summary()["mean_px"]
    reached = [np.isfinite(_moved(known, s, look.job.ratio)).all(0).ravel() for s in look.samples]
    margin = sample_margin(look.job.ratio)
    shown = [s.guide[:, margin:-margin, margin:-margin] for s in look.samples if s.guide is not None]
    repeated = (1.0, 1.0) if known.field is not None else input_checks.repetition(shown)
    return {
        "scale": look.job.ratio,
        "coverage": round(float(np.concatenate(reached).mean()), 4),
        "shift_px": [round(float(v), 3) for v in shift],
        "shift_error_px": known.shift_error_px and [round(v, 3) for v in known.shift_error_px],
        "field": None if known.field is None else known.field.summary(),
        "sigma_px": [round(v, 3) for v in known.psf.sigma_px],
        "sigma_error_px": known.sigma_error_px and [round(v, 3) for v in known.sigma_error_px],
        "relevance": None if known.relevance is None else [round(float(v), 4) for v in known.relevance],
        "changed": round(float((1 - kept[there]).mean()), 4) if there.any() else None,
        "repeated": [round(float(v), 2) for v in repeated],
        "notes": list(known.notes),
    }


def _advice(found: dict[str, Any]) -> list[str]:
    """Return what to do about it, a sentence each."""
    out = []
    if (field := found["field"]) is not None:
        out.append(
            f"The guide is displaced unevenly, by up to {field['largest_px']:.2f} px: give upscale --coregister local."
        )
    explained = found["relevance"] and sum(found["relevance"]) / len(found["relevance"])
    if explained is not None and explained < EXPLAINED:
        out.append(
            f"The guide explains {explained:.0%} of the bands' variance: it lends little. Is it of this place and season?"
        )
    if (found["changed"] or 0) > CHANGED:
        out.append(
            f"The guide shows something else in {found['changed']:.1%} of what it covers: its detail is left out there "
            "(--changes auto)."
        )
    if found["coverage"] < 1:
        out.append(f"The guide covers {found['coverage']:.0%} of the scene: the rest is sharpened without it.")
    return out


# ---- the plot ----------------------------------------------------------------------------


def _plot(look: GuideInspection) -> Image.Image:
    """Draw the sampled guide, red where it shows something else, and arrows of its displacement."""
    rows, columns = (n * look.job.ratio for n in look.job.scene.shape)
    step = max(rows, columns) / PLOT
    canvas = Image.new("RGB", (max(1, round(columns / step)), max(1, round(rows / step))), "white")
    guides = [_moved(look.known, s, look.job.ratio) for s in look.samples]
    channels = [0, 1, 2] if len(guides[0]) >= 3 else [0]
    limits = stretch(*(g[channels] for g in guides))
    for window, guide, kept in zip(sample_windows(look.job.scene.shape), guides, look.kept, strict=True):
        picture = image(composite(guide[channels], limits))
        red = Image.fromarray((160 * (1 - np.nan_to_num(kept, nan=1.0))).astype(np.uint8)).resize(picture.size)
        picture.paste((255, 0, 0, 255), mask=red)
        _pasted(canvas, picture, window.scaled(look.job.ratio), step)
    _arrows(canvas, look, overview(guides[0]))
    return canvas


def _pasted(canvas: Image.Image, picture: Image.Image, window: Window, step: float) -> None:
    height, width = (max(1, round(n / step)) for n in window.shape)
    small = picture.resize((width, height), Image.Resampling.BOX)
    canvas.paste(small, (round(window.x0 / step), round(window.y0 / step)), small)


def _arrows(canvas: Image.Image, look: GuideInspection, on: Drawing) -> None:
    """Draw how far the guide lies from where it belongs; the scale is written below."""
    shares = (np.arange(ARROWS) + 0.5) / ARROWS
    shift, field = look.known.shift_px, look.known.field
    places = [(float(y), float(x)) for y in shares for x in shares]
    away = [_away(field, shift, place) for place in places]
    drawn = arrows([(y, x, dy, dx) for (y, x), (dy, dx) in zip(places, away, strict=True)], on)
    if drawn is None:
        return
    draw, scale = ImageDraw.Draw(canvas), canvas.width / on.width
    for x0, y0, x1, y1 in drawn.lines:
        draw.line([(x0 * scale, y0 * scale), (x1 * scale, y1 * scale)], fill=(255, 220, 0), width=2)
        draw.ellipse([x0 * scale - 3, y0 * scale - 3, x0 * scale + 3, y0 * scale + 3], fill=(255, 220, 0))
    end = 10 + drawn.scale_length * scale
    draw.line([(10, canvas.height - 10), (end, canvas.height - 10)], fill=(255, 220, 0), width=3)
    draw.text((end + 6, canvas.height - 16), f"{drawn.scale_px:g} px", fill=(255, 220, 0))


def _away(
    field: DisplacementField | None, shift: tuple[float, float], place: tuple[float, float]
) -> tuple[float, float]:
    if field is None:
        return shift
    y, x = (min(int(p * n), n - 1) for p, n in zip(place, field.shape, strict=True))
    dy, dx = field.at(Window(y, y + 1, x, x + 1))[:, 0, 0].tolist()
    return dy + shift[0], dx + shift[1]
