"""Loss by guides of which a quarter shows something else, inside this quarter and elsewhere.

Run: python examples/benchmark/changed.py [--only WORD ...] [--model regression]

The texture of another place of the guide, mirrored, is pasted into a quarter of the guide (half along either
axis, not centred). PSNR in dB, inside that quarter and elsewhere, without a guide, with the changed
guide (`--changes off` and `auto`), and with the unchanged guide.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from combinations import undisturbed
from degradations import Floats
from disturbances import Pair
from numpy.typing import NDArray
from run import located

from dualsr_geo.errors import DualSRWarning

RATIO = 4
CASES = (
    *((s, kind) for s in ("jasper", "sandiego", "enmap", "samson", "abu-airport-4") for kind in ("rgb", "pan")),
    ("wv2", "own"),
    ("sn6", "own"),
    ("landsat", "pan"),
    ("sponges", "rgb"),
    ("thread_spools", "pan"),
)


def pasted(pair: Pair) -> tuple[Pair, NDArray[np.bool_]]:
    """Change a quarter of the guide; return the pair, and where it is changed, hr pixels."""
    assert pair.guide is not None
    height, width = (n // 2 // RATIO * RATIO for n in pair.guide.shape[1:])
    y, x = (n // 4 // RATIO * RATIO for n in (height, width))
    other = np.roll(pair.guide, (height, width), (1, 2))[:, :, ::-1]
    where = np.zeros(pair.guide.shape[1:], bool)
    where[y : y + height, x : x + width] = True
    return replace(pair, guide=np.where(where, other, pair.guide)), where


def product(pair: Pair, guide: Floats | None, model: str, changes: str = "auto") -> Floats:
    """Sharpen a pair with the accessor."""
    shown = None if guide is None else located(guide, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualSRWarning)
        scene = located(pair.scene, float(RATIO))
        lazy = scene.dualsr.upscale(scale=RATIO, rgb=shown, model=model, changes=changes)
        made: Floats = lazy.compute(scheduler="single-threaded").to_numpy()
    return made


def psnr(made: Floats, truth: Floats, where: NDArray[np.bool_]) -> float:
    """Return the PSNR over some pixels, dB; peak is the reference's."""
    wrong = float(np.mean((made - truth)[:, where].astype(float) ** 2))
    return 10 * float(np.log10(float(truth.max()) ** 2 / wrong))


def rows(cases: Sequence[tuple[str, str]], model: str) -> Iterator[str]:
    """Yield the lines of a table, one a scene and guide."""
    yield "| scene | guide | inside: none | off | auto | elsewhere: off | auto | unchanged guide: off | auto |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for scene, kind in cases:
        pair = undisturbed(scene, kind, RATIO, "mtf")
        other, inside = pasted(pair)
        unguided = product(pair, None, "interpolation" if model == "regression" else model)
        off, auto = (product(other, other.guide, model, how) for how in ("off", "auto"))
        before = [product(pair, pair.guide, model, how) for how in ("off", "auto")]
        truth, everywhere = pair.reference, np.ones_like(inside)
        each = [psnr(p, truth, inside) for p in (unguided, off, auto)]
        each += [psnr(p, truth, ~inside) for p in (off, auto)] + [psnr(p, truth, everywhere) for p in before]
        yield f"| {scene} | {kind} | {' | '.join(f'{v:.2f}' for v in each)} |"


def main() -> None:
    """Print the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], help="scenes or guides")
    parser.add_argument("--model", default="regression")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for line in rows([c for c in CASES if not arguments.only or set(c) & set(arguments.only)], arguments.model):
        print(line, flush=True)


if __name__ == "__main__":
    main()
