"""SFPN's own protocol: its blur and noise, both of its stages, compared with the default model.

Run: python examples/benchmark/protocol.py sfpn_x8.safetensors [--scenes sponges thread_spools] [--steps 400]

The weights are CoarseNet's, trained by `dualsr-geo train ... --network coarsenet --scale 8 --degradation
published-kernels` on the nine other CAVE scenes. FineNet is fitted to the middle of each scene (the whole scene
takes hours of a CPU), with the response of the simulated guide; all are scored there. The spectral
angle is taken along the spectrum.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import torch
from degradations import DEGRADATIONS
from estimates import product
from fine import Floats, Pair, pair
from finenet import Refinement, fit
from scenes import load, responses

from dualsr_geo.evaluation import metrics
from dualsr_geo.models.registry import load_model
from dualsr_geo.surveying.sampling import SurveyOptions

PROTOCOL = "sfpn-noise"


def sharpened(one: Pair, model: str) -> Floats:
    """Sharpen a pair by a model with its default options."""
    chosen = load_model(model)
    options = SurveyOptions(
        one.ratio,
        coregister=DEGRADATIONS[PROTOCOL].coregister,
        model=chosen,
    )
    return product(one, one.survey(options), model)[0]


def middle(one: Pair, coarse: Floats, side: int) -> tuple[Pair, Floats]:
    """Cut the middle of a pair and of its product; `side` in lr pixels."""
    rows, columns = (slice((n - min(n, side)) // 2, (n + min(n, side)) // 2) for n in one.scene.shape[1:])
    fine = (slice(None), *(slice(s.start * one.ratio, s.stop * one.ratio) for s in (rows, columns)))
    cut = Pair(one.scene[:, rows, columns], one.guide[fine], one.reference[fine], one.ratio)
    return cut, coarse[fine]


def table(weights: str, names: list[str], ratio: int, side: int, steps: int) -> Iterator[str]:
    """Yield a line a scene and method."""
    yield "| scene | method | PSNR, dB | SAM, deg |"
    yield "|---|---|---|---|"
    for name in names:
        one = pair(name, ratio, "rgb", PROTOCOL)
        for method, model in (("CoarseNet", weights), ("`regression`", "regression"), ("`auto`", "auto")):
            part, coarse = middle(one, sharpened(one, model), side)
            yield _line(name, method, coarse, part)
            if method == "CoarseNet" and steps:
                srf = torch.from_numpy(responses(load(name), "rgb")).float()
                tensors = (torch.from_numpy(v).contiguous() for v in (coarse, part.guide, part.scene))
                how = replace(Refinement(), iterations=steps)
                yield _line(name, "CoarseNet + FineNet", fit(*tensors, srf, ratio=ratio, how=how).numpy(), part)


def _line(name: str, method: str, product: Floats, part: Pair) -> str:
    angle = metrics.sam(product, part.reference)
    return f"| {name} | {method} | {metrics.psnr(product, part.reference):.2f} | {angle:.2f} |"


def main() -> None:
    """Print the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights")
    parser.add_argument("--scenes", nargs="+", default=["sponges", "thread_spools"])
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--side", type=int, default=32, help="of the middle, lr pixels")
    parser.add_argument("--steps", type=int, default=400, help="of FineNet")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for line in table(arguments.weights, arguments.scenes, arguments.scale, arguments.side, arguments.steps):
        print(line, flush=True)


if __name__ == "__main__":
    main()
