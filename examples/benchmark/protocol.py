"""SFPN's own protocol: its blur and noise, both of its stages, beside this project's default.

Run: python examples/benchmark/protocol.py sfpn_x8.safetensors [--scenes sponges thread_spools] [--steps 400]

The weights are CoarseNet's, trained by `dualsr-geo train ... --network coarsenet --scale 8 --degradation
published-kernels` on the nine other CAVE scenes. FineNet is fitted to the middle of each scene (on all of
it that takes hours of a CPU), with the response that made the guide; all are scored there. The spectral
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
from dualsr_geo.survey.sampling import SurveyOptions

PROTOCOL = "sfpn-noise"


def made(one: Pair, model: str) -> Floats:
    """Sharpen a pair by a model, as a user would run it."""
    chosen = load_model(model)
    network = chosen if chosen.weights is not None else None
    asked = SurveyOptions(
        one.ratio,
        coregister=DEGRADATIONS[PROTOCOL].coregister,
        subspace=chosen.spectral,
        network=network,
        ours=chosen.ours,
    )
    return product(one, one.survey(asked), model)[0]


def middle(one: Pair, coarse: Floats, side: int) -> tuple[Pair, Floats]:
    """Cut the middle of a pair, and of what was made of it; `side` in lr pixels."""
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
        for said, model in (("CoarseNet", weights), ("`regression`", "regression"), ("`auto`", "auto")):
            part, coarse = middle(one, made(one, model), side)
            yield _line(name, said, coarse, part)
            if said == "CoarseNet" and steps:
                srf = torch.from_numpy(responses(load(name), "rgb")).float()
                tensors = (torch.from_numpy(v).contiguous() for v in (coarse, part.guide, part.scene))
                how = replace(Refinement(), iterations=steps)
                yield _line(name, "CoarseNet + FineNet", fit(*tensors, srf, ratio=ratio, how=how).numpy(), part)


def _line(name: str, said: str, product: Floats, part: Pair) -> str:
    angle = metrics.sam(product, part.reference)
    return f"| {name} | {said} | {metrics.psnr(product, part.reference):.2f} | {angle:.2f} |"


def main() -> None:
    """Print the table as it is made."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights")
    parser.add_argument("--scenes", nargs="+", default=["sponges", "thread_spools"])
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--side", type=int, default=32, help="of the middle, lr pixels")
    parser.add_argument("--steps", type=int, default=400, help="of FineNet")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for line in table(asked.weights, asked.scenes, asked.scale, asked.side, asked.steps):
        print(line, flush=True)


if __name__ == "__main__":
    main()
