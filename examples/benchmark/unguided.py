"""Products without a guide under a blur that is not given, against a cubic spline on pixel centres.

Run: python examples/benchmark/unguided.py [--scenes ...] [--blurs ...] [--scales 4] [--noise 0] [--model auto]
     [--orientations 8] [--given] [--bands 31] [--side 512] [--out unguided.csv]

Prints PSNR and spectral angle of each case relative to the spline's, then mean and worst of each blur. `--given` gives
the product the true kernel. The survey is of the whole scene; the middle of `--side` hr pixels is sharpened and
scored, in `--bands` bands at most.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scenes
import torch
from blurs import BLURS, Kernel, reduced
from degradations import Floats
from scipy.ndimage import map_coordinates

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.evaluation import metrics
from dualsr_geo.models.definition import Model, with_fine
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster.packing import Packing
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import Sample, SurveyOptions, sample_windows
from dualsr_geo.surveying.survey import Survey

CAVE = (*scenes.VALIDATION, *(f"cave-{name}" for name in scenes.TRAINING))
OTHERS = ("jasper", "sandiego", "enmap", "sn6", "wv2")
COLUMNS = (
    "scene", "scale", "blur", "noise", "true_gain", "found_gain", "used_gain", "spline_db", "spline_sam", "gain_db",
    "sam_ratio", "seconds",
)  # fmt: skip


def psf_of(kernel: Kernel) -> Psf:
    """Return a kernel as a PSF that is alike along both axes."""
    taps = tuple(kernel.taps.tolist())
    return Psf(kernel.ratio, taps, taps, kernel.start, kernel.start)


def spline(cube: Floats, ratio: int) -> Floats:
    """Interpolate a cube (band, y, x) by cubic splines at the centres of the hr pixels; edges mirrored."""
    uy, ux = (spline_matrix(n, ratio) for n in cube.shape[1:])
    out: Floats = (uy @ cube @ ux.T).astype(np.float32)
    return out


def spline_matrix(length: int, ratio: int) -> Floats:
    """Return the interpolation along an axis of `length` lr pixels, (hr, lr)."""
    at = ((np.arange(length * ratio) + 0.5) / ratio - 0.5)[None]
    columns = [map_coordinates(unit, at, order=3, mode="reflect") for unit in np.eye(length)]
    return np.stack(columns, 1).astype(np.float32)


def surveyed(lr: Floats, options: SurveyOptions) -> Survey:
    """Survey a scene without a guide."""
    return estimate_survey([Sample(lr[(slice(None), *w.slices)], None) for w in sample_windows(lr.shape[1:])], options)


def product(lr: Floats, survey: Survey, model: Model) -> Floats:
    """Sharpen a part of a scene whole, in memory."""
    bands, shape, ratio = len(lr), lr.shape[1:], survey.psf.ratio
    floats = Packing("float32", (1.0,) * bands, (0.0,) * bands, math.nan)
    context = TileContext(shape, bands, ratio, 10**6, with_fine(model, model.fine), model.fine, floats, "cpu", survey)
    out = np.empty((bands, shape[0] * ratio, shape[1] * ratio), np.float32)
    for rows, stored in sharpen_tile(context, context.tiling[0], lr, None, TileStatistics(bands)):
        out[rows] = stored
    return out


def middle(cube: Floats, side: int) -> Floats:
    """Return the middle of a cube (band, y, x), at most `side` pixels a side."""
    y, x = ((n - min(n, side)) // 2 for n in cube.shape[1:])
    return np.ascontiguousarray(cube[:, y : y + side, x : x + side])


def reference(name: str, ratio: int, bands: int) -> Floats:
    """Return some bands of a scene, cut to whole lr pixels, an even number of them."""
    cube = scenes.load(name).cube
    some = np.unique(np.linspace(0, len(cube) - 1, min(bands, len(cube))).round().astype(int))
    height, width = (n // (2 * ratio) * 2 * ratio for n in cube.shape[1:])
    return np.ascontiguousarray(cube[some, :height, :width])


def case(whole: Floats, kernel: Kernel, noise: float, model: Model, side: int, *, given: bool) -> Mapping[str, Any]:
    """Return the scores of a case; `side` is that of the scored middle, hr pixels."""
    clean = reduced(whole, kernel, kernel)
    lr = (clean + noise / 255 * np.random.default_rng(0).normal(size=clean.shape)).astype(np.float32)
    options = SurveyOptions(kernel.ratio, psf_of(kernel) if given else None, model=model)
    start = time.process_time()
    survey = surveyed(lr, options)
    side_lr = side // (2 * kernel.ratio) * 2
    part, truth = middle(lr, side_lr), middle(whole, side_lr * kernel.ratio)
    sharp = product(part, survey, model)
    seconds = time.process_time() - start
    simple = spline(part, kernel.ratio)
    blur, frequency = survey.placement.scene_blur, np.array([0.5])
    used = Kernel(kernel.ratio, np.array(survey.psf.taps_x), survey.psf.start_x)
    return {
        "true_gain": float(kernel.transfer(frequency)[0]),
        "found_gain": math.nan if blur is None else blur.gain,
        "used_gain": float(used.transfer(frequency)[0]),
        "spline_db": metrics.psnr(simple, truth),
        "spline_sam": metrics.sam(simple, truth),
        "gain_db": metrics.psnr(sharp, truth) - metrics.psnr(simple, truth),
        "sam_ratio": metrics.sam(sharp, truth) / metrics.sam(simple, truth),
        "seconds": seconds,
    }


def cases(arguments: argparse.Namespace, model: Model) -> Iterator[dict[str, Any]]:
    """Yield the cases, scene by scene."""
    for name in arguments.scenes:
        for ratio in arguments.scales:
            whole = reference(name, ratio, arguments.bands)
            if min(whole.shape[1:]) // ratio < arguments.least:
                continue
            for blur in arguments.blurs:
                for noise in arguments.noise:
                    scores = case(whole, BLURS[blur](ratio), noise, model, arguments.side, given=arguments.given)
                    yield {"scene": name, "scale": ratio, "blur": blur, "noise": noise, **scores}


def line(row: Mapping[str, Any]) -> str:
    """Return a case as a line of a table."""
    gains = f"{row['true_gain']:.2f} / {row['found_gain']:.2f} / {row['used_gain']:.2f}"
    spline_scores = f"{row['spline_db']:.2f} / {row['spline_sam']:.2f}"
    own = " | ".join(str(row[key]) for key in ("scene", "scale", "blur", "noise"))
    return (
        f"| {own} | {gains} | {spline_scores} | {row['gain_db']:+.2f} | {row['sam_ratio']:.2f} | {row['seconds']:.1f} |"
    )


def summary(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield mean and worst of each blur, scale and noise: of the CAVE scenes, and of all."""
    yield "| blur, scale, noise | CAVE: mean (worst) dB, SAM ratio | others | worst of all |"
    yield "|---|---|---|---|"
    for key in dict.fromkeys((r["blur"], r["scale"], r["noise"]) for r in rows):
        some = [r for r in rows if (r["blur"], r["scale"], r["noise"]) == key]
        parts = [[r for r in some if (r["scene"] in CAVE) == cave] for cave in (True, False)]
        worst = f"{min(r['gain_db'] for r in some):+.2f}, {max(r['sam_ratio'] for r in some):.2f}"
        yield f"| {', '.join(map(str, key))} | {' | '.join(map(_scores, parts))} | {worst} |"


def _scores(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    db, sam = [r["gain_db"] for r in rows], [r["sam_ratio"] for r in rows]
    return f"{np.mean(db):+.2f} ({min(db):+.2f}), {np.mean(sam):.2f} ({max(sam):.2f}) [{len(rows)}]"


def main() -> None:
    """Print the tables, and write the cases as CSV on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", default=[*CAVE, *OTHERS])
    parser.add_argument("--blurs", nargs="+", default=list(BLURS))
    parser.add_argument("--scales", type=int, nargs="+", default=[4])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0], help="standard deviations, 1 / 255")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--orientations", type=int, default=1, help="of the network, 1 to 8")
    parser.add_argument("--given", action="store_true", help="give the true kernel")
    parser.add_argument("--bands", type=int, default=31)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--least", type=int, default=12, help="least side of the scene, lr pixels")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for row in cases(arguments, load_model(arguments.model).with_orientations(arguments.orientations)):
        rows.append(row)
        print(line(row), flush=True)
    print()
    for text in summary(rows):
        print(text)
    if arguments.out is not None:
        with arguments.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
